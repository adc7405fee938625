# SPDX-License-Identifier: Apache-2.0
"""How a phrase was read and what it came to: its parts with the scores of all instances, and the texts to compare."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from dropclip_ros.base.errors import Status
from dropclip_ros.language.tree import ALL, ANY, Node, Phrase, Reading, Relation, in_words, nodes_of

ANYTHING = "object"
PART_OR_PLACE = ("with", "on", "in")  # with a star, on a dish: may be said of the thing itself
COLOURS = ("red", "green", "blue", "yellow", "orange", "purple", "pink", "brown", "black", "white", "gray")

MATERIALS = ("wooden", "metal", "plastic", "glass", "ceramic", "paper", "cardboard", "rubber", "leather", "cloth")
CONTRASTS = {  # what is the same is told by what is said of each thing beside all that could be
    "colour": tuple(f"{colour} {ANYTHING}" for colour in COLOURS),
    "material": tuple(f"{material} {ANYTHING}" for material in MATERIALS),
}


@dataclass(frozen=True)
class Part:
    """A part of a phrase and how well each instance fits it. parent: index of the part it is said of, -1: the whole."""

    kind: str
    text: str
    parent: int
    ids: tuple[int, ...] = ()
    scores: tuple[float, ...] = ()


@dataclass
class Interpretation:
    """How a phrase was read. text: in one line; question: what to ask back where several fit, '' otherwise."""

    text: str = ""
    parts: list[Part] = field(default_factory=list)
    not_understood: tuple[str, ...] = ()
    question: str = ""


@dataclass
class Judgement:
    """The instances (numbers from 1, best first) that a tree means, and the score (K,) of each instance.

    labels: of each of these instances, the name that it was asked for by.
    """

    status: Status
    message: str
    chosen: list[int]
    scores: np.ndarray
    interpretation: Interpretation
    labels: list[str] = field(default_factory=list)


class Lacking(Exception):
    """Nothing fits a part; says which."""


class Unsupported(Exception):
    """A part cannot be judged here; says why."""


def not_judged(phrase: Phrase, count: int) -> Judgement:
    """What is said to a phrase without a tree."""
    message = f"{phrase.said!r} is not answered: {phrase.unsupported}"
    reading = Interpretation(not_understood=phrase.not_understood)
    return Judgement(Status.UNSUPPORTED, message, [], np.zeros(count), reading)


def read_whole(phrase: Phrase, scores: np.ndarray) -> Interpretation:
    """How a phrase is read that is compared as a whole. scores: (K,) of the instances."""
    ids = tuple(range(1, len(scores) + 1))
    part = Part("head", phrase.text, -1, ids, tuple(round(float(score), 4) for score in scores))
    reading = phrase.reading
    described = isinstance(reading, Node) and reading.number == ANY and reading.head == reading.text == phrase.text
    said = "" if reading is None else phrase.text if described else in_words(reading)
    return Interpretation(said, [part], phrase.not_understood)


def instance_scores(instances: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The mean score (K,) of each instance 1..K of the voxels (M,)."""
    count = int(instances.max(initial=0)) + 1
    total = np.bincount(instances, scores, count) / np.maximum(np.bincount(instances, minlength=count), 1)
    return total[1:]


def texts_of(reading: Reading) -> list[str]:
    """All texts that must be compared with the instances to judge a tree, each once."""
    return list(dict.fromkeys(_texts(reading)))


def _texts(reading: Reading) -> Iterator[str]:
    for node in nodes_of(reading):
        if node.text:
            yield name_of(node)
        for word in node.negated_attributes:
            yield from contrast_of(word, node)
        for relation in node.relations:
            yield from CONTRASTS.get(relation.relation.removeprefix("same_"), ())
            if relation.relation in PART_OR_PLACE and relation.words:
                yield with_part(node, relation)


def name_of(node: Node) -> str:
    return node.text if node.head else f"{node.text} {ANYTHING}"


def with_part(node: Node, relation: Relation) -> str:
    return f"{name_of(node) if node.text else ANYTHING} {relation.words}"


def contrast_of(word: str, node: Node) -> list[str]:
    """The word and what else could be said in its place: a colour beside all colours."""
    noun = node.head or ANYTHING
    if word in COLOURS:
        return [f"{colour} {noun}" for colour in COLOURS]
    return [f"{word} {noun}", noun]


def an(name: str, node: Node) -> str:
    """The name with its article, where one is meant."""
    if node.number in (ALL, ANY) or isinstance(node.number, int):
        return name
    return f"{'an' if name[:1] in 'aeiou' else 'a'} {name}"
