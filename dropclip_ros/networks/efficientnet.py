# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite2 (Tan and Le 2019, without squeeze and excitation), in torch alone: timm takes 2 s to import."""

from __future__ import annotations

from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEATURES = 1280
_STEM = 32
_EPS = 1e-3  # of batch norm, as in TensorFlow
# kernel, stride, expansion, channels, blocks: widths times 1.1, depths times 1.2, as Lite2 scales them
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 3),
    (5, 2, 6, 48, 3),
    (3, 2, 6, 88, 4),
    (5, 1, 6, 120, 4),
    (5, 2, 6, 208, 5),
    (3, 1, 6, 352, 1),
)


class _Conv(nn.Module):
    """Convolution, padded as TensorFlow pads ("SAME"), batch norm, and ReLU6 where wanted."""

    def __init__(self, inputs: int, outputs: int, size: int = 1, stride: int = 1, groups: int = 1, relu: bool = True):
        super().__init__()
        padding = size // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(inputs, outputs, size, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, _EPS)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        size, stride = self.conv.kernel_size[0], self.conv.stride[0]
        if stride > 1:  # more on the right and below where the number is odd
            rows, columns = (max((ceil(n / stride) - 1) * stride + size - n, 0) for n in x.shape[2:])
            x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        x = self.norm(self.conv(x))
        return F.relu6(x, inplace=not torch.is_grad_enabled()) if self.relu else x


class _Block(nn.Module):
    """Inverted residual: wider, depthwise, narrow again, with a shortcut where the shapes allow it."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int, expansion: int):
        super().__init__()
        wide = inputs * expansion
        self.layers = nn.Sequential(
            *([_Conv(inputs, wide)] if expansion > 1 else []),
            _Conv(wide, wide, size, stride, groups=wide),
            _Conv(wide, outputs, relu=False),
        )
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.shortcut else self.layers(x)


class EfficientNetLite2(nn.Module):
    """Images (N, 3, S, S) -> features (N, 1280); `classifier` makes class scores (N, classes) of them."""

    def __init__(self, classes: int = 1000):
        super().__init__()
        width, blocks = _STEM, []
        self.stem = _Conv(3, width, 3, 2)
        for size, stride, expansion, outputs, count in _STAGES:
            for k in range(count):
                blocks.append(_Block(width, outputs, size, stride if k == 0 else 1, expansion))
                width = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = _Conv(width, FEATURES)
        self.classifier = nn.Linear(FEATURES, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(images))).mean((2, 3))
