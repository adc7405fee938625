# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite2 in plain torch, for inference: timm's costs 200 MB and seconds of imports, of which this needs
one network. The layers are those of timm's `tf_efficientnet_lite2`, in its order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.fusion import fuse_conv_bn_eval

STEM, HEAD, CLASSES = 32, 1280, 1000  # channels
EPSILON = 1e-3  # of the batch norms
STAGES = (  # blocks, size of the kernel, stride of the first block, channels in the middle for each that comes in, out
    (1, 3, 1, 1, 16),
    (3, 3, 2, 6, 24),
    (3, 5, 2, 6, 48),
    (4, 3, 2, 6, 88),
    (4, 5, 1, 6, 120),
    (5, 5, 2, 6, 208),
    (1, 3, 1, 6, 352),
)


class Convolution(nn.Module):
    """A convolution whose batch norm is folded in, padded as TensorFlow pads, and perhaps cut to 0 .. 6."""

    def __init__(self, into: int, out: int, size: int = 1, stride: int = 1, groups: int = 1, cut: bool = True) -> None:
        super().__init__()
        even = stride == 1  # then both sides are padded alike, which torch does faster
        self.conv = nn.Conv2d(into, out, size, stride, size // 2 if even else 0, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(out, eps=EPSILON)
        self.cut, self.same = cut, 0 if even else size

    def fold(self) -> None:
        """Puts the norm into the convolution's weights."""
        self.conv, self.norm = fuse_conv_bn_eval(self.conv, self.norm), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if self.same:
            x = pad(x, [side for n in (x.shape[3], x.shape[2]) for side in self._sides(n)])
        x = self.norm(self.conv(x))
        return x.clamp_(0, 6) if self.cut else x

    def _sides(self, length: int) -> tuple[int, int]:
        """Zeros before and after, so that the output has length / stride, rounded up."""
        stride = self.conv.stride[0]
        more = max((-(-length // stride) - 1) * stride + self.same - length, 0)
        return more // 2, more - more // 2


class Block(nn.Module):
    """An inverted bottleneck: wider, a convolution by channel, narrower, and the input added where it has that size."""

    def __init__(self, into: int, out: int, size: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = into * expand
        layers = [Convolution(into, wide)] if expand > 1 else []
        layers += [Convolution(wide, wide, size, stride, groups=wide), Convolution(wide, out, cut=False)]
        self.layers, self.added = nn.Sequential(*layers), stride == 1 and into == out

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + x if self.added else self.layers(x)


class EfficientNetLite2(nn.Module):
    """(N, 3, H, W) -> features (N, 1280); `classifier` makes scores of the thousand classes of them."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        """tensors: weights and norms in the order of the forward pass, the classifier last."""
        super().__init__()
        layers, width = [Convolution(3, STEM, 3, 2)], STEM
        for count, size, stride, expand, out in STAGES:
            for index in range(count):
                layers.append(Block(width, out, size, stride if index == 0 else 1, expand))
                width = out
        self.layers = nn.Sequential(*layers, Convolution(width, HEAD))
        self.classifier = nn.Linear(HEAD, CLASSES)
        self.load_state_dict(dict(zip(self.state_dict(), tensors, strict=True)))
        self.eval().requires_grad_(False)
        for convolution in self._convolutions():
            convolution.fold()

    def _convolutions(self) -> Iterator[Convolution]:
        return (module for module in self.modules() if isinstance(module, Convolution))

    @torch.inference_mode()
    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).mean(dim=(2, 3))
