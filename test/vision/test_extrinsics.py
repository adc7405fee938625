# SPDX-License-Identifier: Apache-2.0
"""Is the camera where TF says? Errors of a hand-eye calibration are put in, and must be said or refused."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.tabletop.table import find_table
from dropclip_ros.vision.extrinsics import Trust, check_camera, table_error
from dropclip_ros.vision.geometry import backproject

KNOWN = Trust(table_height=0.0)


def verdict(tabletop, turn=(0.0, 0.0, 0.0), shift=(0.0, 0.0, 0.0), trust=KNOWN) -> str:
    """fine, warned or refused: of a table that a real search finds, and a camera pose that is wrong by so much."""
    wrong = np.eye(4)
    wrong[:3, :3], wrong[:3, 3] = Rotation.from_rotvec(np.radians(turn)).as_matrix(), shift
    points, _ = backproject(tabletop.frame.depth, tabletop.frame.intrinsics)
    table, pose = find_table(points, up=tabletop.up), wrong @ tabletop.frame.camera_pose
    try:
        said = check_camera(table.plane @ np.linalg.inv(pose), (pose @ table.frame)[:3, 3], trust)
    except DropclipError as error:
        assert error.status == Status.TF_ERROR and "is the camera where TF says" in error.message
        return "refused"
    assert not said or "is the camera where TF says" in said
    return "warned" if said else "fine"


@pytest.fixture(scope="module")
def tabletop(make_tabletop):
    return make_tabletop(noise=0.002, seed=3)


@pytest.mark.parametrize(
    ("turn", "shift", "expected"),
    [
        ((0, 0, 0), (0, 0, 0), "fine"),
        ((0.5, 0, 0), (0, 0, 0), "fine"),
        ((0, 0, 0), (0, 0, 0.005), "fine"),
        ((2, 0, 0), (0, 0, 0), "warned"),
        ((0, -2, 0), (0, 0, 0), "warned"),
        ((0, 0, 0), (0, 0, 0.015), "warned"),
        ((0, 0, 0), (0, 0, -0.02), "warned"),
        ((4, 0, 0), (0, 0, 0), "refused"),
        ((0, 5, 0), (0, 0, 0), "refused"),
        ((0, 0, 0), (0, 0, 0.03), "refused"),
        ((0, 0, 0), (0, 0, -0.03), "refused"),
        ((0, 0, 30), (0.03, 0.03, 0), "fine"),  # what a table alone cannot show
    ],
)
def test_errors_of_a_calibration_are_said_or_refused(tabletop, turn, shift, expected):
    assert verdict(tabletop, turn, shift) == expected


def test_a_height_that_is_not_known_is_not_judged(tabletop):
    assert verdict(tabletop, shift=(0, 0, 0.5), trust=Trust()) == "fine"
    assert verdict(tabletop, shift=(0, 0, 0.72), trust=Trust(table_height=0.72)) == "fine"


def test_a_plane_that_stands_upright_or_is_no_number_is_refused():
    for plane in (np.array([1.0, 0, 0, 0.5]), np.full(4, np.nan)):
        with pytest.raises(DropclipError):
            check_camera(plane, np.zeros(3), KNOWN)
    assert table_error(np.array([1.0, 0, 0, 0.5]), np.zeros(3), KNOWN)[1] == np.inf


def test_limits_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="warn_tilt"):
        Trust(warn_tilt=0.1, max_tilt=0.05)
