# SPDX-License-Identifier: Apache-2.0
"""Subscribes a camera's streams and pairs them by stamp, while somebody asks for frames. Nothing is decoded here: most
frames are never asked about."""

import threading
import time
from collections.abc import Callable

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.memory import give_back
from dropclip_ros.ros.camera.latched import Latched
from dropclip_ros.ros.camera.pairing import CapturedFrame, Pairing
from dropclip_ros.ros.camera.points import CloudImages
from dropclip_ros.ros.camera.registration import Registration
from dropclip_ros.ros.camera.transport import TRANSPORT, image_stream
from dropclip_ros.ros.clock import missing_clock, on_jump_back
from dropclip_ros.ros.common import (
    CAMERA_QOS,
    COLOR_TOPIC,
    DEPTH_TOPIC,
    INFO_TOPIC,
    POINTS_TOPIC,
    SENSOR_QOS,
    Setting,
    Settings,
)
from dropclip_ros.ros.graph import why_silent
from dropclip_ros.ros.messages import nanoseconds
from dropclip_ros.ros.sleeping import SleepingGroup
from dropclip_ros.ros.tf import Frames

SETTINGS = (
    TRANSPORT,
    Setting("depth_unit", "mm", "Unit of depth images of whole numbers (16UC1); 32FC1 is m", choices=("mm", "0.1mm")),
    Setting("pair_tolerance", 0.02, "Largest difference between the stamps of images of one frame, s", 0.0, 1.0),
    Setting("frame_timeout", 2.0, "How long a request waits for a frame, s", 0.0, 60.0),
    Setting("max_frame_age", 5.0, "Older frames are refused as stale, s; 0 takes any", 0.0, 1e9),
    Setting("listen_time", 5.0, "How long the camera is listened to after it was asked for, s", 0.1, 3600.0),
    Setting(
        "trust_registration",
        False,
        "Take depth, colour and CameraInfo for registered, whatever their frame_ids and sizes say",
    ),
    Setting(
        "reliable",
        False,
        "Ask publishers for reliable delivery (they must offer it); otherwise best effort",
        read_only=True,
    ),
)
OK, WARN = DiagnosticStatus.OK, DiagnosticStatus.WARN
_LOOK = 0.05  # s, between looks at whether a CameraInfo is still to come


