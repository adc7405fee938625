# SPDX-License-Identifier: Apache-2.0
"""What a camera and an arm get wrong, in sequences: poses that jump or are of another frame, two cameras at once, long
nothing. (A pose that is missing or drifts, time that goes back, another table: test_scene_map.)"""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_scene_map import BLUE, GREEN, RED, frame_of, seen_around, with_pose

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.mapping.scene_map import SceneMap

THREE = (RED, GREEN, BLUE)


@pytest.fixture
def look(make_tabletop):
    return partial(frame_of, make_tabletop)


def moved(along=(0.0, 0.0, 0.0), turn=(0.0, 0.0, 0.0)):
    motion = np.eye(4)
    motion[:3, 3], motion[:3, :3] = along, Rotation.from_rotvec(turn).as_matrix()
    return motion


@pytest.mark.parametrize("along", [(0.08, 0.0, 0.0), (0.15, -0.1, 0.0), (0.0, 0.0, 0.1)])
def test_a_pose_that_jumps_is_not_believed_at_once(look, along):
    scene_map = seen_around(look, THREE)
    places = {k: one.centre.copy() for k, one in scene_map.objects.items()}
    with pytest.raises(DropclipError) as refused:
        scene_map.add(with_pose(look(THREE, 0.4, 5.0), moved(along)))
    assert refused.value.status == Status.TF_ERROR
    scene_map.add(look(THREE, 0.6, 6.0))
    assert set(scene_map.objects) == {1, 2, 3}
    assert all(np.abs(one.centre - places[k]).max() < 0.01 for k, one in scene_map.objects.items())


@pytest.mark.parametrize("turn", [(np.pi / 2, 0.0, 0.0), (0.0, np.pi, 0.0)])
def test_poses_of_another_frame_are_said_from_the_first_on(look, turn):
    """world_frame is an optical frame, or one with z down: the table is no floor in it."""
    scene_map = SceneMap()
    for k in range(5):
        with pytest.raises(DropclipError, match="in a world with z up") as refused:
            scene_map.add(with_pose(look(THREE, 0.3 * k, float(k)), moved(turn=turn)))
        assert refused.value.status == Status.TF_ERROR
    assert scene_map.refused == 5 and not scene_map.frames and not len(scene_map.grid)


def test_two_cameras_at_once_make_one_map(look):
    """Their frames come in turns, each of the second later than it was taken."""
    scene_map = SceneMap()
    for k in range(8):
        scene_map.add(look(THREE, 0.1 * k, float(k)))
        scene_map.add(look(THREE, 2.5 + 0.1 * k, k - 0.2))
    assert set(scene_map.objects) == {1, 2, 3} and not scene_map.refused and scene_map.watch.newest == 7.0
    for one, box in zip(scene_map.objects.values(), THREE, strict=True):
        assert np.abs(one.centre[:2] - box[:2]).max() < 0.02 and one.last == 7.0


def test_a_camera_beside_that_is_wrongly_mounted_does_not_harm_the_first(look):
    scene_map = seen_around(look, THREE)
    for k in range(6):
        scene_map.add(look(THREE, 0.1 * k, 5.0 + k))
        with pytest.raises(DropclipError):
            scene_map.add(with_pose(look(THREE, 2.0, 5.0 + k), moved((0.02, 0.0, 0.0))))
    assert set(scene_map.objects) == {1, 2, 3} and scene_map.refused == 6


def test_long_nothing_costs_nothing(look):
    scene_map, empty = SceneMap(), look((), 0.0, 0.0)
    for k in range(300):
        scene_map.add(replace(empty, stamp=float(k)))
    held = len(scene_map.grid), len(scene_map.pieces), len(scene_map.objects), len(scene_map.keyframes)
    assert held == (0, 0, 0, 0) and scene_map.frames == 300
    added = scene_map.add(look(THREE, 0.0, 300.0))
    assert len(added.new) == 3
