# SPDX-License-Identifier: Apache-2.0
"""Readers of posed images: one world, the same pixels in every layout; and what is wrong with bad ones."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mvtod_support import write_scenes
from ovs3d_support import around, camera, picture, world, write_colmap, write_llff, write_nerfstudio
from PIL import Image

from training.ovs3d.bounds import check_overlap, find_bounds, projected
from training.ovs3d.config import Ovs3dConfig
from training.ovs3d.layouts import load_views
from training.ovs3d.views import gather
from training.runs.errors import InputError

WRITERS = {"llff": write_llff, "nerfstudio": write_nerfstudio, "colmap": write_colmap}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One world in every layout."""
    views, root = world(6, depth=False), tmp_path_factory.mktemp("layouts")
    for name, write in WRITERS.items():
        write(root / name, views)
    return views, {name: load_views(root / name, hold_out=3) for name in WRITERS}


@settings(deadline=None, max_examples=50)
@given(point=st.tuples(*[st.floats(-0.3, 0.3)] * 3), v=st.integers(0, 5))
def test_a_point_is_at_the_same_pixel_in_every_layout(folders, point, v):
    truth, read = folders
    expected, z = projected(truth, v, np.array([point]))
    for views in read.values():
        pixel, depth = projected(views, v, np.array([point]))
        np.testing.assert_allclose(pixel, expected, atol=1e-4)
        np.testing.assert_allclose(depth, z, atol=1e-5)


