# SPDX-License-Identifier: Apache-2.0
"""dropclip-eval on two small scenes of three boxes: what each table asks, keeps, says and refuses."""

import csv
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clip_support import make_clip
from mvtod_support import write_splits

from dropclip_ros.cli import main
from training.evaluate import tables, tables_transfer
from training.evaluate.bench import Bench, classes, slug
from training.evaluate.inference import InferenceConfig
from training.evaluate.instances import Clustering
from training.evaluate.methods.methods import InstanceMethod, ObjectWise, PatchesOfView, Student, every_point
from training.evaluate.paper import TABLE_11_THRESHOLDS
from training.evaluate.report import PAPER_BY, ReportTable
from training.fusion.fuse import Weighting
from training.fusion.prompts2d import VisualPrompt


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return write_splits(tmp_path_factory.mktemp("scenes"), ("unseen_instance", "validation", "unseen_category"))


@pytest.fixture(scope="module")
def bench(scenes, tmp_path_factory):
    return Bench(scenes, tmp_path_factory.mktemp("cache"), workers=1)


def in_percent(table):
    rows = [row for row in table.rows if "absent" not in row]
    values = np.array([[row[column] for column in table.columns] for row in rows])
    assert np.isfinite(values).all() and (values >= 0).all() and (values <= 100).all()
    return rows


def test_fusion_is_asked_in_all_seven_ways_and_object_wise_answers_are_whole_objects(bench):
    table = tables.table2(bench, views=2)
    rows = in_percent(table)
    assert len(rows) == 8 and all(row["scenes"] == 2 for row in rows)
    assert rows[-1]["method"] == "every point answers" and rows[-1]["Pr@75"] < rows[3]["Pr@75"]
    for row in rows[3:7]:  # true masks: an answer holds objects or lacks them
        assert row["Pr@75"] <= row["mIoU"] + 1e-6
    assert "had no informative view" in table.notes[0]


def test_a_system_without_predictions_says_so_beside_the_papers_number(bench):
    table = tables.table3(bench, views=2)
    absent = [row for row in table.rows if "absent" in row]
    assert [row["method"] for row in absent] == ["OpenSeg to 3D, 1 view"]
    text = table.markdown()
    assert "[12.9]" in text and "is not there; export it" in text
    assert len(in_percent(table)) == 10 and table.rows[-1]["method"] == "every point answers, 1 view"


def test_inference_has_a_row_for_each_strategy(bench):
    rows = in_percent(tables.table10(bench))
    assert [row["inference"] for row in rows if row["method"].startswith("threshold 0.9,")] != []
    by = {row["method"]: row.get(PAPER_BY) for row in rows}
    assert by["threshold, canonical"] == by["threshold 0.95, canonical"] == "threshold 0.95, upper bound"
    assert by["argmax, all"] == "argmax, upper bound" and by["release: pairwise, min-max, scene"] is None
    fixed = {row["method"]: row["inference"] for row in rows}
    assert fixed["argmax, all"].startswith("argmax, all") and fixed["threshold, none"].endswith("none, T 0.1")


def test_all_views_are_the_last_step_of_the_curve(bench):
    rows = in_percent(tables.figure5(bench, views=2))
    curve = {row["views"]: row["mIoU"] for row in rows if row["method"].startswith("object-wise")}
    assert list(curve) == [1, 2, 3]
    assert [row["views"] for row in rows if row["method"] == "every point answers"] == [1, 3]
    (whole,) = bench.referring({"": tables.object_wise(bench)})
    assert curve[3] == pytest.approx(whole["mIoU"])


def test_families_are_the_parts_of_the_whole(bench):
    rows = in_percent(tables.figure6(bench))
    upper = [row for row in rows if row["method"] == "upper bound"]
    (whole,) = bench.referring({"": tables.object_wise(bench)})
    mean = sum(row["mIoU"] * row["n"] for row in upper) / sum(row["n"] for row in upper)
    assert mean == pytest.approx(whole["mIoU"])


