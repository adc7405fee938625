# SPDX-License-Identifier: Apache-2.0
"""What parts and joins, and how scores are calibrated: learnt numbers by golden values, the rest by known answers."""

from dataclasses import fields

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dropclip_ros.grounding.borders import border_odds, border_terms, parting
from dropclip_ros.grounding.calibration import Calibration, area_under_curve, fit_frames
from dropclip_ros.grounding.groups import groups_of, ranked
from dropclip_ros.grounding.interpretation import instance_scores
from dropclip_ros.grounding.labels import _instance_under
from dropclip_ros.grounding.pieces import APART, TOUCHING, described, described_touching
from dropclip_ros.grounding.relations import Layout, Viewer
from dropclip_ros.grounding.surface import Surface

TERMS = np.array(  # concave, offset, unlike, recoloured, apart, convex, level, distance, length, least size
    [
        [0.0, 0.001, 0.02, 0.02, 0.004, 0.3, 0.003, 0.02, 0.9, 40],
        [0.5, 0.02, 0.3, 0.2, 0.06, 0.0, 0.05, 0.05, 0.3, 200],
        [0.2, 0.004, 0.1, 0.1, 0.02, 0.05, 0.01, 0.03, 0.6, 90],
    ]
)
PAIRS = np.array(  # gap, hidden, unlike, recoloured, apart, coplanar, coplanar other, tops, lows, least size
    [
        [0.02, 1.0, 0.05, 0.05, 0.01, 0.9, 0.8, 0.002, 0.001, 300],
        [0.15, 0.1, 0.5, 0.4, 0.12, 0.1, 0.0, 0.06, 0.2, 60],
        [0.05, 0.9, 0.35, 0.1, 0.03, 0.4, 0.7, 0.01, 0.02, 120],
    ]
)

GOLDEN = {  # of the shipped weights
    "border_odds": [-6.5745027, 5.7662, -3.1275],
    "parting": [0.0, 2.94155, 0.718125],
    "apart": [5.2430199, -3.9336963, 0.1813139],
    "touching": [4.5926744, -5.2357007, 2.0368123],
}


def test_borders_of_known_looks_have_their_odds():
    assert np.allclose(border_odds(TERMS), GOLDEN["border_odds"], atol=1e-6)
    assert np.allclose(parting(TERMS), GOLDEN["parting"], atol=1e-6)
    assert parting(TERMS)[0] == 0 and parting(TERMS)[1] > 1  # a rounded box; a mug before another box


def test_pieces_of_known_looks_have_their_odds():
    assert np.allclose(described(PAIRS) @ APART, GOLDEN["apart"], atol=1e-6)
    touching = described_touching(PAIRS, np.column_stack([border_odds(TERMS), [0.2, 4.0, 1.0], TERMS[:, :7]]))
    assert np.allclose(touching @ TOUCHING, GOLDEN["touching"], atol=1e-6)
    assert (described(PAIRS) @ APART)[0] > 0 > (described(PAIRS) @ APART)[1]


def test_what_is_seen_of_a_border():
    """A floor and a wall that rises from it make a concave edge of 90 degrees, a box's top and side a convex one."""
    for sign, at in ((1, 0), (-1, 5)):
        floor, wall = [0.0, 0.0, 1.0], [0.0, -sign, 0.0]
        surface = Surface(
            np.zeros((2, 3)), None, np.array([0, 1]), np.array([100, 400]),
            np.array([[0.0, 0.0, 0.0], [0.0, 0.05, sign * 0.05]]), np.array([floor, wall]),
            np.array([[0.1, 0.1, 0.1], [0.1, 0.4, 0.5]]), np.array([[1.0, 0.0], [0.6, 0.8]]),
            np.array([[0.0, 0.0, 0.0], [0.03, 0.0, 0.04]]), np.array([[0, 1]]), np.array([20]),
        )  # fmt: skip
        terms = border_terms(surface)[0]
        assert terms[at] == pytest.approx(2**0.5) and terms[5 - at] == 0
        assert terms[1] == pytest.approx(0.05)  # from one's middle to the other's plane
        assert terms[2:5] == pytest.approx([0.4, 0.5, 0.05])  # features, colours, middles of objects
        assert terms[6:] == pytest.approx([0.03, 0.05 * 2**0.5, 2.0, 100])


@pytest.mark.parametrize("seed", range(3))
def test_area_under_curve_is_sklearns(seed):
    rng = np.random.default_rng(seed)
    fits = rng.random(60) < 0.4
    best = np.round(rng.normal(fits * 1.0, 1.0), 1)  # with ties
    assert area_under_curve(best, fits) == pytest.approx(roc_auc_score(fits, best))


