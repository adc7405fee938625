# SPDX-License-Identifier: Apache-2.0
"""What is said about objects, and which objects of a scene each phrase fits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.objects.catalogue import Catalogue, matches
from training.objects.spec import TRAIN, ObjectSpec
from training.objects.words.phrases import FAMILIES, normal
from training.objects.words.wording import describe_object
from training.scenes.queries import scene_queries

PROCEDURAL = Catalogue.procedural().specs


def mesh(category: str, prompts: dict[str, tuple[str, ...]] | None = None, **attributes: str) -> ObjectSpec:
    return ObjectSpec("x", category, TRAIN, attributes, mesh="x.obj", prompts=prompts)


def made(category: str, **attributes: str) -> ObjectSpec:
    return ObjectSpec("x", category, TRAIN, {"material": "plastic"} | attributes)


CEREAL = mesh("cereal box", color="brown", title="chocolate", brand="Kellogg's", state="unopened", material="cardboard")
BOTTLE = mesh("water bottle", color="dark blue", color2="silver", material="stainless steel", utility="hiking")


@pytest.mark.parametrize(
    "family, phrase",
    [
        ("class", "cereal"),
        ("attribute", "brown cereal box"),
        ("open", "Kellogg's chocolate"),
        ("affordance", "something to eat for breakfast"),
    ],
)
def test_the_papers_examples_are_said_of_a_mesh(family, phrase):
    assert phrase in describe_object(CEREAL).training[family]


@pytest.mark.parametrize(
    "phrase, fits",
    [
        ("the bottle", True),
        ("blue bottle", True),
        ("Dark blue water bottle.", True),
        ("blue and silver bottle", True),
        ("something gray", True),
        ("metal bottle", True),
        ("water bottle made of metal", True),
        ("bottle for hiking", True),
        ("drinking flask", True),
        ("water", False),
        ("dark bottle", False),
        ("green bottle", False),
        ("plastic bottle", False),
        ("brown object", False),
    ],
)
def test_wider_words_fit_a_mesh_and_others_do_not(phrase, fits):
    assert matches(BOTTLE, phrase) is fits


def test_nothing_is_said_about_what_is_not_known():
    said = describe_object(mesh("widget")).training
    assert said == {"class": ("widget",), "attribute": (), "affordance": (), "open": ()}


def test_a_mesh_is_not_taken_for_a_procedural_object():
    """The tables say of a procedural hammer's colour that its handle has it, and where the second colour is."""
    assert matches(made("hammer", color="red"), "hammer with a red handle")
    assert not matches(mesh("hammer", color="red"), "hammer with a red handle")
    assert matches(mesh("hammer", color="red"), "something to hit a nail with")
    assert not matches(mesh("milk carton", color="white", color2="blue"), "milk carton with a blue top")


def test_distractors_are_all_listed():
    queries = scene_queries(
        {
            2: made("mug", color="blue"),
            3: mesh("mug", color="dark blue", material="ceramic"),
            4: made("mug", color="red"),
            5: made("ball", color="blue"),
            6: mesh("coffee mug", color="red", color2="blue"),
        }
    )
    assert set(queries) == set(FAMILIES)
    assert queries["class"]["mug"] == [2, 3, 4, 6] and queries["class"]["ball"] == [5]
    assert queries["attribute"]["blue mug"] == [2, 3, 6] and queries["attribute"]["red mug"] == [4, 6]
    assert queries["attribute"]["something blue"] == [2, 3, 5, 6]
    assert queries["attribute"]["plastic mug"] == [2, 4]
    assert queries["affordance"]["something to drink coffee from"] == [2, 3, 4, 6]


def test_what_one_thing_is_good_for_goes_for_its_like():
    vase = {"class": ("vase",), "affordance": ("I need to put my roses somewhere",)}
    queries = scene_queries(
        {
            2: mesh("vase", vase),
            3: mesh("vase", color="red"),
            4: mesh("container", **{"class": "flower vase"}),
            5: mesh("container"),
        }
    )
    assert queries["affordance"] == {"I need to put my roses somewhere": [2, 3, 4]}
    box = {"affordance": ("I want something sweet",)}
    queries = scene_queries({2: mesh("box", box, **{"class": "cereal box"}), 3: mesh("box", **{"class": "shoe box"})})
    assert queries["affordance"]["I want something sweet"] == [2]


def test_the_same_phrase_in_two_spellings_is_one():
    first, second = ({"class": (name,)} for name in ("Mug", "the mug"))
    queries = scene_queries({2: mesh("cup", first), 3: mesh("beaker", second)})
    assert queries["class"] == {"Mug": [2, 3]}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(PROCEDURAL), min_size=1, max_size=12), st.sampled_from(["training", "heldout"]))
def test_queries_agree_with_matches(specs, which):
    """Each phrase is listed once, with exactly the objects it fits, at least the one it is said of."""
    scene = dict(enumerate(specs, 2))
    queries = scene_queries(scene, which)
    for label, spec in scene.items():
        for family, said in getattr(describe_object(spec), which).items():
            labels = {normal(phrase): fits for phrase, fits in queries[family].items()}
            assert all(label in labels[normal(phrase)] for phrase in said)
    for family, of_family in queries.items():
        for phrase, labels in of_family.items():
            fits = [label for label, spec in scene.items() if matches(spec, phrase)]
            if family == "affordance":  # a tennis ball may be called a ball, so it is good for what balls are
                assert set(fits) <= set(labels)
            else:
                assert labels == fits
