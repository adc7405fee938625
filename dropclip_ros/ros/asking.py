# SPDX-License-Identifier: Apache-2.0
"""Asking services and actions of other nodes: the wait is bounded, can be cancelled, and leaves nothing behind."""

import threading
import time
from typing import Any

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.client import Client

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.ros.stages import Stages
from dropclip_ros.srv import Ground

SOURCES = {"frame": Ground.Request.SOURCE_FRAME, "map": Ground.Request.SOURCE_MAP}  # what `Ground` may be asked of

THERE = 5.0  # s, that a service may take to be there
ACCEPT = 10.0  # s, that an action may take to accept a goal
STOP = 5.0  # s, that it may take to stop where it is cancelled
AGAIN = 10.0  # s without an answer, after which a service is asked once more


def ask(client: Client, request: Any, stages: Stages, timeout: float, again: float = AGAIN, who: str = "") -> Any:
    """The answer of a service to a request that may be served twice. Raises TIMEOUT or CANCELLED.

    The client's callbacks must be served by another thread. It should have `SERVICE_QOS`. An answer may be lost all the
    same, where the server dies or did not know the client yet: every `again` s the request is sent once more. who: what
    should be running, for the message.
    """
    answered, futures, end = threading.Condition(), [], time.monotonic() + timeout

    def wake(_) -> None:
        with answered:
            answered.notify_all()

    with answered:
        if not stages.wait(answered, client.service_is_ready, min(timeout, THERE)):
            raise DropclipError(Status.TIMEOUT, f"the service {client.srv_name} is not there: is {who} running?")
    try:
        while (left := end - time.monotonic()) > 0:
            futures.append(client.call_async(request))
            futures[-1].add_done_callback(wake)
            with answered:
                if stages.wait(answered, lambda: any(f.done() for f in futures), min(left, again)):
                    return next(f for f in futures if f.done()).result()
        raise DropclipError(Status.TIMEOUT, f"{client.srv_name} has not answered within {timeout:g} s")
    finally:
        for future in futures:
            client.remove_pending_request(future)


def follow(client: ActionClient, goal: Any, stages: Stages, timeout: float) -> Any:
    """The result of an action's goal, of which nothing stays behind: it is cancelled where our own client cancels or
    time is up, and where it is accepted too late. Raises NO_PATH where it is refused, TIMEOUT or CANCELLED.

    Its callbacks must be served by other threads.
    """
    name, changed, end = client._action_name, threading.Condition(), time.monotonic() + timeout

    def wake(_) -> None:
        with changed:
            changed.notify_all()

    with changed:
        if not stages.wait(changed, client.server_is_ready, min(timeout, THERE)):
            raise DropclipError(
                Status.TIMEOUT, f"the action {name} is not there: are move_group and the controllers running?"
            )
    sent, result = client.send_goal_async(goal), None
    sent.add_done_callback(wake)
    try:
        with changed:
            if not stages.wait(changed, sent.done, min(timeout, ACCEPT)):
                raise DropclipError(Status.TIMEOUT, f"{name} has not accepted its goal in time; it is cancelled")
        handle = sent.result()
        if handle is None or not handle.accepted:
            raise DropclipError(Status.NO_PATH, f"{name} refuses its goal; see its log")
        result = handle.get_result_async()
        result.add_done_callback(wake)
        with changed:
            if not stages.wait(changed, result.done, end - time.monotonic()):
                raise DropclipError(Status.TIMEOUT, f"{name} has not ended in time; it is cancelled")
    except DropclipError:
        sent.add_done_callback(lambda future: _cancel(future, wake))  # at once, or when it is accepted after all
        if result is not None:
            with changed:
                changed.wait_for(result.done, STOP)  # until it stands still
        raise
    ended = result.result()
    if ended is None or ended.status == GoalStatus.STATUS_CANCELED:
        raise DropclipError(Status.CANCELLED, f"{name} was stopped, not by this node")
    return ended.result


def _cancel(sent, wake) -> None:
    if sent.result().accepted:
        sent.result().cancel_goal_async().add_done_callback(wake)
