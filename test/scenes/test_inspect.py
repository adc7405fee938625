# SPDX-License-Identifier: Apache-2.0
"""Pictures and recordings of a scene."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mvtod_support import describe, write_scene, write_scenes
from PIL import Image

from training.runs.errors import InputError
from training.scenes.inspect import CELL, inspect
from training.scenes.shards import pack


def test_the_sheet_shows_colour_depth_and_mask_of_each_view_in_its_place(tmp_path):
    inspect(write_scenes(tmp_path / "scenes", 1, 2), tmp_path / "out", views=9)
    sheet = np.asarray(Image.open(tmp_path / "out/scene_00000.png")).astype(int)
    height = round(CELL * 48 / 64)
    assert sheet.shape[0] > 2 * height and sheet.shape[1] > 3 * CELL
    for row in range(2):
        cells = [
            sheet[40 + row * (height + 6) : 20 + (row + 1) * height, c * (CELL + 6) + 20 : (c + 1) * CELL - 20]
            for c in range(3)
        ]
        greys = [np.ptp(cell, axis=2).mean() for cell in cells]
        assert greys[1] > 60 > greys[0] and (cells[2] == 70).all(axis=2).mean() > 0.3  # colours; table in the mask


def test_shards_and_single_folders_show_the_same(tmp_path):
    root = write_scenes(tmp_path / "scenes", 2, 2)
    pack(root, tmp_path / "shards")
    pictures = []
    for k, (place, name) in enumerate(
        [(root, "scene_00001"), (tmp_path / "shards", "scene_00001"), (root / "scene_00001", "")]
    ):
        inspect(place, tmp_path / f"out{k}", name)
        pictures.append((tmp_path / f"out{k}/scene_00001.png").read_bytes())
    assert pictures[0] == pictures[1] == pictures[2]


def test_a_broken_view_is_left_out_and_named(tmp_path):
    root = write_scenes(tmp_path / "scenes", 1, 3)
    (root / "scene_00000/view_01.depth.png").write_bytes(b"broken")
    with pytest.warns(UserWarning, match=r"left out: .*view_01\.depth\.png"):
        inspect(root, tmp_path / "out")
    assert (tmp_path / "out/scene_00000.png").exists()


def test_what_cannot_be_shown_is_said(tmp_path):
    root = write_scenes(tmp_path / "scenes", 1, 1)
    with pytest.raises(InputError, match=r"no scene_00007 there; expected one of scene_00000"):
        inspect(root, tmp_path / "out", "scene_00007")
    write_scene(tmp_path / "bare/scene_00000", replace(describe(np.random.default_rng(0)), cameras=()))
    with pytest.raises(InputError, match="scene_00000 has no views to show"):
        inspect(tmp_path / "bare", tmp_path / "out")
    with pytest.raises(InputError, match="views 0: expected at least 1"):
        inspect(root, tmp_path / "out", views=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/out/scene_00000\.png cannot be written"):
        inspect(root, tmp_path / "file/out")


def test_a_recording_holds_every_view(tmp_path):
    pytest.importorskip("rerun", reason="rerun-sdk is not installed (extra rerun)")
    inspect(write_scenes(tmp_path / "scenes", 1, 3), tmp_path / "out", rerun=True)
    data = (tmp_path / "out/scene_00000.rrd").read_bytes()
    assert data.startswith(b"RRF") and b"red_box" in data and b"world/camera/depth" in data
    assert not list((tmp_path / "out").glob("*.part"))
