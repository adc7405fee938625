# SPDX-License-Identifier: Apache-2.0
"""`dropclip doctor` over real DDS: a camera that is right, and each thing that may be wrong with one."""

import sys
import threading
import time

import numpy as np
import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_support import OPTICAL_FRAME, FakeCamera, ros, wait_until  # noqa: F401
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from dropclip_ros.cli import main
from dropclip_ros.ros.common import COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC
from dropclip_ros.ros.health.doctor import Doctor, Wanted, depth_finding
from dropclip_ros.vision.geometry import Intrinsics, RgbdFrame

FRAME = RgbdFrame(
    np.full((48, 64, 3), 90, np.uint8), np.full((48, 64), 0.8, np.float32), Intrinsics(60, 60, 31, 23, 64, 48)
)
RIGHT = Wanted(COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC)


class Streaming:
    """A camera that sends `make(camera)` ten times a second."""

    def __init__(self, node, make):
        self._camera, self._make, self._stop = FakeCamera(node), make, threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)

    def _send(self):
        while not self._stop.wait(0.1):
            self._camera.send(self._make(self._camera))

    def __enter__(self):
        self._thread.start()
        return self._camera

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        for publisher in self._camera._publishers.values():
            self._camera._node.destroy_publisher(publisher)


def examined(ros, wanted: Wanted, until: str = "") -> dict:
    """Findings by what they are of; listens until stream `until` is heard."""
    doctor = ros.serve(Doctor(wanted))
    try:
        if until:
            wait_until(lambda: doctor._counts[until] > 0)
        doctor.listen(1.5)
        return {finding.what: finding for finding in doctor.findings()}
    finally:
        ros.stop(doctor)


def right(camera):
    return camera.messages(FRAME)


def test_a_camera_that_is_right_has_nothing_to_set(ros):
    with Streaming(ros.node, right) as camera:
        ros.node.create_timer(
            0.1, lambda: camera.send_transform(ros.node.get_clock().now().to_msg(), "world", OPTICAL_FRAME, np.eye(4))
        )
        found = examined(ros, Wanted(COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC, world_frame="world"), "depth")
    wrong = {what: finding.said for what, finding in found.items() if finding.how == "bad"}
    assert not wrong and "Hz" in found["color"].said and "0.80 m" in found["depth image"].said
    assert "(0.00, 0.00, 0.00) m in world" in found["TF"].said and found["service"].how == "note"


def test_topics_of_another_name_are_named(ros):
    with Streaming(ros.node, right):
        found = examined(ros, Wanted("other/color", DEPTH_TOPIC, INFO_TOPIC), "depth")
    assert (
        found["color"].how == "bad" and f"/{COLOR_TOPIC}" in found["color"].said and "camera:=" in found["color"].said
    )
    assert found["depth"].how == "fine"


def test_a_camera_that_is_best_effort_and_nodes_that_ask_for_more(ros):
    publisher = ros.node.create_publisher(
        Image, COLOR_TOPIC, QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    )
    try:
        found = examined(ros, Wanted(COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC, reliable=True))
    finally:
        ros.node.destroy_publisher(publisher)
    assert found["color"].how == "bad" and "set reliable to false" in found["color"].said


@pytest.mark.parametrize("age, words", [(60.0, "behind"), (-60.0, "ahead of")])
def test_stamps_of_another_time(ros, age, words):
    with Streaming(ros.node, lambda camera: camera.messages(FRAME, age)):
        found = examined(ros, RIGHT, "color")
    assert found["clock"].how == "bad" and words in found["clock"].said and "chrony" in found["clock"].said


def test_a_played_clock_wants_use_sim_time_and_a_set_one_wants_a_clock(ros):
    clock = ros.node.create_publisher(Clock, "/clock", 5)
    timer = ros.node.create_timer(0.05, lambda: clock.publish(Clock()))
    with Streaming(ros.node, lambda camera: camera.messages(FRAME, 1e4)):
        found = examined(ros, RIGHT, "color")
    timer.cancel()
    ros.node.destroy_publisher(clock)
    assert found["clock"].how == "bad" and "use_sim_time:=true" in found["clock"].said
    time.sleep(0.2)
    found = examined(ros, Wanted(COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC, use_sim_time=True))
    assert found["clock"].how == "bad" and "play the bag with --clock" in found["clock"].said


def test_images_apart_unregistered_or_in_another_unit(ros):
    def spoilt(camera):
        messages, earlier = camera.messages(FRAME), camera.messages(FRAME, 0.05)
        messages["depth"] = earlier["depth"]
        messages["depth"].header.frame_id = "camera_depth_optical_frame"
        messages["depth"].data = np.full((48, 64), 12000, np.uint16).tobytes()
        return messages

    with Streaming(ros.node, spoilt):
        found = examined(ros, RIGHT, "depth")
    assert found["pairing"].how == "bad" and "pair_tolerance" in found["pairing"].said
    assert found["frames"].how == "bad" and "align_depth.enable:=true" in found["frames"].said
    assert found["depth image"].how == "bad" and "depth_unit to 0.1mm" in found["depth image"].said
    assert depth_finding(np.zeros((4, 4), np.float32), "mm").how == "bad"


def test_a_transform_that_nobody_sends(ros):
    with Streaming(ros.node, right):
        found = examined(ros, Wanted(COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC, world_frame="nowhere"), "color")
    assert found["TF"].how == "bad" and "static transform from nowhere" in found["TF"].said


def test_without_ros_it_says_so_in_one_line(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "dropclip_ros.ros.health.doctor", raising=False)
    monkeypatch.setitem(sys.modules, "rclpy", None)
    monkeypatch.setitem(sys.modules, "rclpy.clock", None)
    assert main(["doctor"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("dropclip: BAD_REQUEST: the doctor needs ROS") and error.count("\n") == 1
    assert main(["doctor", "--camera", "polaroid"]) == 1


def test_a_model_that_is_not_whole_is_told(tmp_path):
    from dropclip_ros.commands.doctor import _model
    from dropclip_ros.ros.health.doctor import Finding

    assert _model(None, Finding).how == "fine"
    assert _model(str(tmp_path), Finding).how == "bad"
