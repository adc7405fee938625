# SPDX-License-Identifier: Apache-2.0
"""Is a frame's pose what its camera saw? By the table's plane, and by the motion that brings it onto the map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

_SAMPLE = 800  # points that are compared
_NEIGHBOURS = 14  # of the map, that make up a surface: fewer do not average out a depth camera's noise
_REACH = 0.04  # m from a point to the surface it may belong to
_FLAT = 0.35  # ratio of deviations, under which neighbours are a surface
_TUKEY = (0.04, 0.02, 0.012, 0.012)  # m beyond which a residual has no say, round by round
_RIDGE = 1e-3  # of the normal equations: what nothing shows does not move
_ALIKE = 0.85  # cosine of the normals of what is the same surface
_LEAST = 80  # points that must match before anything is said
_OF_OBJECT = 25  # points of an object that has a say
_BETTER = 0.6  # an object agrees with a motion that leaves so much of its residuals


@dataclass(frozen=True)
class Drift:
    """How far a pose is off by what is seen. offset: m, of the middle of what was compared; turn: degrees; matched:
    points; objects: how many agree with that, and how many were compared."""

    offset: float
    turn: float
    matched: int
    agree: int
    objects: int


def table_off(plane: np.ndarray, known: np.ndarray, at: np.ndarray) -> tuple[float, float]:
    """How far a table's plane (4,) lies from the known one, in m above the place `at` (3,), and degrees."""
    tilt = np.degrees(np.arccos(np.clip(plane[:3] @ known[:3], -1, 1)))
    return float(abs((known[:3] @ at + known[3]) - (plane[:3] @ at + plane[3]))), float(tilt)


def drift_of(
    points: np.ndarray, tree: cKDTree, places: np.ndarray, owner: np.ndarray, rng: np.random.Generator
) -> Drift | None:
    """The rigid motion of a frame's points (N,3) m that brings them onto the map's places (M,3), of objects owner (M,).

    Point to plane, robust, six degrees of freedom; tree: of the places. None where too little is met to say. An object
    that was pushed is one of several, and its points have no say; a drift moves all of them.
    """
    if len(points) < _LEAST or len(places) < _NEIGHBOURS:
        return None
    some = points[rng.choice(len(points), min(_SAMPLE, len(points)), replace=False)].astype(np.float64)
    middle, motion, moved = some.mean(0), np.eye(4), some
    own = _surface(points[cKDTree(points).query(some, _NEIGHBOURS)[1]].astype(np.float64))[1]
    first: np.ndarray | None = None
    of = np.zeros(0, np.int64)
    for tukey in _TUKEY:
        distance, index = tree.query(moved, _NEIGHBOURS, distance_upper_bound=_REACH)
        near = np.isfinite(distance).all(axis=1)
        if near.sum() < _LEAST:
            return None
        around = places[index[near]].astype(np.float64)
        centre, axis, flat = _surface(around)
        flat &= np.abs((axis * own[near]).sum(1)) > _ALIKE  # else it is another side, of a thing seen from behind
        if flat.sum() < _LEAST:
            return None
        rows, normal = np.flatnonzero(near)[flat], axis[flat]
        residual = ((moved[rows] - centre[flat]) * normal).sum(1)
        of = owner[index[near][flat, 0]]
        if first is None:
            first_rows, first_normal, first_centre, first, first_of = rows, normal, centre[flat], residual, of
        arm = moved[rows] - middle
        jacobian = np.column_stack([np.cross(arm, normal), normal])
        weight = np.clip(1 - (residual / tukey) ** 2, 0, None) ** 2
        left = jacobian * weight[:, None]
        scale = np.diag([0.1**2] * 3 + [1.0] * 3)  # of rotations: objects reach some 10 cm
        step = np.linalg.solve(left.T @ jacobian + _RIDGE * len(rows) * scale, -left.T @ residual)
        turn = Rotation.from_rotvec(step[:3]).as_matrix()
        this = np.eye(4)
        this[:3, :3], this[:3, 3] = turn, middle + step[3:] - turn @ middle
        motion = this @ motion
        moved = some @ motion[:3, :3].T + motion[:3, 3]
    assert first is not None
    after = ((moved[first_rows] - first_centre) * first_normal).sum(1)
    agree = objects = 0
    for one in np.unique(first_of):
        mine = first_of == one
        if mine.sum() >= _OF_OBJECT:
            objects += 1
            agree += bool(np.median(np.abs(after[mine])) < _BETTER * np.median(np.abs(first[mine])))
    offset = float(np.linalg.norm(motion[:3, :3] @ middle + motion[:3, 3] - middle))
    angle = float(np.degrees(Rotation.from_matrix(motion[:3, :3]).magnitude()))
    return Drift(offset, angle, len(first_rows), agree, objects)


def _surface(around: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Middle (n,3), unit normal (n,3) of neighbours (n,K,3), and whether they are a surface, (n,)."""
    centre = around.mean(1)
    deviation = around - centre[:, None]
    spread, axes = np.linalg.eigh(np.einsum("nki,nkj->nij", deviation, deviation))
    return centre, axes[:, :, 0], spread[:, 0] <= _FLAT**2 * spread[:, 1]
