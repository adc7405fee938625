# SPDX-License-Identifier: Apache-2.0
"""Goals that this package sends to controllers and planners: followed to their end, or cancelled, however late."""

import threading
import time

import pytest
from rclpy.action import ActionClient, ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from ros_support import ros, wait_until  # noqa: F401

from dropclip_ros.action import Pick
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.ros import asking
from dropclip_ros.ros.asking import follow
from dropclip_ros.ros.common import ACTION_CLIENT_QOS, ACTION_SERVER_QOS
from dropclip_ros.ros.stages import Stages


class Controller(Node):
    """An arm's controller: accepts after `slow` s; moves until told `done`, stopped, or cancelled by its client."""

    def __init__(self):
        super().__init__("controller")
        self.slow, self.refuse, self.moving, self.cancelled = 0.0, False, False, threading.Event()
        self.done, self.stopped = threading.Event(), threading.Event()
        self._server = ActionServer(
            self,
            Pick,
            "move",
            self._move,
            goal_callback=self._admit,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=ReentrantCallbackGroup(),
            **ACTION_SERVER_QOS,
        )

    def _admit(self, goal):
        time.sleep(self.slow)
        return GoalResponse.REJECT if self.refuse else GoalResponse.ACCEPT

    def _move(self, handle):
        self.moving = True
        while not (self.done.is_set() or self.stopped.is_set() or handle.is_cancel_requested):
            time.sleep(0.01)
        self.moving = False
        if handle.is_cancel_requested:
            self.cancelled.set()
            handle.canceled()
        elif self.stopped.is_set():
            handle.abort()
        else:
            handle.succeed()
        return Pick.Result(message="as told")


@pytest.fixture(scope="module")
def controller(ros):
    return ros.serve(Controller())


@pytest.fixture(scope="module")
def the_client(ros, controller):
    """One for all tests: an executor dies of an action client that is destroyed while it is taken from."""
    client = ActionClient(ros.node, Pick, "move", callback_group=ReentrantCallbackGroup(), **ACTION_CLIENT_QOS)
    assert client.wait_for_server(20)
    return client


@pytest.fixture
def client(the_client, controller):
    controller.slow, controller.refuse = 0.0, False
    for event in (controller.done, controller.stopped, controller.cancelled):
        event.clear()
    yield the_client
    controller.done.set()
    wait_until(lambda: not controller.moving, 5)


class Cancelling(Stages):
    """Of a client that cancels after some seconds."""

    def __init__(self, after: float):
        super().__init__()
        self._end = time.monotonic() + after

    def check(self) -> None:
        if time.monotonic() > self._end:
            raise DropclipError(Status.CANCELLED, "the client wants it")


def test_a_goal_is_followed_to_its_end(client, controller):
    controller.done.set()
    assert follow(client, Pick.Goal(), Stages(), 5.0).message == "as told"


def test_a_goal_that_is_accepted_late_is_cancelled(client, controller, monkeypatch):
    monkeypatch.setattr(asking, "ACCEPT", 0.2)
    controller.slow = 0.6
    with pytest.raises(DropclipError, match="accepted") as caught:
        follow(client, Pick.Goal(), Stages(), 5.0)
    assert caught.value.status == Status.TIMEOUT
    assert controller.cancelled.wait(5)


@pytest.mark.parametrize(
    ("stages", "timeout", "status"), [(lambda: Cancelling(0.3), 5.0, Status.CANCELLED), (Stages, 0.5, Status.TIMEOUT)]
)
def test_the_arm_stands_still_before_anybody_is_told_so(client, controller, stages, timeout, status):
    with pytest.raises(DropclipError) as caught:
        follow(client, Pick.Goal(), stages(), timeout)
    assert caught.value.status == status
    assert controller.cancelled.is_set() and not controller.moving


def test_a_refused_goal_is_told(client, controller):
    controller.refuse = True
    with pytest.raises(DropclipError, match="refuses") as caught:
        follow(client, Pick.Goal(), Stages(), 5.0)
    assert caught.value.status == Status.NO_PATH


def test_a_stop_by_somebody_else_is_a_cancelled_goal(ros, client, controller):
    """As a teach pendant's or a watchdog's, which cancels all goals of the controller."""
    from action_msgs.srv import CancelGoal

    stop = ros.node.create_client(CancelGoal, "move/_action/cancel_goal")
    threading.Timer(0.4, lambda: stop.call_async(CancelGoal.Request())).start()
    with pytest.raises(DropclipError, match="not by this node") as caught:
        follow(client, Pick.Goal(), Stages(), 5.0)
    assert caught.value.status == Status.CANCELLED
    ros.node.destroy_client(stop)
