# SPDX-License-Identifier: Apache-2.0
"""Phrases with relations, orders, numbers and negations about a view, with the labels that each means.

The truth comes from the meshes at rest, not from what a camera sees of them. A phrase is only asked where it has a
single reading: what it means is clearly so, everything else that could be called so is clearly not. Only to measure
with: nothing is trained on these, and of each kind's templates the second half is held out from who writes grammars.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from dropclip_ros.language.lexicon import VIEWERS
from dropclip_ros.language.tree import ALL, ANY, Node, Order, Reading, Relation
from dropclip_ros.language.words import is_plural
from training.objects.spec import ObjectModel
from training.objects.words import vocabulary as words
from training.scenes.description import SceneDescription

ANYTHING = re.compile(r"\b(?:any|anything|something|not)\b")
KINDS = ("side", "nearest", "between", "order", "several", "negation", "absent")
FRAMES = (
    *("the {head} {said}", "{head} {said}", "hand me the {head} {said}", "the {head} that is {said}"),
    *("please pick up the {head} {said}", "the {head} which is {said}", "could you pass me the {head} {said}, please"),
    *("grab the {head} {said}", "where is the {head} {said}?", "I need the {head} {said}"),
)
SIDES = {
    "left": ("left of the {mark}", "to the left of the {mark}", "on the left side of the {mark}"),
    "right": ("right of the {mark}", "to the right of the {mark}", "on the right side of the {mark}"),
    "front": ("in front of the {mark}", "just in front of the {mark}", "at the front of the {mark}"),
    "behind": ("behind the {mark}", "at the back of the {mark}", "right behind the {mark}"),
}
DISTANCES = {
    "nearest": ("closest to the {mark}", "nearest to the {mark}", "nearest the {mark}"),
    "farthest": ("farthest from the {mark}", "furthest away from the {mark}", "furthest from the {mark}"),
}
BETWEEN = (
    "between the {mark} and the {other}",
    "in between the {mark} and the {other}",
    "amid the {mark} and the {other}",
)
LEAST_APART = 0.05  # m and shares by which things clearly differ
CLEAR, NOT_AT_ALL = 0.6, 2.5  # metres to a side for each metre along
OPEN = (
    "{order} {head}",
    "the {order} {head}",
    "hand me the {order} {head}",
    "please get the {order} {head}",
    "fetch the {order} {head}",
)
ORDERS = {
    ("left", "most"): ("leftmost", "left"),
    ("right", "most"): ("rightmost", "right"),
    ("near", "most"): ("nearest", "closest"),
    ("far", "most"): ("farthest", "furthest"),
    ("height", "most"): ("tallest",),
    ("left", "second"): ("second {head} from the left",),
}
ALL_FRAMES = (
    "all the {plural} {said}",
    "every {head} {said}",
    "all {plural} {said}",
    "each {head} {said}",
    "all of the {plural} {said}",
)
NOT_FRAMES = (
    *("everything but the {head}", "everything except the {head}", "all objects except the {head}"),
    *(
        "anything but the {head}",
        "not the {head}",
        "all things other than the {head}",
        "everything apart from the {head}",
    ),
    *("anything except the {head}", "any object other than the {head}", "every object but the {head}"),
    *("give me everything but the {head}", "take everything except the {head}", "pick up anything but the {head}"),
    *("something other than the {head}", "all the objects but the {head}", "everything excluding the {head}"),
    *("everything besides the {head}", "please get everything but the {head}", "all items except the {head}"),
    *("hand me anything but the {head}", "every item except for the {head}"),
)


@dataclass(frozen=True)
class RelationQuery:
    """A phrase, its kind, its true tree, and the labels that it means (none: absent)."""

    phrase: str
    kind: str
    reading: Reading
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Solid:
    """An object's box for the camera: x to the right, y away, z up, m. name: what it is called."""

    label: int
    name: str
    low: np.ndarray
    high: np.ndarray

    @property
    def middle(self) -> np.ndarray:
        return (self.low + self.high) / 2


