# SPDX-License-Identifier: Apache-2.0
"""The geometry of a frame in torch against the same in NumPy: on a CUDA device where there is one, else on CPU tensors,
which take the same path through the code."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dropclip_ros.base.arrays import to_numpy
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grounding import surface
from dropclip_ros.grounding.instances import ObjectConfig, instance_labels
from dropclip_ros.grounding.pipeline import Grounder
from dropclip_ros.tabletop.crop import _interpolate, crop_above
from dropclip_ros.tabletop.outliers import mean_distance
from dropclip_ros.tabletop.plane import ransac_plane
from dropclip_ros.tabletop.table import Table, find_table
from dropclip_ros.vision.bags import load_bag_frame
from dropclip_ros.vision.geometry import Intrinsics, backproject, transform_points
from dropclip_ros.vision.voxels import voxelize

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BAG = Path(__file__).resolve().parents[2] / "demo" / "tabletop"


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.tensor(array, device=DEVICE)


@st.composite
def clouds(draw):
    """Points (N, 3), m: none, one, some twice, negative and far from zero, on the walls of voxels and off."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    points = rng.uniform(-1, 1, (draw(st.sampled_from([0, 1, 2, 50, 2000])), 3)) * draw(
        st.sampled_from([0.003, 0.1, 3])
    )
    points = np.round(points, 3) if draw(st.booleans()) else points
    points = np.concatenate([points, points[: len(points) // 3]]) + draw(st.sampled_from([0, -7.5, 100]))
    return points.astype(draw(st.sampled_from([np.float32, np.float64])))


def same_voxels(points: np.ndarray) -> None:
    colors = np.random.default_rng(0).random(points.shape, np.float32)
    expected, found = voxelize(points, colors), voxelize(tensor(points), tensor(colors))
    assert found.coords.device.type == DEVICE
    found = found.host()
    np.testing.assert_array_equal(found.coords, expected.coords)
    np.testing.assert_array_equal(found.point_to_voxel, expected.point_to_voxel)
    np.testing.assert_array_equal(found.centers, expected.centers)
    np.testing.assert_allclose(found.feats, expected.feats, atol=1e-6)
    for name in ("coords", "feats", "centers", "point_to_voxel"):
        assert getattr(found, name).dtype == getattr(expected, name).dtype


@settings(deadline=None, max_examples=60)
@given(clouds())
def test_voxels_are_the_same(points):
    same_voxels(points)


def test_voxels_of_half_a_million_points_are_the_same():
    same_voxels(np.random.default_rng(0).uniform(-1.5, 1.5, (500_000, 3)).astype(np.float32))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.integers(1, 400), st.integers(1, 40), st.sampled_from([5, 30, 2000]))
def test_distances_of_voxels_are_the_same(seed, count, neighbors, span):
    coords = np.unique(np.random.default_rng(seed).integers(0, span, (count, 3)), axis=0)
    found = mean_distance(tensor(coords), neighbors)
    np.testing.assert_allclose(to_numpy(found), mean_distance(coords, neighbors), atol=1e-9)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.floats(0.2, 0.9), st.sampled_from([3, 500, 4000]))
def test_planes_are_the_same(seed, share, count):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-0.5, 0.5, (count, 3)) + np.array([0, 0, 1])
    points[: int(share * count), 2] = 1 + 0.3 * points[: int(share * count), 0]
    planes = [ransac_plane(of, 0.01, 1000, np.random.default_rng(0)) for of in (points, tensor(points))]
    np.testing.assert_allclose(planes[1], planes[0], atol=1e-4)


@pytest.mark.parametrize("points", [np.ones((600, 3)), np.linspace(0, 1, 600)[:, None] * (1, 2, 3)])
def test_points_on_a_line_break_nothing(points):
    assert np.isfinite(ransac_plane(tensor(points), 0.01, 1000, np.random.default_rng(0))).all()


@pytest.mark.parametrize("distortion", [(), (0.1, -0.2, 0.001, 0.002, 0.05)])
def test_points_are_the_same(make_tabletop, distortion):
    depth = make_tabletop(holes=0.2, noise=0.002).frame.depth
    camera = Intrinsics(272, 272, 159.5, 119.5, 320, 240, distortion)
    points, pixels = backproject(depth, camera)
    found, rows = backproject(tensor(depth), camera)
    np.testing.assert_array_equal(to_numpy(rows), pixels)
    np.testing.assert_allclose(to_numpy(found), points, atol=1e-6)
    pose = np.array([[0, -1, 0, 0.5], [1, 0, 0, -2], [0, 0, 1, 3], [0, 0, 0, 1]])
    np.testing.assert_allclose(to_numpy(transform_points(pose, found)), transform_points(pose, points), atol=1e-6)


def test_no_depth_is_a_bad_frame():
    with pytest.raises(DropclipError, match="all are unknown") as error:
        backproject(tensor(np.zeros((48, 64), np.float32)), Intrinsics(60, 60, 31.5, 23.5, 64, 48))
    assert error.value.status is Status.BAD_FRAME


def same_table(found: Table, expected: Table) -> None:
    np.testing.assert_allclose(found.plane, expected.plane, atol=1e-4)
    np.testing.assert_allclose(found.bow, expected.bow, atol=1e-3)
    np.testing.assert_allclose(found.noise, expected.noise, atol=1e-4)
    assert len(found.others) == len(expected.others)
    assert np.mean(to_numpy(found.inliers) != expected.inliers) < 1e-4


