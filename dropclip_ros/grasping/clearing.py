# SPDX-License-Identifier: Apache-2.0
"""Clearing first: what lies on a target or beside it, so that no hand reaches it, and where that can be put.

Points are of one frame with z up, metres, as grounding_node publishes them on `~/scene`.
"""

import numpy as np
from scipy.spatial import cKDTree

_OVER = 0.015  # m aside, within which a point is over the target
_BESIDE = 0.035  # m, within which a hand would meet it
_ON_TOP = 3  # a point over the target counts as so many beside it
_LEAST = 5  # points that are in the way
_AROUND = 0.15  # m beyond all that is seen, where things may be put
_APART = 0.06  # m from all else, beside the thing's own radius
_STEP = 0.03  # m, between places that are looked at
_OTHER = 0.08  # m, between places that are named
LOWEST = (0.01, 0.03)  # m over where a thing stood, from which it is let go
STUCK = 0.5  # chance of a lift under which it is better to clear first


def in_the_way(target: np.ndarray, points: np.ndarray, owner: np.ndarray) -> list[int]:
    """Objects, of the owners (m,) of points (m, 3), that are in the way of a hand at the target (n, 3), worst first.

    The object that holds most of the target's points is the target itself.
    """
    if not len(target) or not len(points):
        return []
    near, _ = cKDTree(target).query(points)
    own = np.bincount(owner[near < 0.01], minlength=1).argmax() if (near < 0.01).any() else -1
    aside, below = cKDTree(target[:, :2]).query(points[:, :2])
    over = (aside < _OVER) & (points[:, 2] > target[below, 2])
    beside = (near < _BESIDE) & (points[:, 2] > np.median(target[:, 2]))
    counts = {
        int(one): int(_ON_TOP * (over & (owner == one)).sum() + (beside & (owner == one)).sum())
        for one in np.unique(owner)
        if one != own
    }
    return sorted((one for one, count in counts.items() if count >= _LEAST), key=lambda one: -counts[one])


def free_places(thing: np.ndarray, others: np.ndarray, most: int = 4) -> np.ndarray:
    """How far (K, 3) m, level, to move a thing (n, 3) so that it stands free of others (m, 3): nearest first, at most
    so many, apart from each other."""
    centre = thing[:, :2].mean(axis=0)
    radius = float(np.linalg.norm(thing[:, :2] - centre, axis=1).max())
    everything = np.concatenate([thing, others])[:, :2]
    low, high = everything.min(axis=0) - _AROUND, everything.max(axis=0) + _AROUND
    grid = np.stack(np.meshgrid(*(np.arange(a, b, _STEP) for a, b in zip(low, high, strict=True))), -1).reshape(-1, 2)
    if len(others):
        grid = grid[cKDTree(others[:, :2]).query(grid)[0] > radius + _APART]
    moves = grid - centre
    moves = moves[np.argsort(np.linalg.norm(moves, axis=1), kind="stable")]
    chosen: list[np.ndarray] = []
    while len(moves) and len(chosen) < most:
        chosen.append(moves[0])
        moves = moves[np.linalg.norm(moves - moves[0], axis=1) > _OTHER]
    return np.column_stack([np.reshape(chosen, (-1, 2)), np.zeros(len(chosen))])
