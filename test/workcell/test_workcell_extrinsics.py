# SPDX-License-Identifier: Apache-2.0
"""The gripper in the cell's own noisy depth images, arm and table behind it, tells by how much TF is off."""

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="mujoco is not installed (extra train)")
pytest.importorskip("ompl", reason="ompl is not installed (extra sim)")
pytest.importorskip("ur_analytic_ik", reason="ur_analytic_ik is not installed (extra sim)")

import mujoco
from scipy.spatial.transform import Rotation

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.grasping.seen_hand import find_hand, hand_surface
from dropclip_ros.vision.extrinsics import residual
from dropclip_ros.vision.geometry import Intrinsics, invert_pose
from training.workcell import kinematics
from training.workcell.cell import Cell


@pytest.fixture(scope="module")
def cell(off_screen):
    one = Cell()
    one.reset(0)
    yield one
    one.close()


def show_hand(cell: Cell, rng: np.random.Generator) -> None:
    """Puts the hand into the camera's view, pointing down, more or less."""
    tool = np.eye(4)
    turn = Rotation.from_euler("zyx", (rng.uniform(-1, 1), *rng.uniform(-0.3, 0.3, 2)))
    tool[:3, :3] = (turn * Rotation.from_euler("x", np.pi)).as_matrix()
    tool[:3, 3] = rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.05), rng.uniform(0.38, 0.5)
    ways = kinematics.inverse(invert_pose(cell.config.world_from_base) @ tool)
    ways = ways[kinematics.within_limits(ways)]
    cell.data.qpos[cell._joint_at] = ways[np.argmin(np.abs(ways - cell.arm()).sum(axis=1))]
    mujoco.mj_forward(cell.model, cell.data)


@pytest.mark.parametrize(("millimetres", "degrees"), [(5, 1), (10, 2), (20, 3), (30, 5)])
def test_an_injected_error_is_measured(cell, millimetres, degrees):
    rng = np.random.default_rng(millimetres)
    show_hand(cell, rng)
    view = cell.capture()
    frames = cell.frames()
    camera, tool = frames["camera_color_optical_frame"], frames["tool0"]
    axis, way = rng.normal(size=(2, 3))
    error = np.eye(4)
    error[:3, :3] = Rotation.from_rotvec(np.radians(degrees) * axis / np.linalg.norm(axis)).as_matrix()
    error[:3, 3] = 0.001 * millimetres * way / np.linalg.norm(way)
    told = camera @ error
    truth, expected = invert_pose(camera) @ tool, invert_pose(told) @ tool

    gripper = cell.config.gripper
    intrinsics = Intrinsics.from_matrix(view.intrinsics, view.depth.shape[1], view.depth.shape[0])
    seen = find_hand(hand_surface(gripper, gripper.max_width), view.depth, intrinsics, expected)
    found = residual(seen.pose, expected, told)
    assert seen.found > 0.7 and np.linalg.norm(seen.pose[:3, 3] - truth[:3, 3]) < 0.002
    assert abs(found.offset - np.linalg.norm(truth[:3, 3] - expected[:3, 3])) < 0.002
    turn = Rotation.from_matrix(camera[:3, :3].T @ found.corrected[:3, :3]).magnitude()
    assert np.degrees(turn) < 0.6 and abs(np.degrees(found.turn) - degrees) < 0.6


def test_a_hand_that_is_not_there_is_not_found(cell):
    cell.reset(0)  # the arm at home, out of view
    view = cell.capture()
    intrinsics = Intrinsics.from_matrix(view.intrinsics, view.depth.shape[1], view.depth.shape[0])
    tool = np.diag([1.0, -1.0, -1.0, 1.0])
    tool[2, 3] = 0.45
    expected = invert_pose(cell.frames()["camera_color_optical_frame"]) @ tool
    with pytest.raises(DropclipError, match="TARGET_UNSEEN"):
        find_hand(hand_surface(cell.config.gripper, 0.14), view.depth, intrinsics, expected)
