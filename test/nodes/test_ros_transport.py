# SPDX-License-Identifier: Apache-2.0
"""Compressed images become the images they were, over real DDS too; a silent camera is told by what is published."""

import io
import struct
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_support import OPTICAL_FRAME, ros, wait_until  # noqa: F401  the fixture
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.ros.camera import listener as camera
from dropclip_ros.ros.camera.listener import CameraListener
from dropclip_ros.ros.camera.transport import LaterImage, decode_color, decode_depth_image
from dropclip_ros.ros.common import COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC, Settings
from dropclip_ros.ros.messages import camera_info_message, color_image, depth_image
from dropclip_ros.vision.geometry import Intrinsics

SPACES, PUBLISHERS = count(), []
A, B = 100.0, 1.5  # of image_transport's inverse depth: 1.5 m / (v - 1.5)


def packed(pixels: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    PillowImage.fromarray(pixels).save(file, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return file.getvalue()


def compressed_color(pixels: np.ndarray, kind: str = "JPEG", header: Header | None = None) -> CompressedImage:
    told = f"rgb8; {kind.lower()} compressed bgr8"
    return CompressedImage(header=header or Header(), format=told, data=packed(pixels, kind))


def compressed_depth(values: np.ndarray, encoding: str, header: Header | None = None, a=A, b=B) -> CompressedImage:
    """values: uint16 (H, W), millimetres or quantised inverse depth."""
    data = struct.pack("<iff", int(encoding == "32FC1"), a, b) + packed(values, "PNG")
    return CompressedImage(header=header or Header(), format=f"{encoding}; compressedDepth png", data=data)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40))
def test_depth_comes_back_as_it_was(seed, height, width):
    values = np.random.default_rng(seed).integers(0, 2**16, (height, width), np.uint16)
    assert np.allclose(depth_image(decode_depth_image(compressed_depth(values, "16UC1"))), values / 1000, rtol=1e-6)
    depth = np.random.default_rng(seed).uniform(0.3, 5.0, (height, width))
    depth[0, 0] = 0.0  # unknown
    quantised = np.where(depth > 0, A / np.maximum(depth, 1e-3) + B, 0).astype(np.uint16)
    back = depth_image(decode_depth_image(compressed_depth(quantised, "32FC1")))
    assert back[0, 0] == 0.0
    step = depth**2 / A  # what one step of the quantised inverse is worth
    assert (np.abs(back - depth)[depth > 0] <= 1.1 * step[depth > 0] + 1e-6).all()


def test_colour_comes_back_with_red_first():
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:, :12, 0], pixels[:, 12:, 2] = 200, 90
    assert (color_image(decode_color(compressed_color(pixels, "PNG"))) == pixels).all()
    assert np.abs(color_image(decode_color(compressed_color(pixels))).astype(int) - pixels)[:, [2, 20]].max() < 12


@pytest.mark.parametrize(
    "decode, msg, said",
    [
        (decode_color, CompressedImage(format="jpeg", data=b"no picture"), "no JPEG or PNG"),
        (decode_color, CompressedImage(format="jpeg"), "no JPEG or PNG"),
        (decode_color, CompressedImage(data=packed(np.ones((4, 4), np.uint16), "PNG")), "swapped"),
        (decode_depth_image, CompressedImage(format="16UC1; compressedDepth rvl", data=bytes(40)), "png"),
        (decode_depth_image, CompressedImage(format="16UC1; compressedDepth png", data=bytes(5)), "5 bytes"),
        (decode_depth_image, CompressedImage(format="16UC1; compressedDepth png", data=bytes(40)), "no JPEG or PNG"),
        (decode_depth_image, compressed_color(np.zeros((4, 4, 3), np.uint8)), "expected 16UC1"),
        (
            decode_depth_image,
            CompressedImage(format="16UC1;", data=bytes(12) + packed(np.zeros((4, 4, 3), np.uint8), "PNG")),
            "one channel",
        ),
    ],
)
def test_what_cannot_be_decoded_is_a_bad_frame(decode, msg, said):
    with pytest.raises(DropclipError, match=said) as error:
        decode(msg)
    assert error.value.status == Status.BAD_FRAME


