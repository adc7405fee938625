# SPDX-License-Identifier: Apache-2.0
"""Scenes that do not change, from a file: a red box and a blue one on a table, with the features of their names."""

import json

import numpy as np
import pytest

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.cli import main
from dropclip_ros.grounding.pipeline import Grounder
from dropclip_ros.grounding.static_scene import PROBE, StaticScene, open_static_scene

RED, BLUE = "a battery", "a sponge"


@pytest.fixture(scope="module")
def grounder():
    return Grounder.from_pretrained(device="cpu")


def surface(low, high, step=0.004):
    """Points of the sides and the top of a box, m."""
    axes = [np.arange(a, b + step / 2, step) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    at_rim = (np.isclose(grid, low) | np.isclose(grid, [a[-1] for a in axes]))[:, [0, 1, 2]]
    at_rim[:, 2] &= ~np.isclose(grid[:, 2], low[2])
    return grid[at_rim.any(1)]


@pytest.fixture(scope="module")
def static(grounder):
    table = np.stack(np.meshgrid(np.arange(-0.4, 0.4, 0.005), np.arange(-0.3, 0.3, 0.005)), -1).reshape(-1, 2)
    table = np.column_stack([table, np.random.default_rng(0).normal(0, 0.0005, len(table))])
    boxes = [surface((-0.2, -0.05, 0), (-0.1, 0.05, 0.08)), surface((0.1, -0.04, 0), (0.18, 0.06, 0.06))]
    points = np.concatenate([table, *boxes]) + np.array([1.0, 2.0, 0.7])
    part = np.repeat([0, 1, 2], [len(table), len(boxes[0]), len(boxes[1])])
    colors = np.array([[120, 100, 80], [200, 20, 20], [20, 20, 200]], np.uint8)[part]
    text = grounder.text.encode([PROBE, RED, BLUE]).numpy()
    scores = np.eye(3, dtype=np.float32)[part]
    calibration = 0.02, 0.6  # features that are phrases themselves are nearer to other phrases than objects are
    return StaticScene(
        points.astype(np.float32), colors, text[part], text[0], ("table", RED, BLUE), scores, *calibration
    )


def test_a_phrase_finds_its_box_in_the_world(grounder, static, tmp_path):
    path = tmp_path / "scene.safetensors"
    static.save(path)
    own, scene = open_static_scene(path, grounder)
    for phrase, middle in ((RED, (0.85, 2.0)), (BLUE, (1.14, 2.01))):
        result = own.ground(scene, phrase)
        assert result.status == Status.OK and len(result.objects) == 1
        found = scene.frame.camera_pose[:3] @ np.append(result.objects[0].centre, 1)
        np.testing.assert_allclose(found[:2], middle, atol=0.01)
    assert own.ground(scene, "a giraffe").status == Status.NOT_FOUND


def test_the_command_answers_in_the_files_world(static, tmp_path, capsys):
    path = tmp_path / "scene.safetensors"
    static.save(path)
    assert main(["ground", "--field", str(path), "--query", RED, "--json", "--out", str(tmp_path / "out")]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["status"] == "OK" and answer["frame"] == "world"
    np.testing.assert_allclose(answer["instances"][0]["centre"][:2], (0.85, 2.0), atol=0.01)
    assert any(0.7 < grasp["pose"][2][3] < 0.85 for grasp in answer["grasps"])
    assert len([*(tmp_path / "out").glob("*.png")]) == 2  # the picture and the mask, from above


def test_what_is_saved_is_read(static, tmp_path):
    path = tmp_path / "scene.safetensors"
    static.save(path)
    again = StaticScene.load(path)
    np.testing.assert_array_equal(again.points, static.points)
    np.testing.assert_allclose(again.features, static.features, atol=1e-3)
    assert again.classes == static.classes and again.null_similarity == static.null_similarity


def test_other_files_and_other_models_are_refused(grounder, static, tmp_path):
    path = tmp_path / "scene.safetensors"
    with pytest.raises(DropclipError, match="cannot be read"):
        open_static_scene(path, grounder)
    path.write_bytes(b"something else")
    with pytest.raises(DropclipError, match="no whole static scene"):
        open_static_scene(path, grounder)
    StaticScene(static.points, static.colors, static.features, -static.probe).save(path)
    with pytest.raises(DropclipError, match="expected") as caught:  # scores of no points
        open_static_scene(path, grounder)
    assert caught.value.status == Status.BAD_REQUEST
    none = np.zeros((len(static.points), 0), np.float32)
    StaticScene(static.points, static.colors, static.features, -static.probe, (), none).save(path)
    with pytest.raises(DropclipError, match="another text model") as caught:
        open_static_scene(path, grounder)
    assert caught.value.status == Status.MODEL_ERROR


def test_a_frame_or_a_field_is_needed(capsys):
    with pytest.raises(SystemExit):
        main(["ground", "--query", "a mug"])
    assert "--rgb, --depth and --intrinsics, or --field" in capsys.readouterr().err
