# SPDX-License-Identifier: Apache-2.0
"""The client of a task planner over real DDS: typed answers, typed errors, its time, asyncio, and behaviours."""

import asyncio
import importlib.util
import pickle
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.node import Node
from ros_support import ros  # noqa: F401
from std_msgs.msg import Header

from dropclip_ros.action import Grasp, Pick
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.client import Client, Query, Refused
from dropclip_ros.msg import FoundObject, GraspCandidate
from dropclip_ros.ros.common import GRASP_ACTION, GROUND_SERVICE, PICK_ACTION, PLACE_ACTION
from dropclip_ros.ros.messages import cloud_message
from dropclip_ros.srv import Ground

POINTS = np.array([[0.1, 0.2, 0.3], [0.1, 0.2, 0.4]], np.float32)
COLORS = np.array([[200, 10, 20], [30, 40, 250]], np.uint8)


class Robot(Node):
    """Serves what the nodes of the package serve, and keeps what it was asked."""

    def __init__(self):
        super().__init__("robot", namespace="cell")
        self.asked, self.cancelled, self.picking = [], threading.Event(), threading.Event()
        self.objects: list[FoundObject] = []
        self.create_service(Ground, GROUND_SERVICE, self._ground)
        turned = {"cancel_callback": self._cancel, "goal_callback": self._admit}
        self._actions = [
            ActionServer(self, Grasp, GRASP_ACTION, self._grasp, **turned),
            ActionServer(self, Pick, PICK_ACTION, self._pick, **turned),
            ActionServer(self, Pick, PLACE_ACTION, self._place, **turned),
        ]

    def _ground(self, request, response):
        self.asked.append(request)
        if request.query == "slow":
            time.sleep(0.5)
        if request.query == "the twin":
            response.status, response.message = int(Status.AMBIGUOUS), "2 fit"
            response.objects = [FoundObject(id=i, label="mug", score=0.5) for i in (1, 2)]
            response.interpretation.question = "the left one or the right one?"
            return response
        if request.query == "a giraffe":
            response.status, response.message = int(Status.NOT_FOUND), "no giraffe"
            return response
        header = Header(frame_id="world")
        pose = Pose(position=Point(x=1.0), orientation=Quaternion(z=1.0, w=0.0))
        found = FoundObject(cloud=cloud_message(header, POINTS, COLORS, np.array([0.5, 0.75])), score=0.75, id=3)
        found.label, found.centre, found.box_pose, found.box_size = "mug", Point(y=2.0), pose, Vector3(x=0.1)
        response.header, response.objects, response.threshold = header, [found], 0.5
        return response

    def _admit(self, goal):
        return GoalResponse.REJECT if getattr(goal, "query", "") == "too much" else GoalResponse.ACCEPT

    def _cancel(self, _):
        self.cancelled.set()
        return CancelResponse.ACCEPT

    def _grasp(self, goal):
        self.asked.append(goal.request)
        while goal.request.query == "for ever" and not goal.is_cancel_requested:
            time.sleep(0.01)
        goal.canceled() if goal.is_cancel_requested else goal.succeed()
        return Grasp.Result(
            header=Header(frame_id="world"), candidates=[GraspCandidate()] * 2, message="2 grasps", objects=self.objects
        )

    def _pick(self, goal):
        self.picking.set()
        while goal.request.header.frame_id == "for ever" and not goal.is_cancel_requested:
            time.sleep(0.01)
        goal.canceled() if goal.is_cancel_requested else goal.succeed()
        return Pick.Result(executed=len(goal.request.candidates) - 1, reasons=["no path"], message="lifted")

    def _place(self, goal):
        self.asked.append(goal.request)
        goal.succeed()
        return Pick.Result(message="put down")


@pytest.fixture(scope="module")
def robot(ros):
    return ros.serve(Robot())


@pytest.fixture(scope="module")
def client(robot):
    with Client(namespace="cell", timeout=20.0) as client:
        yield client


