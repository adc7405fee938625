# SPDX-License-Identifier: Apache-2.0
"""MinkUNet14D, the 3D encoder of DROP-CLIP (paper, sections 3.3 and A.2): voxels in, open-vocabulary features out.

Parameter names and layout are those of MinkowskiEngine's MinkUNet14D, so its checkpoints load unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot, relu_

from dropclip_ros.base.ranges import check_fields, ranged
from dropclip_ros.sparse import make_grid
from dropclip_ros.sparse.protocol import Grid

PLANES = 8  # four blocks on the way down, four on the way up
OFFSET_UNIT = 16
SHAPE = 4  # numbers on the size and shape of an object
LEAST_VARIANCE = 1e-4  # below it a root is steep


@dataclass(frozen=True)
class EncoderConfig:
    """Channel widths. The default is the paper's network (43.6 M parameters).

    in_channels: of the input (rgb: 3); out_channels: of the text space; stem: of the first convolution;
    planes: of the four blocks down (at 2, 4, 8, 16 voxels) and the four up (at 8, 4, 2, 1 voxels).
    offsets: a second head, beside the paper's: from each voxel to the middle of what is seen of its object, in units of
        OFFSET_UNIT voxels.
    objects: width of the hidden layer of a third head, which says what a whole object is; 0 for none.
    """

    in_channels: int = ranged(3, 1, 4096)
    out_channels: int = ranged(768, 1, 4096)
    stem: int = ranged(32, 1, 4096)
    planes: tuple[int, ...] = ranged((32, 64, 128, 256, 384, 384, 384, 384), 1, 4096)
    offsets: bool = False
    objects: int = ranged(0, 0, 4096)

    def __post_init__(self) -> None:
        object.__setattr__(self, "planes", tuple(self.planes))
        if len(self.planes) != PLANES:
            raise ValueError(f"planes must hold {PLANES} widths; got {len(self.planes)}: {self.planes}")
        check_fields(self)
        if not isinstance(self.offsets, bool):
            raise ValueError(f"offsets must be true or false; got {self.offsets!r}")

    @property
    def descriptor_size(self) -> int:
        """Numbers in a descriptor of `MinkUNet14D.object_descriptors`."""
        return 2 * (self.in_channels + sum(self.planes[4:])) + SHAPE


class SparseConv(nn.Module):
    """Sparse convolution with kernel (size^3, Ci, Co), or (Ci, Co) for size 1."""

    bias: nn.Parameter | None

    def __init__(self, inputs: int, outputs: int, size: int, bias: bool = False):
        super().__init__()
        self.kernel = nn.Parameter(torch.empty((size**3, inputs, outputs) if size > 1 else (inputs, outputs)))
        self.register_parameter("bias", nn.Parameter(torch.zeros(1, outputs)) if bias else None)
        nn.init.normal_(self.kernel, std=(2 / (outputs * size**3)) ** 0.5)  # He, fan out: as the reference

    def forward(
        self,
        x: Tensor,
        grid: Grid,
        level: int,
        to_level: int,
        *,
        residual: Tensor | None = None,
        relu: bool = False,
        rows: Tensor | None = None,
    ) -> Tensor:
        """Rows (n, Ci) of `level` to rows (m, Co) of `to_level`, or to some of these: see `SparseGrid.convolve`."""
        if rows is not None:
            return grid.convolve(x, self.kernel, self.bias, level, to_level, residual, relu, rows)
        return grid.convolve(x, self.kernel, self.bias, level, to_level, residual, relu)


class BatchNorm(nn.Module):
    """Batch norm over voxels; the extra level of naming is MinkowskiEngine's."""

    def __init__(self, channels: int):
        super().__init__()
        self.bn = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(x)


def convolve(
    conv: SparseConv,
    norm: nn.Module,
    x: Tensor,
    grid: Grid,
    level: int,
    to_level: int,
    residual: Tensor | None = None,
    rows: Tensor | None = None,
) -> Tensor:
    """Convolution, batch norm, residual, ReLU: in one pass where the norm is folded into the kernel (`fuse`)."""
    if isinstance(norm, nn.Identity):
        return conv(x, grid, level, to_level, residual=residual, relu=True, rows=rows)
    x = norm(conv(x, grid, level, to_level, rows=rows))
    return relu_(x if residual is None else x + residual)


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

    def forward(self, x: Tensor, grid: Grid, level: int, rows: Tensor | None = None) -> Tensor:
        """Rows (n, Ci) of a level to (n, Co), or to those of `rows` alone: the second convolution skips the others."""
        inner = convolve(self.conv1, self.norm1, x, grid, level, level)
        shortcut = x if rows is None else x.index_select(0, rows)
        if self.downsample is not None:
            projection, norm = self.downsample
            assert isinstance(projection, SparseConv)
            shortcut = norm(shortcut @ projection.kernel)  # in training it may be a half, no parameter
        return convolve(self.conv2, self.norm2, inner, grid, level, level, shortcut, rows)


