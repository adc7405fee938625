# SPDX-License-Identifier: Apache-2.0
"""`SpconvGrid`: sparse convolution by spconv 2.3 (`pip install spconv-cu126`), an optional backend, and a peer.

Checked on CPU; its CUDA path (spconv's implicit GEMM) has not yet run on a GPU.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dropclip_ros.sparse.protocol import CallersOrder, check_range, finish, kernel_size, with_batch

ALIGNMENT = 16  # voxels: the coarsest level halves four times
IMPLICIT_OFFSETS = 32  # spconv's limit for its implicit GEMM; larger kernels gather and scatter


class Pairs(NamedTuple):
    """What spconv found out about a pair of levels; `arguments` are as its convolution takes them."""

    arguments: tuple
    reverse: tuple  # the same for the transposed convolution
    implicit: bool
    indices: Tensor  # of the output voxels


class SpconvGrid(CallersOrder):
    """The grid of `SparseGrid` computed by spconv, on the device of `coords`.

    coords as for `SparseGrid`. A coarser level must be reached by going down before it is used. Raises ImportError
    where spconv is not installed, ValueError as `SparseGrid`.
    """

    def __init__(self, coords: Tensor):
        try:
            from spconv.core import ConvAlgo
            from spconv.pytorch import functional, ops
        except ImportError as error:
            raise ImportError("SpconvGrid needs spconv 2.3 (pip install spconv-cu126)") from error
        if not torch.cuda.is_available():
            ops.get_current_stream = lambda: 0  # spconv asks CUDA for one even for a backward pass on CPU
        self._functional, self._ops, self._algorithms = functional, ops, ConvAlgo
        coords = with_batch(coords)
        low, high = coords.aminmax(dim=0)
        check_range(low.tolist(), high.tolist())
        distinct = len(coords.unique(dim=0))
        if distinct < len(coords):
            raise ValueError(f"{len(coords) - distinct} voxels occur more than once; voxelise the points first")
        corner = low // ALIGNMENT * ALIGNMENT  # spconv's coordinates are not negative
        corner[0] = 0
        extent = (high - corner).tolist()
        self._batch = extent[0] + 1
        self._shape = [(size // ALIGNMENT + 1) * ALIGNMENT for size in extent[1:]]
        self._indices = [(coords - corner).int().contiguous()]  # of each level, in spconv's order
        self._pairs: dict[tuple[int, int, int], Pairs] = {}

    def __len__(self) -> int:
        return len(self._indices[0])

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
        """As `SparseGrid.convolve`."""
        size, (_, inputs, outputs) = kernel_size(kernel.shape[0]), kernel.shape
        weight = kernel.view(size, size, size, inputs, outputs).permute(4, 2, 1, 0, 3).contiguous()
        pairs = self._find(min(level, to_level), max(level, to_level), size)
        up = to_level < level
        count = len(self._indices[to_level])
        arguments = pairs.reverse if up else pairs.arguments
        if pairs.implicit:
            within = level == to_level
            *tables, masks = arguments
            convolve, trained = self._functional.implicit_gemm, torch.is_grad_enabled()
            out = convolve(features.contiguous(), weight, *tables, count, masks, trained, within)
        else:
            name = "indice_inverse_conv" if up else "indice_subm_conv" if level == to_level else "indice_conv"
            convolve = getattr(self._functional, name)
            out = convolve(features.contiguous(), weight, *arguments, count, self._algorithms.Native)
        if bias is not None:
            out = out + bias if torch.is_grad_enabled() else out.add_(bias)
        return finish(out if rows is None else out.index_select(0, rows), residual, relu)

    def _find(self, level: int, to_level: int, size: int) -> Pairs:
        """Pairs of voxels within a level or down to the next, found once."""
        if (level, to_level, size) not in self._pairs:
            if (to_level - level, size % 2) != (0, 1) and (to_level - level, size) != (1, 2):
                raise ValueError(f"no convolution of size {size} from level {level} to {to_level}")
            if level >= len(self._indices):
                raise ValueError(f"level {level} has not been reached by a convolution down yet")
            pairs = self._search(level, to_level, size)
            self._pairs[level, to_level, size] = pairs
            if to_level == len(self._indices):
                self._indices.append(pairs.indices)
        return self._pairs[level, to_level, size]

    def _search(self, level: int, to_level: int, size: int) -> Pairs:
        indices, within = self._indices[level], level == to_level
        shape = [extent >> level for extent in self._shape]
        three = [size] * 3, [1 if within else 2] * 3, [size // 2 if within else 0] * 3, [1] * 3, [0] * 3
        implicit = indices.is_cuda and size**3 <= IMPLICIT_OFFSETS
        if not implicit:
            where = self._ops.get_indice_pairs(indices, self._batch, shape, self._algorithms.Native, *three, within)
            indices, *arguments = where
            return Pairs(tuple(arguments), tuple(arguments), False, indices)
        algorithm = self._algorithms.MaskImplicitGemm
        found = self._ops.get_indice_pairs_implicit_gemm(indices, self._batch, shape, algorithm, *three, within)
        indices, _, forward, backward, masks_forward, masks_backward, order_forward, order_backward, masks = found
        arguments = forward, backward, masks_forward, masks_backward, order_forward, order_backward, masks
        reverse = backward, forward, masks_backward, masks_forward, order_backward, order_forward, masks
        return Pairs(arguments, reverse, True, indices)
