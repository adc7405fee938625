# SPDX-License-Identifier: Apache-2.0
"""For the tests over real DDS: a ROS domain of this process's own, nodes served by threads, a camera made of arrays."""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest

# 1..100: domains beyond reach into the ephemeral ports
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
rclpy = pytest.importorskip("rclpy", reason="rclpy is not installed (make setup)")
pytest.importorskip("dropclip_ros.srv", reason="the ROS interfaces are not built (make setup)")

from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor, ShutdownException  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402
from tf2_msgs.msg import TFMessage  # noqa: E402

from dropclip_ros.ros.common import CAMERA_QOS, COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC, THREADS  # noqa: E402
from dropclip_ros.ros.messages import camera_info_message, image_message, transform_message  # noqa: E402
from dropclip_ros.vision.geometry import RgbdFrame  # noqa: E402

OPTICAL_FRAME = "camera_color_optical_frame"
AS_IN_A7 = {
    "rules": [""],
    "rank": "distance",
    "open_wider": 0.0,
    "sample_target": False,  # of the matcher
    "use_camera": False,
}


def wait_until(condition: Callable[[], bool], timeout: float = 120.0) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.01)


class Served:
    """A node and the executor in a thread that serves it. Each has its own: rclpy cannot destroy what is waited on."""

    def __init__(self, node: Node):
        self.node = node
        self._executor = MultiThreadedExecutor(num_threads=THREADS)
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        with suppress(ExternalShutdownException, ShutdownException):
            self._executor.spin()

    def stop(self) -> None:
        self._executor.shutdown()
        self._thread.join(10)
        self.node.destroy_node()


class Ros:
    """Nodes of this process, and one that is everybody's client."""

    def __init__(self):
        rclpy.init()
        self._served: dict[Node, Served] = {}
        self.node = self.serve(Node("test_client"))

    def serve(self, node: Node) -> Node:
        self._served[node] = Served(node)
        return node

    def start(self, kind: type[Node], options: dict | None = None, **parameters) -> Node:
        """Construct a node of the package, with options of rclpy's Node and parameters, and serve it."""
        return self.serve(
            kind(
                parameter_overrides=[Parameter(name, value=value) for name, value in parameters.items()],
                **(options or {}),
            )
        )

    def stop(self, node: Node) -> None:
        self._served.pop(node).stop()

    def call(self, client, request, timeout: float = 180.0):
        """The answer of a service; fails where it does not come."""
        assert client.wait_for_service(timeout_sec=timeout)
        future = client.call_async(request)
        wait_until(future.done, timeout)
        return future.result()

    def close(self) -> None:
        for node in list(self._served):
            self.stop(node)
        rclpy.shutdown()


@pytest.fixture(scope="module")
def ros():
    """One context a test module."""
    ros = Ros()
    yield ros
    ros.close()


class FakeCamera:
    """Publishes frames as a driver does, and lets a test break them."""

    def __init__(self, node: Node):
        self._node = node
        self._publishers = {
            name: node.create_publisher(kind, topic, CAMERA_QOS)
            for name, (kind, topic) in {
                "color": (Image, COLOR_TOPIC),
                "depth": (Image, DEPTH_TOPIC),
                "info": (CameraInfo, INFO_TOPIC),
            }.items()
        }
        self._tf = node.create_publisher(TFMessage, "/tf", 100)

    def wait_for(self, subscribers: int = 1, streams: tuple[str, ...] = ("color", "depth", "info")) -> None:
        wait_until(lambda: all(self._publishers[s].get_subscription_count() >= subscribers for s in streams))

    def now(self) -> int:
        """The time of stamps, ns."""
        return self._node.get_clock().now().nanoseconds

    def messages(self, frame: RgbdFrame, age: float = 0.0) -> dict:
        """color, depth and info of a frame that was taken `age` seconds ago."""
        stamp = (self._node.get_clock().now() - rclpy.duration.Duration(seconds=age)).to_msg()
        header = Header(stamp=stamp, frame_id=OPTICAL_FRAME)
        millimetres = np.round(frame.depth * 1000).astype(np.uint16)
        return {
            "info": camera_info_message(header, frame.intrinsics),
            "color": image_message(header, frame.rgb, "rgb8"),
            "depth": image_message(header, millimetres, "16UC1"),
        }

    def send(self, messages: dict) -> Header:
        for name, msg in messages.items():
            self._publishers[name].publish(msg)
        return messages["depth"].header

    def send_transform(self, stamp, parent: str, child: str, matrix: np.ndarray) -> None:
        self._tf.publish(TFMessage(transforms=[transform_message(stamp, parent, child, matrix)]))


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A model of the shipped kind with random weights: what it finds means nothing, how it answers does."""
    import torch

    from dropclip_ros.base.errors import DropclipError
    from dropclip_ros.networks.encoder import EncoderConfig, MinkUNet14D
    from dropclip_ros.networks.model_folder import ModelConfig, save_model
    from dropclip_ros.networks.text import TextEncoder

    try:
        channels = TextEncoder().channels
    except DropclipError as error:
        pytest.skip(error.message)
    torch.manual_seed(0)
    config = EncoderConfig(out_channels=channels, stem=8, planes=(8,) * 8)
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, MinkUNet14D(config), ModelConfig("random", encoder=config, threshold=0.05))
    return folder
