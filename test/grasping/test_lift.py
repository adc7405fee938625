# SPDX-License-Identifier: Apache-2.0
"""The chance that a grasp lifts its target: measures of known shapes, frames that do not matter, golden chances."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import ROBOTIQ_2F_140 as GRIPPER
from dropclip_ros.grasping.lift import NAMES, Around, features, predict

TABLE, CAMERA = np.array([0.0, 0, 1, 0]), np.array([0.0, -0.5, 0.6])
# approach straight down, closing along x: columns x (approach), y (closing), z
DOWN = np.column_stack([[0.0, 0, -1], [1.0, 0, 0], [0.0, -1, 0]])


def shell(low, high, step=0.004):
    """Points on the top and the sides of a box, m."""
    axes = [np.linspace(a, b, max(round((b - a) / step) + 1, 2)) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    sides = np.isclose(grid[:, :2], low[:2]).any(1) | np.isclose(grid, high).any(1)
    return grid[sides & (grid[:, 2] > low[2] + 1e-9)]


BOX = shell((-0.025, -0.04, 0.0), (0.025, 0.04, 0.10))
BESIDE = shell((0.05, -0.04, 0.0), (0.10, 0.04, 0.12))
AROUND = Around(BOX, BESIDE, TABLE, CAMERA)


def hand(tip, rotation=DOWN, width=0.06, score=0.8):
    one = Grasps(
        np.array([score]), np.array([width]), np.array([GRIPPER.finger_width]), np.array([GRIPPER.finger_depth]),
        rotation[None], np.zeros((1, 3)), np.zeros(1, int),
    )  # fmt: skip
    return replace(one, translation=np.asarray(tip)[None] - (one.tips() - one.translation))


def measured(grasp, around=AROUND, opening=0.08):
    return dict(zip(NAMES, features(grasp, np.array([opening]), around, GRIPPER)[0], strict=True))


def test_a_hand_around_a_box():
    of = measured(hand((0.0, 0.0, 0.06)))
    assert of["width"] == pytest.approx(0.06 / GRIPPER.max_width) and of["score"] == 0.8
    assert of["opening"] == pytest.approx(0.08 / GRIPPER.max_width)
    assert of["tip_height"] == pytest.approx(0.6) and of["tilt"] == pytest.approx(0)
    assert of["reach"] == pytest.approx(0.04 / GRIPPER.finger_depth, abs=0.05)  # 4 cm of the box are between the pads
    assert of["extent"] == pytest.approx(0.05 / GRIPPER.max_width, abs=0.03)
    assert of["off_closing"] < 0.1 and of["off_pad"] < 0.1 and of["ahead"] == 0
    assert of["top"] == pytest.approx(0.5, abs=0.05) and of["long"] == pytest.approx(0.4, abs=0.03)
    assert of["short"] == pytest.approx(0.25, abs=0.03)
    assert of["under_others"] > 0 and of["under_target"] == 0  # the right finger comes down on the other box
    assert of["others"] == 0 and of["held"] > 0 and of["solid"] >= of["held"]


@pytest.mark.parametrize(
    ("tip", "measure", "least"),
    [((0.02, 0, 0.06), "off_closing", 0.3), ((0, 0.03, 0.06), "off_pad", 0.25), ((0.05, 0, 0.06), "others", 0.1)],
)
def test_a_hand_beside_the_middle_is_seen_to_be(tip, measure, least):
    assert measured(hand(tip))[measure] > least > measured(hand((0, 0, 0.06)))[measure]


def test_what_closes_where_nothing_is_holds_nothing():
    of = measured(hand((-0.2, 0.0, 0.06)))
    assert [of[name] for name in ("held", "share", "extent", "reach", "along_pad", "oblique")] == [0] * 6
    assert of["low_contact"] == of["high_contact"] == 0.5 and of["low_seen"] == of["high_seen"] == 0


def test_a_hand_that_closes_on_a_corner_is_oblique():
    turn = Rotation.from_euler("z", 40, degrees=True).as_matrix()
    assert measured(hand((0, 0, 0.06), turn @ DOWN, 0.1), opening=0.12)["oblique"] > 0.3
    assert measured(hand((0, 0, 0.06), width=0.1), opening=0.12)["oblique"] < 0.1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_measures_are_the_same_in_every_frame(seed):
    rng = np.random.default_rng(seed)
    turn, shift = Rotation.random(rng=rng).as_matrix(), rng.normal(size=3)
    grasp = hand((0.01, 0.01, 0.05))
    moved = replace(grasp, rotation=turn @ grasp.rotation, translation=grasp.translation @ turn.T + shift)
    up = turn @ TABLE[:3]
    there = Around(
        BOX @ turn.T + shift, BESIDE @ turn.T + shift, np.append(up, TABLE[3] - up @ shift), turn @ CAMERA + shift
    )
    here, other = measured(grasp), measured(moved, there)
    exact = ("width", "opening", "tip_height", "tilt", "score", "clearance", "top", "long", "short")
    assert [other[name] for name in exact] == pytest.approx([here[name] for name in exact], abs=0.05)


def test_golden_chances():
    """Of the shipped weights: a hand around a box alone, the same beside another, and one that holds nothing."""
    alone = replace(AROUND, others=np.zeros((0, 3)))
    rows = [(hand((0, 0, 0.05)), alone), (hand((0, 0, 0.05)), AROUND), (hand((-0.2, 0, 0.05)), AROUND)]
    chances = [float(predict(features(one, np.array([0.08]), around, GRIPPER))[0]) for one, around in rows]
    assert chances == pytest.approx([0.998799, 1.0, 0.034346], abs=1e-4)
