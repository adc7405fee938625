# SPDX-License-Identifier: Apache-2.0
"""What NumPy and torch spell differently, so that the geometry of a frame is written once: NumPy on the CPU, torch on a
GPU. What is as large as the frame stays where it is; planes, outlines and counts are small and live on the host.

On the CPU torch would be slower (back-projection 2.9 times, on one thread). What makes the host wait for a GPU:
`to_numpy`, `true_indices`, choosing by a mask, and a number taken out of an array.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, overload

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor
    from typing_extensions import TypeIs

    Array = np.ndarray | Tensor
else:
    Array = "np.ndarray | Tensor"


def is_numpy(array: Array) -> TypeIs[np.ndarray]:
    """Whether the array is NumPy's, else it is a tensor: `array_namespace` is NumPy, said so that types follow."""
    return array_namespace(array) is np


def array_namespace(array: Array) -> ModuleType:
    """Whose functions take the array: numpy or torch. What is called of either means the same in both."""
    torch = sys.modules.get("torch")  # who has a tensor has imported it; nodes without one need not
    return torch if torch is not None and isinstance(array, torch.Tensor) else np


@overload
def like_array(array: np.ndarray, values: Array | Sequence[float]) -> np.ndarray: ...
@overload
def like_array(array: Tensor, values: Array | Sequence[float]) -> Tensor: ...
def like_array(array: Array, values: Array | Sequence[float]) -> Array:
    """Values of the host as an array of the same library, type and device."""
    if is_numpy(array):
        return np.asarray(values, array.dtype)
    return array_namespace(array).as_tensor(values, dtype=array.dtype, device=array.device)


@overload
def as_type(array: np.ndarray, name: str) -> np.ndarray: ...
@overload
def as_type(array: Tensor, name: str) -> Tensor: ...
def as_type(array: Array, name: str) -> Array:
    """In the type of this name; the same array where it is of that type."""
    return array.astype(name, copy=False) if is_numpy(array) else array.to(getattr(array_namespace(array), name))


def absolute(array: Array) -> Array:
    """`abs` of an array; of a union of two libraries' arrays mypy takes it for an object."""
    return array.__abs__()


def zeros(array: Array, shape: tuple[int, ...], name: str) -> Array:
    """Zeros of this shape and type beside the array."""
    if is_numpy(array):
        return np.zeros(shape, name)
    return array.new_zeros(shape, dtype=getattr(array_namespace(array), name))


def falses(points: Array) -> Array:
    """False for each of the points (N, ...): bool (N,)."""
    return zeros(points, (len(points),), "bool")


def sum_by_index(values: Array, index: Array, count: int) -> Array:
    """Sum (count, C) of the rows of values (N, C) that have each index (N,); float64, so that the order in which a GPU
    adds does not show."""
    if is_numpy(values):
        return np.stack([np.bincount(index, column, count) for column in values.T], axis=1)
    total = values.new_zeros((count, values.shape[1]), dtype=array_namespace(values).float64)
    return array_namespace(values).index_add(total, 0, index, values.double())


def true_indices(mask: Array) -> Array:
    """Where a mask (N,) is true, int64."""
    return np.flatnonzero(mask) if is_numpy(mask) else mask.nonzero().squeeze(1)


def to_numpy(array: Array) -> np.ndarray:
    """The same in NumPy."""
    return array if is_numpy(array) else array.cpu().numpy()
