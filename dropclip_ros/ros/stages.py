# SPDX-License-Identifier: Apache-2.0
"""A request that goes through stages: timed, told to an action's client as they begin, and ended where it cancels."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rclpy.action import GoalResponse
from rclpy.action.server import ServerGoalHandle

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.msg import StageTime

_PACE = 0.005  # s, before a goal is answered: a client that keeps 10 answers (rclpy's usual) then has time to take them
_LOOK = 0.05  # s, between looks at what nobody notifies of: that the goal is cancelled


class Admission:
    """Goals that are in an action's server at once: each holds one of the executor's threads, so more are rejected."""

    def __init__(self, most: int = 8):
        self._most, self._inside, self._lock = most, 0, threading.Lock()

    def admit(self, _) -> GoalResponse:
        """The action's `goal_callback`."""
        time.sleep(_PACE)
        with self._lock:
            if self._inside == self._most:
                return GoalResponse.REJECT
            self._inside += 1
            return GoalResponse.ACCEPT

    @contextmanager
    def leaving(self) -> Iterator[None]:
        """Around the execution of a goal that was admitted."""
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1


def finish(goal: ServerGoalHandle, status: Status) -> None:
    """Ends a goal as its status says: succeeded, canceled where its client asked for it, or aborted."""
    if status == Status.OK:
        goal.succeed()
    elif status == Status.CANCELLED and goal.is_cancel_requested:
        goal.canceled()
    else:
        goal.abort()


class Stages:
    """Of one request, or of an action's goal, whose feedback has a field `stage`."""

    def __init__(self, goal: ServerGoalHandle | None = None, feedback: Callable | None = None):
        self._goal, self._feedback = goal, feedback
        self._name, self._start = "", time.perf_counter()
        self.timing: list[StageTime] = []

    def begin(self, name: str) -> None:
        """The stage before ends here. Raises CANCELLED."""
        self.end()
        self.check()
        self._name, self._start = name, time.perf_counter()
        if self._goal is not None and self._feedback is not None:
            self._goal.publish_feedback(self._feedback(stage=name))

    def end(self) -> None:
        if self._name:
            self.timing.append(StageTime(stage=self._name, milliseconds=1e3 * (time.perf_counter() - self._start)))
        self._name = ""

    def check(self) -> None:
        """Raises CANCELLED where the goal's client has asked for it."""
        if self._goal is not None and self._goal.is_cancel_requested:
            raise DropclipError(
                Status.CANCELLED,
                "the goal was cancelled by its client" + (f" during {self._name}" if self._name else ""),
            )

    def wait(self, condition: threading.Condition, ready: Callable[[], bool], timeout: float) -> bool:
        """Whether `ready` came true within `timeout` s; the condition is held. Raises CANCELLED."""
        end = time.monotonic() + timeout
        while not ready():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self.check()
            condition.wait(min(left, _LOOK))
        return True
