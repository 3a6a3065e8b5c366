#!/usr/bin/env python3
"""Writes the networks that ounce's speed is measured on, as ONNX files.

    python3 tools/export_benchmark_models.py build/models [resnet18 mobilenet_v2 deit_s]

The shapes are those of the published networks; the weights are random (fixed seed), because only time and memory
are measured with them. Batch-normalisation statistics are taken from a few random pictures, so that activations
stay in the range they have in a trained network: neither denormal numbers nor infinities disturb the clock.

Needs torch (1.13 or newer) only. The files are 14 to 88 MB and are not kept in the repository.
"""

import argparse
import functools
from pathlib import Path

import torch
from torch import nn

from networks import VisionTransformer, export_onnx
from networks import conv_bn as conv_bn_with_momentum

CLASSES = 1000
PICTURE = 224
# Without momentum batch norms keep the plain average of what they saw.
conv_bn = functools.partial(conv_bn_with_momentum, momentum=None)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (ResNet-18)."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = conv_bn(inputs, outputs, 3, stride, activation=nn.ReLU)
        self.second = conv_bn(outputs, outputs, 3)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else conv_bn(inputs, outputs, 1, stride)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.second(self.first(x)) + self.shortcut(x))


def resnet18():
    layers = [conv_bn(3, 64, 7, 2, activation=nn.ReLU), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [BasicBlock(inputs, outputs, stride), BasicBlock(outputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, CLASSES))


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow (MobileNetV2)."""

    def __init__(self, inputs, outputs, stride, widen):
        super().__init__()
        hidden = inputs * widen
        layers = [conv_bn(inputs, hidden, 1, activation=nn.ReLU6)] if widen != 1 else []
        layers.append(conv_bn(hidden, hidden, 3, stride, groups=hidden, activation=nn.ReLU6))
        layers.append(conv_bn(hidden, outputs, 1))
        self.body = nn.Sequential(*layers)
        self.add = inputs == outputs and stride == 1

    def forward(self, x):
        return x + self.body(x) if self.add else self.body(x)


def mobilenet_v2():
    # (widening, channels, blocks, stride of the first block), table 2 of the MobileNetV2 paper.
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    layers = [conv_bn(3, 32, 3, 2, activation=nn.ReLU6)]
    inputs = 32
    for widen, outputs, blocks, stride in stages:
        for block in range(blocks):
            layers.append(InvertedResidual(inputs, outputs, stride if block == 0 else 1, widen))
            inputs = outputs
    layers.append(conv_bn(inputs, 1280, 1, activation=nn.ReLU6))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, CLASSES))


def deit_s():
    return VisionTransformer(PICTURE, 16, dim=384, depth=12, heads=6, classes=CLASSES)


MODELS = {"resnet18": resnet18, "mobilenet_v2": mobilenet_v2, "deit_s": deit_s}


def initialise(model):
    """Kaiming weights for convolutions, scaled normal ones for linear layers, spread-out affine terms of the norms."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
            nn.init.normal_(module.bias, std=0.02)
        elif isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
            nn.init.uniform_(module.weight, 0.7, 1.3)
            nn.init.normal_(module.bias, std=0.1)


def random_pictures(count):
    """Smooth noise, normalised as pictures are: neighbouring pixels agree, as the first layers expect."""
    coarse = torch.randn(count, 3, PICTURE // 8, PICTURE // 8)
    smooth = nn.functional.interpolate(coarse, size=PICTURE, mode="bilinear", align_corners=False)
    return smooth + 0.2 * torch.randn(count, 3, PICTURE, PICTURE)


def export(name, folder, seed):
    torch.manual_seed(seed)
    model = MODELS[name]()
    initialise(model)
    with torch.no_grad():
        model.train()
        model(random_pictures(8))  # sets the running statistics
        model.eval()
        logits = model(random_pictures(2))
    if not torch.isfinite(logits).all():
        raise SystemExit(f"{name}: the random network is not finite, choose another --seed")
    path = folder / f"{name}.onnx"
    export_onnx(model, random_pictures(1), path, "logits")
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{path}: {parameters / 1e6:.2f} M parameters, {path.stat().st_size / 1e6:.1f} MB, "
          f"logits within {logits.abs().max():.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="*", default=[], metavar="MODEL", help=f"of {', '.join(MODELS)}; default: all")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_intermixed_args()
    for name in arguments.models:
        if name not in MODELS:
            parser.error(f"{name}: not one of {', '.join(MODELS)}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.models or MODELS:
        export(name, arguments.folder, arguments.seed)


if __name__ == "__main__":
    main()