def solids(
    description: SceneDescription, models: Mapping[str, ObjectModel], world_from_camera: np.ndarray
) -> dict[int, Solid]:
    """All objects of a scene by label, in the axes of a camera."""
    away = np.array([*world_from_camera[:2, 2], 0.0])
    away /= max(np.linalg.norm(away), 1e-9)
    axes = np.stack([np.cross(away, [0, 0, 1]), away, [0, 0, 1]])
    found = {}
    for placed in description.objects:
        model, pose = models[placed.name], placed.pose
        vertices = (
            (placed.scale * model.vertices) @ pose[:3, :3].T + pose[:3, 3] - [*world_from_camera[:2, 3], 0]
        ) @ axes.T
        name = words.NOUNS[model.category][0][0]
        found[placed.label] = Solid(placed.label, name, vertices.min(0), vertices.max(0))
    return found


def relation_queries(
    there: Sequence[Solid], rng: np.random.Generator, heldout: bool = True, most: int = 2
) -> list[RelationQuery]:
    """At most `most` queries of each kind about the objects in view, in held-out wordings or the others."""
    names = [solid.name for solid in there]
    single = [solid for solid in there if names.count(solid.name) == 1 and _is_plain(solid.name)]
    every = list(_sides(there, single)) + list(_distances(there, single)) + list(_betweens(there, single))
    every += list(_orders(there)) + list(_others(there, single)) + list(_absent(there, rng))
    asked = []
    for kind in KINDS:
        of_kind = [entry for entry in every if entry[0] == kind]
        for i in rng.permutation(len(of_kind))[:most]:
            _, templates, fields, reading, labels = of_kind[i]
            half = len(templates) // 2
            templates = (templates[half:] if heldout else templates[:half]) or templates
            phrase = str(rng.choice(templates)).format(**fields)
            if ANYTHING.search(phrase):
                reading = replace(reading, number=ANY)
            asked.append(RelationQuery(phrase, kind, reading, tuple(labels)))
    return asked


def _is_plain(name: str) -> bool:
    """Whether a name is neither that of several things ("stacking rings") nor of the viewer ("camera")."""
    return not is_plural(name.split()[-1]) and name not in VIEWERS


def _wordings(said: Sequence[str], frames: Sequence[str] = FRAMES) -> tuple[str, ...]:
    return tuple(frame.replace("{said}", words) for words, frame in product(said, frames))


def _names(there: Sequence[Solid]) -> list[str]:
    return sorted({solid.name for solid in there if _is_plain(solid.name)} | {"object"})


def _named(solid: Solid) -> Node:
    return Node(solid.name, text=solid.name, definite=True)


def _heads(there: Sequence[Solid], target: Solid) -> Iterator[tuple[str, list[Solid]]]:
    """What the target may be called, and all that may be called so."""
    if _is_plain(target.name):
        yield target.name, [solid for solid in there if solid.name == target.name]
    yield "object", list(there)


def _head(name: str, relations: tuple = (), **more) -> Node:
    return Node(None if name == "object" else name, relations=relations, **more)


def _along(a: Solid, b: Solid, side: str) -> tuple[float, float]:
    """How far a lies to a side of b, and how far across, m."""
    x, y, _ = a.middle - b.middle
    return {"left": (-x, y), "right": (x, y), "front": (-y, x), "behind": (y, x)}[side]


def _sides(there: Sequence[Solid], marks: Sequence[Solid]) -> Iterator[tuple]:
    for mark, side in product(marks, SIDES):
        so, unsure = set(), set()
        for solid in there:
            along, across = _along(solid, mark, side)
            if solid is mark:
                continue
            if along > LEAST_APART and abs(across) < CLEAR * along:
                so.add(solid.label)
            elif along > -0.02 and abs(across) < NOT_AT_ALL * max(along, 0.02):
                unsure.add(solid.label)
        for target in there:
            for name, called in _heads(there, target) if target.label in so else ():
                labels = {solid.label for solid in called}
                relation = Relation(side, (_named(mark),))
                fields = {"head": name, "mark": mark.name, "plural": f"{name}s"}
                if labels & so == {target.label} and not labels & unsure and mark.name != name:
                    yield "side", _wordings(SIDES[side]), fields, _head(name, (relation,)), [target.label]
                if name == "object" and len(so) > 1 and not unsure and target.label == min(so):
                    reading = _head(name, (relation,), number=ALL)
                    yield "several", _wordings(SIDES[side], ALL_FRAMES), fields, reading, sorted(so)


