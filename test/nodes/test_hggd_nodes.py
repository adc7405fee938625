# SPDX-License-Identifier: Apache-2.0
"""Proposals of HGGD and of files and messages with grasp rows, over real DDS; what is said where there are none."""

import subprocess
import sys
from dataclasses import replace

import hggd_support
import numpy as np
import pytest
import torch
from rclpy.exceptions import ParameterException
from ros_support import OPTICAL_FRAME, FakeCamera, ros, wait_until  # noqa: F401
from std_msgs.msg import Float32MultiArray, MultiArrayDimension

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grasping.grasps import Grasps, load_rows
from dropclip_ros.grasping.hggd.checkpoint import save_networks
from dropclip_ros.grasping.hggd.decode import rotation_of
from dropclip_ros.grasping.hggd.networks import HggdNetworks
from dropclip_ros.msg import GraspArray
from dropclip_ros.nodes import grasp_rows_node, hggd_node
from dropclip_ros.nodes.grasp_rows_node import TOPIC, GraspRowsNode
from dropclip_ros.nodes.hggd_node import HggdNode
from dropclip_ros.ros.common import GRASPS_TOPIC
from dropclip_ros.ros.grasp_messages import grasps_from_message
from dropclip_ros.ros.messages import image_message, nanoseconds
from dropclip_ros.vision.geometry import RgbdFrame

SMALL = replace(hggd_support.SMALL, height=120, points=4000, anchor_width=20.0)


@pytest.fixture
def proposed(ros):
    got = []
    subscription = ros.node.create_subscription(GraspArray, GRASPS_TOPIC, got.append, 10)
    yield got
    ros.node.destroy_subscription(subscription)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    save_networks(tmp_path / "hggd.pt", HggdNetworks(SMALL))
    return str(tmp_path / "hggd.pt")


def some_rows(count: int = 3) -> np.ndarray:
    rotations = rotation_of(*torch.linspace(-0.5, 0.5, count * 3, dtype=torch.float64).reshape(3, count)).numpy()
    ones = np.ones(count)
    return Grasps(
        np.linspace(1, 0.5, count),
        0.05 * ones,
        0.02 * ones,
        0.02 * ones,
        rotations,
        np.arange(count * 3).reshape(count, 3) / 10,
        -ones,
    ).rows()


# --- HGGD ---------------------------------------------------------------------------------------------------


def test_what_hggd_detects_is_proposed_in_the_cameras_frame(ros, proposed, weights, make_tabletop, monkeypatch):
    frame, asked = make_tabletop(size=(64, 48)).frame, []

    def detect(self, rgb, depth, intrinsics, detection, gripper, table):
        asked.append((rgb, depth, intrinsics, detection, gripper, table))
        return Grasps.from_rows(some_rows())

    monkeypatch.setattr("dropclip_ros.grasping.hggd.detector.Hggd.detect", detect)
    node = ros.start(
        HggdNode,
        weights=weights,
        device="cpu",
        reliable=True,
        max_frame_age=300.0,
        max_rate=50.0,
        workspace=[-1.0, -1.0, 0.2, 1.0, 1.0, 1.5],
        top_k=7,
        gripper="franka_hand",
    )
    camera = FakeCamera(ros.node)
    camera.wait_for()
    messages = camera.messages(frame)
    header = camera.send(messages)
    wait_until(lambda: bool(proposed))
    metres = camera.messages(frame)
    metres["depth"] = image_message(metres["depth"].header, frame.depth, "32FC1")
    camera.send(metres)
    wait_until(lambda: len(proposed) > 1)
    ros.stop(node)
    assert proposed[0].header.stamp == header.stamp and proposed[0].header.frame_id == OPTICAL_FRAME
    assert np.allclose(grasps_from_message(proposed[0]).rows(), some_rows(), atol=1e-6)
    plane = np.append(frame.camera_pose[2, :3], frame.camera_pose[2, 3])  # the table is the world's z = 0
    for rgb, depth, intrinsics, detection, gripper, table in asked[:2]:
        assert np.allclose(table, plane, atol=0.03)
        assert (rgb == frame.rgb).all() and np.allclose(depth, frame.depth, atol=6e-4)
        assert np.allclose(intrinsics.matrix, frame.intrinsics.matrix)
        assert detection.workspace == ((-1.0, -1.0, 0.2), (1.0, 1.0, 1.5)) and detection.top_k == 7
        assert gripper.name == "franka_hand"


def test_hggd_serves_a_camera_from_end_to_end(ros, proposed, weights, make_tabletop):
    """Random weights: what is proposed means nothing; that it is proposed, for each camera that comes, does."""
    node = ros.start(HggdNode, weights=weights, device="cpu", reliable=True, max_frame_age=300.0)
    camera = FakeCamera(ros.node)
    camera.wait_for()
    for size in ((320, 240), (256, 144)):
        before = len(proposed)
        frame = make_tabletop(size=size).frame
        blank = RgbdFrame(frame.rgb, np.zeros_like(frame.depth), frame.intrinsics)
        camera.send(camera.messages(blank))  # complained about, and survived
        header = camera.send(camera.messages(frame))
        wait_until(lambda before=before: len(proposed) > before)
        assert proposed[-1].header == header
    ros.stop(node)


