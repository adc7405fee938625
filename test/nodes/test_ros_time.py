# SPDX-License-Identifier: Apache-2.0
"""Time as labs have it: bags in a loop, simulations that start over, no clock, late messages, calibration sent once.

What the camera's listener does is tested on messages as they come, with a clock over real DDS; no model is loaded.
"""

import numpy as np
import pytest
from rclpy.node import Node
from ros_support import OPTICAL_FRAME, ros, wait_until  # noqa: F401
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Header

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.ros.camera.listener import SETTINGS, CameraListener
from dropclip_ros.ros.camera.pairing import GRACE, LAP, Pairing
from dropclip_ros.ros.common import Settings
from dropclip_ros.ros.messages import camera_info_message, image_message, nanoseconds, time_message, transform_message
from dropclip_ros.ros.tf import Frames
from dropclip_ros.ros.tf_buffer import Buffer
from dropclip_ros.vision.geometry import Intrinsics

S = 10**9
K = Intrinsics(60, 60, 32, 24, 64, 48)


def header(ns: int, frame: str = OPTICAL_FRAME) -> Header:
    return Header(stamp=time_message(ns), frame_id=frame)


def color(ns: int, run: int = 0):
    return image_message(header(ns), np.full((48, 64, 3), run, np.uint8), "rgb8")


def depth(ns: int, run: int = 0):
    return image_message(header(ns), np.full((48, 64), run, np.uint16), "16UC1")


def info(ns: int, k: Intrinsics = K):
    return camera_info_message(header(ns), k)


def runs(frame) -> tuple[int, int]:
    """Which runs colour and depth are of."""
    return frame.color.data[0], frame.depth.data[0]


@pytest.fixture
def pairing() -> Pairing:
    return Pairing(True, lambda: 0.02 * S)


def last(pairing: Pairing):
    return next(reversed(pairing.frames.values()))


@pytest.mark.parametrize("order", [("color", "depth", "info"), ("depth", "info", "color"), ("info", "depth", "color")])
def test_a_run_that_begins_anew_mixes_no_images(pairing, order):
    """A short bag in a loop with its own stamps and no clock; laps of 3 frames in 0.3 s."""
    make = {"color": color, "depth": depth, "info": lambda ns, _: info(ns)}
    now = 0.0
    for lap in range(1, 4):
        for i in range(3):
            for name in order:
                pairing.take(name, make[name](1000 * S + i * S, 10 * lap + i), now := now + 0.01)
                if pairing.frames:
                    assert len(set(runs(last(pairing)))) == 1
            now += 0.07
            assert runs(last(pairing)) == (10 * lap + i,) * 2  # the newest is what came last


def test_images_of_near_stamps_are_of_one_moment_only_if_they_came_together(pairing):
    pairing.take("info", info(0), 0.0)
    pairing.take("depth", depth(10 * S, 1), 0.0)
    pairing.take("color", color(10 * S + 5_000_000, 2), LAP + 0.5)  # of the next lap
    assert not pairing.frames
    pairing.take("depth", depth(10 * S, 2), LAP + 0.6)
    pairing.settle(LAP + 2.0)
    assert runs(last(pairing)) == (2, 2)