def test_too_few_of_either_kind_in_either_half_is_said_with_the_counts():
    owner = np.repeat([0, 1], 40)
    fits = np.tile([True, False], 40)
    for half in (0, 1):
        lacking = fits & ~((owner == half) & (np.arange(80) % 40 > 1))
        with pytest.raises(Exception, match=r"too few to calibrate on.*got 1 and 39"):
            fit_frames(np.linspace(0, 1, 80), lacking, owner)
    with pytest.raises(Exception, match="got 39 and 1"):
        fit_frames(np.linspace(0, 1, 80), fits | ((owner == 0) & (np.arange(80) % 40 > 1)), owner)


def layout(*middles):
    """Boxes of 4 cm at these places, m; x to the right, y away, z up."""
    step = np.stack(np.meshgrid(*[np.arange(-0.02, 0.021, 0.005)] * 3), -1).reshape(-1, 3)
    points = np.concatenate([step + middle for middle in middles])
    return Layout(points, np.repeat(np.arange(1, len(middles) + 1), len(step)), Viewer(np.eye(3), np.zeros(3)))


def test_rows_and_columns_are_parted_by_their_gaps():
    boxes = layout((-0.1, 0.3, 0.02), (0.1, 0.31, 0.02), (-0.1, 0.5, 0.02), (0.1, 0.51, 0.02), (0.1, 0.7, 0.02))
    every = np.ones(5, bool)
    assert [ids.tolist() for ids in groups_of("row", boxes, every)] == [[0, 1], [2, 3], [4]]
    assert [sorted(ids.tolist()) for ids in groups_of("column", boxes, every)] == [[0, 2], [1, 3, 4]]
    assert [ids.tolist() for ids in groups_of("row", boxes, np.array([True, False, True, False, True]))] == [
        [0],
        [2],
        [4],
    ]


def test_stacks_are_two_things_at_least_and_have_an_order():
    boxes = layout(
        (-0.2, 0.3, 0.02), (-0.2, 0.3, 0.06), (0.2, 0.3, 0.02), (0.2, 0.3, 0.06), (0.2, 0.3, 0.10), (0, 0.3, 0.02)
    )
    stacks = groups_of("stack", boxes, np.ones(6, bool))
    assert sorted(ids.tolist() for ids in stacks) == [[0, 1], [2, 3, 4]]
    assert ranked(stacks, boxes, "height", "most")[0].tolist() == [2, 3, 4]
    assert ranked(stacks, boxes, "left", "most")[0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("polygon", "instance"),
    [
        ([(2.5, 2.5), (6.4, 2.5), (6.4, 5.4), (2.5, 5.4)], 1),
        ([(12.0, 2.0), (17.0, 2.0), (17.0, 6.0), (12.0, 6.0)], 2),
        ([(-5.0, -5.0), (3.0, -5.0), (3.0, 3.0), (-5.0, 3.0)], 1),  # over the picture's edge
        ([(9.0, 0.0), (11.0, 0.0), (11.0, 9.0), (9.0, 9.0)], 0),  # between the two
        ([(30.0, 2.0), (35.0, 2.0), (35.0, 6.0), (30.0, 6.0)], 0),  # outside
    ],
)
def test_words_belong_to_the_instance_under_them(polygon, instance):
    labels = np.zeros((10, 20), np.int64)
    labels[:8, :8], labels[:8, 12:] = 1, 2
    assert _instance_under(np.array(polygon), labels) == instance


def test_scores_of_instances_are_the_means_of_their_voxels():
    instances = np.array([0, 1, 1, 3, 3, 3, 0])
    scores = np.array([0.9, 0.2, 0.4, 0.6, 0.6, 0.9, 0.1])
    assert instance_scores(instances, scores) == pytest.approx([0.3, 0.0, 0.7])  # the second has none
    assert len(instance_scores(np.zeros(3, int), np.ones(3))) == 0


def test_a_calibration_is_written_whole():
    curve = ((0.3, 0.9, 0.6), (0.5, 0.8, 0.9))
    found = Calibration(**{f.name: 1 for f in fields(Calibration)} | {"curve": curve, "threshold": 0.5, "auroc": 0.87})
    written = found.to_dict()
    assert set(written) == {f.name for f in fields(Calibration)} and written["auroc"] == 0.87
    assert written["curve"][1] == {"threshold": 0.5, "answered": 0.8, "refused": 0.9}
    assert "80% are answered" in str(found) and "90% are refused" in str(found)
