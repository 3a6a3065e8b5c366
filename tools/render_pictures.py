#!/usr/bin/env python3
"""Renders the pictures of the demo: labelled, free of anybody's rights, the same on every run.

    python3 tools/render_pictures.py demo/pictures

Two sets come out, each with a `test` part that carries labels and a `calibration` part that carries none; the second has a
labelled `train` part, too:

  detection        96x96, one to five discs, squares and triangles of any colour, size and rotation, which may cover
                   each other in part, over blotched backgrounds with strokes that are no object. Boxes in COCO JSON.
  classification   64x64, one of three shapes filled with one of three patterns, over clutter; nine classes.

Every picture has its own generator, seeded with (set, part, index): a picture does not depend on how many were rendered
before it, and the parts share none. `train_demo_models.py` draws its training pictures from the part "train".
Needs numpy and OpenCV.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

DETECTION_SIZE = 96
CLASSIFICATION_SIZE = 64
SHAPES = ("disc", "square", "triangle")
PATTERNS = ("stripes", "checks", "dots")
CLASSES = tuple(f"{shape}-{pattern}" for shape in ("disc", "triangle", "windmill") for pattern in PATTERNS)
PARTS = {"train": 0, "test": 1, "calibration": 2}
JPEG_QUALITY = 75
UPRIGHT = np.pi / 2  # the turn that puts a triangle on its base
TILT = 0.35  # radians that the objects to classify, and their patterns, are turned at most

# Drawing happens at this many times the resolution and is averaged down: edges are smooth and the box is exact.
SUPERSAMPLING = 3


def generator(task, part, index):
    return np.random.default_rng([{"detection": 1, "classification": 2}[task], PARTS[part], index])


def background(rng, size):
    """A colour gradient with blotches and strokes: float [size, size, 3] in 0..255."""
    coarse = rng.uniform(30, 225, (1, 1, 3)) + rng.normal(0, 28, (rng.integers(2, 6), rng.integers(2, 6), 3))
    picture = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    for _ in range(rng.integers(0, 5)):
        ends = rng.integers(-5, size + 5, 4)
        colour = rng.uniform(0, 255, 3).tolist()
        cv2.line(picture, tuple(map(int, ends[:2])), tuple(map(int, ends[2:])), colour, int(rng.integers(1, 4)), cv2.LINE_AA)
    return picture


def outline(rng, shape, side, turns=(0, 2 * np.pi)):
    """Corner points of the shape around the origin; `side` is its extent, `turns` the range of its angle."""
    if shape == "disc":
        angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        points = np.stack([np.cos(angles), np.sin(angles)], 1)
    elif shape == "square":
        points = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 0.85
    elif shape == "windmill":
        arm = 0.42
        corner = np.array([[arm, arm], [arm, 1], [-arm, 1]])
        points = np.concatenate([corner @ np.array([[c, -s], [s, c]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))])
    else:
        angles = np.array([0, 2, 4]) * np.pi / 3
        points = np.stack([np.cos(angles), np.sin(angles)], 1) * 1.15
    points = points * [1, rng.uniform(0.8, 1)] * side / 2
    turn = rng.uniform(*turns)
    return points @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])


def coverage(points, size):
    """Share of each pixel that lies inside the polygon: float [size, size] in 0..1."""
    large = np.zeros((size * SUPERSAMPLING,) * 2, np.uint8)
    cv2.fillPoly(large, [np.round(points * SUPERSAMPLING * 16).astype(np.int32)], 255, shift=4)
    return cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA) / 255.0


def colour_against(rng, picture, mask, contrast):
    """A colour that differs from what it covers by at least `contrast` (Euclidean, 0..255 a channel)."""
    below = picture[mask > 0.5].mean(0) if (mask > 0.5).any() else picture.mean((0, 1))
    while True:
        colour = rng.uniform(0, 255, 3)
        if np.linalg.norm(colour - below) >= contrast:
            return colour


def finish(rng, picture, grain):
    """Adds camera grain, at times blurs, and rounds to bytes."""
    if rng.random() < 0.4:
        picture = cv2.GaussianBlur(picture, (3, 3), rng.uniform(0.4, 0.9))
    picture = picture + rng.normal(0, rng.uniform(0.2, 1) * grain, picture.shape[:2])[..., None]
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def box_of(mask):
    """[x, y, width, height] of the pixels at least half covered, or None when there are none."""
    ys, xs = np.nonzero(mask >= 0.5)
    if len(xs) == 0:
        return None
    return [int(xs.min()), int(ys.min()), int(xs.max() - xs.min() + 1), int(ys.max() - ys.min() + 1)]


def detection_picture(part, index):
    """(picture [96, 96, 3] RGB bytes, boxes [[x, y, width, height]], class index of each)."""
    rng = generator("detection", part, index)
    size = DETECTION_SIZE
    picture = background(rng, size)
    boxes, labels, masks = [], [], []
    for _ in range(rng.integers(1, 6)):
        label = int(rng.integers(len(SHAPES)))
        side = float(np.exp(rng.uniform(np.log(11), np.log(46))))
        centre = rng.uniform(side * 0.35, size - side * 0.35, 2)
        mask = coverage(outline(rng, SHAPES[label], side) + centre, size)
        box = box_of(mask)
        # An object stays if half of every earlier one remains visible.
        if box is None or any((old * (mask < 0.5)).sum() < 0.5 * area for old, area in masks):
            continue
        colour = colour_against(rng, picture, mask, 60)
        shade = 1 + rng.uniform(-0.25, 0.25) * np.linspace(-1, 1, size)[:, None, None]
        picture = picture * (1 - mask[..., None]) + np.clip(colour * shade, 0, 255) * mask[..., None]
        masks = [(old * (mask < 0.5), area) for old, area in masks] + [(mask, mask.sum())]
        boxes.append(box)
        labels.append(label)
    return finish(rng, picture, 6), boxes, labels


def pattern(rng, name, size):
    """The pattern as a map of 0 and 1, smooth at the borders: float [size, size]."""
    turn, phase, period = rng.uniform(-TILT, TILT), rng.uniform(0, 2 * np.pi, 2), rng.uniform(9, 13)
    ys, xs = np.mgrid[:size, :size] * (2 * np.pi / period)
    down = np.sin(ys * np.cos(turn) + xs * np.sin(turn) + phase[0])
    right = np.sin(xs * np.cos(turn) - ys * np.sin(turn) + phase[1])
    wave = {"stripes": down, "checks": down * right * 2, "dots": (down + right) - 0.7}[name]
    return 1 / (1 + np.exp(-5 * wave))


def colour_of(rng, low, high):
    """A random colour whose brightest and darkest channel lie around a grey of `low` to `high`."""
    return np.clip(rng.uniform(low, high) + rng.normal(0, 40, 3), 0, 255)


def classification_picture(part, index):
    """(picture [64, 64, 3] RGB bytes, class index). Classes follow each other in turn.

    A small transformer has to learn this within minutes: the object is bright with dark pattern on a darker ground,
    and nearly upright. What is left to get wrong comes from clutter, faint contrast, grain and cut-off objects.
    """
    rng = generator("classification", part, index)
    size, label = CLASSIFICATION_SIZE, index % len(CLASSES)
    shape, texture = CLASSES[label].split("-")
    picture = background(rng, size) * 0.5
    side = rng.uniform(32, 56)
    centre = size / 2 + rng.uniform(-8, 8, 2)
    mask = coverage(outline(rng, shape, side, (UPRIGHT - TILT, UPRIGHT + TILT)) + centre, size)
    bright, dark = colour_of(rng, 170, 230), colour_of(rng, 20, 100)
    weight = pattern(rng, texture, size)[..., None]
    if texture == "dots":
        weight = 1 - weight
    picture = picture * (1 - mask[..., None]) + (bright * weight + dark * (1 - weight)) * mask[..., None]
    for _ in range(rng.integers(0, 4)):  # clutter in front of the object
        points = outline(rng, SHAPES[rng.integers(3)], rng.uniform(5, 13))
        clutter = coverage(points + rng.uniform(0, size, 2), size)
        picture = picture * (1 - clutter[..., None]) + rng.uniform(0, 255, 3) * clutter[..., None]
    picture = (picture - 100) * rng.uniform(0.45, 1) + rng.uniform(80, 130)
    return finish(rng, picture, 10), label


def encode(picture):
    """JPEG bytes of an RGB picture."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR),
                              [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1])
    if not done:
        raise SystemExit("OpenCV could not write JPEG")
    return data


