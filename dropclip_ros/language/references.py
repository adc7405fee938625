# SPDX-License-Identifier: Apache-2.0
"""What "one" and "it" stand for within a phrase: the red mug and the blue one; the box and the pen next to it."""

from __future__ import annotations

from dataclasses import replace

from dropclip_ros.language.tree import Node, Reading, Relation, Union


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


def _named(node: Node, name: str | None) -> Node:
    """The node with `name` for each "one" without a name of its own, in it and below."""
    if node.one and node.head is None and name and not (node.same or node.other):
        node = replace(node, head=name, text=" ".join([*node.attributes, name]))
    name = node.head or name
    relations = tuple(replace(relation, landmarks=_forward(relation.landmarks, name)) for relation in node.relations)
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
