# SPDX-License-Identifier: Apache-2.0
"""A grammar of referring phrases: a thing (`noun_phrase.py`), and what is said of it after its name."""

from __future__ import annotations

import re
from dataclasses import replace

from dropclip_ros.language import lexicon
from dropclip_ros.language.cursor import NotUnderstood
from dropclip_ros.language.draft import Draft, finished
from dropclip_ros.language.noun_phrase import POINTING, STOPS, NounPhrase
from dropclip_ros.language.patterns import ATTRIBUTE, EXCEPT, MADE, ORDER, RELATION, VIEWER
from dropclip_ros.language.references import apposed
from dropclip_ros.language.tree import ANY, AT_SIDES, Node, Reading, Relation, Union

NOT = re.compile("(?P<not>not )")
FRONTED = re.compile(
    r"(?:, )?(?:(?:you|we|i) (?:will |can )?(?:see|find|have|notice)|there (?:is|are)|is|are|lies|stands|sits|,) (?=\w)"
)
ONE = re.compile(r"(?:the )?((?:\w+ )*?)ones?\b")
RANKED = re.compile(
    rf"(?:is|are|(?:that|which|who) (?:is|are)) (?:the )?({'|'.join(lexicon.BEFORE)})(?: ones?)?(?= ?$| (?:and|,)\b)"
)
CONJUNCTIONS = ("and", "or", ",")
DISTANCES = {"near": "nearest", "far": "farthest"}
OF_EACH = ("left", "right", "front", "behind", "next_to", "near", "far", "with", "above")  # and the plate: of it too
BY_ANY = {
    "next_to": ("or",),
    "near": ("or",),
    "with": ("or",),
    "without": ("and", "or"),
    "left": ("or",),
    "right": ("or",),
}
DEEPEST = 6


