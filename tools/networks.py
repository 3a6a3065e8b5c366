"""The networks that the scripts in this folder train or export, in plain torch (1.13 or newer)."""

import torch
from torch import nn

OPSET = 14


def conv_bn(inputs, outputs, kernel, stride=1, groups=1, activation=None, momentum=0.1):
    """Convolution without bias, batch normalisation, and `activation` if there is one."""
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, momentum=momentum),
    ]
    return nn.Sequential(*layers, *([activation()] if activation else []))


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):  # [batch, tokens, dim]
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each [batch, heads, tokens, dim / heads]
        attention = ((q @ k.transpose(-2, -1)) * (dim // self.heads) ** -0.5).softmax(-1)
        return self.proj((attention @ v).transpose(1, 2).reshape(batch, tokens, dim))


class EncoderBlock(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dim, heads, widen):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(dim, widen * dim), nn.GELU(), nn.Linear(widen * dim, dim))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def sine_positions(side, dim):
    """[1, side * side, dim]: sines and cosines of column and row at dim / 4 wavelengths, from 3 to 300 patches."""
    ys, xs = torch.meshgrid(torch.arange(side).float(), torch.arange(side).float(), indexing="ij")
    frequencies = 2 * 100 ** (-torch.arange(dim // 4) / (dim // 4))
    waves = [wave(at[..., None] * frequencies) for at in (xs, ys) for wave in (torch.sin, torch.cos)]
    return torch.cat(waves, -1).reshape(1, side * side, dim)


class VisionTransformer(nn.Module):
    """Patch embedding, learned positions and pre-norm blocks, as in ViT and DeiT: [batch, 3, H, W] -> [batch, classes].

    The head reads the class token if there is one, else the mean of all tokens.
    """

    def __init__(self, picture, patch, dim, depth, heads, classes, widen=4, class_token=True):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, dim, patch, patch)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim) * 0.02) if class_token else None
        positions = 0.3 * sine_positions(picture // patch, dim)
        self.pos_embed = nn.Parameter(torch.cat([torch.zeros(1, int(class_token), dim), positions], 1))
        self.blocks = nn.Sequential(*[EncoderBlock(dim, heads, widen) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, classes)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                nn.init.xavier_uniform_(module.weight.view(module.weight.shape[0], -1))
                nn.init.zeros_(module.bias)

    def forward(self, pixels):
        x = self.patch_embed(pixels).flatten(2).transpose(1, 2)
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)
        x = self.norm(self.blocks(x + self.pos_embed))
        return self.head(x.mean(1) if self.cls_token is None else x[:, 0])


def conv_silu(inputs, outputs, kernel, stride=1):
    return conv_bn(inputs, outputs, kernel, stride, activation=nn.SiLU, momentum=0.03)


class Bottleneck(nn.Module):
    """Residual block: the sum of two SiLU outputs, whose minimum is twice that of SiLU."""

    def __init__(self, channels):
        super().__init__()
        self.narrow = conv_silu(channels, channels // 2, 1)
        self.widen = conv_silu(channels // 2, channels, 3)

    def forward(self, x):
        return x + self.widen(self.narrow(x))


class DetectionHead(nn.Module):
    """Decoupled head of one level: [batch, channels, H, W] -> [batch, 4 + 1 + classes, H, W]."""

    def __init__(self, channels, hidden, classes):
        super().__init__()
        self.box_features = conv_silu(channels, hidden, 3)
        self.class_features = conv_silu(channels, hidden, 3)
        self.box = nn.Conv2d(hidden, 4, 1)
        self.objectness = nn.Conv2d(hidden, 1, 1)
        self.classes = nn.Conv2d(hidden, classes, 1)
        for convolution in (self.objectness, self.classes):
            nn.init.constant_(convolution.bias, -4.0)  # probability 0.02: most places hold nothing

    def forward(self, x):
        box, label = self.box_features(x), self.class_features(x)
        return torch.cat([self.box(box), self.objectness(box).sigmoid(), self.classes(label).sigmoid()], 1)


class Detector(nn.Module):
    """One-stage, anchor-free, in YOLOX's convention.

    [batch, 3, size, size] -> [batch, places, 4 + 1 + classes]: the places of stride 8, row by row, then those of
    stride 16. A row is (centre x, centre y) as offset from the place in strides, (log width, log height) in strides,
    objectness, class probabilities.
    """

    STRIDES = (8, 16)

    def __init__(self, size, classes):
        super().__init__()
        self.cells = [(size // stride) ** 2 for stride in self.STRIDES]
        self.rows = 5 + classes
        self.stem = conv_silu(3, 16, 3, 2)
        self.down4 = nn.Sequential(conv_silu(16, 32, 3, 2), Bottleneck(32))
        self.down8 = nn.Sequential(conv_silu(32, 64, 3, 2), Bottleneck(64))
        self.down16 = nn.Sequential(conv_silu(64, 72, 3, 2), conv_silu(72, 64, 1))
        self.up = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.join = conv_silu(128, 64, 1)
        self.heads = nn.ModuleList([DetectionHead(64, 24, classes) for _ in self.STRIDES])

    def forward(self, pixels):
        fine = self.down8(self.down4(self.stem(pixels)))
        coarse = self.down16(fine)
        fine = self.join(torch.cat([self.up(coarse), fine], 1))
        levels = [head(x).reshape(-1, self.rows, cells)
                  for head, x, cells in zip(self.heads, (fine, coarse), self.cells)]
        return torch.cat(levels, 2).transpose(1, 2)


def export_onnx(model, pixels, path, output, keep_batch_norm=False):
    """Writes the model with a free batch dimension. Batch norms are folded into convolutions unless kept."""
    training = torch.onnx.TrainingMode.PRESERVE if keep_batch_norm else torch.onnx.TrainingMode.EVAL
    model.eval()
    torch.onnx.export(model, pixels, str(path), opset_version=OPSET, training=training, input_names=["pixels"],
                      output_names=[output], dynamic_axes={"pixels": {0: "batch"}, output: {0: "batch"}})
