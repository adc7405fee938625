# SPDX-License-Identifier: Apache-2.0
"""Sparse convolution in plain torch, on CPU and CUDA; fp32 on CPU by the compiled kernels of `native` where the build
made them."""

from __future__ import annotations

import functools
import threading
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from dropclip_ros.sparse import native
from dropclip_ros.sparse.protocol import check_range, finish, kernel_size, with_batch

MARGIN = 2  # empty cells between the lines of a box, so that neighbours never wrap around: kernels up to size 5
CELLS = 1 << 20, 512  # a box of at most so many cells, and so many more a voxel, is a dense table
TILE = native.TILE  # output rows convolved together on CPU: keeps what is added up in cache
WIDE = 1 << 16  # inputs times outputs: of wider kernels BLAS finds the gradient faster than the compiled kernels do
CUDA_TILE = 1 << 15  # on CUDA few large launches are better


class Box:
    """A box around voxels (4, n) of b, x, y, z, int64: each has a cell, and a neighbour is a constant of cells away."""

    def __init__(self, coords: Tensor):
        low, high = (bound.tolist() for bound in coords.aminmax(dim=1))
        x, y, z = (last - first + 1 + MARGIN for first, last in zip(low[1:], high[1:], strict=True))
        self.strides = (x * y * z, y * z, z, 1)
        border = MARGIN * sum(self.strides[1:])
        self.size = (high[0] - low[0] + 1) * self.strides[0] + 2 * border
        corner = border - sum(first * stride for first, stride in zip(low, self.strides, strict=True))
        self.cells = coords[3] + corner
        for column, stride in zip(coords, self.strides[:3], strict=False):
            self.cells.add_(column, alpha=stride)

    def offsets(self, size: int) -> Tensor:
        """How many cells away each voxel of a centred kernel lies, int64 (size^3,)."""
        steps = torch.arange(size) - size // 2
        _, x, y, z = self.strides
        return (steps * x + (steps * y)[:, None] + (steps * z)[:, None, None]).flatten().to(self.cells.device)


class Level:
    """The voxels of one level, coords int64 (4, n) of b, x, y, z, in lexicographic order."""

    def __init__(self, coords: Tensor, box: Box):
        self.coords, self.box, self.cells = coords, box, box.cells

    def __len__(self) -> int:
        return len(self.cells)

    def coarser(self) -> tuple[Level, Tensor]:
        """The level of voxels twice as large, and the row there of each voxel's parent, (n,)."""
        coords = self.coords.clone()
        coords[1:] >>= 1  # floor, below zero too
        box = Box(coords)
        box.cells, parent = torch.unique(box.cells, return_inverse=True)
        coarse = coords.new_empty(4, len(box.cells))
        return Level(coarse.index_copy_(1, parent, coords), box), parent

    def neighbours(self, size: int) -> KernelMap:
        """Map of a centred kernel of odd size."""
        if size % 2 == 0 or size // 2 > MARGIN:
            raise ValueError(f"kernels within a level must be of odd size up to {2 * MARGIN + 1}; got {size}")
        offsets = self.box.offsets(size)
        if self.box.size <= CELLS[0] + CELLS[1] * len(self):
            return KernelMap(self._volume, self.cells, offsets, len(self))
        wanted = self.cells + offsets[:, None]
        row = torch.searchsorted(self.cells, wanted).clamp_(max=len(self) - 1)
        return KernelMap.of_table(torch.where(self.cells[row] == wanted, row, -1).int())

    @functools.cached_property
    def _volume(self) -> Tensor:
        """Row of the voxel in each cell of the box, int32, -1 where there is none."""
        volume = torch.full((self.box.size,), -1, dtype=torch.int32, device=self.cells.device)
        return volume.index_copy_(0, self.cells, torch.arange(len(self), dtype=torch.int32, device=self.cells.device))


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
    """Which input row meets which output row under each kernel offset: pairs, by tiles of output rows, then by offset.

    Output row j of `rows` meets input row volume[cells[j] + offset], int32, under each of the offsets (K,), unless that
    is negative; where cells is None, j takes its place.
    """

    def __init__(self, volume: Tensor, cells: Tensor | None, offsets: Tensor, rows: int):
        self.volume, self.cells, self.offsets, self.rows = volume, cells, offsets, rows

    @classmethod
    def of_table(cls, table: Tensor) -> KernelMap:
        """Of a table int32 (K, rows): the input row that offset k brings to output row j, -1 where there is none."""
        offsets, rows = table.shape
        return cls(table.flatten(), None, torch.arange(offsets, device=table.device) * rows, rows)

    @functools.cached_property
    def pairs(self) -> tuple[Tensor, Tensor, Tensor]:
        """For the compiled kernels: see `native.find_pairs`."""
        return native.find_pairs(self.volume, self.cells, self.offsets, self.rows)

    @functools.cached_property
    def tiles(self) -> list[Tile]:
        """For plain torch."""
        step = CUDA_TILE if self.volume.is_cuda else TILE
        return [self._tile(a, min(a + step, self.rows)) for a in range(0, self.rows, step)]

    def _tile(self, start: int, stop: int) -> Tile:
        cells = torch.arange(start, stop, device=self.volume.device) if self.cells is None else self.cells[start:stop]
        block = self.volume.index_select(0, (cells + self.offsets[:, None]).flatten())
        hit = block >= 0
        where, hit = hit.nonzero().squeeze(1), hit.view(-1, stop - start)
        row = where % (stop - start)
        per_row = hit.sum(0)
        return Tile(
            start,
            stop,
            source=block.index_select(0, where),
            target=row + start,
            counts=hit.sum(1).tolist(),
            by_target=torch.argsort(row.short(), stable=True),  # rows of a tile fit 16 bits, which sort fastest
            bounds=per_row.cumsum(0) - per_row,
        )

    def of_rows(self, rows: Tensor) -> KernelMap:
        """The map of some output rows (n,) only."""
        cells = rows if self.cells is None else self.cells.index_select(0, rows)
        return KernelMap(self.volume, cells, self.offsets, len(rows))

    def count(self) -> int:
        """How many pairs there are."""
        if _compiled(self.volume):
            return len(self.pairs[0])
        return sum(len(tile.source) for tile in self.tiles)


