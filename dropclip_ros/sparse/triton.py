# SPDX-License-Identifier: Apache-2.0
"""`TritonGrid`: sparse convolution in our own Triton kernels, for CUDA devices. Conventions are those of `sparse`.

Not yet run or timed on a GPU: no machine with one was at hand. Checked in Triton's interpreter (TRITON_INTERPRET=1 in
the environment before Triton is imported), which runs the same kernels on CPU tensors, slowly.
"""

from __future__ import annotations

from functools import cached_property

import torch
import triton
from torch import Tensor
from torch.nn.functional import pad

from dropclip_ros.sparse.protocol import LIMIT, check_range, kernel_size, with_batch
from dropclip_ros.sparse.triton_kernels import (
    INTERPRETED,
    convolve_kernel,
    finish_kernel,
    kernel_gradient_kernel,
    link_kernel,
    neighbours_kernel,
    plan_kernel,
)

LEVELS = 5  # strides 1 to 16
BITS = 16  # of a key for each of x, y, z
BLOCK = 256  # voxels of a program that links levels
OFFSETS, ROWS = 32, 64  # of a program that finds neighbours at once
PROGRAMS = 512  # what fills a large GPU; a constant, so that results do not depend on the machine
MAX_SPLITS = 16
DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def morton(coords: Tensor) -> Tensor:
    """Sortable int64 keys (N,) of int64 coordinates (N, 4) (b, x, y, z) that `check_range` accepts.

    Bits of x, y, z interleaved, x lowest: the key of a voxel's parent is its own shifted by three, so that one sort
    orders all levels, and the three bits that fall off are the kernel offset of a stride-2 convolution.
    """
    bits = coords[:, 1:] + LIMIT & (1 << BITS) - 1
    for shift, mask in ((16, 0xFF0000FF), (8, 0xF00F00F00F), (4, 0xC30C30C30C3), (2, 0x249249249249)):
        bits = (bits | bits << shift) & mask
    x, y, z = bits.unbind(1)
    return coords[:, 0] << 3 * BITS | x | y << 1 | z << 2


class TritonMap:
    """The kernel map of one convolution, sorted and cut into tiles for the kernels.

    neighbours: int32 (K, n), the input row that offset k brings to output row j; -1 where there is no voxel.
    """

    def __init__(self, neighbours: Tensor):
        self.neighbours = neighbours
        self.volume, self.n = neighbours.shape
        found = neighbours >= 0
        if self.volume > 62:  # too many bits for a sort key: two offsets share one
            found = pad(found, (0, 0, 0, self.volume % 2)).view(-1, 2, self.n).any(1)
        dtype = torch.int32 if len(found) < 32 else torch.int64
        bit = 1 << torch.arange(len(found), dtype=dtype, device=found.device)
        self.rows = torch.argsort((found * bit[:, None]).sum(0, dtype=dtype), stable=True).int()
        self.tile = 128 if self.n >= 1 << 15 else 64
        self.tiles = triton.cdiv(self.n, self.tile)
        self.sources = neighbours.new_empty(self.tiles, self.volume, self.tile)
        self.offsets = neighbours.new_empty(self.tiles, self.volume)
        self.counts = neighbours.new_empty(self.tiles)
        self._slots = neighbours.new_empty(self.volume, self.tiles)
        chunk = min(OFFSETS, triton.next_power_of_2(self.volume))
        plan_kernel[(self.tiles,)](
            neighbours,
            self.rows,
            self.sources,
            self.offsets,
            self.counts,
            self._slots,
            self.n,
            VOLUME=self.volume,
            CHUNK=chunk,
            TILE=self.tile,
        )

    @cached_property
    def slots(self) -> tuple[Tensor, Tensor]:
        """Slots (K, tiles) of each kernel offset and how many (K,) there are: what the kernel's gradient walks."""
        return self._slots.sort(dim=1, descending=True).values, (self._slots >= 0).sum(1, dtype=torch.int32)


def _precision(dtype: torch.dtype) -> str:
    """How tensor cores multiply float32: in three TF32 products (1e-6), unless torch is told that TF32 will do."""
    return "tf32" if dtype != torch.float32 or torch.backends.cuda.matmul.allow_tf32 else "tf32x3"


