# SPDX-License-Identifier: Apache-2.0
"""Scenes that do not change, from a file: a red box and a blue one on a table, with the features of their names."""

import json

import numpy as np
import pytest
from static_support import BLUE, RED, grounder, static  # noqa: F401

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.cli import main
from dropclip_ros.grounding.static_scene import StaticScene, open_static_scene


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
    with pytest.raises(DropclipError, match="no whole s"):
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
    assert "--rgb, --depth and --intrinsics, or --bag, --frames, --cloud or --field" in capsys.readouterr().err
