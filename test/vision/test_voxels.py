# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dropclip_ros.vision.voxels import SNAP, VoxelConfig, voxelize

clouds = arrays(np.float64, st.tuples(st.integers(1, 60), st.just(3)), elements=st.floats(-2, 2, width=32))


def colors_of(points):
    return np.random.default_rng(0).random(points.shape)


@settings(deadline=None)
@given(clouds)
def test_every_point_lies_in_its_voxel(points):
    voxels = voxelize(points, colors_of(points))
    assert voxels.point_to_voxel.shape == (len(points),) and voxels.point_to_voxel.dtype == np.int64
    assert set(voxels.point_to_voxel) == set(range(len(voxels)))  # every voxel is occupied
    assert np.abs(points - voxels.centers[voxels.point_to_voxel]).max() <= 0.0025 + 1e-6
    assert len(np.unique(voxels.coords, axis=0)) == len(voxels)
    assert voxels.coords.min() >= 0 and voxels.coords.dtype == np.int32


@settings(deadline=None)
@given(clouds)
def test_features_are_mean_colours(points):
    colors = colors_of(points)
    voxels = voxelize(points, colors)
    for row in range(len(voxels)):
        assert np.allclose(voxels.feats[row], colors[voxels.point_to_voxel == row].mean(axis=0), atol=1e-6)


@settings(deadline=None)
@given(clouds, st.tuples(*[st.floats(-2, 2, width=32)] * 3))
def test_a_point_that_comes_and_goes_does_not_move_the_grid(points, extra):
    """Coordinates of the others may only move by whole strides of the coarsest level of the network."""
    alone = voxelize(points, colors_of(points))
    joined = np.concatenate([points, [extra]])
    with_extra = voxelize(joined, colors_of(joined))
    moved = with_extra.coords[with_extra.point_to_voxel[:-1]] - alone.coords[alone.point_to_voxel]
    assert (moved == moved[0]).all() and (moved % SNAP == 0).all()
    assert np.array_equal(with_extra.centers[with_extra.point_to_voxel[:-1]], alone.centers[alone.point_to_voxel])


@settings(deadline=None)
@given(clouds, st.floats(-0.004, 0.004))
def test_a_small_shift_moves_only_points_that_cross_a_wall(points, shift):
    before, after = voxelize(points, colors_of(points)), voxelize(points + shift, colors_of(points))
    crossed = np.floor(points / 0.005) != np.floor((points + shift) / 0.005)
    same = before.centers[before.point_to_voxel] == after.centers[after.point_to_voxel]
    assert np.array_equal(same, ~crossed)


@settings(deadline=None)
@given(clouds, st.tuples(*[st.integers(-3, 3)] * 3))
def test_a_shift_by_whole_strides_changes_nothing_else(points, strides):
    points = (np.floor(points / 0.005) + 0.5) * 0.005  # off the walls, where rounding decides
    before = voxelize(points, colors_of(points))
    after = voxelize(points + np.array(strides) * SNAP * 0.005, colors_of(points))
    assert np.array_equal(before.coords, after.coords) and np.array_equal(before.feats, after.feats)


def test_order_does_not_depend_on_the_order_of_points():
    points = np.random.default_rng(0).uniform(-0.3, 0.3, (500, 3))
    shuffled = np.random.default_rng(1).permutation(500)
    a, b = voxelize(points, points), voxelize(points[shuffled], points[shuffled])
    assert np.array_equal(a.coords, b.coords)
    assert np.array_equal(a.point_to_voxel[shuffled], b.point_to_voxel)


def test_edge_follows_the_scale():
    voxels = voxelize(np.array([[0.0, 0, 0], [0.0019, 0, 0], [0.0021, 0, 0]]), np.zeros((3, 3)), VoxelConfig(0.02))
    assert VoxelConfig(0.02).edge == pytest.approx(0.002)
    assert voxels.point_to_voxel.tolist() == [0, 0, 1]


def test_empty_cloud_gives_no_voxels():
    voxels = voxelize(np.zeros((0, 3)), np.zeros((0, 3)))
    assert len(voxels) == 0 and voxels.coords.shape == voxels.feats.shape == (0, 3)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.array([[0, 0, np.nan]]), "NaN"),
        (np.zeros((2, 2)), r"\(N, 3\)"),
        (np.array([[0, 0, 0], [2e4, 0, 0]]), "spans"),
    ],
)
def test_unusable_clouds_are_refused(points, message):
    with pytest.raises(ValueError, match=message):
        voxelize(points, np.zeros_like(points))


def test_bad_config_is_refused():
    with pytest.raises(ValueError, match="voxel_size 0"):
        VoxelConfig(voxel_size=0)
