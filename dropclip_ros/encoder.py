# SPDX-License-Identifier: Apache-2.0
"""MinkUNet14D, the 3D encoder of DROP-CLIP (paper, section 3.3): voxels in, open-vocabulary features out.

Parameter names and layout are those of MinkowskiEngine's MinkUNet14D, so its checkpoints load unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu_

from dropclip_ros.sparse import Grid, SparseGrid

PLANES = 8  # four blocks on the way down, four on the way up
OFFSET_UNIT = 16


@dataclass(frozen=True)
class EncoderConfig:
    """Channel widths. The default is the paper's network (43.6 M parameters).

    in_channels: of the input (rgb: 3); out_channels: of the text space; stem: of the first convolution;
    planes: of the four blocks down (at 2, 4, 8, 16 voxels) and the four up (at 8, 4, 2, 1 voxels).
    offsets: a second head, beside the paper's: from each voxel to the middle of what is seen of its object, in units of
        OFFSET_UNIT voxels.
    """

    in_channels: int = 3
    out_channels: int = 768
    stem: int = 32
    planes: tuple[int, ...] = (32, 64, 128, 256, 384, 384, 384, 384)
    offsets: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "planes", tuple(self.planes))
        if len(self.planes) != PLANES:
            raise ValueError(f"planes must hold {PLANES} widths; got {len(self.planes)}: {self.planes}")
        widths = {"in_channels": self.in_channels, "out_channels": self.out_channels, "stem": self.stem}
        widths |= {f"planes[{i}]": width for i, width in enumerate(self.planes)}
        for name, width in widths.items():
            if not isinstance(width, int) or isinstance(width, bool) or not 1 <= width <= 4096:
                raise ValueError(f"{name} must be an integer in [1, 4096]; got {width!r}")
        if not isinstance(self.offsets, bool):
            raise ValueError(f"offsets must be true or false; got {self.offsets!r}")


class SparseConv(nn.Module):
    """Sparse convolution with kernel (size^3, Ci, Co), or (Ci, Co) for size 1."""

    def __init__(self, inputs: int, outputs: int, size: int, bias: bool = False):
        super().__init__()
        self.kernel = nn.Parameter(torch.empty((size**3, inputs, outputs) if size > 1 else (inputs, outputs)))
        self.register_parameter("bias", nn.Parameter(torch.zeros(1, outputs)) if bias else None)
        nn.init.normal_(self.kernel, std=(2 / (outputs * size**3)) ** 0.5)  # He, fan out: as the reference

    def forward(self, x: Tensor, grid: Grid | None, level: int, to_level: int | None = None) -> Tensor:
        """Rows (n, Ci) of `level` to rows (m, Co) of `to_level`; a kernel of size 1 needs no grid."""
        if self.kernel.ndim == 2:
            return x @ self.kernel if self.bias is None else torch.addmm(self.bias, x, self.kernel)
        return grid.convolve(x, self.kernel, self.bias, level, level if to_level is None else to_level)


class BatchNorm(nn.Module):
    """Batch norm over voxels; the extra level of naming is MinkowskiEngine's."""

    def __init__(self, channels: int):
        super().__init__()
        self.bn = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(x)


