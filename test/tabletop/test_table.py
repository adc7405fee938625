# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import open3d as o3d
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.spatial import cKDTree

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.tabletop import table as table_module
from dropclip_ros.tabletop.crop import _interpolate, crop_above, without_outliers
from dropclip_ros.tabletop.outliers import mean_distance
from dropclip_ros.tabletop.plane import ransac_plane
from dropclip_ros.tabletop.table import TableConfig, _looks_level, find_table, known_table
from dropclip_ros.vision.geometry import Intrinsics, backproject, decode_depth, is_rigid
from dropclip_ros.vision.voxels import VoxelConfig


def run(scene, up=None):
    """Points' labels, the table, and the mask of kept points."""
    points, pixels = backproject(scene.frame.depth, scene.frame.intrinsics)
    table = find_table(points, up=up)
    return scene.labels.ravel()[pixels], table, crop_above(points, table)


def iou(found, true):
    return (found & true).sum() / (found | true).sum()


def tilt(table, up):
    return np.degrees(np.arccos(np.clip(table.plane[:3] @ up, -1, 1)))


@pytest.mark.parametrize("pitch", [0.4, 0.8, np.pi / 2])
@pytest.mark.parametrize("noise", [0.0, 0.002])
def test_plane_and_objects_of_a_known_scene(make_tabletop, pitch, noise):
    scene = make_tabletop(pitch=pitch, noise=noise, holes=0.1)
    labels, table, above = run(scene)
    assert tilt(table, scene.up) < 0.3
    assert table.plane[3] == pytest.approx(0.9 * np.sin(pitch), abs=0.003)  # the camera's height
    assert iou(above, labels >= 2) > (0.97 if noise == 0 else 0.93)


def test_objects_keep_their_base(make_tabletop):
    scene = make_tabletop(noise=0.0015)
    points, _ = backproject(scene.frame.depth, scene.frame.intrinsics)
    _, table, above = run(scene)
    assert table.height(points[above]).min() < 0.006  # a plain 1 cm cut would leave nothing below 1 cm


def test_same_points_same_answer(make_tabletop):
    scene = make_tabletop(noise=0.002, floor=-0.7)
    _, first, above = run(scene)
    _, second, again = run(scene)
    assert np.array_equal(first.plane, second.plane) and np.array_equal(above, again)


@pytest.mark.parametrize("gravity", [True, False])
@pytest.mark.parametrize(
    "surroundings",
    [
        {"floor": -0.7, "table": (0.3, 0.2), "distance": 1.2},
        {"wall": 0.45, "pitch": 0.5, "floor": -0.7},
        {"wall": 0.4, "table": (0.5, 0.3), "pitch": 0.35},
    ],
)
def test_neither_floor_nor_wall_is_the_table(make_tabletop, surroundings, gravity):
    scene = make_tabletop(noise=0.001, **surroundings)
    points, pixels = backproject(scene.frame.depth, scene.frame.intrinsics)
    labels = scene.labels.ravel()[pixels]
    table = find_table(points, up=scene.up if gravity else None)
    assert iou(table.inliers & (labels < 2), labels == 1) > 0.9
    above = crop_above(points, table)
    assert (above & (labels >= 2)).sum() > 0.9 * (labels >= 2).sum()
    assert (above & (labels == 0)).sum() < 0.03 * (labels == 0).sum()


@pytest.mark.parametrize("gap", [0.002, 0.02])
def test_a_wall_at_the_tables_edge_is_no_object(make_tabletop, gap):
    scene = make_tabletop(table=(0.5, 0.3), wall=0.3 + gap, floor=-0.7, pitch=0.5, noise=0.001)
    labels, _, above = run(scene)
    assert iou(above, labels >= 2) > 0.93


def test_what_stands_beside_the_table_is_not_on_it(make_tabletop):
    shelf = (0.0, 0.75, 0.8, 0.1, 0.9, -0.7)  # reaches from the floor to 0.2 m above the table, 0.3 m behind it
    scene = make_tabletop(boxes=[(0, 0, 0.1, 0.1, 0.1), shelf], spheres=[], floor=-0.7, pitch=0.5, noise=0.001)
    labels, _, above = run(scene)
    assert (labels == 3).sum() > 500 and not (above & (labels == 3)).any()
    assert iou(above, labels == 2) > 0.95


def test_lonely_points_are_outliers(make_tabletop):
    scene = make_tabletop()
    rng = np.random.default_rng(0)
    stray = rng.choice(np.flatnonzero(scene.labels.ravel() == 1), 20, replace=False)
    scene.frame.depth.ravel()[stray] -= rng.uniform(0.05, 0.2, 20).astype(np.float32)  # flying pixels above the table
    points, pixels = backproject(scene.frame.depth, scene.frame.intrinsics)
    on_stray = np.isin(pixels, stray)
    table = find_table(points)
    assert crop_above(points, table)[on_stray].sum() <= 4
    assert crop_above(points, table, TableConfig(outlier_std=0))[on_stray].sum() >= 10  # but for those that float


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.integers(1, 400), st.integers(1, 40), st.sampled_from([5, 30, 2000]))
def test_distances_counted_on_the_grid_are_those_of_a_tree(seed, count, neighbors, span):
    coords = np.unique(np.random.default_rng(seed).integers(0, span, (count, 3)), axis=0)
    k = min(neighbors, len(coords))
    expected = cKDTree(coords).query(coords, k)[0].reshape(len(coords), k).mean(axis=1)
    np.testing.assert_allclose(mean_distance(coords, neighbors), expected, atol=1e-9)