def _distances(there: Sequence[Solid], marks: Sequence[Solid]) -> Iterator[tuple]:
    for mark, name in product(marks, _names(there)):
        called = [s for s in there if name in (s.name, "object") and s is not mark]
        if len(called) < 2 or name == mark.name:
            continue
        distance = sorted((float(np.linalg.norm((s.middle - mark.middle)[:2])), s.label) for s in called)
        for which, (first, second) in (("nearest", distance[:2]), ("farthest", distance[:-3:-1])):
            if abs(first[0] - second[0]) > LEAST_APART:
                reading = _head(name, (Relation(which, (_named(mark),)),))
                yield "nearest", _wordings(DISTANCES[which]), {"head": name, "mark": mark.name}, reading, [first[1]]


def _betweens(there: Sequence[Solid], marks: Sequence[Solid]) -> Iterator[tuple]:
    for i, a in enumerate(marks):
        for b in marks[i + 1 :]:
            line = (b.middle - a.middle)[:2]
            length = float(np.linalg.norm(line))
            rest = [solid for solid in there if solid not in (a, b)]
            if length < 0.15:
                continue
            share = [float((s.middle - a.middle)[:2] @ line) / length**2 for s in rest]
            aside = [abs(float(np.cross(line, (s.middle - a.middle)[:2]))) / length**2 for s in rest]
            so = [s for s, t, d in zip(rest, share, aside, strict=True) if 0.25 < t < 0.75 and d < 0.15]
            unsure = [s for s, t, d in zip(rest, share, aside, strict=True) if 0 < t < 1 and d < 0.5 and s not in so]
            if len(so) == 1 and not unsure:
                fields = {"head": "object", "mark": a.name, "other": b.name}
                reading = _head("object", (Relation("between", (_named(a), _named(b))),))
                yield "between", _wordings(BETWEEN), fields, reading, [so[0].label]


def _orders(there: Sequence[Solid]) -> Iterator[tuple]:
    for name in _names(there):
        called = [solid for solid in there if name in (solid.name, "object")]
        for (by, which), said in ORDERS.items():
            index = 1 if which == "second" else 0
            values = sorted(((_measure(solid, by), solid.label) for solid in called), reverse=True)
            near = [values[k][0] - values[k + 1][0] for k in (index - 1, index) if 0 <= k < len(values) - 1]
            least = 0.02 if by == "height" else LEAST_APART / 2
            if len(values) < index + 2 or min(near) < least:
                continue
            reading = _head(name, order=Order(by, "most", index + 1))
            templates = tuple(t.replace("{order} {head}" if index else "{order}", w) for w, t in product(said, OPEN))
            yield "order", templates, {"head": name}, reading, [values[index][1]]


def _measure(solid: Solid, by: str) -> float:
    if by == "height":
        return float(solid.high[2] - solid.low[2])
    x, y, _ = solid.middle
    away = float(np.linalg.norm([x, y]))
    return {"left": -x, "right": x, "near": -away, "far": away}[by]


def _others(there: Sequence[Solid], single: Sequence[Solid]) -> Iterator[tuple]:
    for solid in single:
        labels = [other.label for other in there if other is not solid]
        if labels:
            reading = Node(excluded=(_named(solid),), number=ALL)
            yield "negation", NOT_FRAMES, {"head": solid.name}, reading, labels


def _absent(there: Sequence[Solid], rng: np.random.Generator) -> Iterator[tuple]:
    """A thing beside one that is not there."""
    names = {solid.name for solid in there}
    missing = [table[0][0] for table in words.NOUNS.values() if table[0][0] not in names and _is_plain(table[0][0])]
    for solid in filter(lambda solid: _is_plain(solid.name), there):
        side, mark = str(rng.choice(list(SIDES))), str(rng.choice(missing))
        reading = _head(solid.name, (Relation(side, (Node(mark, text=mark, definite=True),)),))
        yield "absent", _wordings(SIDES[side]), {"head": solid.name, "mark": mark}, reading, []