def _compiled(*tensors: Tensor | None) -> bool:
    """Whether the compiled kernels serve these tensors."""
    return native.available() and all(
        t is None or (t.device.type == "cpu" and t.dtype in (torch.float32, torch.int32)) for t in tensors
    )


_buffers = threading.local()


def _buffer(name: str, rows: int, columns: int, like: Tensor) -> Tensor:
    """Uninitialised memory (rows, columns), the same at each call: gathered rows are many, and new pages are slow."""
    held = _buffers.held = getattr(_buffers, "held", {})
    kept = held.get((name, like.dtype, like.device))
    if kept is None or kept.numel() < rows * columns:
        with torch.inference_mode(False):  # so that it serves both modes
            kept = torch.empty(rows * columns, dtype=like.dtype, device=like.device)
        held[name, like.dtype, like.device] = kept
    return kept[: rows * columns].view(rows, columns)


def _convolve(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    maps: KernelMap,
    residual: Tensor | None = None,
    relu: bool = False,
) -> Tensor:
    """Gather, one GEMM for each kernel offset, then sum what falls on each output row: no atomics, repeatable."""
    if _compiled(x, kernel, bias, residual):
        return native.convolve(x, kernel, bias, residual, relu, maps.rows, maps.pairs)
    out = x.new_empty(maps.rows, kernel.shape[2])
    for tile in maps.tiles:
        source = _buffer("source", len(tile.source), kernel.shape[1], x)
        product = _buffer("product", len(tile.source), kernel.shape[2], x)
        torch.index_select(x, 0, tile.source, out=source)
        for rows, weight, result in zip(source.split(tile.counts), kernel, product.split(tile.counts), strict=True):
            torch.mm(rows, weight, out=result)
        part = embedding_bag(tile.by_target, product, tile.bounds, mode="sum")
        out[tile.start : tile.stop] = part if bias is None else part.add_(bias)
    return finish(out, residual, relu)


