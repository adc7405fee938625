# SPDX-License-Identifier: Apache-2.0
"""The command `dropclip`: what it prints and writes on the recorded tabletop, and one line for every bad input."""

import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from dropclip_ros import cli
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.cli import main
from dropclip_ros.commands import sources
from dropclip_ros.grasping.grippers import FOLDER
from dropclip_ros.grounding.pipeline import MODEL_FOLDER
from dropclip_ros.networks.model_folder import CONFIG, ENCODER
from dropclip_ros.vision.bags import load_bag_frame

BAG = Path(__file__).resolve().parents[2] / "demo" / "tabletop"


@pytest.fixture(scope="module")
def frame():
    pytest.importorskip("rosbags", reason="rosbags is not installed (extra `ros`)")
    return load_bag_frame(BAG)


@pytest.fixture
def files(tmp_path, frame):
    Image.fromarray(frame.rgb).save(tmp_path / "a.png")
    Image.fromarray(np.round(1000 * frame.depth).astype(np.uint16)).save(tmp_path / "b.png")
    (tmp_path / "k.json").write_text(json.dumps(frame.intrinsics.to_dict()))
    return ["--rgb", f"{tmp_path}/a.png", "--depth", f"{tmp_path}/b.png", "--intrinsics", f"{tmp_path}/k.json"]


def test_ground_command_prints_what_the_readme_says(files, tmp_path, capsys):
    queries = ["--query", "the red mug", "--query", "a giraffe", "--query", ""]
    code = main(["ground", *files, *queries, "--json", "--out", str(tmp_path / "out")])
    mug, giraffe, empty = json.loads(capsys.readouterr().out)
    assert code == 1  # the empty phrase
    assert (mug["status"], giraffe["status"], empty["status"]) == ("OK", "NOT_FOUND", "BAD_REQUEST")
    best = mug["instances"][0]
    mask = np.asarray(Image.open(best["mask"]))
    assert mask.dtype == np.uint8 and mask.shape == (480, 640) and (mask > 0).sum() == best["points"]
    assert len(best["centre"]) == len(best["size"]) == 3 and 0 < best["score"] <= 1
    assert all(np.array(grasp["pose"]).shape == (4, 4) for grasp in mug["grasps"]) and mug["grasps"]
    assert {"backproject", "table", "voxels", "encoder", "text", "similarity"} <= set(mug["timing_ms"])
    assert giraffe["instances"] == [] and giraffe["grasps"] == []
    assert len(list((tmp_path / "out").glob("*.ply"))) == 2


