# SPDX-License-Identifier: Apache-2.0
"""Depth carried to another camera lies where that camera sees it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.vision.geometry import Intrinsics, invert_pose
from dropclip_ros.vision.registration import register_depth

OF = Intrinsics(110.0, 110.0, 63.5, 47.5, 128, 96)
TO = Intrinsics(150.0, 148.0, 81.0, 58.0, 160, 120)


def plane_depth(camera: Intrinsics, plane_from_camera: np.ndarray) -> np.ndarray:
    """Depth (H, W) of the plane z = 0, seen by a camera of this pose."""
    v, u = np.mgrid[: camera.height, : camera.width]
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)], axis=-1)
    down = plane_from_camera[2, :3] @ rays.reshape(-1, 3).T
    return (-plane_from_camera[2, 3] / down).reshape(camera.height, camera.width).astype(np.float32)


@given(
    beside=st.tuples(*[st.floats(-0.06, 0.06)] * 3),
    turn=st.tuples(*[st.floats(-0.05, 0.05)] * 3),
    tilt=st.floats(-0.3, 0.3),
)
def test_a_plane_is_the_plane_that_the_other_camera_sees(beside, turn, tilt):
    plane_from_of = np.eye(4)
    plane_from_of[:3, :3] = Rotation.from_euler("x", np.pi + tilt).as_matrix()
    plane_from_of[2, 3] = 0.8
    to_from_of = np.eye(4)
    to_from_of[:3, :3], to_from_of[:3, 3] = Rotation.from_rotvec(turn).as_matrix(), beside
    seen = register_depth(plane_depth(OF, plane_from_of), OF, TO, to_from_of)
    truth = plane_depth(TO, plane_from_of @ invert_pose(to_from_of))
    assert seen.shape == (TO.height, TO.width) and seen.dtype == np.float32
    known = seen > 0
    assert known[40:80, 50:110].all()  # no holes, though a pixel of the other image is smaller
    assert np.abs(seen - truth)[known].max() < 0.008  # within a pixel of the coarser image


def test_what_is_nearer_hides_what_is_behind_it():
    depth = np.full((OF.height, OF.width), 1.0, np.float32)
    depth[40:60, 50:80] = 0.5
    to_from_of = np.eye(4)
    to_from_of[0, 3] = 0.05
    seen = register_depth(depth, OF, OF, to_from_of)
    moved = round(110 * 0.05 / 0.5)  # the near block by 11 pixels, the wall by 5
    assert (seen[41:59, 51 + moved : 79 + moved] == 0.5).all()
    assert (seen[:, 10:50] == 1.0).all() and (seen == 0).any()  # beside it the wall was hidden: unknown, not guessed


def test_what_is_behind_the_other_camera_or_unknown_stays_unknown():
    depth = np.zeros((OF.height, OF.width), np.float32)
    depth[10:20, 10:20] = 0.3
    away = np.eye(4)
    away[2, 3] = -0.4
    assert not register_depth(depth, OF, TO, away).any()
    with pytest.raises(DropclipError, match="BAD_FRAME"):
        register_depth(np.zeros_like(depth), OF, TO, np.eye(4))
