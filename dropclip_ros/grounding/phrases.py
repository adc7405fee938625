# SPDX-License-Identifier: Apache-2.0
"""A tree of a phrase, judged on the instances of a scene: names by their scores, everything else by geometry.

Deterministic. Each part keeps its scores of all instances, so that an answer can be explained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grounding.relations import CLEAR, LOOSE, Layout
from dropclip_ros.grounding.scoring import rival_threshold
from dropclip_ros.language import lexicon
from dropclip_ros.language.nouns import PARTS
from dropclip_ros.language.tree import (
    ALL,
    ANY,
    Node,
    Order,
    Phrase,
    Reading,
    Relation,
    Union,
    in_words,
    nodes_of,
    order_in_words,
)
from dropclip_ros.language.words import singular

ANYTHING = "object"
GRADED = ("next_to", "near", "far")  # of these the best is meant, where it is so by far
BY_FAR = 0.3
PART_OR_PLACE = ("with", "on", "in")  # with a star, on a dish: may be said of the thing itself
PLACES = {"left": "to the left of", "right": "to the right of", "front": "in front of", "next_to": "next to"}


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
    """The instances (numbers from 1, best first) that a tree means, and the score (K,) of each instance."""

    status: Status
    message: str
    chosen: list[int]
    scores: np.ndarray
    interpretation: Interpretation


def not_judged(phrase: Phrase, count: int) -> Judgement:
    """What is said to a phrase without a tree."""
    message = f"{phrase.said!r} is not answered: {phrase.unsupported}"
    reading = Interpretation(not_understood=phrase.not_understood)
    return Judgement(Status.UNSUPPORTED, message, [], np.zeros(count), reading)


def read_whole(phrase: Phrase, scores: np.ndarray) -> Interpretation:
    """How a phrase is read that is compared as a whole. scores: (K,) of the instances."""
    ids = tuple(range(1, len(scores) + 1))
    part = Part("head", phrase.text, -1, ids, tuple(round(float(score), 4) for score in scores))
    said = "" if phrase.reading is None else in_words(phrase.reading)
    return Interpretation(said, [part], phrase.not_understood)


def instance_scores(instances: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The mean score (K,) of each instance 1..K of the voxels (M,)."""
    count = int(instances.max(initial=0)) + 1
    total = np.bincount(instances, scores, count) / np.maximum(np.bincount(instances, minlength=count), 1)
    return total[1:]


class _Lacking(Exception):
    """Nothing fits a part; says which."""


class _Unsupported(Exception):
    """A part cannot be judged here; says why."""


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
            if relation.relation in PART_OR_PLACE and relation.words:
                yield _with_part(node, relation)


def name_of(node: Node) -> str:
    return node.text if node.head else f"{node.text} {ANYTHING}"


def _with_part(node: Node, relation: Relation) -> str:
    return f"{name_of(node) if node.text else ANYTHING} {relation.words}"


def contrast_of(word: str, node: Node) -> list[str]:
    """The word and what else could be said in its place: a colour beside all colours."""
    noun = node.head or ANYTHING
    families = (("red", "green", "blue", "yellow", "orange", "purple", "pink", "brown", "black", "white", "gray"),)
    family = next((family for family in families if word in family), (word, "other"))
    return [f"{of} {noun}" if of != "other" else noun for of in family]


