# SPDX-License-Identifier: Apache-2.0
"""Hands among points and above tables, against what is computed corner by corner, point by point and pair by pair."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dropclip_ros.grasping.antipodal import AntipodalConfig, sample_antipodal
from dropclip_ros.grasping.grasps import Grasps, colliding, height_above, openings, points_between, suppress, thin_cloud
from dropclip_ros.grasping.grippers import FRANKA_HAND, ROBOTIQ_2F_85, ROBOTIQ_2F_140

GRIPPERS = [ROBOTIQ_2F_140, ROBOTIQ_2F_85, FRANKA_HAND]
SEEDS = st.integers(0, 2**31)


def hands(rng: np.random.Generator, count: int, near: float = 0.1, max_width: float = 0.08) -> Grasps:
    return Grasps(
        rng.random(count),
        rng.uniform(0.01, max_width, count),
        np.full(count, 0.02),
        rng.uniform(0.01, 0.04, count),
        Rotation.random(count, rng=rng).as_matrix(),
        rng.uniform(-near, near, (count, 3)),
        np.full(count, -1),
    )


def boxes_of(hand: Grasps, gripper) -> np.ndarray:
    """Boxes (P, 2, 3) of a hand, low and high corner, both fingers, with x = 0 at the tips."""
    found = []
    for x0, x1, y0, y1, z1 in gripper.parts(hand.width)[0]:
        found += [((x0, y0, -z1), (x1, y1, z1)), ((x0, -y1, -z1), (x1, -y0, z1))]
    return np.array(found)


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.tuples(*[st.sampled_from([1, 2, 3, 40, 900])] * 3), st.sampled_from([0.003, 0.01]))
def test_thinning_keeps_one_point_of_each_voxel_whatever_the_shape_of_the_cloud(seed, extent, size):
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, extent, (400, 3)) + rng.integers(-50, 50, 3)
    points = (cells + rng.uniform(0.1, 0.9, cells.shape)) * size
    first: dict[tuple, int] = {}
    for k, cell in enumerate(map(tuple, cells.tolist())):
        first.setdefault(cell, k)
    assert thin_cloud(points, size).tolist() == sorted(first.values())


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.sampled_from(GRIPPERS))
def test_the_lowest_point_of_a_hand_is_one_of_its_corners(seed, gripper):
    rng = np.random.default_rng(seed)
    grasps = hands(rng, 8)
    normal = Rotation.random(rng=rng).as_matrix()[:, 2]
    table = np.append(normal, rng.uniform(-0.2, 0.2))
    for hand, height in zip((grasps[k : k + 1] for k in range(8)), height_above(grasps, table, gripper), strict=True):
        boxes = boxes_of(hand, gripper)
        corners = np.array([choice for box in boxes for choice in product(*box.T)])
        placed = corners @ hand.rotation[0].T + hand.tips()[0]
        assert height == pytest.approx((placed @ normal + table[3]).min(), abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.sampled_from(GRIPPERS))
def test_points_in_a_hand_are_those_in_its_boxes_and_between_its_fingers(seed, gripper):
    rng = np.random.default_rng(seed)
    grasps, cloud = hands(rng, 5, near=0.02), rng.uniform(-0.15, 0.15, (3000, 3)).astype(np.float32)
    inside, between = [], []
    for hand in (grasps[k : k + 1] for k in range(5)):
        local = (cloud - hand.tips()[0]) @ hand.rotation[0]
        inside.append(any(((local > low) & (local < high)).all(axis=1).any() for low, high in boxes_of(hand, gripper)))
        half = hand.width[0] / 2
        fits = (local[:, 0] > -gripper.finger_depth) & (local[:, 0] < 0) & (np.abs(local[:, 1]) < half)
        between.append(np.count_nonzero(fits & (np.abs(local[:, 2]) < gripper.finger_width / 2)))
    assert colliding(grasps, cloud, gripper, 0).tolist() == inside
    assert np.abs(points_between(grasps, cloud, gripper) - between).max() <= 1  # float32 at the faces


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.floats(0.005, 0.05), st.floats(0.1, 1.0))
def test_suppression_leaves_no_two_alike_and_drops_none_that_is_like_no_better_one(seed, distance, angle):
    rng = np.random.default_rng(seed)
    places, turns = rng.uniform(-0.5, 0.5, (4, 3)), Rotation.random(3, rng=rng)
    count = 40
    rotation = (turns[rng.integers(0, 3, count)] * Rotation.from_rotvec(rng.normal(0, 0.2, (count, 3)))).as_matrix()
    grasps = Grasps(
        rng.random(count), np.full(count, 0.05), np.full(count, 0.02), np.full(count, 0.03), rotation,
        places[rng.integers(0, 4, count)] + rng.normal(0, 0.01, (count, 3)), np.full(count, -1),
    )  # fmt: skip
    tips, half_turn = grasps.tips(), np.diag([1.0, -1.0, -1.0])

    def alike(a: int, b: int) -> bool:
        turn = min(
            Rotation.from_matrix(rotation[a].T @ rotation[b] @ also).magnitude() for also in (np.eye(3), half_turn)
        )
        return np.linalg.norm(tips[a] - tips[b]) < distance and turn < angle

    wanted: list[int] = []
    for k in np.argsort(-grasps.score, kind="stable").tolist():
        if not any(alike(better, k) for better in wanted):
            wanted.append(k)
    assert suppress(grasps, distance, angle).tolist() == wanted


@settings(deadline=None, max_examples=15)
@given(SEEDS)
def test_hands_open_as_wide_as_they_stay_clear_and_no_wider_than_they_can(seed):
    rng = np.random.default_rng(seed)
    gripper, most, step = ROBOTIQ_2F_85, 0.03, 0.01
    grasps, cloud = hands(rng, 12, near=0.05), rng.uniform(-0.12, 0.12, (60, 3))
    table = np.array([0, 0, 1.0, 0.15])
    widths, clear = openings(grasps, cloud, gripper, most, step, table, 0.01)
    for k in range(12):
        hand = grasps[k : k + 1]
        tried = [min(hand.width[0] + more, max(gripper.max_width, hand.width[0])) for more in (0, 0.01, 0.02, 0.03)]
        free = []
        for width in tried:
            hand.width[:] = width
            free.append(not colliding(hand, cloud, gripper, 0)[0] and height_above(hand, table, gripper)[0] >= 0.01)
        assert clear[k] == any(free)
        expected = tried[0]
        if any(free):
            start = free.index(True)
            run = next((k for k in range(start, 4) if not free[k]), 4)
            expected = tried[run - 1]
        assert widths[k] == pytest.approx(expected)


def block(size: tuple[float, float, float], camera: np.ndarray, step: float = 0.003) -> np.ndarray:
    """Points (n, 3) of a block's top and two sides on the plane z = 0, seen from `camera`, in the camera's place."""
    x, y, z = (np.arange(-extent / 2, extent / 2 + 1e-9, step) for extent in size)
    z = z + size[2] / 2
    faces = [np.stack(np.meshgrid(x, y, [size[2]]), -1), np.stack(np.meshgrid(x, [-size[1] / 2], z), -1)]
    faces.append(np.stack(np.meshgrid([size[0] / 2], y, z), -1))
    return np.concatenate([face.reshape(-1, 3) for face in faces]) - camera


@pytest.mark.parametrize("height", [0.025, 0.05, 0.12])
def test_low_and_high_blocks_are_grasped_from_above_or_from_the_cameras_side(height):
    camera = np.array([0.3, -0.4, 0.6])
    table = np.array([0, 0, 1.0, camera[2]])
    found = sample_antipodal(block((0.05, 0.04, height), camera), AntipodalConfig(), ROBOTIQ_2F_85, None, table)
    assert len(found) >= 3
    assert height_above(found, table, ROBOTIQ_2F_85).min() >= AntipodalConfig().table_clearance - 1e-6
    tilt = np.arccos(np.clip(-found.approach[:, 2], -1, 1))
    assert tilt.max() < 0.75  # rad: 0.6 about a closing axis, or arctan 0.7 towards the camera's side
    inside = np.abs(found.tips() + camera)[:, :2] <= np.array([0.05, 0.04]) / 2 + 0.02
    assert inside.all() and found.tips()[:, 2].max() + camera[2] < height
    across = np.abs(found[:1].rotation[0, :, 1])  # the best closes on faces, not on corners
    assert across.max() > 0.95