def _splits(programs: int, steps: int) -> int:
    """A power of two of parts, so that few programs of many steps fill the GPU."""
    wanted = min(MAX_SPLITS, PROGRAMS // max(programs, 1), steps)
    return 1 << max(wanted, 1).bit_length() - 1


def _convolve(
    x: Tensor,
    kernel: Tensor,
    maps: TritonMap,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    relu: bool = False,
    mirrored: bool = False,
) -> Tensor:
    (volume, inputs, outputs), n = kernel.shape, maps.n
    splits = _splits(maps.tiles * triton.cdiv(outputs, 64), volume * triton.cdiv(inputs, 64) // 2)
    out = x.new_empty(n, outputs)
    sums = out if splits == 1 else x.new_empty((splits, n, outputs), dtype=torch.float32)
    with torch.cuda.device_of(x):
        convolve_kernel[lambda meta: (maps.tiles, triton.cdiv(outputs, meta["BLOCK_O"]), splits)](
            x,
            kernel,
            bias,
            residual,
            sums,
            maps.sources,
            maps.offsets,
            maps.counts,
            maps.rows,
            n,
            inputs,
            outputs,
            *kernel.stride(),
            VOLUME=volume,
            TILE=maps.tile,
            SPLITS=splits,
            MIRRORED=mirrored,
            RELU=relu,
            PRECISION=_precision(x.dtype),
        )
        if splits > 1:
            finish_kernel[triton.cdiv(n, 32), triton.cdiv(outputs, 64)](
                sums, bias, residual, out, n, outputs, SPLITS=splits, RELU=relu, ROWS=32, BLOCK_O=64
            )
    return out


def _kernel_gradient(x: Tensor, grad: Tensor, maps: TritonMap) -> Tensor:
    inputs, outputs = x.shape[1], grad.shape[1]
    splits = _splits(maps.volume * triton.cdiv(inputs, 64) * triton.cdiv(outputs, 64), maps.tiles)
    slots, counts = maps.slots
    parts = x.new_empty((splits, maps.volume, inputs, outputs), dtype=torch.float32)
    with torch.cuda.device_of(x):
        kernel_gradient_kernel[
            lambda meta: (
                maps.volume,
                triton.cdiv(inputs, meta["BLOCK_I"]) * triton.cdiv(outputs, meta["BLOCK_O"]),
                splits,
            )
        ](
            x,
            grad,
            parts,
            maps.sources,
            maps.rows,
            slots,
            counts,
            maps.n,
            maps.tiles,
            inputs,
            outputs,
            splits,
            VOLUME=maps.volume,
            TILE=maps.tile,
            PRECISION=_precision(x.dtype),
        )
    return parts.sum(0).to(x.dtype)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, kernel, bias, residual, maps, dual, mirrored, relu):
        out = _convolve(x, kernel, maps, bias, residual, relu)
        ctx.save_for_backward(x, kernel, out if relu else None)
        ctx.maps, ctx.dual, ctx.mirrored = maps, dual, mirrored
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        x, kernel, out = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        grad = (grad if out is None else grad * (out > 0)).contiguous()
        # the transposed map of a centred kernel is its own map, offsets mirrored
        grad_x = _convolve(grad, kernel.transpose(1, 2), ctx.dual, mirrored=ctx.mirrored) if wanted[0] else None
        grad_kernel = _kernel_gradient(x, grad, ctx.maps) if wanted[1] else None
        grad_bias = grad.sum(0, keepdim=True) if wanted[2] else None
        return grad_x, grad_kernel, grad_bias, grad if wanted[3] else None, None, None, None, None


class TritonGrid:
    """Voxels of one or several scenes on a CUDA device, with kernel maps that are built there when first asked for.

    coords: as for `SparseGrid`, which refuses the same with ValueError. The host waits for the device once, here, for
    the number of voxels of each level and the checks; no convolution, forward or backward, waits. Features may be
    float16, bfloat16 or float32; sums are float32. The first convolution of a new shape compiles and times a few
    configurations (Triton keeps both on disk). RuntimeError where the kernels cannot run.
    """

    def __init__(self, coords: Tensor):
        if coords.device.type != "cuda" and not INTERPRETED:
            raise RuntimeError(
                f"TritonGrid needs voxels on a CUDA device, these are on {coords.device}: use SparseGrid there, or set "
                "TRITON_INTERPRET=1 before Python starts to try the kernels slowly on CPU"
            )
        coords = with_batch(coords)
        key, self.order = torch.sort(morton(coords))
        above = key >> 3 * torch.arange(LEVELS, device=key.device)[:, None]
        first = torch.ones_like(above, dtype=torch.bool)
        first[:, 1:] = above[:, 1:] != above[:, :-1]
        ids = first.cumsum(1)
        low, high = torch.aminmax(coords, dim=0)
        sizes = torch.cat([ids[:, -1], low, high]).tolist()  # the only time that the host waits for the device
        check_range(sizes[LEVELS : LEVELS + 4], sizes[LEVELS + 4 :])
        if sizes[0] < len(key):
            raise ValueError(f"{len(key) - sizes[0]} voxels occur more than once; voxelise the points first")
        self.inverse = torch.empty_like(self.order)
        self.inverse[self.order] = torch.arange(len(key), device=key.device)
        self._sizes = sizes[:LEVELS]
        self._key, self._coarsest, self._ids = key, above[-1], (ids - 1).int()
        self._maps: dict[tuple[int, int, int], TritonMap] = {}
        self._links = [self._link(level) for level in range(LEVELS - 1)]

    def __len__(self) -> int:
        return len(self.order)

    def permute(self, features: Tensor) -> Tensor:
        """Rows in the caller's order (N, C) to the grid's order."""
        return features.index_select(0, self.order)

    def restore(self, features: Tensor) -> Tensor:
        """Rows in the grid's order (N, C) back to the caller's."""
        return features.index_select(0, self.inverse)

    def locate(self, rows: Tensor) -> Tensor:
        """The grid's rows of the caller's (n,)."""
        return self.inverse.index_select(0, rows)

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
        """As `SparseGrid.convolve`, in the features' dtype or, under autocast, in its dtype."""
        device, dtype = features.device.type, features.dtype
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        if dtype not in DTYPES:
            raise ValueError(f"TritonGrid computes in float16, bfloat16 or float32, not {dtype}")
        x, kernel = features.to(dtype).contiguous(), kernel.to(dtype).contiguous()
        bias = None if bias is None else bias.to(dtype).contiguous()
        residual = None if residual is None else residual.to(dtype).contiguous()
        size = kernel_size(kernel.shape[0])
        maps = self._map(level, to_level, size)
        if not torch.is_grad_enabled():
            if rows is not None:
                maps = TritonMap(maps.neighbours.index_select(1, rows))
            return _convolve(x, kernel, maps, bias, residual, relu)
        if rows is not None:
            out = self.convolve(x, kernel, bias, level, to_level).index_select(0, rows)
            out = out if residual is None else out + residual
            return torch.relu(out) if relu else out
        dual = self._map(to_level, level, size)
        return _Convolution.apply(x, kernel, bias, residual, maps, dual, level == to_level, relu)

    def _map(self, level: int, to_level: int, size: int) -> TritonMap:
        if (level, to_level, size) not in self._maps:
            if not (0 <= level < LEVELS and 0 <= to_level < LEVELS):
                raise ValueError(f"there are levels 0 to {LEVELS - 1}; got {level} to {to_level}")
            if level == to_level and size in (3, 5):
                table = self._neighbours(level, size)
            elif to_level == level + 1 and size == 2:
                table = self._links[level][2]
            elif to_level == level - 1 and size == 2:
                parents, codes, _ = self._links[to_level]
                offset = torch.arange(8, dtype=torch.int32, device=codes.device)
                table = torch.where(codes == offset[:, None], parents, -1)
            else:
                raise ValueError(f"no convolution of size {size} from level {level} to {to_level}")
            with torch.cuda.device_of(table):
                self._maps[level, to_level, size] = TritonMap(table)
        return self._maps[level, to_level, size]

    def _link(self, level: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of a level: parent (n,), child code (n,) and, of the next coarser one, children (8, m); all int32."""
        n, m = self._sizes[level], self._sizes[level + 1]
        parents, codes = self._ids.new_empty(n), self._ids.new_empty(n)
        children = self._ids.new_full((8, m), -1)
        with torch.cuda.device_of(children):
            link_kernel[(triton.cdiv(len(self), BLOCK),)](
                self._key,
                self._ids[level],
                self._ids[level + 1],
                parents,
                codes,
                children,
                len(self),
                m,
                LEVEL=level,
                BLOCK=BLOCK,
            )
        return parents, codes, children

    def _neighbours(self, level: int, size: int) -> Tensor:
        """int32 table (size^3, n) of the neighbours within a level; size 3 or 5."""
        n = self._sizes[level]
        if level == LEVELS - 1:
            if size != 3:
                raise ValueError(f"level {level} takes kernels of size 3; got {size}")
            return self._search()
        parents, codes, children = self._links[level]
        around = self._map(level + 1, level + 1, 3).neighbours
        table = parents.new_empty(size**3, n)
        with torch.cuda.device_of(table):
            neighbours_kernel[(triton.cdiv(n, ROWS),)](
                parents,
                codes,
                around,
                children,
                table,
                n,
                self._sizes[level + 1],
                SIZE=size,
                CHUNK=OFFSETS,
                BLOCK=ROWS,
            )
        return table

    def _search(self) -> Tensor:
        """int32 table (27, n) of the neighbours within the coarsest level, by binary search: it has few voxels."""
        n = self._sizes[-1]
        key = self._key.new_empty(n).scatter_(0, self._ids[-1].long(), self._coarsest)
        bits = BITS - LEVELS + 1
        key = key >> 3 * bits << 3 * bits + 3 | key & (1 << 3 * bits) - 1  # room: no neighbour wraps around
        every_third = sum(1 << 3 * i for i in range(bits + 1))
        parts = []
        for axis in range(3):  # arithmetic on the bits of one axis: fill the gaps so that the carry runs through them
            mask, one = every_third << axis, 1 << axis
            parts.append(torch.stack([((key & mask) - one) & mask, key & mask, ((key | ~mask) + one) & mask]))
        x, y, z = parts
        batch = key & ~(7 * every_third)
        wanted = (batch + z[:, None, None] + y[None, :, None] + x[None, None, :]).view(27, n)
        row = torch.searchsorted(key, wanted).clamp_(max=n - 1)
        return torch.where(key[row] == wanted, row, -1).int()