def test_masks_are_named_by_their_query_and_those_of_an_earlier_run_go(files, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    for stale in ("00_the_red_mug_0.png", "00_the_red_mug_7.png", "00_the_red_mug_left.png"):
        (out / stale).write_bytes(b"of an earlier run")
    for query in ("a hammer", "the red mug"):
        assert main(["ground", *files, "--query", query, "--json", "--out", str(out)]) == 0
        masks = [instance["mask"] for instance in json.loads(capsys.readouterr().out)[0]["instances"]]
        assert masks == [str(out / f"00_{query.replace(' ', '_')}_{k}.png") for k in range(len(masks))]
    assert not (out / "00_the_red_mug_7.png").exists() and (out / "00_the_red_mug_left.png").exists()
    assert np.asarray(Image.open(out / "00_the_red_mug_0.png")).shape == (480, 640)


def test_a_class_that_is_named_twice_is_one(files, capsys):
    counts = []
    for classes in ("mug,mug,banana, mug", "mug,banana"):
        assert main(["segment", *files, "--classes", classes, "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer["legend"] == {"1": "mug", "2": "banana"}
        counts.append(answer["points"])
    assert counts[0] == counts[1] and all(counts[0].values())


def run(*words: str, **how) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "dropclip_ros.cli", *words], text=True, stderr=subprocess.PIPE, **how)


def test_an_answer_is_printed_whatever_letters_the_terminal_has(files):
    ended = run(
        "ground", *files, "--query", "café ☕", stdout=subprocess.PIPE, env=os.environ | {"PYTHONIOENCODING": "ascii"}
    )
    assert ended.returncode == 0 and "caf\\xe9" in ended.stdout and "Traceback" not in ended.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("how", ["--json", "--device=cpu"])
def test_a_full_disk_under_stdout_is_one_line(files, how):
    with open("/dev/full", "w") as full:
        ended = run("ground", *files, "--query", "mug", how, stdout=full)
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr == "dropclip: cannot write to stdout: No space left on device\n"


def test_ctrl_c_ends_in_silence(files, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(sources, "load_frame", interrupted)
    assert main(["ground", *files, "--query", "mug"]) == 130
    told = capsys.readouterr()
    assert told.out == told.err == ""


def test_grasps_are_for_a_gripper_of_ones_own(files, tmp_path, capsys):
    profile = yaml.safe_load((FOLDER / "robotiq_2f_140.yaml").read_text())
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(profile | {"name": "mine", "max_width": 0.06}))
    for gripper, widest in (("mine.yaml", 0.06), ("robotiq_2f_140", 0.14)):
        chosen = str(tmp_path / gripper) if "." in gripper else gripper
        assert main(["ground", *files, "--query", "the hammer", "--json", "--gripper", chosen]) == 0
        (answer,) = json.loads(capsys.readouterr().out)
        assert answer["grasps"] and max(grasp["width"] for grasp in answer["grasps"]) <= widest
    assert main(["ground", *files, "--query", "the hammer", "--gripper", "a_claw"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("dropclip: BAD_REQUEST: gripper 'a_claw': expected one of") and error.count("\n") == 1


def test_the_picture_may_have_its_say(files, capsys):
    scores, stages = [], []
    for image in (["--no-image"], ["--image"]):
        assert main(["ground", *files, "--query", "the red mug", "--json", *image]) == 0
        (answer,) = json.loads(capsys.readouterr().out)
        scores.append(answer["instances"][0]["score"])
        stages.append(set(answer["timing_ms"]))
    assert stages[1] - stages[0] == {"image"} and scores[0] != scores[1]


@pytest.mark.parametrize("what", [["--instances"], ["--classes", "mug, banana,hammer"]])
def test_segment_command_writes_labels_and_legend(files, tmp_path, capsys, what):
    assert main(["segment", *files, *what, "--out", str(tmp_path)]) == 0
    labels = np.asarray(Image.open(tmp_path / "label.png"))
    legend = json.loads((tmp_path / "legend.json").read_text())
    assert labels.dtype == np.uint16 and set(np.unique(labels)) <= {0, *map(int, legend)} and labels.max() > 0


def error_of(capsys, *arguments: str) -> str:
    """What a command that must fail says, in its one line."""
    assert main([*arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("dropclip: ") and error.count("\n") == 1
    return error


def image(pixels: np.ndarray):
    return lambda path: Image.fromarray(pixels).save(path)


def intrinsics(**values):
    def change(path):
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def enlarge(path) -> None:
    """Makes a PNG say that it is 20,000 x 20,000."""
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 20_000, 20_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)


def pickled(path) -> None:
    with open(path, "wb") as file:
        np.save(file, np.array([None]), allow_pickle=True)


FILES = {
    "colour missing": ("a.png", Path.unlink, "cannot read the image"),
    "colour empty": ("a.png", lambda path: path.write_bytes(b""), "cannot read the image"),
    "depth cut short": ("b.png", lambda path: path.write_bytes(path.read_bytes()[:20_000]), "truncated"),
    "depth in colours": ("b.png", image(np.zeros((480, 640, 3), np.uint8)), "expected one channel"),
    "depth of 8 bits": ("b.png", image(np.full((480, 640), 80, np.uint8)), "a picture of depth, not depth"),
    "depth of another shape": ("b.png", image(np.full((480, 300), 800, np.uint16)), "Use the depth aligned to colour"),
    "depth of 400 megapixels": ("b.png", enlarge, "exceeds limit"),
    "K not JSON": ("k.json", lambda path: path.write_bytes(b"\xff\xfe{"), "cannot read"),
    "K without numbers": ("k.json", lambda path: path.write_text("{}"), "expected an object with fx, fy"),
    "K of text": ("k.json", intrinsics(width="640px"), "finite numbers"),
    "K of NaN": ("k.json", intrinsics(fx=float("nan")), "fx is nan"),
    "K infinite": ("k.json", intrinsics(height=1e400), "finite numbers"),
    "K of zeros": ("k.json", intrinsics(fx=0, fy=0), "above 0"),
    "K of a unit image": ("k.json", intrinsics(fx=0.9, fy=1.2, cx=0.5, cy=0.5), "All are in pixels"),
    "K of another shape": ("k.json", intrinsics(width=100), "another aspect ratio"),
}


@pytest.mark.parametrize("name", FILES)
def test_bad_files_end_in_one_line(files, tmp_path, capsys, name):
    file, spoil, words = FILES[name]
    spoil(tmp_path / file)
    error = error_of(capsys, "ground", *files, "--query", "mug")
    assert "BAD_FRAME" in error and words in error


def test_a_pickled_depth_array_is_not_read(files, tmp_path, capsys):
    pickled(tmp_path / "b.npy")
    files[3] = str(tmp_path / "b.npy")
    assert "cannot read the depth array" in error_of(capsys, "ground", *files, "--query", "mug")


@pytest.mark.parametrize("pose", [[[1, 0], [0]], {"a": 1}, np.diag([1, 1, -1, 1]).tolist(), [[1, 2, 3, 4]]], ids=str)
def test_a_camera_pose_that_is_none(files, tmp_path, capsys, pose):
    (tmp_path / "p.json").write_text(json.dumps(pose))
    error = error_of(capsys, "ground", *files, "--query", "mug", "--camera-pose", str(tmp_path / "p.json"))
    assert "BAD_FRAME" in error and "4x4" in error


def test_depth_in_another_unit(files, tmp_path, capsys, frame):
    assert "surely in mm" in error_of(capsys, "ground", *files, "--query", "mug", "--depth-unit", "m")
    np.save(tmp_path / "b.npy", 1000 * frame.depth)
    files[3] = str(tmp_path / "b.npy")
    error = error_of(capsys, "ground", *files, "--query", "mug", "--depth-unit", "m")
    assert "BAD_FRAME" in error and "is the unit right" in error


def test_bad_options(files, tmp_path, capsys):
    assert "File exists" in error_of(capsys, "ground", *files, "--query", "mug", "--out", files[1])
    device = error_of(capsys, "segment", *files, "--instances", "--device", "banana")
    assert "MODEL_ERROR" in device and "expected auto, cpu, cuda or cuda:N" in device
    for top_k in ("0", "-3", "many"):
        with pytest.raises(SystemExit) as ended:
            main(["ground", *files, "--query", "mug", "--top-k", top_k])
        assert ended.value.code == 2 and "--top-k" in capsys.readouterr().err


def test_options_that_contradict_each_other_are_refused(files, tmp_path, capsys):
    ground = ["ground", *files, "--query", "mug"]
    for options, words in (
        (["--negatives-mode", "none", "--negative", "cup"], "leave one out"),
        (["--negatives-mode", "custom"], "needs --negative"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(ground + options)
        assert ended.value.code == 2 and words in capsys.readouterr().err
    plane = error_of(capsys, *ground, "--table", "none", "--table-plane", "0", "0", "-1", "0.6")
    assert "expected auto or plane" in plane
    (tmp_path / "viewer.json").write_text("[[1, 0], [0, 1]]")
    assert "not rigid" in error_of(capsys, *ground, "--viewer", str(tmp_path / "viewer.json"))


def test_a_preset_says_what_the_options_do_not(files):
    ground = ["ground", *files, "--query", "mug"]
    own, paper = cli.parsed(ground), cli.parsed([*ground, "--preset", "a7", "--negative", "cup"])
    assert (own.scoring, own.table, own.top_k, own.threshold) == ("instances", "auto", 8, 0.0)
    assert (paper.scoring, paper.table, paper.top_k, paper.threshold) == ("paper", "ransac", 3, 0.7)
    told = cli.parsed([*ground, "--preset", "a7", "--scoring", "argmax", "--table", "none", "--top-k", "9"])
    assert (told.scoring, told.table, told.top_k, told.threshold) == ("argmax", "none", 9, 0.7)


def test_bad_queries_do_not_spoil_good_ones(files, capsys):
    queries = [word for query in ("mug\x07", "x" * 10_000, "the red mug") for word in ("--query", query)]
    assert main(["ground", *files, *queries, "--json"]) == 1
    *bad, good = json.loads(capsys.readouterr().out)
    assert [answer["status"] for answer in bad] == ["BAD_REQUEST"] * 2 and good["status"] == "OK"
    assert main(["ground", *files, "--query", "mug", "--threshold", "nan", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["status"] == "BAD_REQUEST"


def other_hash(folder: Path) -> None:
    data = bytearray((folder / ENCODER).read_bytes())
    data[-1] ^= 1
    (folder / ENCODER).write_bytes(data)


def other_shape(folder: Path) -> None:
    config = json.loads((folder / CONFIG).read_text())
    config["encoder"]["stem"] += 1
    (folder / CONFIG).write_text(json.dumps(config))


MODELS = {
    "folder missing": (shutil.rmtree, "give a model folder"),
    "weights missing": (lambda folder: (folder / ENCODER).unlink(), "cannot read the model file"),
    "cut short": (lambda folder: (folder / ENCODER).write_bytes(b"\x08"), "fetch the model again"),
    "another hash": (other_hash, "fetch the model again"),
    "another shape": (other_shape, "has shape"),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_that_cannot_be_used(files, tmp_path, capsys, name):
    spoil, words = MODELS[name]
    folder = tmp_path / "model"
    shutil.copytree(MODEL_FOLDER, folder)
    spoil(folder)
    error = error_of(capsys, "ground", *files, "--query", "mug", "--model", str(folder), "--json")
    assert "MODEL_ERROR" in error and words in error


def test_a_bag_that_is_none_is_a_bad_frame(tmp_path):
    pytest.importorskip("rosbags")
    with pytest.raises(DropclipError, match="cannot be read as a rosbag2") as error:
        load_bag_frame(tmp_path)
    assert error.value.status == Status.BAD_FRAME
