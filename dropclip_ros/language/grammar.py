# SPDX-License-Identifier: Apache-2.0
"""A grammar of referring phrases: determiners, what comes before a noun, the noun, what follows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dropclip_ros.language import lexicon
from dropclip_ros.language.nouns import NOUNS, words_of
from dropclip_ros.language.patterns import ATTRIBUTE, EXCEPT, MADE, ORDER, PURPOSE, RELATION, VIEWER
from dropclip_ros.language.tree import ALL, ANY, Node, Order, Reading, Relation, Union
from dropclip_ros.language.words import is_plural, singular

NOT = re.compile("(?P<not>not )")
FRONTED = re.compile(
    r"(?:, )?(?:(?:you|we|i) (?:will |can )?(?:see|find|have|notice)|there (?:is|are)|is|are|lies|stands|,) (?=\w)"
)
ONE = re.compile(r"the ((?:\w+ )*?)ones?\b")
POINTING = ("this", "that", "these", "those")
CONJUNCTIONS = ("and", "or", ",")
STOPS = words_of("and or , but except that which who is are it they not excluding than besides there")
DISTANCES = {"near": "nearest", "far": "farthest"}
OTHERS = words_of("other another else rest different remaining others")
DEEPEST = 6


class NotUnderstood(Exception):
    """The words do not form a phrase. Its argument: what is not understood."""


@dataclass
class _Draft:
    """A node while it is read."""

    said: list[str] = field(default_factory=list)  # before the noun and the noun, without what has a field of its own
    adjectives: list[str] = field(default_factory=list)
    negated: list[str] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    excluded: list[Reading] = field(default_factory=list)
    order: tuple[str, str] | None = None
    index: int = 1
    number: int | str | None = None
    head: list[str] = field(default_factory=list)
    other: bool = False
    same: bool = False
    definite: bool = False
    determined: bool = False
    nothing: bool = False  # thing, one, everything
    plural: bool = False
    single: bool = False  # of several


class Grammar:
    """Reads words from the front; `position` is how far it got."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words, self.position = list(words), 0

    @property
    def word(self) -> str:
        return self.words[self.position] if self.position < len(self.words) else ""

    @property
    def rest(self) -> str:
        return " ".join(self.words[self.position :])

    def _take(self, *choices: str) -> str:
        """The next word, if it is one of these."""
        word = self.word
        if word and word in choices:
            self.position += 1
            return word
        return ""

    def _match(self, pattern):
        """A match of the words that are left, taken; None, and nothing taken, where they do not match."""
        rest = self.rest
        found = pattern.match(rest)
        if not found or not found[0].strip():
            return None
        self.position += len(rest[: found.end()].split())
        return found

    def reading(self, depth: int = 0) -> Reading:
        """One or several things, with what is said of them."""
        both = self.word == "both"
        options = [self.node(depth)]
        while self._more():
            options.append(self.node(depth))
        if len(options) > 1 and both:
            options[0] = replace(options[0], number=None)
        return options[0] if len(options) == 1 else Union(tuple(options))

    def _more(self) -> bool:
        """Takes what parts one thing from the next, where another thing follows."""
        start = self.position
        while self._take(*CONJUNCTIONS, "plus") or (self.rest.startswith("as well as ") and self._skip(3)):
            pass
        if self.position > start and self.word and not RELATION.match(self.rest) and not ORDER.match(self.rest):
            return True
        self.position = start
        return False

    def _skip(self, count: int) -> bool:
        self.position += count
        return True

    def node(self, depth: int = 0, beside: str = "") -> Node:
        """A thing with what is said of it. beside: the relation whose landmark it is."""
        if depth > DEEPEST:
            raise NotUnderstood(self.rest)
        draft = _Draft()
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
        node = _finished(draft)
        if self.words[start] in POINTING and not (node.text or node.relations or node.order or node.other):
            node = replace(node, same=True)
        return node

    def _fronted(self) -> Node | None:
        """To the left of the radio you will see a clock; from the right, the fourth mug."""
        start = self.position
        try:
            if RELATION.match(" ".join(self.words[start + 1 :])):
                self._take("from")
            rank, relation = self._match(ORDER), None
            if not rank:
                relation = self._relation(1)
            if (rank or relation) and self._match(FRONTED) and self.word:
                node = _landmark(self.node(1))
                if relation:
                    return replace(node, relations=(*node.relations, relation))
                return replace(node, order=Order(rank.lastgroup, "most", node.order.index if node.order else 1))
        except NotUnderstood:
            pass  # it did not begin with its place after all: the words are read again, as they come
        self.position = start
        return None

    def _is_of_all(self, beside: str) -> bool:
        """Whether what follows a part or the table is said of the whole: the cup with a handle on the left."""
        on_table = beside == "on" and self.position and self.words[self.position - 1] in lexicon.SURFACES
        if not on_table and beside not in ("with", "without"):
            return False
        return bool(ORDER.match(self.rest) or RELATION.match(self.rest))

    def _all_but(self, depth: int) -> Node:
        """Not the red mug: any other object. Not red: any that is not."""
        self._match(EXCEPT) or self._skip(1 if self.word == "not" else 2 + (self.words[self.position + 1] == "other"))
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

    def _determiner(self, draft: _Draft) -> None:
        """The, a, all of the, both, any one of the, two of the."""
        start = self.position
        while word := self.word:
            if word in lexicon.PRONOUNS and not draft.determined:
                draft.same, draft.number, draft.nothing = True, lexicon.PRONOUNS[word], True
                self._skip(1)
                return
            if word in lexicon.EVERY:
                draft.number = ALL
            elif word in ("any", "either", "some") or (
                word in ("a", "an") and self.words[self.position + 1 : self.position + 2] != ["couple"]
            ):
                draft.number = ANY
            elif word == "both":
                draft.number = 2
            elif word in lexicon.NUMBERS and self._counts(draft):
                count = lexicon.NUMBERS[word]
                if not isinstance(draft.number, int):
                    draft.number = count if count > 1 else draft.number or ANY
            elif word == "single":  # which of the mugs
                draft.single = True
            elif word not in lexicon.DETERMINERS and word != "only":
                break
            if word in lexicon.DEFINITE:
                draft.definite = True
                draft.plural |= word in lexicon.PLURAL_DETERMINERS
            self._skip(1)
            if self.word == "of" and word not in ("the", "a", "an"):
                self._skip(1)
        draft.determined = self.position > start
        if draft.determined and not self.word and self.words[start] in ("this", "that", "these", "those"):
            draft.same, draft.nothing = True, True

    def _counts(self, draft: _Draft) -> bool:
        """Whether the number here counts: "one of the mugs", "the two cups", but not "the one next to it"."""
        following = self.words[self.position + 1 : self.position + 2]
        if self.word in ("one", "pair"):
            return (
                following == ["of"] and self.words[self.position + 2 : self.position + 3] != [] and self.word == "one"
            )
        return self.word != "both"

    def _before(self, draft: _Draft) -> None:
        """Ordinals, numbers, orders, other and same; adjectives are left to the noun."""
        while word := self.word:
            following = self.words[self.position + 1] if self.position + 1 < len(self.words) else ""
            if word in lexicon.ORDINALS and word != "second-hand":
                draft.index = lexicon.ORDINALS[word]
            elif word in OTHERS:
                draft.other = True
                if word == "another" or word == "different":
                    draft.number = draft.number or ANY
                if word in ("rest", "others", "remaining") and not (word == "remaining" and draft.number):
                    draft.number = draft.number or ALL
                if word in ("rest", "others"):
                    draft.nothing = True
                    self._skip(1)
                    if self.word == "of":
                        self._skip(1)
                        self._take("the", "these", "those")
                        draft.nothing = False
                    continue
            elif word == "same":
                draft.same = True
            elif word in lexicon.NUMBERS and lexicon.NUMBERS[word] > 1 and (following or draft.other):
                draft.number = lexicon.NUMBERS[word]
            elif word in lexicon.TWICE and following in lexicon.BEFORE:
                pass
            elif word in lexicon.BEFORE and following != "than" and not self._follows_noun(word, draft):
                draft.order = lexicon.BEFORE[word]
                if following == "of":
                    self._of_several(draft)
                self._take_side()
            else:
                return
            self._skip(1)

    def _of_several(self, draft: _Draft) -> None:
        """The smaller of the two cups: one is meant."""
        rest = self.words[self.position + 2 :]
        count = 0
        while count < len(rest) and rest[count] in (
            "the",
            "these",
            "those",
            "all",
            "my",
            "two",
            "three",
            "four",
            "both",
        ):
            count += 1
        if count:
            draft.single = True
            self.position += 1 + count

    def _take_side(self) -> None:
        """The "hand" of "left hand mug"."""
        if self.words[self.position + 1 : self.position + 2] == ["hand"]:
            self._skip(1)

    def _follows_noun(self, word: str, draft: _Draft) -> bool:
        """Whether a word that may order is something else here: "near the bowl", "left of it"."""
        rest = self.rest
        if draft.determined and word in ("left", "right", "front", "back", "top", "bottom"):
            return False
        return bool(RELATION.match(rest)) and (not draft.determined and word not in lexicon.SUPERLATIVES)

    def _noun(self, draft: _Draft) -> None:
        """Adjectives and the noun, with "of" and what it is for."""
        adjectives_only = True
        while word := self.word:
            following = self.words[self.position + 1] if self.position + 1 < len(self.words) else ""
            if (
                word == "and"
                and draft.said
                and adjectives_only
                and following in lexicon.ADJECTIVES
                and self._noun_later()
            ):
                self._skip(1)
                continue
            if word in ("non", "not") and following in lexicon.ADJECTIVES and adjectives_only and word != "not":
                draft.negated.append(following)
                self._skip(2)
                continue
            if word == "one" and following == "of" and (draft.order or draft.index > 1):
                self._of_several(draft)
                self._skip(1)
                continue
            if word in lexicon.NOTHING and (not draft.said or adjectives_only):
                self._nothing(word, draft)
                return
            if word in ("which", "that", "who", "for", "to", "used", "useful", "good") and PURPOSE.match(self.rest):
                if draft.said or draft.nothing or not draft.determined:
                    self._purpose(draft, [])
                return
            if (
                word in STOPS
                or (word in ("i", "you", "we", "lies", "stands") and draft.said)
                or (draft.said and MADE.match(self.rest))
            ):
                return
            if (draft.said or not draft.determined) and (RELATION.match(self.rest) or ORDER.match(self.rest)):
                return
            if draft.said and word == "other" and EXCEPT.match(self.rest):
                return
            if word in ("to", "from") and draft.order and draft.order[0] in DISTANCES:
                return
            if word in OTHERS and not draft.said:
                draft.other = True
            elif word == "of" and not draft.said:
                return
            else:
                adjectives_only &= word in lexicon.ADJECTIVES
                draft.said.append(word)
            self._skip(1)
            if word == "of":
                self._take("the", "a", "an")

    def _noun_later(self) -> bool:
        """Whether after "and" come adjectives and then a noun: black and white mug."""
        for word in self.words[self.position + 1 :]:
            if word in lexicon.NOTHING or (word not in lexicon.ADJECTIVES and word not in STOPS):
                return not RELATION.match(word + " it")
            if word in STOPS:
                return False
        return False

    def _nothing(self, word: str, draft: _Draft) -> None:
        draft.nothing = True
        if word in ("everything", "stuff"):
            draft.number = ALL
        elif word in ("anything", "something"):
            draft.number = ANY
        elif word in ("things", "objects", "ones", "items") and draft.number is None:
            draft.number = ALL
        self._skip(1)
        if self._take("else"):
            draft.other = True
        if PURPOSE.match(self.rest):
            self._purpose(draft, [word])
            return
        while self.word in lexicon.ADJECTIVES and not RELATION.match(self.rest):  # something red
            draft.said.append(self.word)
            self._skip(1)
            if (
                self.word == "and"
                and self.words[self.position + 1 : self.position + 2]
                and self.words[self.position + 1] in lexicon.ADJECTIVES
            ):
                self._skip(1)
        if PURPOSE.match(self.rest):
            self._purpose(draft, [word])

    def _purpose(self, draft: _Draft, said: list[str]) -> None:
        """What a thing is for belongs to its name, to the end of the phrase."""
        end = len(self.words)
        for k in range(self.position + 1, end - 1):
            rest = " ".join(self.words[k:])
            if self.words[k] == "that" and self.words[k + 1] == "is" and (RELATION.match(rest) or ORDER.match(rest)):
                end = k
                break
        draft.head = [*said, *self.words[self.position : end]]
        draft.nothing = False
        self.position = end

    def _after(self, draft: _Draft, depth: int) -> bool:
        """One thing more that is said of the noun; False where nothing is."""
        start = self.position
        if self._take("and", ",", "but"):
            self._take("and", "but")
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

    def _apposition(self, draft: _Draft, depth: int, joined: bool) -> bool:
        """The mug, the red one; the mug, the mug is red; the mug, bright red."""
        if joined and self.words[self.position - 1] == "," and draft.said:
            rest = self.words[self.position :]
            if rest[:2] == ["the", draft.said[-1]] and rest[2:3] in (["is"], ["has"], ["that"], ["with"]):
                return self._skip(2) and bool(self._after(draft, depth) or True)
            if rest and all(word in lexicon.ADJECTIVES for word in rest):
                draft.adjectives += rest
                return self._skip(len(rest))
        found = ONE.match(self.rest) if joined and self.words[self.position - 1] == "," else None
        words = found[1].split() if found else []
        if not found or not all(word in lexicon.ADJECTIVES | lexicon.BEFORE.keys() for word in words):
            return False
        for word in words:
            if word in lexicon.BEFORE and word not in lexicon.SIZES:
                draft.order = lexicon.BEFORE[word]
            else:
                draft.adjectives.append(word)
        return self._skip(len(found[0].split()))

    def _exception(self, draft: _Draft, depth: int, joined: bool) -> bool:
        start = self.position
        if joined:
            self.position -= 1
        if self.word == "besides" and not (draft.number == ALL or draft.other):
            self.position = start
            return False
        if draft.order and self.rest in ("but one", "bar one"):
            draft.index += 1
            return self._skip(2)
        found = self._match(EXCEPT)
        if not found or not self.word or self._rejoins(found[0]):
            self.position = start
            return False
        draft.excluded += self._excluded(depth)
        return True

    def _rejoins(self, words: str) -> bool:
        """Whether "but not" is followed by a place or an adjective, not by a thing."""
        return "not" in words and (
            bool(RELATION.match(self.rest) or ORDER.match(self.rest)) or self.word in lexicon.ADJECTIVES
        )

    def _rank(self, draft: _Draft, depth: int, joined: bool) -> bool:
        if draft.order is not None:
            return self._distance(draft, depth)
        found = self._match(ORDER)
        if not found:
            return False
        draft.order = (found.lastgroup, "most")
        return True

    def _distance(self, draft: _Draft, depth: int) -> bool:
        """The closest mug to the bowl: nearest to it; to the camera: in order of distance."""
        if draft.order is None or draft.order[0] not in DISTANCES or self.word not in ("to", "from"):
            return False
        relation = DISTANCES[draft.order[0]]
        if self._match(VIEWER):
            return True
        start = self.position
        self._skip(1)
        marks = self._landmarks(relation, depth)
        draft.relations.append(Relation(relation, marks, words=" ".join(self.words[start : self.position])))
        draft.order = None
        return True

    def _relate(self, draft: _Draft, depth: int, joined: bool) -> bool:
        relation = self._relation(depth)
        if relation is not None:
            draft.relations.append(relation)
        return relation is not None

    def _relation(self, depth: int) -> Relation | None:
        start = self.position
        found = self._match(RELATION)
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
        if name in ("next_to", "near", "with", "without") and self.word in ("and", "or") and depth == 0:
            start = self.position
            if self._more():
                try:
                    return (Union((first, _landmark(self.node(depth + 1)))),)
                except NotUnderstood:
                    self.position = start
        return tuple(marks)

    def _quality(self, draft: _Draft, depth: int, joined: bool) -> bool:
        """That is red; made of wood; in blue; which is not empty."""
        start = self.position
        found = (
            self._match(MADE) or self._match(ATTRIBUTE) or (self._match_not() if joined or self.word == "not" else None)
        )
        if not found:
            return False
        words = []
        while self.word and self.word not in STOPS and not RELATION.match(self.rest) and not ORDER.match(self.rest):
            if self.word in lexicon.BEFORE and self.word not in lexicon.ADJECTIVES:
                draft.order = lexicon.BEFORE[self.word]
            elif self.word not in lexicon.DETERMINERS:
                words.append(self.word)
            self._skip(1)
            if (
                self.word in ("and", "or")
                and words
                and self.words[self.position + 1 : self.position + 2]
                and self.words[self.position + 1] in lexicon.ADJECTIVES
            ):
                self._skip(1)
        if self.position == start or not (words or draft.order):
            self.position = start
            return False
        negated = "not" in found.groupdict() and found["not"]
        if negated and not set(words) & lexicon.ADJECTIVES and words[-1] not in lexicon.UNSEEN:
            draft.excluded.append(Node(" ".join(words), text=" ".join(words)))
            return True
        (draft.negated if negated or found[0].strip() == "not" else draft.adjectives).extend(words)
        return True

    def _match_not(self):
        found = NOT.match(self.rest)
        if (
            found
            and self.words[self.position + 1 : self.position + 2]
            and self.words[self.position + 1] in lexicon.ADJECTIVES
        ):
            self._skip(1)
            return found
        return None


