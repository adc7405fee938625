# SPDX-License-Identifier: Apache-2.0
"""Cameras made of files, proposals and the matcher over real DDS; and how every node ends."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point
from PIL import Image as PillowImage
from rclpy.node import Node
from ros_support import AS_IN_A7, OPTICAL_FRAME, FakeCamera, model_folder, ros, wait_until  # noqa: F401
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grasping.grasps import height_above
from dropclip_ros.msg import GraspArray
from dropclip_ros.nodes import proposal_node
from dropclip_ros.nodes.bag_player import BagPlayer
from dropclip_ros.nodes.grasp_matcher_node import GraspMatcherNode
from dropclip_ros.nodes.grounding_node import GroundingNode
from dropclip_ros.nodes.image_folder_node import ImageFolderNode
from dropclip_ros.nodes.proposal_node import ProposalNode
from dropclip_ros.ros.common import (
    CAMERA_QOS,
    COLOR_TOPIC,
    DEPTH_TOPIC,
    GRASPS_TOPIC,
    GROUND_SERVICE,
    INFO_TOPIC,
    MATCH_SERVICE,
)
from dropclip_ros.ros.grasp_messages import grasps_from_message
from dropclip_ros.ros.messages import (
    cloud_message,
    color_image,
    depth_image,
    intrinsics_of,
    nanoseconds,
    time_message,
)
from dropclip_ros.srv import Ground, MatchGrasps

STREAMS = {COLOR_TOPIC: Image, DEPTH_TOPIC: Image, INFO_TOPIC: CameraInfo}


@pytest.fixture
def received(ros):
    """What arrives on a camera's topics and on /tf_static, a list by topic."""
    got = {topic: [] for topic in (*STREAMS, "/tf_static")}
    listener = Node("listener")
    for topic, kind in (STREAMS | {"/tf_static": TFMessage}).items():
        listener.create_subscription(kind, topic, got[topic].append, CAMERA_QOS)
    ros.serve(listener)
    yield got
    ros.stop(listener)


def write_bag(path: Path, frame, stamps: list[float], compressed: bool) -> None:
    """A rosbag2 as `ros2 bag record` writes it: colour, depth and CameraInfo at each stamp [s], and /tf_static."""
    store = get_typestore(Stores.ROS2_JAZZY)
    t = store.types
    stamp_of, header_of = t["builtin_interfaces/msg/Time"], t["std_msgs/msg/Header"]
    writer = Writer(path, version=9)
    if compressed:
        writer.set_compression(CompressionMode.MESSAGE, CompressionFormat.ZSTD)
    height, width = frame.depth.shape
    with writer:

        def connect(topic: str, kind: str):
            connection = writer.add_connection(topic, kind, typestore=store)
            return lambda ns, msg: writer.write(connection, ns, store.serialize_cdr(msg, kind))

        color, depth = (connect(f"/{topic}", "sensor_msgs/msg/Image") for topic in (COLOR_TOPIC, DEPTH_TOPIC))
        info = connect(f"/{INFO_TOPIC}", "sensor_msgs/msg/CameraInfo")
        tf = connect("/tf_static", "tf2_msgs/msg/TFMessage")
        moved = t["geometry_msgs/msg/Transform"](
            t["geometry_msgs/msg/Vector3"](1.0, 2.0, 3.0), t["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
        )
        tf(
            round(stamps[0] * 1e9),
            t["tf2_msgs/msg/TFMessage"](
                [t["geometry_msgs/msg/TransformStamped"](header_of(stamp_of(0, 0), "world"), OPTICAL_FRAME, moved)]
            ),
        )
        for seconds in stamps:
            ns = round(seconds * 1e9)
            header = header_of(stamp_of(*divmod(ns, 10**9)), OPTICAL_FRAME)
            k, whole = frame.intrinsics.matrix, t["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
            info(
                ns + 1000,
                t["sensor_msgs/msg/CameraInfo"](
                    header,
                    height,
                    width,
                    "plumb_bob",
                    np.zeros(5),
                    k.ravel(),
                    np.eye(3).ravel(),
                    np.hstack([k, np.zeros((3, 1))]).ravel(),
                    0,
                    0,
                    whole,
                ),
            )
            millimetres = np.round(frame.depth * 1000).astype(np.uint16).view(np.uint8).ravel()
            depth(ns + 2000, t["sensor_msgs/msg/Image"](header, height, width, "16UC1", 0, 2 * width, millimetres))
            color(ns + 3000, t["sensor_msgs/msg/Image"](header, height, width, "rgb8", 0, 3 * width, frame.rgb.ravel()))


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "zstd"])
def test_a_bag_is_played_in_a_loop_as_if_it_happened_now(ros, received, make_tabletop, tmp_path, compressed):
    frame = make_tabletop(size=(64, 48)).frame
    write_bag(tmp_path / "bag", frame, [1000.0, 1000.1], compressed)
    player = ros.start(BagPlayer, bag=str(tmp_path / "bag"), period=0.3)
    wait_until(lambda: all(len(received[topic]) >= 4 for topic in STREAMS) and received["/tf_static"])
    now = player.get_clock().now().nanoseconds
    ros.stop(player)
    stamps = {topic: {nanoseconds(m.header.stamp) for m in received[topic]} for topic in STREAMS}
    assert len(set.intersection(*stamps.values())) >= 3  # what had one stamp still has one
    assert abs(max(stamps[COLOR_TOPIC]) - now) < 60e9
    assert (color_image(received[COLOR_TOPIC][0]) == frame.rgb).all()
    assert np.allclose(depth_image(received[DEPTH_TOPIC][0]), frame.depth, atol=6e-4)
    assert received["/tf_static"][0].transforms[0].transform.translation.z == 3.0


