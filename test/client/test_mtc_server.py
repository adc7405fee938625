# SPDX-License-Identifier: Apache-2.0
"""What the examples for MoveIt Task Constructor serve and ask, before stand-ins of the fields of the real messages."""

import importlib.util
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from geometry_msgs.msg import Pose, PoseStamped
from ros_support import ros  # noqa: F401  fixture
from std_msgs.msg import Header

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.client import Grasped
from dropclip_ros.msg import Grasp, GraspCandidate, Interpretation

ROOT = Path(__file__).resolve().parents[2]
# moveit_task_constructor, msgs/action/SampleGraspPoses.action at 2e305354: string action_name --- string grasp_state
# --- geometry_msgs/PoseStamped[] grasp_candidates, float64[] costs


class SampleGraspPoses:
    @dataclass
    class Goal:
        action_name: str = ""

    @dataclass
    class Result:
        grasp_state: str = ""

    @dataclass
    class Feedback:
        grasp_candidates: list[PoseStamped] = field(default_factory=list)
        costs: list[float] = field(default_factory=list)


class Robot:
    """In place of the client."""

    def __init__(self):
        self.asked: list[str] = []

    def grasp(self, query, top_k):
        self.asked.append(query)
        if query == "a giraffe":
            raise DropclipError(Status.NOT_FOUND, "no giraffe")
        candidates = tuple(GraspCandidate(grasp=Grasp(width=0.05), tool=Pose()) for _ in range(4))
        for height, one in enumerate(candidates):
            one.tool.position.z = float(height)
        return Grasped(candidates, Header(frame_id="world"), (), "4 of 28", Interpretation())


class Handle:
    def __init__(self, name):
        self.request, self.told, self.ended = SampleGraspPoses.Goal(name), [], ""

    def publish_feedback(self, feedback):
        self.told.append(feedback)

    def succeed(self):
        self.ended = "succeeded"

    def abort(self):
        self.ended = "aborted"


@pytest.fixture
def example(monkeypatch):
    path = ROOT / "examples/moveit_task_constructor/grasp_server.py"
    spec = importlib.util.spec_from_file_location("grasp_server", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ActionServer", lambda *_, **__: None)
    return module


def test_candidates_are_feedback_with_a_cost_each(ros, example):
    robot = Robot()
    server = example.GraspServer(SampleGraspPoses, robot, "the red mug")
    try:
        handle = Handle("/sample_grasps")  # what the stage sends
        result = server.serve(handle)
        (told,) = handle.told
        assert [pose.pose.position.z for pose in told.grasp_candidates] == [0, 1, 2, 3]
        assert {pose.header.frame_id for pose in told.grasp_candidates} == {"world"}
        assert told.costs == [0.0, 0.25, 0.5, 0.75] and handle.ended == "succeeded" and result.grasp_state == "4 of 28"
        server.serve(Handle("the banana"))
        refused = Handle("a giraffe")
        assert "NOT_FOUND" in server.serve(refused).grasp_state and refused.ended == "aborted" and not refused.told
        assert robot.asked == ["the red mug", "the banana", "a giraffe"]
    finally:
        server.destroy_node()


def test_the_source_examples_name_fields_that_are_there():
    fields = "\n".join(path.read_text() for kind in ("action", "msg", "srv") for path in ROOT.glob(f"{kind}/*.{kind}"))
    known = set(re.findall(r"^\s*[\w/\[\]]+\s+(\w+)", fields, re.MULTILINE))
    for path in (ROOT / "examples").rglob("*.hpp"):
        text = re.sub(r"^#include.*", "", path.read_text(), flags=re.MULTILINE)
        named = r"(?:answer|candidate|candidate\.grasp|goal|request|response|result)(?:->|\.)(\w+)\b(?!\()"
        said = set(re.findall(named, text))
        assert said - {"result", "grasp"} <= known, path


def test_without_the_messages_it_says_which_are_expected(example):
    with pytest.raises(ImportError, match="deep_grasp_msgs nor moveit_task_constructor_msgs"):
        example.action_type()
