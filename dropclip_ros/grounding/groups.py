# SPDX-License-Identifier: Apache-2.0
"""Things that stand together: stacks by what lies on what, rows and columns by gaps. No features."""

from __future__ import annotations

import numpy as np
from scipy.sparse.csgraph import connected_components

from dropclip_ros.grounding.relations import CLEAR, Layout, Viewer

STACKS = ("stack", "tower", "pile", "heap")
ROWS = {"row": 1, "line": 1, "column": 0}  # and the axis along which one follows the other
GROUPS = (*STACKS, *ROWS)
APART = 0.08  # m between the middles of one row and the next, at least


def groups_of(kind: str, layout: Layout, among: np.ndarray) -> list[np.ndarray]:
    """The ids from 0 of each group's instances, those of one kind. among (K,) bool: what may stand in a row."""
    if kind in STACKS:
        return _stacks(layout)
    ids = np.flatnonzero(among)
    place = layout.middle[ids, ROWS[kind]]
    order = np.argsort(place, kind="stable")
    cuts = np.flatnonzero(np.diff(place[order]) > APART) + 1
    return np.split(ids[order], cuts)


def _stacks(layout: Layout) -> list[np.ndarray]:
    """What lies on each other, two things at least, and as many as in the highest half."""
    on = np.stack([layout.relation("on", k) for k in range(layout.count)], 1) >= CLEAR
    count, label = connected_components(on, directed=False)
    found = [np.flatnonzero(label == k) for k in range(count)]
    most = max(map(len, found), default=0)
    return [ids for ids in found if len(ids) > max(1, most / 2 - 0.5)]


def ranked(groups: list[np.ndarray], layout: Layout, by: str, direction: str) -> list[np.ndarray]:
    """The groups in an order, as if each were one thing."""
    label = np.zeros(layout.count, int)
    for number, ids in enumerate(groups, 1):
        label[ids] = number
    as_one = Layout(layout.points, label[layout.owner], Viewer(np.eye(3), layout.position))
    return [groups[k] for k in as_one.ranked(by, direction, np.ones(len(groups), bool))[0]]
