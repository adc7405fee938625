# SPDX-License-Identifier: Apache-2.0
"""Relations of a tree, judged on the instances of a scene by geometry and, for parts of a thing, by features."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from dropclip_ros.grounding.groups import GROUPS, groups_of, ranked
from dropclip_ros.grounding.interpretation import (
    ANYTHING,
    CONTRASTS,
    PART_OR_PLACE,
    Lacking,
    Part,
    Unsupported,
    an,
    name_of,
    with_part,
)
from dropclip_ros.grounding.relations import CLEAR, LOOSE, SAME_PLACE, SAME_SIZE, Layout
from dropclip_ros.grounding.scoring import rival_threshold
from dropclip_ros.language import lexicon
from dropclip_ros.language.nouns import PARTS
from dropclip_ros.language.tree import AT_SIDES, COMPARISONS, SAME, Node, Order, Reading, Relation, Union, in_words
from dropclip_ros.language.words import singular

SIZES = {  # adjectives, and what they are measured by
    **dict.fromkeys(("big", "large", "huge", "giant", "massive", "oversized"), ("size", "most")),
    **dict.fromkeys(("small", "little", "tiny", "mini", "miniature"), ("size", "least")),
    **{
        "tall": ("height", "most"),
        "high": ("height", "most"),
        "short": ("height", "least"),
        "low": ("height", "least"),
    },
    **{"long": ("length", "most"), "wide": ("width", "most"), "narrow": ("width", "least")},
    **{"thick": ("thickness", "most"), "fat": ("thickness", "most"), "thin": ("thickness", "least")},
    "slim": ("thickness", "least"),
}
GRADED = ("next_to", "near", "far", "under", "above")  # of these the best is meant, where it is so by far
BY_FAR = 0.3
APART = (1.12, 1.25)  # by which lengths, and sizes, tell a big one from a small one
STRAIGHT = ("left", "right", "front", "behind")
IMMEDIATELY = re.compile(r"(?:\w+ ){0,4}?(?:immediately|directly|just|straight|right) (?!of |from )")
OF_EVERY = ("left", "right", "front", "behind", "far")  # of both bowls: of each
PLACES = {"left": "to the left of", "right": "to the right of", "front": "in front of", "next_to": "next to"}


class Places:
    """Judges relations on K instances. score: a text to the score (K,) of each. previous: the last answer. sure: what
    scores less is no second that could be meant as well, however low the threshold is."""

    def __init__(
        self,
        layout: Layout,
        score: Callable[[str], np.ndarray],
        threshold: float,
        rival: float,
        previous: Sequence[int] = (),
        sure: float = 0.0,
    ) -> None:
        self.layout, self.score, self.threshold, self.rival, self.sure = layout, score, threshold, rival, sure
        self.previous = np.isin(np.arange(layout.count) + 1, list(previous)) if previous else None
        self.unknown = set(previous) - set(range(1, layout.count + 1))
        self.parts: list[Part] = []
        self.own: list[str] = []  # what was compared as a part of the thing, and is none that features know
        self.judged: set[str] = set()  # attributes that geometry has judged

    def _node(self, node: Node, parent: int) -> np.ndarray:
        raise NotImplementedError

    def _note(self, kind: str, text: str, parent: int, scores: np.ndarray | None = None) -> None:
        ids = () if scores is None else tuple(range(1, self.layout.count + 1))
        values = () if scores is None else tuple(round(float(score), 4) for score in scores)
        self.parts.append(Part(kind, text, parent, ids, values))

    def _kept(self, node: Node, scores: np.ndarray, fits: np.ndarray, what: str) -> np.ndarray:
        """The scores where something fits. Raises Lacking where nothing does."""
        kept = np.where(fits, scores, 0)
        if not kept.any():
            name = name_of(node) if node.text else ANYTHING
            raise Lacking(f"there is {an(name, node)}, but none {what}")
        return kept

    def _reading(self, reading: Reading, parent: int) -> np.ndarray:
        if isinstance(reading, Node):
            return self._node(reading, parent)
        found, missing = np.zeros(self.layout.count), []
        for option in reading.options:
            try:
                found = np.maximum(found, self._node(option, parent))
            except Lacking as lacking:
                missing.append(str(lacking))
        if not found.any():
            raise Lacking("; ".join(missing))
        return found

    def _related(self, node: Node, relation: Relation, scores: np.ndarray, here: int) -> np.ndarray:
        said = f"{PLACES.get(relation.relation, relation.relation)} {' and '.join(map(in_words, relation.landmarks))}"
        kind = "negation" if relation.negated else "relation"
        members = self._group(relation, scores)
        if members is not None:
            self._note(kind, said, here, members.astype(float))
            return self._kept(node, scores, members != relation.negated, f"that is {'not ' * relation.negated}{said}")
        if relation.relation in AT_SIDES:
            return self._at_side(node, relation.relation.removeprefix("at_"), scores, here)
        if is_surface(relation):
            self._note(kind, said, here, np.ones(self.layout.count))
            return scores if not relation.negated else self._kept(node, scores, scores < 0, f"that is not {said}")
        if relation.relation == "without":
            return self._lacks(node, relation, scores, here)
        own = relation.relation in PART_OR_PLACE and relation.words and not relation.negated
        at = len(self.parts)
        try:
            fits = self._place(relation, scores, here)
            if own and not (fits * (scores > 0) >= LOOSE).any():
                raise Lacking(f"there is {an(name_of(node), node)}, but none {said}")
        except Lacking as lacking:
            if own and not _definite(relation):
                del self.parts[at:]
                if not here and not any(map(_is_part, relation.landmarks)):
                    self.own.append(relation.words)
                return self._of_its_own(node, relation, here)
            if relation.negated:
                return scores
            raise Lacking(self._explained(node, scores, said, str(lacking))) from lacking
        self._note(kind, said, here, fits)
        if relation.negated:
            return self._kept(node, scores, fits < LOOSE, f"that is not {said}")
        return self._best(node, relation, scores, fits, said)

    def _group(self, relation: Relation, scores: np.ndarray) -> np.ndarray | None:
        """(K,) bool: what stands in the stack or row that is meant; None where it is about no group."""
        mark = relation.landmarks[0]
        name = singular(mark.head.split()[-1]) if isinstance(mark, Node) and mark.head else ""
        if relation.relation not in ("in", "on") or name not in GROUPS:
            return None
        assert isinstance(mark, Node)
        groups = groups_of(name, self.layout, scores > 0)
        orders = [mark.order] if mark.order else [Order(*SIZES[word]) for word in mark.attributes if word in SIZES]
        if not groups or mark.relations or len(orders) < len(mark.attributes):
            return None
        for order in orders[:1]:
            groups = ranked(groups, self.layout, order.by, order.direction)[order.index - 1 : order.index]
        return np.isin(np.arange(self.layout.count), np.concatenate(groups)) if groups else None

    def _at_side(self, node: Node, side: str, scores: np.ndarray, here: int) -> np.ndarray:
        """(K,): the scores of those in that half of where such things are."""
        value = self.layout.measure(side, scores > 0)
        among = value[scores > 0]
        fits = value >= (among.max() + among.min()) / 2
        self._note("relation", f"on that side ({side})", here, fits.astype(float))
        return self._kept(node, scores, fits, f"on that side ({side})")

    @staticmethod
    def _explained(node: Node, scores: np.ndarray, said: str, why: str) -> str:
        if not node.text or not scores.any():
            return why if said in why else f"nothing is {said}: {why}"
        return (
            why
            if why.startswith("there is a ")
            else f"there is {an(name_of(node), node)}, but nothing to be {said}: {why}"
        )

    def _best(self, node: Node, relation: Relation, scores: np.ndarray, fits: np.ndarray, said: str) -> np.ndarray:
        """Scores of what is clearly so, else of what may pass for it."""
        level = CLEAR if (np.where(scores > 0, fits, 0) >= CLEAR).any() else LOOSE
        chosen = (fits >= level) & (scores > 0)
        if relation.relation in STRAIGHT and node.number is None and IMMEDIATELY.match(relation.words):
            chosen = self._first(relation, chosen)
        if relation.relation in GRADED and node.number is None and chosen.any():
            chosen &= fits > fits[chosen].max() - BY_FAR
        return self._kept(node, np.minimum(scores, np.maximum(fits, LOOSE)), chosen, f"that is {said}")

    def _first(self, relation: Relation, chosen: np.ndarray) -> np.ndarray:
        """Of those at a side the nearest: immediately to the right."""
        marks = [np.flatnonzero(self._reading(mark, -1) > 0) for mark in relation.landmarks]
        distance = np.min([self.layout.distances(int(k)) for k in np.concatenate(marks)], axis=0)
        return chosen & (distance <= distance[chosen].min(initial=np.inf) + SAME_PLACE)

    def _place(self, relation: Relation, scores: np.ndarray, here: int) -> np.ndarray:
        """(K,): how far each instance is so, beside any of the landmarks."""
        marks = [np.flatnonzero(self._reading(mark, here) > 0) for mark in relation.landmarks]
        if self.previous is not None or not any(isinstance(mark, Node) and mark.other for mark in relation.landmarks):
            return self._beside(relation, marks, scores)
        fits = np.zeros(self.layout.count)
        for k in np.flatnonzero(scores > 0):  # the others: than the thing itself
            others = [mark[mark != k] for mark in marks]
            if all(map(len, others)):
                fits[k] = self._beside(relation, others, scores)[k]
        return fits

    def _beside(self, relation: Relation, marks: list[np.ndarray], scores: np.ndarray) -> np.ndarray:
        """(K,): how far each instance is so, beside the instances of each landmark."""
        fits = np.zeros(self.layout.count)
        if relation.relation == "between":
            second = marks[1] if len(marks) > 1 else marks[0]
            pairs = [(int(a), int(b)) for a in marks[0] for b in second if a != b]
            if not pairs:
                raise Lacking("between needs two landmarks, and one is there")
            for a, b in pairs:
                fits = np.maximum(fits, self.layout.between(a, b))
            return fits
        if relation.relation in SAME:
            return self._same(relation.relation.removeprefix("same_"), np.concatenate(marks))
        if relation.relation in COMPARISONS:
            return self._compared(relation.relation, np.concatenate(marks))
        if relation.relation in ("nearest", "farthest"):
            return self._extreme(relation.relation, marks, scores)
        for mark, found in zip(relation.landmarks, marks, strict=True):
            holds = isinstance(mark, Node) and mark.head and singular(mark.head.split()[-1]) in lexicon.CONTAINERS
            each = [self.layout.relation(relation.relation, int(k), bool(holds)) for k in found]
            every = isinstance(mark, Node) and mark.number is not None and relation.relation in OF_EVERY
            fits = np.maximum(fits, (np.min if every else np.max)(each, axis=0))
        return fits

    def _same(self, what: str, marks: np.ndarray) -> np.ndarray:
        """What is likeliest of the colour or material that a landmark is likeliest of; what is as large."""
        if what not in CONTRASTS:
            value = np.log(np.maximum(self.layout.measure(what, np.ones(self.layout.count, bool)), 1e-9))
            least = np.log(APART[what == "size"])
            fits = (np.abs(value[:, None] - value[marks]) < least).any(axis=1).astype(float)
        else:
            scores = np.stack([self.score(text) for text in CONTRASTS[what]])  # (colours,K)
            best = np.where(scores.max(axis=0) > self.threshold, scores.argmax(axis=0), -1)
            fits = np.isin(best, best[marks][best[marks] >= 0]).astype(float)
        fits[marks] = 0
        return fits

    def _compared(self, name: str, marks: np.ndarray) -> np.ndarray:
        """What has more of a measure than every landmark, or less."""
        by, direction = COMPARISONS[name]
        value = self.layout.measure(by, np.ones(self.layout.count, bool))
        least = SAME_PLACE if by in ("near", "far") else SAME_SIZE * np.abs(value[marks]).max()
        if direction == "most":
            return (value > value[marks].max() + least).astype(float)
        return (value < value[marks].min() - least).astype(float)

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
        text = with_part(node, relation)
        scores = self.score(text)
        self._note("attribute", text, here, scores)
        mark = relation.landmarks[0]
        rather = np.zeros(self.layout.count, bool)
        if isinstance(mark, Node) and mark.text and node.text:
            rather = self.score(name_of(mark)) > self.score(name_of(node))
        kept = np.where((scores > rival_threshold(scores, self.threshold, self.rival)) & ~rather, scores, 0)
        if not kept.any():
            raise Lacking(f"there is no {text} on the table")
        return kept

    def _lacks(self, node: Node, relation: Relation, scores: np.ndarray, here: int) -> np.ndarray:
        """Without: what holds no such thing. Whether a thing lacks a part of its own (a handle) features do not tell:
        Unsupported, unless some hold it."""
        said = f"without {' or '.join(map(in_words, relation.landmarks))}"
        at = len(self.parts)
        try:
            has = self._place(Relation("with", relation.landmarks), scores, here) >= LOOSE
        except Lacking:
            has = np.zeros(self.layout.count, bool)
        del self.parts[at:]
        if not has[scores > 0].any() and any(map(_is_part, relation.landmarks)):
            name = name_of(node) if node.text else ANYTHING
            raise Unsupported(f"{name} {said}: whether a part is missing cannot be judged; leave it out of the phrase")
        self._note("negation", said, here, np.where(has, 0.0, 1.0))
        return self._kept(node, scores, ~has, f"that is {said}")


def is_surface(relation: Relation) -> bool:
    """On the table: all are."""
    mark = relation.landmarks[0]
    return relation.relation in ("on", "in") and isinstance(mark, Node) and mark.head in lexicon.FIELDS


def _is_part(mark: Reading) -> bool:
    """Whether it may be a part of a thing, not one by itself."""
    nodes = mark.options if isinstance(mark, Union) else (mark,)
    return any(node.head is not None and singular(node.head.split()[-1]) in PARTS for node in nodes)


def _definite(relation: Relation) -> bool:
    return any(isinstance(mark, Union) or mark.definite or mark.same for mark in relation.landmarks)