def _landmark(node: Node) -> Node:
    """What something is beside: "a" says no more than that it is one."""
    return replace(node, number=None) if node.number == ANY else node


def _finished(draft: _Draft) -> Node:
    """The node of a draft: adjectives parted from the noun."""
    said = draft.said
    count = 0
    while count < len(said) and said[count] in lexicon.ADJECTIVES:
        count += 1
    if count == len(said) and said and not draft.nothing and singular(said[-1]) in NOUNS | lexicon.MATERIALS:
        count -= 1
    if count and said[count : count + 1] == ["of"]:
        count -= 1
    head = (draft.head and [*said[count:], *draft.head]) or said[count:]
    adjectives = [*said[:count], *draft.adjectives]
    name = " ".join(head) or None
    number = draft.number
    if number is None and name and not draft.head and not draft.single and is_plural(_counted(head)):
        number = ALL
    if number is None and draft.plural:
        number = ALL
    index, order = draft.index, draft.order
    if order is None and index > 1:
        order = ("left", "most")
    return Node(
        name,
        tuple(adjectives),
        tuple(draft.negated),
        tuple(draft.relations),
        tuple(draft.excluded),
        order and Order(*order, index),
        number,
        draft.other,
        draft.same,
        " ".join([*said[:count], *head, *draft.adjectives]) if not draft.adjectives else " ".join([*adjectives, *head]),
        draft.definite,
    )


def _counted(head: list[str]) -> str:
    """The word that is counted: of "cans of soda" the first."""
    return head[head.index("of") - 1] if "of" in head[1:] else head[-1]