def test_a_bag_that_is_none_is_refused(ros, tmp_path):
    with pytest.raises(DropclipError, match="parameter bag"):
        ros.start(BagPlayer, bag=str(tmp_path))


def test_a_folder_of_images_is_a_camera(ros, received, make_tabletop, tmp_path):
    """Pairs by name, depth in its unit, a broken file left out, one stamp a pair."""
    frame = make_tabletop(size=(64, 48)).frame
    for name in ("a", "b", "c"):
        PillowImage.fromarray(frame.rgb).save(tmp_path / f"{name}_rgb.png")
        PillowImage.fromarray(np.round(frame.depth * 1e4).astype(np.uint16)).save(tmp_path / f"{name}_d.png")
    (tmp_path / "b_d.png").write_bytes(b"no image")
    (tmp_path / "c_d.png").unlink()
    (tmp_path / "k.json").write_text(json.dumps(frame.intrinsics.to_dict()))
    camera = ros.start(
        ImageFolderNode,
        folder=str(tmp_path),
        color_pattern="*_rgb.png",
        depth_pattern="*_d.png",
        depth_unit="0.1mm",
        intrinsics=str(tmp_path / "k.json"),
        rate=20.0,
    )
    wait_until(lambda: all(len(received[topic]) >= 2 for topic in STREAMS))
    ros.stop(camera)
    assert np.allclose(depth_image(received[DEPTH_TOPIC][0]), frame.depth, atol=1e-4)
    assert intrinsics_of(received[INFO_TOPIC][0]) == frame.intrinsics
    stamps = [{nanoseconds(m.header.stamp) for m in received[topic]} for topic in STREAMS]
    assert set.intersection(*stamps)


def test_a_folder_without_pairs_is_refused(ros, tmp_path):
    with pytest.raises(DropclipError, match="has no pair of"):
        ros.start(ImageFolderNode, folder=str(tmp_path))


