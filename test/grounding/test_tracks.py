# SPDX-License-Identifier: Apache-2.0
"""Numbers of objects last while these stand still, are each given once, and are not handed to another object."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dropclip_ros.grounding.tracks import FORGET, NEAR, Tracks

SIZE = np.full((4, 3), 0.06)
PLACES = np.array([[0.0, 0, 0.03], [0.2, 0, 0.03], [0.0, 0.3, 0.03], [-0.3, 0.1, 0.03]])


@settings(deadline=None)
@given(st.permutations(range(4)), st.integers(1, 4), st.integers(0, 2**31 - 1))
def test_in_whatever_order_they_are_found_numbers_stay(order, count, seed):
    tracks, noise = Tracks(), np.random.default_rng(seed).normal(0, 0.003, (4, 3))
    first = tracks.numbers(PLACES, SIZE, 0.0)
    shown = list(order)[:count]
    assert sorted(first) == [1, 2, 3, 4]
    assert tracks.numbers((PLACES + noise)[shown], SIZE[:count], 1.0) == [first[i] for i in shown]


def test_a_thing_elsewhere_and_a_thing_after_long_are_new():
    tracks = Tracks()
    assert tracks.numbers(PLACES[:1], SIZE[:1], 0.0) == [1]
    assert tracks.numbers(PLACES[1:2], SIZE[:1], 1.0) == [2]
    assert tracks.numbers(PLACES[:1], SIZE[:1], 1.0 + FORGET) == [3]
    assert tracks.numbers(PLACES[:0], SIZE[:0], 2.0 + FORGET) == []
    assert tracks.numbers(PLACES[:1], 5 * SIZE[:1], 2.0 + FORGET) == [4]  # of another size


def test_two_of_one_place_have_two_numbers():
    tracks = Tracks()
    assert tracks.numbers(np.repeat(PLACES[:1], 2, 0), SIZE[:2], 0.0) == [1, 2]
    assert sorted(tracks.numbers(np.repeat(PLACES[:1], 3, 0), SIZE[:3], 0.1)) == [1, 2, 3]


def test_how_far_a_thing_may_have_moved_goes_by_the_smaller_of_both_sizes():
    for first, second in ((0.06, 0.10), (0.10, 0.06)):
        tracks, far = Tracks(), NEAR + 0.04
        assert tracks.numbers(PLACES[:1], np.full((1, 3), first), 0.0) == [1]
        moved = PLACES[:1] + np.array([far, 0, 0])
        assert tracks.numbers(moved, np.full((1, 3), second), 0.1) == [2]  # under half of 0.10, over half of 0.06
        assert tracks.numbers(moved + np.array([NEAR + 0.02, 0, 0]), np.full((1, 3), second), 0.2) == [2]