class Activations(NamedTuple):
    """What a pass leaves: `decoded` (N, planes[-1]) in the type of the heads, coords (N, 3 or 4) and feats (N,
    in_channels), all in the caller's order; the grid, and what the four blocks on the way up put out, at 8, 4, 2 and 1
    voxels, in the grid's order."""

    decoded: Tensor
    coords: Tensor
    feats: Tensor
    grid: Grid
    levels: list[Tensor]


class MinkUNet14D(nn.Module):
    """Sparse U-Net with one `BasicBlock` a stage.

    forward(coords, feats): coords integer (N, 3) x, y, z or (N, 4) b, x, y, z in voxels, unique rows, or a grid
    built from them before (`SparseGrid`, `MinkowskiGrid`); feats float (N, in_channels). Returns (N, out_channels)
    in the caller's row order, or `rows` of it. Raises ValueError for coordinates a grid refuses or a count that does
    not match. `decode` is the same without the last layer; `head` and, where the configuration has it, `offset` (N, 3)
    go on its rows, on all or on some. `object_features` says what whole objects are, where it has a head for that.
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
        self.objects = None
        if config.objects:
            layers = nn.Linear(config.descriptor_size, config.objects), nn.Linear(config.objects, config.out_channels)
            nn.init.zeros_(layers[1].weight)  # what is untrained changes nothing
            nn.init.zeros_(layers[1].bias)
            self.objects = nn.Sequential(layers[0], nn.GELU(), layers[1])

    def forward(self, coords: Tensor | Grid, feats: Tensor, rows: Tensor | None = None) -> Tensor:
        return self.head(self.decode(coords, feats, rows))

    def head(self, decoded: Tensor) -> Tensor:
        """Features (n, out_channels) of any rows (n, planes[-1]) of `decode`."""
        return torch.addmm(self.final.get_parameter("bias"), decoded, self.final.kernel)

    @torch.no_grad()
    def thin_head(self) -> tuple[nn.Linear, Tensor]:
        """The head without what it cannot say: it maps into D = planes[-1] + 1 dimensions of the text space, at most.

        Returns a layer (n, planes[-1]) to (n, D) and an orthonormal basis (out_channels, D) with head(x) equal to
        thin(x) @ basis.T. Norms and cosines of features are those of thin(x), and phrases (K, out_channels) meet them
        as phrases @ basis: pooling and comparing voxels costs D numbers each and stays exact.
        """
        weight = torch.cat([self.final.kernel, self.final.get_parameter("bias")]).double()
        basis, thin = torch.linalg.qr(weight.T)
        layer = nn.Linear(thin.shape[1] - 1, len(thin), device=weight.device).requires_grad_(False)
        layer.weight.copy_(thin[:, :-1])
        layer.bias.copy_(thin[:, -1])
        return layer, basis.float()

    def decode(self, coords: Tensor | Grid, feats: Tensor, rows: Tensor | None = None) -> Tensor:
        """What the heads work on, in their type, (N, planes[-1]), in the caller's row order.

        rows, int64 (n,): the voxels that are asked for, as indices into `coords`; the last convolution is not computed
        elsewhere. In training mode it is, since batch norm's statistics are those of all voxels.
        """
        grid = make_grid(coords) if isinstance(coords, Tensor) else coords
        asked = None if rows is None or self.training else grid.locate(rows)
        x = self._blocks(grid, feats, asked)[-1]
        if asked is None:
            x = grid.restore(x)
            x = x if rows is None else x.index_select(0, rows)
        return x.to(self.final.kernel.dtype)

    def activations(self, coords: Tensor, feats: Tensor) -> Activations:
        """`decode`, with what it came by, for `object_descriptors`. coords (N, 4) b, x, y, z or (N, 3)."""
        grid = make_grid(coords)
        levels = self._blocks(grid, feats)
        return Activations(grid.restore(levels[-1]).to(self.final.kernel.dtype), coords, feats, grid, levels)

    def object_features(self, passed: Activations, owner: Tensor, count: int) -> Tensor:
        """Unit features (count, out_channels) of whole objects. Arguments: as of `object_descriptors`.

        The feature of the object's mean voxel, plus what the head `objects` makes of the descriptor. Coarse blocks know
        more of what an object is than the last one, which has to tell voxels apart in few channels.
        """
        descriptors = self.object_descriptors(passed, owner, count)
        first = SHAPE + 2 * self.config.in_channels
        mean = descriptors[:, first : first + self.config.planes[-1]]
        assert self.objects is not None, "an encoder without a head for objects"
        return normalize(normalize(self.head(mean), dim=1) + self.objects(descriptors), dim=1)

    def object_descriptors(self, passed: Activations, owner: Tensor, count: int) -> Tensor:
        """What is known of whole objects, (count, config.descriptor_size).

        owner, int64 (N,): the object 0.. of each voxel, -1 for none. A descriptor holds, in this order:
        the size and shape (`_shape`); mean and deviation of the colours; mean and deviation of what each block on the
        way up puts out there, the last block first.
        """
        kind = self.final.kernel.dtype
        member = one_hot(owner + 1, count + 1)[:, 1:].to(kind)  # (N, count)
        size = member.sum(0).clamp(min=1)[:, None]
        share = member / size.T  # of an object, that each voxel is
        shape = _shape(share, size, passed.coords[:, -3:].to(kind) / OFFSET_UNIT)
        found = [shape, *_moments(share, passed.feats.to(kind))]
        share, same = passed.grid.permute(share), torch.eye(count, device=owner.device, dtype=kind).expand(8, -1, -1)
        for level, outputs in enumerate(reversed(passed.levels)):
            if level:  # larger voxels have the sum of those within
                with torch.no_grad():
                    share = passed.grid.convolve(share, same, None, level - 1, level)
            found += _moments(share, outputs.to(kind))
        return torch.cat(found, 1)

    def _blocks(self, grid: Grid, feats: Tensor, rows: Tensor | None = None) -> list[Tensor]:
        """What the four blocks on the way up put out, in the grid's order; of the last, `rows` alone where given."""
        if feats.ndim != 2 or feats.shape[1] != self.config.in_channels:
            raise ValueError(f"features must be (N, {self.config.in_channels}); got {tuple(feats.shape)}")
        if len(feats) != len(grid):
            raise ValueError(f"{len(grid)} voxels but {len(feats)} feature rows")
        stage = self.get_submodule
        x = grid.permute(feats).to(self.conv0p1s1.kernel.dtype)
        x = convolve(self.conv0p1s1, self.bn0, x, grid, 0, 0)
        skips, found = [x], []
        for i in range(1, 5):
            x = convolve(self._conv(f"conv{i}p{1 << i - 1}s2"), stage(f"bn{i}"), x, grid, i - 1, i)
            x = stage(f"block{i}.0")(x, grid, i)
            skips.append(x)
        for i in range(4, 8):
            level = 7 - i
            x = convolve(self._conv(f"convtr{i}p{1 << 8 - i}s2"), stage(f"bntr{i}"), x, grid, level + 1, level)
            x = torch.cat([x, skips[level]], 1)  # the upsampled part stands first
            x = stage(f"block{i + 1}.0")(x, grid, level, rows if level == 0 else None)
            found.append(x)
        return found

    def _conv(self, name: str) -> SparseConv:
        return cast(SparseConv, self.get_submodule(name))

    @torch.no_grad()
    def fuse(self, dtype: torch.dtype = torch.float32) -> MinkUNet14D:
        """Fold every batch norm into the kernel before it, in place, for inference: fewer passes over memory.

        dtype: to convolve in; the heads stay fp32. The state dict has other names afterwards, so save first. Returns
        self, in eval mode.
        """
        convs = [module for module in self.modules() if isinstance(module, SparseConv)]
        norms = [(name, module.bn) for name, module in self.named_modules() if isinstance(module, BatchNorm)]
        for conv, (name, bn) in zip(convs[:-1], norms, strict=True):  # each has its norm after it, but for `final`
            assert bn.running_mean is not None and bn.running_var is not None
            scale = bn.weight * torch.rsqrt(bn.running_var + bn.eps)
            conv.kernel = nn.Parameter((conv.kernel * scale).to(dtype), requires_grad=False)
            conv.bias = nn.Parameter((bn.bias - bn.running_mean * scale)[None].to(dtype), requires_grad=False)
            parent, _, leaf = name.rpartition(".")
            setattr(self.get_submodule(parent), leaf, nn.Identity())
        for block in self.modules():
            if isinstance(block, BasicBlock) and block.downsample is not None:  # both biases are added to the same sum
                projection = cast(SparseConv, block.downsample[0])
                block.conv2.get_parameter("bias").add_(projection.get_parameter("bias"))
                projection.bias = None
        return self.eval()