@pytest.fixture(scope="module")
def matcher(ros, make_tabletop):
    """Proposals on a synthetic table, the matcher, and what was proposed first; all in the camera frame."""
    tabletop, proposed = make_tabletop(), []
    ros.node.create_subscription(GraspArray, GRASPS_TOPIC, proposed.append, 1)
    camera = FakeCamera(ros.node)
    proposer = ros.start(ProposalNode, reliable=True, max_rate=10.0, max_frame_age=300.0)
    ros.start(GraspMatcherNode, proposals_timeout=1.0, tf_timeout=0.3, ground_timeout=0.5, **AS_IN_A7)
    camera.wait_for(streams=("depth", "info"))
    header = camera.send({k: v for k, v in camera.messages(tabletop.frame).items() if k != "color"})
    wait_until(lambda: bool(proposed))
    ros.stop(proposer)
    client = ros.node.create_client(MatchGrasps, MATCH_SERVICE)

    def ask(**fields) -> MatchGrasps.Response:
        return ros.call(client, MatchGrasps.Request(**fields))

    return tabletop, camera, header, proposed[0], ask


def target(header: Header, centre: Point, frame_id: str = "", spread: float = 0.01):
    points = np.random.default_rng(0).normal([centre.x, centre.y, centre.z], spread, (60, 3))
    header = Header(stamp=header.stamp, frame_id=frame_id or header.frame_id)
    return cloud_message(header, points, np.zeros((60, 3)), np.ones(60))


def test_proposals_are_sound_and_above_the_table(matcher):
    tabletop, _, header, proposed, _ = matcher
    assert proposed.header == header and len(proposed.grasps) > 3
    grasps = grasps_from_message(proposed)
    assert len(grasps) == len(proposed.grasps)
    pose = tabletop.frame.camera_pose  # world_from_camera, the table at z = 0
    plane = np.append(pose[2, :3], pose[2, 3])
    assert (height_above(grasps, plane) > -0.01).all()


def test_the_nearest_grasps_are_matched_in_any_frame(matcher):
    tabletop, camera, header, proposed, ask = matcher
    best = proposed.grasps[0]
    answer = ask(cloud=target(header, best.tip.position), top_k=2)
    assert answer.status == Status.OK, answer.message
    distances = [g.tip_distance for g in answer.grasps.grasps]
    assert len(distances) == 2 and distances == sorted(distances) and distances[0] < 0.02
    camera.send_transform(header.stamp, "world", OPTICAL_FRAME, tabletop.frame.camera_pose)
    moved = ask(cloud=target(header, best.tip.position), top_k=2, target_frame="world")
    assert moved.status == Status.OK and moved.grasps.header.frame_id == "world"
    assert np.allclose([g.tip_distance for g in moved.grasps.grasps], distances, atol=1e-4)
    t, c = (g.grasps.grasps[0].tip.position for g in (moved, answer))
    assert np.allclose([t.x, t.y, t.z], (tabletop.frame.camera_pose @ [c.x, c.y, c.z, 1.0])[:3], atol=1e-4)


def test_the_matcher_says_what_is_wrong(matcher):
    _, camera, header, proposed, ask = matcher
    tip = proposed.grasps[0].tip.position
    far = Point(x=tip.x, y=tip.y, z=tip.z + 3.0)
    late = Header(stamp=time_message(nanoseconds(header.stamp) + 100 * 10**9), frame_id=header.frame_id)
    broken = target(header, tip)
    broken.width = 10**6
    doubled = target(header, tip)
    doubled.fields[0].count = 2
    away = np.eye(4)
    away[0, 3] = 1e300
    camera.send_transform(header.stamp, "far_away", OPTICAL_FRAME, away)
    cases = [
        ({}, Status.BAD_REQUEST),
        ({"cloud": broken}, Status.BAD_REQUEST),
        ({"cloud": doubled}, Status.BAD_REQUEST),
        ({"cloud": target(header, far)}, Status.NO_GRASPS),
        ({"cloud": target(header, tip), "target_frame": "far_away"}, Status.TF_ERROR),
        ({"cloud": target(header, tip), "target_frame": "nowhere"}, Status.TF_ERROR),
        ({"cloud": target(header, tip, "nowhere")}, Status.TF_ERROR),
        ({"cloud": target(late, tip)}, Status.STALE_FRAME),
        ({"query": "a mug"}, Status.TIMEOUT),
    ]
    for fields, expected in cases:
        answer = ask(**fields)
        assert answer.status == expected and answer.message, (expected, answer.message)


