# SPDX-License-Identifier: Apache-2.0
"""Bad input at running nodes: a status, words that say what to do, and a good request that is still answered."""

import array
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from builtin_interfaces.msg import Time
from PIL import Image as PillowImage
from rcl_interfaces.srv import SetParameters
from rclpy.exceptions import ParameterException
from rclpy.parameter import Parameter
from ros_support import AS_IN_A7, OPTICAL_FRAME, FakeCamera, model_folder, ros, wait_until  # noqa: F401
from safetensors.torch import load_file, save_file
from std_msgs.msg import Header

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.files import sha256_of
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.msg import GraspArray
from dropclip_ros.networks.encoder import EncoderConfig, MinkUNet14D
from dropclip_ros.networks.model_folder import CONFIG, ENCODER, ModelConfig, save_model
from dropclip_ros.nodes.bag_player import BagPlayer
from dropclip_ros.nodes.grasp_matcher_node import GraspMatcherNode
from dropclip_ros.nodes.grounding_node import GroundingNode
from dropclip_ros.nodes.image_folder_node import ImageFolderNode
from dropclip_ros.ros.common import (
    COLOR_TOPIC,
    DEPTH_TOPIC,
    GRASPS_TOPIC,
    GROUND_SERVICE,
    INFO_TOPIC,
    MATCH_SERVICE,
)
from dropclip_ros.ros.grasp_messages import grasp_array_message
from dropclip_ros.ros.messages import cloud_message, image_message
from dropclip_ros.srv import Ground, MatchGrasps

BAG = Path(__file__).resolve().parents[2] / "demo" / "tabletop"
R = Status
ANYTHING = 0.01  # a threshold that everything passes with random weights
CUSTOM = Ground.Request.NEGATIVES_CUSTOM


@dataclass
class Setup:
    """A grounding node that serves, its camera, the frame it shows when all is well, and a client."""

    camera: FakeCamera
    node: GroundingNode
    good: object
    call: Callable[[Ground.Request], Ground.Response]

    def ask(self, query: str = "the red boxes", threshold: float = ANYTHING, **fields) -> Ground.Response:
        return self.call(Ground.Request(query=query, threshold=threshold, **fields))

    def show(self, messages: dict, **fields) -> Ground.Response:
        """Sends a frame and asks about it, by its stamp: the node waits until it is there."""
        self.camera.send(messages)
        return self.ask(stamp=messages["color"].header.stamp, **fields)

    def set(self, **values) -> None:
        assert all(r.successful for r in self.node.set_parameters([Parameter(k, value=v) for k, v in values.items()]))

    def still_serves(self) -> None:
        """A new good frame gets its answer."""
        answer = self.show(self.camera.messages(self.good))
        assert answer.status == R.OK and answer.objects, answer.message


@pytest.fixture(scope="module")
def setup(ros, model_folder, make_tabletop):
    camera = FakeCamera(ros.node)
    node = ros.start(
        GroundingNode,
        model=str(model_folder),
        device="cpu",
        reliable=True,
        frame_timeout=0.2,
        tf_timeout=0.1,
        max_frame_age=300.0,
    )
    camera.wait_for()
    client = ros.node.create_client(Ground, GROUND_SERVICE)
    setup = Setup(camera, node, make_tabletop().frame, lambda request: ros.call(client, request))
    answer = setup.ask()
    assert answer.status == R.NO_FRAME and COLOR_TOPIC in answer.message and "is the camera running" in answer.message
    setup.set(frame_timeout=10.0)
    return setup


def says(answer, status: Status, words: str) -> None:
    assert answer.status == status and words in answer.message, (Status(answer.status).name, answer.message)
    assert "\n" not in answer.message and not answer.objects


def test_a_good_frame_after_none(setup):
    """The fixture asked before any frame."""
    setup.still_serves()


