# SPDX-License-Identifier: Apache-2.0
"""How a node is: `/diagnostics` while somebody subscribes it, and a line of the log for each request."""

import json
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock
from rclpy.node import Node

from dropclip_ros.base.errors import Status
from dropclip_ros.base.reading import read_text
from dropclip_ros.ros.common import Setting, Settings

LOG = Setting("log", "text", "Lines on requests: text, json, or none", choices=("text", "json", "none"))
_FINE = {Status.OK, Status.NOT_FOUND, Status.AMBIGUOUS, Status.UNSUPPORTED, Status.CANCELLED, Status.BAD_REQUEST}
_MOST = 200  # requests that percentiles are of
_PERIOD = 1.0  # s
Part = tuple[bytes, str, Mapping[str, object]]  # level, message, values


class Health:
    """Counts requests; parts: what else there is to tell, by name, asked for when it is told."""

    def __init__(self, node: Node, settings: Settings, parts: Mapping[str, Callable[[], Part]]):
        self._node, self._settings, self._parts = node, settings, parts
        self._lock, self._milliseconds = threading.Lock(), deque[float](maxlen=_MOST)
        self._endings, self._last = Counter[str](), ""
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 1)
        node.create_timer(_PERIOD, self._tell, MutuallyExclusiveCallbackGroup(), clock=Clock())

    def asked(self, what: str, status: int, message: str, milliseconds: float, **values: object) -> None:
        """A request that has ended. what: service or action, and what was asked; values: for the log."""
        known = status in Status.__members__.values()
        name = Status(status).name if known else str(status)
        with self._lock:
            self._milliseconds.append(milliseconds)
            self._endings[name] += 1
            self._last = "" if known and Status(status) in _FINE else f"{name}: {message}"
        form = self._settings["log"]
        if form == "json":
            told = {"asked": what, "status": name, "ms": round(milliseconds, 1), **values, "message": message}
            self._node.get_logger().info(json.dumps(told, ensure_ascii=False, default=str))
        elif form == "text":
            said = "".join(f", {key} {value}" for key, value in values.items())
            self._node.get_logger().info(f"{what}: {name}{said}, {milliseconds:.0f} ms")

    def statuses(self) -> list[DiagnosticStatus]:
        """All parts, those of requests and memory last."""
        parts = {name: part() for name, part in self._parts.items()} | {"requests": self._requests()}
        parts["memory"] = (DiagnosticStatus.OK, "", {"resident, MB": round(resident())})
        name = self._node.get_fully_qualified_name()
        return [
            DiagnosticStatus(
                level=level,
                name=f"{name}: {part}",
                message=message,
                hardware_id=name,
                values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
            )
            for part, (level, message, values) in parts.items()
        ]

    def _requests(self) -> Part:
        with self._lock:
            times, endings, last = list(self._milliseconds), dict(self._endings), self._last
        values: dict[str, object] = dict(endings)
        if times:
            values |= {f"p{share}, ms": round(float(np.percentile(times, share))) for share in (50, 90, 99)}
        return (DiagnosticStatus.WARN if last else DiagnosticStatus.OK), last, values

    def _tell(self) -> None:
        if self._publisher.get_subscription_count():
            array = DiagnosticArray(status=self.statuses())
            array.header.stamp = self._node.get_clock().now().to_msg()
            self._publisher.publish(array)


def resident() -> float:
    """Memory of this process that is in RAM, MB; 0 where the system does not tell."""
    try:
        lines = read_text("/proc/self/status").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)
