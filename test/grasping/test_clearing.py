# SPDX-License-Identifier: Apache-2.0
"""What is in the way of a target, and where it can be put."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dropclip_ros.grasping.clearing import free_places, in_the_way


def block(x: float, y: float, low: float, high: float, size: float = 0.05) -> np.ndarray:
    sides = np.arange(-size / 2, size / 2 + 1e-9, 0.005)
    return np.stack(np.meshgrid(x + sides, y + sides, np.arange(low, high, 0.005)), -1).reshape(-1, 3)


TARGET = block(0, 0, 0.0, 0.04)


def test_what_lies_on_top_is_in_the_way_before_what_stands_beside_and_what_is_away_is_not():
    things = [TARGET, block(0.065, 0, 0, 0.10), block(0.01, 0, 0.05, 0.08), block(0.25, 0, 0, 0.1)]
    points, owner = np.concatenate(things), np.repeat(np.arange(4), [len(thing) for thing in things])
    assert in_the_way(TARGET, points, owner) == [2, 1]
    assert in_the_way(TARGET, TARGET, np.zeros(len(TARGET), int)) == []
    assert in_the_way(TARGET[:0], points, owner) == in_the_way(TARGET, points[:0], owner[:0]) == []


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.floats(-0.3, 0.3), st.floats(-0.2, 0.2)), min_size=1, max_size=6))
def test_a_thing_is_put_clear_of_all_else_on_the_level(places):
    others = np.concatenate([block(x, y, 0, 0.05) for x, y in places])
    moves = free_places(TARGET, others)
    assert 1 <= len(moves) <= 4 and (moves[:, 2] == 0).all()
    for move in moves:
        apart = np.linalg.norm((TARGET + move)[:, None, :2] - others[None, ::7, :2], axis=2)
        assert apart.min() > 0.04


def test_the_nearest_place_is_first():
    away = np.linalg.norm(free_places(TARGET, block(0.04, 0, 0, 0.05)), axis=1)
    assert away[0] < 0.2 and (np.diff(away) >= 0).all()
