# SPDX-License-Identifier: Apache-2.0
"""What the launch files of the trials say of the workcell, and what serving `pick` does, with an arm made up."""

import importlib
import re
from pathlib import Path

import pytest
import ros_support  # noqa: F401  skips where ROS is missing
from geometry_msgs.msg import Pose

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grasping.gate import refusals
from dropclip_ros.grasping.grippers import ROBOTIQ_2F_140
from dropclip_ros.msg import Grasp, GraspCandidate
from dropclip_ros.ros.grasp_messages import motion_of
from dropclip_ros.ros.pick_sequence import NoPath, pick_first, place_first

ROOT = Path(__file__).resolve().parents[2]


def test_the_workcell_is_told_of_parameters_that_it_has():
    pytest.importorskip("mujoco", reason="mujoco is not installed (make setup)")
    node = pytest.importorskip("training.workcell.node", reason="the workcell's packages are missing (make setup)")
    source = (ROOT / "launch/trials.launch.py").read_text()
    told = re.search(r"^WORKCELL = \((.*?)^\)", source, re.M | re.S).group(1)
    names = set(re.findall(r'^    \("(\w+)"', told, re.M))
    assert names and names <= {setting.name for setting in node.SETTINGS}
    for setting in node.SETTINGS:
        assert setting.description and setting.complaint(setting.default) is None


def test_the_camera_of_the_gazebo_launch_is_that_of_the_world():
    world = (ROOT / "config/gazebo/workcell.sdf").read_text()
    launch = (ROOT / "launch/gazebo_trials.launch.py").read_text()
    place = re.search(r"^CAMERA = \((.*?)\)", launch, re.M).group(1).replace('"', "").replace(",", "")
    numbers = [float(word) for word in place.split()]
    model = re.search(r'<model name="camera">.*?<pose>(.*?)</pose>', world, re.S).group(1)
    assert [float(word) for word in model.split()] == numbers


class MadeUpArm:
    """Knows ways to poses with positive x alone; writes down what it is told."""

    def __init__(self, holds: bool = True):
        self.holds, self.done = holds, []

    def reach(self, pose):
        return self._way(pose)

    def straight(self, after, pose, into):
        assert after is not None and into
        return self._way(pose)

    def _way(self, pose):
        if pose.position.x < 0:
            raise NoPath(f"x is {pose.position.x}")
        return pose.position.x

    def execute(self, way):
        self.done.append(way)

    def open(self, opening):
        self.done.append(f"open {opening:.2f}")

    def close(self):
        self.done.append("close")
        return self.holds


def candidate(pregrasp: float, tool: float, retreat: float, width: float = 0.05) -> GraspCandidate:
    made = GraspCandidate(grasp=Grasp(width=width))
    for name, x in (("pregrasp", pregrasp), ("tool", tool), ("retreat", retreat)):
        pose = Pose()
        pose.position.x = x
        setattr(made, name, pose)
    return made


def test_the_first_candidate_whose_whole_way_is_free_is_executed():
    arm, stages = MadeUpArm(), []
    some = [candidate(-1, 2, 3), candidate(1, -2, 3), candidate(1, 2, -3), candidate(4, 5, 6), candidate(7, 8, 9)]
    result = pick_first(arm, some, [None] * 5, stages.append, lambda: None)
    assert (result.status, result.executed, len(result.reasons)) == (Status.OK, 3, 3)
    assert arm.done == [4.0, "open 0.05", 5.0, "close", 6.0]
    assert stages == ["plan", "reach", "open", "approach", "close", "lift"]


@pytest.mark.parametrize(
    "some, status",
    [
        ([candidate(-1, 2, 3), candidate(1, 2, -3)], Status.NO_PATH),
        ([candidate(1, 2, 3, 0.2)], Status.TOO_WIDE),
        ([candidate(1, 2, 3, float("nan"))], Status.BAD_POSE),
        ([candidate(1, 2, 3, 0.2), candidate(-1, 2, 3)], Status.NO_PATH),
        ([], Status.NO_PATH),
    ],
    ids=["no path", "too wide", "width NaN", "both", "none"],
)
def test_nothing_moves_where_no_candidate_will_do(some, status):
    arm = MadeUpArm()
    judged = refusals(*motion_of(some, ROBOTIQ_2F_140), ROBOTIQ_2F_140)
    refused = [None if one.grasp.width < 0.14 else refusal for one, refusal in zip(some, judged, strict=True)]
    with pytest.raises(DropclipError) as error:
        pick_first(arm, some, refused, lambda _: None, lambda: None)
    assert error.value.status == status and arm.done == []
    assert len(error.value.fields["reason_codes"]) == len(error.value.fields["reasons"]) == len(some)


def test_a_gripper_that_closed_on_nothing_says_so():
    result = pick_first(MadeUpArm(holds=False), [candidate(1, 2, 3)], [None], lambda _: None, lambda: None)
    assert (result.status, result.executed) == (Status.SLIPPED, 0)


def test_what_is_held_is_put_down_by_opening_at_the_end_of_the_approach():
    arm, stages = MadeUpArm(), []
    result = place_first(arm, [candidate(-1, 2, 3), candidate(4, 5, 6)], [None] * 2, stages.append, lambda: None)
    assert (result.status, result.executed, len(result.reasons)) == (Status.OK, 1, 1)
    assert arm.done == [4.0, 5.0, "open 0.05", 6.0] and stages == ["plan", "reach", "approach", "release", "retreat"]


def test_a_cancelled_goal_moves_nothing_further():
    arm, asked = MadeUpArm(), []

    def check():
        asked.append(len(arm.done))
        if arm.done:
            raise DropclipError(Status.CANCELLED, "the client wants it")

    with pytest.raises(DropclipError, match="CANCELLED"):
        pick_first(arm, [candidate(1, 2, 3)], [None], lambda _: None, check)
    assert arm.done == [1.0]


def test_the_moveit_node_needs_what_is_not_here_and_nothing_else():
    """All that it imports beside MoveIt's and the controllers' messages is there."""
    source = (ROOT / "dropclip_ros/nodes/moveit_pick_node.py").read_text()
    modules = set(re.findall(r"^from ([\w.]+) import", source, re.M)) | set(re.findall(r"^import (\w+)", source, re.M))
    foreign = {"moveit_msgs", "control_msgs", "shape_msgs"}
    for module in modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            assert error.name and error.name.split(".")[0] in foreign
