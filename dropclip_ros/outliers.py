# SPDX-License-Identifier: Apache-2.0
"""How far voxels are from their nearest, counted on their grid: what statistical outlier removal needs."""

from functools import cache

import numpy as np
from scipy.spatial import cKDTree

_REACH = 4  # voxels, within which almost every voxel of a surface has its `outlier_neighbors`
_LARGEST = 1 << 28  # cells of a volume, which costs memory only where something is


def mean_distance(coords: np.ndarray, neighbors: int) -> np.ndarray:
    """Mean distance (M,), voxels, of each voxel (M, 3) int to as many of its nearest, itself the first.

    Distances on a grid are few: they are counted shell by shell, up to `_REACH`; a tree finds what is further.
    """
    cells = coords - coords.min(axis=0) + _REACH
    shape = tuple(cells.max(axis=0) + _REACH + 1)
    apart, missing = np.zeros(len(cells)), np.full(len(cells), min(neighbors, len(cells)))
    left = np.arange(len(cells))
    if np.prod(shape, dtype=float) <= _LARGEST:
        volume, flat = np.zeros(np.prod(shape), dtype=bool), np.ravel_multi_index(tuple(cells.T), shape)
        volume[flat] = True
        for square, steps in _shells():
            around = (steps @ (shape[1] * shape[2], shape[2], 1))[:, None] + flat[left]
            found = np.minimum(volume[around].sum(axis=0, dtype=np.uint8), missing[left])  # a shell has 48 at most
            apart[left] += found * np.sqrt(square)
            missing[left] -= found
            left = left[missing[left] > 0]
    if len(left):
        k = min(neighbors, len(cells))
        apart[left] = cKDTree(cells).query(cells[left], k)[0].reshape(len(left), k).sum(axis=1)
    return apart / min(neighbors, len(cells))


@cache
def _shells() -> list[tuple[int, np.ndarray]]:
    """Squared distances of a grid's points from one of them, and the steps (K, 3) to those at each, nearest first."""
    span = np.arange(-_REACH, _REACH + 1)
    steps = np.stack(np.meshgrid(span, span, span), axis=-1).reshape(-1, 3)
    squares = (steps**2).sum(axis=1)
    return [(int(square), steps[squares == square]) for square in np.unique(squares) if square <= _REACH**2]
