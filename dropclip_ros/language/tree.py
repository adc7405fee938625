# SPDX-License-Identifier: Apache-2.0
"""What a phrase says, as a tree: things with attributes, relations to other things, an order, a number, negations.

`to_dict` and `from_dict` are the same tree as plain JSON; `from_dict` checks all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

COMPARISONS = {  # relations that compare a measure with the landmark's: what "most" of an order goes by, and which
    "bigger": ("size", "most"),
    "smaller": ("size", "least"),
    "taller": ("height", "most"),
    "shorter": ("height", "least"),
    "longer": ("length", "most"),
    "wider": ("width", "most"),
    "narrower": ("width", "least"),
    "thicker": ("thickness", "most"),
    "thinner": ("thickness", "least"),
    "nearer": ("near", "most"),
    "further": ("far", "most"),
}
SAME = ("same_colour", "same_material", "same_size", "same_height", "same_length")
AT_SIDES = ("at_left", "at_right", "at_front", "at_back")  # in that half of where such things are; of the table
RELATIONS = (
    *("left", "right", "front", "behind", "next_to", "between", "on", "in", "under", "above"),
    *("near", "far", "nearest", "farthest", "with", "without", *COMPARISONS, *SAME, *AT_SIDES),
)
ORDERS = (
    *("left", "right", "near", "far", "front", "back", "size", "height", "width", "length"),
    *("thickness", "top", "bottom", "middle", "front_left", "front_right", "back_left", "back_right"),
)
OTHER_SIDE = {"left": "right", "right": "left", "front": "back", "back": "front", "top": "bottom", "bottom": "top"}
SAID = {  # an order by most, and by least
    **{side: (f"{side}most", f"{other}most") for side, other in OTHER_SIDE.items()},
    **{"front": ("frontmost", "rearmost"), "back": ("rearmost", "frontmost"), "top": ("topmost", "lowest")},
    **{"bottom": ("lowest", "topmost"), "near": ("nearest to the viewer", "farthest from the viewer")},
    **{"far": ("farthest from the viewer", "nearest to the viewer"), "size": ("largest", "smallest")},
    **{"height": ("tallest", "shortest"), "width": ("widest", "narrowest"), "length": ("longest", "shortest")},
    **{"thickness": ("thickest", "thinnest"), "middle": ("in the middle", "farthest from the middle")},
    **{
        "front_left": ("in the front left", "in the back right"),
        "back_right": ("in the back right", "in the front left"),
    },
    **{
        "front_right": ("in the front right", "in the back left"),
        "back_left": ("in the back left", "in the front right"),
    },
}
ALL, ANY = "all", "any"
DEPTH = 8  # of trees from outside


@dataclass(frozen=True)
class Relation:
    """Where a thing is, beside others. words: as it was said, with its landmarks."""

    relation: str
    landmarks: tuple[Reading, ...]
    negated: bool = False
    words: str = field(default="", compare=False)


@dataclass(frozen=True)
class Order:
    """The index-th (from 1) of all that fit, by most or least of a measure."""

    by: str
    direction: str = "most"
    index: int = 1


@dataclass(frozen=True)
class Node:
    """A thing, or things of one kind. head: None for any object; number: None (one is meant), 2.., "all" or "any".

    excluded: what is not meant. other, same: than the last answer, as the last answer. text: attributes and head as
    they were said, without article. definite: said with "the", and not "two of the". one: "one" stands for a name that
    was said.
    """

    head: str | None = None
    attributes: tuple[str, ...] = ()
    negated_attributes: tuple[str, ...] = ()
    relations: tuple[Relation, ...] = ()
    excluded: tuple[Reading, ...] = ()
    order: Order | None = None
    number: int | str | None = None
    other: bool = False
    same: bool = False
    text: str = field(default="", compare=False)
    definite: bool = field(default=False, compare=False)
    one: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Union:
    """Any of several: "the mug and the hammer"."""

    options: tuple[Node, ...]


Reading: TypeAlias = Node | Union


@dataclass(frozen=True)
class Phrase:
    """A phrase as it was read.

    reading: None where it is not to be answered, and `unsupported` says why. text: what is left of the phrase to be
    compared as a whole, misspelt words mended. whole: nothing but a thing and its attributes, so that comparing it as a
    whole says all. not_understood: words that have no say.
    """

    said: str
    reading: Reading | None
    text: str
    whole: bool = False
    unsupported: str = ""
    not_understood: tuple[str, ...] = ()


def nodes_of(reading: Reading) -> Iterator[Node]:
    """The node itself and all below it, depth first."""
    if isinstance(reading, Union):
        for option in reading.options:
            yield from nodes_of(option)
        return
    yield reading
    for below in (*(mark for relation in reading.relations for mark in relation.landmarks), *reading.excluded):
        yield from nodes_of(below)


def head_of(reading: Reading | None) -> str:
    """The name of what is meant, '' where it is anything."""
    options = reading.options if isinstance(reading, Union) else (reading,) if reading else ()
    return " or ".join(node.head for node in options if node.head)


def in_words(reading: Reading) -> str:
    """The tree in one line: mug [red], left of (banana)."""
    if isinstance(reading, Union):
        return " or ".join(map(in_words, reading.options))
    adjectives = [*reading.attributes, *(f"not {word}" for word in reading.negated_attributes)]
    name = reading.head or ("it" if reading.same else "object")
    name = f"same {name}" if reading.same and reading.head else name
    parts = [f"{name} [{', '.join(adjectives)}]" if adjectives else name]
    if reading.other:
        parts[0] = f"other {parts[0]}"
    if reading.number is not None:
        parts[0] = f"{reading.number} {parts[0]}"
    for relation in reading.relations:
        marks = " and ".join(map(in_words, relation.landmarks))
        parts.append(f"{'not ' * relation.negated}{relation.relation.replace('_', ' ')} ({marks})")
    parts += [f"but not ({in_words(out)})" for out in reading.excluded]
    if reading.order:
        parts.append(order_in_words(reading.order))
    return ", ".join(parts)


def order_in_words(order: Order) -> str:
    """The order as one says it: leftmost, 2nd from the left, 3rd tallest."""
    rank = "" if order.index == 1 else _ordinal(order.index)
    said = SAID[order.by][order.direction == "least"]
    if rank and order.by in ("left", "right", "front", "back", "top", "bottom"):
        side = order.by if order.direction == "most" else OTHER_SIDE[order.by]
        return f"{rank} from the {side}"
    return f"{rank} {said}".strip()


def _ordinal(count: int) -> str:
    ending = "th" if 10 < count % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
    return f"{count}{ending}"


def to_dict(reading: Reading) -> dict[str, Any]:
    """The tree as JSON has it."""
    if isinstance(reading, Union):
        return {"union": [to_dict(option) for option in reading.options]}
    relations = [
        {"relation": relation.relation, "landmarks": [to_dict(mark) for mark in relation.landmarks]}
        | ({"negated": True} if relation.negated else {})
        for relation in reading.relations
    ]
    order = reading.order
    return {
        "head": reading.head,
        "attributes": list(reading.attributes),
        "negated_attributes": list(reading.negated_attributes),
        "relations": relations,
        "not": [to_dict(out) for out in reading.excluded],
        "order": order and {"by": order.by, "direction": order.direction, "index": order.index},
        "number": reading.number,
        "other": reading.other,
        "same": reading.same,
    }


def from_dict(data: object, depth: int = DEPTH) -> Reading:
    """What `to_dict` wrote. ValueError where anything in it is of another kind."""
    if not isinstance(data, Mapping) or depth < 1:
        raise ValueError(f"expected an object, at most {DEPTH} deep; got {str(data)[:60]!r}")
    if set(data) == {"union"}:
        options = [from_dict(option, depth - 1) for option in _list(data, "union")]
        nodes = tuple(option for option in options if isinstance(option, Node))
        if len(options) < 2 or len(nodes) < len(options):
            raise ValueError("union: expected two nodes or more")
        return Union(nodes)
    known = {"head", "attributes", "negated_attributes", "relations", "not", "order", "number", "other", "same"}
    if unknown := set(data) - known:
        raise ValueError(f"unknown key {min(map(str, unknown))!r}; known are {', '.join(sorted(known))}")
    head, number = data.get("head"), data.get("number")
    if head is not None and not (isinstance(head, str) and head.strip()):
        raise ValueError(f"head: expected words or null; got {head!r}")
    if not (number in (None, ALL, ANY) or (type(number) is int and 1 <= number <= 99)):
        raise ValueError(f"number: expected null, all, any or 1 to 99; got {number!r}")
    attributes = _words(data, "attributes")
    return Node(
        head,
        attributes,
        _words(data, "negated_attributes"),
        tuple(_relation(relation, depth - 1) for relation in _list(data, "relations")),
        tuple(from_dict(out, depth - 1) for out in _list(data, "not")),
        _order(data.get("order")),
        number,
        data.get("other") is True,
        data.get("same") is True,
        " ".join((*attributes, head or "")).strip(),
        True,
    )


def _list(data: Mapping, key: str) -> list:
    value = data.get(key) or []
    if not isinstance(value, list):
        raise ValueError(f"{key}: expected a list; got {value!r}")
    return value


def _words(data: Mapping, key: str) -> tuple[str, ...]:
    words = _list(data, key)
    if not all(isinstance(word, str) and word.strip() for word in words):
        raise ValueError(f"{key}: expected words; got {words!r}")
    return tuple(words)


def _relation(data: object, depth: int) -> Relation:
    if not isinstance(data, Mapping) or data.get("relation") not in RELATIONS:
        raise ValueError(f"relation: expected one of {', '.join(RELATIONS)}; got {str(data)[:60]!r}")
    marks = tuple(from_dict(mark, depth) for mark in _list(data, "landmarks"))
    if not marks:
        raise ValueError(f"{data['relation']}: expected a landmark")
    return Relation(data["relation"], marks, data.get("negated") is True)


def _order(data: object) -> Order | None:
    if data is None:
        return None
    if not isinstance(data, Mapping) or data.get("by") not in ORDERS:
        raise ValueError(f"order: expected by, one of {', '.join(ORDERS)}; got {str(data)[:60]!r}")
    order = Order(data["by"], data.get("direction", "most"), data.get("index", 1))
    if order.direction not in ("most", "least") or type(order.index) is not int or not 1 <= order.index <= 99:
        raise ValueError(f"order: expected most or least and an index from 1; got {order}")
    return order
