# SPDX-License-Identifier: Apache-2.0
"""Scoring of 3D-OVS, and going on where a run was stopped."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from training.evaluate import ovs3d
from training.evaluate.ovs3d import FUSED, STUDENT, VARIANTS, Case, Stopwatch, best, of_pixels, scored, shrunk_labels
from training.ovs3d.config import Ovs3dConfig
from training.runs.errors import InputError


def test_scores_are_what_counting_says():
    truth = np.array([0, 0, 0, 1, 1, 3])
    answer = np.array([0, 0, 1, 1, -1, 0])
    found = scored(truth, answer, 4)
    np.testing.assert_allclose(found["ious"], [2 / 4, 1 / 3, 0])  # class 2 is not there
    assert found["acc"] == pytest.approx(3 / 6)


def test_where_nothing_is_said_nothing_is_right():
    assert best(np.array([[0.1, 0.2], [np.nan, np.nan], [-0.5, -0.9]])).tolist() == [1, -1, 0]


def test_objects_are_scored_without_the_table():
    case = Case(None, [0], None, None, {"mug": [2], "spoon": [3], "tabletop": [1]}, {0: np.array([[0, 1, 2, -1]])})
    maps = np.array([[[0.2, 0.1, 0.9], [0.1, 0.2, 0], [0, 0, 1], [1, 1, 1]]])
    found = of_pixels(case, {0: maps})
    assert found["views"]["acc"] == pytest.approx(2 / 3) and found["views_objects"]["acc"] == 1
    assert "views" not in of_pixels(case, {0: maps[..., :2]})


def test_labels_shrink_to_the_middle_of_each_pixel():
    mask = np.arange(24).reshape(4, 6)
    np.testing.assert_array_equal(shrunk_labels(mask, 3, 2), mask[1::2, 1::2])


def test_a_stage_is_timed_once(tmp_path):
    for _ in range(2):
        watch = Stopwatch(tmp_path / "seconds.json")
        before = dict(watch.known)
        with watch("patches"):
            pass
    assert watch.known == before and before["patches"] >= 0


def test_an_evaluation_needs_views_that_were_held_out(tmp_path):
    with pytest.raises(InputError, match="hold_out 0"):
        ovs3d.evaluate(None, Ovs3dConfig(hold_out=0), tmp_path, None)


def test_a_stopped_run_goes_on_and_the_table_has_all(tmp_path, monkeypatch):
    scores = {"ious": [0.5, 1.0], "acc": 0.9}
    places = {"views": scores, "views_objects": scores, "points_objects": scores}
    ran, config = [], Ovs3dConfig()

    def fields(case, bench, towers, config, folder, todo):
        for name in todo:
            if len(ran) == 4 and not stopped:
                stopped.append(True)
                raise KeyboardInterrupt
            ran.append((case, name))
            yield {
                "method": name,
                "psnr": 30.0,
                "psnr_bare": 31.0,
                "peak_mb": 900.0,
                "seconds": {"semantics": 60.0},
            } | places

    def other(name):
        def run(case, bench):
            ran.append((case, name))
            return {"method": name, "seconds": {"a view": 1.0}, "views_objects": scores, "points_objects": scores}

        return run

    stopped: list[bool] = []
    monkeypatch.setattr(ovs3d, "run_ovs3d", fields)
    monkeypatch.setattr(ovs3d, "run_fused", other(FUSED))
    monkeypatch.setattr(ovs3d, "run_student", other(STUDENT))
    monkeypatch.setattr(Case, "of", classmethod(lambda cls, scene, config: scene.name))
    bench = SimpleNamespace(test=[SimpleNamespace(name=name) for name in ("scene_00000", "scene_00001")], about=dict)
    with pytest.raises(KeyboardInterrupt):
        ovs3d.evaluate(bench, config, tmp_path, None)
    with (tmp_path / "ovs3d.jsonl").open("a") as file:
        file.write('{"scene": "scene_0')  # killed while it wrote
    table = ovs3d.evaluate(bench, config, tmp_path, None)
    assert (
        len(ran) == len(set(ran)) == len(ovs3d.read_rows(tmp_path / "ovs3d.jsonl", config)) == 2 * (len(VARIANTS) + 2)
    )
    assert [row["scenes"] for row in table.rows] == [2] * (len(VARIANTS) + 2)
    assert table.rows[0]["with table mIoU"] == pytest.approx(75) and "with table mIoU" not in table.rows[-1]
    table.write(tmp_path)
    assert "| 3D-OVS, no FDA | 75.0 |" in (tmp_path / "ovs3d.md").read_text()
    assert ovs3d.read_rows(tmp_path / "ovs3d.jsonl", replace(config, seed=1)) == []  # of another configuration
