# SPDX-License-Identifier: Apache-2.0
"""What the antipodal sampler is made of: pairs, frames, pads and slopes, on shapes whose answers are known."""

from dataclasses import replace

import numpy as np
import pytest

from dropclip_ros.grasping import antipodal, on_target
from dropclip_ros.grasping.antipodal import AntipodalConfig
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import ROBOTIQ_2F_140 as GRIPPER
from dropclip_ros.grasping.matching import _apart
from dropclip_ros.grasping.on_target import sample_on

CONFIG = AntipodalConfig()
DOWN = np.array([0.0, 0.0, 1.0])  # as the camera looks


def plates(gap: float, size: float = 0.04) -> antipodal._Part:
    """Two plates that look apart along y, `gap` m between them, as a box shows its sides; normals outwards."""
    side = np.arange(-size / 2, size / 2, CONFIG.voxel_size)
    x, z = (grid.ravel() for grid in np.meshgrid(side, side))
    points = np.concatenate([np.stack([x, np.full_like(x, y), z + 0.5], 1) for y in (-gap / 2, gap / 2)])
    normals = np.repeat([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]], len(x), axis=0)
    return antipodal._Part(points, normals, points, 1)


def test_pairs_close_on_faces_that_look_apart():
    rotation, middle = antipodal._pair_frames(plates(0.05), DOWN, GRIPPER, CONFIG, np.random.default_rng(0))
    assert len(rotation) > 30
    assert (np.abs(rotation[:, 1, 1]) > np.cos(np.arctan(CONFIG.friction))).all()  # closing along y, in both cones
    assert np.abs(middle[:, 1]).max() < 1e-9  # between the plates
    assert np.allclose(rotation.transpose(0, 2, 1) @ rotation, np.eye(3)) and (np.linalg.det(rotation) > 0).all()


def test_no_pair_on_faces_that_look_at_each_other_or_are_too_far_apart():
    facing = plates(0.05)
    facing = replace(facing, normals=-facing.normals)  # as the inside of a bowl
    for part in (facing, plates(GRIPPER.max_width)):
        assert not len(antipodal._pair_frames(part, DOWN, GRIPPER, CONFIG, np.random.default_rng(0))[0])


@pytest.mark.parametrize(("metres2", "times"), [(0.01, 1), (0.08, 2), (0.4, 4)])
def test_a_part_as_large_as_several_objects_is_tried_as_often(monkeypatch, metres2, times):
    tried = []

    def frames(part, *rest):
        tried.append(rest[-2])
        return np.zeros((0, 3, 3)), np.zeros((0, 3))

    monkeypatch.setattr(antipodal, "_pair_frames", frames)
    monkeypatch.setattr(antipodal, "_turned_frames", frames)
    count = round(metres2 / CONFIG.voxel_size**2)
    part = antipodal._Part(np.zeros((count, 3)), np.zeros((count, 3)), np.zeros((count, 3)), 1)
    monkeypatch.setattr(antipodal, "_fit", lambda *_: None)
    antipodal._propose(part, DOWN, DOWN, None, GRIPPER, CONFIG, np.random.default_rng(0))
    assert {(of.pairs, of.anchors) for of in tried} == {(times * CONFIG.pairs, times * CONFIG.anchors)}


def test_hands_come_from_above_from_the_camera_and_from_the_sides_that_are_asked_for():
    part, view = plates(0.05), np.array([0.0, 0.6, 0.8])
    tilted = replace(CONFIG, tilts=((0.4, 4),))
    rotation, _ = antipodal._turned_frames(part, DOWN, view, tilted, np.random.default_rng(0))
    tilt = np.unique(np.round(np.arccos(np.clip(rotation[:, :, 0] @ DOWN, -1, 1)), 6))
    assert np.allclose(tilt, [0, 0.4, np.arctan(0.7)])
    from_camera = rotation[np.isclose(rotation[:, :, 0] @ DOWN, np.cos(np.arctan(0.7))), :, 0]
    assert (from_camera[:, 1] > 0).all()  # on the side from which it is seen


def test_a_slope_right_ahead_of_a_fingertip_is_no_hold():
    """Points as hands see them: beyond the tips, and aside; hand 0 has two ahead of a tip, hand 1 none, hand 2
    one, which may be a stray, and others that are too far and not beyond."""
    width = np.array([0.04, 0.04, 0.04])
    ahead, inside, outside = 0.02 + GRIPPER.finger_thickness / 2, 0.01, 0.03 + GRIPPER.finger_thickness
    hand = np.array([0, 0, 1, 1, 2, 2, 2])
    beyond = np.full(7, antipodal._AHEAD / 2)
    y = np.array([ahead, -ahead, inside, outside, ahead, ahead, ahead])
    beyond[5:] = antipodal._AHEAD * 2, -0.001
    assert antipodal._over_slope(beyond, y, hand, width, GRIPPER).tolist() == [True, False, False]


