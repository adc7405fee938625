# SPDX-License-Identifier: Apache-2.0
"""What was answered in one frame, found again in a later one: ids are of one frame, places last longer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grounding.pipeline import EncodedScene
from dropclip_ros.vision.geometry import transform_points

MOVED = 0.04  # m by which the middle of what is still there may lie elsewhere


def carried(previous: Sequence[int], before: EncodedScene, now: EncodedScene) -> list[int]:
    """The ids in `now` of the objects that had the ids `previous` in `before`, by where their middles are.

    Places are the world's where both frames know their camera's pose, else the camera's, which must not have moved.
    Raises BAD_REQUEST where an id is none of `before`, or what it was is no longer where it was.
    """
    old, new = _middles(before), _middles(now)
    if before.frame.camera_pose is not None and now.frame.camera_pose is not None:
        old, new = transform_points(before.frame.camera_pose, old), transform_points(now.frame.camera_pose, new)
    found = []
    for k in previous:
        if not 1 <= k <= len(old):
            raise DropclipError(
                Status.BAD_REQUEST, f"previous: the last answer's frame had objects 1 to {len(old)}, no {k}"
            )
        away = np.linalg.norm(new - old[k - 1], axis=1)
        if not len(away) or away.min() > MOVED:
            raise DropclipError(
                Status.BAD_REQUEST,
                f"previous: object {k} of the last answer is no longer where it was (nothing within "
                f"{100 * MOVED:.0f} cm); "
                "name it instead",
            )
        found.append(int(away.argmin()) + 1)
    return found


def _middles(scene: EncodedScene) -> np.ndarray:
    """(K,3) m in the camera's frame: the middle of each instance's box along the axes."""
    owner = scene.instances[scene.voxels.point_to_voxel]
    count = int(scene.instances.max(initial=0))
    points = [scene.points[owner == k] for k in range(1, count + 1)]
    return np.array([(part.min(axis=0) + part.max(axis=0)) / 2 for part in points]).reshape(-1, 3)