def test_a_bug_in_one_proposal_does_not_end_the_proposer(ros, make_tabletop, monkeypatch):
    def fail(*_, **__):
        monkeypatch.undo()
        raise RuntimeError("a bug")

    monkeypatch.setattr(proposal_node, "sample_antipodal", fail)
    proposed, camera = [], FakeCamera(ros.node)
    subscription = ros.node.create_subscription(GraspArray, GRASPS_TOPIC, proposed.append, 1)
    proposer = ros.start(ProposalNode, reliable=True, max_rate=10.0, max_frame_age=300.0)
    camera.wait_for(streams=("depth", "info"))
    frame = make_tabletop().frame
    camera.send(camera.messages(frame))
    wait_until(lambda: proposal_node.sample_antipodal is not fail)
    camera.send(camera.messages(frame))
    wait_until(lambda: bool(proposed))
    ros.stop(proposer)
    ros.node.destroy_subscription(subscription)


def test_requests_that_wait_for_others_are_all_answered(ros):
    node = ros.start(GroundingNode, model="/nowhere", frame_timeout=0.02)
    client = ros.node.create_client(Ground, GROUND_SERVICE)
    assert client.wait_for_service(60.0)
    futures = [client.call_async(Ground.Request(query=f"mug {i}")) for i in range(40)]
    wait_until(lambda: all(future.done() for future in futures))
    ros.stop(node)
    ros.node.destroy_client(client)
    assert {future.result().status for future in futures} == {Status.NO_FRAME}


def test_a_frame_from_the_future_is_refused(ros, make_tabletop):
    """Its transform would make TF drop all that comes after it."""
    node, camera = ros.start(GroundingNode, model="/nowhere", reliable=True), FakeCamera(ros.node)
    camera.wait_for()
    header = camera.send(camera.messages(make_tabletop(size=(64, 48)).frame, age=-1000.0))
    client = ros.node.create_client(Ground, GROUND_SERVICE)
    answers = [ros.call(client, Ground.Request(query="a mug", stamp=stamp)) for stamp in (header.stamp, Time())]
    ros.stop(node)
    ros.node.destroy_client(client)
    for answer in answers:
        assert answer.status == Status.BAD_FRAME and "ahead of this node's clock" in answer.message, answer.message