def test_an_answer_is_arrays(client):
    answer = client.ground("the mug")
    (mug,) = answer.objects
    assert np.array_equal(mug.points, POINTS) and np.array_equal(mug.colors, COLORS)
    assert mug.scores.tolist() == [0.5, 0.75] and (mug.id, mug.label) == (3, "mug")
    assert np.allclose(mug.box_pose, [[-1, 0, 0, 1], [0, -1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert (answer.frame, answer.threshold) == ("world", 0.5)


def test_every_field_of_a_query_is_sent(client, robot):
    fields = {"negatives": ["a cup"], "negatives_mode": "custom", "threshold": 0.25, "target_frame": "base"}
    client.ground("the mug", **fields, previous=[1, 2], viewer_frame="tool0", literal=True, source="map")
    client.grasp("the mug", **fields, previous=[1, 2], viewer_frame="tool0", literal=True, source="map", top_k=2)
    for asked in robot.asked[-2:]:
        assert (asked.query, asked.negatives, asked.threshold) == ("the mug", ["a cup"], 0.25)
        assert (asked.negatives_mode, list(asked.previous)) == (Ground.Request.NEGATIVES_CUSTOM, [1, 2])
        assert (asked.target_frame, asked.viewer_frame, asked.literal) == ("base", "tool0", True)
        assert asked.source == Ground.Request.SOURCE_MAP
    assert robot.asked[-1].top_k == 2


def test_what_is_no_success_is_an_error_with_a_status(client):
    for ask, status, words in (
        (lambda: client.ground("a giraffe"), Status.NOT_FOUND, "no giraffe"),
        (lambda: client.ground(Query("a mug", negatives_mode="loud")), Status.BAD_REQUEST, "expected one of"),
        (lambda: client.ground("slow", timeout=0.1), Status.TIMEOUT, "has not answered"),
        (lambda: client.grasp("too much"), Status.BUSY, "ask again"),
    ):
        with pytest.raises(DropclipError, match=words) as error:
            ask()
        assert error.value.status == status


def test_an_ambiguous_phrase_names_its_candidates(client):
    with pytest.raises(Refused) as caught:
        client.ground("the twin")
    assert caught.value.status == Status.AMBIGUOUS and caught.value.question == "the left one or the right one?"
    again = pickle.loads(pickle.dumps(caught.value))  # as a pool of processes hands it on
    assert [one.id for one in caught.value.candidates] == [one.id for one in again.candidates] == [1, 2]


def test_clients_come_and_go_on_a_node_that_spins(ros, robot):
    for _ in range(5):
        with Client(ros.node, namespace="cell", timeout=20.0) as passing:
            assert passing.ground("the mug").objects[0].id == 3
    assert ros.node.count_clients("/cell/ground") <= 2  # none of these is left


def test_three_objects_are_put_away_one_after_the_other(client, robot):
    spec = importlib.util.spec_from_file_location("put_away", Path(__file__).parents[2] / "examples/put_away.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    before = len(robot.asked)
    robot.objects = [FoundObject(id=1, label="mug")]
    assert example.run(example.put_away(client, ["the mug", "the can", "the box"], (0.3, -0.3)), 60.0)
    asked = robot.asked[before:]
    assert [goal.query for goal in asked if isinstance(goal, Grasp.Goal)] == ["the mug", "the can", "the box"]
    assert sum(isinstance(goal, Pick.Goal) for goal in asked) == 3
    robot.objects = []
    assert not example.run(example.put_away(client, ["too much"], (0.3, -0.3)), 60.0)  # refused


def test_without_nodes_the_wait_ends_in_time():
    with Client(namespace="nowhere") as alone:
        start = time.monotonic()
        for ask in (alone.ground, alone.grasp):
            with pytest.raises(DropclipError, match="is not there in time") as error:
                ask("the mug", timeout=0.3)
            assert error.value.status == Status.TIMEOUT
        assert time.monotonic() - start < 5


def test_a_program_that_used_a_client_ends_well():
    said = """
from dropclip_ros.client import Client
with Client(namespace="nowhere") as alone:
    try:
        alone.ground("the mug", timeout=0.2)
    except Exception as error:
        print(error)
"""
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and done.stdout.startswith("TIMEOUT") and not done.stderr, done.stderr


def test_a_goal_that_takes_too_long_is_cancelled(client, robot):
    robot.cancelled.clear()
    with pytest.raises(DropclipError, match="has not ended"):
        client.grasp("for ever", timeout=0.5)
    assert robot.cancelled.wait(10)


def test_grasps_are_picked(client):
    picked = client.pick(client.grasp("the mug"))
    assert (picked.executed, picked.reasons, picked.message) == (1, ("no path",), "lifted")


def test_asyncio_goes_on_while_answers_are_awaited(client):
    async def both() -> list:
        return await asyncio.gather(client.asynchronous.ground("slow"), client.asynchronous.grasp("the mug"))

    grounded, grasped = asyncio.run(both())
    assert len(grounded.objects) == 1 and len(grasped.candidates) == 2


def test_a_query_keeps_its_fields_and_takes_others(client, robot):
    client.ground(Query("the mug", threshold=0.25), literal=True)
    assert (robot.asked[-1].threshold, robot.asked[-1].literal) == (0.25, True)


@pytest.mark.parametrize(
    "fields", [{"negatives": "a cup"}, {"previous": [-(2**40)]}, {"previous": 3}, {"viewer_frame": 3}]
)
def test_a_field_of_another_kind_is_a_bad_request(client, fields):
    with pytest.raises(DropclipError, match="BAD_REQUEST"):
        client.ground("the mug", **fields)
    with pytest.raises(DropclipError, match="BAD_REQUEST"):
        client.grasp("the mug", top_k=1000)


def endless(client):
    """Grasps whose pick does not end by itself."""
    return replace(client.grasp("the mug"), header=Header(frame_id="for ever"))


def test_a_task_that_is_cancelled_cancels_its_goal(client, robot):
    grasped = endless(client)

    async def given_up() -> None:
        robot.picking.clear(), robot.cancelled.clear()
        task = asyncio.create_task(client.asynchronous.pick(grasped))
        await asyncio.to_thread(robot.picking.wait, 20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(given_up())
    assert robot.cancelled.wait(20)


def test_a_tree_that_goes_elsewhere_stops_the_arm(client, robot):
    py_trees = pytest.importorskip("py_trees", reason="py_trees is not installed (the extra trees)")
    from dropclip_ros import behaviours

    lost = behaviours.pick(client, grasped="nowhere")
    while lost.status in (py_trees.common.Status.INVALID, py_trees.common.Status.RUNNING):
        lost.tick_once()
        time.sleep(0.01)
    assert lost.status == py_trees.common.Status.FAILURE and "nowhere" in lost.feedback_message
    py_trees.blackboard.Blackboard.set("endless", endless(client))
    robot.picking.clear(), robot.cancelled.clear()
    leaf = behaviours.pick(client, grasped="endless")
    leaf.tick_once()
    assert robot.picking.wait(20)
    leaf.stop(py_trees.common.Status.INVALID)
    assert robot.cancelled.wait(20)


def test_behaviours_hand_their_answers_on(client):
    py_trees = pytest.importorskip("py_trees", reason="py_trees is not installed (the extra trees)")
    from dropclip_ros import behaviours

    def ran(*leaves):
        tree = py_trees.composites.Sequence("sequence", memory=True, children=list(leaves))
        while True:
            tree.tick_once()
            if tree.status != py_trees.common.Status.RUNNING:
                return tree
            time.sleep(0.01)

    done = ran(behaviours.grasp(client, "the mug"), behaviours.pick(client))
    assert done.status == py_trees.common.Status.SUCCESS
    assert py_trees.blackboard.Blackboard.get("picked").executed == 1
    failed = ran(behaviours.ground(client, "a giraffe"))
    assert failed.status == py_trees.common.Status.FAILURE and "no giraffe" in failed.children[0].feedback_message


def test_what_was_picked_is_put_down_where_it_was_told(client, robot):
    seen = client.ground("the mug").objects
    grasped = replace(client.grasp("the mug"), objects=seen)
    to = seen[0].centre + np.array((0.3, -0.1, 0.02))
    assert client.place(grasped, 1, to).message == "put down"
    goal = robot.asked[-1]
    tool, was = goal.candidates[0].tool.position, grasped.candidates[1].tool.position
    assert (tool.x - was.x, tool.y - was.y, tool.z - was.z) == pytest.approx((0.3, -0.1, 0.02))
    assert goal.header.frame_id == "world" and goal.header.stamp.sec == 0
    with pytest.raises(DropclipError, match="BAD_REQUEST"):
        client.place(grasped, 7, to)
