# SPDX-License-Identifier: Apache-2.0
"""Sparse convolution on voxel grids: the border between the encoder and whatever computes it.

The encoder asks only three things of a *grid*: ``permute`` (the caller's rows to the grid's), ``convolve``, and
``restore`` (back again). `SparseGrid` does them in plain torch on CPU and CUDA; `MinkowskiGrid` hands them to
MinkowskiEngine where that is installed, and serves as the reference.

Conventions are MinkowskiEngine's, so that kernels can be exchanged: offsets are numbered x fastest
(``kx + K ky + K^2 kz``), odd kernels are centred, even ones run over {0, 1}, and level ``l + 1`` holds
``floor(c / 2)`` of the coordinates of level ``l``, on the absolute grid: shifting the input by anything but a
multiple of 16 voxels changes the features.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

BITS = 16  # of a packed key for each of batch, x, y, z
OFFSET = 1 << (BITS - 1)
MASK = (1 << BITS) - 1
MARGIN = 16  # voxels kept free at the border of the key range, so that neighbours never wrap around
CPU_TILE = 4096  # output rows convolved together on CPU: keeps the gathered rows in cache
CUDA_TILE = 1 << 15  # on CUDA few large launches are better


class Grid(Protocol):
    """What the encoder needs of a set of voxels; level 0 is the input, each further level is half as fine."""

    def __len__(self) -> int: ...

    def permute(self, features: Tensor) -> Tensor: ...

    def restore(self, features: Tensor) -> Tensor: ...

    def convolve(self, features: Tensor, kernel: Tensor, bias: Tensor | None, level: int, to_level: int) -> Tensor: ...


def pack(coords: Tensor) -> Tensor:
    """Sortable int64 keys (N,) of int64 coordinates (N, 4) (b, x, y, z). ValueError beyond what fits."""
    batch, xyz = coords[:, 0], coords[:, 1:]
    if len(coords) and (xyz.abs().max() >= OFFSET - MARGIN or batch.min() < 0 or batch.max() >= OFFSET):
        raise ValueError(
            f"voxel coordinates must lie within +-{OFFSET - MARGIN - 1}, batch indices in [0, {OFFSET - 1}]; got "
            f"[{int(xyz.min())}, {int(xyz.max())}] and [{int(batch.min())}, {int(batch.max())}]"
        )
    x, y, z = (xyz + OFFSET).unbind(1)
    return batch << 3 * BITS | x << 2 * BITS | y << BITS | z


class Tile(NamedTuple):
    """The (input row, output row) pairs of output rows [start, stop), ordered by kernel offset."""

    start: int
    stop: int
    source: Tensor  # (P,) input row of each pair
    target: Tensor  # (P,) output row of each pair
    counts: list[int]  # pairs of each kernel offset; their sum is P
    by_target: Tensor  # (P,) the pairs ordered by output row
    bounds: Tensor  # (stop - start,) where each output row begins in by_target


class KernelMap:
    """Which input row meets which output row under each kernel offset, cut into tiles of output rows.

    table: int64 (K, n_out), the input row that offset k brings to output row j; -1 where there is no voxel.
    """

    def __init__(self, table: Tensor):
        self.rows = table.shape[1]
        step = CUDA_TILE if table.is_cuda else CPU_TILE
        self.tiles = [self._tile(table, a, min(a + step, self.rows)) for a in range(0, self.rows, step)]
        self.pairs = max(len(tile.source) for tile in self.tiles)  # of the fullest tile

    @staticmethod
    def _tile(table: Tensor, start: int, stop: int) -> Tile:
        block = table[:, start:stop]
        hit = block >= 0
        offset, row = hit.nonzero().unbind(1)
        per_row = hit.sum(0)
        return Tile(
            start,
            stop,
            source=block[offset, row],
            target=row + start,
            counts=hit.sum(1).tolist(),
            by_target=torch.argsort(row.short(), stable=True),  # rows of a tile fit 16 bits, which sort fastest
            bounds=per_row.cumsum(0) - per_row,
        )


def _convolve(x: Tensor, kernel: Tensor, bias: Tensor | None, maps: KernelMap) -> Tensor:
    """Gather, one GEMM for each kernel offset, then sum what falls on each output row: no atomics, repeatable."""
    out = x.new_empty(maps.rows, kernel.shape[2])
    gathered = x.new_empty(maps.pairs, kernel.shape[1])
    products = x.new_empty(maps.pairs, kernel.shape[2])
    for tile in maps.tiles:
        source, product = gathered[: len(tile.source)], products[: len(tile.source)]
        torch.index_select(x, 0, tile.source, out=source)
        for rows, weight, result in zip(source.split(tile.counts), kernel, product.split(tile.counts), strict=True):
            torch.mm(rows, weight, out=result)
        part = embedding_bag(tile.by_target, product, tile.bounds, mode="sum")
        out[tile.start : tile.stop] = part if bias is None else part.add_(bias)
    return out


def _kernel_gradient(x: Tensor, grad: Tensor, maps: KernelMap, shape: torch.Size) -> Tensor:
    total = x.new_zeros(shape)
    sources, targets = x.new_empty(maps.pairs, shape[1]), x.new_empty(maps.pairs, shape[2])
    for tile in maps.tiles:
        source, target = sources[: len(tile.source)], targets[: len(tile.source)]
        torch.index_select(x, 0, tile.source, out=source)
        torch.index_select(grad, 0, tile.target, out=target)
        for weight, rows, gradient in zip(total, source.split(tile.counts), target.split(tile.counts), strict=True):
            weight.addmm_(rows.t(), gradient)
    return total


class _SparseConvolution(torch.autograd.Function):
    """Autograd through the gathers would keep every gathered copy; this keeps the input and the kernel."""

    @staticmethod
    def forward(ctx, x, kernel, bias, maps, dual, mirrored):
        ctx.save_for_backward(x, kernel)
        ctx.maps, ctx.dual, ctx.mirrored, ctx.has_bias = maps, dual, mirrored, bias is not None
        return _convolve(x, kernel, bias, maps)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        x, kernel = ctx.saved_tensors
        grad = grad.contiguous()
        grad_x = grad_kernel = None
        if ctx.needs_input_grad[0]:
            # the transposed map of a centred kernel is its own map, offsets mirrored
            back = kernel.flip(0) if ctx.mirrored else kernel
            grad_x = _convolve(grad, back.transpose(1, 2), None, ctx.dual)
        if ctx.needs_input_grad[1]:
            grad_kernel = _kernel_gradient(x, grad, ctx.maps, kernel.shape)
        grad_bias = grad.sum(0, keepdim=True) if ctx.has_bias else None
        return grad_x, grad_kernel, grad_bias, None, None, None


class SparseGrid:
    """Voxels of one or several scenes with their kernel maps, each built once when first asked for.

    coords: integer (N, 3) (x, y, z) or (N, 4) (b, x, y, z), no voxel twice, any order, in units of voxels.
    The maps live on the device of `coords`. Reuse one grid for any number of passes over these voxels.
    Raises ValueError for an empty or wrongly shaped array, a repeated voxel, coordinates beyond +-32751.
    """

    def __init__(self, coords: Tensor):
        coords = with_batch(coords)
        key, self.order = torch.sort(pack(coords))
        if (key[1:] == key[:-1]).any():
            repeated = int((key[1:] == key[:-1]).sum())
            raise ValueError(f"{repeated} voxels occur more than once; voxelise the points first")
        self.inverse = torch.empty_like(self.order)
        self.inverse[self.order] = torch.arange(len(key), device=key.device)
        self._keys = [key]
        self._parents: list[Tensor] = []
        self._maps: dict[tuple[int, int, int], KernelMap] = {}

    def __len__(self) -> int:
        return len(self.order)

    def permute(self, features: Tensor) -> Tensor:
        """Rows in the caller's order (N, C) to the grid's order."""
        return features.index_select(0, self.order)

    def restore(self, features: Tensor) -> Tensor:
        """Rows in the grid's order (N, C) back to the caller's."""
        return features.index_select(0, self.inverse)

    def convolve(self, features: Tensor, kernel: Tensor, bias: Tensor | None, level: int, to_level: int) -> Tensor:
        """Convolve features (n, Ci) of `level` with kernel (K^3, Ci, Co) into rows (m, Co) of `to_level`.

        `to_level` equal to `level`: odd kernel, same voxels. One more: size 2, stride 2. One less: its transpose.
        """
        size = kernel_size(kernel.shape[0])
        maps = self._map(level, to_level, size)
        if not torch.is_grad_enabled():
            return _convolve(features, kernel, bias, maps)
        dual = self._map(to_level, level, size)
        return _SparseConvolution.apply(features, kernel, bias, maps, dual, level == to_level)

    def pairs(self, level: int, to_level: int, size: int) -> int:
        """How many (input, output) pairs of voxels a convolution multiplies: its useful work."""
        return sum(len(tile.source) for tile in self._map(level, to_level, size).tiles)

    def _map(self, level: int, to_level: int, size: int) -> KernelMap:
        if (level, to_level, size) not in self._maps:
            while len(self._keys) <= max(level, to_level):
                self._coarsen()
            if level == to_level:
                table = self._neighbours(self._keys[level], size)
            elif to_level == level + 1 and size == 2:
                table = self._children(level, down=True)
            elif to_level == level - 1 and size == 2:
                table = self._children(to_level, down=False)
            else:
                raise ValueError(f"no convolution of size {size} from level {level} to {to_level}")
            self._maps[level, to_level, size] = KernelMap(table)
        return self._maps[level, to_level, size]

    def _coarsen(self) -> None:
        key = self._keys[-1]
        # OFFSET is even, so (c + OFFSET) >> 1 is floor(c / 2) + OFFSET / 2
        halves = [((key >> s * BITS & MASK) >> 1) + OFFSET // 2 << s * BITS for s in range(3)]
        coarse = key >> 3 * BITS << 3 * BITS | halves[0] | halves[1] | halves[2]
        coarse, parent = torch.unique(coarse, return_inverse=True)
        self._keys.append(coarse)
        self._parents.append(parent)

    def _children(self, level: int, down: bool) -> Tensor:
        """Table (8, n) between a level and the next coarser one; n is of coarse rows going down, of fine ones up."""
        key, parent = self._keys[level], self._parents[level]
        child = (key >> 2 * BITS & 1) | (key >> BITS & 1) << 1 | (key & 1) << 2
        fine = torch.arange(len(key), device=key.device)
        table = key.new_full((8, len(self._keys[level + 1]) if down else len(key)), -1)
        if down:
            table[child, parent] = fine
        else:
            table[child, fine] = parent
        return table

    @staticmethod
    def _neighbours(key: Tensor, size: int) -> Tensor:
        """Table (size^3, n) of a centred kernel.

        Voxels of one column (same x, y) stand side by side in `key`: each column of the kernel needs one search.
        """
        if size % 2 == 0:
            raise ValueError(f"kernels within a level must be of odd size; got {size}")
        radius = size // 2
        table = key.new_full((size**3, len(key)), -1)
        padded = torch.cat([key, key.new_full((size,), torch.iinfo(key.dtype).max)])
        columns = [(dx, dy) for dy in range(-radius, radius + 1) for dx in range(-radius, radius + 1)]
        for dx, dy in columns[len(columns) // 2 :]:
            wanted = key + (dx << 2 * BITS) + (dy << BITS) - radius
            row = torch.searchsorted(key, wanted)
            for dz in range(-radius, radius + 1):
                hit = padded.index_select(0, row) == wanted
                k = (dx + radius) + size * (dy + radius) + size**2 * (dz + radius)
                table[k] = torch.where(hit, row, -1)
                if (dx, dy) != (0, 0):  # if j lies at an offset from i, then i lies at the opposite one from j
                    found = hit.nonzero().squeeze(1)
                    table[-1 - k].index_copy_(0, row.index_select(0, found), found)
                row = row + hit
                wanted = wanted + 1
        return table


class MinkowskiGrid:
    """The same grid computed by MinkowskiEngine 0.5, the reference implementation.

    coords as for `SparseGrid`. Raises ImportError where MinkowskiEngine is not installed, ValueError as `SparseGrid`.
    """

    def __init__(self, coords: Tensor):
        try:
            import MinkowskiEngine
        except ImportError as error:
            raise ImportError("MinkowskiGrid needs MinkowskiEngine 0.5; SparseGrid needs nothing but torch") from error
        self._engine = MinkowskiEngine
        coords = with_batch(coords).int()
        first = MinkowskiEngine.SparseTensor(torch.zeros(len(coords), 1, device=coords.device), coordinates=coords)
        if len(first) != len(coords):
            raise ValueError(f"{len(coords) - len(first)} voxels occur more than once; voxelise the points first")
        self._manager = first.coordinate_manager
        self._keys = [first.coordinate_map_key]  # of each level, as the strided convolutions make them
        self._convs: dict[tuple, torch.nn.Module] = {}

    def __len__(self) -> int:
        return self._manager.size(self._keys[0])

    def permute(self, features: Tensor) -> Tensor:
        """MinkowskiEngine keeps the caller's order where no voxel is repeated."""
        return features

    def restore(self, features: Tensor) -> Tensor:
        return features

    def convolve(self, features: Tensor, kernel: Tensor, bias: Tensor | None, level: int, to_level: int) -> Tensor:
        """As `SparseGrid.convolve`; a coarser level must be reached by going down before going up to another."""
        conv = self._conv(kernel.shape, level, to_level)
        engine_input = self._engine.SparseTensor(
            features, coordinate_map_key=self._keys[level], coordinate_manager=self._manager
        )
        target = self._keys[to_level] if to_level < len(self._keys) else None
        out = torch.func.functional_call(conv, {"kernel": kernel}, (engine_input, target))
        if target is None:
            self._keys.append(out.coordinate_map_key)
        return out.F if bias is None else out.F + bias

    def _conv(self, shape: torch.Size, level: int, to_level: int) -> torch.nn.Module:
        wanted = (*shape, to_level - level)
        if wanted not in self._convs:
            up = to_level < level
            kind = self._engine.MinkowskiConvolutionTranspose if up else self._engine.MinkowskiConvolution
            self._convs[wanted] = kind(
                shape[1], shape[2], kernel_size=kernel_size(shape[0]), stride=1 if level == to_level else 2, dimension=3
            )
        return self._convs[wanted]


def kernel_size(volume: int) -> int:
    """Edge of a cubic kernel of so many offsets. ValueError where it is none."""
    size = round(volume ** (1 / 3))
    if size**3 != volume:
        raise ValueError(f"a kernel must have size^3 offsets; got {volume}")
    return size


def with_batch(coords: Tensor) -> Tensor:
    """Integer coordinates (N, 3) or (N, 4) as int64 (N, 4) (b, x, y, z). ValueError for anything else."""
    if coords.ndim != 2 or coords.shape[1] not in (3, 4) or len(coords) == 0 or coords.is_floating_point():
        raise ValueError(
            "voxel coordinates must be a non-empty integer array (N, 3) x, y, z or (N, 4) b, x, y, z; "
            f"got {tuple(coords.shape)} {coords.dtype}"
        )
    coords = coords.long()
    return coords if coords.shape[1] == 4 else torch.nn.functional.pad(coords, (1, 0))
