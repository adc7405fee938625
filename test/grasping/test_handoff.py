# SPDX-License-Identifier: Apache-2.0
"""Poses for a planner: the tool frame that puts a gripper's tips where a grasp wants them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import FRANKA_HAND, GRIPPERS, ROBOTIQ_2F_140
from dropclip_ros.grasping.handoff import HandoffConfig, hand_off

UP = np.array([0.0, 0, 1])


def random_grasps(count: int, seed: int) -> Grasps:
    rng = np.random.default_rng(seed)
    return Grasps(
        rng.random(count),
        0.08 * rng.random(count),
        np.full(count, 0.02),
        0.05 * rng.random(count),
        Rotation.random(count, rng=rng).as_matrix(),
        rng.normal(size=(count, 3)),
        np.arange(count),
    )


def test_from_above_the_tool_stands_over_the_object_and_turned_as_the_fingers_close():
    down = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # approach -z, closing y
    grasp = Grasps(*(np.array([v]) for v in (1.0, 0.14, 0.03, 0.02)), down[None], np.array([[0.4, 0.1, 0.05]]), [0])
    motion = hand_off(grasp, ROBOTIQ_2F_140, UP, HandoffConfig(approach=0.1, lift=0.2))
    np.testing.assert_allclose(motion.tip[0, :3, 3], (0.4, 0.1, 0.03))
    np.testing.assert_allclose(motion.tool[0, :3, 3], (0.4, 0.1, 0.03 + 0.223))
    np.testing.assert_allclose(motion.tool[0, :3, :3] @ (0, 0, 1), (0, 0, -1), atol=1e-12)
    np.testing.assert_allclose(motion.tool[0, :3, :3] @ (0, 1, 0), (0, 1, 0), atol=1e-12)
    np.testing.assert_allclose(motion.pregrasp[0, :3, 3], (0.4, 0.1, 0.353))
    np.testing.assert_allclose(motion.retreat[0, :3, 3], (0.4, 0.1, 0.453))


def test_pandas_hand_is_turned_on_its_flange():
    down = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    grasp = Grasps(*(np.array([v]) for v in (1.0, 0.05, 0.02, 0.0)), down[None], np.zeros((1, 3)), [0])
    tool = hand_off(grasp, FRANKA_HAND, UP).tool[0]
    hand = tool[:3, :3] @ Rotation.from_euler("z", -np.pi / 4).as_matrix()  # of panda_hand in panda_link8
    np.testing.assert_allclose(hand[:, 1], (0, 1, 0), atol=1e-7)  # the fingers move along the hand's y
    np.testing.assert_allclose(tool[:3, 3], (0, 0, 0.112))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.sampled_from(sorted(GRIPPERS)))
def test_the_tool_carries_the_tips_to_the_grasp_and_all_ways_are_straight(seed, name):
    gripper, grasps = GRIPPERS[name], random_grasps(4, seed)
    up = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()[0]
    motion = hand_off(grasps, gripper, up, HandoffConfig(0.12, 0.2))
    np.testing.assert_allclose(motion.tool @ gripper.tool_from_tip(grasps.width), motion.tip, atol=1e-9)
    np.testing.assert_allclose(motion.tip[:, :3, 3], grasps.tips(), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(motion.tool[:, :3, :3]), 1)
    back = np.linalg.inv(motion.tip) @ motion.pregrasp @ np.linalg.inv(motion.tool) @ motion.tip
    np.testing.assert_allclose(back[:, :3, :3], np.tile(np.eye(3), (4, 1, 1)), atol=1e-9)
    np.testing.assert_allclose(motion.tool[:, :3, 3] - motion.pregrasp[:, :3, 3], 0.12 * grasps.approach, atol=1e-9)
    np.testing.assert_allclose(motion.retreat[:, :3, 3] - motion.tool[:, :3, 3], np.tile(0.2 * up, (4, 1)), atol=1e-9)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31))
def test_poses_move_with_the_frame(seed):
    grasps = random_grasps(3, seed)
    move = np.eye(4)
    move[:3, :3], move[:3, 3] = Rotation.random(rng=np.random.default_rng(seed + 1)).as_matrix(), (0.2, -1.0, 0.4)
    here = hand_off(grasps, ROBOTIQ_2F_140, UP)
    there = hand_off(grasps.transformed(move), ROBOTIQ_2F_140, move[:3, :3] @ UP)
    for name in ("tip", "tool", "pregrasp", "retreat"):
        np.testing.assert_allclose(getattr(there, name), move @ getattr(here, name), atol=1e-9)


def test_config_names_what_is_wrong():
    with pytest.raises(ValueError, match="lift"):
        HandoffConfig(lift=-0.1)
