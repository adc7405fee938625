# SPDX-License-Identifier: Apache-2.0
"""Inference as section 3.4, table 10 and the published release have it, written out point by point."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dropclip_ros.grounding.scoring import referring_scores, rival_threshold
from dropclip_ros.networks.model_folder import ModelConfig
from training.evaluate.inference import Answer, Asker, InferenceConfig, Negatives, calibrate, probabilities
from training.evaluate.metrics import overlap
from training.evaluate.protocol import FeatureCloud, ScoreCloud
from training.evaluate.questions import Question
from training.fusion.weights import ScenePrompts
from training.objects.procedural.objects import catalogue
from training.objects.words.phrases import CANONICAL_NEGATIVES


def case(rng, rows=30, phrases=5, prompts=9):
    """Similarities of rows with phrases, and negatives, of which the last phrase has none."""
    used = torch.from_numpy(rng.random((phrases, prompts)) < 0.5)
    used[-1] = False
    similarity, others = (torch.from_numpy(rng.uniform(-0.1, 0.4, (rows, n))).float() for n in (phrases, prompts))
    return similarity, Negatives(others, used)


@pytest.mark.parametrize("temperature", [1.0, 0.1, 1e-4])
@pytest.mark.parametrize("null", [None, 0.2])
def test_probabilities_are_the_softmax_of_section_3_4(temperature, null):
    similarity, negatives = case(np.random.default_rng(0))
    found = probabilities(similarity, negatives, InferenceConfig(temperature=temperature, null=null))
    for k, q in np.ndindex(*similarity.shape):
        classes = [similarity[k, q], *negatives.similarity[k, negatives.used[q]], *([] if null is None else [null])]
        expected = torch.softmax(torch.tensor(classes, dtype=torch.float64) / temperature, dim=0)[0]
        assert found[k, q] == pytest.approx(expected.item(), abs=1e-9)


def test_the_null_class_is_that_of_the_package():
    similarity, negatives = case(np.random.default_rng(1))
    negatives.used[:] = True
    model = ModelConfig("test", temperature=0.05, null_similarity=0.3, threshold=0.4)
    config = InferenceConfig.of_model(model, rival=0.5)
    found = probabilities(similarity, negatives, config)
    for q in range(similarity.shape[1]):
        classes = torch.cat([similarity[:, q : q + 1], negatives.similarity], dim=1)
        expected = referring_scores(classes, model.temperature, model.null_similarity)
        np.testing.assert_allclose(found[:, q], expected, rtol=1e-4)
    answer = Answer(
        [Question("", "class", [2])] * 5, np.zeros((3, 30)), np.ones(3), similarity, {"canonical": negatives}
    )
    for score, chosen in zip(found.T.numpy(), answer.chosen(config), strict=True):
        np.testing.assert_array_equal(chosen, score > rival_threshold(score, 0.4, 0.5))


def test_the_release_is_the_least_of_pairwise_softmaxes_stretched_over_the_scene():
    similarity, negatives = case(np.random.default_rng(2))
    found = probabilities(similarity, negatives, InferenceConfig(release=True))
    for q in range(4):
        pairs = np.array(
            [
                [torch.softmax(torch.stack([row[q], other]).double() / 0.1, dim=0)[0] for other in others]
                for row, others in zip(similarity, negatives.similarity[:, negatives.used[q]], strict=True)
            ]
        )
        least = pairs.min(axis=1)
        np.testing.assert_allclose(found[:, q], (least - least.min()) / (least.max() - least.min()), atol=1e-6)
    assert (found[:, -1] == 1).all()  # nothing to compare with
    assert probabilities(similarity[:1], None, InferenceConfig(negatives="none", null=0.9, release=True)).eq(1).all()


def labelled(rng, similarity, negatives):
    """An answer to questions about labels 2 to 5, the last about nothing."""
    counts = np.zeros((6, len(similarity)), np.int32)
    counts[2 + np.arange(len(similarity)) % 4, np.arange(len(similarity))] = rng.integers(1, 9, len(similarity))
    asked = [Question("", "class", labels) for labels in ([2], [3], [2, 4], [5], [])]
    negatives = {"scene": negatives, "canonical": Negatives(negatives.similarity, torch.ones_like(negatives.used))}
    return Answer(asked, counts, counts.sum(1) + 1, similarity, negatives)


CONFIGS = (
    InferenceConfig("argmax"),
    InferenceConfig("argmax", null=0.1),
    InferenceConfig(threshold=0.3),
    InferenceConfig(negatives="canonical", threshold=0.2, null=0.2, rival=0.5),
    InferenceConfig(release=True),
    InferenceConfig(negatives="none", threshold=0.15),
)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_what_is_chosen_is_what_is_measured(config):
    rng = np.random.default_rng(3)
    similarity, negatives = case(rng)
    answer = labelled(rng, similarity, negatives)
    chosen, ious = answer.chosen(config), answer.ious(config)
    assert chosen.shape == (5, 30) and chosen[:4].any() and not chosen[:4].all()
    assert np.isnan(ious[4])
    for question, iou, on in zip(answer.questions[:4], ious, chosen, strict=False):
        assert iou == pytest.approx(overlap(answer.counts, answer.totals, question.labels, on))
    if config.method == "argmax":
        for k, q in np.ndindex(*similarity.shape):
            others = [*negatives.similarity[k, negatives.used[q]].tolist(), config.null or -2]
            assert chosen[q, k] == all(similarity[k, q].item() > other for other in others)
    elif config.negatives == "none":
        np.testing.assert_array_equal(chosen, (similarity.double() > 0.15).T)


def test_a_scene_without_rows_or_without_questions_is_answered_with_nothing():
    for config in CONFIGS:
        for rows, phrases in ((0, 5), (30, 0)):
            similarity = torch.zeros(rows, phrases)
            negatives = Negatives(torch.zeros(rows, 3), torch.ones(phrases, 3, dtype=torch.bool))
            asked = [Question("", "class", [2])] * phrases
            both = {"scene": negatives, "canonical": negatives}
            answer = Answer(asked, np.zeros((3, rows), np.int32), np.ones(3), similarity, both)
            assert (answer.ious(config) == 0).all() and answer.best(config).shape == (phrases,)
            assert answer.chosen(config).shape == (phrases, rows)


def test_calibration_finds_the_best_of_the_grid():
    rng = np.random.default_rng(4)
    answers = [labelled(rng, *case(rng)) for _ in range(3)]
    temperatures, thresholds = (0.05, 0.2), (0.05, 0.1, 0.2, 0.4)
    for config in (InferenceConfig(), InferenceConfig(negatives="canonical", null=0.2), InferenceConfig(release=True)):
        fitted, curve = calibrate(answers, config, temperatures, thresholds)
        for (temperature, threshold), value in curve.items():
            tried = InferenceConfig(
                config.method, config.negatives, threshold, temperature, config.release, config.null
            )
            assert value == pytest.approx(np.nanmean([answer.ious(tried) for answer in answers]))
        assert curve[fitted.temperature, fitted.threshold] == max(curve.values()) and len(curve) == 8
    fitted, curve = calibrate(answers, InferenceConfig(negatives="none"))
    assert len(curve) == 100 and -0.1 < fitted.threshold < 0.4 and fitted.temperature == 0.1
    assert calibrate(answers, InferenceConfig("argmax"))[0] == InferenceConfig("argmax")
    with pytest.raises(ValueError, match="no question"):
        calibrate([], InferenceConfig())


@pytest.mark.parametrize(
    "options",
    [
        {"method": "best"},
        {"negatives": "some"},
        {"threshold": 1.5},
        {"temperature": 0},
        {"null": float("nan")},
        {"rival": 2},
        {"method": "argmax", "negatives": "none"},
        {"release": True, "negatives": "none"},
        {"method": "argmax", "release": True},
        {"rival": 0.5, "negatives": "none"},
    ],
)
def test_a_config_refuses_what_it_cannot_do(options):
    with pytest.raises(ValueError, match="expected"):
        InferenceConfig(**options)


class Text:
    """Each phrase an axis, in the order they come."""

    mean_object = None

    def __init__(self):
        self.phrases = []

    def encode(self, phrases):
        self.phrases += [phrase for phrase in dict.fromkeys(phrases) if phrase not in self.phrases]
        return torch.eye(9)[[self.phrases.index(phrase) % 9 for phrase in phrases]]


def test_negatives_are_what_the_phrase_does_not_fit():
    of = {name: [s for s in catalogue() if s.category == name] for name in ("mug", "hammer", "spoon")}
    specs = [spec for some in of.values() for spec in some[:4]]
    there = (*of["mug"][:3], of["hammer"][0])
    entries = {label: {"name": spec.name, "category": spec.category} for label, spec in enumerate(there, 2)}
    scene = SimpleNamespace(name="scene", objects=entries | {9: entries[5]})
    labels = np.repeat([2, 3, 4, 5, 9], 4)
    cloud = SimpleNamespace(labels=labels)
    text = Text()
    said = FeatureCloud(labels - 2, torch.eye(8, 9), text)
    asked = [
        Question("mug", "class", [2, 3, 4]),
        Question("hammer", "class", [5, 9]),
        Question("giraffe", "absent", []),
    ]
    asker = Asker(specs, ScenePrompts(specs, text))
    answer = asker.ask(said, scene, cloud, asked)
    assert answer.counts.shape == (10, 8) and answer.counts[9, 7] == 4 and answer.totals[2] == 4
    assert {mode: negatives.used.sum(1).tolist() for mode, negatives in answer.negatives.items()} == {
        "scene": [1, 3, 4],  # the hammer that is there twice counts once
        "canonical": [len(CANONICAL_NEGATIVES)] * 3,
        "all": [sum(spec.category != name for spec in specs) for name in ("mug", "hammer", "")],
    }
    # By categories, for methods without features and for objects that are not of the catalogue.
    scores = ScoreCloud(said.row, said.similarity)
    foreign = SimpleNamespace(name="x", objects={k: e | {"name": f"obj {k}"} for k, e in scene.objects.items()})
    named = Asker(specs, asker.prompts, ("scene", "all"), "cls")
    for answer in (asker.ask(scores, scene, cloud, asked), named.ask(said, scene, cloud, asked)):
        assert answer.negatives["scene"].used.tolist() == [[True, False], [False, True], [True, True]]
        assert answer.negatives["all"].used.sum(1).tolist() == [2, 2, 3]
    answer = Asker(specs, asker.prompts, ("scene",)).ask(said, foreign, cloud, asked)
    assert answer.negatives["scene"].used.tolist() == [[True, False], [False, True], [True, True]]