def test_nothing_is_decoded_before_somebody_looks():
    image = LaterImage(compressed_color(np.zeros((4, 6, 3), np.uint8)), decode_color)
    assert image.header == Header() and image._image is None
    assert (image.width, image.height, image.encoding) == (6, 4, "rgb8")
    with pytest.raises(AttributeError):
        _ = image.nothing


@pytest.fixture
def listen(ros):
    """Makes a node that listens to a camera, with remappings and parameters, and publishers that live as long."""
    nodes: list[Node] = []

    def make(remap: str = "", **parameters) -> tuple[CameraListener, Node]:
        space = f"space_{next(SPACES)}"
        arguments = ["--ros-args", "-r", remap] if remap else []
        told = [Parameter(name, value=value) for name, value in ({"frame_timeout": 0.2} | parameters).items()]
        node = Node("listener", namespace=space, cli_args=arguments, parameter_overrides=told)
        nodes.append(node)
        ros.serve(node)
        return CameraListener(node, Settings(node, camera.SETTINGS)), ros.node

    yield make
    for node in nodes:
        ros.stop(node)
    for one in PUBLISHERS:
        ros.node.destroy_publisher(one)
    PUBLISHERS.clear()


def publisher(node: Node, kind: type, topic: str, best_effort: bool = False):
    reliability = ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE
    PUBLISHERS.append(node.create_publisher(kind, topic, QoSProfile(depth=5, reliability=reliability)))
    return PUBLISHERS[-1]


def test_compressed_frames_arrive_under_the_names_they_were_remapped_to(listen):
    listener, node = listen(f"{COLOR_TOPIC}:=/left/rgb", transport="compressed", max_frame_age=0.0)
    space = listener._node.get_namespace()
    color = publisher(node, CompressedImage, "/left/rgb/compressed")
    depth = publisher(node, CompressedImage, f"{space}/{DEPTH_TOPIC}/compressedDepth")
    info = publisher(node, CameraInfo, f"{space}/{INFO_TOPIC}")
    wait_until(lambda: all(p.get_subscription_count() for p in (color, depth, info)), 10.0)
    header = Header(stamp=node.get_clock().now().to_msg(), frame_id=OPTICAL_FRAME)
    values = np.full((24, 32), 800, np.uint16)
    info.publish(camera_info_message(header, Intrinsics(30.0, 30.0, 15.5, 11.5, 32, 24)))
    depth.publish(compressed_depth(values, "16UC1", header))
    color.publish(compressed_color(np.full((24, 32, 3), 99, np.uint8), "PNG", header))
    wait_until(lambda: listener.glance() is not None, 10.0)
    frame = listener.newest()
    assert (color_image(frame.color) == 99).all() and np.allclose(depth_image(frame.depth), 0.8)


def why(listener: CameraListener) -> str:
    with pytest.raises(DropclipError) as error:
        listener.newest()
    assert error.value.status == Status.NO_FRAME
    return error.value.message


def test_a_silent_camera_is_told_by_what_is_published(listen):
    listener, node = listen(reliable=True)
    space = listener._node.get_namespace()
    assert "nor any other sensor_msgs/msg/CameraInfo" in why(listener)
    publisher(node, CompressedImage, f"{space}/{COLOR_TOPIC}/compressed")
    publisher(node, Image, f"{space}/{DEPTH_TOPIC}", best_effort=True)
    publisher(node, CameraInfo, "/elsewhere/camera_info")
    expected = ("set transport to compressed", "set reliable to false", "published are /elsewhere/camera_info")
    wait_until(lambda: all(words in why(listener) for words in expected), 15.0)


def test_raw_images_under_a_name_that_is_asked_for_compressed_are_told(listen):
    listener, node = listen(transport="compressed")
    publisher(node, Image, f"{listener._node.get_namespace()}/{COLOR_TOPIC}")
    wait_until(lambda: "set transport to raw" in why(listener), 15.0)