@pytest.mark.parametrize(
    "scenery",
    [
        {},
        {"floor": -0.7, "wall": 0.45, "pitch": 0.5, "holes": 0.1},
        {"boxes": [(0, 0, 0.1, 0.1, 0.1), (0.0, 0.75, 0.8, 0.1, 0.9, -0.7)], "floor": -0.7, "pitch": 0.5},
    ],
)
@pytest.mark.parametrize("gravity", [True, False])
def test_table_and_what_stands_on_it_are_the_same(make_tabletop, scenery, gravity):
    """Searched for, and known from an earlier frame."""
    scene, later = (make_tabletop(noise=0.001, seed=seed, **scenery) for seed in (0, 1))
    up = scene.up if gravity else None
    tables, crops = [], []
    for place in (tensor, np.asarray):
        points, again = (backproject(place(of.frame.depth), of.frame.intrinsics)[0] for of in (scene, later))
        first = find_table(points, up=up)
        known = find_table(again, up=up, last=first)
        tables.append((first, known))
        crops.append([to_numpy(crop_above(points, first)), to_numpy(crop_above(again, known))])
    for found, expected in zip(*tables, strict=True):
        same_table(found, expected)
    for found, expected in zip(*crops, strict=True):
        assert expected.sum() > 1000 and np.mean(found != expected) < 1e-4


@pytest.mark.parametrize("middles", [False, True])
def test_instances_are_the_same(monkeypatch, middles):
    """Tops and fronts of boxes of some sizes, side by side, and a speck."""
    monkeypatch.setattr(surface, "_ROWS", 300)  # voxels are compared by several blocks
    surfaces = [np.array([[130, 0, 0], [131, 0, 0]])]
    for i in range(4):
        x, y, z = np.indices((20, 16, 10 + i)).reshape(3, -1)
        surfaces.append(np.stack([x + 21 * i, y + 3 * i, z], axis=1)[(y == 0) | (z == 9 + i)])
    cells = np.concatenate(surfaces)
    centers = ((cells + 0.5) * 0.005).astype(np.float32)
    of = cells[:, 0] // 21
    colors, features = np.eye(7, 3, dtype=np.float32)[of], torch.eye(8)[of]
    seen = (centers + 0.01).astype(np.float32) if middles else None
    eye = np.array([0.13, -0.5, 0.8])
    expected = instance_labels(centers, colors, features, eye, ObjectConfig(), seen)
    there = [None if of is None else tensor(of) for of in (centers, colors, seen)]
    found = instance_labels(*there[:2], features.to(DEVICE), eye, ObjectConfig(), there[2])
    assert expected.max() >= 4 and (expected == 0).sum() == 2
    np.testing.assert_array_equal(found, expected)


def test_no_table_is_told_as_ever():
    points = np.random.default_rng(0).uniform(0.5, 2.5, (300, 3)).astype(np.float32)
    with pytest.raises(DropclipError, match="no plane of 500") as error:
        find_table(tensor(points))
    assert error.value.status is Status.NO_TABLE


@settings(deadline=None)
@given(st.lists(st.floats(0, 3), min_size=1, max_size=12), st.integers(0, 2**31))
def test_interpolation_is_the_same(at, seed):
    rng = np.random.default_rng(seed)
    table = np.array([sorted(at), rng.random(len(at))])
    values = rng.uniform(-0.5, 3.5, 50)
    np.testing.assert_allclose(to_numpy(_interpolate(tensor(values), table)), np.interp(values, *table), atol=1e-9)


def test_the_whole_path_is_the_same(make_tabletop):
    """From the recorded frame to an answer, with the shipped model; then the errors of an empty table."""
    pytest.importorskip("rosbags", reason="rosbags is not installed (extra `ros`)")
    frame = load_bag_frame(BAG)
    plain = Grounder.from_pretrained(device="cpu")
    uploading = copy.copy(plain) if DEVICE == "cpu" else Grounder.from_pretrained(device=DEVICE)
    uploading.uploads = True
    expected, found = plain.encode(frame), uploading.encode(frame)
    np.testing.assert_allclose(found.table.plane, expected.table.plane, atol=1e-4)
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    np.testing.assert_array_equal(found.colors, expected.colors)
    np.testing.assert_array_equal(found.voxels.coords, expected.voxels.coords)
    np.testing.assert_array_equal(found.voxels.point_to_voxel, expected.voxels.point_to_voxel)
    if DEVICE == "cpu":  # on CUDA the encoder itself may be in half precision
        np.testing.assert_allclose(found.features, expected.features, atol=1e-5)
        np.testing.assert_array_equal(found.instances, expected.instances)
    answers = [
        grounder.ground(scene, "the red mug").objects for grounder, scene in ((uploading, found), (plain, expected))
    ]
    np.testing.assert_allclose(answers[0][0].centre, answers[1][0].centre, atol=1e-3)
    with pytest.raises(DropclipError) as error:
        uploading.encode(make_tabletop(boxes=(), spheres=()).frame)
    assert error.value.status is Status.EMPTY_SCENE