def test_features_are_made_once_and_ensembles_of_their_parts(bench, monkeypatch):
    crop, masked = VisualPrompt("crop"), VisualPrompt()
    scene = bench.test[0]
    parts = [bench.features((prompt,))(scene) for prompt in (crop, masked)]
    monkeypatch.setattr("training.evaluate.bench.extract", None)  # would fail where anything is embedded again
    both = bench.features((crop, masked))(scene)
    mean = parts[0].features.float() + parts[1].features.float()
    np.testing.assert_allclose(both.features, mean / mean.norm(dim=1, keepdim=True), atol=1e-5)
    assert slug(crop) != slug(masked) != slug(replace(masked, background="white"))


def test_visibility_weighs_views_by_pixels(bench):
    scene = bench.test[0]
    seen = bench.features()(scene)
    label = int(seen.labels[0])
    of_label = seen.labels == label
    expected = (seen.features[of_label].float() * seen.pixels[of_label, None]).sum(0)
    method = ObjectWise(bench.features(), bench.prompts, bench.grounder.text, Weighting(True, False))
    said = method(scene, bench.full(scene))
    row = said.row[bench.full(scene).labels == label][0]
    np.testing.assert_allclose(said.features[row], expected / expected.norm(), atol=1e-5)


def test_single_view_methods_answer_at_every_point(bench):
    scene = bench.test[0]
    cloud = bench.single(scene)
    for method in (Student(bench.grounder), PatchesOfView(bench.patches, bench.grounder.text)):
        said = method(scene, cloud)
        assert said.row.shape == (len(cloud),) and (said.row >= 0).all()
        np.testing.assert_allclose(said.features.norm(dim=1), 1, atol=1e-4)


def test_calibration_beats_every_other_choice_on_the_scenes_it_saw(bench):
    method = {"": tables.object_wise(bench)}
    best = bench.calibrated(method)[""]

    def mean(config):
        (found,) = bench.run(method, {"": lambda answer, _: answer.ious(config)}, bench.known).values()
        return np.nanmean(np.concatenate(found))

    for other in (InferenceConfig(), InferenceConfig(threshold=0.3), InferenceConfig(temperature=0.02, threshold=0.9)):
        assert mean(best) >= mean(other) - 0.01  # those need not lie on the grid


def test_every_point_answers_every_phrase_and_every_name(bench):
    """Its IoU is the share of what is asked for, whatever is fitted."""
    (row,) = bench.referring({"": every_point})
    shares = []
    for scene in bench.test:
        cloud = bench.full(scene)
        asked = [question.labels for question in bench.questions(scene, cloud) if question.labels]
        shares += [np.isin(cloud.labels, labels).mean() for labels in asked]
    assert row["mIoU"] == pytest.approx(100 * np.mean(shares))
    cloud = bench.full(bench.test[0])
    ious, accuracies = classes(every_point(bench.test[0], cloud), bench.test[0], cloud)
    assert ious.sum() == pytest.approx(1) and (accuracies == 1).all()


def test_the_paper_s_mix_asks_more_open_phrases(scenes, bench, tmp_path):
    mixed = Bench(scenes, tmp_path, workers=1, mix=True)
    counts = [
        Counter(question.family for scene in one.test for v in range(3) for question in scene.questions(v))
        for one in (bench, mixed)
    ]
    assert counts[1]["open"] > counts[0]["open"] and counts[1]["class"] < counts[0]["class"]
    assert "the paper's mix" in mixed.about()["data"]


def test_table_11_s_own_grid_comes_first_then_any_threshold(bench):
    data = tables_transfer.ReferringData("OCID-VLG", lambda _: bench.known, lambda _: bench.test, (1.0,))
    rows = tables_transfer.referring_rows(bench, data, Path("anywhere"))
    assert [row["method"].removeprefix("OCID-VLG, ") for row in rows] == [
        "MaskCLIP to 3D",
        "DROP-CLIP",
        "MaskCLIP to 3D, fitted",
        "DROP-CLIP, fitted",
        "every point answers",
    ]
    for row, fitted in zip(rows[:2], rows[2:4], strict=True):
        assert float(row["inference"].split(",")[0].removeprefix("over ")) in TABLE_11_THRESHOLDS
        assert "T 0.1" in row["inference"] and row["paper"] and "paper" not in fitted


