# SPDX-License-Identifier: Apache-2.0
"""The matcher of appendix A.7."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dropclip_ros.errors import DropclipError, Status
from dropclip_ros.grasps import Grasps
from dropclip_ros.matching import MatchConfig, match_grasps, target_centre


def grasps_with_tips(tips: np.ndarray, seed: int = 0, depth: float = 0.03) -> Grasps:
    rng = np.random.default_rng(seed)
    rotation = Rotation.random(len(tips), rng=rng).as_matrix()
    full = np.full(len(tips), 1.0)
    return Grasps(rng.random(len(tips)), 0.05 * full, 0.02 * full, depth * full, rotation,
                  tips - depth * rotation[:, :, 0], np.arange(len(tips)))


def blob(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal((0.1, 0.0, 0.8), 0.02, (count, 3))


def test_the_three_nearest_tips_are_chosen_by_the_tip_and_not_by_the_centre():
    target = blob(500)
    tips = target_centre(target) + np.array([[0.05, 0, 0], [0.01, 0, 0], [0, 0.5, 0], [0, 0, 0.03], [0, 0.02, 0]])
    match = match_grasps(grasps_with_tips(tips, depth=0.3), target)
    assert match.indices.tolist() == [1, 4, 3]
    np.testing.assert_allclose(match.tip_distances, [0.01, 0.02, 0.03], atol=1e-9)


def test_outliers_do_not_pull_the_centre():
    target = blob(400)
    stray = np.concatenate([target, [[1.5, 1.0, 3.0], [-2.0, 0.5, 2.0]]])
    assert np.linalg.norm(target_centre(stray) - target.mean(axis=0)) < 0.002
    assert np.linalg.norm(stray.mean(axis=0) - target.mean(axis=0)) > 0.005


@pytest.mark.parametrize("count", [1, 2, 24, 25, 26])
def test_tiny_targets_are_matched(count):
    target = blob(count)
    match = match_grasps(grasps_with_tips(target[:1] + 0.01), target)
    assert len(match.indices) == 1 and np.isfinite(match.target_centre).all()


def test_points_all_in_one_place_are_matched():
    target = np.tile([[0.1, 0.2, 0.7]], (60, 1))
    np.testing.assert_allclose(match_grasps(grasps_with_tips(target[:4]), target).target_centre, target[0])


def test_at_equal_distance_the_better_score_is_first():
    target = blob(100)
    grasps = grasps_with_tips(np.tile(target_centre(target), (5, 1)))
    distances = match_grasps(grasps, target, MatchConfig(top_k=5)).tip_distances
    assert np.ptp(distances) < 1e-12
    same = Grasps(np.arange(5.0), *(np.repeat(getattr(grasps, name)[:1], 5, axis=0) for name in
                                   ("width", "height", "depth", "rotation", "translation")), np.arange(5))
    assert match_grasps(same, target, MatchConfig(top_k=5)).indices.tolist() == [4, 3, 2, 1, 0]


def test_too_far_or_none_is_a_typed_error():
    target = blob(100)
    far = grasps_with_tips(target_centre(target) + np.array([[0.3, 0, 0], [0.05, 0, 0]]))
    assert match_grasps(far, target, MatchConfig(max_distance=0.1)).indices.tolist() == [1]
    for grasps in (far[:1], Grasps.empty()):
        with pytest.raises(DropclipError) as caught:
            match_grasps(grasps, target, MatchConfig(max_distance=0.1))
        assert caught.value.status == Status.NO_GRASPS
    with pytest.raises(DropclipError) as caught:
        match_grasps(far, np.full((3, 3), np.nan))
    assert caught.value.status == Status.BAD_REQUEST


def test_config_names_what_is_wrong():
    with pytest.raises(ValueError, match="top_k"):
        MatchConfig(top_k=0)
    with pytest.raises(ValueError, match="max_distance"):
        MatchConfig(max_distance=-1.0)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 80))
def test_moving_grasps_and_target_together_changes_nothing(seed, count):
    """So the paper's world frame and the camera frame give the same grasps."""
    rng = np.random.default_rng(seed)
    target = blob(count, seed)
    grasps = grasps_with_tips(blob(12, seed + 1), seed)
    move = np.eye(4)
    move[:3, :3], move[:3, 3] = Rotation.random(rng=rng).as_matrix(), rng.normal(size=3)
    here, there = match_grasps(grasps, target), match_grasps(grasps.transformed(move),
                                                            target @ move[:3, :3].T + move[:3, 3])
    assert here.indices.tolist() == there.indices.tolist()
    np.testing.assert_allclose(here.tip_distances, there.tip_distances, atol=1e-9)
    np.testing.assert_allclose(there.target_centre, move[:3, :3] @ here.target_centre + move[:3, 3], atol=1e-9)
