# SPDX-License-Identifier: Apache-2.0
"""Points to voxels: what the sparse encoder eats (paper, sections 3.3 and A.2; lengths as in the released model)."""

from dataclasses import dataclass

import numpy as np

from dropclip_ros.base.arrays import Array, array_namespace, as_type, sum_by_index, to_numpy
from dropclip_ros.base.ranges import check_fields, ranged

SNAP = 16  # voxels; the stride of MinkUNet14D's coarsest level, so the whole pyramid keeps its phase
_BITS = 21  # per axis in a packed key: 10 km at 5 mm


@dataclass(frozen=True)
class VoxelConfig:
    """`voxel_size` is in scaled units: metres times `world_scale`. The defaults give 5 mm."""

    voxel_size: float = ranged(0.05, above=0)
    world_scale: float = ranged(10.0, above=0)

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def edge(self) -> float:
        """Edge of a voxel in metres."""
        return self.voxel_size / self.world_scale


@dataclass(frozen=True, eq=False)
class Voxels:
    """Occupied voxels in lexicographic order of (x, y, z), and the way back to the points.

    coords int32 (M, 3), all >= 0; feats float32 (M, 3) mean rgb in [0, 1]; centers float32 (M, 3) metres, the
    middle of each voxel in the frame of the input; point_to_voxel int64 (N,), the row of every point's voxel. NumPy's,
    or torch's where the points were.
    """

    coords: Array
    feats: Array
    centers: Array
    point_to_voxel: Array

    def __len__(self) -> int:
        return len(self.coords)

    def host(self) -> "Voxels":
        """The same in NumPy; waits for a GPU."""
        return Voxels(*(to_numpy(of) for of in (self.coords, self.feats, self.centers, self.point_to_voxel)))


def cell_keys(cells: Array, bits: int = _BITS) -> Array:
    """Cells, integers (N, 3) from 0 to below 2^bits, as one number each, (N,), in lexicographic order of (x, y, z)."""
    return (cells[:, 0] << 2 * bits) | (cells[:, 1] << bits) | cells[:, 2]


def voxelize(points: Array, colors: Array, config: VoxelConfig = VoxelConfig()) -> Voxels:
    """Points (N, 3) metres with colors (N, 3) in [0, 1] to voxels.

    Voxel walls lie at multiples of the edge in the input's frame, and coordinates count from a corner that is
    a multiple of 16 voxels: a point that comes or goes at the rim does not change how the others are cut, at
    any level of the network.
    Raises ValueError on wrong shapes, non-finite points, or a cloud too large to index.
    """
    xp = array_namespace(points)
    if xp is np:
        points, colors = np.asarray(points), np.asarray(colors)
    if points.ndim != 2 or points.shape[1] != 3 or colors.shape != points.shape:
        raise ValueError(f"points {tuple(points.shape)} and colors {tuple(colors.shape)} must both be (N, 3)")
    if len(points) == 0:
        empty = as_type(points, "float32")
        return Voxels(as_type(empty, "int32"), empty, empty, as_type(empty[:, 0], "int64"))
    if not xp.isfinite(points).all():
        raise ValueError("points hold NaN or inf")
    cells = as_type(xp.floor(as_type(points, "float64") / config.edge), "int64")
    origin = xp.amin(cells, axis=0) // SNAP * SNAP
    cells -= origin
    largest = int(cells.max())
    if largest >= 1 << _BITS:
        raise ValueError(
            f"the cloud spans {largest * config.edge:.0f} m; at most {(1 << _BITS) * config.edge:.0f} m can be indexed"
        )
    unique, point_to_voxel = xp.unique(cell_keys(cells), return_inverse=True)
    mask = (1 << _BITS) - 1
    coords = xp.stack([unique >> 2 * _BITS, unique >> _BITS & mask, unique & mask], axis=1)
    counts = xp.bincount(point_to_voxel)
    feats = sum_by_index(colors, point_to_voxel, len(unique)) / counts[:, None]
    centers = (as_type(coords + origin, "float64") + 0.5) * config.edge
    return Voxels(
        as_type(coords, "int32"),
        as_type(feats, "float32"),
        as_type(centers, "float32"),
        as_type(point_to_voxel, "int64"),
    )
