# SPDX-License-Identifier: Apache-2.0
"""Sparse convolution on voxel grids: the border between the encoder and whatever computes it.

The encoder asks only this of a *grid*: ``permute`` (the caller's rows to the grid's), ``convolve``, and ``restore``
(back again; ``locate`` where only some rows are asked for).

Conventions are MinkowskiEngine's, so that kernels can be exchanged: offsets are numbered x fastest
(``kx + K ky + K^2 kz``), odd kernels are centred, even ones run over {0, 1}, and level ``l + 1`` holds
``floor(c / 2)`` of the coordinates of level ``l``, on the absolute grid: shifting the input by anything but a
multiple of 16 voxels changes the features.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import relu_

LIMIT = 1 << 15  # coordinates lie in (-LIMIT, LIMIT), batch indices in [0, LIMIT / 2): the cells of a box fit int64


class Grid(Protocol):
    """What the encoder needs of a set of voxels; level 0 is the input, each further level is half as fine."""

    def __len__(self) -> int: ...

    def permute(self, features: Tensor) -> Tensor: ...

    def restore(self, features: Tensor) -> Tensor: ...

    def locate(self, rows: Tensor) -> Tensor: ...

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
    ) -> Tensor: ...


class CallersOrder:
    """What a grid is that keeps the voxels in the caller's order."""

    def permute(self, features: Tensor) -> Tensor:
        return features

    def restore(self, features: Tensor) -> Tensor:
        return features

    def locate(self, rows: Tensor) -> Tensor:
        return rows


def finish(out: Tensor, residual: Tensor | None, relu: bool) -> Tensor:
    out = out if residual is None else out + residual
    return relu_(out) if relu else out


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


def check_range(low: list[int], high: list[int]) -> None:
    """ValueError unless the least and the largest b, x, y, z of a grid's voxels can be numbered."""
    if min(low[1:]) <= -LIMIT or max(high[1:]) >= LIMIT or low[0] < 0 or high[0] >= LIMIT // 2:
        raise ValueError(
            f"voxel coordinates must lie within +-{LIMIT - 1}, batch indices in [0, {LIMIT // 2 - 1}]; got "
            f"[{min(low[1:])}, {max(high[1:])}] and [{low[0]}, {high[0]}]"
        )
