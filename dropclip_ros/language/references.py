# SPDX-License-Identifier: Apache-2.0
"""What "one" and "it" stand for within a phrase: the red mug and the blue one; the box and the pen next to it."""

from __future__ import annotations

from dataclasses import replace

from dropclip_ros.language.lexicon import COLOURS
from dropclip_ros.language.tree import Node, Reading, Relation, Union
from dropclip_ros.language.words import singular


def resolved(reading: Reading) -> Reading:
    """The tree with names in the place of words that go back to a name before them."""
    if isinstance(reading, Node):
        return _named(reading, None)
    options: list[Node] = []
    last = reading.options[-1]
    for option in reading.options:
        if option.one and not options and not last.one:  # the red or the blue mug
            option = _named(option, last.head)
        before = options[-1] if options else None
        option = _named(option, before.head if before else None)
        options.append(_about(option, before) if before and before.head else option)
    return Union(tuple(options))


def apposed(before: Node, node: Node) -> Node | None:
    """The one node of "the mug, the red one" or "a red block, second from the top"; None where they are two things."""
    same_name = node.head is None or (before.head and singular(node.head) == singular(before.head))
    if before.same or node.same or node.other or not (same_name or (before.head is None and not before.excluded)):
        return None
    if before.head is None and node.head is not None and not node.definite:
        return None
    if (set(before.attributes) & COLOURS and set(node.attributes) & COLOURS) or (before.order and node.order):
        return None
    if not (node.definite or node.order or node.relations) or (isinstance(before.number, int) and node.number is None):
        return None
    return replace(
        before,
        head=before.head or node.head,
        attributes=(*before.attributes, *node.attributes),
        negated_attributes=(*before.negated_attributes, *node.negated_attributes),
        relations=(*before.relations, *node.relations),
        excluded=(*before.excluded, *node.excluded),
        order=before.order or node.order,
        number=before.number if before.number not in (None, "any") else node.number,
        text=" ".join([*before.attributes, *node.attributes, before.head or node.head or ""]).strip(),
        definite=before.definite or node.definite,
        one=before.one and node.one,
    )


def _named(node: Node, name: str | None) -> Node:
    """The node with `name` for each "one" without a name of its own, in it and below."""
    if node.one and node.head is None and name and not node.same:
        node = replace(node, head=name, text=" ".join([*node.attributes, name]))
    name = node.head or name
    relations = tuple(replace(relation, landmarks=_forward(relation.landmarks, name)) for relation in node.relations)
    if (
        relations
        and len(relations[0].landmarks) == 1
        and isinstance(mark := relations[0].landmarks[0], Node)
        and mark.head
    ):
        relations = relations[:1] + tuple(_about(Node(relations=relations[1:]), mark).relations)  # and not touching it
    return replace(node, relations=relations, excluded=tuple(_below(out, name) for out in node.excluded))


def _forward(marks: tuple[Reading, ...], name: str | None) -> tuple[Reading, ...]:
    """Landmarks with their names: between the red and the green cube, the first is a cube as well."""
    last = marks[-1]
    if isinstance(last, Node) and last.head and len(marks) > 1 and not last.one:
        marks = (*(_below(mark, last.head) for mark in marks[:-1]), last)
    return tuple(_below(mark, name) for mark in marks)


def _below(reading: Reading, name: str | None) -> Reading:
    if isinstance(reading, Node):
        return _named(reading, name)
    return Union(tuple(_named(option, name) for option in reading.options))


def _about(node: Node, before: Node) -> Node:
    """The node with `before` in the place of each landmark that is "it" or "them"."""

    def put(relation: Relation) -> Relation:
        return replace(relation, landmarks=tuple(_put(mark, before) for mark in relation.landmarks))

    return replace(node, relations=tuple(map(put, node.relations)))


def _put(mark: Reading, before: Node) -> Reading:
    bare = isinstance(mark, Node) and mark.same and not (mark.head or mark.attributes or mark.relations or mark.order)
    return replace(before, number=None if before.number == "any" else before.number) if bare else mark
