# SPDX-License-Identifier: Apache-2.0
"""Where `dropclip` takes frames from: files, several at once, bags and folders, without loading the model again."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dropclip_ros import __version__
from dropclip_ros.base.errors import DropclipError
from dropclip_ros.cli import COMMANDS, main
from dropclip_ros.commands import sources
from dropclip_ros.vision.bags import BagFrames
from dropclip_ros.vision.recordings import find_recordings, open_recording

DEMO = Path(__file__).resolve().parents[2] / "demo"
FRAME = DEMO / "frame"
FILES = ["--rgb", f"{FRAME}/color.jpg", "--depth", f"{FRAME}/depth.png", "--intrinsics", f"{FRAME}/k.json"]


def test_the_first_command_of_the_readme_finds_the_mug(capsys):
    assert main(["ground", "--frames", str(FRAME), "--query", "the red mug"]) == 0
    told = capsys.readouterr().out
    assert "OK: 1 found" in told and "grasp 1 of object 1: tip" in told


def test_several_frames_are_answered_with_one_model(capsys, monkeypatch, tmp_path):
    loads = []
    load = sources.Grounder.from_pretrained
    monkeypatch.setattr(sources.Grounder, "from_pretrained", lambda *a, **k: loads.append(1) or load(*a, **k))
    shutil.copy(FRAME / "color.jpg", tmp_path / "b_color.jpg")
    (tmp_path / "b.png").write_bytes(b"no image")
    rgb = ["--rgb", FILES[1], str(tmp_path / "b_color.jpg"), FILES[1]]
    depth = ["--depth", FILES[3], str(tmp_path / "b.png"), FILES[3]]
    out = tmp_path / "out"
    code = main(
        [
            "ground",
            *rgb,
            *depth,
            *FILES[4:],
            "--query",
            "the red mug",
            "--query",
            "a giraffe",
            "--json",
            "--out",
            str(out),
        ]
    )
    told = capsys.readouterr()
    answers = json.loads(told.out)
    assert code == 1 and len(loads) == 1 and len(answers) == 6  # three frames, two phrases
    assert [a["status"] for a in answers] == ["OK", "NOT_FOUND", "BAD_FRAME", "BAD_FRAME", "OK", "NOT_FOUND"]
    assert [a["source"] for a in answers[::2]] == rgb[1:] and "b_color.jpg: BAD_FRAME" in told.err
    assert len({Path(a["instances"][0]["mask"]).parent for a in (answers[0], answers[4])}) == 2


def test_bags_and_folders_are_frames(capsys, tmp_path):
    pytest.importorskip("rosbags", reason="rosbags is not installed (extra `ros`)")
    assert main(["ground", "--bag", str(DEMO / "tabletop"), str(DEMO / "tabletop"), "--query", "mug", "--json"]) == 0
    one, two = json.loads(capsys.readouterr().out)
    assert one["instances"][0]["points"] == two["instances"][0]["points"] > 0
    assert main(["ground", "--bag", str(tmp_path), "--query", "mug"]) == 1
    assert main(["ground", "--frames", str(tmp_path), "--query", "mug"]) == 1
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 2 and "rosbag2" in error[0] and "NAME_color.png" in error[1]


def test_the_frames_of_a_bag_are_pairs_of_one_moment(tmp_path):
    pytest.importorskip("rosbags", reason="rosbags is not installed (extra `ros`)")
    frames = BagFrames(DEMO / "tabletop")
    assert len(frames) == 2 and frames[0].stamp < frames[1].stamp
    assert frames[0].rgb.shape == (480, 640, 3) and 0.3 < np.median(frames[0].depth[frames[0].depth > 0]) < 3
    with pytest.raises(DropclipError, match="no topic of a colour image"):
        frames._one([], "/camera/color/image_raw", "a colour image")
    with pytest.raises(DropclipError, match="several topics"):
        frames._one(["/a/image_raw", "/b/image_raw"], "/camera/color/image_raw", "a colour image")
    assert frames._one(["/a/image_raw", "/a/image_raw/compressed"], "/x", "colour") == "/a/image_raw"


def test_bags_of_other_cameras_are_read(tmp_path):
    rosbag = pytest.importorskip("rosbags.rosbag2", reason="rosbags is not installed (extra `ros`)")
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    kinds = store.types
    time = kinds["builtin_interfaces/msg/Time"]
    header = kinds["std_msgs/msg/Header"]

    def image(stamp: int, encoding: str, pixels: np.ndarray, padding: int = 0):
        rows = np.pad(pixels.reshape(len(pixels), -1).view(np.uint8), ((0, 0), (0, padding)))
        return kinds["sensor_msgs/msg/Image"](
            header(time(*divmod(stamp, 10**9)), "eye"), *pixels.shape[:2], encoding, 0, rows.shape[1], rows.ravel()
        )

    bgr = np.zeros((4, 6, 3), np.uint8)
    bgr[..., 0] = 200  # blue
    depth = np.full((4, 6), 0.75, np.float32)
    info = kinds["sensor_msgs/msg/CameraInfo"](
        header(time(0, 0), "eye"),
        4,
        6,
        "plumb_bob",
        np.zeros(5),
        np.array([5.0, 0, 3, 0, 5, 2, 0, 0, 1]),
        np.eye(3).ravel(),
        np.zeros(12),
        0,
        0,
        kinds["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False),
    )
    with rosbag.Writer(tmp_path / "bag", version=9) as writer:
        topics = {
            "/eye/rgb/image_rect": "sensor_msgs/msg/Image",
            "/eye/depth/depth_registered": "sensor_msgs/msg/Image",
            "/eye/rgb/camera_info": "sensor_msgs/msg/CameraInfo",
        }
        to = {name: writer.add_connection(name, kind, typestore=store) for name, kind in topics.items()}
        for second, (name, message) in enumerate(
            [
                ("/eye/rgb/camera_info", info),
                ("/eye/rgb/image_rect", image(10**9, "bgr8", bgr, padding=2)),
                ("/eye/depth/depth_registered", image(10**9 + 10**7, "32FC1", depth)),
                ("/eye/depth/depth_registered", image(3 * 10**9, "32FC1", depth)),  # without a colour image
            ]
        ):
            writer.write(to[name], second, store.serialize_cdr(message, topics[name]))
    frames = BagFrames(tmp_path / "bag")
    assert len(frames) == 1
    assert (frames[0].rgb == (0, 0, 200)).all() and (frames[0].depth == np.float32(0.75)).all()


def test_recordings_are_found_newest_first(tmp_path):
    assert {path.name for path in find_recordings(DEMO)} == {"frame", "tabletop"}
    assert len(open_recording(FRAME)) == 1 and list(find_recordings(tmp_path)) == []


@pytest.mark.parametrize(
    "options, words",
    [
        (["--frames", str(FRAME), *FILES], "--frames needs no frame"),
        (["--bag", "a", "--cloud", "b"], "--cloud needs no frame"),
        (["--rgb", "a", "b", "--depth", "c", "--intrinsics", "k"], "expected one depth for each"),
        ([], "expected --rgb, --depth and --intrinsics"),
    ],
)
def test_frames_that_contradict_each_other_are_refused(options, words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["ground", *options, "--query", "mug"])
    assert ended.value.code == 2 and words in capsys.readouterr().err


def test_version_and_help_import_no_torch():
    check = (
        "import sys; from dropclip_ros.cli import main\ntry: main([{!r}])\nfinally: assert 'torch' not in sys.modules"
    )
    for word in ("--version", "--help"):
        ended = subprocess.run([sys.executable, "-c", check.format(word)], capture_output=True, text=True)
        assert ended.returncode == 0 and "AssertionError" not in ended.stderr, ended.stderr
        if word == "--version":
            assert ended.stdout == f"dropclip {__version__}\n"
        else:
            assert all(name in ended.stdout for name in COMMANDS)


def test_a_cold_call_imports_neither_open_clip_nor_transformers_nor_a_compiler():
    """What made it slow; seconds depend on the machine."""
    names = [
        "open_clip",
        "transformers",
        "timm",
        "torchvision",
        "torch._dynamo",
        "dash",
        "plotly",
        "scipy.stats",
        "matplotlib",
    ]
    check = (
        "import sys; from dropclip_ros.cli import main\n"
        f"assert main(['ground', '--frames', {str(FRAME)!r}, '--query', 'the red mug', '--json']) == 0\n"
        f"print(sorted(set(sys.modules) & set({names!r})), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert ended.returncode == 0 and ended.stderr.splitlines()[-1] == "[]", ended.stderr
