# SPDX-License-Identifier: Apache-2.0
"""Networks judged side by side: what a perfect and a confused one score, and runs that are not made again."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from distill_support import LABELS, targets, tiny, write_data
from mvtod_support import CATALOGUE

from dropclip_ros.networks.encoder import MinkUNet14D
from training.distill import ablate, judge
from training.distill.ablate import ABLATIONS, Bench, changed, place
from training.distill.judge import KINDS, Judge
from training.evaluate.data.mvtod import MvtodScene
from training.evaluate.protocol import FeatureCloud
from training.evaluate.questions import Question
from training.scenes.shards import load_scenes


class Text:
    """Names the boxes' categories: a tin is the third axis."""

    mean_object = None

    def encode(self, phrases):
        return torch.stack(
            [torch.eye(4)[2] if "tin" in phrase else torch.tensor([0.7, 0.7, 0, 0]) for phrase in phrases]
        )


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """A judge of two scenes, and a way to say what the network answers for each object."""
    folder, _ = write_data(tmp_path, 2)
    monkeypatch.setattr(judge, "specs_of", lambda name: {spec.name: spec for spec in CATALOGUE.specs})
    monkeypatch.setattr(
        MvtodScene,
        "questions",
        lambda self, v: [judge_question("a tin", [LABELS[2]]), judge_question("a box", LABELS[:2])],
    )
    scenes = [MvtodScene(scene.source, scene.name) for scene in load_scenes(folder)]
    found = Judge(scenes, targets(2), Text(), tmp_path / "clouds")

    def of(answers):
        class Network:
            def __init__(self, grounder):
                pass

            def __call__(self, scene, cloud):
                return FeatureCloud(np.arange(len(cloud)), torch.eye(4)[answers][cloud.labels - LABELS[0]], Text())

        monkeypatch.setattr(judge, "Student", Network)
        monkeypatch.setattr(judge, "InstanceMethod", Network)
        config = tiny(offset_weight=0.0)
        return found(MinkUNet14D(config.encoder), config.voxels)

    return of


def judge_question(phrase, labels):
    return Question(phrase, "class", labels)


def test_a_network_that_knows_all_is_perfect_from_one_view_a_noisy_one_and_all(judged):
    scores = judged([0, 1, 2])
    assert {name.split()[0] for name in scores} == set(KINDS)
    for name, value in scores.items():
        assert value == pytest.approx(0 if name.endswith("cosine") else 100, abs=1e-4), name


def test_a_network_that_takes_one_object_for_another_loses_by_each_measure(judged):
    scores = judged([2, 1, 0])
    for kind in KINDS:
        assert 0 < scores[f"{kind} cosine"] < 1
        assert scores[f"{kind} objects"] == pytest.approx(100 / 3)
        assert scores[f"{kind} semantic"] < 60 and scores[f"{kind} referring"] < 60
    assert scores["view by instances"] == scores["view referring"]


def test_every_ablation_changes_the_recipe_alone_where_it_says(tmp_path):
    recipe = tiny(phrase_weight=0.5)
    for name, changes in ABLATIONS.items():
        other = dataclasses.asdict(changed(recipe, changes))
        for path, value in changes.items():
            *parents, field = path.split(".")
            found = other["augment"] if parents else other
            assert found.pop(field) == value, name
        before = dataclasses.asdict(recipe)
        before["augment"] = {k: v for k, v in before["augment"].items() if k in other["augment"]}
        assert other == {k: v for k, v in before.items() if k in other}, name


def test_what_is_judged_is_not_trained_again(tmp_path, monkeypatch, capsys):
    bench = Bench(tmp_path, tmp_path, tmp_path, tmp_path, tmp_path / "out", splits=("validation",))
    monkeypatch.setattr(Bench, "load", lambda self, model: (None, None, {}))
    monkeypatch.setattr(ablate, "start_encoder", lambda model: pytest.fail("it was trained again"))
    for value, (name, seed) in enumerate((("before", 0), ("as it is", 0), ("as it is", 1))):
        path = place(bench.out, name, seed)
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"validation": dict.fromkeys(ablate.COLUMNS, value)}))
    ablate.main(bench, only=("as it is",), seeds=(0, 1))
    row = capsys.readouterr().out.strip().splitlines()[-1]
    assert row.startswith("| as it is | 1.500 | 1.5 |")
