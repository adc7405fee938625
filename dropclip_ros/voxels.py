# SPDX-License-Identifier: Apache-2.0
"""Points to voxels: what the sparse encoder eats (paper section 3.3; lengths as in the released model)."""

from dataclasses import dataclass

import numpy as np

SNAP = 16  # voxels; the stride of MinkUNet14D's coarsest level, so the whole pyramid keeps its phase
_BITS = 21  # per axis in a packed key: 10 km at 5 mm


@dataclass(frozen=True)
class VoxelConfig:
    """`voxel_size` is in scaled units: metres times `world_scale`. The defaults give 5 mm."""

    voxel_size: float = 0.05
    world_scale: float = 10.0

    def __post_init__(self):
        for name in ("voxel_size", "world_scale"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value}; it must be finite and above 0")

    @property
    def edge(self) -> float:
        """Edge of a voxel in metres."""
        return self.voxel_size / self.world_scale


@dataclass(frozen=True, eq=False)
class Voxels:
    """Occupied voxels in lexicographic order of (x, y, z), and the way back to the points.

    coords int32 (M, 3), all >= 0; feats float32 (M, 3) mean rgb in [0, 1]; centers float32 (M, 3) metres, the
    middle of each voxel in the frame of the input; point_to_voxel int64 (N,), the row of every point's voxel.
    """

    coords: np.ndarray
    feats: np.ndarray
    centers: np.ndarray
    point_to_voxel: np.ndarray

    def __len__(self) -> int:
        return len(self.coords)


def voxelize(points: np.ndarray, colors: np.ndarray, config: VoxelConfig = VoxelConfig()) -> Voxels:
    """Points (N, 3) metres with colors (N, 3) in [0, 1] to voxels.

    Voxel walls lie at multiples of the edge in the input's frame, and coordinates count from a corner that is
    a multiple of 16 voxels: a point that comes or goes at the rim does not change how the others are cut, at
    any level of the network.
    Raises ValueError on wrong shapes, non-finite points, or a cloud too large to index.
    """
    points = np.asarray(points)
    colors = np.asarray(colors)
    if points.ndim != 2 or points.shape[1] != 3 or colors.shape != points.shape:
        raise ValueError(f"points {points.shape} and colors {colors.shape} must both be (N, 3)")
    if len(points) == 0:
        empty = np.zeros((0, 3), dtype=np.float32)
        return Voxels(empty.astype(np.int32), empty, empty, np.zeros(0, dtype=np.int64))
    if not np.all(np.isfinite(points)):
        raise ValueError("points hold NaN or inf")
    cells = np.floor(points / np.float64(config.edge)).astype(np.int64)
    origin = cells.min(axis=0) // SNAP * SNAP
    cells -= origin
    if cells.max() >= 1 << _BITS:
        raise ValueError(f"the cloud spans {cells.max() * config.edge:.0f} m; "
                         f"at most {(1 << _BITS) * config.edge:.0f} m can be indexed")
    keys = (cells[:, 0] << 2 * _BITS) | (cells[:, 1] << _BITS) | cells[:, 2]
    unique, point_to_voxel = np.unique(keys, return_inverse=True)
    mask = (1 << _BITS) - 1
    coords = np.stack([unique >> 2 * _BITS, unique >> _BITS & mask, unique & mask], axis=1)
    counts = np.bincount(point_to_voxel)
    feats = np.stack([np.bincount(point_to_voxel, weights=channel) / counts for channel in colors.T], axis=1)
    centers = (coords + origin + 0.5) * config.edge
    return Voxels(coords.astype(np.int32), feats.astype(np.float32), centers.astype(np.float32),
                  point_to_voxel.astype(np.int64, copy=False))