def _kernel_gradient(x: Tensor, grad: Tensor, maps: KernelMap, shape: torch.Size) -> Tensor:
    if _compiled(x, grad) and shape[1] * shape[2] <= WIDE:
        return native.kernel_gradient(x, grad, shape, maps.pairs)
    total = x.new_zeros(shape)
    for tile in maps.tiles:
        source = _buffer("source", len(tile.source), shape[1], x)
        target = _buffer("target", len(tile.source), shape[2], x)
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
    Raises ValueError for an empty or wrongly shaped array, a repeated voxel, coordinates beyond +-32767.
    """

    def __init__(self, coords: Tensor):
        coords = with_batch(coords).T.contiguous()
        check_range(*(bound.tolist() for bound in coords.aminmax(dim=1)))
        box = Box(coords)
        box.cells, order = torch.sort(box.cells)
        repeated = int((box.cells[1:] == box.cells[:-1]).sum())
        if repeated:
            raise ValueError(f"{repeated} voxels occur more than once; voxelise the points first")
        rows = torch.arange(len(order), device=order.device)
        self.order = None if torch.equal(order, rows) else order
        self.inverse = None if self.order is None else torch.empty_like(order).index_copy_(0, order, rows)
        self._levels = [Level(coords if self.order is None else coords.index_select(1, order), box)]
        self._parents: list[Tensor] = []
        self._maps: dict[tuple[int, int, int], KernelMap] = {}

    def __len__(self) -> int:
        return len(self._levels[0])

    def permute(self, features: Tensor) -> Tensor:
        """Rows in the caller's order (N, C) to the grid's order."""
        return features if self.order is None else features.index_select(0, self.order)

    def restore(self, features: Tensor) -> Tensor:
        """Rows in the grid's order (N, C) back to the caller's."""
        return features if self.inverse is None else features.index_select(0, self.inverse)

    def locate(self, rows: Tensor) -> Tensor:
        """The grid's rows of the caller's (n,)."""
        return rows if self.inverse is None else self.inverse[rows]

    def convolve(
        self,
        features: Tensor,
        kernel: Tensor,
        bias: Tensor | None,
        level: int,
        to_level: int,
        residual: Tensor | None = None,
        relu: bool = False,
        rows: Tensor | None = None,
    ) -> Tensor:
        """Convolve features (n, Ci) of `level` with kernel (K^3, Ci, Co) into rows (m, Co) of `to_level`.

        `to_level` equal to `level`: odd kernel, same voxels. One more: size 2, stride 2. One less: its transpose.
        bias (1, Co) and residual (m, Co) are added and ReLU applied where they are given. rows, int64 (r,): which rows
        of a convolution within a level to compute, of its m; the result and `residual` are then (r, Co).
        """
        size = kernel_size(kernel.shape[0])
        maps = self._map(level, to_level, size)
        if rows is not None and not torch.is_grad_enabled():
            return _convolve(features, kernel, bias, maps.of_rows(rows), residual, relu)
        if not torch.is_grad_enabled():
            return _convolve(features, kernel, bias, maps, residual, relu)
        dual = self._map(to_level, level, size)
        out = _SparseConvolution.apply(features, kernel, bias, maps, dual, level == to_level)
        return finish(out if rows is None else out.index_select(0, rows), residual, relu)

    def pairs(self, level: int, to_level: int, size: int) -> int:
        """How many (input, output) pairs of voxels a convolution multiplies: its useful work."""
        return self._map(level, to_level, size).count()

    def _map(self, level: int, to_level: int, size: int) -> KernelMap:
        if (level, to_level, size) not in self._maps:
            while len(self._levels) <= max(level, to_level):
                coarse, parent = self._levels[-1].coarser()
                self._levels.append(coarse)
                self._parents.append(parent)
            if level == to_level:
                maps = self._levels[level].neighbours(size)
            elif to_level == level + 1 and size == 2:
                maps = self._children(level, down=True)
            elif to_level == level - 1 and size == 2:
                maps = self._children(to_level, down=False)
            else:
                raise ValueError(f"no convolution of size {size} from level {level} to {to_level}")
            self._maps[level, to_level, size] = maps
        return self._maps[level, to_level, size]

    def _children(self, level: int, down: bool) -> KernelMap:
        """Map between a level and the next coarser one, of coarse output rows going down, of fine ones going up."""
        parent = self._parents[level]
        x, y, z = self._levels[level].coords[1:] & 1
        child = x + 2 * y + 4 * z
        fine = torch.arange(len(parent), dtype=torch.int32, device=parent.device)
        rows, at, value = (len(self._levels[level + 1]), parent, fine) if down else (len(fine), fine, parent.int())
        table = fine.new_full((8 * rows,), -1).index_copy_(0, child * rows + at, value)
        return KernelMap.of_table(table.view(8, rows))
