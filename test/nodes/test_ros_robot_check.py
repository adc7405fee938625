# SPDX-License-Identifier: Apache-2.0
"""Two models of one robot: a difference that would make a grasp miss is refused, whatever it is of."""

import sys
import types

import numpy as np
import pytest
import ros_support  # noqa: F401  skips where ROS is missing
from geometry_msgs.msg import Pose
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import load_gripper
from dropclip_ros.grasping.handoff import hand_off
from dropclip_ros.msg import GraspCandidate
from dropclip_ros.ros.arm.gripper_action import GripperAction, holds
from dropclip_ros.ros.arm.robot_check import check_robot, compare_tool, turn_between
from dropclip_ros.ros.grasp_messages import candidate_messages

SETTINGS = {
    "checked_links": ["base_link", "tool0"],
    "max_mismatch": 0.005,
    "max_mismatch_angle": 0.02,
    "gripper": "robotiq_2f_140",
}
angles = st.tuples(*[st.floats(-3.0, 3.0)] * 3)
directions = st.tuples(*[st.floats(-1.0, 1.0)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1)


def pose(xyz=(0, 0, 0), rpy=(0, 0, 0)) -> np.ndarray:
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = Rotation.from_euler("xyz", rpy).as_matrix(), xyz
    return made


def candidates(gripper: str, width: float = 0.05, rpy=(0.3, 1.2, -0.4)) -> list[GraspCandidate]:
    """What a matcher with this gripper hands over: one grasp."""
    row = np.zeros((1, 17))
    row[0, :4] = 0.9, width, 0.02, 0.02
    row[0, 4:13] = pose(rpy=rpy)[:3, :3].ravel()
    row[0, 13:16] = 0.4, 0.1, 0.05
    grasps = Grasps.from_rows(row)
    motion = hand_off(grasps, load_gripper(gripper), np.array([0.0, 0, 1]))
    return candidate_messages(Header(), grasps, np.zeros(1), motion)


def check(in_tf: dict, in_model: dict, some=()) -> None:
    check_robot(SETTINGS, "world", in_tf.__getitem__, lambda links: {link: in_model[link] for link in links}, some)


def test_the_half_metre_trap_is_refused_with_both_places():
    """The model's base half a metre from the driver's: what the first launch files did."""
    flange = pose((0.4, 0.1, 0.5), (0, np.pi, 0))
    in_tf = {"base_link": pose(), "tool0": flange}
    in_model = {name: pose((-0.52, 0, 0)) @ place for name, place in in_tf.items()}
    with pytest.raises(
        DropclipError, match=r"520.0 mm .*\(0.000 0.000 0.000\) .*\(-0.520 0.000 0.000\).*base_xyz"
    ) as error:
        check(in_tf, in_model)
    assert error.value.status == Status.ROBOT_MISMATCH
    check(in_tf, in_tf)


@settings(deadline=None, max_examples=60)
@given(angles, directions, st.floats(0.0, 0.05), st.floats(0.0, 0.2), st.sampled_from(["base_link", "tool0"]))
def test_a_link_is_refused_exactly_where_it_is_too_far_or_turned_too_much(rpy, axis, apart, turned, link):
    unit = np.array(axis) / np.linalg.norm(axis)
    places = {"base_link": pose((0.1, -0.2, 0.0)), "tool0": pose((0.5, 0.2, 0.4), rpy)}
    moved = places[link].copy()
    moved[:3, 3] += apart * unit
    moved[:3, :3] = moved[:3, :3] @ Rotation.from_rotvec(turned * unit).as_matrix()
    assert turn_between(places[link], moved) == pytest.approx(turned, abs=1e-6)
    if apart > 0.0051 or turned > 0.0201:
        with pytest.raises(DropclipError, match=link):
            check(places | {link: moved}, places)
    elif apart < 0.0049 and turned < 0.0199:
        check(places | {link: moved}, places)


@settings(deadline=None, max_examples=40)
@given(angles, st.floats(0.0, 0.14))
def test_candidates_of_the_same_gripper_pass_in_every_pose(rpy, width):
    for candidate in candidates("robotiq_2f_140", width, rpy):
        compare_tool(candidate, load_gripper("robotiq_2f_140"), 0.005, 0.02)


def mirrored(candidate: GraspCandidate) -> GraspCandidate:
    """As of a driver whose tool frame points backwards."""
    q = candidate.tool.orientation
    q.x, q.y, q.z, q.w = (Rotation.from_quat([q.x, q.y, q.z, q.w]) * Rotation.from_euler("x", np.pi)).as_quat()
    return candidate


def in_millimetres(candidate: GraspCandidate) -> GraspCandidate:
    for place in (candidate.tool.position, candidate.grasp.tip.position):
        place.x, place.y, place.z = 1e3 * place.x, 1e3 * place.y, 1e3 * place.z
    return candidate


@pytest.mark.parametrize(
    "candidate",
    [
        candidates("robotiq_2f_85")[0],
        candidates("franka_hand")[0],
        mirrored(candidates("robotiq_2f_140")[0]),
        in_millimetres(candidates("robotiq_2f_140")[0]),
        GraspCandidate(tool=Pose()),
    ],
    ids=["a shorter hand", "turned by 45 degrees", "mirrored", "mm", "the tips in the flange"],
)
def test_candidates_for_another_hand_are_refused(candidate):
    same = {"base_link": pose(), "tool0": pose()}
    with pytest.raises(DropclipError, match="gripper") as error:
        check(same, same, [candidate])
    assert error.value.status == Status.ROBOT_MISMATCH


def make(name: str, **fields) -> type:
    return type(name, (), {"Goal": lambda: types.SimpleNamespace(**{k: v() for k, v in fields.items()})})


def test_the_gripper_is_asked_in_the_words_of_its_action(monkeypatch):
    old = make("GripperCommand", command=types.SimpleNamespace)
    module = types.SimpleNamespace(GripperCommand=old)
    monkeypatch.setitem(sys.modules, "control_msgs", types.ModuleType("control_msgs"))
    monkeypatch.setitem(sys.modules, "control_msgs.action", module)
    goal = GripperAction("gripper_command").goal("finger_joint", 0.4, 40.0)
    assert (goal.command.position, goal.command.max_effort) == (0.4, 40.0)
    with pytest.raises(DropclipError, match="set gripper_command"):  # Humble
        GripperAction("parallel_gripper_command").goal("finger_joint", 0.4, 40.0)
    module.ParallelGripperCommand = make("ParallelGripperCommand", command=types.SimpleNamespace)
    command = GripperAction("parallel_gripper_command").goal("finger_joint", 0.4, 40.0).command
    assert (command.name, list(command.position), list(command.effort)) == (["finger_joint"], [0.4], [40.0])
    assert holds(types.SimpleNamespace(stalled=True, reached_goal=False))
    assert not holds(types.SimpleNamespace(stalled=False, reached_goal=True))
