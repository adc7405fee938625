# SPDX-License-Identifier: Apache-2.0
"""A standing question: one phrase that is asked again and again about the newest frame, for as long as anybody hears.

There is one for all; whoever asks last has it. A question that changes faster than it is answered costs no more: it is
the newest that is asked, and each answer says which one it was.
"""

import threading
import time
from collections.abc import Callable

from rclpy.node import Node
from std_msgs.msg import String

from dropclip_ros.msg import Standing
from dropclip_ros.ros.asking import SOURCES
from dropclip_ros.ros.common import LATCHED_QOS, Setting, Settings
from dropclip_ros.ros.messages import nanoseconds
from dropclip_ros.srv import Ground

SETTINGS = (
    Setting("query", "", "The standing question, whose answers are on ~/standing and ~/detections; '' for none"),
    Setting("query_source", "frame", "What it is asked of: the newest frame, or the scene map", choices=tuple(SOURCES)),
    Setting(
        "query_rate", 2.0, "How often it is asked at most, Hz; where frames take longer, the newest wins", 0.05, 100.0
    ),
    Setting("enabled", True, "Whether the standing question is asked"),
)


class StandingQuestion:
    """Hears `~/query` (a String; '' ends it) and the parameters, and publishes `~/standing`, latched."""

    def __init__(
        self,
        node: Node,
        settings: Settings,
        answer: Callable[[Ground.Request, Ground.Response], Ground.Response],
        heard: Callable[[], bool],
    ):
        self._node, self._settings, self._answer, self._heard = node, settings, answer, heard
        self._publisher = node.create_publisher(Standing, "~/standing", LATCHED_QOS)
        self._told, self._parameter = settings["query"], settings["query"]
        self._changed, self._ended = threading.Event(), threading.Event()
        self._last: tuple[str, int, int] | None = None  # query, stamp and status that were told last
        node.create_subscription(String, "~/query", self._take, 1)
        self._thread = threading.Thread(target=self._run, name="standing", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._changed.set()

    @property
    def query(self) -> str:
        """What is asked: the parameter where that was set last, or else what came on the topic last."""
        parameter = self._settings["query"]
        if parameter != self._parameter:
            self._parameter = self._told = parameter
        return self._told

    def _take(self, msg: String) -> None:
        _ = self.query  # a parameter that was set before this came first
        self._told = msg.data
        self._changed.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            start = time.monotonic()
            if self._settings["enabled"] and self.query.strip() and self._wanted():
                self._ask(self.query)
            self._changed.clear()
            left = 1 / self._settings["query_rate"] - (time.monotonic() - start)
            if left > 0 and not self._ended.wait(left) and not self._told.strip():
                self._changed.wait(1.0)  # nobody asks: a second's look at the parameter is enough

    def _wanted(self) -> bool:
        return bool(self._publisher.get_subscription_count()) or self._heard()

    def _ask(self, query: str) -> None:
        start = time.perf_counter()
        request = Ground.Request(query=query, source=SOURCES[self._settings["query_source"]])
        answer = self._answer(request, Ground.Response())
        known = (query, nanoseconds(answer.header.stamp), answer.status)
        if known == self._last or self._ended.is_set() or not self._node.context.ok():
            return
        self._last = known
        self._publisher.publish(
            Standing(
                header=answer.header,
                query=query,
                status=answer.status,
                message=answer.message,
                milliseconds=1e3 * (time.perf_counter() - start),
            )
        )
