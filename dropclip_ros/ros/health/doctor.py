# SPDX-License-Identifier: Apache-2.0
"""What keeps the nodes from a camera's frames, told by listening for a few seconds, and what to set."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import CameraInfo, Image

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.ros.common import CAMERA_QOS, GROUND_SERVICE, SENSOR_QOS
from dropclip_ros.ros.graph import why_silent
from dropclip_ros.ros.messages import depth_image, intrinsics_of, misfit, nanoseconds, rgbd_frame
from dropclip_ros.ros.tf import Frames

FINE, NOTE, BAD = "fine", "note", "bad"
_HELD = 300  # stamps
_OLD = 5.0  # s; the nodes' max_frame_age
_APART = 0.02  # s; the nodes' pair_tolerance
_SLOW = 1.0  # Hz
_SHARES = (0.2, 0.005)  # of a depth image: known, and in the range where a table is
_NEAR, _FAR = 0.1, 3.0  # m; the nodes' near and far


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is (fine, note, bad), and in words what it is and what to set."""

    what: str
    how: str
    said: str


@dataclass(frozen=True)
class Wanted:
    """What the nodes are told: names of topics, unit of 16UC1 depth, delivery, the world frame and the clock."""

    color: str
    depth: str
    info: str
    depth_unit: str = "mm"
    reliable: bool = False
    world_frame: str = ""
    use_sim_time: bool = False