def test_a_table_that_stays_is_not_searched_for(make_tabletop, monkeypatch):
    """Other noise, and one object more."""
    points, before = (
        backproject(s.frame.depth, s.frame.intrinsics)[0]
        for s in (
            make_tabletop(noise=0.001, floor=-0.7, seed=1, boxes=[(0, 0, 0.1, 0.1, 0.1)]),
            make_tabletop(noise=0.001, floor=-0.7, seed=2, boxes=[], spheres=[]),
        )
    )
    searched, last = find_table(points), find_table(before)
    monkeypatch.setattr(table_module, "ransac_plane", None)
    known = find_table(points, last=last)
    np.testing.assert_allclose(known.plane, searched.plane, atol=1e-3)
    assert iou(crop_above(points, known), crop_above(points, searched)) > 0.99


@pytest.mark.parametrize("change", [{"pitch": 0.7}, {"distance": 1.1}, {"wall": 0.2}])
def test_a_table_that_moved_is_searched_for(make_tabletop, change):
    now, before = (
        backproject(s.frame.depth, s.frame.intrinsics)[0]
        for s in (make_tabletop(noise=0.001, **change), make_tabletop(noise=0.001))
    )
    again, anew = find_table(now, last=find_table(before)), find_table(now)
    assert np.array_equal(again.plane, anew.plane) and len(again.others) == len(anew.others)


def test_points_seen_edge_on_divide_by_nothing():
    """One row of an image: every plane that they lie in goes through the camera."""
    x = np.linspace(-0.3, 0.3, 600, dtype=np.float32)
    points = np.column_stack([x, 0 * x, 1 + 0.1 * np.sin(9 * x)])
    with np.errstate(all="raise"):
        table = find_table(points)
        assert not crop_above(points, table).any() and np.isfinite(table.noise).all()


def test_an_empty_table_carries_nothing(make_tabletop):
    labels, _, above = run(make_tabletop(boxes=[], spheres=[], noise=0.0015))
    assert above.sum() < 0.002 * len(labels)


def test_no_level_plane_is_no_table(make_tabletop):
    scene = make_tabletop()
    with pytest.raises(DropclipError, match="tilted") as error:
        run(scene, up=np.array([1.0, 0, 0]))
    assert error.value.status is Status.NO_TABLE


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.random.default_rng(0).uniform(0.5, 2.5, (3000, 3))])
def test_no_plane_is_no_table(points):
    with pytest.raises(DropclipError, match="no plane") as error:
        find_table(points.astype(np.float32), TableConfig(distance=0.002))
    assert error.value.status is Status.NO_TABLE


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.floats(0.15, 0.9), st.floats(0.0, 0.003))
def test_ransac_finds_the_plane_that_most_points_are_in(seed, share, noise):
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=3)
    normal /= np.linalg.norm(normal)
    middle = np.array([0.0, 0.0, 1.0])
    points = rng.uniform(-0.5, 0.5, (4000, 3)) + middle
    count = int(share * len(points))
    points[:count] -= np.outer((points[:count] - middle) @ normal + noise * rng.normal(size=count), normal)
    plane = ransac_plane(points, 0.01, 1000, np.random.default_rng(0))
    assert abs(plane[:3] @ normal) > np.cos(np.radians(0.6)) and plane[3] >= 0
    assert abs(plane[:3] @ middle + plane[3]) < 0.002


@pytest.mark.parametrize("points", [np.ones((600, 3)), np.linspace(0, 1, 600)[:, None] * (1, 2, 3)])
def test_points_on_a_line_break_nothing(points):
    assert np.isfinite(ransac_plane(points, 0.01, 1000, np.random.default_rng(0))).all()


