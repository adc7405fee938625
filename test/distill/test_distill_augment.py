# SPDX-License-Identifier: Apache-2.0
"""Augmentations: what each of them must keep, for any points, colours and seed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from training.distill import augment
from training.distill.config import AugmentConfig

few = settings(max_examples=40, deadline=None)


@st.composite
def clouds(draw):
    """Points (N,3) m of some objects on a table, colours, labels; and a generator."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    objects, parts = draw(st.integers(1, 4)), []
    for label in range(objects):
        size = draw(st.integers(1, 250))
        parts.append((rng.normal(0, 0.03, (size, 3)) + rng.uniform(-0.2, 0.2, 3), np.full(size, label + 2)))
    points, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    colors = draw(st.sampled_from([rng.uniform(size=points.shape), np.full(points.shape, 0.5), np.ones(points.shape)]))
    return points, colors, labels, rng


@few
@given(clouds(), st.floats(0.005, 0.03), st.floats(0.0, 0.08))
def test_elastic_distortion_moves_points_no_further_than_it_may_and_neighbours_alike(cloud, granularity, magnitude):
    points, _, _, rng = cloud
    moved = augment.elastic(points, granularity, magnitude, rng) - points
    assert moved.shape == points.shape and np.abs(moved).max() <= augment.KNOT_LIMIT * magnitude * (1 + 1e-6)
    near = points + granularity * 1e-3  # within a cell the noise is linear: it cannot jump
    seed = int(rng.integers(2**32))
    both = augment.elastic(np.concatenate([points, near]), granularity, magnitude, np.random.default_rng(seed))
    step = np.abs(both[: len(points)] - both[len(points) :] + granularity * 1e-3)
    assert step.max() <= 3 * 2 * augment.KNOT_LIMIT * magnitude * 1e-3 + 1e-9


def test_elastic_distortion_moves_a_table_by_half_a_centimetre():
    points = np.random.default_rng(0).uniform(-0.2, 0.2, (4000, 3))
    moved = augment.elastic(points, 0.01, 0.04, np.random.default_rng(1)) - points
    assert 0.002 < moved.std() < 0.006


@few
@given(clouds(), st.floats(0, 3.1), st.booleans())
def test_rotation_keeps_distances_and_hands(cloud, most, random_order):
    points, _, _, rng = cloud
    turned = augment.rotate(points, np.full(3, -most), np.full(3, most), random_order, rng)
    np.testing.assert_allclose(pdist(turned[:40]), pdist(points[:40]), atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(turned, axis=1), np.linalg.norm(points, axis=1), atol=1e-9)
    if len(points) >= 3:
        volume = np.linalg.det(points[:3]), np.linalg.det(turned[:3])
        np.testing.assert_allclose(*volume, atol=1e-9)


@few
@given(st.integers(0, 2**32 - 1))
def test_rotation_stays_within_its_range(seed):
    low, high = np.full(3, -0.1309), np.full(3, 0.1309)
    turn = augment.rotate(np.eye(3), low, high, True, np.random.default_rng(seed))
    assert np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)) <= 3 * 0.1309 + 1e-9


def test_the_order_of_turns_is_random_where_asked():
    low = high = np.array([0.5, 0.7, 0.9])
    orders = [augment.rotate(np.eye(3), low, high, True, np.random.default_rng(seed)) for seed in range(60)]
    assert len({tuple(turn.ravel().round(6)) for turn in orders}) == 6
    fixed = [augment.rotate(np.eye(3), low, high, False, np.random.default_rng(seed)) for seed in range(5)]
    assert all(np.allclose(turn, fixed[0]) for turn in fixed)


@few
@given(clouds(), st.floats(0, 1))
def test_flip_keeps_distances_and_heights(cloud, chance):
    points, _, _, rng = cloud
    flipped = augment.flip(points, chance, rng)
    np.testing.assert_array_equal(flipped[:, 2], points[:, 2])
    np.testing.assert_array_equal(np.abs(flipped), np.abs(points))
    np.testing.assert_array_equal(augment.flip(points, 0, rng), points)


@few
@given(clouds(), st.floats(0, 0.1))
def test_shift_moves_all_points_alike(cloud, most):
    points, _, _, rng = cloud
    moved = augment.shift(points, most, rng) - points
    assert np.abs(moved).max() <= most + 1e-12 and np.ptp(moved, axis=0).max() < 1e-12


@few
@given(clouds(), st.floats(0, 0.5))
def test_scale_keeps_shapes(cloud, most):
    points, _, _, rng = cloud
    factor = augment.scale(points, most, rng) / points
    assert np.ptp(factor) < 1e-9 and abs(factor[0, 0] - 1) <= most + 1e-12