class Grammar(NounPhrase):
    """Reads a phrase from its words; what it has not taken, it does not understand."""

    def reading(self, depth: int = 0) -> Reading:
        """One or several things, with what is said of them."""
        both = self.word == "both"
        options = [self.node(depth)]
        while joint := self._more():
            node = self.node(depth)
            if set(joint.split()) == {","} and (same := apposed(options[-1], node)):
                options[-1] = same
            else:
                options.append(node)
        if len(options) > 1 and both:
            options[0] = replace(options[0], number=None)
        return options[0] if len(options) == 1 else Union(tuple(options))

    def _more(self) -> str:
        """What parts one thing from the next, taken, where another thing follows; else ''."""
        start = self.position
        while self.take(*CONJUNCTIONS, "plus") or (self.rest.startswith("as well as ") and self.skip(3)):
            pass
        self.take("also", "then")
        if self.position > start and self.word and not RELATION.match(self.rest) and not ORDER.match(self.rest):
            return " ".join(self.words[start : self.position])
        self.position = start
        return ""

    def node(self, depth: int = 0, beside: str = "") -> Node:
        """A thing with what is said of it. beside: the relation whose landmark it is."""
        if depth > DEEPEST:
            raise NotUnderstood(self.rest)
        draft = Draft()
        if depth == 0 and (node := self._fronted()):
            return node
        if self.word == "not" or self.rest.startswith(("anything but ", "anything except ", "anything other than ")):
            return self._all_but(depth)
        start = self.position
        self._determiner(draft)
        self._before(draft)
        self._noun(draft)
        while not self._is_of_all(beside) and self._after(draft, depth):
            pass
        if self.position == start:
            raise NotUnderstood(self.rest)
        node = finished(draft)
        if self.words[start] in POINTING and not (node.text or node.relations or node.order or node.other):
            node = replace(node, same=True)
        return node

    def _fronted(self) -> Node | None:
        """To the left of the radio you will see a clock; from the right, the fourth mug."""
        start = self.position
        try:
            if RELATION.match(" ".join(self.words[start + 1 :])):
                self.take("from")
            rank, relation = self.match(ORDER), None
            if not rank:
                relation = self._relation(1)
            if (rank or relation) and self.match(FRONTED) and self.word:
                return self._placed(rank and rank.lastgroup, relation)
        except NotUnderstood:
            pass  # it did not begin with its place after all: the words are read again, as they come
        self.position = start
        return None

    def _placed(self, rank: str | None, relation: Relation | None) -> Node:
        """The thing whose place came first."""
        draft = Draft(order=(rank, "most") if rank else None, counted_from=True)
        start = self.position
        self._determiner(draft)
        self._before(draft)
        self._noun(draft)
        while self._after(draft, 0):
            pass
        if self.position == start:
            raise NotUnderstood(self.rest)
        node = _landmark(finished(draft))
        return replace(node, relations=(*node.relations, relation)) if relation else node

    def _is_of_all(self, beside: str) -> bool:
        """Whether what follows a part or the table is said of the whole: the cup with a handle on the left."""
        on_table = beside == "on" and self.ahead(-1) in lexicon.SURFACES
        if not on_table and beside not in ("with", "without"):
            return False
        return bool(ORDER.match(self.rest) or RELATION.match(self.rest))

    def _all_but(self, depth: int) -> Node:
        """Not the red mug: any other object. Not red: any that is not."""
        self.match(EXCEPT) or self.skip(1 if self.word == "not" else 2 + (self.ahead(1) == "other"))
        if self.word in lexicon.ADJECTIVES and all(word in lexicon.ADJECTIVES for word in self.words[self.position :]):
            negated, self.position = tuple(self.words[self.position :]), len(self.words)
            return Node(negated_attributes=negated, number=ANY)
        if self.word == "next" or RELATION.match(self.rest):
            relation = self._relation(depth)
            return Node(relations=(replace(relation, negated=True),), number=ANY) if relation else Node()
        return Node(excluded=tuple(self._excluded(depth)), number=ANY)

    def _excluded(self, depth: int) -> list[Reading]:
        out = self.reading(depth + 1)
        return [_landmark(node) for node in (out.options if isinstance(out, Union) else (out,))]

    # what is said after the name

    def _after(self, draft: Draft, depth: int) -> bool:
        """One thing more that is said of the noun; False where nothing is."""
        start = self.position
        if self.take("and", ",", "but"):
            self.take("and", "but")
        joined = self.position > start
        steps = [self._apposition, self._exception, self._rank, self._quality, self._relate]
        if depth and joined:  # it is said of what stands before all this
            steps = []
        elif depth:
            steps.remove(self._exception)
        for step in steps:
            if step(draft, depth, joined):
                return True
        self.position = start
        return False

    def _apposition(self, draft: Draft, depth: int, joined: bool) -> bool:
        """The mug, the red one; the mug, the mug is red; the mug, bright red."""
        if not joined or self.ahead(-1) != ",":
            return False
        if draft.said:
            rest = self.words[self.position :]
            if rest[:2] == ["the", draft.said[-1]] and rest[2:3] in (["is"], ["has"], ["that"], ["with"]):
                return self.skip(2) and bool(self._after(draft, depth) or True)
            count = next((k for k, word in enumerate(rest) if word not in lexicon.ADJECTIVES), len(rest))
            left = " ".join(rest[count:])
            if count and (not left or left[0] == "," or RELATION.match(left) or ORDER.match(left)):
                draft.adjectives += rest[:count]
                return self.skip(count)
        found = ONE.match(self.rest)
        words = found[1].split() if found else []
        if not found or not all(word in lexicon.ADJECTIVES | lexicon.BEFORE.keys() for word in words):
            return False
        for word in words:
            if word in lexicon.BEFORE and word not in lexicon.SIZES:
                draft.order = lexicon.BEFORE[word]
            else:
                draft.adjectives.append(word)
        return self.skip(len(found[0].split()))

    def _exception(self, draft: Draft, depth: int, joined: bool) -> bool:
        start = self.position
        if joined:
            self.position -= 1
        if self.word == "besides" and not (draft.number == "all" or draft.other):
            self.position = start
            return False
        if draft.order and self.rest in ("but one", "bar one"):
            draft.index += 1
            return self.skip(2)
        found = self.match(EXCEPT)
        if not found or not self.word or self._rejoins(found[0]):
            self.position = start
            return False
        draft.excluded += self._excluded(depth)
        return True

    def _rejoins(self, words: str) -> bool:
        """Whether "but not" is followed by a place or an adjective, not by a thing."""
        if words.strip(" ,") == "but":
            return bool(RELATION.match(self.rest) or ORDER.match(self.rest))
        return "not" in words and (
            bool(RELATION.match(self.rest) or ORDER.match(self.rest)) or self.word in lexicon.ADJECTIVES
        )

    def _rank(self, draft: Draft, depth: int, joined: bool) -> bool:
        """On the left; from the left; that is the tallest."""
        if draft.order is not None:
            return self._distance(draft, depth) or self._side(draft)
        if found := self.match(RANKED):
            draft.order = lexicon.BEFORE[found[1]]
            return True
        from_there = self.word == "from" or self.rest.startswith("starting from")
        found = self.match(ORDER)
        if not found or found.lastgroup is None:
            return False
        draft.order, draft.counted_from = (found.lastgroup, "most"), from_there
        return True

    def _side(self, draft: Draft) -> bool:
        """A side beside an order: the tallest mug on the left; on the left at the back is a corner."""
        assert draft.order is not None
        start = self.position
        if ranked := self.match(RANKED):
            found, other = draft.order[0], lexicon.BEFORE[ranked[1]]
        else:
            order = self.match(ORDER)
            found, other = (order and order.lastgroup) or "", draft.order
        if f"at_{found}" not in AT_SIDES or (other[0] == found and other[1] == "most") or (ranked and draft.index > 1):
            self.position = start
            return False
        across = {found, other[0]} & {"left", "right"} and {found, other[0]} & {"front", "back"}
        if across and draft.index == 1 and other[1] == "most":
            draft.order = ("_".join(sorted((found, other[0]), key=("front", "back", "left", "right").index)), "most")
        else:
            draft.order = other
            draft.relations.append(Relation(f"at_{found}", (Node("table", text="table", definite=True),)))
        return True

    def _distance(self, draft: Draft, depth: int) -> bool:
        """The closest mug to the bowl: nearest to it; to the camera: in order of distance."""
        if draft.order is None or draft.order[0] not in DISTANCES or self.word not in ("to", "from"):
            return False
        relation = DISTANCES[draft.order[0]]
        if self.match(VIEWER):
            return True
        if draft.index > 1:  # a relation has no second
            raise NotUnderstood(self.rest)
        start = self.position
        if ((found := RELATION.match(self.rest)) and found["left"]) or (
            found and found["right"]
        ):  # the closest to the left
            side = self._relation(depth)
            assert side is not None
            draft.relations += [side, Relation(relation, side.landmarks, words=side.words)]
            draft.order = None
            return True
        self.skip()
        marks = self._landmarks(relation, depth)
        draft.relations.append(Relation(relation, marks, words=" ".join(self.words[start : self.position])))
        draft.order = None
        return True

    def _relate(self, draft: Draft, depth: int, joined: bool) -> bool:
        relation = self._relation(depth)
        if relation is None:
            return False
        draft.relations.append(relation)
        while depth == 0 and relation.relation in OF_EACH and (mark := self._another()):
            draft.relations.append(replace(relation, landmarks=(mark,)))
        if depth == 0 and relation.relation in ("nearest", "farthest") and self._another():
            raise NotUnderstood(self.rest or self.words[-1])  # to both, or two things?
        return True

    def _another(self) -> Node | None:
        """Of "next to the bowl and the plate" the plate, where nothing more is said of it."""
        start = self.position
        try:
            if self.take("and") and self.word in lexicon.DEFINITE | {"my", "a", "an"}:
                mark = _landmark(self.node(1))
                if mark.head and not (mark.relations or mark.order or self.word in ("or", "and")):
                    return mark
        except NotUnderstood:
            pass
        self.position = start
        return None

    def _relation(self, depth: int) -> Relation | None:
        start = self.position
        found = self.match(RELATION)
        if not found:
            return None
        name = next(key for key, value in found.groupdict().items() if value and key != "not")
        if not self.word:
            raise NotUnderstood(" ".join(self.words[start:]))
        marks = self._landmarks(name, depth)
        return Relation(name, marks, bool(found["not"]), " ".join(self.words[start : self.position]))

    def _landmarks(self, name: str, depth: int) -> tuple[Reading, ...]:
        counted = self.word in lexicon.EVERY or self.word in lexicon.NUMBERS
        first = _landmark(self.node(depth + 1, name))
        if name in ("with", "without") and not counted:  # parts come in numbers: with stripes, with a star
            first = replace(first, number=None)
        marks = [first]
        if name == "between" and first.number in (None, ANY):
            while self._more():
                marks.append(_landmark(self.node(depth + 1)))
            return tuple(marks)
        if self.word in BY_ANY.get(name, () if first.head else ("or",)) and depth == 0:
            start = self.position
            if self._more():
                try:
                    return (Union((first, _landmark(self.node(depth + 1)))),)
                except NotUnderstood:
                    self.position = start
        return tuple(marks)

    def _quality(self, draft: Draft, depth: int, joined: bool) -> bool:
        """That is red; made of wood; in blue; which is not empty."""
        start = self.position
        found = self.match(MADE) or self.match(ATTRIBUTE)
        if not found and (joined or self.word == "not") and self.ahead(1) in lexicon.ADJECTIVES:
            found = self.match(NOT)
        if not found and joined and depth == 0 and self._is_adjectives():
            draft.adjectives += [word for word in self.words[self.position :] if word in lexicon.ADJECTIVES]
            return self.skip(len(self.words) - self.position)
        if not found:
            return False
        words = self._adjectives(draft)
        if self.position == start or not (words or draft.order):
            self.position = start
            return False
        negated = "not" in found.groupdict() and found["not"]
        if negated and not set(words) & lexicon.ADJECTIVES and words[-1] not in lexicon.UNSEEN:
            draft.excluded.append(Node(" ".join(words), text=" ".join(words)))
            while self.take("or", "nor") and (words := self._adjectives(draft)):
                draft.excluded.append(Node(" ".join(words), text=" ".join(words)))
            return True
        (draft.negated if negated else draft.adjectives).extend(words)
        return True

    def _is_adjectives(self) -> bool:
        """Whether nothing but adjectives is left: left of the ball and yellow."""
        rest = self.words[self.position :]
        return bool(rest) and all(word in lexicon.ADJECTIVES or word == "and" for word in rest)

    def _adjectives(self, draft: Draft) -> list[str]:
        """What is said with "is": adjectives, and an order."""
        words: list[str] = []
        while self.word and self.word not in STOPS and not RELATION.match(self.rest) and not ORDER.match(self.rest):
            if self.word in lexicon.BEFORE and self.word not in lexicon.ADJECTIVES:
                draft.order = lexicon.BEFORE[self.word]
            elif self.word not in lexicon.DETERMINERS:
                words.append(self.word)
            self.skip()
            if self.word in ("and", "or") and words and self.ahead(1) in lexicon.ADJECTIVES:
                self.skip()
        return words


def _landmark(node: Node) -> Node:
    """What something is beside: "a" says no more than that it is one."""
    return replace(node, number=None) if node.number == ANY else node
