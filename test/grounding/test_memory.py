# SPDX-License-Identifier: Apache-2.0
"""What was answered in one frame is found again in a later one by its place."""

from types import SimpleNamespace

import numpy as np
import pytest

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.grounding.memory import MOVED, carried


def scene_of(middles, pose=None):
    """A scene of cubes of 4 cm, numbered as given."""
    corners = np.array([[x, y, z] for x in (-0.02, 0.02) for y in (-0.02, 0.02) for z in (-0.02, 0.02)])
    points = np.concatenate([corners + middle for middle in middles])
    owner = np.repeat(np.arange(1, len(middles) + 1), len(corners))
    voxels = SimpleNamespace(point_to_voxel=np.arange(len(points)))
    return SimpleNamespace(points=points, instances=owner, voxels=voxels, frame=SimpleNamespace(camera_pose=pose))


PLACES = np.array([[0.0, 0.0, 0.6], [0.2, 0.0, 0.6], [0.0, 0.2, 0.7]])


def test_ids_follow_their_objects():
    later = scene_of(PLACES[[2, 0, 1]] + 0.005)
    assert carried([1, 3], scene_of(PLACES), later) == [2, 1]


def test_a_camera_that_moved_is_no_matter_where_its_pose_is_known():
    moved = np.eye(4)
    moved[:3, 3] = (0.1, 0.0, 0.0)
    assert carried([2], scene_of(PLACES, np.eye(4)), scene_of(PLACES[::-1] - np.array([0.1, 0, 0]), moved)) == [2]


@pytest.mark.parametrize(("previous", "why"), [([4], "1 to 3, no 4"), ([0], "no 0"), ([2], "no longer where it was")])
def test_what_is_gone_is_said(previous, why):
    later = scene_of(PLACES + np.array([0, 2 * MOVED, 0]))
    with pytest.raises(DropclipError, match=why):
        carried(previous, scene_of(PLACES), later)
