# SPDX-License-Identifier: Apache-2.0
"""Counting scenes: rendered or not, in one set or in several, and what cannot be counted is named."""

from __future__ import annotations

import csv
import errno
import json
import os
from pathlib import Path

import pytest

from training.runs import files
from training.runs.errors import InputError
from training.scenes.stats import stats


def write_scene(folder: Path, objects: dict[str, str], queries: dict, fractions: list[dict] = ()) -> None:
    """A scene as `generate` writes it, down to what is counted. objects: category by name."""
    folder.mkdir(parents=True)
    (folder / "scene.json").write_text(
        json.dumps(
            {
                "images": [{"id": v, "visible_fraction": seen} for v, seen in enumerate(fractions)],
                "annotations": [],
                "objects": [
                    {"id": 2 + i, "name": name, "category": category}
                    for i, (name, category) in enumerate(objects.items())
                ],
                "queries": queries,
                "info": {"clutter": "packed", "dropped": {"fell off": 1}},
            }
        )
    )


@pytest.fixture
def sets(tmp_path) -> Path:
    """Two sets of scenes: train with two (one without views), test with one."""
    root = tmp_path / "scenes"
    write_scene(
        root / "train/scene_00000",
        {"mug_1": "mug", "mug_2": "mug", "pan_1": "pan"},
        {"class": {"a mug": [2, 3], "the pan": [4]}, "open": {"something to cook in": [4]}},
        [{"2": 0.5, "3": 1.0}, {"4": 0.75}],
    )
    write_scene(root / "train/scene_00001", {"mug_1": "mug"}, {"class": {"a mug": [2]}})
    write_scene(root / "test/scene_00000", {"cup_1": "cup"}, {"class": {"a cup": [2]}})
    return root


def table(path: Path) -> dict[str, list[str]]:
    with path.open(newline="") as file:
        return {name: values for name, *values in csv.reader(file)}


def test_tables_count_sets_apart_and_together(sets, tmp_path):
    out = tmp_path / "stats"
    stats(sets, out)
    rows = table(out / "table1.csv")
    assert rows[""] == ["test", "train", "all", "paper"]
    assert rows["categories"][:3] == ["1", "2", "3"] and rows["instances"][:3] == ["1", "3", "4"]
    assert rows["scenes"] == ["1", "2", "3", "15k"] and rows["views a scene"][:2] == ["0", "1"]
    assert rows["phrases"][:3] == ["1", "4", "5"] and rows["of them for one object only"][:3] == ["1", "3", "4"]
    assert rows["objects a scene"][1] == "2.0 (1 to 3)" and rows["objects dropped"][2] == "fell off 3"
    assert rows["visible fraction, quartiles"][:2] == ["not rendered", "0.62, 0.75, 0.88"]
    assert table(out / "table6.csv")["class"][:2] == ["1", "3"]
    assert table(out / "categories.csv") == {
        "category": ["instances", "placed"],
        "mug": ["2", "3"],
        "cup": ["1", "1"],
        "pan": ["1", "1"],
    }
    assert table(out / "words.csv")["mug"] == ["2"] and "the" not in table(out / "words.csv")
    assert (out / "figure10.png").read_bytes().startswith(b"\x89PNG")
    assert "| scenes | 1 | 2 | 3 | 15k |" in (out / "stats.md").read_text()


def test_a_folder_of_scenes_is_one_set(sets, tmp_path):
    stats(sets / "train", tmp_path / "stats")
    assert table(tmp_path / "stats/table1.csv")[""] == ["train", "paper"]


def test_foreign_tables_are_named_and_left_out_where_asked(sets, tmp_path):
    (sets / "train/scene_00001/scene.json").write_text('{"hello": 1}')
    with pytest.raises(InputError, match=r"scene_00001/scene\.json"):
        stats(sets, tmp_path / "stats")
    with pytest.warns(UserWarning, match=r"scene_00001/scene\.json"):
        stats(sets, tmp_path / "stats", skip_broken=True)
    assert table(tmp_path / "stats/table1.csv")["scenes"][:3] == ["1", "1", "2"]


def test_no_scenes_and_a_full_disk_are_said_in_a_sentence(sets, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"nowhere.*neither scenes"):
        stats(tmp_path / "nowhere", tmp_path / "stats")
    stats(sets, tmp_path / "stats")
    before = (tmp_path / "stats/stats.md").read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.Path, "replace", full)
    with pytest.raises(InputError, match="the disk is full"):
        stats(sets, tmp_path / "stats")
    assert (tmp_path / "stats/stats.md").read_bytes() == before
    assert not list((tmp_path / "stats").glob("*.part"))