REQUESTS = {
    "empty": ({"query": ""}, "the query is empty; name the object"),
    "blank": ({"query": " \t\n"}, "the query is empty"),
    "invisible": ({"query": "\u200b\u200d\ufeff"}, "the query is empty"),
    "private use": ({"query": "\ue000"}, "the query is empty"),
    "10,000 characters": ({"query": "m" * 10_000}, "10000 characters, at most 256"),
    "bell": ({"query": "mug\x07"}, "control character U+0007"),
    "two lines": ({"query": "a mug\na cup"}, "control character U+000A"),
    "threshold 1": ({"threshold": 1.0}, "expected a number in (0, 1)"),
    "threshold below 0": ({"threshold": -0.1}, "expected a number in (0, 1)"),
    "threshold NaN": ({"threshold": float("nan")}, "expected a number in (0, 1)"),
    "threshold inf": ({"threshold": float("inf")}, "expected a number in (0, 1)"),
    "unknown mode": ({"negatives_mode": 99}, "negatives_mode is 99"),
    "1,000 negatives": (
        {"negatives": [f"x{i}" for i in range(1000)], "negatives_mode": CUSTOM},
        "1000 negatives: expected at most 256",
    ),
    "an empty negative": ({"negatives": ["a cup", ""], "negatives_mode": CUSTOM}, "negative 2 is empty"),
    "a negative with NUL": ({"negatives": ["a cup", "b\x01"]}, "negative 2 holds the control character U+0001"),
    "a long negative": ({"negatives": ["m" * 10_000]}, "negative 1 has 10000 characters"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_bad_requests(setup, name):
    fields, words = REQUESTS[name]
    setup.still_serves()
    says(setup.ask(**fields), Status.BAD_REQUEST, words)
    assert setup.ask().status == R.OK


@pytest.mark.parametrize(
    "fields",
    [
        {"query": "red\u200b mug"},
        {"query": "\u202egum der"},
        {"query": "كوب أحمر ☕"},
        {"query": "a" + "\u0301" * 200},
        {"query": "???"},
        {"threshold": 1e-45},
        {"threshold": -0.0},
        {"query": "mug", "negatives": ["Mug", "mug "]},
        {"negatives": ["x"] * 256, "negatives_mode": CUSTOM},
    ],
    ids=ascii,
)
def test_odd_requests_that_are_no_errors(setup, fields):
    setup.still_serves()
    assert setup.ask(**fields).status in (R.OK, R.NOT_FOUND, R.AMBIGUOUS, R.UNSUPPORTED)  # the last: not English


def color(**fields) -> Callable:
    return lambda messages, _: [setattr(messages["color"], *pair) for pair in fields.items()]


def info(**fields) -> Callable:
    return lambda messages, _: [setattr(messages["info"], *pair) for pair in fields.items()]


def k(**values) -> Callable:
    def change(messages, _):
        matrix = dict(zip(("fx", "skew", "cx", "_", "fy", "cy"), messages["info"].k, strict=False)) | values
        messages["info"].k = np.array([*matrix.values(), 0, 0, 1])

    return change


def depth(make: Callable[[np.ndarray], np.ndarray]) -> Callable:
    """The depth image made from the good one, float32 in metres."""

    def change(messages, good):
        image = make(good.depth.copy())
        encoding = "32FC1" if image.dtype.kind == "f" else "16UC1"
        messages["depth"] = image_message(messages["depth"].header, image, encoding)

    return change


def as_color(pixels: np.ndarray, encoding: str) -> Callable:
    def change(messages, _):
        messages["color"] = image_message(messages["color"].header, pixels, encoding)

    return change


def truncate_depth(messages, _) -> None:
    messages["depth"].data = messages["depth"].data[:-1]


def swap(messages, _) -> None:
    messages["color"], messages["depth"] = messages["depth"], messages["color"]


def one_row(messages, _) -> None:
    header = messages["color"].header
    messages |= {
        "color": image_message(header, np.zeros((1, 1280, 3), np.uint8), "rgb8"),
        "depth": image_message(header, np.full((1, 1280), 0.8), "32FC1"),
    }
    messages["info"].width, messages["info"].height = 1280, 1
    messages["info"].k = np.array([1000.0, 0, 640, 0, 50, 0, 0, 0, 1])


def full(value: float, dtype=np.float32) -> Callable:
    return depth(lambda good: np.full_like(good, value, dtype))


NO_BYTES = array.array("B")
HUGE = 2**32 - 1
FRAMES = {
    "colour encoding": (color(encoding="bayer_rggb8"), "BAD_FRAME", "the colour image has encoding 'bayer_rggb8'"),
    "encoding with a bell": (color(encoding="rgb8\x07"), "BAD_FRAME", r"encoding 'rgb8\x07'"),
    "no encoding": (color(encoding=""), "BAD_FRAME", "publish one of rgb8"),
    "topics swapped": (swap, "BAD_FRAME", "topic swapped?"),
    "colour of NaN": (as_color(np.full((240, 320), np.nan), "32FC1"), "BAD_FRAME", "the colour image has encoding"),
    "colour cut short": (color(data=array.array("B", b"12345")), "BAD_FRAME", "the colour image is truncated"),
    "colour without data": (color(data=NO_BYTES), "BAD_FRAME", "the colour image is truncated"),
    "depth cut short": (truncate_depth, "BAD_FRAME", "the depth image is truncated"),
    "step too large": (color(step=HUGE), "BAD_FRAME", "is truncated"),
    "step 0": (color(step=0), "BAD_FRAME", "rows (step) of 0 bytes"),
    "width of 4 billion": (color(width=HUGE), "BAD_FRAME", "4294967295 pixels"),
    "height of 4 billion": (color(height=HUGE), "BAD_FRAME", "is truncated"),
    "0x0": (color(width=0, height=0, step=0, data=NO_BYTES), "BAD_FRAME", "is empty (0x0)"),
    "depth of another shape": (depth(lambda d: d[:50]), "BAD_FRAME", "Use the depth aligned to colour"),
    "K of zeros": (info(k=np.zeros(9)), "BAD_FRAME", "not calibrated"),
    "K of NaN": (info(k=np.full(9, np.nan)), "BAD_FRAME", "fx is nan"),
    "fx negative": (k(fx=-100.0), "BAD_FRAME", "fx is -100.0"),
    "fy 0": (k(fy=0.0), "BAD_FRAME", "fy is 0.0"),
    "K of unit images": (k(fx=0.85, fy=1.1, cx=0.5, cy=0.5), "BAD_FRAME", "All are in pixels"),
    "fx tiny": (k(fx=1e-30, fy=1e-30), "BAD_FRAME", "check the calibration"),
    "fx huge": (k(fx=1e300), "BAD_FRAME", "check the calibration"),
    "cx far away": (k(cx=1e6), "BAD_FRAME", "check the calibration"),
    "skew": (k(skew=5.0), "BAD_FRAME", "skew 5.0"),
    "K without a size": (info(width=0, height=0), "BAD_FRAME", "width is 0"),
    "K of another shape": (info(width=400), "BAD_FRAME", "another aspect ratio"),
    "distortion of NaN": (info(d=[float("nan")] * 5), "BAD_FRAME", "finite numbers"),
    "fisheye": (info(d=[0.1] * 4, distortion_model="equidistant"), "BAD_FRAME", "Use the rectified image"),
    "depth of zeros": (full(0, np.uint16), "BAD_FRAME", "all are unknown"),
    "depth of NaN": (full(np.nan), "BAD_FRAME", "all are unknown"),
    "depth of inf": (full(np.inf), "BAD_FRAME", "all are unknown"),
    "depth negative": (depth(lambda d: -d), "BAD_FRAME", "all are unknown"),
    "depth saturated": (full(65535, np.uint16), "BAD_FRAME", "median is 65.5 m"),
    "mm called m": (depth(lambda d: d * 1000), "BAD_FRAME", "is the unit right"),
    "m called mm": (depth(lambda d: d.astype(np.uint16)), "BAD_FRAME", "a depth between 0.1 and 3 m"),
    "two pixels": (
        depth(lambda d: np.where(np.arange(d.size).reshape(d.shape) < 2, np.float32(0.8), 0)),
        "NO_TABLE",
        "among 2 points",
    ),
    "one row": (one_row, "EMPTY_SCENE", "only 0 points"),
    "nothing but a plane": (full(0.8), "EMPTY_SCENE", "is something on it"),
}


@pytest.mark.parametrize("name", FRAMES)
def test_bad_frames(setup, name):
    mutate, status, words = FRAMES[name]
    messages = setup.camera.messages(setup.good)
    mutate(messages, setup.good)
    says(setup.show(messages), Status[status], words)
    setup.still_serves()


def test_depth_with_holes_of_nan_is_good_enough(setup):
    messages = setup.camera.messages(setup.good)
    depth(lambda d: np.where(np.arange(d.size).reshape(d.shape) % 7, d, np.float32(np.nan)))(messages, setup.good)
    assert setup.show(messages).status == R.OK


def test_an_empty_table_and_two_points_on_it(setup, make_tabletop):
    bare = make_tabletop(boxes=(), spheres=()).frame
    says(setup.show(setup.camera.messages(bare)), Status.EMPTY_SCENE, "only 0 points stand on the table")
    bare.depth[120, 160:162] -= 0.08
    says(setup.show(setup.camera.messages(bare)), Status.EMPTY_SCENE, "only 2 points stand on the table")
    setup.still_serves()


@pytest.mark.parametrize("size", [(400, 300), (200, 200)], ids=str)
def test_a_camera_that_restarts_with_another_resolution(setup, make_tabletop, size):
    setup.still_serves()
    assert setup.show(setup.camera.messages(make_tabletop(size=size).frame)).status == R.OK
    setup.still_serves()


def test_a_clock_that_jumps(setup):
    """Stamps that go back are frames like others; those from the future are refused."""
    setup.still_serves()
    assert setup.show(setup.camera.messages(setup.good, age=60.0)).status == R.OK
    says(setup.show(setup.camera.messages(setup.good, age=-900.0)), Status.BAD_FRAME, "set the camera's clock")
    setup.still_serves()


def test_a_stale_frame_and_stamps_that_are_gone_or_to_come(setup):
    setup.still_serves()
    setup.set(frame_timeout=0.1, max_frame_age=1e-3)
    stale = setup.ask()
    setup.set(max_frame_age=300.0)
    gone, to_come = (setup.ask(stamp=Time(sec=sec)) for sec in (-5, 2**31 - 1))
    setup.set(frame_timeout=10.0)
    says(stale, Status.STALE_FRAME, "has the camera stopped, or another clock?")
    says(gone, Status.STALE_FRAME, "ask sooner, or for stamp 0")
    says(to_come, Status.NO_FRAME, "2147483647.000 s was asked for")
    setup.still_serves()


def test_frames_that_tf_does_not_know(setup):
    setup.still_serves()
    for frame in ("nowhere", " ", "a\x07\n"):
        says(setup.ask(target_frame=frame), Status.TF_ERROR, f"{frame!r} does not exist")
    old = setup.camera.messages(setup.good, age=100.0)["info"].header.stamp
    setup.camera.send_transform(old, "old_world", OPTICAL_FRAME, np.eye(4))
    wait_until(lambda: "is known from" in setup.ask(target_frame="old_world").message)
    says(setup.ask(target_frame="old_world"), Status.TF_ERROR, "is somebody publishing it, with the camera's clock?")
    setup.set(world_frame="nowhere")
    answer = setup.ask()
    setup.set(world_frame="")
    says(answer, Status.TF_ERROR, "'nowhere' does not exist")
    setup.still_serves()


def raising(error: Exception) -> Callable:
    def encoder(*_):
        raise error

    return encoder


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nSee"), "cpu ran out of memory"),
        (RuntimeError("CUDA error: an illegal memory access"), "internal error, please report it: RuntimeError; this"),
    ],
)
@pytest.mark.parametrize("part", ["encoder", "text"])
def test_a_model_that_fails(setup, monkeypatch, error, words, part):
    setup.still_serves()
    with monkeypatch.context() as patch:
        if part == "encoder":
            patch.setattr(setup.node._grounder, "_features", raising(error))
        else:
            patch.setattr(setup.node._grounder.text, "_embed", raising(error))
        answer = setup.show(setup.camera.messages(setup.good), query=f"the {type(error).__name__.lower()} {part}")
    says(answer, Status.MODEL_ERROR, words)
    setup.still_serves()


