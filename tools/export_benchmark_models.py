#!/usr/bin/env python3
"""Writes the networks that ounce's speed is measured on, as ONNX files.

    python3 tools/export_benchmark_models.py build/models [resnet18 mobilenet_v2 deit_s]

The shapes are those of the published networks; the weights are random (fixed seed), because only time and memory
are measured with them. Batch-normalisation statistics are taken from a few random pictures, so that activations
stay in the range they have in a trained network: neither denormal numbers nor infinities disturb the clock.

Needs torch (1.13 or newer) only. The files are 14 to 88 MB and are not kept in the repository.
"""

import argparse
from pathlib import Path

import torch
from torch import nn

CLASSES = 1000
PICTURE = 224


def conv_bn(inputs, outputs, kernel, stride=1, groups=1, activation=None):
    """Convolution without bias, batch normalisation, and `activation` if there is one."""
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, momentum=None),
    ]
    return nn.Sequential(*layers, *([activation()] if activation else []))


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


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):  # [batch, tokens, dim]
        tokens, dim = x.shape[1], x.shape[2]
        head = dim // self.heads
        q, k, v = self.qkv(x).reshape(-1, tokens, 3, self.heads, head).permute(2, 0, 3, 1, 4).unbind(0)
        attention = ((q @ k.transpose(-2, -1)) * head**-0.5).softmax(-1)  # [batch, heads, tokens, tokens]
        return self.proj((attention @ v).transpose(1, 2).reshape(-1, tokens, dim))


class EncoderBlock(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dim, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """Shaped as DeiT: patch embedding, class token, learned positions."""

    def __init__(self, picture, patch, dim, depth, heads, classes):
        super().__init__()
        tokens = (picture // patch) ** 2 + 1
        self.patch_embed = nn.Conv2d(3, dim, patch, patch)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, tokens, dim) * 0.02)
        self.blocks = nn.Sequential(*[EncoderBlock(dim, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, classes)

    def forward(self, pixels):
        x = self.patch_embed(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


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
        model(random_pictures(8))  # sets the running statistics: momentum None means the plain average
        model.eval()
        logits = model(random_pictures(2))
    if not torch.isfinite(logits).all():
        raise SystemExit(f"{name}: the random network is not finite, choose another --seed")
    path = folder / f"{name}.onnx"
    torch.onnx.export(model, random_pictures(1), str(path), opset_version=14, input_names=["pixels"],
                      output_names=["logits"], dynamic_axes={"pixels": {0: "batch"}, "logits": {0: "batch"}})
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{path}: {parameters / 1e6:.2f} M parameters, {path.stat().st_size / 1e6:.1f} MB, "
          f"logits within {logits.abs().max():.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="*", default=[], metavar="MODEL", help=f"of {', '.join(MODELS)}; default: all")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for name in arguments.models:
        if name not in MODELS:
            parser.error(f"{name}: not one of {', '.join(MODELS)}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.models or MODELS:
        export(name, arguments.folder, arguments.seed)


if __name__ == "__main__":
    main()