def test_hggd_does_not_start_without_weights():
    ended = subprocess.run(
        [sys.executable, "-m", "dropclip_ros.nodes.hggd_node", "--ros-args", "-p", "weights:=/nowhere/a.pt"],
        capture_output=True,
        text=True,
        timeout=180,
    )
    lines = [line for line in ended.stderr.splitlines() if "[INFO]" not in line]
    assert ended.returncode == 2 and len(lines) == 1, ended.stderr
    assert "cannot read the HGGD checkpoint /nowhere/a.pt" in ended.stderr


@pytest.mark.parametrize(
    ("parameter", "value", "complaint"),
    [
        ("device", "tpu", "expected auto, cpu, cuda"),
        ("workspace", [0.0, 0.0, 1.0, 1.0, 1.0, 0.5], "workspace"),
        ("workspace", [0.0], "workspace"),
        ("gripper", "hand", "gripper"),
        ("min_score", 2.0, "min_score"),
    ],
)
def test_hggd_does_not_start_with_what_cannot_be(ros, weights, parameter, value, complaint):
    with pytest.raises((DropclipError, ParameterException), match=complaint):
        ros.start(HggdNode, **{"weights": weights, parameter: value})


def test_parameters_become_the_detectors_limits():
    values = {s.name: s.default for s in hggd_node.SETTINGS}
    assert hggd_node.detection_config(values).far == 3.0
    with pytest.raises(ValueError, match="far"):
        hggd_node.detection_config(values | {"far": 0.05})


# --- rows ---------------------------------------------------------------------------------------------------


def test_the_newest_file_of_a_folder_is_proposed(ros, proposed, tmp_path):
    rows = some_rows()
    np.save(tmp_path / "a.npy", rows[:1])
    node = ros.start(GraspRowsNode, folder=str(tmp_path), rate=50.0, restamp=False, frame_id="camera")
    wait_until(lambda: bool(proposed))
    np.savetxt(tmp_path / "b.part", rows)
    (tmp_path / "b.part").rename(tmp_path / "b.txt")
    wait_until(lambda: len(proposed) > 1)
    ros.stop(node)
    assert [len(msg.grasps) for msg in proposed] == [1, 3] and proposed[1].header.frame_id == "camera"
    assert np.allclose(grasps_from_message(proposed[1]).rows(), rows, atol=1e-6)
    assert nanoseconds(proposed[1].header.stamp) == (tmp_path / "b.txt").stat().st_mtime_ns


def test_rows_of_a_still_scene_are_proposed_over_and_over(ros, proposed, tmp_path):
    node = ros.start(GraspRowsNode, folder=str(tmp_path), rate=50.0)
    np.save(tmp_path / "a.npy", some_rows())  # after the node, which has said that there are none
    wait_until(lambda: len(proposed) > 2)
    ros.stop(node)
    stamps = [nanoseconds(msg.header.stamp) for msg in proposed]
    assert len(set(stamps)) == len(stamps)


def test_rows_come_by_topic_and_broken_ones_are_refused(ros, proposed):
    node = ros.start(GraspRowsNode)
    publisher = ros.node.create_publisher(Float32MultiArray, TOPIC, 10)
    wait_until(lambda: publisher.get_subscription_count() > 0)
    rows = some_rows()
    turned = rows.copy()
    turned[1, 4] = 2
    good = Float32MultiArray(data=rows.ravel().tolist())
    shaped = Float32MultiArray(data=rows.ravel().tolist())
    shaped.layout.dim = [MultiArrayDimension(size=3), MultiArrayDimension(size=17)]
    bad = [Float32MultiArray(data=[1.0] * 16), Float32MultiArray(data=turned.ravel().tolist())]
    for msg in (*bad, good, shaped):
        publisher.publish(msg)
    wait_until(lambda: len(proposed) == 2)
    ros.stop(node)
    ros.node.destroy_publisher(publisher)
    for msg in proposed:
        assert np.allclose(grasps_from_message(msg).rows(), rows, atol=1e-5) and msg.header.frame_id == OPTICAL_FRAME


def test_layouts_that_contradict_their_data_are_refused():
    msg = Float32MultiArray(data=[0.0] * 34)
    msg.layout.dim = [MultiArrayDimension(size=17), MultiArrayDimension(size=2)]
    with pytest.raises(DropclipError, match="expected N x 17"):
        grasp_rows_node.rows_of(msg)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.npy", b"\x93NUMPY", "cannot read"),
        ("a.npy", b"", "cannot read"),
        ("a.txt", b"1 2 3", "expected \\(N, 17\\)"),
        ("a.txt", b"\xff\xfe", "cannot read"),
        ("a.txt", b"a b", "cannot read"),
        ("a.txt", b" ".join([b"1"] * 17) + b"\n1 2", "cannot read"),
    ],
)
def test_files_that_hold_no_rows_are_refused(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DropclipError, match=says) as caught:
        load_rows(tmp_path / name)
    assert caught.value.status == Status.BAD_REQUEST and name in caught.value.message


def test_files_are_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[replace]], dtype=object), allow_pickle=True)
    with pytest.raises(DropclipError, match="cannot read"):
        load_rows(tmp_path / "a.npy")


def test_a_file_of_no_rows_is_no_grasps(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((0, 17)))
    (tmp_path / "a.txt").write_text("\n")
    assert len(load_rows(tmp_path / "a.npy")) == len(load_rows(tmp_path / "a.txt")) == 0