def test_stamps_out_of_order_are_frames_too(pairing):
    now = 0.0
    for t in (1, 3, 2, 4):
        for name, make in (("info", info), ("depth", depth), ("color", color)):
            pairing.take(name, make(t * S // 30), now := now + 0.002)
    assert list(pairing.frames) == [t * S // 30 for t in (1, 3, 2, 4)]


@pytest.mark.parametrize("stamp", [0, 5 * S], ids=["stamp 0", "once"])
def test_a_calibration_that_came_once_serves_all_frames(pairing, stamp):
    pairing.take("info", info(stamp), 0.0)
    for i in range(3):
        pairing.take("color", color((20 + i) * S, i), i)
        pairing.take("depth", depth((20 + i) * S, i), i)
        assert len(pairing.frames) == i  # its own CameraInfo may still come
        pairing.settle(i + GRACE)
        assert runs(last(pairing)) == (i, i)


def test_a_frames_own_calibration_is_waited_for_and_counts_even_if_it_is_late(pairing):
    other = Intrinsics(50, 50, 32, 24, 64, 48)
    pairing.take("info", info(1 * S), 0.0)
    pairing.take("color", color(2 * S), 1.0)
    pairing.take("depth", depth(2 * S), 1.0)
    assert not pairing.frames
    pairing.settle(1.0 + GRACE)
    assert last(pairing).info.k[0] == 60
    pairing.take("info", info(2 * S, other), 2.0)
    assert last(pairing).info.k[0] == 50


def test_a_late_calibration_takes_the_place_of_one_that_differs_in_its_binning_alone(pairing):
    other = info(20_000_000)
    other.binning_x = other.binning_y = 2
    for name, message in (("info", other), ("color", color(0)), ("depth", depth(0))):
        pairing.take(name, message, 0.0)
    assert last(pairing).info.binning_x == 2  # of a stamp as near as may be: it may be the frame's
    pairing.take("info", info(0), 0.01)
    assert last(pairing).info.binning_x == 0


def test_the_buffer_forgets_another_run_but_not_what_is_static():
    buffer = Buffer()

    def put(t, x, child="camera", static=False):
        pose = np.eye(4)
        pose[0, 3] = x
        buffer.set_transform(transform_message(time_message(t * S), "world", child, pose), "", static)

    def look(t, child="camera"):
        return buffer.lookup_transform("world", child, time_message(t * S)).transform.translation.x

    put(0, 7, "shelf", static=True)
    for t in (100, 101, 102):
        put(t, 1)
    for t in (1, 2, 3):
        put(t, 2)
    assert (look(0), look(2), look(2, "shelf")) == (2, 2, 7)
    buffer.clear()
    assert look(2, "shelf") == 7
    with pytest.raises(Exception, match="does not exist"):
        look(2)


class Cell:
    """A node in simulated time with a camera and TF, and the clock that it hears."""

    def __init__(self, ros):
        self.node = ros.start(Node, {"node_name": "in_sim_time"}, use_sim_time=True, frame_timeout=0.3)
        self.camera, self.frames = CameraListener(self.node, Settings(self.node, SETTINGS)), Frames(self.node)
        self._clock = ros.node.create_publisher(Clock, "/clock", 10)
        wait_until(lambda: self._clock.get_subscription_count() > 0)

    def tick(self, ns: int) -> None:
        self._clock.publish(Clock(clock=time_message(ns)))
        wait_until(lambda: self.node.get_clock().now().nanoseconds == ns, 5)

    def send(self, ns: int, run: int) -> None:
        for name, msg in (("info", info(ns)), ("depth", depth(ns, run)), ("color", color(ns, run))):
            self.camera._take(name, msg)
        pose = np.eye(4)
        pose[0, 3] = run
        self.frames._buffer.set_transform(transform_message(time_message(ns), "world", OPTICAL_FRAME, pose), "")

    def where(self, ns: int) -> float:
        return self.frames.lookup("world", OPTICAL_FRAME, time_message(ns), 0.0)[0, 3]


@pytest.fixture(scope="module")
def cell(ros):
    return Cell(ros)


def test_without_a_clock_the_answer_says_so(cell):
    cell.send(5 * S, 1)
    with pytest.raises(DropclipError, match="use_sim_time is set and no /clock has arrived") as caught:
        cell.camera.newest()
    assert caught.value.status == Status.NO_FRAME


def test_a_clock_that_jumps_back_takes_all_of_the_other_run_with_it(cell):
    for t in range(1, 5):
        cell.tick(1000 * S + t * S)
        cell.send(1000 * S + t * S, 1)
    assert runs(cell.camera.newest()) == (1, 1)
    cell.tick(1000 * S + 1 * S)
    with pytest.raises(DropclipError) as caught:
        cell.camera.newest()  # what is held is of the future, or of another run
    assert caught.value.status == Status.NO_FRAME
    with pytest.raises(DropclipError) as caught:
        cell.where(1000 * S + 1 * S)
    assert caught.value.status == Status.TF_ERROR
    for t in range(1, 4):
        cell.tick(1000 * S + t * S)
        cell.send(1000 * S + t * S, 2)
        frame = cell.camera.newest()
        assert runs(frame) == (2, 2) and nanoseconds(frame.header.stamp) == 1000 * S + t * S
        assert cell.where(1000 * S + t * S) == 2


def test_a_clock_message_that_comes_late_forgets_nothing(cell):
    cell.tick(2000 * S)
    cell.send(2000 * S, 3)
    cell.tick(2000 * S - S // 100)
    assert runs(cell.camera.newest()) == (3, 3)
