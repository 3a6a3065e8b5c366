"""What training and judging the demo's detector needs beside the network: places, assignment, loss, NMS and COCO AP."""

import numpy as np
import torch
from torch.nn import functional as F

SCORE_THRESHOLD = 0.01
NMS_IOU = 0.65
# Longest side of the objects, in pixels, that each level answers for; the ranges overlap so that neither level has
# to be exact at the border.
LEVEL_SIDES = ((0, 28), (20, 1000))
REACH = 1.5  # a place may answer for an object whose centre is at most this many strides away, in x and in y


def places(size, strides):
    """[places, 3] of (column, row, stride), in the order of the network's output."""
    rows = [(x, y, stride) for stride in strides for y in range(size // stride) for x in range(size // stride)]
    return torch.tensor(rows, dtype=torch.float32)


def decode(output, grid):
    """Raw rows to corner boxes in pixels: [batch, places, 4] of (x0, y0, x1, y1)."""
    stride = grid[:, 2:]
    centre = (output[..., :2] + grid[:, :2]) * stride
    half = output[..., 2:4].clamp(max=6).exp() * stride / 2
    return torch.cat([centre - half, centre + half], -1)


def generalized_iou(a, b):
    """(IoU, generalized IoU) of boxes given by corners, element by element."""
    width, height = lambda box: box[..., 2] - box[..., 0], lambda box: box[..., 3] - box[..., 1]
    overlap = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    union = width(a) * height(a) + width(b) * height(b) - overlap
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1)
    iou = overlap / union.clamp(min=1e-6)
    return iou, iou - (hull - union) / hull.clamp(min=1e-6)


def assign(boxes, grid):
    """Index of the object each place answers for, -1 for none: [batch, places].

    `boxes` [batch, objects, 4] by corners; absent objects have zero size. Of several the smallest wins.
    """
    stride = grid[:, 2]
    point = (grid[:, :2] + 0.5) * stride[:, None]
    near, far = boxes[:, None, :, :2], boxes[:, None, :, 2:]
    centre, side = (near + far) / 2, (far - near).amax(-1)
    at = point[None, :, None]
    inside = ((at > near) & (at < far)).all(-1)
    close = ((at - centre).abs() < REACH * stride[None, :, None, None]).all(-1)
    least = torch.zeros_like(stride)
    most = torch.zeros_like(stride)
    for level, (low, high) in zip(sorted(set(stride.tolist())), LEVEL_SIDES):
        least[stride == level], most[stride == level] = low, high
    fits = (side > least[None, :, None]) & (side <= most[None, :, None])
    area = (far - near).prod(-1).expand(-1, len(grid), -1)
    smallest, chosen = area.masked_fill(~(inside & close & fits), float("inf")).min(-1)
    return chosen.masked_fill(torch.isinf(smallest), -1)


def loss(output, boxes, labels, grid):
    """Box, objectness and class loss. Objectness and class learn the IoU reached, so that scores rank boxes."""
    chosen = assign(boxes, grid)
    picture, place = torch.nonzero(chosen >= 0, as_tuple=True)
    target = chosen[picture, place]
    iou, generalized = generalized_iou(decode(output, grid)[picture, place], boxes[picture, target])
    quality = iou.detach()
    objectness = torch.zeros_like(output[..., 4])
    objectness[picture, place] = quality
    classes = F.one_hot(labels[picture, target], output.shape[-1] - 5) * quality[:, None]
    total = (3 * (1 - generalized).sum() + F.binary_cross_entropy(output[..., 4], objectness, reduction="sum")
             + F.binary_cross_entropy(output[picture, place, 5:], classes, reduction="sum"))
    return total / max(1, len(picture))


def suppress(boxes, scores):
    """Indices kept by greedy non-maximum suppression, best first."""
    order, kept = np.argsort(-scores, kind="stable"), []
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        overlap = (np.minimum(boxes[order, 2:], boxes[best, 2:]) - np.maximum(boxes[order, :2], boxes[best, :2]))
        overlap = overlap.clip(0).prod(1)
        order = order[overlap / (area[order] + area[best] - overlap) <= NMS_IOU]
    return kept


def detections(output, grid, size):
    """[(class, score, box)] of one picture; the score is objectness times the best class, as in YOLOX."""
    boxes = decode(output, grid).clamp(0, size).numpy()
    score, label = (output[:, 4] * output[:, 5:].amax(-1)).numpy(), output[:, 5:].argmax(-1).numpy()
    found = []
    for cls in range(output.shape[-1] - 5):
        at = np.flatnonzero((label == cls) & (score >= SCORE_THRESHOLD))
        found += [(cls, score[at[k]], boxes[at[k]]) for k in suppress(boxes[at], score[at])]
    return found


def iou_matrix(a, b):
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    overlap = (high - low).clip(0).prod(-1)
    area = lambda boxes: (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return overlap / (area(a)[:, None] + area(b)[None] - overlap)


def match(found, truth, cls, threshold):
    """(score, hit) of each detection of one class in one picture, best first: COCO's greedy matching."""
    mine = sorted((f for f in found if f[0] == cls), key=lambda f: -f[1])
    wanted = np.array([box for label, box in truth if label == cls], dtype=float).reshape(-1, 4)
    if not mine or not len(wanted):
        return [(f[1], False) for f in mine]
    overlaps, free, result = iou_matrix(np.array([f[2] for f in mine]), wanted), np.ones(len(wanted), bool), []
    for row, detection in zip(overlaps, mine):
        best = int(np.argmax(np.where(free, row, -1)))
        hit = bool(free[best] and row[best] >= threshold)
        free[best] &= not hit
        result.append((detection[1], hit))
    return result


def average_precision(found, truth, classes):
    """(AP over IoU 0.50:0.05:0.95, AP50) in percent, as COCO defines them (101 recalls, all areas).

    `found`: for each picture what `detections` gives; `truth`: for each picture [(class, corner box)].
    """
    table = []
    for threshold in np.arange(0.5, 0.96, 0.05):
        for cls in range(classes):
            pairs = [pair for f, t in zip(found, truth) for pair in match(f, t, cls, threshold)]
            hits = np.array([hit for _, hit in sorted(pairs, key=lambda pair: -pair[0])], dtype=float)
            wanted = sum(label == cls for t in truth for label, _ in t)
            precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
            precision = np.maximum.accumulate(precision[::-1])[::-1]  # the best that any higher recall reaches
            at = np.searchsorted(np.cumsum(hits) / wanted, np.linspace(0, 1, 101))
            table.append(np.append(precision, 0)[np.minimum(at, len(hits))].mean())
    table = 100 * np.array(table).reshape(-1, classes)
    return table.mean(), table[0].mean()