@pytest.fixture
def start(tmp_path, make_tabletop):
    """Starts nodes of the package as CMakeLists.txt installs them, with all that they need; kills what is left."""
    frame = make_tabletop(size=(64, 48)).frame
    write_bag(tmp_path / "bag", frame, [1000.0], False)
    PillowImage.fromarray(frame.rgb).save(tmp_path / "a_color.png")
    PillowImage.fromarray(np.round(frame.depth * 1e3).astype(np.uint16)).save(tmp_path / "a_depth.png")
    (tmp_path / "k.json").write_text(json.dumps(frame.intrinsics.to_dict()))
    program, processes = Path(__file__).resolve().parents[2] / "scripts/node", []

    def start(name: str, *parameters: str) -> subprocess.Popen:
        shutil.copy(program, tmp_path / name)
        words = [word.format(folder=tmp_path) for parameter in parameters for word in ("-p", parameter)]
        processes.append(
            subprocess.Popen(
                [sys.executable, str(tmp_path / name), "--ros-args", "-r", f"__node:=process_{name}", *words],
                env=dict(os.environ, PYTHONPATH=str(program.parents[1])),
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()


def wait_for_nodes(ros, *names: str) -> None:
    wait_until(lambda: {f"process_{name}" for name in names} <= set(ros.node.get_node_names()))


def assert_ends(process: subprocess.Popen, number: signal.Signals) -> None:
    """Soon (2 s where nothing else runs), with code 0, and without a word."""
    began = time.monotonic()
    process.send_signal(number)
    code = process.wait(20)
    seconds, said = time.monotonic() - began, process.stderr.read()
    assert code == 0 and "Traceback" not in said and "cannot start" not in said, said
    assert seconds < 6.0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_every_node_ends_at_once_and_well(ros, start, number):
    commands = {
        "bag_player": ["bag:={folder}/bag"],
        "grounding_node": ["model:=/nowhere"],
        "proposal_node": [],
        "image_folder_node": ["folder:={folder}", "intrinsics:={folder}/k.json"],
        "grasp_matcher_node": [],
    }
    processes = [start(name, *parameters) for name, parameters in commands.items()]
    wait_for_nodes(ros, *commands)
    for process in processes:
        assert_ends(process, number)


@pytest.mark.parametrize("state", ["loading", "waiting for a frame", "encoding"])
def test_a_signal_ends_grounding_whatever_it_does(ros, start, make_tabletop, model_folder, state):
    grounding = start(
        "grounding_node",
        f"model:={model_folder}",
        "reliable:=true",
        "device:=cpu",
        "frame_timeout:=60.0",
        "max_frame_age:=300.0",
    )
    wait_for_nodes(ros, "grounding_node")
    client = ros.node.create_client(Ground, GROUND_SERVICE)
    assert client.wait_for_service(60.0)
    if state == "waiting for a frame":
        client.call_async(Ground.Request(query="a mug"))
        time.sleep(0.5)
    if state == "encoding":
        camera = FakeCamera(ros.node)
        camera.wait_for()
        frame = make_tabletop(size=(640, 480)).frame
        for ask in (lambda request: ros.call(client, request), client.call_async):
            ask(Ground.Request(query="a mug", stamp=camera.send(camera.messages(frame)).stamp))
        time.sleep(0.1)
    assert_ends(grounding, signal.SIGINT)
    ros.node.destroy_client(client)


def test_a_signal_ends_the_proposer_and_the_matcher_at_work(ros, start, make_tabletop):
    """The one samples grasps, the other waits for an answer, and its own client for it."""
    proposer = start("proposal_node", "reliable:=true", "max_rate:=100.0", "max_frame_age:=300.0")
    matcher = start("grasp_matcher_node", "proposals_timeout:=60.0", "ground_timeout:=60.0")
    wait_for_nodes(ros, "proposal_node", "grasp_matcher_node")
    client, camera = ros.node.create_client(MatchGrasps, MATCH_SERVICE), FakeCamera(ros.node)
    assert client.wait_for_service(60.0)
    camera.wait_for(streams=("depth", "info"))
    header = camera.send(camera.messages(make_tabletop(size=(640, 480)).frame))
    late = Header(stamp=time_message(nanoseconds(header.stamp) + 100 * 10**9), frame_id=header.frame_id)
    client.call_async(MatchGrasps.Request(cloud=target(late, Point())))
    time.sleep(0.3)
    assert_ends(proposer, signal.SIGINT)
    assert_ends(matcher, signal.SIGTERM)
    ros.node.destroy_client(client)


@pytest.mark.parametrize("line, number", [("starting the nodes", signal.SIGTERM), ("loading the model", signal.SIGINT)])
def test_a_signal_ends_the_demo_and_its_nodes(tmp_path, line, number):
    demo = subprocess.Popen(
        [sys.executable, "-u", "-m", "dropclip_ros.nodes.demo", "--out", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for said in demo.stdout:
            if line in said:
                break
        wait_until(lambda: len(psutil.Process(demo.pid).children()) == 4)
        children = psutil.Process(demo.pid).children()
        assert_ends(demo, number)
        assert not any(child.is_running() for child in children)
    finally:
        demo.kill()


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["bag_player", "-p", "bag:=/nowhere"], "parameter bag"),
        (["image_folder_node", "-p", "depth_unit:=inch"], "expected one of"),
        (["proposal_node", "-p", "table.distance:=.nan"], "table.distance"),
    ],
    ids=str,
)
def test_a_bad_start_is_one_line_and_code_2(arguments, complaint):
    name, *rest = arguments
    ended = subprocess.run(
        [sys.executable, "-m", f"dropclip_ros.nodes.{name}", "--ros-args", *rest],
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert ended.returncode == 2 and complaint in ended.stderr and ended.stderr.count("\n") == 1, ended.stderr
