# SPDX-License-Identifier: Apache-2.0
"""The MoveIt node before an arm, with stand-ins for MoveIt's messages: what is no pose never reaches a planner."""

import importlib
import math
import sys
import types
from types import SimpleNamespace

import numpy as np
import pytest
import ros_support  # noqa: F401  skips where ROS is missing
from geometry_msgs.msg import Point, Pose, Quaternion
from std_msgs.msg import Header

from dropclip_ros.action import Pick
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.msg import Grasp, GraspCandidate
from dropclip_ros.ros.messages import time_message
from dropclip_ros.ros.pick_sequence import pick_first

NAN, INF = math.nan, math.inf
MISSING = ("moveit_msgs", "moveit_msgs.action", "moveit_msgs.msg", "moveit_msgs.srv", "shape_msgs", "shape_msgs.msg")


class Anything(types.ModuleType):
    """A module that has every class."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


@pytest.fixture(scope="module")
def node_class():
    """MoveItPickNode, of MoveIt's own messages where those are installed."""
    name, added = "dropclip_ros.nodes.moveit_pick_node", []
    for module in (*MISSING, "control_msgs", "control_msgs.action"):
        try:
            importlib.import_module(module)
        except ImportError:
            sys.modules[module] = Anything(module)
            added.append(module)
    yield importlib.import_module(name)
    for module in (*added, name):
        sys.modules.pop(module, None)


class Arm:
    """A planner that says yes and a controller that does what it is told."""

    def __init__(self):
        self.told = []

    def reach(self, pose):
        self.told.append(pose)
        return pose

    def straight(self, after, pose, into):
        self.told.append(pose)
        return pose

    def execute(self, way):
        self.told.append(way)

    def open(self, opening):
        self.told.append(opening)

    def close(self):
        return True


def candidate(width=0.06, at=(0.0, 0.0, 0.3), turn=(1.0, 0.0, 0.0, 0.0)):
    """Straight down at a place of the tool, 10 cm from above, 15 cm up."""

    def pose(above=0.0):
        x, y, z, w = turn
        return Pose(position=Point(x=at[0], y=at[1], z=at[2] + above), orientation=Quaternion(x=x, y=y, z=z, w=w))

    return GraspCandidate(grasp=Grasp(width=width), tool=pose(), pregrasp=pose(0.1), retreat=pose(0.15))


def pick(module, *candidates, stamp: int = 0):
    """What the node's judgement and the sequence make of a goal in the world, and what the arm was told."""
    settings = {s.name: s.default for s in module.SETTINGS} | {"planning_frame": "world"}
    base = np.eye(4)
    base[0, 3] = -0.5
    now = SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=10**12))
    frames = SimpleNamespace(lookup=lambda target, source, *_: base if source == "base_link" else np.eye(4))
    fake = SimpleNamespace(_settings=settings, _frames=frames, get_clock=lambda: now)
    fake._in_tf = lambda link: module.MoveItPickNode._in_tf(fake, link)
    fake._known = lambda header: module.MoveItPickNode._known(fake, header)
    goal = Pick.Goal(header=Header(frame_id="world", stamp=time_message(stamp)), candidates=list(candidates))
    placed, refused = module.MoveItPickNode._judge(fake, goal)
    arm = Arm()
    try:
        return pick_first(arm, placed, refused, lambda _: None, lambda: None), arm.told
    except DropclipError as error:
        return error, arm.told


def test_a_good_candidate_is_executed(node_class):
    result, told = pick(node_class, candidate())
    assert result.status == Status.OK and told


BAD = {
    "width NaN": (candidate(NAN), Status.BAD_POSE),
    "width inf": (candidate(INF), Status.BAD_POSE),
    "width -0.05": (candidate(-0.05), Status.BAD_POSE),
    "width 0.2": (candidate(0.2), Status.TOO_WIDE),
    "position NaN": (candidate(at=(NAN, 0.0, 0.3)), Status.BAD_POSE),
    "position inf": (candidate(at=(INF, 0.0, 0.3)), Status.BAD_POSE),
    "position 1e308": (candidate(at=(1e308, 0.0, 0.3)), Status.BAD_POSE),
    "in mm": (candidate(at=(30.0, 20.0, 80.0)), Status.OUT_OF_REACH),
    "3 m away": (candidate(at=(3.0, 0.0, 0.3)), Status.OUT_OF_REACH),
    "in the table": (candidate(at=(0.0, 0.0, 0.15)), Status.TOO_LOW),
    "under the table": (candidate(at=(0.0, 0.0, -0.4)), Status.TOO_LOW),
    "quaternion of length 5": (candidate(turn=(3.0, 4.0, 0.0, 0.0)), Status.BAD_POSE),
    "quaternion of length 1e-9": (candidate(turn=(1e-9, 0.0, 0.0, 0.0)), Status.BAD_POSE),
    "quaternion zero": (candidate(turn=(0.0, 0.0, 0.0, 0.0)), Status.BAD_POSE),
    "quaternion NaN": (candidate(turn=(NAN, 0.0, 0.0, 0.0)), Status.BAD_POSE),
    "from below": (candidate(at=(0.0, 0.0, 0.6), turn=(0.0, 0.0, 0.0, 1.0)), Status.BAD_APPROACH),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_never_reaches_the_arm(node_class, name):
    bad, status = BAD[name]
    error, told = pick(node_class, bad, bad)
    assert error.status == status and not told, error
    assert error.fields["reason_codes"] == [status] * 2 and all(error.fields["reasons"])
    result, told = pick(node_class, bad, candidate())
    assert (result.status, result.executed, list(result.reason_codes)) == (Status.OK, 1, [status])


def test_candidates_of_long_ago_are_refused(node_class):
    """The clock says 1000 s; stamp 0 says that nothing has moved."""
    for seconds, status in ((999, Status.OK), (0, Status.OK), (900, Status.STALE_FRAME), (1, Status.STALE_FRAME)):
        result, told = pick(node_class, candidate(), stamp=seconds * 10**9)
        assert result.status == status and bool(told) == (status == Status.OK)
