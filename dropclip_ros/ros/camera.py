# SPDX-License-Identifier: Apache-2.0
"""Subscribes a camera's streams and pairs them by stamp. Nothing is decoded here: most frames are never asked about."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from builtin_interfaces.msg import Time
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.ros.common import CAMERA_QOS, COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC, SENSOR_QOS, Setting, Settings
from dropclip_ros.ros.graph import why_silent
from dropclip_ros.ros.messages import nanoseconds
from dropclip_ros.ros.transport import TRANSPORT, image_stream

SETTINGS = (
    TRANSPORT,
    Setting("depth_unit", "mm", "Unit of depth images of whole numbers (16UC1); 32FC1 is m", choices=("mm", "0.1mm")),
    Setting("pair_tolerance", 0.02, "Largest difference between the stamps of images of one frame, s", 0.0, 1.0),
    Setting("frame_timeout", 2.0, "How long a request waits for a frame, s", 0.0, 60.0),
    Setting("max_frame_age", 5.0, "Older frames are refused as stale, s; 0 takes any", 0.0, 1e9),
    Setting(
        "reliable",
        False,
        "Ask publishers for reliable delivery (they must offer it); otherwise best effort",
        read_only=True,
    ),
)
_WAITING = 20  # messages of a stream that wait for their partners
_HISTORY = 20  # frames held, for requests that name a stamp


@dataclass(frozen=True)
class CapturedFrame:
    """Messages of one moment; `color` is None where a node does not subscribe it.

    gap: between their stamps, ns; arrived: when it was whole, s (`time.monotonic`).
    """

    color: Image | None
    depth: Image
    info: CameraInfo
    gap: int
    arrived: float

    @property
    def header(self):
        """Of the image that gives the frame its stamp and frame_id."""
        return (self.color or self.depth).header

    def bears(self, stamp: int) -> bool:
        """Whether one of the messages has this stamp, ns."""
        return any(nanoseconds(m.header.stamp) == stamp for m in (self.color, self.depth, self.info) if m)


class CameraListener:
    """The newest frames of a camera, paired by stamp within `pair_tolerance`; the newest wins."""

    def __init__(self, node: Node, settings: Settings, with_color: bool = True):
        self._node, self._settings = node, settings
        topics = {"depth": image_stream(node, settings, "depth", DEPTH_TOPIC)}
        topics["info"] = (CameraInfo, INFO_TOPIC, lambda msg: msg)
        if with_color:
            topics["color"] = image_stream(node, settings, "color", COLOR_TOPIC)
        self._waiting = {name: deque(maxlen=_WAITING) for name in topics}
        self._received = dict.fromkeys(topics, 0)
        self._frames: OrderedDict[int, CapturedFrame] = OrderedDict()  # by stamp, in order of arrival
        self._changed = threading.Condition()
        group = MutuallyExclusiveCallbackGroup()
        qos = CAMERA_QOS if settings["reliable"] else SENSOR_QOS
        self._subscriptions = {
            name: node.create_subscription(
                kind, topic, lambda msg, name=name, made=made: self._take(name, made(msg)), qos, callback_group=group
            )
            for name, (kind, topic, made) in topics.items()
        }

    def _take(self, name: str, msg: Image | CameraInfo) -> None:
        with self._changed:
            self._received[name] += 1
            self._waiting[name].append(msg)
            stamp = nanoseconds(msg.header.stamp)
            nearest = {
                n: min(q, key=lambda m: abs(nanoseconds(m.header.stamp) - stamp), default=None)
                for n, q in self._waiting.items()
            } | {name: msg}
            if None in nearest.values():
                return
            stamps = [nanoseconds(m.header.stamp) for m in nearest.values()]
            frame = CapturedFrame(
                nearest.get("color"), nearest["depth"], nearest["info"], max(stamps) - min(stamps), time.monotonic()
            )
            key = nanoseconds(frame.header.stamp)
            known = self._frames.get(key)
            if frame.gap > self._settings["pair_tolerance"] * 1e9 or (known and known.gap < frame.gap):
                return
            self._frames[key] = frame
            while len(self._frames) > _HISTORY:
                self._frames.popitem(last=False)
            self._changed.notify_all()

    def glance(self) -> CapturedFrame | None:
        """The newest frame, where it is there now and neither too old nor from the future."""
        with self._changed:
            if not self._frames or self._too_old(self._last()) is not None:
                return None
            return None if self._ahead(self._last()) else self._last()

    def newest(self) -> CapturedFrame:
        """The newest frame; waits for one up to `frame_timeout`. Raises NO_FRAME, STALE_FRAME or BAD_FRAME."""
        with self._changed:
            self._wait(lambda: self._frames and self._too_old(self._last()) is None)
            if not self._frames:
                raise DropclipError(Status.NO_FRAME, self._why_none())
            age = self._too_old(self._last())
            if age is not None:
                raise DropclipError(
                    Status.STALE_FRAME,
                    f"the newest frame is {age:.1f} s old, more than max_frame_age "
                    f"{self._settings['max_frame_age']:g} s: has the camera stopped, or another clock?",
                )
            return self._refuse_future(self._last())

    def at(self, stamp: Time) -> CapturedFrame:
        """The frame of a stamp, or the nearest within `pair_tolerance`. NO_FRAME, STALE_FRAME if gone, or BAD_FRAME.

        Waits for the stamp itself, or a later one: the frame before may lie within the tolerance too.
        """
        wanted, tolerance = nanoseconds(stamp), self._settings["pair_tolerance"] * 1e9

        def nearest() -> int | None:
            return min(self._frames, key=lambda t: abs(t - wanted), default=None)

        with self._changed:
            self._wait(lambda: any(t >= wanted or frame.bears(wanted) for t, frame in self._frames.items()))
            if not self._frames:
                raise DropclipError(Status.NO_FRAME, self._why_none())
            if abs(nearest() - wanted) <= tolerance:
                return self._refuse_future(self._frames[nearest()])
            held = (
                f"{wanted / 1e9:.3f} s was asked for, and {len(self._frames)} frames are held, the nearest of "
                f"{nearest() / 1e9:.3f} s; ask sooner, or for stamp 0"
            )
            raise DropclipError(Status.NO_FRAME if wanted > max(self._frames) else Status.STALE_FRAME, held)

    def _wait(self, satisfied: Callable[[], bool]) -> None:
        self._changed.wait_for(satisfied, self._settings["frame_timeout"])

    def _last(self) -> CapturedFrame:
        return next(reversed(self._frames.values()))

    def _refuse_future(self, frame: CapturedFrame) -> CapturedFrame:
        """The frame. Raises BAD_FRAME where its stamp is ahead of the clock: TF would drop all that comes after it."""
        ahead = self._ahead(frame)
        if ahead:
            raise DropclipError(
                Status.BAD_FRAME,
                f"the frame's stamp is {ahead:.1f} s ahead of this node's "
                f"clock, more than max_frame_age {self._settings['max_frame_age']:g} s: set the "
                "camera's clock",
            )
        return frame

    def _ahead(self, frame: CapturedFrame) -> float:
        """By how many seconds the frame's stamp is ahead of the clock, where that is more than allowed; or 0."""
        ahead = (nanoseconds(frame.header.stamp) - self._node.get_clock().now().nanoseconds) / 1e9
        return ahead if 0 < self._settings["max_frame_age"] < ahead else 0.0

    def _too_old(self, frame: CapturedFrame) -> float | None:
        """The frame's age in seconds where that is more than allowed."""
        age = (self._node.get_clock().now().nanoseconds - nanoseconds(frame.header.stamp)) / 1e9
        return age if 0 < self._settings["max_frame_age"] < age else None

    def _why_none(self) -> str:
        counts = ", ".join(
            f"{self._received[name]} on {subscription.topic_name}" for name, subscription in self._subscriptions.items()
        )
        silent = {name: s for name, s in self._subscriptions.items() if not self._received[name]}
        reason = "their stamps differ by more than pair_tolerance"
        if silent:
            reason = why_silent(self._node, silent, self._settings["reliable"])
        return f"no complete frame has arrived (messages so far: {counts}); {reason}"
