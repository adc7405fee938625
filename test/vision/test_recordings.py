# SPDX-License-Identifier: Apache-2.0
"""Frames of a scene of MV-TOD from outside: whatever its JSON says, a frame or one typed line, of files beside it."""

import json

import numpy as np
import pytest
from PIL import Image

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.ranges import is_finite
from dropclip_ros.vision.geometry import Intrinsics
from dropclip_ros.vision.recordings import SceneFrames

VIEW = {
    "file_name": "view.png", "depth_file": "depth.png", "width": 40, "height": 30,
    "K": [[50, 0, 20], [0, 50, 15], [0, 0, 1]], "world_from_camera": np.eye(4).tolist(),
}  # fmt: skip


@pytest.fixture
def scene(tmp_path):
    Image.fromarray(np.full((30, 40, 3), 90, np.uint8)).save(tmp_path / "view.png")
    Image.fromarray(np.full((30, 40), 5000, np.uint16)).save(tmp_path / "depth.png")

    def of(**changed):
        (tmp_path / "scene.json").write_text(json.dumps({"images": [VIEW | changed]}))
        return SceneFrames(tmp_path)

    return of


def test_a_view_is_a_frame(scene):
    frame = scene()[0]
    assert frame.depth.shape == (30, 40) and frame.depth.max() == pytest.approx(0.5)
    assert frame.camera_pose is not None and len(scene()) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"K": "../../etc/passwd"},
        {"K": [[50, 0], [0, 50, 15], [0, 0, 1]]},
        {"K": [[10**400, 0, 20], [0, 50, 15], [0, 0, 1]]},
        {"K": None},
        {"width": 10**60},
        {"width": "40"},
        {"width": [40]},
        {"world_from_camera": [[1, 0], [0]]},
        {"world_from_camera": "here"},
        {"world_from_camera": {}},
        {"file_name": 7},
        {"file_name": "../view.png"},
        {"depth_file": "/etc/passwd"},
        {"depth_file": ""},
    ],
    ids=str,
)
def test_what_is_no_view_is_one_typed_line(scene, changed):
    with pytest.raises((DropclipError, OSError)) as error:
        scene(**changed)[0]
    assert "\n" not in str(error.value) and len(str(error.value)) < 600
    if isinstance(error.value, DropclipError):
        assert error.value.status == Status.BAD_FRAME


@pytest.mark.parametrize("value", [10**400, -(10**400), "40", None, [1.0], float("nan"), float("inf")])
def test_no_number_is_finite_that_a_float_cannot_hold(value):
    assert not is_finite(value) and is_finite(10**300) and is_finite(np.float32(1))
    with pytest.raises(DropclipError, match="it must be finite"):
        Intrinsics(value, 50.0, 20.0, 15.0, 40, 30)