class BasicBlock(nn.Module):
    """Two 3^3 convolutions and a shortcut, which is projected where the width changes."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1 = SparseConv(inputs, outputs, 3)
        self.norm1 = BatchNorm(outputs)
        self.conv2 = SparseConv(outputs, outputs, 3)
        self.norm2 = BatchNorm(outputs)
        self.downsample = None
        if inputs != outputs:
            self.downsample = nn.Sequential(SparseConv(inputs, outputs, 1), BatchNorm(outputs))

    def forward(self, x: Tensor, grid: Grid, level: int) -> Tensor:
        shortcut = x
        if self.downsample is not None:
            projection, norm = self.downsample
            shortcut = norm(projection(x, grid, level))
        x = relu_(self.norm1(self.conv1(x, grid, level)))
        x = self.norm2(self.conv2(x, grid, level))
        return relu_(x + shortcut)


class MinkUNet14D(nn.Module):
    """Sparse U-Net with one `BasicBlock` a stage.

    forward(coords, feats): coords integer (N, 3) x, y, z or (N, 4) b, x, y, z in voxels, unique rows, or a grid
    built from them before (`SparseGrid`, `MinkowskiGrid`); feats float (N, in_channels). Returns (N, out_channels)
    in the caller's row order. Raises ValueError for coordinates a grid refuses or a count that does not match.
    `decode` is the same without the last layer; `head` and, where the configuration has it, `offset` (N, 3) go on its
    rows, on all or on some.
    """

    def __init__(self, config: EncoderConfig | None = None):
        super().__init__()
        self.config = config = config or EncoderConfig()
        stem, planes = config.stem, config.planes
        self.conv0p1s1 = SparseConv(config.in_channels, stem, 5)
        self.bn0 = BatchNorm(stem)
        width, skips = stem, [stem]
        for stage in range(1, 5):  # down: stride before is 1, 2, 4, 8
            self.add_module(f"conv{stage}p{1 << stage - 1}s2", SparseConv(width, width, 2))
            self.add_module(f"bn{stage}", BatchNorm(width))
            self.add_module(f"block{stage}", nn.Sequential(BasicBlock(width, planes[stage - 1])))
            width = planes[stage - 1]
            skips.append(width)
        for stage in range(4, 8):  # up: stride before is 16, 8, 4, 2
            self.add_module(f"convtr{stage}p{1 << 8 - stage}s2", SparseConv(width, planes[stage], 2))
            self.add_module(f"bntr{stage}", BatchNorm(planes[stage]))
            block = BasicBlock(planes[stage] + skips[7 - stage], planes[stage])
            self.add_module(f"block{stage + 1}", nn.Sequential(block))
            width = planes[stage]
        self.final = SparseConv(width, config.out_channels, 1, bias=True)
        self.offset = nn.Linear(width, 3) if config.offsets else None

    def forward(self, coords: Tensor | Grid, feats: Tensor) -> Tensor:
        return self.head(self.decode(coords, feats))

    def head(self, decoded: Tensor) -> Tensor:
        """Features (n, out_channels) of any rows (n, planes[-1]) of `decode`."""
        return self.final(decoded, None, 0)

    def decode(self, coords: Tensor | Grid, feats: Tensor) -> Tensor:
        """What the heads work on, (N, planes[-1]), in the caller's row order."""
        grid = SparseGrid(coords) if isinstance(coords, Tensor) else coords
        if feats.ndim != 2 or feats.shape[1] != self.config.in_channels:
            raise ValueError(f"features must be (N, {self.config.in_channels}); got {tuple(feats.shape)}")
        if len(feats) != len(grid):
            raise ValueError(f"{len(grid)} voxels but {len(feats)} feature rows")
        stage = self.get_submodule
        x = relu_(self.bn0(self.conv0p1s1(grid.permute(feats), grid, 0)))
        skips = [x]
        for i in range(1, 5):
            x = relu_(stage(f"bn{i}")(stage(f"conv{i}p{1 << i - 1}s2")(x, grid, i - 1, i)))
            x = stage(f"block{i}.0")(x, grid, i)
            skips.append(x)
        for i in range(4, 8):
            level = 7 - i
            x = relu_(stage(f"bntr{i}")(stage(f"convtr{i}p{1 << 8 - i}s2")(x, grid, level + 1, level)))
            x = torch.cat([x, skips[level]], 1)  # the upsampled part stands first
            x = stage(f"block{i + 1}.0")(x, grid, level)
        return grid.restore(x)

    @torch.no_grad()
    def fuse(self) -> MinkUNet14D:
        """Fold every batch norm into the kernel before it, in place, for inference: fewer passes over memory.

        The state dict has other names afterwards, so save first. Returns self, in eval mode.
        """
        convs = [module for module in self.modules() if isinstance(module, SparseConv)]
        norms = [name for name, module in self.named_modules() if isinstance(module, BatchNorm)]
        for conv, name in zip(convs[:-1], norms, strict=True):  # each has its norm after it, but for `final`
            bn = self.get_submodule(name).bn
            scale = bn.weight * torch.rsqrt(bn.running_var + bn.eps)
            conv.kernel.mul_(scale)
            conv.bias = nn.Parameter((bn.bias - bn.running_mean * scale)[None])
            parent, _, leaf = name.rpartition(".")
            setattr(self.get_submodule(parent), leaf, nn.Identity())
        return self.eval()
