# SPDX-License-Identifier: Apache-2.0
"""Evaluation: metrics against scikit-learn, truthful questions, and one scoring that answers as the pipeline does."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import auc, jaccard_score, roc_curve

from dropclip_ros.base.errors import Status
from dropclip_ros.grounding.pipeline import Grounder
from dropclip_ros.networks.model_folder import ModelConfig
from dropclip_ros.vision.bags import load_bag_frame
from training.evaluate.metrics import overlap, refusal, refused, summary
from training.evaluate.questions import Question, areas_of, categories, questions
from training.evaluate.served.pipeline import SeenInstances, of_encoded
from training.evaluate.served.quality import ask, best, pixel_counts, referring, refusals, semantic_ious
from training.objects.catalogue import matches
from training.objects.procedural.objects import catalogue
from training.objects.words.phrases import FAMILIES, paper_mix
from training.objects.words.wording import describe_object

CONFIG = ModelConfig("test", temperature=0.05, null_similarity=0.4, canonical_negatives=("thing",))
AXES = {"a mug": 0, "a hammer": 1, "a red thing": 2, "thing": 3}


class Text:
    """Phrases as axes, so that similarities are what a test writes into the features; unknown ones fit nothing."""

    mean_object = None

    def encode(self, phrases):
        return torch.stack([torch.eye(5)[AXES.get(phrase, 4)] for phrase in phrases])


def scene_of(rng, shape=(30, 40)):
    """Labels of each pixel (0 none, 1 table, 2, 3, 4 objects), and instances that cover them badly."""
    labels = np.zeros(shape, np.uint8)
    labels[10:] = 1
    labels[12:22, 3:12], labels[8:20, 15:24], labels[15:25, 28:38] = 2, 3, 4
    found = np.roll(np.where(labels >= 2, labels - 1, 0), (1, 2), (0, 1))
    found[rng.random(shape) < 0.1] = 0
    return labels.ravel(), found.ravel().astype(np.int64)


def test_iou_and_precision_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels, found = scene_of(rng)
    counts, totals = pixel_counts(labels.astype(np.int64), found, 3), np.bincount(labels, minlength=256)
    ious = []
    for truth in ([2], [3], [2, 4], [2, 3, 4]):
        for chosen in ([1], [2, 3], [1, 2, 3], []):
            on = np.isin([1, 2, 3], chosen)
            expected = jaccard_score(np.isin(labels, truth), np.isin(found, chosen))
            ious.append(overlap(counts, totals, truth, on))
            assert ious[-1] == pytest.approx(expected)
    row = summary([np.array(ious[:7]), np.array(ious[7:])])
    assert row["n"] == 16 and row["mIoU"] == pytest.approx(100 * np.mean(ious))
    for x in (25, 50, 75):
        assert row[f"Pr@{x}"] == pytest.approx(100 * sum(iou >= x / 100 for iou in ious) / 16)


def test_the_interval_is_of_scenes_and_holds_the_truth():
    """Of 200 means over 40 scenes with a known expectation, about 95 % of the intervals hold it."""
    rng, held = np.random.default_rng(0), 0
    for seed in range(200):
        level = rng.uniform(0, 1, 40)  # a scene's difficulty, common to its questions
        row = summary([np.clip(rng.normal(x, 0.05, 12), 0, 1) for x in level], seed)
        held += row["low"] <= 50 <= row["high"]
    assert 180 <= held <= 198


def test_operating_points_lie_on_the_curve_of_scikit_learn():
    rng = np.random.default_rng(1)
    present, absent = rng.beta(4, 2, 400), rng.beta(2, 4, 300)
    row = refusal(present, absent)
    wrong, right, _ = roc_curve(np.r_[np.ones(400), np.zeros(300)], np.r_[present, absent], drop_intermediate=False)
    assert row["AUROC"] == pytest.approx(auc(wrong, right))
    assert row["present refused at 90 % of absent"] == pytest.approx(100 * (1 - right[wrong <= 0.1 + 1e-9].max()))
    assert row["absent refused at 5 % of present"] == pytest.approx(100 * (1 - wrong[right >= 0.95 - 1e-9].min()))
    assert refused(present, row["threshold at 5 %"]) <= 5


def features(*rows):
    return torch.tensor(rows, dtype=torch.float32)


def test_answers_are_those_of_the_scores():
    labels, found = scene_of(np.random.default_rng(2))
    # Instance 1 is a mug and also fairly red, 2 a red hammer, 3 nothing at all.
    seen = SeenInstances(found, features([0.8, 0, 0.45, 0, 0], [0, 0.8, 0.8, 0, 0], [0.1, 0.1, 0.1, 0, 0]))
    asked = [
        Question("a mug", "class", [2]),
        Question("a red thing", "attribute", [3]),
        Question("a giraffe", "absent", []),
    ]
    answers = ask(asked, seen, labels, Text(), CONFIG)
    expected = [jaccard_score(labels == 2, found == 1), jaccard_score(labels == 3, found == 2)]
    scores = answers.scores(CONFIG)
    np.testing.assert_allclose(answers.ious(scores, 0.5, 0.5)[:2], expected)
    # Without a rival's threshold the fairly red mug is an answer too.
    both = answers.ious(scores, 0.0, 0.5)[1]
    assert both == pytest.approx(jaccard_score(labels == 3, np.isin(found, (1, 2))))
    tables = referring([answers], CONFIG, 0.5, 0.5)
    assert set(tables) == {"class", "attribute", "all"} and tables["all"]["n"] == 2
    assert tables["all"]["mIoU"] == pytest.approx(100 * np.mean(expected))
    assert (best(scores) > 0.5).tolist() == [True, True, False]


def test_a_view_without_instances_answers_nothing():
    labels, found = scene_of(np.random.default_rng(3))
    seen = SeenInstances(np.zeros_like(found), torch.zeros(0, 5))
    asked = [Question("a mug", "class", [2]), Question("a giraffe", "absent", []), Question("a hammer", "other", [])]
    answers = ask(asked, seen, labels, Text(), CONFIG)
    assert referring([answers], CONFIG, 0.5, 0.5)["all"]["mIoU"] == 0
    assert refusals([answers], CONFIG, 0.5)["refused"] == {"present": 100, "class": 100, "absent": 100, "other": 100}
    assert semantic_ious({"mug": [2]}, seen, labels, Text(), CONFIG).tolist() == [0]


def test_semantic_iou_is_that_of_scikit_learn():
    labels, found = scene_of(np.random.default_rng(4))
    seen = SeenInstances(found, features([0.8, 0, 0, 0, 0], [0.5, 0.6, 0, 0, 0], [0.7, 0.1, 0, 0, 0]))
    named = {"a hammer": [3], "a mug": [2, 4]}
    predicted = np.array([0, 2, 1, 2])[found]
    truth = np.array([0, 0, 2, 1, 2])[labels]
    expected = jaccard_score(truth, predicted, labels=[1, 2], average=None)
    np.testing.assert_allclose(semantic_ious(named, seen, labels, Text(), CONFIG), expected)


def test_questions_are_true_and_absent_ones_fit_nothing():
    specs = {spec.name: spec for spec in catalogue()}
    names = {2: "mug_00", 3: "hammer_00", 4: "spoon_00"}
    mask = np.ones((100, 100), np.uint8)
    mask[:30, :30], mask[50:80, 50:80], mask[90, :10] = 2, 3, 4  # of the spoon too little to ask for
    scene = SimpleNamespace(objects={k: {"name": name, "category": name[:-3]} for k, name in names.items()})
    for which in ("training", "heldout"):
        asked = questions(scene, areas_of(mask), specs, which, np.random.default_rng(0))
        assert {q.family for q in asked} >= {"class", "attribute", "affordance", "absent", "other"}
        for q in asked:
            fits = [label for label in (2, 3) if matches(specs[names[label]], q.phrase)]
            assert fits == q.labels and bool(fits) == (q.family not in ("absent", "other"))
            assert q.labels or not matches(specs["spoon_00"], q.phrase)
    assert categories(scene, mask.ravel()) == {"hammer": [3], "mug": [2], "spoon": [4]}


def test_phrases_are_asked_in_the_paper_s_mix():
    """Of many objects whose families have enough phrases, the shares are those of table 6."""
    specs = {spec.name: spec for spec in catalogue()}
    rich = [
        name for name, spec in specs.items() if all(len(said) > 3 for said in describe_object(spec).training.values())
    ]
    labels, counts = range(2, 202), Counter()
    scene = SimpleNamespace(objects={k: {"name": rich[k % len(rich)], "category": ""} for k in labels})
    areas = np.full(256, 10000)
    for q in questions(scene, areas, specs, "training", np.random.default_rng(0), mix=True):
        counts[q.family] += 1
    asked = sum(counts[family] for family in FAMILIES)
    assert asked == 4 * len(labels)
    assert paper_mix(FAMILIES)["open"] == pytest.approx(458.9 / 839.0)
    for family, share in paper_mix(FAMILIES).items():
        assert counts[family] / asked == pytest.approx(share, abs=0.05)


def test_what_is_evaluated_is_what_the_pipeline_answers():
    """The shipped path on the demo's frame: same scores, same refusals, and the answered pixels but for specks."""
    pytest.importorskip("rosbags", reason="rosbags is not installed (extra `ros`)")
    grounder = Grounder.from_pretrained(device="cpu")
    scene = grounder.encode(load_bag_frame(Path(__file__).resolve().parents[2] / "demo" / "tabletop"))
    for query in ("the red mug", "the banana", "something to drink from", "a giraffe"):
        result = grounder.ground(scene, query)
        labels = np.zeros(scene.frame.depth.size, np.uint8)
        for found in result.objects:
            labels[scene.pixels[found.points]] = 2
        seen = of_encoded(scene, grounder)
        answers = ask([Question(query, "class", [2])], seen, labels, grounder.text, grounder.config)
        scores = answers.scores(grounder.config)
        assert best(scores)[0] == pytest.approx(result.scores.max(), abs=1e-6)
        assert (best(scores)[0] <= result.threshold) == (result.status == Status.NOT_FOUND)
        assert answers.ious(scores, grounder.objects.rival, result.threshold)[0] > 0.98