def through_jpeg(picture):
    """The picture as it looks after it was written and read again: what networks get to see."""
    return cv2.cvtColor(cv2.imdecode(encode(picture), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def write_picture(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(picture).tobytes())


def coco(entries):
    """COCO JSON of [(file name, boxes, labels)]; ids start at 1, as pycocotools wants them."""
    images, annotations = [], []
    for image, (name, boxes, labels) in enumerate(entries, 1):
        images.append({"id": image, "file_name": name, "width": DETECTION_SIZE, "height": DETECTION_SIZE})
        for box, label in zip(boxes, labels):
            annotations.append({"id": len(annotations) + 1, "image_id": image, "category_id": label + 1, "bbox": box,
                                "area": box[2] * box[3], "iscrowd": 0})
    categories = [{"id": index, "name": name} for index, name in enumerate(SHAPES, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_detection(folder, test, calibration):
    entries = []
    for index in range(test):
        picture, boxes, labels = detection_picture("test", index)
        entries.append((f"{index:03}.jpg", boxes, labels))
        write_picture(folder / "test" / entries[-1][0], picture)
    (folder / "test.json").write_text(json.dumps(coco(entries), separators=(",", ":")) + "\n")
    for index in range(calibration):
        write_picture(folder / "calibration" / f"{index:03}.jpg", detection_picture("calibration", index)[0])


def write_classification(folder, test, calibration, train):
    for part, count in (("test", test), ("train", train)):
        for index in range(count):
            picture, label = classification_picture(part, index)
            write_picture(folder / part / CLASSES[label] / f"{index:03}.jpg", picture)
    for index in range(calibration):
        write_picture(folder / "calibration" / f"{index:03}.jpg", classification_picture("calibration", index)[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detection", type=int, nargs=2, default=(100, 128), metavar=("TEST", "CALIBRATION"))
    parser.add_argument("--classification", type=int, nargs=3, default=(216, 63, 720),
                        metavar=("TEST", "CALIBRATION", "TRAIN"))
    arguments = parser.parse_args()
    write_detection(arguments.folder / "detection", *arguments.detection)
    write_classification(arguments.folder / "classification", *arguments.classification)


if __name__ == "__main__":
    main()