@pytest.mark.parametrize("apart", [0.009, 0.011, 0.015, 0.019])
def test_a_plane_between_two_sheets_has_some_noise(apart):
    """As rivals of the table are, which slant through things: no point is on the surface that fits them all."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.3, 0.3, (8000, 3)).astype(np.float32)
    points[:, 2] = 1 + apart * rng.integers(0, 2, len(points))
    table = known_table(points, np.array([0, 0, -1.0, 1 + apart / 2]))
    assert table.noise.size and np.isfinite(table.noise).all() and np.isfinite(crop_above(points, table)).all()


def test_bad_up_direction_is_refused(make_tabletop):
    with pytest.raises(DropclipError, match="up direction") as error:
        run(make_tabletop(), up=np.zeros(3))
    assert error.value.status is Status.BAD_REQUEST


@pytest.mark.parametrize("pitch", [0.4, 0.8, np.pi / 2])
def test_table_frame(make_tabletop, pitch):
    scene = make_tabletop(pitch=pitch)
    frame = run(scene)[1].frame
    assert is_rigid(frame)
    assert frame[:3, 2] == pytest.approx(scene.up, abs=0.01)  # z up
    assert frame[:3, 0] == pytest.approx([1, 0, 0], abs=0.01)  # x to the image's right
    assert frame[:3, 3] == pytest.approx([0, 0, 0.9], abs=0.01)  # where the optical axis meets the table
    assert frame[1, 1] < 0 or frame[2, 1] > 0  # y away from the camera, up in the image


@pytest.mark.parametrize(
    ("field", "value"),
    [("distance", 0.0), ("iterations", 0), ("max_tilt", -1), ("edge_margin", np.nan), ("certainty", 1.0)],
)
def test_bad_config_is_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} {value}"):
        TableConfig(**{field: value})


def test_real_tabletops(shared_data):
    """A few of the scenes of benchmarks/path/table_osd.py, the hardest among them."""
    scores = []
    for name in ("learn0", "learn21", "learn30", "learn36", "test18", "test40"):
        depth = decode_depth(np.array(Image.open(shared_data / "osd" / f"{name}_depth.png")), "mm")
        points, pixels = backproject(depth, Intrinsics(525, 525, 319.5, 239.5, 640, 480))
        labels = np.array(Image.open(shared_data / "osd" / f"{name}_label.png")).ravel()[pixels]
        scores.append(iou(crop_above(points, find_table(points)), labels >= 2))
    assert np.mean(scores) > 0.97 and min(scores) > 0.93


def test_named_objects_of_a_real_frame_stay(shared_data):
    folder = shared_data / "rgbd" / "hggd"
    depth = decode_depth(np.array(Image.open(folder / "demo_depth.png")), "mm")
    points, pixels = backproject(depth, Intrinsics(927.17, 927.37, 651.32, 349.62, 1280, 720))
    table = find_table(points)
    kept = np.zeros(depth.shape, dtype=bool)
    kept.ravel()[pixels[crop_above(points, table)]] = True
    for item in json.loads((folder / "points.json").read_text())["objects"]:
        u, v = item["uv"]
        assert kept[v - 10 : v + 11, u - 10 : u + 11].any(), item["name"]
    assert not kept[20:120, 20:1260].any()  # the empty far part of the table
    assert kept.mean() < 0.35


def test_a_single_object_on_a_real_table_is_not_the_table(shared_data):
    for path in sorted((shared_data / "rgbd" / "6dof_graspnet").glob("*.npz")):
        with np.load(path, allow_pickle=False) as data:
            k, depth = data["intrinsics_matrix"], decode_depth(data["depth"], "m")
        points, _ = backproject(depth, Intrinsics(k[0, 0], k[1, 1], k[0, 2], k[1, 2], *depth.shape[::-1]))
        table = find_table(points)
        assert table.inliers.mean() > 0.7, path.name
        assert 0.02 < crop_above(points, table).mean() < 0.3, path.name


@pytest.mark.parametrize("angle", np.linspace(0, np.pi / 2, 7))
def test_a_camera_that_hangs_upright_is_preferred_to_one_on_its_side_or_head(angle):
    level = _looks_level(np.array([0, -np.cos(angle), -np.sin(angle)]))
    assert level == pytest.approx(1)
    on_its_head = np.array([0, np.cos(angle), -np.sin(angle)])
    assert _looks_level(on_its_head) <= level
    if angle < 0.5:
        assert _looks_level(on_its_head) < 0.1
    on_its_side = np.array([np.cos(angle), 0, -np.sin(angle)])
    assert angle > 1 or _looks_level(on_its_side) < 0.1
    assert _looks_level(np.array([0.0, np.sin(angle), np.cos(angle)])) < 0.1  # looks up from below


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.integers(1, 9))
def test_values_between_rows_of_a_table_are_shared_the_same_by_torch(seed, count):
    rng = np.random.default_rng(seed)
    table = np.stack([np.sort(rng.choice(100, count, replace=False) / 10.0), rng.normal(size=count)])
    values = np.concatenate([rng.uniform(-2, 12, 50), table[0]])
    np.testing.assert_allclose(_interpolate(torch.tensor(values), table).numpy(), np.interp(values, *table), atol=1e-9)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**31))
def test_strays_are_those_that_open3d_finds(seed):
    rng = np.random.default_rng(seed)
    edge = VoxelConfig().edge
    cells = np.unique(np.concatenate([rng.integers(0, 12, (600, 3)), rng.integers(-40, 60, (12, 3))]), axis=0)
    points = (cells + 0.5) * edge  # one point a voxel
    config = TableConfig()
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points))
    kept = cloud.remove_statistical_outlier(config.outlier_neighbors, config.outlier_std)[1]
    found = without_outliers(points.astype(np.float32), config)
    assert found.sum() < len(points) and np.flatnonzero(found).tolist() == list(kept)
