# SPDX-License-Identifier: Apache-2.0
"""Sparse convolution by MinkowskiEngine, where that is installed: the reference that the other grids are held to."""

from __future__ import annotations

import torch
from torch import Tensor

from dropclip_ros.sparse.protocol import CallersOrder, finish, kernel_size, with_batch


class MinkowskiGrid(CallersOrder):
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
        """As `SparseGrid.convolve`; a coarser level must be reached by going down before going up to another."""
        conv = self._conv(kernel.shape, level, to_level)
        engine_input = self._engine.SparseTensor(
            features, coordinate_map_key=self._keys[level], coordinate_manager=self._manager
        )
        target = self._keys[to_level] if to_level < len(self._keys) else None
        out = torch.func.functional_call(conv, {"kernel": kernel}, (engine_input, target))
        if target is None:
            self._keys.append(out.coordinate_map_key)
        out = out.F if bias is None else out.F + bias
        return finish(out if rows is None else out.index_select(0, rows), residual, relu)

    def _conv(self, shape: torch.Size, level: int, to_level: int) -> torch.nn.Module:
        wanted = (*shape, to_level - level)
        if wanted not in self._convs:
            up = to_level < level
            kind = self._engine.MinkowskiConvolutionTranspose if up else self._engine.MinkowskiConvolution
            self._convs[wanted] = kind(
                shape[1], shape[2], kernel_size=kernel_size(shape[0]), stride=1 if level == to_level else 2, dimension=3
            )
        return self._convs[wanted]
