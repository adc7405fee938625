# SPDX-License-Identifier: Apache-2.0
"""A node while it is read, and what it comes to."""

from __future__ import annotations

from dataclasses import dataclass, field

from dropclip_ros.language import lexicon
from dropclip_ros.language.cursor import Unanswerable
from dropclip_ros.language.nouns import NOUNS
from dropclip_ros.language.tree import ALL, Node, Order, Reading, Relation
from dropclip_ros.language.words import is_plural, singular


@dataclass
class Draft:
    """A node while it is read."""

    said: list[str] = field(default_factory=list)  # before the noun and the noun, without what has a field of its own
    adjectives: list[str] = field(default_factory=list)
    negated: list[str] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    excluded: list[Reading] = field(default_factory=list)
    order: tuple[str, str] | None = None
    index: int = 1
    ordinal: str = ""  # the word of the index
    last: int = 0  # from the end: 1 for the last
    counted_from: bool = False  # second from the left, not second on the left
    number: int | str | None = None
    head: list[str] = field(default_factory=list)
    other: bool = False
    same: bool = False
    definite: bool = False
    determined: bool = False
    nothing: bool = False  # thing, one, everything
    one: bool = False  # one or ones stands for a name that was said
    plural: bool = False
    single: bool = False  # of several
    some: bool = False  # two of the mugs, any two: no certain ones


def finished(draft: Draft) -> Node:
    """The node of a draft: adjectives parted from the noun. Raises Unanswerable where it counts from no side."""
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
    if number is None and name and not draft.head and not draft.single and is_plural(counted(head)):
        number = ALL
    if number is None and draft.plural:
        number = ALL
    return Node(
        name,
        tuple(adjectives),
        tuple(draft.negated),
        tuple(draft.relations),
        tuple(draft.excluded),
        _order(draft),
        number,
        draft.other,
        draft.same,
        " ".join([*said[:count], *head, *draft.adjectives]) if not draft.adjectives else " ".join([*adjectives, *head]),
        draft.definite and not draft.some,
        draft.one or (name is None and not draft.nothing and bool(adjectives or draft.other)),
    )


def _order(draft: Draft) -> Order | None:
    if draft.order is None and (draft.ordinal or draft.last):
        raise Unanswerable(f"{draft.ordinal!r}: from where is it counted? Say {draft.ordinal} from the left, say")
    if draft.order is None:
        return None
    by, direction = draft.order
    if draft.last and (draft.counted_from or draft.last > 1):
        return Order(by, "least" if direction == "most" else "most", draft.last)
    return Order(by, direction, draft.index)


def counted(head: list[str]) -> str:
    """The word that is counted: of "cans of soda" the first."""
    return head[head.index("of") - 1] if "of" in head[1:] else head[-1]