def test_an_edge_that_runs_across_the_pad_is_no_hold():
    """Hand 0 holds a face square to its fingers, hand 1 one that is turned by 45 degrees, hand 2 half a pad full."""
    wide = GRIPPER.finger_width
    z = np.linspace(-wide / 2, wide / 2, 41)
    y = np.concatenate([np.full(41, 0.02), 0.02 + 1.0 * z, np.full(20, 0.02)])
    hand = np.repeat([0, 1, 2], [41, 41, 20])
    config = replace(CONFIG, friction=0.3)
    across = np.concatenate([z, z, z[:20]])
    assert antipodal._oblique(y, across, hand, 3, GRIPPER, config).tolist() == [False, True, False]


def box(low, high, step=0.003):
    """Points on the top and sides of a box, m, in the world."""
    axes = [np.arange(a, b + 1e-9, step) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    low, high = np.array(low), grid.max(0)
    return grid[(np.abs(grid[:, :2] - low[:2]) < 1e-9).any(1) | (np.abs(grid - high) < 1e-9).any(1)]


@pytest.mark.parametrize(
    ("target", "stray"),
    [
        (box((-0.02, -0.03, 0.01), (0.02, 0.03, 0.06)), None),
        (box((-0.02, -0.03, 0.01), (0.02, 0.03, 0.06)), (0.0, 0.0, 40_000.0)),  # m above the table
        (box((-0.015, -0.06, 0.003), (0.015, 0.06, 0.0065)), None),  # flat: most of it is lower than what else counts
    ],
)
def test_a_target_is_grasped_where_it_stands(target, stray):
    points = target if stray is None else np.vstack([target, stray])
    found = sample_on(points, GRIPPER, points, np.array([0.0, 0, 1, 0]), np.array([0.0, -0.4, 0.6]))
    tips = found.tips()
    assert len(found) and (tips[:, 2] < target[:, 2].max() + 0.01).all() and (tips[:, 2] > 0).all()
    assert (np.abs(tips[:, :2]) < np.abs(target[:, :2]).max(0) + 0.02).all()


def test_of_a_high_target_the_lowest_points_are_not_looked_at(monkeypatch):
    """They may be the table's; of a flat one they are all there is."""
    given = []
    monkeypatch.setattr(
        on_target, "sample_antipodal", lambda points, *_: given.append(points) or antipodal.Grasps.empty()
    )
    high, flat = box((-0.02, -0.03, 0.0), (0.02, 0.03, 0.06)), box((-0.02, -0.06, 0.0), (0.02, 0.06, 0.006))
    for target in (high, flat):
        sample_on(target, GRIPPER, target, np.array([0.0, 0, 1, 0]), np.zeros(3))
    assert given[0][:, 2].min() > on_target.STANDING
    assert on_target.FLAT < given[2][:, 2].min() <= 0.006


def test_twins_stand_behind_others_and_the_rest_keeps_its_order():
    """Five hands, best first: two at one place, two at another, one at a third; three are wanted."""
    place = np.array([0.0, 0.001, 0.2, 0.2005, 0.4])
    count = len(place)
    hands = Grasps(
        np.linspace(0.1, 0.9, count), np.full(count, 0.05), np.full(count, 0.02), np.full(count, 0.02),
        np.repeat(np.eye(3)[None], count, 0), np.column_stack([place, np.zeros((count, 2))]), np.zeros(count, int),
    )  # fmt: skip
    assert _apart(hands, np.arange(count), 3).tolist() == [0, 2, 4, 1, 3]
    assert _apart(hands, np.arange(count)[::-1], 3).tolist() == [4, 3, 1, 2, 0]


def test_what_is_behind_others_is_solid_to_the_table_unless_a_closer_look_is_taken():
    table = np.array([0.0, 0.0, -1.0, 1.0])  # 1 m from the camera, seen from above
    target, other = np.array([[0.0, 0.0, 0.9]]), np.array([[0.1, 0.0, 0.8]])
    solid = antipodal._solid(target, other, table, CONFIG)
    close = antipodal._solid(target, other, table, replace(CONFIG, solid_others=False))
    under = lambda cloud: (np.abs(cloud[:, 0] - 0.1) < 0.01).sum()  # noqa: E731
    assert under(close) == 1 and under(solid) > 10
    assert solid[:, 2].max() < 1.01  # down to the table
