# SPDX-License-Identifier: Apache-2.0
"""Calibration: on scenes of any catalogue, and a score of 0.5 between what is there and what is not."""

import numpy as np
import torch
from distill_support import LABELS, write_data
from mvtod_support import CATALOGUE

from dropclip_ros.grounding.scoring import referring_scores
from dropclip_ros.networks.model_folder import ModelConfig
from training.evaluate.questions import Question
from training.evaluate.served.calibrate import best_similarities, calibrate_method
from training.evaluate.served.pipeline import SeenInstances, nothing
from training.scenes.shards import load_scenes


class Text:
    """Tins and boxes as axes; whatever else is a third one, and a little of both."""

    mean_object = None

    def encode(self, phrases):
        return torch.stack(
            [torch.eye(3)[["tin", "box"].index(p)] if p in ("tin", "box") else self.other(p) for p in phrases]
        )

    @staticmethod
    def other(phrase):
        small = 0.1 + 0.01 * (len(phrase) % 5)
        return torch.tensor([small, small, 1.0])


def perfect(scene, v):
    """True masks, each with the axis of its category."""
    labels = scene.view(v).mask.ravel()
    number = np.zeros(256, np.int64)
    number[LABELS] = 1, 2, 3
    return SeenInstances(number[labels], torch.eye(3)[[1, 1, 0]])


def test_phrases_are_those_of_the_catalogue_and_half_way_lies_between_present_and_absent(tmp_path, monkeypatch):
    scenes = load_scenes(write_data(tmp_path, 4)[0])
    asked = [("tin", "class", [LABELS[2]]), ("box", "class", LABELS[:2])]
    said = []

    def questions(scene, areas, specs, which, rng, absent):
        said.append(set(specs))
        return [Question(*one) for one in asked]

    monkeypatch.setattr("training.evaluate.served.calibrate.questions", questions)
    best, fits, owner = best_similarities(perfect, Text(), scenes, CATALOGUE.specs)
    assert said == [{"red_box", "blue_box", "tin"}] * 4
    assert (
        len(best) == len(owner) == 4 * (2 + 8)
        and set(owner) == {0, 1, 2, 3}
        and fits.sum() == 8
        and best[fits].min() > 0.9 > 0.2 > best[~fits].max()
    )
    config = calibrate_method(perfect, Text(), ModelConfig("m"), scenes, CATALOGUE.specs)
    scores = [
        referring_scores(torch.tensor([[s]]), config.temperature, config.null_similarity).item() for s in (0.9, 0.2)
    ]
    assert scores[0] > config.threshold == 0.5 > scores[1]


def test_a_view_that_shows_nothing_tells_nothing(tmp_path):
    scenes = load_scenes(write_data(tmp_path, 2)[0])

    def half_blind(scene, v):
        return nothing(scene.view(v).mask.size, 3) if scene is scenes[0] else perfect(scene, v)

    best, fits, _ = best_similarities(half_blind, Text(), scenes, CATALOGUE.specs)
    assert (~fits).sum() == 8 and len(best) == len(fits)
