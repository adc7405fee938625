# SPDX-License-Identifier: Apache-2.0
"""Objects that moved: which instance is which object by place, feature and colour, and the motion between the two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from torch import Tensor

from dropclip_ros.mapping.views import MapObject

_PLACE, _COLOUR, _SIZE = 1.0, 1.5, 0.3  # costs of a metre, of a distance of colours, of a factor e in size
_MOST = 0.9  # cost, beyond which they are not the same
_FARTHEST = 0.6  # m
_TURNS = np.radians([0, 25, -25, 60, -60, 110, -110, 180])  # about the vertical, that are tried
_SOME = 250  # voxels that are compared
_STEPS = 10
_REACH = 0.008  # m of what lies on each other
_FITS, _MORE = 0.7, 0.1  # share of the instance that must lie on the object after the motion, and more than before
_LEAST = 0.004  # m: less is no motion


@dataclass(frozen=True, eq=False)
class Shown:
    """An instance of a frame: places (n,3) m of its voxels, colour (3,), feature (C,) or None."""

    places: np.ndarray
    color: np.ndarray
    feature: Tensor | None


def likeness(one: MapObject, other: Shown, place: bool = True) -> float:
    """Cost of taking an instance for an object: of its feature, colour, size and, where that counts, place."""
    feature = 0.5
    if one.feature is not None and other.feature is not None:
        feature = 1.0 - float(one.feature @ other.feature / other.feature.norm().clamp(min=1e-9))
    size = abs(np.log(max(len(other.places), 1) / max(one.count, 1)))
    distance = float(np.linalg.norm(one.centre - other.places.mean(0)))
    if place and distance > _FARTHEST:
        return np.inf
    colour = float(np.linalg.norm(one.color - other.color))
    return feature + _COLOUR * colour + _SIZE * max(size - 0.7, 0) + (_PLACE * distance if place else 0.0)


def same(
    objects: list[MapObject], shown: list[Shown], place: bool = True, most: float = _MOST
) -> list[tuple[int, int]]:
    """Pairs (index of an object, of an instance) that are the same, by the least sum of costs (Hungarian)."""
    if not objects or not shown:
        return []
    cost = np.array([[likeness(one, other, place) for other in shown] for one in objects])
    rows, columns = linear_sum_assignment(np.where(np.isfinite(cost), cost, 1e3))
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if cost[r, c] <= most]


def motion_of(places: np.ndarray, shown: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """The motion (4,4) along the table and about the vertical that takes an object (M,3) m to where an instance (n,3) m
    shows some of it; None where none fits, or it did not move."""
    if len(places) < 10 or len(shown) < 10:
        return None
    there = _some(shown.astype(np.float64), rng)
    here = places.astype(np.float64)
    tree = cKDTree(here)
    before = (tree.query(there)[0] <= _REACH).mean()
    best, motion = 0.0, None
    for turn in _TURNS:
        found, fits = _settle(tree, here, there, turn)
        if fits > best + 0.02:
            best, motion = fits, found
    if motion is None or best < _FITS or best < before + _MORE:
        return None
    moved = here.mean(0) @ motion[:3, :3].T + motion[:3, 3]
    return motion if np.linalg.norm(moved - here.mean(0)) > _LEAST or abs(motion[0, 1]) > 0.1 else None


def _some(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return points if len(points) <= _SOME else points[rng.choice(len(points), _SOME, replace=False)]


def _settle(tree: cKDTree, here: np.ndarray, there: np.ndarray, turn: float) -> tuple[np.ndarray, float]:
    """Nearest points, trimmed, from a first turn on; the motion and the share of `there` that lies on the object."""
    middle = here.mean(0)
    angle, offset = turn, there.mean(0) - middle
    offset[2] = there[:, 2].max() - here[:, 2].max()  # tops are seen; the mean of what is seen lies higher
    distance = np.zeros(0)
    for _ in range(_STEPS):
        c, s = np.cos(angle), np.sin(angle)
        rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        back = (there - middle - offset) @ rotation + middle  # where the instance would be on the object as it was
        distance, index = tree.query(back)
        near = distance <= max(np.quantile(distance, 0.8), 1e-4)
        source, target = here[index[near]] - middle, there[near] - middle
        a, b = source - source.mean(0), target - target.mean(0)
        angle = float(np.arctan2((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum(), (a[:, :2] * b[:, :2]).sum()))
        c, s = np.cos(angle), np.sin(angle)
        rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        offset = target.mean(0) - rotation @ source.mean(0)
    back = (there - middle - offset) @ rotation + middle
    fits = float((tree.query(back)[0] <= _REACH).mean())
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = rotation, middle + offset - rotation @ middle
    return motion, fits