@few
@given(clouds(), st.floats(0, 0.3), st.floats(0, 0.5))
def test_colours_stay_colours_and_points_that_looked_alike_do(cloud, amount, relative):
    _, colors, _, rng = cloud
    colors = np.concatenate([colors, colors[:1]])
    for changed in (
        augment.translate_color(colors, amount, rng),
        augment.auto_contrast(colors, rng),
        augment.hue_saturation(colors, amount, relative, rng),
        augment.exposure(colors, relative, relative, rng),
    ):
        assert changed.shape == colors.shape and changed.min() >= 0 and changed.max() <= 1
        np.testing.assert_allclose(changed[-1], changed[0])
    jittered = augment.jitter_color(colors, amount, rng)
    assert jittered.min() >= 0 and jittered.max() <= 1


@few
@given(clouds(), st.floats(0, 0.2))
def test_each_change_of_colour_is_bounded_and_keeps_what_it_is_not_about(cloud, amount):
    _, colors, _, rng = cloud
    assert np.abs(augment.translate_color(colors, amount, rng) - colors).max() <= amount + 1e-12
    changed = augment.hue_saturation(colors, amount, amount, rng)
    np.testing.assert_allclose(changed.max(axis=1), colors.max(axis=1), atol=1e-9)  # the value of HSV
    np.testing.assert_allclose(augment.hue_saturation(colors, 0, 0, rng), colors, atol=1e-9)
    contrast = augment.auto_contrast(colors, rng)
    assert (np.ptp(contrast, axis=0) >= np.ptp(colors, axis=0) - 1e-9).all()
    for channel in range(3):  # what was brighter is not darker now
        order = np.argsort(colors[:, channel], kind="stable")
        assert (np.diff(contrast[order, channel]) >= -1e-9).all()
    grey = np.repeat(rng.uniform(size=(5, 1)), 3, axis=1)
    np.testing.assert_allclose(augment.hue_saturation(grey, amount, amount, rng), grey, atol=1e-9)


@few
@given(clouds(), st.integers(1, 3), st.integers(1, 120), st.integers(0, 60))
def test_blobs_are_of_the_asked_size_compact_and_leave_half_of_each_object(cloud, count, size, more):
    points, _, labels, rng = cloud
    keep = augment.keep_without_blobs(points, labels, (count, count), (size, size + more), rng)
    for label in np.unique(labels):
        of_label = np.flatnonzero(labels == label)
        gone = of_label[~keep[of_label]]
        assert len(gone) >= min(count * size, len(of_label) // 2)
        assert len(gone) <= min(count * (size + more), len(of_label) // 2)
        if count == 1 and len(gone):  # a ball about one of its own points: nothing of the object in it stays
            kept = of_label[keep[of_label]]
            radius = np.linalg.norm(points[gone][:, None] - points[gone], axis=2).max(axis=1)
            nearest = np.linalg.norm(points[gone][:, None] - points[kept], axis=2).min(axis=1)
            assert (radius <= nearest + 1e-12).any()


@few
@given(clouds(), st.floats(0, 0.05))
def test_bases_and_thinning_only_take_away(cloud, most):
    points, _, _, rng = cloud
    keep = augment.keep_above_base(points[:, 2], most, rng)
    assert keep[points[:, 2] > most].all() and not keep[points[:, 2] < 0].any()
    assert augment.keep_thinned(5000, rng).mean() > 0.25


@few
@given(clouds(), st.integers(0, 2**32 - 1))
def test_the_same_seed_gives_the_same_sample_and_the_input_stays(cloud, seed):
    points, colors, labels, _ = cloud
    config, before = AugmentConfig(thin_chance=0.5, gain_max=0.2, depth_noise=1e-3), (points.copy(), colors.copy())
    results = []
    for _ in range(2):
        rng = np.random.default_rng(seed)
        results.append(
            (
                augment.spatial(points, config, 10, rng),
                augment.chromatic(colors, config, rng),
                augment.remains(points, labels, config, True, rng),
            )
        )
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(points, before[0])
    np.testing.assert_array_equal(colors, before[1])


def test_blobs_go_in_the_stage_that_asks_for_them():
    points, labels = np.random.default_rng(0).normal(size=(1000, 3)), np.full(1000, 2)
    config = AugmentConfig()
    seeds = map(np.random.default_rng, range(50))
    lost = [1000 - augment.remains(points, labels, config, True, rng).sum() for rng in seeds]
    assert 50 <= min(lost) <= 101 and 101 < max(lost) <= 202
    assert augment.remains(points, labels, config, False, np.random.default_rng(0)).all()
    none = dataclasses.replace(config, blob_chance=0)
    assert augment.remains(points, labels, none, True, np.random.default_rng(0)).all()


@pytest.mark.parametrize("name", ["flip_chance", "random_rot_chance"])
def test_chances_are_heeded(name):
    """Over many seeds the share of changed samples is the chance."""
    still = {"elastic_chance": 0, "random_rot_chance": 0, "flip_chance": 0, "shift_max": 0}
    config = AugmentConfig(**still | {name: 0.6})
    points = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    changed = [
        np.abs(augment.spatial(points, config, 10, np.random.default_rng(seed)) - points).max() > 1e-4
        for seed in range(400)
    ]
    expected = 0.6 if name == "random_rot_chance" else 1 - 0.4**2
    assert abs(np.mean(changed) - expected) < 0.08
