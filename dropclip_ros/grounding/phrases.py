# SPDX-License-Identifier: Apache-2.0
"""A tree of a phrase, judged on the instances of a scene: names by their scores, everything else by geometry.

Deterministic. Each part keeps its scores of all instances, so that an answer can be explained.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logit

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grounding.interpretation import (
    ANYTHING,
    PART_OR_PLACE,
    Interpretation,
    Judgement,
    Lacking,
    Unsupported,
    contrast_of,
    name_of,
)
from dropclip_ros.grounding.places import APART, SIZES, Places, is_surface
from dropclip_ros.grounding.relations import CLEAR
from dropclip_ros.grounding.scoring import rival_threshold
from dropclip_ros.language import lexicon
from dropclip_ros.language.tree import (
    ALL,
    ANY,
    OTHER_SIDE,
    Node,
    Order,
    Phrase,
    Reading,
    Union,
    in_words,
    order_in_words,
)

POSTURES = {"upright": True, "standing": True, "fallen": False, "overturned": False, "tipped": False}
MEDIUM = ("medium", "mid", "average")
CLEAR_LEAD = 1.0  # log-odds: who leads by more is right 8 times of 10 in trials, by less 5 times, and it is asked back


class Judge(Places):
    """Judges trees on K instances. score: a text to the score (K,) of each instance. previous: the last answer."""

    def judge(self, phrase: Phrase) -> Judgement:
        """What a phrase with a tree means here."""
        assert phrase.reading is not None, "a phrase without a tree: `not_judged` is for it"
        self.parts, self.own, self.judged = [], [], set()
        interpretation = Interpretation(in_words(phrase.reading), self.parts, phrase.not_understood)
        none = np.zeros(self.layout.count)
        try:
            return self._judge(phrase.reading, interpretation)
        except Lacking as lacking:
            return Judgement(Status.NOT_FOUND, str(lacking), [], none, interpretation)
        except Unsupported as error:
            return Judgement(Status.UNSUPPORTED, str(error), [], none, interpretation)

    def _judge(self, reading: Reading, interpretation: Interpretation) -> Judgement:
        if isinstance(reading, Union):
            return self._union(reading, interpretation)
        scores = self._node(reading, -1)
        chosen = [int(k) + 1 for k in np.flatnonzero(scores > 0)[np.argsort(-scores[scores > 0], kind="stable")]]
        return self._settled(reading, chosen, scores, interpretation)

    def choose(self, node: Node, scores: np.ndarray, interpretation: Interpretation) -> Judgement:
        """What a thing and its attributes mean, compared as a whole. scores: (K,), 0 of what does not fit at all."""
        self.own, self.judged = [], set()
        scores = self._sized(node, scores)
        chosen = [int(k) + 1 for k in np.argsort(-scores, kind="stable") if scores[k] > 0]
        try:
            return self._settled(node, chosen, scores, interpretation)
        except Unsupported as error:
            return Judgement(Status.UNSUPPORTED, str(error), [], scores, interpretation)

    def _settled(self, node: Node, chosen: list[int], scores: np.ndarray, interpretation: Interpretation) -> Judgement:
        """As many as are meant of those that fit, best first; AMBIGUOUS where more fit, NOT_FOUND where fewer do."""
        status, message = Status.OK, f"{len(chosen)} found"
        if len(chosen) > 1 and node.number in (None, ANY) and (untold := self._untold(node, chosen, scores)):
            raise Unsupported(f"{len(chosen)} fit, and {untold!r} does not tell them apart: ids {chosen}")
        wanted = node.number if isinstance(node.number, int) else None
        if wanted and len(chosen) < wanted:
            raise Lacking(f"{wanted} are asked for, and only {len(chosen)} found")
        if wanted and not node.definite:  # any of them
            chosen, message = chosen[:wanted], f"{wanted} of the {len(chosen)} that fit"
        elif (node.number is None and len(chosen) > 1) or (wanted and len(chosen) > wanted):
            chosen, clear = self._clearly_best(chosen, scores, wanted or 1, self._is_named(node))
            message = f"{len(chosen)} found"
            if not clear:
                status = Status.AMBIGUOUS
                interpretation.question = self._question(node, chosen)
                message = f"{len(chosen)} objects fit: {interpretation.question}"
        labels = [node.head or ""] * len(chosen)
        return Judgement(status, message, chosen, scores, interpretation, labels)

    def _untold(self, node: Node, chosen: list[int], scores: np.ndarray) -> str:
        """What is said of a thing that features do not judge, where it left several: dirty, open; with ice in it,
        unless one leads."""
        if states := [word for word in node.attributes if word in lexicon.UNTOLD and word not in self.judged]:
            return states[0]
        if self.own and self._clearly_best(chosen, scores, 1, True)[1]:
            return ""
        return next((words for words in self.own if words), "")

    def _union(self, reading: Union, interpretation: Interpretation) -> Judgement:
        """Each of several things; those that are not there are named."""
        found: dict[int, str] = {}
        missing, scores = [], np.zeros(self.layout.count)
        status, message = Status.OK, ""
        for option in reading.options:
            judged = self.judge_option(option)
            missing += [] if judged.chosen else [judged.message]
            found |= {k: label for k, label in zip(judged.chosen, judged.labels, strict=True) if k not in found}
            scores = np.maximum(scores, judged.scores)
            if judged.status == Status.AMBIGUOUS:
                status, message = judged.status, judged.message
                interpretation.question = judged.interpretation.question
        if not found:
            raise Lacking("; ".join(missing))
        message = message or "; ".join([f"{len(found)} found", *missing])
        return Judgement(status, message, list(found), scores, interpretation, list(found.values()))

    def judge_option(self, node: Node) -> Judgement:
        interpretation = Interpretation()
        try:
            return self._judge(node, interpretation)
        except Lacking as lacking:
            return Judgement(Status.NOT_FOUND, str(lacking), [], np.zeros(self.layout.count), interpretation)

    def _clearly_best(self, chosen: list[int], scores: np.ndarray, wanted: int, named: bool) -> tuple[list[int], bool]:
        """Those that beat the others by as much as a rival must be beaten by, and whether there are any; or all, best
        first, where a lower threshold than usual let the others in. named: features alone have scored them: who leads
        by CLEAR_LEAD is meant. How far left two things are says nothing of which is."""
        last, rest = scores[chosen[wanted - 1] - 1], scores[chosen[wanted] - 1]
        lead = np.subtract(*logit(np.clip([last, rest], 1e-6, 1 - 1e-6)))
        if (named and lead >= CLEAR_LEAD) or rest <= rival_threshold(
            np.array([last]), self.threshold, self.rival
        ) < last:
            return chosen[:wanted], True
        return chosen, bool(rest < self.sure)

    def _is_named(self, node: Node) -> bool:
        """Whether features alone have scored what is left: on the table are all, and in none lies what is its own."""
        return bool(self.own) or all(map(is_surface, node.relations))

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
        """(K,): the score of each instance, 0 where the node does not mean it. Raises Lacking, Unsupported,
        BAD_REQUEST where `previous` names what is not there."""
        scores = self._named(node, parent)
        here = len(self.parts) - 1
        scores = self._anaphora(node, scores, here)
        scores = self._negated(node, scores, here)
        for relation in node.relations:
            scores = self._related(node, relation, scores, here)
        if node.excluded:
            scores = self._without(node, scores, here)
        scores = self._sized(node, scores)
        if node.order:
            scores = self._ordered(node, node.order, scores, here)
        return scores

    def _holds(self, k: int) -> bool:
        """Whether anything is on or in an instance."""
        return any((self.layout.relation(name, k, True) >= CLEAR).any() for name in ("on", "in"))

    def _sized(self, node: Node, scores: np.ndarray) -> np.ndarray:
        """Big, small, tall, empty: beside the others that fit, where it tells them apart; features judged it before."""
        for word in node.attributes:
            if word in ("empty", "full", "filled"):
                holds = np.array([self._holds(k) for k in range(self.layout.count)])
                kept = np.where(holds == (word != "empty"), scores, 0)
                if kept.any() and (kept > 0).sum() < (scores > 0).sum():
                    self.judged.add(word)
                    scores = kept
                continue
            if word in POSTURES:
                extent = self.layout.high - self.layout.low
                upright = extent[:, 2] >= self.layout.widths.max(axis=1)
                kept = np.where(upright == POSTURES[word], scores, 0)
                scores = kept if kept.any() else scores
                continue
            fits = np.flatnonzero(scores > 0)
            if word in MEDIUM and len(fits) > 2:
                size = self.layout.measure("size", scores > 0)[fits]
                scores = np.where(
                    np.isin(np.arange(len(scores)), fits[(size > size.min()) & (size < size.max())]), scores, 0
                )
            if word not in SIZES or len(fits) < 2:
                continue
            by, direction = SIZES[word]
            value = np.log(np.maximum(self.layout.measure(by, scores > 0)[fits], 1e-9))
            value = value if direction == "most" else -value
            order = np.argsort(-value, kind="stable")
            steps = -np.diff(value[order])
            apart = np.log(APART[by == "size"])
            several = node.number == ALL or isinstance(node.number, int)
            if steps.max() < apart:
                continue
            first = int(steps.argmax() if several else np.argmax(np.cumsum(steps) >= apart))
            kept = fits[order[: first + 1]]
            self._note("attribute", f"{word} beside the others", 0, np.isin(np.arange(len(scores)), kept).astype(float))
            scores = np.where(np.isin(np.arange(len(scores)), kept), scores, 0)
        return scores

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
            raise Lacking(f"there is no {name_of(node)} on the table: the best scores {scores.max(initial=0):.2f}")
        return kept

    @staticmethod
    def _is_part_said(node: Node) -> bool:
        return any(relation.relation in PART_OR_PLACE and relation.words for relation in node.relations)

    def _anaphora(self, node: Node, scores: np.ndarray, here: int) -> np.ndarray:
        if not (node.other or node.same):
            return scores
        if self.previous is None and node.other and (here or node.excluded):  # next to another mug; not the red one
            return scores
        if self.previous is None:
            said = "it" if node.same else "other"
            raise Unsupported(f"{said!r} goes back to an earlier answer: give the ids of its objects in `previous`")
        if unknown := sorted(self.unknown):
            raise DropclipError(
                Status.BAD_REQUEST,
                f"previous: there is no object {', '.join(str(abs(k)) for k in unknown)} here, of {self.layout.count}; "
                "ids are of one frame, or of the map as long as it holds the object",
            )
        fits = self.previous if node.same else ~self.previous
        self._note("anaphor", "same" if node.same else "other", here, fits.astype(float))
        return self._kept(node, scores, fits, "other than the last answer" if node.other else "of the last answer")

    def _negated(self, node: Node, scores: np.ndarray, here: int) -> np.ndarray:
        """Leaves out what is rather said to be so than anything else of its kind."""
        for word in node.negated_attributes:
            rivals = np.stack([self.score(text) for text in contrast_of(word, node)])
            first = contrast_of(word, node).index(f"{word} {node.head or ANYTHING}")
            so = rivals.argmax(axis=0) == first
            if len(rivals) > 2:  # of none of the colours that are compared
                so &= rivals[first] > np.delete(rivals, first, axis=0).max(axis=0)
            self._note("negation", f"not {word}", here, np.where(so, 0.0, 1.0))
            scores = self._kept(node, scores, ~so, f"that is not {word}")
        return scores

    def _without(self, node: Node, scores: np.ndarray, here: int) -> np.ndarray:
        out = np.zeros(self.layout.count, bool)
        for excluded in node.excluded:
            try:
                out |= self._reading(excluded, here) > 0
            except Lacking:  # nothing to leave out
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
            raise Lacking(f"there {are} only {len(ranked)} to count, and number {order.index} is asked for")
        if node.number == ALL and order.by in OTHER_SIDE and order.by not in ("top", "bottom") and order.index == 1:
            return self._at_side(node, order.by if order.direction == "most" else OTHER_SIDE[order.by], scores, here)
        count = node.number if isinstance(node.number, int) else 1
        first, last = order.index - 1, order.index - 2 + count
        while first > 0 and tied[first - 1]:
            first -= 1
        while last + 1 < len(ranked) and tied[last]:
            last += 1
        return np.where(np.isin(np.arange(self.layout.count), ranked[first : last + 1]), scores, 0)