def test_table_5_has_ocid_vlg_s_half(bench, monkeypatch):
    monkeypatch.setattr(
        tables_transfer, "load_ocid_vlg", lambda _, split: bench.known if split == "val" else bench.test
    )
    monkeypatch.setattr(tables_transfer, "OCID_VLG_SCALES", (1.0,))
    rows = tables_transfer.ocid_rows(bench, Path("anywhere"), Clustering(eps=0.2, metric="euclidean"))
    assert all(row["method"].startswith("OCID-VLG: ") for row in rows)
    names = " ".join(row["method"] for row in rows)
    assert "of the cosine" in names and "0.01, Euclidean" in names and "one instance" in names
    assert rows[0]["paper"] == {"mIoU": 60.1, "AP25": 95.3} and rows[1]["paper"]["mIoU"] == 50.9
    assert rows[-1]["mIoU"] < 60
    assert {row["paper"]["mIoU"] for row in tables_transfer.ocid_rows(bench, None, Clustering())} == {60.1, 50.9}


def test_an_encoder_that_names_nothing_leaves_its_row(scenes, tmp_path):
    """A model that `dropclip model create` made: objects of the shipped encoder, names of a tower of another width."""
    assert main(["model", "create", str(tmp_path / "m"), "--tower", str(make_clip(tmp_path / "clip"))]) == 0
    named = Bench(scenes, tmp_path / "cache", model=tmp_path / "m", limit=1, validation=1, workers=1)
    methods = {"points": Student(named.grounder), "instances": InstanceMethod(named.grounder)}
    points, instances = named.referring(methods, single=True)
    assert "of two models" in points["absent"] and instances["mIoU"] >= 0


def test_instances_of_truth_are_perfect_and_absent_systems_named(bench):
    truth = {"truth": lambda _, cloud: (cloud.labels, None)}
    found = tables_transfer.segmented(truth, bench.test, bench.single, "test")
    (row,) = tables_transfer.instance_rows("MV-TOD", found, [])
    assert row["mIoU"] == row["AP25"] == row["AP50"] == 100
    table = tables_transfer.table5(bench)
    assert {row["method"] for row in table.rows if "absent" in row} >= {"MV-TOD: Mask3D", "OCID-VLG: SAM"}
    full = [row["method"] for row in table.rows if "(F)" in row["method"]]
    assert any("of the cosine" in name for name in full) and any("Euclidean" in name for name in full)


def test_data_sets_that_are_not_here_leave_the_papers_rows(bench):
    assert all("absent" in row and row["paper"] for row in tables_transfer.table11(bench).rows)
    assert "--lerf" in tables_transfer.table12(bench).markdown()


def test_report_writes_numbers_reasons_and_a_plot(tmp_path):
    rows = [
        {"method": "a", "mIoU": 50.04, "low": 40.0, "high": 60.0, "inference": "over 0.5", "paper": {"mIoU": 83.1}},
        {"method": "b", "absent": "weights are not here", "paper": {"mIoU": 12.9}},
    ]
    ReportTable("t", "Title", ("mIoU",), rows, {"seed": 0}, ["a note"]).write(tmp_path)
    text = (tmp_path / "t.md").read_text()
    assert "50.0 (40.0 to 60.0) [83.1]" in text and "[12.9] | weights are not here" in text and "- a note" in text
    first, second = csv.DictReader((tmp_path / "t.csv").open())
    assert (first["mIoU"], first["paper mIoU"], second["absent"]) == ("50.04", "83.1", "weights are not here")
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["t.csv", "t.md", "t.png"]


def test_command_refuses_a_folder_without_scenes_in_one_line(tmp_path):
    command = [
        sys.executable,
        "-m",
        "training.evaluate.cli",
        "table9",
        "--scenes",
        str(tmp_path),
        "--cache",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "no scenes there" in done.stderr and "Traceback" not in done.stderr