class CameraListener:
    """The newest frames of a camera, paired by stamp within `pair_tolerance`; the newest is what came last.

    Depth of a camera beside the colour's is registered to it where `frames` are given and that can be done. Where the
    clock jumps back all is forgotten. It sleeps until a frame is asked for, and again `listen_time` s after that.
    """

    def __init__(self, node: Node, settings: Settings, with_color: bool = True, frames: Frames | None = None):
        self._node, self._settings = node, settings
        topics = _topics(node, settings, with_color)
        self._received = dict.fromkeys(topics, 0)
        self._pairing = Pairing(with_color, lambda: 1e9 * settings["pair_tolerance"])
        self._changed, self._jumped = threading.Condition(), False
        self._jumps = on_jump_back(node, self._jump)
        self._group = group = SleepingGroup(node, self._let_go)
        qos = CAMERA_QOS if settings["reliable"] else SENSOR_QOS
        self._subscriptions = {
            name: node.create_subscription(
                kind, topic, lambda msg, name=name, made=made: self._take(name, made(msg)), qos, callback_group=group
            )
            for name, (kind, topic, made) in topics.items()
            if name != "info"
        }
        self._registration: Registration | None = None
        if "info" in topics:  # images; a point cloud is registered as it comes
            self._info = Latched(node, CameraInfo, INFO_TOPIC, lambda msg: self._take("info", msg), qos, group)
            self._subscriptions["info"] = self._info.subscription
            self._registration = Registration(node, frames, lambda: settings["depth_unit"], group) if frames else None

    def _jump(self) -> None:
        self._jumped = True  # no lock: whoever holds it may be asking the clock

    def health(self) -> tuple[bytes, str, dict[str, object]]:
        """Level, message and values for /diagnostics. A camera that sleeps is not woken for that."""
        values: dict[str, object] = {
            f"publishers of {name}": self._node.count_publishers(one.topic_name)
            for name, one in self._subscriptions.items()
        }
        if not self._group.awake:
            silent = [
                one.topic_name
                for one in self._subscriptions.values()
                if not self._node.count_publishers(one.topic_name)
            ]
            return (WARN, f"nobody publishes {', '.join(silent)}", values) if silent else (OK, "nobody asks", values)
        with self._changed:
            stamps = list(self._frames)
            age = (self._node.get_clock().now().nanoseconds - stamps[-1]) / 1e9 if stamps else float("inf")
            apart = self._pairing.why_none()
        if len(stamps) > 1 and stamps[-1] > stamps[0]:
            values["rate, Hz"] = round(1e9 * (len(stamps) - 1) / (stamps[-1] - stamps[0]), 1)
        values["age of the newest frame, s"] = round(age, 3)
        late = age > self._settings["max_frame_age"] > 0 or not stamps
        return (WARN if late else OK), apart or ("no new frame" if late else ""), values

    def _listen(self) -> None:
        """What came while nobody asked is taken now: the newest frame is one of it. What came before the clock jumped
        is of another time, but for the calibration, which may have been latched."""
        images = (Image, CompressedImage, PointCloud2) if self._jumped else ()
        self._group.listen(self._settings["listen_time"], drop=images)

    def answered(self) -> None:
        """An answer is given. Where it took longer than the camera is listened to, what it took is given back now."""
        if not self._group.awake:
            give_back()

    def _let_go(self) -> None:
        """Nobody asks any more: of the frames only the newest is kept."""
        with self._changed:
            self._pairing.keep_newest()

    @property
    def _frames(self):
        """By stamp, in order of arrival; the condition is held."""
        if self._jumped:
            self._jumped = False
            self._pairing.clear()
        self._pairing.settle(time.monotonic())
        return self._pairing.frames

    def _take(self, name: str, msg: Image | CameraInfo | CloudImages) -> None:
        with self._changed:
            self._received[name] += 1
            _ = self._frames  # a jump comes first
            if self._pairing.take(name, msg, time.monotonic()):
                self._changed.notify_all()

    def glance(self) -> CapturedFrame | None:
        """The newest frame, where it is there now, fits together and is neither too old nor from the future."""
        self._listen()
        with self._changed:
            if not self._frames or self._too_old(self._last()) is not None:
                return None
            frame = self._last()
        try:
            return self._sound(frame)
        except DropclipError:
            return None

    def newest(self) -> CapturedFrame:
        """The newest frame; waits for one up to `frame_timeout`. Raises NO_FRAME, STALE_FRAME or BAD_FRAME."""
        self._listen()
        with self._changed:
            self._wait(lambda: self._frames and self._too_old(self._last()) is None and not self._clockless())
            if not self._frames or self._clockless():
                raise DropclipError(Status.NO_FRAME, self._why_none())
            age = self._too_old(self._last())
            if age is not None:
                raise DropclipError(
                    Status.STALE_FRAME,
                    f"the newest frame is {age:.1f} s old, more than max_frame_age "
                    f"{self._settings['max_frame_age']:g} s: has the camera stopped, or another clock?",
                )
            frame = self._last()
        return self._sound(frame)

    def at(self, stamp: Time) -> CapturedFrame:
        """The frame of a stamp, or the nearest within `pair_tolerance`. NO_FRAME, STALE_FRAME if gone, or BAD_FRAME.

        Waits for the stamp itself, or a later one: the frame before may lie within the tolerance too.
        """
        wanted, tolerance = nanoseconds(stamp), self._settings["pair_tolerance"] * 1e9
        self._listen()
        with self._changed:
            self._wait(
                lambda: any(
                    frame.bears(wanted) or (t >= wanted and not self._ahead(frame)) for t, frame in self._frames.items()
                )
            )
            if not self._frames or self._clockless():
                raise DropclipError(Status.NO_FRAME, self._why_none())
            nearest = min(self._frames, key=lambda t: abs(t - wanted))
            if abs(nearest - wanted) > tolerance:
                held = (
                    f"{wanted / 1e9:.3f} s was asked for, and {len(self._frames)} frames are held, the nearest of "
                    f"{nearest / 1e9:.3f} s; ask sooner, or for stamp 0"
                )
                raise DropclipError(Status.NO_FRAME if wanted > max(self._frames) else Status.STALE_FRAME, held)
            frame = self._frames[nearest]
        return self._sound(frame)

    def _wait(self, satisfied: Callable[[], bool]) -> None:
        end = time.monotonic() + self._settings["frame_timeout"]
        while not satisfied() and (left := end - time.monotonic()) > 0:
            self._changed.wait(min(left, _LOOK))

    def _last(self) -> CapturedFrame:
        return next(reversed(self._pairing.frames.values()))

    def _sound(self, frame: CapturedFrame) -> CapturedFrame:
        """The frame. Raises BAD_FRAME where its parts do not belong together, or its stamp is ahead of the clock: TF
        would drop all that comes after it."""
        trusted, missing = self._settings["trust_registration"], ""
        if frame.misfit and self._registration and not trusted:
            frame, missing = self._registration.registered(frame)
        if frame.misfit and not (trusted and frame.header.frame_id):
            raise DropclipError(
                Status.BAD_FRAME, f"{frame.misfit}{missing}; where that is wrong, set the parameter trust_registration"
            )
        ahead = self._ahead(frame)
        if ahead:
            raise DropclipError(
                Status.BAD_FRAME,
                f"the frame's stamp is {ahead:.1f} s ahead of this node's "
                f"clock, more than max_frame_age {self._settings['max_frame_age']:g} s: set the "
                "camera's clock",
            )
        return frame

    def _clockless(self) -> bool:
        """Whether ages are to be judged, and there is no clock to judge them by."""
        return bool(self._settings["max_frame_age"] > 0 and missing_clock(self._node))

    def _ahead(self, frame: CapturedFrame) -> float:
        """By how many seconds the frame's stamp is ahead of the clock, where that is more than allowed; or 0."""
        ahead = (nanoseconds(frame.header.stamp) - self._node.get_clock().now().nanoseconds) / 1e9
        return ahead if 0 < self._settings["max_frame_age"] < ahead else 0.0

    def _too_old(self, frame: CapturedFrame) -> float | None:
        """The frame's age in seconds where that is more than allowed."""
        age = (self._node.get_clock().now().nanoseconds - nanoseconds(frame.header.stamp)) / 1e9
        return age if 0 < self._settings["max_frame_age"] < age else None

    def _why_none(self) -> str:
        if self._clockless():
            return missing_clock(self._node)
        counts = ", ".join(
            f"{self._received[name]} on {subscription.topic_name}" for name, subscription in self._subscriptions.items()
        )
        silent = {name: s for name, s in self._subscriptions.items() if not self._received[name]}
        reason = why_silent(self._node, silent, self._settings["reliable"]) if silent else self._pairing.why_none()
        reason = reason or "the clock jumped back, or a partner has not come yet; ask again"
        return f"no complete frame has arrived (messages so far: {counts}); {reason}"


def _topics(node: Node, settings: Settings, with_color: bool) -> dict[str, tuple[type, str, Callable]]:
    """What is subscribed, by stream: type, topic, and what `Pairing` takes of a message."""
    if settings["transport"] == "points":
        return {"points": (PointCloud2, POINTS_TOPIC, lambda msg: CloudImages(msg, with_color))}
    topics = {"depth": image_stream(node, settings, "depth", DEPTH_TOPIC)}
    topics["info"] = (CameraInfo, INFO_TOPIC, lambda msg: msg)
    if with_color:
        topics["color"] = image_stream(node, settings, "color", COLOR_TOPIC)
    return topics
