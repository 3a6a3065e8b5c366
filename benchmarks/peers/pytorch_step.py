"""Seconds of a training step in PyTorch: pytorch_step.py {deit,resnet} {float,lsq} STEPS

The networks of recipes/ablations/float-minideit.toml and of recipes/lsq-resnet20-cifar10.toml with
two blocks, batches of 128, one thread. LSQ at 4 bits, a step a channel of weights and one a value
of activations, 8 bits for the first and last layers.
"""
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn


class Lsq(nn.Module):
    """Learned steps (arXiv 1902.08153), written the usual way: straight-through by detach."""

    def __init__(self, low, high, channels=1, dims=1):
        super().__init__()
        self.low, self.high = low, high
        self.step = nn.Parameter(torch.full([channels] + [1] * (dims - 1), 0.1))

    def forward(self, x):
        scale = 1.0 / (x.numel() * self.high) ** 0.5
        step = (self.step - self.step * scale).detach() + self.step * scale
        codes = (x / step).clamp(self.low, self.high)
        return ((codes.round() - codes).detach() + codes) * step


class Layer(nn.Module):
    """A convolution or product, its weights and input rounded or not."""

    def __init__(self, layer, bits, signed=True):
        super().__init__()
        self.layer = layer
        self.weights = self.input = None
        if bits:
            half = 1 << (bits - 1)
            weight = layer.weight
            self.weights = Lsq(-half, half - 1, weight.shape[0], weight.dim())
            self.input = Lsq(-half, half - 1) if signed else Lsq(0, 2 * half - 1)

    def forward(self, x):
        weight = self.layer.weight
        if self.input is not None:
            x, weight = self.input(x), self.weights(weight)
        if isinstance(self.layer, nn.Conv2d):
            conv = self.layer
            return F.conv2d(x, weight, conv.bias, conv.stride, conv.padding)
        return F.linear(x, weight, self.layer.bias)


class Block(nn.Module):
    def __init__(self, width, heads, bits):
        super().__init__()
        self.heads, self.head = heads, width // heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = Layer(nn.Linear(width, 3 * width), bits)
        self.proj = Layer(nn.Linear(width, width), bits)
        self.fc1 = Layer(nn.Linear(width, 4 * width), bits)
        self.fc2 = Layer(nn.Linear(4 * width, width), bits)
        half = 1 << (bits - 1) if bits else 0
        self.rounds = nn.ModuleList(
            [Lsq(-half, half - 1) for _ in range(3)] + [Lsq(0, 2 * half - 1)] if bits else [])

    def forward(self, x):
        batch, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, self.heads, self.head)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if self.rounds:
            q, k, v = (rounds(t) for rounds, t in zip(self.rounds, (q, k, v)))
        attention = ((q @ k.transpose(-2, -1)) * self.head**-0.5).softmax(-1)
        if self.rounds:
            attention = self.rounds[3](attention)
        x = x + self.proj((attention @ v).transpose(1, 2).reshape(batch, tokens, width))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class DeiT(nn.Module):
    def __init__(self, bits, width=64, depth=4, heads=4):
        super().__init__()
        ends = 8 if bits else 0
        self.patch = Layer(nn.Conv2d(3, width, 4, 4), ends)
        self.tokens = nn.Parameter(torch.zeros(1, 2, width))
        self.position = nn.Parameter(torch.zeros(1, 66, width))
        self.blocks = nn.Sequential(*[Block(width, heads, bits) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.head, self.head_dist = (Layer(nn.Linear(width, 10), ends) for _ in range(2))

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.tokens.expand(x.shape[0], -1, -1), x], 1) + self.position
        x = self.norm(self.blocks(x))
        return (self.head(x[:, 0]) + self.head_dist(x[:, 1])) / 2


class Unit(nn.Module):
    def __init__(self, inputs, outputs, stride, bits):
        super().__init__()
        self.conv1 = Layer(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), bits, False)
        self.conv2 = Layer(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), bits, False)
        self.norm1, self.norm2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.stride, self.added = stride, outputs - inputs

    def forward(self, x):
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        if self.added:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.added // 2, self.added // 2))
        return F.relu(x + y)


class ResNet(nn.Module):
    def __init__(self, bits, width=16, blocks=2):
        super().__init__()
        ends = 8 if bits else 0
        self.stem = Layer(nn.Conv2d(3, width, 3, 1, 1, bias=False), ends)
        self.norm = nn.BatchNorm2d(width)
        units = []
        inputs = width
        for stage in range(3):
            for block in range(blocks):
                outputs = width << stage
                units.append(Unit(inputs, outputs, 2 if stage and not block else 1, bits))
                inputs = outputs
        self.units = nn.Sequential(*units)
        self.head = Layer(nn.Linear(inputs, 10), ends, False)

    def forward(self, x):
        x = self.units(F.relu(self.norm(self.stem(x))))
        return self.head(x.mean((2, 3)))


def main():
    network, method, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
    torch.manual_seed(1)
    torch.set_num_threads(1)
    bits = 4 if method == "lsq" else 0
    if network == "deit":
        model = DeiT(bits)
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.05)
    else:
        model = ResNet(bits)
        optimizer = torch.optim.SGD(
            model.parameters(), 0.02, momentum=0.9, nesterov=True, weight_decay=5e-4)
    images, labels = torch.randn(128, 3, 32, 32), torch.randint(0, 10, (128,))
    seconds = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        if network == "deit":
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss.item()
        seconds.append(time.perf_counter() - start)
    print(statistics.median(seconds[1:]))


main()