def _shape(share: Tensor, size: Tensor, xyz: Tensor) -> Tensor:
    """Size and shape of objects, (K, SHAPE): the logarithm of the number of voxels, and three deviations.

    The deviations are those along the two principal axes in the plane of the table, the larger first, and across it.
    share (N, K): of each object, that a voxel is; size (K, 1), voxels; xyz (N, 3), in units of OFFSET_UNIT voxels.
    """
    x, y, z = (xyz - xyz.mean(0)).T
    at, squares = (share.T @ torch.stack(of, 1) for of in ((x, y, z), (x * x, y * y, z * z, x * y)))
    xx, yy, zz = (squares[:, :3] - at * at).T
    xy = squares[:, 3] - at[:, 0] * at[:, 1]
    middle, half = (xx + yy) / 2, (((xx - yy) / 2) ** 2 + xy**2).sqrt()  # eigenvalues: middle +- half
    spread = torch.stack([middle + half, middle - half, zz], 1).clamp(min=LEAST_VARIANCE).sqrt()
    return torch.cat([size.log(), spread], 1)


def _moments(share: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation (K, C) of values (n, C) over objects, of which each row is a share (n, K)."""
    mean = share.T @ values
    return mean, (share.T @ values**2 - mean**2).clamp(min=LEAST_VARIANCE).sqrt()
