# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks over real DDS share: the demo's frame, cut small, and a client that is camera and caller."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.client import Client
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from dropclip_ros.msg import GraspArray
from dropclip_ros.ros.common import (
    CAMERA_QOS,
    COLOR_TOPIC,
    DEPTH_TOPIC,
    GRASPS_TOPIC,
    GROUND_SERVICE,
    INFO_TOPIC,
    MATCH_SERVICE,
    SERVICE_QOS,
)
from dropclip_ros.ros.messages import camera_info_message, image_message
from dropclip_ros.srv import Ground, MatchGrasps
from dropclip_ros.vision.bags import load_bag_frame
from dropclip_ros.vision.geometry import RgbdFrame

BAG = Path(__file__).resolve().parents[2] / "demo" / "tabletop"
OPTICAL_FRAME = "camera_color_optical_frame"
PRESENT, ABSENT = "the red mug", "a giraffe"  # in the small frame
_STEP, _WIDTH, _HEIGHT, _LEFT, _TOP = 2, 128, 96, 120, 100  # every other pixel, then the window about the mug


def small_frame() -> RgbdFrame:
    """The red mug and its neighbours of the demo's frame, (96, 128): quick to encode, and still a table scene."""
    frame = load_bag_frame(BAG)
    k = frame.intrinsics.scaled_to(frame.intrinsics.width // _STEP, frame.intrinsics.height // _STEP)
    k = replace(k, cx=k.cx - _LEFT, cy=k.cy - _TOP, width=_WIDTH, height=_HEIGHT)
    window = (slice(_TOP, _TOP + _HEIGHT), slice(_LEFT, _LEFT + _WIDTH))
    rgb, depth = (np.ascontiguousarray(image[::_STEP, ::_STEP][window]) for image in (frame.rgb, frame.depth))
    return RgbdFrame(rgb, depth, k)


class Live(Node):
    """Publishes what a camera, a proposer and TF would, and calls both services."""

    def __init__(self) -> None:
        super().__init__("benchmark")
        kinds = {
            "color": (Image, COLOR_TOPIC, CAMERA_QOS),
            "depth": (Image, DEPTH_TOPIC, CAMERA_QOS),
            "info": (CameraInfo, INFO_TOPIC, CAMERA_QOS),
            "grasps": (GraspArray, GRASPS_TOPIC, 1),
            "tf": (TFMessage, "/tf", 100),
        }
        self._publishers_by_name = {name: self.create_publisher(*kind) for name, kind in kinds.items()}
        self.ground_client = self.create_client(Ground, GROUND_SERVICE, qos_profile=SERVICE_QOS)
        self.match_client = self.create_client(MatchGrasps, MATCH_SERVICE, qos_profile=SERVICE_QOS)

    def wait_for(self, streams: dict[str, int], services: list[Client], timeout: float = 120.0) -> None:
        """Until the streams have as many subscribers and the services are there."""
        end = time.monotonic() + timeout
        for name, count in streams.items():
            while self._publishers_by_name[name].get_subscription_count() < count and time.monotonic() < end:
                time.sleep(0.05)
        if not all(client.wait_for_service(max(end - time.monotonic(), 0.0)) for client in services):
            raise TimeoutError("the nodes are not there")

    def now(self) -> Time:
        return self.get_clock().now().to_msg()

    def frame_messages(self, frame: RgbdFrame) -> dict:
        """color, depth (16UC1, mm) and info of a frame taken now, each with a header of its own."""
        stamp = self.now()
        color, depth, info = (Header(stamp=stamp, frame_id=OPTICAL_FRAME) for _ in range(3))
        return {
            "info": camera_info_message(info, frame.intrinsics),
            "color": image_message(color, frame.rgb, "rgb8"),
            "depth": image_message(depth, np.round(frame.depth * 1000).astype(np.uint16), "16UC1"),
        }

    def send(self, messages: dict) -> None:
        for name, message in messages.items():
            self._publishers_by_name[name].publish(message)

    def call(self, client: Client, request, timeout: float = 60.0):
        """The answer and how long it took, s; None where none came."""
        done, start = threading.Event(), time.perf_counter()
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        if not done.wait(timeout):
            client.remove_pending_request(future)
            return None, timeout
        return future.result(), time.perf_counter() - start