@settings(deadline=None, max_examples=50)
@given(pixel=st.integers(0, 1199), v=st.integers(0, 5), metres=st.floats(0.1, 3.0))
def test_what_lies_on_a_ray_is_seen_at_its_pixel(folders, pixel, v, metres):
    for views in folders[1].values():
        origins, directions = views.rays(v, np.array([pixel]))
        found, _ = projected(views, v, (origins + metres * directions).double().numpy())
        np.testing.assert_allclose(found[0], (pixel % 40, pixel // 40), atol=1e-3)


def test_layouts_hold_the_same_images_and_what_else_they_tell(folders):
    truth, read = folders
    for views in read.values():
        np.testing.assert_array_equal(views.images, truth.images)
        assert views.names == truth.names
        assert views.held_out.tolist() == [False, True, False, False, True, False]
    assert read["llff"].range == (0.5, 3.0)


def test_depth_of_a_generated_scene_is_on_its_table(tmp_path):
    write_scenes(tmp_path, 1, views=3)
    views = load_views(tmp_path / "scene_00000", width=32, hold_out=0)
    assert views.size == (32, 24)
    heights = np.concatenate([views.surface(v)[:, 2] for v in range(3)])
    assert (abs(heights) < 0.003).mean() > 0.3
    assert heights.max() < 0.2 and np.quantile(heights, 0.05) > -0.003


def test_nerfstudio_depth_lens_and_angle(tmp_path):
    views = world(4)
    write_nerfstudio(tmp_path, views, k1=-0.1)
    table = json.loads((tmp_path / "transforms.json").read_text())
    for frame, depth in zip(table["frames"], views.depth, strict=True):
        frame["depth_file_path"] = frame["file_path"].replace(".png", "_depth.png")
        Image.fromarray(np.rint(depth * 1000).astype(np.uint16)).save(tmp_path / frame["depth_file_path"])
    for key in ("fl_x", "fl_y", "w", "h"):
        del table[key]
    (tmp_path / "transforms.json").write_text(json.dumps(table | {"camera_angle_x": 2 * np.arctan(1 / 1.8)}))
    read = load_views(tmp_path, hold_out=0)
    assert read.intrinsics[0].fx == pytest.approx(36) and read.intrinsics[0].distortion[0] == -0.1
    np.testing.assert_allclose(read.depth, views.depth, atol=6e-4)
    origins, directions = read.rays(0, np.array([0]))
    pixel, _ = projected(read, 0, (origins + directions).double().numpy())
    np.testing.assert_allclose(pixel, 0, atol=0.02)  # the lens bends both ways


def test_images_shrink_with_their_cameras(tmp_path):
    write_colmap(tmp_path, world(4, depth=False))
    full, half = load_views(tmp_path), load_views(tmp_path, width=20)
    assert half.size == (20, 15)
    a, _ = projected(full, 0, np.array([[0.1, 0.05, 0.1]]))
    b, _ = projected(half, 0, np.array([[0.1, 0.05, 0.1]]))
    np.testing.assert_allclose(b, (a + 0.5) / 2 - 0.5, atol=1e-6)


@pytest.mark.parametrize("depth", [True, False])
def test_the_box_holds_what_the_cameras_look_at(depth):
    low, high = find_bounds(world(12, depth=depth))
    assert (low < (-0.15, -0.15, 0.02)).all() and (high > (0.15, 0.15, 0.2)).all()
    assert (high - low).max() < 3


def view(k, image, pose, name="a.png"):
    return name, image, camera(image.shape[1], image.shape[0]), pose, None


def test_bad_views_are_told_in_one_sentence(tmp_path):
    poses = around(4)
    images = [picture(camera(), pose)[0] for pose in poses]
    good = [view(k, image, pose) for k, (image, pose) in enumerate(zip(images, poses, strict=True))]
    with pytest.raises(InputError, match="1 view: a field needs at least 3"):
        gather(good[:1], 0)
    with pytest.raises(InputError, match="from one place"):
        gather([view(k, image, poses[0]) for k, image in enumerate(images)], 0)
    with pytest.raises(InputError, match="images are the same"):
        gather([view(k, images[0], pose) for k, pose in enumerate(poses)], 0)
    with pytest.raises(InputError, match=r"b\.png is 32x24, a\.png 40x30"):
        gather([*good, view(4, picture(camera(32, 24), poses[0])[0], poses[0], "b.png")], 0)
    with pytest.raises(InputError, match="no finite rotation"):
        gather([*good, view(4, images[0], 2 * poses[0])], 0)


def test_views_that_do_not_overlap_are_told():
    outward = [pose @ np.diag([1, -1, -1, 1.0]) for pose in around(6)]
    with pytest.raises(InputError, match="4 of 6 views see nothing that another one looks at"):
        check_overlap(world(poses=outward, depth=False))


def test_files_that_cannot_be_read_are_told(tmp_path):
    with pytest.raises(InputError, match="no scene there"):
        load_views(tmp_path)
    views = world(4, depth=False)
    write_nerfstudio(tmp_path / "a", views)
    (tmp_path / "a/images/2.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"2\.png cannot be read"):
        load_views(tmp_path / "a")
    (tmp_path / "a/transforms.json").write_text('{"frames": [{"file_path": "images/0.png"}]}')
    with pytest.raises(InputError, match="expected nerfstudio's fl_x"):
        load_views(tmp_path / "a")
    write_llff(tmp_path / "b", views)
    (tmp_path / "b/images/3.png").unlink()
    with pytest.raises(InputError, match=r"4 poses and .* 3 images"):
        load_views(tmp_path / "b")
    np.save(tmp_path / "b/poses_bounds.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match=r"poses_bounds\.npy cannot be read"):
        load_views(tmp_path / "b")
    write_colmap(tmp_path / "c", views)
    (tmp_path / "c/sparse/0/cameras.txt").write_text("7 FISHEYE 40 30 36 20 15 0.1 0 0 0\n")
    with pytest.raises(InputError, match="camera model FISHEYE is not known"):
        load_views(tmp_path / "c")
    (tmp_path / "c/sparse/0/images.txt").rename(tmp_path / "c/sparse/0/images.bin")
    with pytest.raises(InputError, match="model_converter"):
        load_views(tmp_path / "c")


@pytest.mark.parametrize(
    "changes",
    [
        {"hold_out": 1},
        {"grow_at": (5, 3)},
        {"bounds": (0, 0, 0, 1, 1, 0)},
        {"resolution": 4},
        {"grid_lr": float("nan")},
        {"density_ranks": (4, 0, 4)},
    ],
)
def test_configurations_check_themselves(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        Ovs3dConfig(**changes)
