#!/usr/bin/env python3
"""Trains the two networks of the demo on rendered pictures and writes them as ONNX.

    python3 tools/render_pictures.py demo/pictures
    python3 tools/train_demo_models.py demo [detector] [vit]

A SiLU one-stage detector (about 160,000 parameters) and a vision transformer (about 325,000). Each is judged on the
JPEG files of <demo>/pictures, which share no picture with training, and <demo>/expected/<model>.json keeps that
figure and some outputs for the first test picture, for others that run the ONNX file to compare with.

Needs torch (1.13 or newer), numpy and OpenCV. One thread, fixed seeds: the same machine writes the same weights.
About 20 minutes on one core when torch finds a fast BLAS (Debian: libopenblas0), hours when it does not.
"""

import argparse
import copy
import json
import math
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional as F

import detection
import render_pictures as render
from networks import Detector, VisionTransformer, export_onnx

EMA_STEPS = 300  # about the steps that the averaged weights look back


class Average:
    """Exponential moving average of a model's weights and running statistics."""

    def __init__(self, model):
        self.model, self.steps = copy.deepcopy(model), 0

    @torch.no_grad()
    def update(self, model):
        self.steps += 1
        decay = 1 - 1 / min(self.steps + 1, EMA_STEPS)
        for mine, other in zip(self.model.state_dict().values(), model.state_dict().values()):
            if mine.dtype.is_floating_point:
                mine.mul_(decay).add_(other, alpha=1 - decay)
            else:
                mine.copy_(other)


