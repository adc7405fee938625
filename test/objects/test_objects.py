# SPDX-License-Identifier: Apache-2.0
"""The procedural objects: splits that hold, meshes that physics and renderers accept, phrases that are true."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from training.objects.catalogue import matches
from training.objects.procedural.objects import HELDOUT_CATEGORIES, KINDS, build, catalogue
from training.objects.spec import TRAIN, ObjectSpec
from training.objects.words import phrases
from training.objects.words import vocabulary_facts as facts
from training.objects.words.vocabulary_uses_heldout import HELDOUT_AFFORDANCES

SPECS = catalogue(seed=0)
CATEGORIES = list(KINDS)


def spec(category: str, **attributes: str) -> ObjectSpec:
    return ObjectSpec("x", category, TRAIN, {"material": "plastic"} | attributes, 0)


def test_catalogue_is_deterministic():
    assert catalogue(seed=0) == SPECS
    assert catalogue(seed=1) != SPECS


def test_more_rounds_only_add():
    first = catalogue(rounds=1)
    assert len(first) < len(SPECS) and set(map(repr, first)) <= set(map(repr, SPECS))


@pytest.mark.parametrize(
    "category, specs, mesh",
    [
        ("mug", "749b4159256a", "b1849ce11cc3"),
        ("juice carton", "6fa0916bc365", "60225581ff56"),
        ("donut", "1a5e5b4777a6", "cbd0b63d8c5b"),
        ("scissors", "63b04f330d38", "bd789821a008"),
        ("calculator", "a4693c828f76", "1395a1b6f867"),
    ],
)
def test_objects_of_earlier_scenes_stay_as_they_are(category, specs, mesh):
    """Scenes on disk name their objects, so that queries, splits and meshes can be made again."""
    chosen = [item for item in SPECS if item.category == category]
    said = [repr((item.name, item.category, item.split, item.attributes, item.seed)) for item in chosen]
    assert hashlib.sha256("".join(said).encode()).hexdigest().startswith(specs)
    model = build(chosen[1])
    arrays = (model.vertices, model.faces, model.uv, model.texture)
    assert hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest().startswith(mesh)


def test_names_are_unique():
    assert len({item.name for item in SPECS}) == len(SPECS)


@pytest.mark.parametrize("category", CATEGORIES)
def test_splits_have_the_promised_sizes(category):
    counts = Counter(item.split for item in SPECS if item.category == category)
    if category in HELDOUT_CATEGORIES:
        assert counts == {"unseen_category": 18}
    else:
        assert counts == {"train": 36, "unseen_instance": 9}


def test_phrases_know_all_categories_and_no_others():
    words, uses = phrases.words, phrases.uses
    assert set(words.NOUNS) == set(KINDS)
    tables = (
        words.GROUPS,
        words.HELDOUT_GROUPS,
        uses.AFFORDANCES,
        HELDOUT_AFFORDANCES,
        facts.FACTS,
        facts.HELDOUT_FACTS,
    )
    named = {category for table in tables for categories in table.values() for category in categories}
    assert named <= set(KINDS)
    assert set(words.LABELS) | set(words.DETAILS) <= set(KINDS)


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_category_has_enough_to_say(category):
    item = next(item for item in SPECS if item.category == category)
    said = phrases.describe(category, item.attributes)
    assert set(said.training) == set(said.heldout) == set(phrases.FAMILIES)
    assert len(said.training["class"]) >= 3 and len(said.heldout["class"]) >= 1
    assert len(said.heldout["affordance"]) >= 2
    if category not in HELDOUT_CATEGORIES:
        assert len(said.training["affordance"]) >= 4


def said_in_training():
    """All phrases of the objects that training sees."""
    told = [phrases.describe(item.category, item.attributes).training for item in SPECS if item.split == "train"]
    return {phrase for families in told for said in families.values() for phrase in said}


def test_heldout_phrases_never_occur_in_training():
    told = [phrases.describe(item.category, item.attributes).heldout for item in SPECS]
    heldout = {phrases.normal(phrase) for families in told for said in families.values() for phrase in said}
    assert heldout and not heldout & {phrases.normal(phrase) for phrase in said_in_training()}


def test_training_never_hears_of_heldout_categories():
    nouns = {noun for category in HELDOUT_CATEGORIES for noun in phrases.words.NOUNS[category][0]}
    assert not nouns & said_in_training()


def test_absent_phrases_fit_nothing():
    calibration, test = phrases.ABSENT_PHRASES["calibration"], phrases.ABSENT_PHRASES["test"]
    assert len(calibration) + len(test) >= 80 and not set(calibration) & set(test)
    absent = {phrases.normal(phrase) for phrase in (*calibration, *test)}
    assert not any(absent & phrases.describe(item.category, item.attributes).accepted for item in SPECS)


@pytest.mark.parametrize("category", CATEGORIES)
def test_models_are_valid(category):
    item = [item for item in SPECS if item.category == category][1]
    model, again = build(item), build(item)
    assert np.array_equal(model.vertices, again.vertices) and np.array_equal(model.texture, again.texture)
    assert model.vertices.dtype == np.float32 and model.faces.dtype == np.int32 and model.uv.dtype == np.float32
    assert np.isfinite(model.vertices).all() and model.uv.min() >= 0 and model.uv.max() <= 1
    assert model.faces.min() >= 0 and model.faces.max() < len(model.vertices) == len(model.uv)
    assert 12 <= len(model.faces) <= 3000
    size = np.ptp(model.vertices, axis=0)
    assert 0.01 <= size.max() <= 0.35 and size.min() >= 0.003
    np.testing.assert_allclose(model.vertices.min(axis=0), -model.vertices.max(axis=0), atol=1e-5)
    assert ConvexHull(model.vertices).volume > 0 and 0.005 <= model.mass <= 2.0
    assert all(ConvexHull(hull).volume > 0 for hull in model.hull_parts)
    assert model.texture.shape == (256, 256, 3) and model.texture.dtype == np.uint8


@pytest.mark.parametrize("category", CATEGORIES)
def test_faces_look_outward(category):
    """A mesh of closed or nearly closed parts encloses a positive volume only if wound outward."""
    model = build(next(item for item in SPECS if item.category == category))
    a, b, c = (model.vertices[model.faces[:, k]].astype(float) for k in range(3))
    assert np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6 > 0


@pytest.mark.parametrize(
    "phrase, fits",
    [
        ("a red mug", True),
        ("the mug", True),
        ("red thing", True),
        ("something red", True),
        ("something to drink from", True),
        ("anything red", True),
        ("red cup", True),
        ("mug with white dots", True),
        ("blue mug", False),
        ("red bowl", False),
        ("mug with white stripes", False),
        ("something to drive nails", False),
        ("giraffe", False),
    ],
)
def test_matches_tells_the_truth_of_a_red_mug(phrase, fits):
    assert matches(spec("mug", color="red", color2="white", pattern="dotted"), phrase) is fits


def test_a_phrase_fits_all_objects_it_describes():
    fit = {item.category for item in SPECS if matches(item, "Something to drink from.")}
    assert {"mug", "tumbler"} <= fit and "bowl" not in fit
    assert all(item.attributes["color"] == "red" for item in SPECS if matches(item, "red object"))


def test_printed_flavours_are_known():
    assert matches(spec("juice carton", color="red", flavour="strawberry", brand="suna"), "strawberry juice")
    assert not matches(spec("juice carton", color="green", flavour="apple", brand="suna"), "strawberry juice")


def test_only_the_handle_of_a_knife_is_wooden():
    knife = spec("knife", color="brown", material="wood")
    assert matches(knife, "knife with a wooden handle") and not matches(knife, "wooden knife")


def test_silver_passes_for_gray_but_is_not_taught_so():
    spoon = spec("spoon", color="silver", material="metal")
    assert matches(spoon, "something gray") and not matches(spoon, "something red")
    assert "something gray" not in phrases.describe("spoon", spoon.attributes).training["attribute"]
