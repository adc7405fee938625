# SPDX-License-Identifier: Apache-2.0
"""What NumPy and torch spell differently, so that the geometry of a frame is written once: NumPy on the CPU, torch on a
GPU. What is as large as the frame stays where it is; planes, outlines and counts are small and live on the host.

On the CPU torch would be slower (back-projection 2.9 times, on one thread). What makes the host wait for a GPU:
`to_numpy`, `true_indices`, choosing by a mask, and a number taken out of an array.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    Array = np.ndarray | Tensor
else:
    Array = "np.ndarray | Tensor"


def array_namespace(array: Array) -> ModuleType:
    """Whose functions take the array: numpy or torch. What is called of either means the same in both."""
    torch = sys.modules.get("torch")  # who has a tensor has imported it; nodes without one need not
    return torch if torch is not None and isinstance(array, torch.Tensor) else np


def like_array(array: Array, values: Array | list) -> Array:
    """Values of the host as an array of the same library, type and device."""
    xp = array_namespace(array)
    return np.asarray(values, array.dtype) if xp is np else xp.as_tensor(values, dtype=array.dtype, device=array.device)


def as_type(array: Array, name: str) -> Array:
    """In the type of this name; the same array where it is of that type."""
    xp = array_namespace(array)
    return array.astype(name, copy=False) if xp is np else array.to(getattr(xp, name))


def zeros(array: Array, shape: tuple[int, ...], name: str) -> Array:
    """Zeros of this shape and type beside the array."""
    xp = array_namespace(array)
    return np.zeros(shape, name) if xp is np else array.new_zeros(shape, dtype=getattr(xp, name))


def sum_by_index(values: Array, index: Array, count: int) -> Array:
    """Sum (count, C) of the rows of values (N, C) that have each index (N,); float64, so that the order in which a GPU
    adds does not show."""
    if array_namespace(values) is np:
        return np.stack([np.bincount(index, column, count) for column in values.T], axis=1)
    return zeros(values, (count, values.shape[1]), "float64").index_add_(0, index, as_type(values, "float64"))


def true_indices(mask: Array) -> Array:
    """Where a mask (N,) is true, int64."""
    return np.flatnonzero(mask) if array_namespace(mask) is np else mask.nonzero().squeeze(1)


def to_numpy(array: Array) -> np.ndarray:
    """The same in NumPy."""
    return array if array_namespace(array) is np else array.cpu().numpy()
