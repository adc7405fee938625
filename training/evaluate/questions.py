# SPDX-License-Identifier: Apache-2.0
"""What is asked about a view: phrases that fit something there, in four families (section 4), and absent ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.objects.catalogue import matches
from training.objects.spec import ObjectSpec
from training.objects.words.phrases import ABSENT_PHRASES, FAMILIES, paper_mix
from training.objects.words.wording import describe_object
from training.runs.errors import InputError
from training.scenes.scene import Scene

MIN_VISIBLE = 300  # pixels: an object that shows less is not asked for
ABSENT_FAMILIES = ("absent", "other")


@dataclass
class Question:
    """A phrase about a view, its family, and the labels of the objects it fits (empty: absent)."""

    phrase: str
    family: str
    labels: list[int]


def questions(
    scene: Scene,
    areas: np.ndarray,
    specs: dict[str, ObjectSpec],
    which: str,
    rng: np.random.Generator,
    per_object: int = 1,
    absent: int = 4,
    least: int = MIN_VISIBLE,
    mix: bool = False,
) -> list[Question]:
    """For each visible object a phrase of each family, and phrases that fit nothing; `which`: training or heldout.
    mix: as many, but of families drawn as often as they are in the paper's data (table 6).

    areas (256,): pixels or points of each mask label; visible objects have `least`. Half of the absent phrases name
    things outside the catalogue ('absent'), half what is just not here ('other'). InputError where the scene holds an
    object that `specs`, the objects of its catalogue by name, lack.
    """
    if strange := sorted({o["name"] for o in scene.objects.values()} - set(specs)):
        raise InputError(
            f"{scene.name} holds {strange[0]}, which its catalogue lacks; give the catalogue that it was made of"
        )
    present = {label: specs[o["name"]] for label, o in scene.objects.items() if areas[label] > 0}
    visible = {label: spec for label, spec in present.items() if areas[label] >= least}
    asked = []
    for spec in visible.values():
        said = getattr(describe_object(spec), which)
        for family, count in _counts(said, per_object, mix, rng).items():
            for phrase in rng.permutation(said[family])[:count]:
                fits = [label for label, other in visible.items() if matches(other, phrase)]
                asked.append(Question(str(phrase), family, fits))
    for phrase in rng.choice(ABSENT_PHRASES["test"], absent, replace=False):
        if not fits_any(phrase, present.values()):  # another catalogue may have it
            asked.append(Question(str(phrase), "absent", []))
    others = [s for s in specs.values() if s.category not in {p.category for p in present.values()}]
    for spec in rng.choice(np.array(others, object), min(absent, len(others)), replace=False):
        named = getattr(describe_object(spec), which)["class"]
        if not named:  # an object of one's own that has no held-out name
            continue
        phrase = str(rng.choice(named))
        if not fits_any(phrase, present.values()):
            asked.append(Question(phrase, "other", []))
    return asked


def _counts(said: Mapping[str, Sequence[str]], each: int, mix: bool, rng: np.random.Generator) -> dict[str, int]:
    """How many phrases of each family are asked of an object that has so many."""
    counts = dict.fromkeys(FAMILIES, each)
    if not mix:
        return counts
    shares = paper_mix(family for family in FAMILIES if said[family])
    counts = dict.fromkeys(FAMILIES, 0)
    for _ in range(each * len(shares)):
        left = {family: share for family, share in shares.items() if counts[family] < len(said[family])}
        if total := sum(left.values()):
            counts[str(rng.choice(list(left), p=np.array(list(left.values())) / total))] += 1
    return counts


def fits_any(phrase: str, specs: Iterable[ObjectSpec]) -> bool:
    """Does the phrase describe one of the objects?"""
    return any(matches(spec, phrase) for spec in specs)


def areas_of(labels: np.ndarray) -> np.ndarray:
    """How many pixels or points have each mask label, (256,)."""
    return np.bincount(labels.ravel(), minlength=256)


def categories(scene: Scene, labels: np.ndarray) -> dict[str, list[int]]:
    """The categories in view, `labels` being the mask label of each pixel: name -> labels of its objects."""
    seen = set(np.unique(labels).tolist())
    found: dict[str, list[int]] = {}
    for label, entry in scene.objects.items():
        if label in seen:
            found.setdefault(entry["category"], []).append(label)
    return dict(sorted(found.items()))
