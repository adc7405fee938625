# SPDX-License-Identifier: Apache-2.0
"""Has what a grasp reaches for moved since the camera saw it? From two depth images of a camera that stands still."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dropclip_ros.geometry import transform_points

if TYPE_CHECKING:
    from training.workcell.cell import Capture

NEAR = 0.06  # m from a tip: what the fingers would go around
STEP = 0.015  # m, by which depth changes where something has moved; noise stays below
SHARE = 0.25  # of the pixels


def changed(before: Capture, after: Capture, tips: Sequence[np.ndarray]) -> bool:
    """Whether a quarter of what lay around one of the tips (3,), m in the world, lies elsewhere or is covered now.

    Only what stood 5 mm above the table counts. Pixels without depth in either image say nothing.
    """
    k, depth = before.intrinsics, before.depth
    rows, columns = np.nonzero((depth > 0) & (after.depth > 0))
    z = depth[rows, columns]
    camera = np.stack([(columns - k[0, 2]) / k[0, 0] * z, (rows - k[1, 2]) / k[1, 1] * z, z], axis=1)
    points = transform_points(before.world_from_camera, camera)
    differs = np.abs(after.depth[rows, columns] - z) > STEP
    for tip in tips:
        around = (np.linalg.norm(points - tip, axis=1) < NEAR) & (points[:, 2] > 0.005)
        if around.any() and differs[around].mean() > SHARE:
            return True
    return False
