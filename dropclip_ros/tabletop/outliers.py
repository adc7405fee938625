# SPDX-License-Identifier: Apache-2.0
"""How far voxels are from their nearest, counted on their grid: what statistical outlier removal needs."""

from functools import cache

import numpy as np
from scipy.spatial import cKDTree

from dropclip_ros.base.arrays import Array, array_namespace, as_type, like_array, to_numpy, true_indices, zeros

_REACH = 4  # voxels, within which almost every voxel of a surface has its `outlier_neighbors`
_LARGEST = 1 << 28  # cells of a volume, which costs memory only where something is


def mean_distance(coords: Array, neighbors: int) -> Array:
    """Mean distance (M,), voxels, float64, of each voxel (M, 3) int to as many of its nearest, itself the first.

    Distances on a grid are few: they are counted shell by shell, up to `_REACH`; a tree finds what is further.
    """
    xp, wanted = array_namespace(coords), min(neighbors, len(coords))
    cells = as_type(coords - xp.amin(coords, axis=0) + _REACH, "int64")
    shape = [int(most) + _REACH + 1 for most in to_numpy(xp.amax(cells, axis=0))]
    apart, missing = zeros(cells, (len(cells),), "float64"), zeros(cells, (len(cells),), "int64") + wanted
    left = true_indices(missing > 0)
    if np.prod(shape, dtype=float) <= _LARGEST:
        strides = shape[1] * shape[2], shape[2], 1
        flat = sum(column * stride for column, stride in zip(cells.T, strides, strict=True))
        volume = zeros(cells, (int(np.prod(shape)),), "bool")
        volume[flat] = True
        for square, steps in _shells():
            around = like_array(flat, steps @ strides)[:, None] + flat[left]
            found = as_type(xp.sum(volume[around], axis=0, dtype=xp.uint8), "int64")  # a shell has 48 at most
            found = xp.minimum(found, missing[left])
            apart[left] += found * square**0.5
            missing[left] -= found
            if xp is np:  # a GPU would make the host wait to know how many are left
                left = left[missing[left] > 0]
    left = true_indices(missing > 0)
    if len(left):
        far = to_numpy(cells[left])
        sums = cKDTree(to_numpy(cells)).query(far, wanted)[0].reshape(len(far), wanted).sum(axis=1)
        apart[left] = sums if xp is np else xp.as_tensor(sums, device=apart.device)
    return apart / wanted


@cache
def _shells() -> list[tuple[int, np.ndarray]]:
    """Squared distances of a grid's points from one of them, and the steps (K, 3) to those at each, nearest first."""
    span = np.arange(-_REACH, _REACH + 1)
    steps = np.stack(np.meshgrid(span, span, span), axis=-1).reshape(-1, 3)
    squares = (steps**2).sum(axis=1)
    return [(int(square), steps[squares == square]) for square in np.unique(squares) if square <= _REACH**2]
