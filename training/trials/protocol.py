# SPDX-License-Identifier: Apache-2.0
"""The paper's protocol (A.7): which objects stand on the table, and which phrase is said of them.

5 to 12 objects, scattered, packed or mixed. Phrases of four families; unless the phrase names the category, other
objects of the target's category stand there too. Everything follows from the seed, the clutter and the number of the
trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dropclip_ros.base.ranges import check_fields, ranged
from training.objects.catalogue import PROCEDURAL, Catalogue, open_catalogue
from training.objects.spec import SPLITS, UNSEEN_INSTANCE, ObjectSpec
from training.objects.words.phrases import FAMILIES
from training.runs.errors import InputError
from training.scenes.description import CLUTTER
from training.scenes.queries import scene_queries

MIN_VISIBLE = 300  # pixels: an object that shows less is not asked for
DISTRACTORS = 3  # at most so many objects of the target's category
DRAWS = 200  # of objects, until some phrase of the family singles one out


@dataclass(frozen=True)
class Protocol:
    """What trials are drawn from.

    wording: training, or heldout for phrases in words that training never used. catalogue: as for `dropclip-mvtod`.
    """

    seed: int = ranged(0, 0, 2**32 - 1)
    split: str = UNSEEN_INSTANCE
    clutter: tuple[str, ...] = CLUTTER
    families: tuple[str, ...] = FAMILIES
    wording: Literal["training", "heldout"] = "training"
    min_objects: int = ranged(5, 2, 255)
    max_objects: int = ranged(12, 2, 255)
    catalogue: str = PROCEDURAL

    def __post_init__(self) -> None:
        for name, known in (("clutter", CLUTTER), ("families", FAMILIES)):
            if not getattr(self, name) or not set(getattr(self, name)) <= set(known):
                raise InputError(f"{name} {' '.join(getattr(self, name))!r}: expected some of {', '.join(known)}")
        if self.split not in SPLITS:
            raise InputError(f"split {self.split!r}: expected one of {', '.join(SPLITS)}")
        check_fields(self, error=InputError)
        if self.min_objects > self.max_objects:
            raise InputError(f"min_objects {self.min_objects}: expected at most max_objects, {self.max_objects}")

    def family(self, number: int) -> str:
        """Families take turns, so that all are asked about equally often."""
        return self.families[number % len(self.families)]


@dataclass(frozen=True)
class Plan:
    """Objects (names) to put on the table, the category that is asked for, and the seed of how they fall."""

    clutter: str
    number: int
    family: str
    category: str
    objects: tuple[str, ...]
    seed: int


@dataclass(frozen=True)
class Asked:
    """A phrase, the objects (names) that it fits, any of which is right, and how many others are of their category."""

    phrase: str
    targets: tuple[str, ...]
    distractors: int


def plan(protocol: Protocol, clutter: str, number: int, attempt: int = 0) -> Plan:
    """Trial `number` of a clutter level; another `attempt` where nothing could be asked about the last one.

    Raises InputError where the split's objects allow no phrase of the family.
    """
    rng = np.random.default_rng([protocol.seed, CLUTTER.index(clutter), number, attempt])
    family = protocol.family(number)
    kinds: dict[str, list[ObjectSpec]] = {}
    for spec in open_catalogue(protocol.catalogue).of_split(protocol.split):
        kinds.setdefault(spec.category, []).append(spec)
    for _ in range(DRAWS):
        category, specs = _draw(kinds, family, protocol, rng)
        if _phrases(category, family, {spec.name: spec for spec in specs}, protocol.wording):
            seed = int(rng.integers(2**32))
            return Plan(clutter, number, family, category, tuple(spec.name for spec in specs), seed)
    raise InputError(
        f"no phrase of the family {family} singles out an object of split {protocol.split} ({DRAWS} draws); leave the "
        "family out or choose another catalogue"
    )


def _draw(
    kinds: Mapping[str, Sequence[ObjectSpec]], family: str, protocol: Protocol, rng: np.random.Generator
) -> tuple[str, list[ObjectSpec]]:
    """The target's category, and all objects in an order of chance."""
    count = int(rng.integers(protocol.min_objects, protocol.max_objects + 1))
    wanted = 1 if family == "class" else 2
    category = str(rng.choice([name for name, specs in kinds.items() if len(specs) >= wanted] or list(kinds)))
    own = 1 if family == "class" else int(rng.integers(2, min(count, 1 + DISTRACTORS) + 1))
    others = [spec for name, specs in kinds.items() if name != category for spec in specs]
    specs = _some(kinds[category], own, rng) + _some(others, count - own, rng)
    return category, _some(specs, len(specs), rng)


def _some(specs: Sequence[ObjectSpec], count: int, rng: np.random.Generator) -> list[ObjectSpec]:
    return [specs[i] for i in rng.permutation(len(specs))[:count]]


def ask(planned: Plan, wording: str, catalogue: Catalogue, visible: Mapping[str, int | None]) -> Asked | None:
    """The phrase of a trial, once objects lie still; None where nothing of the family can be asked about them.

    visible: pixels that the camera sees of each object on the table, by name; None where nobody knows.
    """
    specs = {spec.name: spec for spec in catalogue.specs if spec.name in visible}
    shown = {name for name, pixels in visible.items() if pixels is None or pixels >= MIN_VISIBLE}
    said = _phrases(planned.category, planned.family, specs, wording)
    said = {phrase: fits for phrase, fits in said.items() if shown.intersection(fits)}
    if not said:
        return None
    rng = np.random.default_rng([planned.seed, 1])
    # first the object, then the phrase: else objects of which much is said would be asked for more often
    target = str(rng.choice(sorted({name for fits in said.values() for name in fits} & shown)))
    phrase = str(rng.choice(sorted(phrase for phrase, fits in said.items() if target in fits)))
    same = sum(spec.category == planned.category for spec in specs.values())
    right = sum(specs[name].category == planned.category for name in said[phrase])
    return Asked(phrase, tuple(sorted(said[phrase])), same - right)


def _phrases(category: str, family: str, specs: Mapping[str, ObjectSpec], wording: str) -> dict[str, list[str]]:
    """Phrases of a family that ask for something of the category, with the names of all objects that they fit.

    They fit one object alone, though others of its category are there, unless they name the category. What something
    is good for fits all of its kind: any is right.
    """
    own = {name for name, spec in specs.items() if spec.category == category}
    if len(own) < (1 if family == "class" else 2):
        return {}
    names = dict(enumerate(specs))
    queries = scene_queries({label: specs[name] for label, name in names.items()}, wording)[family]
    said = {phrase: [names[label] for label in labels] for phrase, labels in queries.items()}
    alone = family != "affordance"
    return {p: fits for p, fits in said.items() if own.intersection(fits) and not (alone and len(fits) > 1)}