class Doctor(Node):
    """Listens to a camera. It must be served by another thread."""

    def __init__(self, wanted: Wanted) -> None:
        sim = Parameter("use_sim_time", value=wanted.use_sim_time)
        super().__init__("dropclip_doctor", parameter_overrides=[sim])
        self.wanted, self._began = wanted, time.monotonic()
        self._stamps: dict[str, deque[int]] = {name: deque(maxlen=_HELD) for name in ("color", "depth", "info")}
        self._counts, self._newest = dict.fromkeys(self._stamps, 0), dict[str, Any]()
        self._clock_seen = 0
        qos = CAMERA_QOS if wanted.reliable else SENSOR_QOS
        kinds = {"color": Image, "depth": Image, "info": CameraInfo}
        self._subscriptions_by_name = {
            name: self.create_subscription(kind, getattr(wanted, name), partial(self._take, name), qos)
            for name, kind in kinds.items()
        }
        self.create_subscription(ClockMessage, "/clock", self._tick, SENSOR_QOS)
        self._frames = Frames(self)

    def _take(self, name: str, msg: Any) -> None:
        self._counts[name] += 1
        self._stamps[name].append(nanoseconds(msg.header.stamp))
        self._newest[name] = msg

    def _tick(self, _: ClockMessage) -> None:
        self._clock_seen += 1

    def listen(self, seconds: float) -> None:
        """Returns when that long was listened."""
        self._began = time.monotonic()
        self._counts = dict.fromkeys(self._counts, 0)
        time.sleep(seconds)

    def findings(self) -> Iterator[Finding]:
        """All of it, in the order in which things must be right."""
        yield self._domain()
        yield from self._topics()
        yield self._clock_finding()
        if all(name in self._newest for name in self._stamps):
            yield self._pairs()
            yield from self._content()
        yield self._world()
        yield self._grounding()

    def _domain(self) -> Finding:
        others = [name for name in self.get_node_names() if name != self.get_name() and not name.startswith("_")]
        domain = os.environ.get("ROS_DOMAIN_ID", "0")
        where = f"domain {domain}, {os.environ.get('RMW_IMPLEMENTATION') or 'the default middleware'}"
        if not others:
            return Finding(
                "graph",
                BAD,
                f"no other node is seen in {where}: is the camera's driver running, with this ROS_DOMAIN_ID, the same "
                "RMW_IMPLEMENTATION and ROS_AUTOMATIC_DISCOVERY_RANGE?",
            )
        return Finding("graph", FINE, f"{len(others)} nodes in {where}")

    def _topics(self) -> Iterator[Finding]:
        span = max(time.monotonic() - self._began, 1e-3)
        for name, subscription in self._subscriptions_by_name.items():
            count, topic = self._counts[name], subscription.topic_name
            if not count:
                yield Finding(name, BAD, why_silent(self, {name: subscription}, self.wanted.reliable))
                continue
            rate = count / span
            offered = self.get_publishers_info_by_topic(topic)
            best_effort = any(p.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT for p in offered)
            delivery = "best effort" if best_effort else "reliable"
            said = f"{topic}: {rate:.1f} Hz, {delivery}"
            if len(offered) > 1:
                names = ", ".join(sorted(p.node_name for p in offered))
                yield Finding(name, BAD, f"{said}, from {len(offered)} publishers ({names}): end all but one")
            elif rate < _SLOW and name != "info":
                yield Finding(
                    name,
                    NOTE,
                    f"{said}: slow; are large images lost? config/fastdds.xml (install.md) and reliable:=true help",
                )
            else:
                yield Finding(name, FINE, said)

    def _clock_finding(self) -> Finding:
        """Stamps beside the clock that the nodes go by."""
        wanted = self.wanted.use_sim_time
        if wanted and not self._clock_seen:
            return Finding(
                "clock",
                BAD,
                "use_sim_time is set and nothing comes on /clock: play the bag with --clock, start the simulation, or "
                "set use_sim_time:=false",
            )
        stamps = [nanoseconds(self._newest[name].header.stamp) for name in ("color", "depth") if name in self._newest]
        if not stamps:
            return Finding("clock", NOTE, "no image has come whose stamp could be compared")
        if not min(stamps):
            return Finding("clock", BAD, "images have no stamp: have the driver set it")
        now = (
            self.get_clock().now().nanoseconds if wanted else Clock(clock_type=ClockType.SYSTEM_TIME).now().nanoseconds
        )
        age = (now - max(stamps)) / 1e9
        if abs(age) <= _OLD:
            return Finding("clock", FINE, f"the newest image is {age:.2f} s old")
        if self._clock_seen and not wanted:
            return Finding(
                "clock",
                BAD,
                f"images are {age:.1f} s away from this machine's clock and /clock is published: set "
                "use_sim_time:=true in the launch",
            )
        behind = "behind" if age > 0 else "ahead of"
        return Finding(
            "clock",
            BAD,
            f"stamps are {abs(age):.1f} s {behind} this machine's clock, more than max_frame_age {_OLD:g} s: a bag is "
            "played with --clock and use_sim_time:=true; two machines need one time (chrony)",
        )

    def _pairs(self) -> Finding:
        color, depth = (np.array(self._stamps[name], dtype=np.int64) for name in ("color", "depth"))
        apart = float(np.median([np.abs(depth - stamp).min() for stamp in color])) / 1e9
        if apart <= _APART:
            return Finding("pairing", FINE, f"colour and depth are {1e3 * apart:.0f} ms apart")
        return Finding(
            "pairing",
            BAD,
            f"colour and depth are {1e3 * apart:.0f} ms apart, more than pair_tolerance {1e3 * _APART:.0f} ms: have "
            f"the driver synchronise them (enable_sync:=true), or set pair_tolerance to {1.2 * apart:.3f}",
        )

    def _content(self) -> Iterator[Finding]:
        """Frames, calibration and depth of the newest images."""
        color, depth, info = (self._newest[name] for name in ("color", "depth", "info"))
        if wrong := misfit(color, depth, info):
            yield Finding("frames", BAD, wrong)
        else:
            yield Finding("frames", FINE, f"all in {color.header.frame_id}, {color.width}x{color.height}")
        try:
            intrinsics = intrinsics_of(info)
            yield Finding("calibration", FINE, f"fx {intrinsics.fx:.0f}, fy {intrinsics.fy:.0f} pixels")
            metres = depth_image(depth, self.wanted.depth_unit)
            rgbd_frame(color, depth, info, self.wanted.depth_unit)
        except DropclipError as error:
            yield Finding("images", BAD, error.message)
            return
        yield depth_finding(metres, self.wanted.depth_unit if depth.encoding != "32FC1" else "m")

    def _world(self) -> Finding:
        world = self.wanted.world_frame
        if not world:
            return Finding("TF", NOTE, "no --world-frame: answers are in the table's own frame, which needs no TF")
        image = self._newest.get("color") or self._newest.get("depth")
        if image is None:
            return Finding("TF", NOTE, "no image has come whose frame could be looked up")
        try:
            pose = self._frames.lookup(world, image.header.frame_id, image.header.stamp, 1.0)
        except DropclipError as error:
            return Finding("TF", BAD, f"{error.message} A static transform from {world} to the camera's base is usual")
        x, y, z = pose[:3, 3]
        return Finding("TF", FINE, f"the camera is at ({x:.2f}, {y:.2f}, {z:.2f}) m in {world}")

    def _grounding(self) -> Finding:
        services = [name for name, _ in self.get_service_names_and_types() if name.endswith(f"/{GROUND_SERVICE}")]
        if not services:
            return Finding("service", NOTE, "no node serves `ground` yet: ros2 launch dropclip_ros grounding.launch.py")
        return Finding("service", FINE, f"{', '.join(services)} is served")


def depth_finding(metres: np.ndarray, unit: str) -> Finding:
    """Whether a depth image (H, W) m has depth, in the range where tables are."""
    known = metres > 0
    if known.mean() < _SHARES[1]:
        return Finding("depth image", BAD, "hardly a pixel has depth: is something in front of the camera, is it lit?")
    middle = float(np.median(metres[known]))
    inside = float(((metres >= _NEAR) & (metres <= _FAR)).mean())
    if inside < _SHARES[1]:
        other = {"mm": "0.1mm", "0.1mm": "mm"}.get(unit)
        hint = f"set depth_unit to {other}, or " if other else ""
        return Finding(
            "depth image",
            BAD,
            f"half of the depths are beyond {middle:.2f} m, none in {_NEAR:g} to {_FAR:g} m: {hint}set near and far",
        )
    how = FINE if known.mean() > _SHARES[0] else NOTE
    return Finding(
        "depth image", how, f"{100 * known.mean():.0f} % of the pixels known, half of them by {middle:.2f} m"
    )


def examine(wanted: Wanted, seconds: float) -> Sequence[Finding]:
    """Listens in a node of its own, then says what was found."""
    from dropclip_ros.ros.launcher import served

    with served(lambda: Doctor(wanted)) as doctor:
        doctor.listen(seconds)
        return list(doctor.findings())
