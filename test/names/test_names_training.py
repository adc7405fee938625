# SPDX-License-Identifier: Apache-2.0
"""How names are learned and weighed, what is asked that is not there, and where it all comes from."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.path.names import Asked, reliability, wilson
from dropclip_ros.grounding.brands import BRANDS
from dropclip_ros.grounding.pipeline import MODEL_FOLDER
from dropclip_ros.networks.backbone import CLASSES, FEATURES, imagenet_names
from dropclip_ros.networks.model_folder import NAMES
from dropclip_ros.networks.names import WORDINGS, NameBank, Say, wording
from training.names.absent import FOREIGN, OTHER, half, other
from training.names.frames import MORE
from training.names.learn import LearnConfig, learn, say_of_all
from training.names.more import MARKED
from training.names.samples import before, photographed
from training.names.sources import ALLOWED, SAMPLED, TAKEN, provenance
from training.names.uses import USES
from training.names.vocabulary import CALLED, SAID, grocery_name, is_category, own_name, said_of
from training.names.weigh import KINDS, UNIT, Row, confidence, fit, odds_of, refusing
from training.objects.procedural.objects import catalogue
from training.objects.words.phrases import FAMILIES, describe
from training.objects.words.vocabulary import NOUNS


class Text:
    """Embeddings by the first letters of a phrase."""

    def encode(self, phrases, adapted=True):
        generators = (torch.Generator().manual_seed(sum(map(ord, phrase[:3]))) for phrase in phrases)
        rows = [torch.randn(16, generator=generator) for generator in generators]
        return torch.nn.functional.normalize(torch.stack(rows), dim=1)


class Flat:
    def logits(self, features):
        return torch.zeros(len(features), CLASSES)


def test_names_are_learned_from_their_features_and_the_same_each_time():
    torch.manual_seed(1)
    features = torch.randn(200, FEATURES) * 0.1
    names = ["mug", "clamp"] * 100
    features[::2, 0] += 3
    features[1::2, 1] += 3
    config = LearnConfig(steps=60, batch=64)
    bank = learn(features, names, ["meshes"] * 200, Flat(), Text(), config)
    assert bank.names[CLASSES:] == ("clamp", "mug") and bank.samples == {"meshes": 200}
    scores = features @ bank.weight.T + bank.bias
    assert (scores.argmax(1) == torch.tensor([1, 0] * 100)).all()
    again = learn(features, names, ["meshes"] * 200, Flat(), Text(), config)
    assert torch.equal(bank.weight, again.weight)
    assert "mug" in bank.categories and "clamp" not in bank.categories


def rows(count: int = 40) -> list[Row]:
    """Present phrases that only the names tell, absent ones that only the encoder is fooled by."""
    rng, made = np.random.default_rng(0), []
    for k in range(count):
        evidence = torch.tensor(rng.normal(0, 0.3, (5, len(KINDS))), dtype=torch.float32)
        fits = torch.zeros(5, dtype=torch.bool)
        phrase = ("the mug", "the red mug", "something to drink from")[k % 3]
        if k % 2:
            fits[k % 5] = True
            evidence[k % 5, KINDS.index("names")] += 4
        else:
            evidence[k % 5, KINDS.index("encoder")] += 2
        made.append(Row(phrase, evidence, fits, "real" if k % 2 else "real foreign", "scene"))
    return made


def test_what_tells_counts_more_than_what_fools_and_absent_names_are_refused():
    made = rows()
    say = fit(made, {"real": 0.5, "real foreign": 0.5})
    assert set(say) == set(WORDINGS)
    for each in say.values():
        assert each.names / UNIT["names"] > each.encoder / UNIT["encoder"] >= 0
    say = refusing(made, say, {"real foreign": 0.9})
    absent = [float(odds_of(row, say).max()) <= 1e-3 for row in made if row.group == "real foreign"]
    assert np.mean(absent) >= 0.9
    present = [bool(row.fits[odds_of(row, say).argmax()]) for row in made if row.group == "real"]
    assert np.mean(present) == 1


def test_confidence_falls_where_answers_are_wrong():
    made = rows(80)
    say = dict.fromkeys(WORDINGS, Say(20.0, 1.0, 1.0, 6.0, -0.5, 1.0))
    for row in made[1::4]:  # a rival that is nearly as good, and is the one meant
        row.evidence[(int(row.fits.int().argmax()) + 1) % 5] = row.evidence[row.fits][0] - 0.1
        row.fits = row.fits.roll(1)
    factors = np.array(confidence(made, say))
    assert factors @ (3, 3, 1) > factors @ (3, 0.1, 1)


def test_every_own_name_has_something_said_of_it():
    names = {own_name(spec) for spec in catalogue()} | set(SAID) | set(CALLED.values())
    assert all(said_of(name)[0] == name and len(set(said_of(name))) == len(said_of(name)) for name in names)
    assert grocery_name("Milk", "Arla-Standard-Milk") == "milk carton" and grocery_name("Kiwi", "Kiwi") == "kiwi"
    assert is_category("mug") and not is_category("cracker box")
    assert not set(SAID) & set(NOUNS)
    assert {kind for kind, _ in BRANDS.values() if kind} <= names and "cheez-it" in said_of("cracker box")


def test_uses_are_said_of_names_that_there_are_and_are_no_held_out_phrases():
    ours = {own_name(spec) for spec in catalogue()} | set(SAID) | set(CALLED.values())
    assert not set(USES) - ours - set(imagenet_names())
    heldout = {phrase for noun in NOUNS for said in describe(noun, {}).heldout.values() for phrase in said}
    said = {phrase for phrases in USES.values() for phrase in phrases}
    assert not said & heldout
    assert all(phrase and phrase == phrase.strip() and "\n" not in phrase for phrase in said)
    phrases, of = say_of_all((*imagenet_names(), "mug"))
    assert len(set(phrases)) == len(phrases) and phrases[of[of[:, 1] == CLASSES][0, 0]] == "mug"


def test_more_named_frames_are_marked_as_the_others():
    marked = json.loads(MARKED.read_text())
    assert {name.split("_")[0] for name in marked} == set(MORE)
    for name, frame in marked.items():
        assert len(frame["k"]) == 4 and frame["mm"] > 0 and len(other(name)) >= 5
        for said, family, u, v in frame["objects"]:
            assert said and family in FAMILIES and u >= 0 and v >= 0


def test_absent_names_are_many_distinct_and_no_names_of_ours():
    assert len(set(FOREIGN)) == len(FOREIGN) >= 100
    assert not {name.split(" ", 1)[1] for name in FOREIGN} & (set(NOUNS) | set(SAID))
    for frame in OTHER:
        assert len(set(other(frame))) >= 5
        assert all(name.removeprefix("the ") in NOUNS for name in other(frame)), frame
    assert not set(half(FOREIGN, True)) & set(half(FOREIGN, False))
    assert set(half(FOREIGN, True)) | set(half(FOREIGN, False)) == set(FOREIGN)
    assert all(wording(name) in ("name", "use") for name in FOREIGN)


def test_a_sample_keeps_its_object_before_another_background_and_is_the_same_each_time():
    rgb, mask = np.full((60, 80, 3), 200, np.uint8), np.zeros((60, 80), bool)
    mask[20:40, 30:50] = True
    photo = np.random.default_rng(1).integers(0, 255, (90, 90, 3), np.uint8)
    made = before(rgb, mask, [photo], np.random.default_rng(5))
    assert (made[25:35, 35:45] == 200).all() and (made[:10] != 200).any()
    crop = np.random.default_rng(2).integers(0, 255, (192, 192, 3), np.uint8)
    once, again, other_one = (photographed(crop, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert once.shape == (192, 192, 3) and (once == again).all() and (once != other_one).any()


def test_intervals_and_calibration_error():
    low, high = wilson(5, 10)
    assert 0.2 < low < 0.5 < high < 0.8 and wilson(0, 0) == (0, 1)
    sure = [Asked("class", answered=k < 9, confidence=0.9) for k in range(10)]
    assert reliability(sure)[1] == pytest.approx(0)
    assert reliability([Asked("class", answered=False, confidence=0.9)])[1] == pytest.approx(0.9)
    assert reliability([Asked("class")])[0] == []


def test_nothing_whose_licence_forbids_it_is_in_the_weights_and_the_card_says_what_is():
    assert all(source.licence in ALLOWED for source in (*SAMPLED.values(), *TAKEN))
    path = MODEL_FOLDER / NAMES
    if not path.exists():
        pytest.skip("the shipped model has no names")
    samples = NameBank.load(path).samples
    assert set(samples) <= set(SAMPLED)
    card = Path(MODEL_FOLDER / "README.md").read_text()
    assert provenance(samples) in card