def train(model, batches, steps, rate, decay, loss_of):
    """AdamW with warm-up and cosine; `batches(step)` gives what `loss_of(model, batch)` takes. Returns the average."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW([{"params": matrices}, {"params": others, "weight_decay": 0}], rate,
                                  weight_decay=decay)
    warm_up = steps // 20
    factor = lambda step: min((step + 1) / warm_up, 0.5 * (1 + math.cos(math.pi * step / steps)))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    average, recent, start = Average(model), [], time.time()
    model.train()
    for step in range(steps):
        loss = loss_of(model, batches(step))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        average.update(model)
        recent.append(loss.item())
        if (step + 1) % 250 == 0:
            if not math.isfinite(sum(recent)):
                raise SystemExit(f"step {step}: the loss is not finite")
            print(f"  step {step + 1}/{steps}  loss {np.mean(recent):.4f}  {time.time() - start:.0f} s", flush=True)
            recent = []
    return average.model.eval()


def to_input(pictures, mean, std):
    """RGB bytes [..., H, W, 3] to what the network takes, [..., 3, H, W]."""
    return (torch.as_tensor(np.asarray(pictures)).movedim(-1, -3).float() / 255 - mean) / std


def batch_of(pictures, count, rng):
    """Random indices and their pictures, colour channels shuffled: [count, H, W, 3]."""
    at = rng.integers(len(pictures), size=count)
    return at, np.stack([pictures[i][..., rng.permutation(3)] for i in at])


def read_picture(path):
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise SystemExit(f"{path}: not a picture; run tools/render_pictures.py first")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


@torch.no_grad()
def outputs_of(model, inputs):
    return torch.cat([model(part) for part in inputs.split(64)])


def check_with_opencv(path, inputs, output):
    """Runs the file that was just written in OpenCV, which shares no code with torch, and compares."""
    network = cv2.dnn.readNetFromONNX(str(path))
    network.setInput(inputs.numpy())
    worst = float(np.abs(network.forward() - output.numpy()).max())
    # Float sums of up to 1152 terms, taken in another order, over 15 layers.
    if not worst < 1e-4 * max(1.0, float(output.abs().max())):
        raise SystemExit(f"{path}: OpenCV computes something else, by up to {worst}")


def write_expected(path, picture, mean, std, inputs, output, indices, accuracy):
    """One picture's input and output in numbers: single elements and sums over all, and the accuracy on all pictures."""
    element = lambda tensor, index: {"index": list(index), "value": float(tensor[tuple(index)])}
    content = {
        "picture": picture,
        "preprocess": {"channels": "rgb", "scale": "1/255", "mean": [mean] * 3, "std": [std] * 3},
        "input": {"shape": list(inputs.shape), "mean": float(inputs.double().mean()),
                  "elements": [element(inputs, (0, c, 5, 7)) for c in range(3)]},
        "output": {"shape": list(output.shape), "mean": float(output.double().mean()),
                   "mean_absolute": float(output.double().abs().mean()),
                   "elements": [element(output, index) for index in indices]},
        "float_accuracy": {name: round(float(value), 3) for name, value in accuracy.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


# --- detector

DETECTOR_MEAN, DETECTOR_STD = 0.0, 1.0


def padded(boxes, labels, most):
    """COCO boxes of each picture to corners [pictures, most, 4] and labels [pictures, most]; absent ones are zero."""
    corners, classes = np.zeros((len(boxes), most, 4), np.float32), np.zeros((len(boxes), most), np.int64)
    for row, (mine, names) in enumerate(zip(boxes, labels)):
        for k, ((x, y, width, height), label) in enumerate(zip(mine, names)):
            corners[row, k], classes[row, k] = (x, y, x + width, y + height), label
    return corners, classes


def turned(pictures, corners, rng, size):
    """One of the eight symmetries of the square, the same for the whole batch; pictures [N, 3, H, W]."""
    present = (corners[..., 2:] > corners[..., :2]).all(-1, keepdims=True)
    if rng.random() < 0.5:
        pictures, corners = pictures.transpose(2, 3), corners[..., [1, 0, 3, 2]]
    for axis, dim in ((0, 3), (1, 2)):
        if rng.random() < 0.5:
            pictures, corners = pictures.flip(dim), corners.copy()
            corners[..., [axis, axis + 2]] = size - corners[..., [axis + 2, axis]]
    return pictures, corners * present


def detector_accuracy(model, grid, pictures, truth):
    outputs = outputs_of(model, to_input(pictures, DETECTOR_MEAN, DETECTOR_STD))
    found = [detection.detections(output, grid, render.DETECTION_SIZE) for output in outputs]
    ap, ap50 = detection.average_precision(found, truth, len(render.SHAPES))
    return {"ap": ap, "ap50": ap50}


def read_coco(folder):
    """(pictures, [(class, corner box)] of each) of the labelled set in the demo's folder."""
    data = json.loads((folder / "test.json").read_text())
    truth = {image["id"]: [] for image in data["images"]}
    for entry in data["annotations"]:
        x, y, width, height = entry["bbox"]
        truth[entry["image_id"]].append((entry["category_id"] - 1, (x, y, x + width, y + height)))
    pictures = [read_picture(folder / "test" / image["file_name"]) for image in data["images"]]
    return pictures, [truth[image["id"]] for image in data["images"]]


def train_detector(demo, samples, steps):
    torch.manual_seed(1)
    rng, size = np.random.default_rng(1), render.DETECTION_SIZE
    rendered = [render.detection_picture("train", index) for index in range(samples)]
    pictures = [render.through_jpeg(picture) for picture, _, _ in rendered]
    corners, labels = padded([entry[1] for entry in rendered], [entry[2] for entry in rendered], 5)
    grid = detection.places(size, Detector.STRIDES)

    def batches(_):
        at, chosen = batch_of(pictures, 32, rng)
        inputs, boxes = turned(to_input(chosen, DETECTOR_MEAN, DETECTOR_STD), corners[at], rng, size)
        return inputs, torch.from_numpy(boxes.astype(np.float32)), torch.from_numpy(labels[at])

    model = Detector(size, len(render.SHAPES))
    model = train(model, batches, steps, 3e-3, 0.02,
                  lambda net, batch: detection.loss(net(batch[0]), batch[1], batch[2], grid))
    test, truth = read_coco(demo / "pictures" / "detection")
    accuracy = detector_accuracy(model, grid, test, truth)
    inputs = to_input(test[:1], DETECTOR_MEAN, DETECTOR_STD)
    export_onnx(model, inputs, demo / "models" / "detector.onnx", "detections", keep_batch_norm=True)
    output = outputs_of(model, inputs)
    check_with_opencv(demo / "models" / "detector.onnx", inputs, output)
    best = output[0, :, 4].argsort(descending=True)[:2].tolist()
    indices = [(0, place, k) for place in (*best, 0, len(grid) - 1) for k in range(output.shape[2])]
    write_expected(demo / "expected" / "detector.json", "pictures/detection/test/000.jpg", DETECTOR_MEAN, DETECTOR_STD,
                   inputs, output, indices, accuracy)
    return accuracy


# --- vision transformer

VIT_MEAN, VIT_STD = 0.5, 0.5


def read_class_folders(folder):
    """(pictures, labels, first picture's path); a class is the place of its folder's name in alphabetical order."""
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    paths = [(path, label) for label, name in enumerate(names) for path in sorted((folder / name).glob("*.jpg"))]
    return [read_picture(path) for path, _ in paths], torch.tensor([label for _, label in paths]), paths[0][0]


def train_vit(demo, samples, steps):
    torch.manual_seed(2)
    rng, size = np.random.default_rng(2), render.CLASSIFICATION_SIZE
    order = sorted(render.CLASSES)
    rendered = [render.classification_picture("train", index) for index in range(samples)]
    pictures = [render.through_jpeg(picture) for picture, _ in rendered]
    labels = torch.tensor([order.index(render.CLASSES[label]) for _, label in rendered])

    def batches(_):
        at, chosen = batch_of(pictures, 32, rng)
        inputs = to_input(chosen, VIT_MEAN, VIT_STD)
        return inputs.flip(3) if rng.random() < 0.5 else inputs, labels[torch.from_numpy(at)]

    model = VisionTransformer(size, 8, dim=96, depth=4, heads=3, classes=len(order), widen=2,
                              class_token=False)
    model = train(model, batches, steps, 1.2e-3, 0.05,
                  lambda net, batch: F.cross_entropy(net(batch[0]), batch[1], label_smoothing=0.05))
    test, truth, first = read_class_folders(demo / "pictures" / "classification" / "test")
    output = outputs_of(model, to_input(test, VIT_MEAN, VIT_STD))
    accuracy = {"top1": 100 * (output.argmax(1) == truth).float().mean()}
    inputs = to_input(test[:1], VIT_MEAN, VIT_STD)
    export_onnx(model, inputs, demo / "models" / "vit.onnx", "logits")
    write_expected(demo / "expected" / "vit.json", first.relative_to(demo).as_posix(), VIT_MEAN, VIT_STD, inputs,
                   outputs_of(model, inputs), [(0, k) for k in range(len(order))], accuracy)
    return accuracy


MODELS = {"detector": (train_detector, 8000, 6000), "vit": (train_vit, 12000, 4500)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path)
    parser.add_argument("models", nargs="*", default=[], metavar="MODEL", help=f"of {', '.join(MODELS)}; default: all")
    parser.add_argument("--pictures", type=int, help="training pictures to render")
    parser.add_argument("--steps", type=int, help="training steps")
    arguments = parser.parse_intermixed_args()
    for name in arguments.models:
        if name not in MODELS:
            parser.error(f"{name}: not one of {', '.join(MODELS)}")
    torch.set_num_threads(1)
    (arguments.demo / "models").mkdir(parents=True, exist_ok=True)
    for name in arguments.models or MODELS:
        run, pictures, steps = MODELS[name]
        print(name, flush=True)
        accuracy = run(arguments.demo, arguments.pictures or pictures, arguments.steps or steps)
        print("  " + ", ".join(f"{key} {value:.2f}" for key, value in accuracy.items()), flush=True)


if __name__ == "__main__":
    main()
