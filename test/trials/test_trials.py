# SPDX-License-Identifier: Apache-2.0
"""Trials without ROS: what is asked, how it is graded, what is written down, and what a report makes of it."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dropclip_ros.base.errors import Status
from dropclip_ros.grasping.grasps import height_above
from dropclip_ros.vision.geometry import Intrinsics, backproject
from training.objects.catalogue import Catalogue, matches
from training.runs.errors import InputError
from training.scenes.grasps.grasp_trials import TrialConfig
from training.trials import truth
from training.trials.grading import Reason, grade_grounding, grasped, lifted, why
from training.trials.protocol import MIN_VISIBLE, Protocol, ask, plan
from training.trials.report import as_json, interval, markdown, write_report
from training.trials.results import Result, ResultFile, read_results
from training.workcell.film import write_gif

SPECS = {spec.name: spec for spec in Catalogue.procedural().specs}
ROW = Result("shipped", "antipodal", "model", 3, "unseen_instance", "training", 0, "packed", 3, "open")


@pytest.fixture(scope="module")
def catalogue():
    return Catalogue.procedural()


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("wording", ["training", "heldout"])
def test_a_phrase_means_one_object_among_distractors(catalogue, number, wording):
    protocol = Protocol(seed=5, wording=wording)
    planned = plan(protocol, "packed", number)
    assert protocol.min_objects <= len(planned.objects) == len(set(planned.objects)) <= protocol.max_objects
    assert {SPECS[name].split for name in planned.objects} == {"unseen_instance"}
    asked = ask(planned, wording, catalogue, dict.fromkeys(planned.objects))
    fits = {name for name in planned.objects if matches(SPECS[name], asked.phrase)}
    same = [name for name in planned.objects if SPECS[name].category == planned.category]
    if planned.family == "affordance":
        assert set(asked.targets) >= fits and len(same) > 1
        return
    assert set(asked.targets) == fits and len(fits) == 1
    assert asked.distractors == len(same) - 1
    assert (len(same) == 1) if planned.family == "class" else (len(same) > 1)


def test_trials_depend_on_seed_level_number_and_attempt_alone():
    one = plan(Protocol(), "mixed", 4)
    assert one == plan(Protocol(clutter=("mixed",)), "mixed", 4)
    for other in (plan(Protocol(), "packed", 4), plan(Protocol(), "mixed", 4, 1), plan(Protocol(seed=1), "mixed", 4)):
        assert other.objects != one.objects


def test_what_the_camera_does_not_see_is_not_asked_for(catalogue):
    planned = plan(Protocol(), "packed", 1)
    assert planned.family == "attribute"
    hidden = dict.fromkeys(planned.objects, MIN_VISIBLE - 1)
    assert ask(planned, "training", catalogue, hidden) is None
    one = next(name for name in planned.objects if SPECS[name].category == planned.category)
    asked = ask(planned, "training", catalogue, hidden | {one: MIN_VISIBLE})
    assert asked is None or asked.targets == (one,)
    fallen = {name: 999 for name in planned.objects if SPECS[name].category != planned.category}
    assert ask(planned, "training", catalogue, fallen) is None


WRONG = (
    {"clutter": ("heaped",)},
    {"families": ()},
    {"split": "test"},
    {"min_objects": 1},
    {"min_objects": 9, "max_objects": 8},
    {"wording": "mine"},
    {"seed": -1},
)


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_protocol_is_one_sentence(wrong):
    with pytest.raises(InputError, match="expected"):
        Protocol(**wrong)


def labelled() -> tuple[np.ndarray, np.ndarray, Intrinsics]:
    """Depth, labels: object 1 on the left, 2 on the right, and the camera."""
    labels = np.zeros((40, 60), np.uint8)
    labels[10:30, 5:25], labels[10:30, 35:55] = 1, 2
    return np.where(labels > 0, 0.8, 1.0).astype(np.float32), labels, Intrinsics(50.0, 50.0, 29.5, 19.5, 60, 40)


def test_grounding_is_graded_by_where_the_points_lie():
    depth, labels, camera = labelled()
    names = ("mug", "bowl")
    points = {k: backproject(np.where(labels == k, depth, 0), camera)[0] for k in (1, 2)}
    whole = grade_grounding(points[2], camera, labels, depth, names, ("bowl",))
    assert whole.right and whole.share == whole.iou == 1.0 and whole.points == 400
    both = grade_grounding(np.concatenate([points[1], points[2]]), camera, labels, depth, names, ("bowl",))
    assert both.share == both.iou == 0.5 and not both.right
    assert grade_grounding(np.concatenate([points[1], points[2]]), camera, labels, depth, names, names).right
    assert grade_grounding(points[1], camera, labels, depth, names, ("bowl",)).iou == 0.0
    half = depth.copy()
    half[:, 45:] = 0
    on_half = backproject(np.where(labels == 2, half, 0), camera)[0]
    assert grade_grounding(on_half, camera, labels, half, names, ("bowl",)).iou == 1.0  # the rest cannot be answered
    behind = grade_grounding(-points[1], camera, labels, depth, names, ("bowl",))
    assert not behind.right and grade_grounding(points[1][:0], camera, labels, depth, names, names).share == 0.0


def test_true_grasps_are_of_what_is_wanted_and_stay_clear(monkeypatch):
    monkeypatch.setattr(truth, "TRIED", TrialConfig(samples=600, wanted=40))
    monkeypatch.setattr(truth, "MOST", 12)
    at = {"soda_can_12": (0.0, 0.0, 0.066), "mug_12": (0.1, 0.0, 0.042)}
    places = {name: np.eye(4) for name in at}
    for name, place in at.items():
        places[name][:3, 3] = place
    found = truth.true_grasps(places, ["soda_can_12"], "procedural")
    assert len(found) and set(found.object_id.tolist()) == {1}
    assert (np.linalg.norm(found.tips() - at["soda_can_12"], axis=1) < 0.12).all()
    assert (height_above(found, np.array([0.0, 0, 1, 0])) > 0).all()


def poses(**heights) -> dict[str, np.ndarray]:
    found = {name: np.eye(4) for name in heights}
    for name, height in heights.items():
        found[name][2, 3] = height
    return found


def test_an_object_is_grasped_when_it_alone_is_lifted():
    before = poses(mug=0.02, bowl=0.0)
    assert grasped(before, poses(mug=0.13, bowl=0.01), ["mug"])
    assert not grasped(before, poses(mug=0.11, bowl=0.0), ["mug"])
    assert not grasped(before, poses(mug=0.13, bowl=0.06), ["mug"])  # half taken along
    assert not grasped(before, poses(mug=0.02, bowl=0.2), ["mug"])
    assert lifted(before, poses(mug=0.13, bowl=0.2), 0.1) == {"mug", "bowl"}


@pytest.mark.parametrize(
    "grounded, status, up, reason",
    [
        (True, Status.NO_GRASPS, (), Reason.NO_GRASP),
        (False, Status.NO_GRASPS, (), Reason.GROUNDING),
        (False, Status.NOT_FOUND, (), Reason.GROUNDING),
        (False, Status.AMBIGUOUS, (), Reason.GROUNDING),  # "which of the two?" found nothing either
        (True, Status.NO_PATH, (), Reason.PLANNING),
        (True, Status.TOO_WIDE, (), Reason.PLANNING),
        (True, Status.SLIPPED, (), Reason.SLIP),
        (True, Status.OK, (), Reason.SLIP),
        (True, Status.OK, ("bowl",), Reason.WRONG_OBJECT),
        (False, Status.OK, ("bowl",), Reason.GROUNDING),
        (True, Status.TF_ERROR, (), Reason.ERROR),
        (False, Status.TIMEOUT, (), Reason.ERROR),
    ],
    ids=str,
)
def test_every_failure_has_a_reason(grounded, status, up, reason):
    assert why(False, grounded, status, up) is reason
    assert why(True, grounded, Status.OK, ("mug",)) is Reason.NONE


def test_trials_that_are_there_are_not_run_again(tmp_path):
    path = tmp_path / "trials.csv"
    file = ResultFile(path)
    done = replace(ROW, success=True, grounded=True, phrase='a "mug", red', message="two\nlines", iou=0.25)
    failed = replace(ROW, number=4, reason="error", status="TIMEOUT")
    file.add(done)
    file.add(failed)
    file.close()
    with path.open("a") as half:
        half.write("shipped,antipodal,model,3,unse")  # killed while writing
    again = ResultFile(path)
    assert again.done == {done.key}  # an error is tried again
    again.add(replace(failed, reason="", success=True))
    again.close()
    found = read_results(path)
    assert found[0] == replace(done, message="two lines") and [r.success for r in found] == [True, True]
    assert len(path.read_text().splitlines()) == 4


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "", b"\xff\xfe"], ids=["columns", "empty", "bytes"])
def test_a_foreign_file_is_refused(tmp_path, content):
    path = tmp_path / "other.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match="name another file"):
        read_results(path)


@pytest.mark.parametrize("name, value", [("success", "yes"), ("iou", "much")])
def test_a_broken_row_is_named(tmp_path, name, value):
    path = tmp_path / "trials.csv"
    file = ResultFile(path)
    file.add(ROW)
    file.close()
    rows = list(csv.DictReader(path.open()))
    with path.open("w") as out:
        writer = csv.DictWriter(out, rows[0])
        writer.writeheader()
        writer.writerow(rows[0] | {name: value})
    with pytest.raises(InputError, match=name):
        read_results(path)


@settings(deadline=None, max_examples=50)
@given(n=st.integers(1, 400), data=st.data())
def test_wilsons_interval_holds_the_share_and_shrinks(n, data):
    k = data.draw(st.integers(0, n))
    low, high = interval(k, n)
    assert 0 <= low <= 100 * k / n + 1e-9 and 100 * k / n - 1e-9 <= high <= 100
    wider = interval(k * 3, n * 3)
    assert wider[1] - wider[0] < high - low


def test_wilsons_interval_is_the_published_one():
    assert interval(42, 50) == pytest.approx((71.5, 91.7), abs=0.1)  # the paper's 84 % of 50


def test_a_report_counts_by_clutter_and_family(tmp_path):
    rows = []
    for clutter in ("packed", "mixed"):
        for n, family in enumerate(("class", "open", "class", "open")):
            reason = "" if n > 1 else "slip" if n else "grounding"
            one = replace(ROW, clutter=clutter, number=n, family=family, grounded=n != 0, success=n > 1, reason=reason)
            rows.append(replace(one, candidates=3, executed=0, seconds_to_pose=1.5))
    rows += [replace(row, proposals="hggd", success=False, grounded=True, reason="slip") for row in rows]
    data = as_json(rows)
    first, second = data["setups"]
    assert first["all"]["grounding"]["percent"] == 75 and first["all"]["success"]["k"] == 4
    assert first["clutter"]["packed"]["success"]["n"] == 4
    assert first["family"]["class"]["success"]["percent"] == 50
    assert first["all"]["failures"] == {"grounding": 2, "slip": 2} and second["setup"]["proposals"] == "hggd"
    text = markdown(rows)
    assert "75 (41 to 93)" in text and "84 (71 to 92)" in text and "Failures: grounding 2, slip 2." in text
    file = ResultFile(tmp_path / "trials.csv")
    for row in rows:
        file.add(row)
    file.close()
    write_report([tmp_path / "trials.csv"], tmp_path / "report", say=lambda _: None)
    assert (tmp_path / "report.md").read_text() == text
    assert json.loads((tmp_path / "report.json").read_text())["setups"] == json.loads(json.dumps(data["setups"]))


def test_a_report_of_nothing_is_refused(tmp_path):
    ResultFile(tmp_path / "trials.csv").close()
    with pytest.raises(InputError, match="no trials"):
        write_report([tmp_path / "trials.csv"], tmp_path / "report")


def test_a_film_has_its_pictures_and_ends_on_the_last(tmp_path):
    pictures = [np.full((48, 64, 3), 20 * k, np.uint8) for k in range(5)]
    write_gif(pictures, 'packed 3, "a red mug": grasped', tmp_path / "trial.gif")
    with Image.open(tmp_path / "trial.gif") as film:
        assert film.n_frames == 5
        film.seek(4)
        assert np.asarray(film.convert("RGB"))[-10:, -10:].mean() == pytest.approx(80, abs=4)