NONSENSE = {
    "threshold": [float("nan"), 7.0, "high"],
    "negatives_mode": ["sideways"],
    "depth_unit": ["furlong"],
    "table.distance": [-1.0, 50.0, float("nan")],
    "table.iterations": [0],
    "tf_timeout": [float("inf")],
    "scene_negatives": [["a cup", "\x07"], ["m" * 10_000]],
    "device": ["banana", "cuda:x", ""],
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_parameters(ros, setup, name):
    """Refused while the node runs, and at its start, which `run` ends with one line and exit code 2."""
    client = ros.node.create_client(SetParameters, "grounding_node/set_parameters")
    for value in NONSENSE[name]:
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        result = ros.call(client, request).results[0]
        assert not result.successful and (name in result.reason or "type" in result.reason), (value, result.reason)
        with pytest.raises(ParameterException, match=name):
            ros.start(GroundingNode, **{name: value})
    setup.still_serves()


def test_a_start_with_nonsense_is_one_line_and_code_2():
    ended = subprocess.run(
        [sys.executable, "-m", "dropclip_ros.nodes.grounding_node", "--ros-args", "-p", "device:=banana"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1, ended.stderr
    assert "device is 'banana': expected auto, cpu, cuda or cuda:N" in ended.stderr


def change_config(change: Callable[[dict], object]) -> Callable:
    def apply(folder):
        data = json.loads((folder / CONFIG).read_text())
        change(data)
        (folder / CONFIG).write_text(json.dumps(data))

    return apply


def cut_short(folder) -> None:
    os.truncate(folder / ENCODER, (folder / ENCODER).stat().st_size - 100)


def another_shape(folder) -> None:
    state = load_file(folder / ENCODER)
    save_file(state | {"final.bias": torch.zeros(1, 9)}, folder / ENCODER)
    change_config(lambda data: data["sha256"].update({ENCODER: sha256_of(folder / ENCODER)}))(folder)


def another_text_space(folder) -> None:
    config = EncoderConfig(out_channels=9, stem=8, planes=(8,) * 8)
    save_model(folder, MinkUNet14D(config), ModelConfig("random", encoder=config))


MODELS = {
    "missing folder": (shutil.rmtree, "no model at"),
    "missing weights": (lambda folder: (folder / ENCODER).unlink(), "cannot read the model file"),
    "truncated": (cut_short, "fetch the model again"),
    "another hash": (change_config(lambda data: data["sha256"].update({ENCODER: "0" * 64})), "expected 000000"),
    "another shape": (another_shape, "final.bias has shape (1, 9)"),
    "another text space": (another_text_space, "features have 9 channels and phrases"),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_that_cannot_be_used(ros, setup, model_folder, tmp_path, name):
    """The node serves and says so; put right, it answers without being started again."""
    spoil, words = MODELS[name]
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    spoil(folder)
    remaps = [word for topic in (COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC) for word in ("-r", f"{topic}:=/{topic}")]
    node = ros.start(
        GroundingNode,
        {"namespace": "elsewhere", "cli_args": ["--ros-args", *remaps]},
        model=str(folder),
        device="cpu",
        reliable=True,
        frame_timeout=10.0,
        max_frame_age=300.0,
    )
    client = ros.node.create_client(Ground, f"elsewhere/{GROUND_SERVICE}")
    setup.camera.wait_for(2)
    setup.still_serves()
    says(ros.call(client, Ground.Request(query="a mug")), Status.MODEL_ERROR, words)
    shutil.copytree(model_folder, folder, dirs_exist_ok=True)
    assert ros.call(client, Ground.Request(query="a mug", threshold=ANYTHING)).status == R.OK
    ros.node.destroy_client(client)
    ros.stop(node)


def test_a_missing_model_is_told_at_the_start(tmp_path):
    """What somebody sees who starts the program: the error, at once, not only when asked."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "dropclip_ros.nodes.grounding_node",
            "--ros-args",
            "-p",
            f"model:={tmp_path}",
            "-r",
            "__ns:=/without_model",
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = next(line for line in process.stderr if "ERROR" in line)
        assert "MODEL_ERROR: no model at" in line and "give a model folder" in line
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    finally:
        process.kill()


LEAVER = """
import os, rclpy
from dropclip_ros.srv import Ground
rclpy.init()
node = rclpy.create_node("leaver")
client = node.create_client(Ground, "ground")
assert client.wait_for_service(60.0)
client.call_async(Ground.Request(query="a spoon"))
print("asked", flush=True)
import time; time.sleep(60)
"""


def test_clients_that_leave_before_the_answer(ros, setup, monkeypatch):
    """One goes in good order, one is killed; then two ask at once."""
    setup.still_serves()
    asked, may_answer = threading.Event(), threading.Event()
    grounder = setup.node._grounder
    ground = grounder.ground

    def held(*args, **fields):
        asked.set()
        may_answer.wait(60)
        return ground(*args, **fields)

    monkeypatch.setattr(grounder, "ground", held)
    killed = subprocess.Popen([sys.executable, "-c", LEAVER], stdout=subprocess.PIPE)
    try:
        assert asked.wait(120)
    finally:
        killed.kill()
        killed.wait()
    leaver = ros.node.create_client(Ground, GROUND_SERVICE)
    assert leaver.wait_for_service(60.0)
    leaver.call_async(Ground.Request(query="a spoon"))
    time.sleep(0.2)
    ros.node.destroy_client(leaver)
    may_answer.set()
    clients = [ros.node.create_client(Ground, GROUND_SERVICE) for _ in range(2)]
    assert all(c.wait_for_service(60.0) for c in clients)
    futures = [c.call_async(Ground.Request(query="a spoon", threshold=ANYTHING)) for c in clients]
    wait_until(lambda: all(f.done() for f in futures))
    assert [f.result().status for f in futures] == [R.OK, R.OK]
    setup.still_serves()


# --- proposals ----------------------------------------------------------------------------------------------

CENTRE = np.array([0.1, 0.0, 0.8])


@pytest.fixture(scope="module")
def match(ros):
    """Publishes proposals and asks for those near a target at CENTRE in the camera frame."""
    ros.start(GraspMatcherNode, tf_timeout=0.1, proposals_timeout=0.1, max_stamp_difference=60.0, **AS_IN_A7)
    client = ros.node.create_client(MatchGrasps, MATCH_SERVICE)
    publisher = ros.node.create_publisher(GraspArray, GRASPS_TOPIC, 1)
    wait_until(lambda: publisher.get_subscription_count() == 1)
    target = np.random.default_rng(0).normal(CENTRE, 0.01, (60, 3))

    def match(change: Callable[[GraspArray], object] = lambda msg: None, words: str = "") -> MatchGrasps.Response:
        header = Header(stamp=ros.node.get_clock().now().to_msg(), frame_id=OPTICAL_FRAME)
        rows = np.zeros((3, 17))
        rows[:, :4], rows[:, 4:13], rows[:, 13:16] = (0.5, 0.08, 0.02, 0.0), np.eye(3).ravel(), CENTRE
        msg = grasp_array_message(deepcopy(header), Grasps.from_rows(rows))
        change(msg)
        publisher.publish(msg)
        request = MatchGrasps.Request(cloud=cloud_message(header, target, np.zeros((60, 3)), np.ones(60)))
        answers = []
        # the answer may still be about what was published before
        with suppress(AssertionError):
            wait_until(lambda: answers.append(ros.call(client, request)) or words in answers[-1].message, 10.0)
        return answers[-1]

    return match


def each(change: Callable) -> Callable:
    return lambda msg: [change(grasp) for grasp in msg.grasps]


PROPOSALS = {
    "none": (lambda msg: setattr(msg, "grasps", []), Status.NO_GRASPS, "there are no grasp proposals"),
    "NaN places": (each(lambda g: setattr(g.pose.position, "x", float("nan"))), Status.NO_GRASPS, "all 3 proposals"),
    "infinite widths": (each(lambda g: setattr(g, "width", float("inf"))), Status.NO_GRASPS, "all 3 proposals"),
    "not orthonormal": (each(lambda g: setattr(g.pose.orientation, "w", 5.0)), Status.NO_GRASPS, "mend the proposer"),
    "quaternions of 0": (each(lambda g: setattr(g.pose.orientation, "w", 0.0)), Status.NO_GRASPS, "all 3 proposals"),
    "in an unknown frame": (lambda msg: setattr(msg.header, "frame_id", "elsewhere"), Status.TF_ERROR, "'elsewhere'"),
    "in no frame": (lambda msg: setattr(msg.header, "frame_id", ""), Status.TF_ERROR, "''"),
    "too far": (each(lambda g: setattr(g.pose.position, "z", 1e200)), Status.NO_GRASPS, "Are both in the same frame?"),
}


@pytest.mark.parametrize("name", PROPOSALS)
def test_bad_proposals(match, name):
    change, status, words = PROPOSALS[name]
    answer = match(change, words)
    assert answer.status == status and words in answer.message and not answer.grasps.grasps, answer.message
    good = match(words="3 of 3")
    assert good.status == Status.OK and len(good.grasps.grasps) == 3


def test_a_bad_proposal_among_good_ones_is_left_out(match):
    answer = match(lambda msg: setattr(msg.grasps[1].pose.position, "x", float("nan")), "2 of 2")
    assert answer.status == Status.OK and len(answer.grasps.grasps) == 2


# --- cameras made of files ----------------------------------------------------------------------------------


def test_a_bag_that_is_damaged_in_the_middle_is_told(ros, tmp_path, capfd):
    shutil.copytree(BAG, tmp_path / "bag")
    with sqlite3.connect(next((tmp_path / "bag").glob("*.db3"))) as database:
        database.execute("UPDATE messages SET data = x'0001' WHERE id = (SELECT MAX(id) FROM messages)")
    player = ros.start(BagPlayer, bag=str(tmp_path / "bag"))
    wait_until(lambda: not player._player.is_alive())
    assert "it is damaged" in capfd.readouterr().err
    ros.stop(player)


def test_a_folder_of_images_needs_intrinsics(ros, tmp_path, make_tabletop):
    PillowImage.fromarray(make_tabletop(size=(64, 48)).frame.rgb).save(tmp_path / "a_color.png")
    shutil.copy(tmp_path / "a_color.png", tmp_path / "a_depth.png")
    with pytest.raises(DropclipError, match="parameter intrinsics is not set"):
        ros.start(ImageFolderNode, folder=str(tmp_path))
