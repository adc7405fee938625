# SPDX-License-Identifier: Apache-2.0
"""No answer is lost, over real DDS: many callers, many goals, slow callers, and a service that does not answer.

DDS gives every client of a service all answers, so a queue of rclpy's usual 10 loses one's own among those of others.
"""

import threading
import time

import pytest
from rclpy.action import ActionClient, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from ros_support import ros, wait_until  # noqa: F401

from dropclip_ros.action import Grasp
from dropclip_ros.base.errors import Status
from dropclip_ros.nodes.grasp_matcher_node import GraspMatcherNode
from dropclip_ros.ros.common import ACTION_CLIENT_QOS, GRASP_ACTION, GROUND_SERVICE, MATCH_SERVICE, SERVICE_QOS
from dropclip_ros.ros.stages import Admission
from dropclip_ros.srv import Ground, MatchGrasps

MANY = 60  # answers or goals at once: more than any default keeps


class Answering(Node):
    """Stands in for grounding: answers at once with NOT_FOUND, but never a query of `silent`, nor the first `lose`."""

    def __init__(self):
        super().__init__("answering")
        self.silent, self.lose, self.asked, self._end = set(), 0, 0, threading.Event()
        self.create_service(
            Ground, GROUND_SERVICE, self._ground, qos_profile=SERVICE_QOS, callback_group=ReentrantCallbackGroup()
        )

    def _ground(self, request, response):
        self.asked += 1
        if request.query in self.silent or self.asked <= self.lose:
            self._end.wait(30)
        return Ground.Response(status=int(Status.NOT_FOUND), message=f"no {request.query}")

    def destroy_node(self):
        self._end.set()
        super().destroy_node()


@pytest.fixture(scope="module")
def ground(ros):
    return ros.serve(Answering())


@pytest.fixture(autouse=True)
def well(ground):
    yield
    ground.silent, ground.lose = set(), 0


def test_the_matchers_client_keeps_its_answer_among_those_of_others(ros, ground):
    """Its executor is busy while another client gets answers."""
    matcher = GraspMatcherNode()  # nobody serves it yet
    assert matcher._ground.wait_for_service(20)
    mine = matcher._ground.call_async(Ground.Request(query="mine"))
    other = ros.node.create_client(Ground, GROUND_SERVICE, qos_profile=SERVICE_QOS)
    for i in range(MANY):
        ros.call(other, Ground.Request(query=f"other {i}"))
    ros.serve(matcher)
    wait_until(mine.done, 5)
    ros.stop(matcher)
    ros.node.destroy_client(other)
    assert mine.result().message == "no mine"


def test_every_goal_is_accepted_or_rejected_and_every_accepted_one_ends(ros, ground):
    """All are sent while the server is busy with something else."""
    matcher = GraspMatcherNode()
    client = ActionClient(ros.node, Grasp, GRASP_ACTION, **ACTION_CLIENT_QOS)
    assert client.wait_for_server(20)
    futures = [client.send_goal_async(Grasp.Goal(query=f"goal {i}")) for i in range(MANY)]
    threading.Event().wait(0.5)
    ros.serve(matcher)
    wait_until(lambda: all(f.done() for f in futures), 10)
    handles = [f.result() for f in futures]
    assert any(h.accepted for h in handles)
    results = [h.get_result_async() for h in handles if h.accepted]
    wait_until(lambda: all(f.done() for f in results), 10)
    ros.stop(matcher)
    assert {f.result().result.status for f in results} <= {Status.NOT_FOUND}


def test_goals_are_answered_at_a_pace_that_a_client_of_usual_depth_can_take():
    """rclpy's own client keeps 10 answers: sent at once, those of 24 goals were lost in part."""
    admission, began = Admission(most=3), time.monotonic()
    answers = [admission.admit(None) for _ in range(24)]
    assert time.monotonic() - began > 24 * 0.004
    assert answers == 3 * [GoalResponse.ACCEPT] + 21 * [GoalResponse.REJECT]


def test_a_call_that_is_never_answered_blocks_nobody(ros, ground):
    matcher = ros.start(GraspMatcherNode, ground_timeout=8.0)
    client = ros.node.create_client(MatchGrasps, MATCH_SERVICE, qos_profile=SERVICE_QOS)
    assert client.wait_for_service(20)
    ground.silent = {"the silent one"}
    stuck = client.call_async(MatchGrasps.Request(query="the silent one"))
    others = [client.call_async(MatchGrasps.Request(query=f"the other {i}")) for i in range(5)]
    wait_until(lambda: all(f.done() for f in others), 5)
    assert not stuck.done()
    wait_until(stuck.done, 10)
    ros.stop(matcher)
    ros.node.destroy_client(client)
    assert stuck.result().status == Status.TIMEOUT
    assert {f.result().status for f in others} == {Status.NOT_FOUND}


def test_a_lost_answer_is_asked_for_again_within_the_time(ros, ground):
    matcher = ros.start(GraspMatcherNode, ground_timeout=20.0, ask_again=1.0)
    client = ros.node.create_client(MatchGrasps, MATCH_SERVICE, qos_profile=SERVICE_QOS)
    ground.lose = ground.asked + 1
    answer = ros.call(client, MatchGrasps.Request(query="the mug"), 10)
    ros.stop(matcher)
    ros.node.destroy_client(client)
    assert answer.status == Status.NOT_FOUND
