# SPDX-License-Identifier: Apache-2.0
"""Point clouds of a scene's objects: P of section 3.1 without the table (A.2), of one view or of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dropclip_ros.vision.geometry import backproject, transform_points
from dropclip_ros.vision.voxels import cell_keys
from training.scenes.description import FIRST_OBJECT_ID
from training.scenes.scene import Scene, View

_BITS = 16  # of a voxel's cell along each axis: 131 m at 2 mm
_HALF = 1 << _BITS - 1


@dataclass(frozen=True, eq=False)
class Cloud:
    """M points of objects.

    points: (M,3) float32 m, world frame, the table's top at z = 0; colors: (M,3) float32 rgb in [0, 1]; labels: (M,)
    int64, the mask label of the object at each point (S^3D of section 3.2). views: which it was made of; pixels: (M,)
    int64, the flat pixel of each point where that is one view, else None.
    """

    points: np.ndarray
    colors: np.ndarray
    labels: np.ndarray
    views: tuple[int, ...]
    pixels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.points)


def view_cloud(view: View, v: int) -> Cloud:
    """A point for each pixel of view number `v` that shows an object and has depth."""
    depth = np.where(view.mask >= FIRST_OBJECT_ID, view.depth, 0).astype(np.float32)
    if not depth.any():  # a camera in use would be wrong, a view of the bare table is not
        return Cloud(*np.zeros((2, 0, 3), np.float32), *np.zeros((1, 0), np.int64), (v,), np.zeros(0, np.int64))
    points, pixels = backproject(depth, view.camera, near=0, far=np.inf)
    return Cloud(
        transform_points(view.world_from_camera, points).astype(np.float32),
        view.rgb.reshape(-1, 3)[pixels].astype(np.float32) / 255,
        view.mask.ravel()[pixels].astype(np.int64),
        (v,),
        pixels,
    )


def full_cloud(scene: Scene, views: Sequence[int] | None = None, voxel: float = 0.002) -> Cloud:
    """All views of a scene (or some), one point for each voxel of `voxel` m: mean of its points, most frequent label.

    Voxels where labels meet are counted for each label first; views are read one after the other, so that 73 of them
    take no more memory than their voxels. Views that cannot be read are left out, with a warning.
    """
    numbers = tuple(range(len(scene)) if views is None else views)
    keys, sums = np.zeros(0, np.int64), np.zeros((0, 7))
    for v, view in scene.views(numbers):
        cloud = view_cloud(view, v)
        cells = np.floor(cloud.points / voxel).astype(np.int64) + _HALF
        key = cell_keys(cells, _BITS) << 8 | cloud.labels
        rows = np.column_stack([cloud.points, cloud.colors, np.ones(len(cloud))])
        keys, index = np.unique(np.concatenate([keys, key]), return_inverse=True)
        rows = np.concatenate([sums, rows])
        sums = np.stack([np.bincount(index, column, len(keys)) for column in rows.T], axis=1)
    cells, index = np.unique(keys >> 8, return_inverse=True)
    totals = np.stack([np.bincount(index, column, len(cells)) for column in sums.T], axis=1)
    order = np.lexsort((sums[:, 6], index))  # the most frequent label of a cell comes last
    last = order[np.searchsorted(index[order], np.arange(len(cells)), side="right") - 1]
    means = (totals[:, :6] / totals[:, 6:]).astype(np.float32)
    return Cloud(means[:, :3], means[:, 3:], keys[last] & 0xFF, numbers)
