# SPDX-License-Identifier: Apache-2.0
"""Has what a grasp reaches for moved since the camera saw it? From two depth images of a camera that stands still."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dropclip_ros.grasping.matching import seen_through
from dropclip_ros.vision.geometry import backproject, transform_points
from training.scenes.scene import View

NEAR = 0.06  # m from a tip: what the fingers would go around
ABOVE = 0.005  # m over the table
SHARE = 0.3  # of what was there, behind which the camera now sees


def changed(before: View, after: View, tips: Sequence[np.ndarray], share: float = SHARE) -> bool:
    """Whether more than a share of what stood around one of the tips (3,), m in the world, is there no more."""
    intrinsics = before.camera
    seen, _ = backproject(before.depth, intrinsics)
    world = transform_points(before.world_from_camera, seen)
    standing = world[:, 2] > ABOVE
    seen, world = seen[standing], world[standing]
    around = (np.linalg.norm(world - tip, axis=1) < NEAR for tip in tips)
    return any(seen_through(seen[near], after.depth, intrinsics) > share for near in around)
