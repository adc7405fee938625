# SPDX-License-Identifier: Apache-2.0
"""The matcher of appendix A.7, and the rules beside it."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import FRANKA_HAND, ROBOTIQ_2F_85, ROBOTIQ_2F_140
from dropclip_ros.grasping.matching import RULES, MatchConfig, Surroundings, match_grasps, seen_through, target_centre
from dropclip_ros.vision.geometry import Intrinsics


def grasps_with_tips(tips: np.ndarray, seed: int = 0, depth: float = 0.03) -> Grasps:
    rng = np.random.default_rng(seed)
    rotation = Rotation.random(len(tips), rng=rng).as_matrix()
    full = np.full(len(tips), 1.0)
    return Grasps(
        rng.random(len(tips)),
        0.05 * full,
        0.02 * full,
        depth * full,
        rotation,
        tips - depth * rotation[:, :, 0],
        np.arange(len(tips)),
    )


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


@pytest.mark.parametrize("far", [1.5, 5.0, 100.0, 1e6, 1e18, 3e38])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_stray_point_however_far_costs_nothing_and_changes_nothing(far, sign):
    target = np.random.default_rng(0).normal((0, 0, 0.5), 0.02, (500, 3))
    surroundings = Surroundings(target, np.array([0, 0, -1, 0.6]))
    config = MatchConfig(rules=tuple(RULES), max_distance=0.1, sample_target=True, open_wider=0.2)
    beside = grasps_with_tips(np.array([[5.0, 5.0, 0.5]]))
    wanted = match_grasps(beside, target, config, surroundings=surroundings)
    stray = np.vstack([target, [[0, 0, sign * far]], [[far] * 3]])
    tracemalloc.start()
    try:
        found = match_grasps(beside, stray, config, surroundings=surroundings)
        assert tracemalloc.get_traced_memory()[1] < 100e6  # bytes
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(found.grasps.rows(), wanted.grasps.rows())


def test_a_target_that_is_scattered_everywhere_is_refused():
    swapped = blob(500).astype(np.float32).byteswap().view(np.float32)
    with pytest.raises(DropclipError, match="points are no object") as caught:
        match_grasps(grasps_with_tips(blob(5)), swapped)
    assert caught.value.status == Status.BAD_REQUEST


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
    same = Grasps(
        np.arange(5.0),
        *(
            np.repeat(getattr(grasps, name)[:1], 5, axis=0)
            for name in ("width", "height", "depth", "rotation", "translation")
        ),
        np.arange(5),
    )
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
    here, there = (
        match_grasps(grasps, target),
        match_grasps(grasps.transformed(move), target @ move[:3, :3].T + move[:3, 3]),
    )
    assert here.indices.tolist() == there.indices.tolist()
    np.testing.assert_allclose(here.tip_distances, there.tip_distances, atol=1e-9)
    np.testing.assert_allclose(there.target_centre, move[:3, :3] @ here.target_centre + move[:3, 3], atol=1e-9)


# --- the rules ------------------------------------------------------------------------------------------------------

TABLE = np.array([0.0, 0, 1, 0])
DOWN = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # approach -z, closing y


def box(x: float, y: float, size=(0.05, 0.05, 0.08)) -> np.ndarray:
    """Points all over the surface of a box that stands on the table z = 0."""
    sides = [np.linspace(-s / 2, s / 2, round(s / 0.004)) for s in size]
    grid = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 3)
    outside = (np.abs(grid) > np.array(size) / 2 - 1e-6).any(axis=1)
    return grid[outside] + (x, y, size[2] / 2)


def grasps_at(tips, rotation=DOWN, width=0.07, score=0.5) -> Grasps:
    tips = np.atleast_2d(tips).astype(float)
    n = len(tips)
    rotation = np.broadcast_to(rotation, (n, 3, 3))
    return Grasps(
        np.broadcast_to(score, n),
        np.broadcast_to(width, n),
        np.full(n, 0.03),
        np.full(n, 0.02),
        rotation,
        tips - 0.02 * rotation[:, :, 0],
        np.full(n, -1),
    )


TARGET, CUP = box(0, 0), box(0, 0.10)
SCENE = Surroundings(np.concatenate([TARGET, CUP]), TABLE)
GOOD = (0.0, 0.0, 0.04)
TILTED = DOWN @ np.array([[np.cos(1.4), 0, np.sin(1.4)], [0, 1, 0], [-np.sin(1.4), 0, np.cos(1.4)]])


@pytest.mark.parametrize(
    ("rule", "bad"),
    [
        ("width", grasps_at(GOOD, width=0.15)),
        ("approach", grasps_at(GOOD, TILTED)),
        ("table", grasps_at((0, 0, -0.01))),
        ("target", grasps_at((0.06, 0, 0.04))),
        ("others", grasps_at((0, 0.05, 0.04), width=0.13)),
        ("collision", grasps_at((0, 0.025, 0.04))),
    ],
)
def test_each_rule_drops_what_it_is_there_for_and_leaves_a_good_grasp(rule, bad):
    both = Grasps.from_rows(np.concatenate([bad.rows(), grasps_at(GOOD).rows()]))
    match = match_grasps(both, TARGET, MatchConfig(rules=(rule,)), surroundings=SCENE)
    assert match.indices.tolist() == [1] and match.dropped == {rule: 1}
    assert 0 in match_grasps(both, TARGET).indices  # A.7 takes it
    with pytest.raises(DropclipError, match=RULES[rule]) as caught:
        match_grasps(bad, TARGET, MatchConfig(rules=(rule,)), surroundings=SCENE)
    assert caught.value.status == (Status.TOO_WIDE if rule == "width" else Status.NO_GRASPS)


def test_without_surroundings_a_rule_that_needs_them_is_refused():
    with pytest.raises(ValueError, match="need surroundings"):
        match_grasps(grasps_at(GOOD), TARGET, MatchConfig(rules=("collision",)))
    assert len(match_grasps(grasps_at(GOOD), TARGET, MatchConfig(rules=("width", "target"))).indices) == 1


def test_score_and_distance_count_together():
    grasps = grasps_at([(0, 0, 0.04), (0, 0, 0.05), (0.4, 0, 0.04)], score=np.array([0.3, 0.8, 1.0]))
    assert match_grasps(grasps, TARGET).indices.tolist() == [0, 1, 2]
    assert match_grasps(grasps, TARGET, MatchConfig(rank="score")).indices.tolist() == [1, 0, 2]


def test_the_hand_opens_as_wide_as_there_is_room():
    wide = MatchConfig(open_wider=0.2)
    alone = Surroundings(TARGET, TABLE)
    assert match_grasps(grasps_at(GOOD), TARGET, wide, surroundings=alone).widths == [ROBOTIQ_2F_140.max_width]
    assert match_grasps(grasps_at(GOOD), TARGET, wide, ROBOTIQ_2F_85, alone).widths == [ROBOTIQ_2F_85.max_width]
    beside_cup = match_grasps(grasps_at(GOOD), TARGET, wide, surroundings=SCENE).widths[0]
    assert 0.07 < beside_cup < 2 * (0.075 - ROBOTIQ_2F_140.finger_thickness) + 0.01  # the cup begins at y = 0.075
    too_wide = grasps_at(GOOD, width=0.09)  # is left as it is: to drop it is the rule `width`
    assert match_grasps(too_wide, TARGET, wide, FRANKA_HAND, alone).widths == [0.09]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31))
def test_all_rules_mean_the_same_in_any_frame(seed):
    rng = np.random.default_rng(seed)
    move = np.eye(4)
    move[:3, :3], move[:3, 3] = Rotation.random(rng=rng).as_matrix(), rng.normal(size=3)
    tips = rng.uniform((-0.03, -0.03, 0.0), (0.03, 0.03, 0.08), (20, 3))
    grasps = grasps_at(tips, score=rng.random(20))
    config = MatchConfig(top_k=20, rules=("width", "approach", "table"), rank="score")
    here = match_grasps(grasps, TARGET, config, surroundings=SCENE)
    there = match_grasps(
        grasps.transformed(move), TARGET @ move[:3, :3].T + move[:3, 3], config, surroundings=SCENE.transformed(move)
    )
    assert here.indices.tolist() == there.indices.tolist() and here.dropped == there.dropped


def seen_from(camera, *clouds) -> list[np.ndarray]:
    """Of each box the sides that the camera sees."""
    found = []
    for cloud in clouds:
        low, high = cloud.min(axis=0), cloud.max(axis=0)
        facing = [
            (cloud[:, i] < low[i] + 1e-6) & (camera[i] < low[i])
            | (cloud[:, i] > high[i] - 1e-6) & (camera[i] > high[i])
            for i in range(3)
        ]
        found.append(cloud[np.any(facing, axis=0)])
    return found


@pytest.mark.parametrize("proposals", [Grasps.empty(), grasps_at((0.5, 0, 0.04)), grasps_at((0, 0.10, 0.04))])
def test_where_no_proposal_is_left_the_target_is_sampled(proposals):
    camera = np.array([0.1, -0.5, 0.6])
    target, cup = seen_from(camera, TARGET, box(0, 0.0505))  # two boxes that touch
    around = Surroundings(np.concatenate([target, cup]), TABLE, camera)
    config = MatchConfig(rules=tuple(RULES), rank="score", max_distance=0.1)
    with pytest.raises(DropclipError) as without:
        match_grasps(proposals, target, config, surroundings=around)
    match = match_grasps(proposals, target, replace(config, sample_target=True), surroundings=around)
    assert match.sampled == without.value.message and 1 <= len(match.grasps) <= config.top_k
    assert (np.abs(match.grasps.tips()[:, :2]) < 0.03).all()  # on the target
    assert (np.abs(match.grasps.rotation[:, 0, 1]) > 0.7).all()  # across y the other box is in the way
    move = np.eye(4)
    move[:3, :3], move[:3, 3] = Rotation.from_euler("zyx", (0.4, -0.9, 2.0)).as_matrix(), (0.3, -0.2, 0.9)
    there = match_grasps(
        proposals.transformed(move),
        target @ move[:3, :3].T + move[:3, 3],
        replace(config, sample_target=True),
        surroundings=around.transformed(move),
    )
    assert len(there.grasps) and there.target_centre == pytest.approx(move[:3, :3] @ match.target_centre + move[:3, 3])


def test_a_target_that_cannot_be_grasped_either_says_what_the_proposals_lacked():
    sheet = np.stack(np.meshgrid(np.linspace(-0.1, 0.1, 50), np.linspace(-0.1, 0.1, 50), [0.003]), -1).reshape(-1, 3)
    around = Surroundings(sheet, TABLE, np.array([0.0, -0.5, 0.6]))
    with pytest.raises(DropclipError, match="is near the target"):
        match_grasps(
            grasps_at((0.5, 0, 0.04)), sheet, MatchConfig(max_distance=0.1, sample_target=True), surroundings=around
        )


def test_what_has_moved_is_seen_through_and_what_is_hidden_is_not():
    camera = Intrinsics(300.0, 300.0, 79.5, 59.5, 160, 120)
    u, v = np.meshgrid(np.linspace(-0.1, 0.1, 40), np.linspace(-0.08, 0.08, 40))
    target = np.column_stack([u.ravel(), v.ravel(), np.full(u.size, 0.8)])
    there, gone, hidden = (np.full((120, 160), z) for z in (0.805, 0.9, 0.4))
    assert seen_through(target, there, camera) == 0
    assert seen_through(target, gone, camera) == 1
    assert seen_through(target, hidden, camera) == 0
    half = np.where(np.arange(160) < 80, 0.9, 0.8) * np.ones((120, 1))
    assert seen_through(target, half, camera) == pytest.approx(0.5, abs=0.02)
    assert seen_through(np.add(target, (5.0, 0, 0)), there, camera) == 0  # out of view
    assert seen_through(target, np.zeros((120, 160)), camera) == 0  # no depth


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rules", ("luck",)),
        ("rank", "size"),
        ("max_others", 1.5),
        ("open_wider", -0.1),
        ("max_tilt", 0.0),
        ("max_hits", -1),
    ],
)
def test_config_names_the_wrong_field(field, value):
    with pytest.raises(ValueError, match=field):
        MatchConfig(**{field: value})


STRAYS = {
    "one at 1e18 m": [[1e18] * 3],
    "3e38 m": [[3e38, 0, 0]],
    "two at 4e4 m": [[4e4] * 3, [-4e4] * 3],
    "high above the table": [[0, 0, 1e4]],
}


@pytest.mark.parametrize("stray", STRAYS.values(), ids=STRAYS)
@pytest.mark.parametrize("sample", [False, True])
def test_points_far_from_the_rest_of_a_target_change_nothing(stray, sample):
    every = MatchConfig(rules=tuple(RULES), max_distance=0.1, sample_target=sample, open_wider=0.2)
    clean = match_grasps(grasps_at(GOOD), TARGET, every, surroundings=SCENE)
    match = match_grasps(grasps_at(GOOD), np.vstack([TARGET, stray]), every, surroundings=SCENE)
    assert match.indices.tolist() == clean.indices.tolist() and match.dropped == clean.dropped
    np.testing.assert_allclose(match.target_centre, clean.target_centre)


def test_a_target_in_another_byte_order_is_refused():
    swapped = TARGET.astype(np.float32).byteswap()
    for target in (swapped[np.isfinite(swapped).all(axis=1)], TARGET + 1e9):
        with pytest.raises(DropclipError, match="BAD_REQUEST: the target's points are no object"):
            match_grasps(grasps_at(GOOD), target, surroundings=SCENE)


def test_a_target_that_floats_far_over_the_table_is_not_filled_down():
    nowhere = MatchConfig(rules=("table",), max_distance=0.01, sample_target=True)
    with pytest.raises(DropclipError, match="NO_GRASPS"):
        match_grasps(grasps_at(GOOD), TARGET + np.array([0, 0, 9e4]), nowhere, surroundings=SCENE)