class Judge:
    """Judges trees on K instances. score: a text to the score (K,) of each instance. previous: the last answer."""

    def __init__(
        self,
        layout: Layout,
        score: Callable[[str], np.ndarray],
        threshold: float,
        rival: float,
        previous: Sequence[int] = (),
    ) -> None:
        self.layout, self.score, self.threshold, self.rival = layout, score, threshold, rival
        self.previous = np.isin(np.arange(layout.count) + 1, list(previous)) if previous else None
        self.unknown = set(previous) - set(range(1, layout.count + 1))
        self.parts: list[Part] = []

    def judge(self, phrase: Phrase) -> Judgement:
        """What a phrase with a tree means here."""
        assert phrase.reading is not None, "a phrase without a tree: `not_judged` is for it"
        self.parts = []
        interpretation = Interpretation(in_words(phrase.reading), self.parts, phrase.not_understood)
        none = np.zeros(self.layout.count)
        try:
            return self._judge(phrase.reading, interpretation)
        except _Lacking as lacking:
            return Judgement(Status.NOT_FOUND, str(lacking), [], none, interpretation)
        except _Unsupported as error:
            return Judgement(Status.UNSUPPORTED, str(error), [], none, interpretation)

    def _judge(self, reading: Reading, interpretation: Interpretation) -> Judgement:
        if isinstance(reading, Union):
            return self._union(reading, interpretation)
        scores = self._node(reading, -1)
        chosen = [int(k) + 1 for k in np.flatnonzero(scores > 0)[np.argsort(-scores[scores > 0], kind="stable")]]
        status, message = Status.OK, f"{len(chosen)} found"
        wanted = reading.number if isinstance(reading.number, int) else None
        if wanted and len(chosen) < wanted:
            message = f"{len(chosen)} found of the {wanted} that were asked for"
        elif (reading.number is None and len(chosen) > 1) or (wanted and len(chosen) > wanted):
            chosen, clear = self._clearly_best(chosen, scores, wanted or 1)
            if not clear:
                status = Status.AMBIGUOUS
                interpretation.question = self._question(reading, chosen)
                message = f"{len(chosen)} objects fit: {interpretation.question}"
        return Judgement(status, message, chosen, scores, interpretation)

    def _union(self, reading: Union, interpretation: Interpretation) -> Judgement:
        """Each of several things; those that are not there are named."""
        found, missing, scores = [], [], np.zeros(self.layout.count)
        status, message = Status.OK, ""
        for option in reading.options:
            judged = self.judge_option(option)
            missing += [] if judged.chosen else [judged.message]
            found += [k for k in judged.chosen if k not in found]
            scores = np.maximum(scores, judged.scores)
            if judged.status == Status.AMBIGUOUS:
                status, message = judged.status, judged.message
                interpretation.question = judged.interpretation.question
        if not found:
            raise _Lacking("; ".join(missing))
        message = message or "; ".join([f"{len(found)} found", *missing])
        return Judgement(status, message, found, scores, interpretation)

    def judge_option(self, node: Node) -> Judgement:
        interpretation = Interpretation()
        try:
            return self._judge(node, interpretation)
        except _Lacking as lacking:
            return Judgement(Status.NOT_FOUND, str(lacking), [], np.zeros(self.layout.count), interpretation)

    def _clearly_best(self, chosen: list[int], scores: np.ndarray, wanted: int) -> tuple[list[int], bool]:
        """Those that beat the others by as much as a rival must be beaten by, and whether there are any."""
        last, rest = scores[chosen[wanted - 1] - 1], scores[chosen[wanted] - 1]
        if rest <= rival_threshold(np.array([last]), self.threshold, self.rival) < last:
            return chosen[:wanted], True
        return chosen, False

    def _question(self, node: Node, chosen: list[int]) -> str:
        """Tells the candidates apart by where they are."""
        name = node.text or ANYTHING
        among = np.isin(np.arange(self.layout.count) + 1, chosen)
        if len(chosen) == 2:
            spread = np.ptp(self.layout.middle[among][:, :2], axis=0)
            sides = ("left", "right") if spread[0] >= spread[1] else ("near", "far")
            return f"the {sides[0]} {name} or the {sides[1]} one?"
        order = self.layout.ranked("left", "most", among)[0] + 1
        return f"which {name} of these {len(chosen)}, counted from the left (ids {', '.join(map(str, order))})?"

    # one node

    def _node(self, node: Node, parent: int) -> np.ndarray:
        """(K,): the score of each instance, 0 where the node does not mean it. Raises _Lacking, _Unsupported,
        BAD_REQUEST where `previous` names what is not there."""
        scores = self._named(node, parent)
        here = len(self.parts) - 1
        scores = self._anaphora(node, scores, here)
        scores = self._negated(node, scores, here)
        for relation in node.relations:
            scores = self._related(node, relation, scores, here)
        if node.excluded:
            scores = self._without(node, scores, here)
        if node.order:
            scores = self._ordered(node, node.order, scores, here)
        return scores

    def _note(self, kind: str, text: str, parent: int, scores: np.ndarray | None = None) -> None:
        ids = () if scores is None else tuple(range(1, self.layout.count + 1))
        values = () if scores is None else tuple(round(float(score), 4) for score in scores)
        self.parts.append(Part(kind, text, parent, ids, values))

    def _named(self, node: Node, parent: int) -> np.ndarray:
        if not node.text:
            scores = np.ones(self.layout.count)
            self._note("anaphor" if node.same else "head", node.head or ANYTHING, parent, scores)
            return scores
        scores = self.score(name_of(node))
        self._note("head" if node.head else "attribute", name_of(node), parent, scores)
        several = node.number == ALL or isinstance(node.number, int)
        least = self.threshold if several else rival_threshold(scores, self.threshold, self.rival)
        kept = np.where(scores > least, scores, 0)
        if not kept.any() and not self._is_part_said(node):
            raise _Lacking(f"there is no {name_of(node)} on the table: the best scores {scores.max(initial=0):.2f}")
        return kept

    @staticmethod
    def _is_part_said(node: Node) -> bool:
        return any(relation.relation in PART_OR_PLACE and relation.words for relation in node.relations)

    def _anaphora(self, node: Node, scores: np.ndarray, here: int) -> np.ndarray:
        if not (node.other or node.same):
            return scores
        if self.previous is None:
            said = "it" if node.same else "other"
            raise _Unsupported(f"{said!r} goes back to an earlier answer: give the ids of its objects in `previous`")
        if unknown := sorted(self.unknown):
            raise DropclipError(
                Status.BAD_REQUEST,
                f"previous: there is no object {', '.join(str(abs(k)) for k in unknown)} here, of {self.layout.count}; "
                "ids are of one frame, or of the map as long as it holds the object",
            )
        fits = self.previous if node.same else ~self.previous
        self._note("anaphor", "same" if node.same else "other", here, fits.astype(float))
        return self._kept(node, scores, fits, "other than the last answer" if node.other else "of the last answer")

    def _kept(self, node: Node, scores: np.ndarray, fits: np.ndarray, what: str) -> np.ndarray:
        """The scores where something fits. Raises _Lacking where nothing does."""
        kept = np.where(fits, scores, 0)
        if not kept.any():
            name = name_of(node) if node.text else ANYTHING
            raise _Lacking(f"there is {_article(name, node)}, but none {what}")
        return kept

    def _negated(self, node: Node, scores: np.ndarray, here: int) -> np.ndarray:
        """Leaves out what is rather said to be so than anything else of its kind."""
        for word in node.negated_attributes:
            rivals = np.stack([self.score(text) for text in contrast_of(word, node)])
            first = contrast_of(word, node).index(f"{word} {node.head or ANYTHING}")
            so = rivals.argmax(axis=0) == first
            self._note("negation", f"not {word}", here, np.where(so, 0.0, 1.0))
            scores = self._kept(node, scores, ~so, f"that is not {word}")
        return scores

    def _without(self, node: Node, scores: np.ndarray, here: int) -> np.ndarray:
        out = np.zeros(self.layout.count, bool)
        for excluded in node.excluded:
            try:
                out |= self._reading(excluded, here) > 0
            except _Lacking:  # nothing to leave out
                continue
        self._note("negation", "not " + " or ".join(map(in_words, node.excluded)), here, np.where(out, 0.0, 1.0))
        return self._kept(node, scores, ~out, "other than what is excluded")

    def _ordered(self, node: Node, order: Order, scores: np.ndarray, here: int) -> np.ndarray:
        ranked, tied = self.layout.ranked(order.by, order.direction, scores > 0)
        said = order_in_words(order)
        place = np.zeros(self.layout.count)
        place[ranked] = 1 / np.arange(1, len(ranked) + 1)
        self._note("order", said, here, place)
        if order.index > len(ranked):
            are = "is" if len(ranked) == 1 else "are"
            raise _Lacking(f"there {are} only {len(ranked)} to count, and number {order.index} is asked for")
        count = node.number if isinstance(node.number, int) else 1
        first, last = order.index - 1, order.index - 2 + count
        while first > 0 and tied[first - 1]:
            first -= 1
        while last + 1 < len(ranked) and tied[last]:
            last += 1
        return np.where(np.isin(np.arange(self.layout.count), ranked[first : last + 1]), scores, 0)

    # relations

    def _reading(self, reading: Reading, parent: int) -> np.ndarray:
        if isinstance(reading, Node):
            return self._node(reading, parent)
        found, missing = np.zeros(self.layout.count), []
        for option in reading.options:
            try:
                found = np.maximum(found, self._node(option, parent))
            except _Lacking as lacking:
                missing.append(str(lacking))
        if not found.any():
            raise _Lacking("; ".join(missing))
        return found

    def _related(self, node: Node, relation: Relation, scores: np.ndarray, here: int) -> np.ndarray:
        said = f"{PLACES.get(relation.relation, relation.relation)} {' and '.join(map(in_words, relation.landmarks))}"
        kind = "negation" if relation.negated else "relation"
        if _is_surface(relation):
            self._note(kind, said, here, np.ones(self.layout.count))
            return scores if not relation.negated else self._kept(node, scores, scores < 0, f"that is not {said}")
        if relation.relation == "without":
            return self._lacks(node, relation, scores, here)
        own = relation.relation in PART_OR_PLACE and relation.words and not relation.negated
        at = len(self.parts)
        try:
            fits = self._place(relation, scores, here)
            if own and not (fits * (scores > 0) >= LOOSE).any():
                raise _Lacking(f"there is {_article(name_of(node), node)}, but none {said}")
        except _Lacking as lacking:
            if own and not _definite(relation):
                del self.parts[at:]
                return self._of_its_own(node, relation, here)
            if relation.negated:
                return scores
            raise _Lacking(self._explained(node, scores, said, str(lacking))) from lacking
        self._note(kind, said, here, fits)
        if relation.negated:
            return self._kept(node, scores, fits < LOOSE, f"that is not {said}")
        return self._best(node, relation, scores, fits, said)

    @staticmethod
    def _explained(node: Node, scores: np.ndarray, said: str, why: str) -> str:
        if not node.text or not scores.any():
            return why if said in why else f"nothing is {said}: {why}"
        return (
            why
            if why.startswith("there is a ")
            else f"there is {_article(name_of(node), node)}, but nothing to be {said}: {why}"
        )

    def _best(self, node: Node, relation: Relation, scores: np.ndarray, fits: np.ndarray, said: str) -> np.ndarray:
        """Scores of what is clearly so, else of what may pass for it."""
        level = CLEAR if (np.where(scores > 0, fits, 0) >= CLEAR).any() else LOOSE
        chosen = (fits >= level) & (scores > 0)
        if relation.relation in GRADED and node.number is None and chosen.any():
            chosen &= fits > fits[chosen].max() - BY_FAR
        return self._kept(node, np.minimum(scores, np.maximum(fits, LOOSE)), chosen, f"that is {said}")

    def _place(self, relation: Relation, scores: np.ndarray, here: int) -> np.ndarray:
        """(K,): how far each instance is so, beside any of the landmarks."""
        marks = [np.flatnonzero(self._reading(mark, here) > 0) for mark in relation.landmarks]
        fits = np.zeros(self.layout.count)
        if relation.relation == "between":
            second = marks[1] if len(marks) > 1 else marks[0]
            pairs = [(int(a), int(b)) for a in marks[0] for b in second if a != b]
            if not pairs:
                raise _Lacking("between needs two landmarks, and one is there")
            for a, b in pairs:
                fits = np.maximum(fits, self.layout.between(a, b))
            return fits
        if relation.relation in ("nearest", "farthest"):
            return self._extreme(relation.relation, marks, scores)
        for mark, found in zip(relation.landmarks, marks, strict=True):
            holds = isinstance(mark, Node) and mark.head and singular(mark.head.split()[-1]) in lexicon.CONTAINERS
            for k in found:
                fits = np.maximum(fits, self.layout.relation(relation.relation, int(k), bool(holds)))
        return fits

    def _extreme(self, name: str, marks: list[np.ndarray], scores: np.ndarray) -> np.ndarray:
        every = np.unique(np.concatenate(marks))
        distance = np.min([self.layout.distances(int(k)) for k in every], axis=0)
        among = np.flatnonzero((scores > 0) & ~np.isin(np.arange(self.layout.count), every))
        fits = np.zeros(self.layout.count)
        if len(among):
            best = among[np.argmin(distance[among])] if name == "nearest" else among[np.argmax(distance[among])]
            near = np.abs(distance[among] - distance[best]) < 2 * 0.005
            fits[among[near]] = 1
        return fits

    def _of_its_own(self, node: Node, relation: Relation, here: int) -> np.ndarray:
        """What features say of a thing and its part as a whole, but for what is rather the part."""
        text = _with_part(node, relation)
        scores = self.score(text)
        self._note("attribute", text, here, scores)
        mark = relation.landmarks[0]
        rather = np.zeros(self.layout.count, bool)
        if isinstance(mark, Node) and mark.text and node.text:
            rather = self.score(name_of(mark)) > self.score(name_of(node))
        kept = np.where((scores > rival_threshold(scores, self.threshold, self.rival)) & ~rather, scores, 0)
        if not kept.any():
            raise _Lacking(f"there is no {text} on the table")
        return kept

    def _lacks(self, node: Node, relation: Relation, scores: np.ndarray, here: int) -> np.ndarray:
        """Without: what holds no such thing. Whether a thing lacks a part of its own (a handle) features do not tell:
        _Unsupported, unless some hold it."""
        said = f"without {' or '.join(map(in_words, relation.landmarks))}"
        at = len(self.parts)
        try:
            has = self._place(Relation("with", relation.landmarks), scores, here) >= LOOSE
        except _Lacking:
            has = np.zeros(self.layout.count, bool)
        del self.parts[at:]
        if not has[scores > 0].any() and any(map(_is_part, relation.landmarks)):
            name = name_of(node) if node.text else ANYTHING
            raise _Unsupported(f"{name} {said}: whether a part is missing cannot be judged; leave it out of the phrase")
        self._note("negation", said, here, np.where(has, 0.0, 1.0))
        return self._kept(node, scores, ~has, f"that is {said}")


def _is_surface(relation: Relation) -> bool:
    """On the table: all are."""
    mark = relation.landmarks[0]
    return relation.relation in ("on", "in") and isinstance(mark, Node) and mark.head in lexicon.FIELDS


def _is_part(mark: Reading) -> bool:
    """Whether it may be a part of a thing, not one by itself."""
    nodes = mark.options if isinstance(mark, Union) else (mark,)
    return any(node.head is not None and singular(node.head.split()[-1]) in PARTS for node in nodes)


def _definite(relation: Relation) -> bool:
    return any(isinstance(mark, Union) or mark.definite or mark.same for mark in relation.landmarks)


def _article(name: str, node: Node) -> str:
    if node.number in (ALL, ANY) or isinstance(node.number, int):
        return name
    return f"{'an' if name[:1] in 'aeiou' else 'a'} {name}"
