# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.spatial.transform import Rotation

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.vision.geometry import (
    Intrinsics,
    RgbdFrame,
    backproject,
    decode_depth,
    invert_pose,
    is_rigid,
    load_frame,
    project,
    transform_points,
)

CAMERA = Intrinsics(60.0, 61.0, 31.5, 23.5, 64, 48)
K9 = [60.0, 0, 31.5, 0, 61.0, 23.5, 0, 0, 1]

lenses = st.sampled_from(
    [(), (0.1, -0.2, 0.001, 0.002), (0.1, -0.2, 0.001, 0.002, 0.05), (0.3, 0.1, 0.0005, -0.001, 0.02, 0.2, 0.05, 0.01)]
)
poses = st.builds(lambda v, t: pose_of(v, t), st.tuples(*[st.floats(-3, 3)] * 3), st.tuples(*[st.floats(-5, 5)] * 3))


def pose_of(rotation_vector, translation):
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec(rotation_vector).as_matrix()
    pose[:3, 3] = translation
    return pose


def bad_frame(match):
    return pytest.raises(DropclipError, match=match)


@settings(deadline=None)
@given(st.floats(60, 200), st.floats(60, 200), st.floats(20, 44), st.floats(15, 33), lenses, st.integers(0, 9))
def test_projection_undoes_backprojection(fx, fy, cx, cy, lens, seed):
    camera = Intrinsics(fx, fy, cx, cy, 64, 48, lens)
    depth = np.random.default_rng(seed).uniform(0.2, 2.9, (48, 64)).astype(np.float32)
    points, pixels = backproject(depth, camera)
    uv, z = project(points, camera)
    assert np.array_equal(pixels, np.arange(48 * 64)) and pixels.dtype == np.int64
    assert np.abs(uv - np.stack([pixels % 64, pixels // 64], axis=1)).max() < 0.1
    assert np.array_equal(z, depth.ravel())  # depth is along the axis, not along the ray


def test_backprojection_of_one_pixel_by_hand():
    depth = np.zeros((48, 64), np.float32)
    depth[10, 50] = 2.0
    points, pixels = backproject(depth, CAMERA)
    assert pixels.tolist() == [10 * 64 + 50]
    assert points[0] == pytest.approx([(50 - 31.5) / 60 * 2, (10 - 23.5) / 61 * 2, 2.0])


def test_depth_limits_and_invalid_values():
    depth = np.full((48, 64), np.nan, np.float32)
    depth[0, :6] = [0.0, 0.05, 0.1, 3.0, 3.1, np.inf]
    assert backproject(depth, CAMERA)[1].tolist() == [2, 3]
    assert backproject(depth, CAMERA, near=0.0, far=10.0)[1].tolist() == [1, 2, 3, 4]


def test_depth_of_another_size_than_the_intrinsics_is_refused():
    with bad_frame("64, 24"):
        backproject(np.ones((24, 64), np.float32), CAMERA)


@pytest.mark.parametrize(
    ("image", "unit"),
    [
        (np.array([[0, 1500]], np.uint16), "mm"),
        (np.array([[0, 15000]], np.uint16), "0.1mm"),
        (np.array([[np.nan, 1.5]], np.float32), "m"),
        (np.array([[-1.0, 1.5]]), "m"),
        (np.array([[np.inf, 1.5]]), "m"),
    ],
)
def test_depth_units(image, unit):
    depth = decode_depth(image, unit)
    assert depth.dtype == np.float32
    assert depth.tolist() == [[0.0, pytest.approx(1.5)]]


@pytest.mark.parametrize(
    ("image", "unit", "message"),
    [
        (np.ones((2, 2), np.uint16), "cm", "expected one of mm, 0.1mm, m"),
        (np.ones((2, 2), np.uint16), "m", "whole numbers"),
        (np.ones((2, 2, 3), np.uint8), "mm", "one channel"),
    ],
)
def test_depth_that_cannot_be_meant_is_refused(image, unit, message):
    with bad_frame(message) as error:
        decode_depth(image, unit)
    assert error.value.status is Status.BAD_FRAME


def test_scaled_intrinsics_see_the_same_rays():
    half = CAMERA.scaled_to(32, 24)
    corner = backproject(np.ones((48, 64), np.float32), CAMERA)[0].reshape(48, 64, 3)
    small = backproject(np.ones((24, 32), np.float32), half)[0].reshape(24, 32, 3)
    blocks = corner.reshape(24, 2, 32, 2, 3).mean(axis=(1, 3))  # a small pixel covers four large ones
    assert np.allclose(blocks, small, atol=1e-6)
    with bad_frame("aspect ratio"):
        CAMERA.scaled_to(64, 64)


def test_frame_scales_depth_and_intrinsics_to_the_colour():
    depth = np.arange(1, 13, dtype=np.float32).reshape(3, 4)
    frame = RgbdFrame(np.zeros((6, 8, 3), np.uint8), depth, CAMERA)
    assert frame.depth.shape == (6, 8) and np.array_equal(frame.depth[::2, ::2], depth)
    assert (frame.intrinsics.width, frame.intrinsics.height) == (8, 6)
    assert set(np.unique(frame.depth)) == set(np.unique(depth))  # nearest: no depth that was not measured


@pytest.mark.parametrize(
    ("rgb", "depth", "pose", "message"),
    [
        (np.zeros((48, 64, 4), np.uint8), np.ones((48, 64), np.float32), None, "colour is uint8"),
        (np.zeros((48, 64, 3), np.float32), np.ones((48, 64), np.float32), None, "colour is float32"),
        (np.zeros((48, 64, 3), np.uint8), np.ones((48, 64), np.uint16), None, "decode_depth"),
        (np.zeros((48, 64, 3), np.uint8), np.ones((48, 48), np.float32), None, "not registered"),
        (np.zeros((48, 64, 3), np.uint8), np.ones((48, 64), np.float32), 2 * np.eye(4), "not rigid"),
    ],
)
def test_malformed_frames_are_refused(rgb, depth, pose, message):
    with bad_frame(message):
        RgbdFrame(rgb, depth, CAMERA, pose)


def test_camera_info():
    assert Intrinsics.from_camera_info_arrays(K9, [0.0] * 5, 64, 48) == CAMERA
    assert Intrinsics.from_camera_info_arrays(K9, [0.0] * 4, 64, 48, "equidistant") == CAMERA
    assert Intrinsics.from_camera_info_arrays(K9, [0.1, 0, 0, 0, 0], 64, 48).distortion == (0.1, 0, 0, 0, 0)
    assert np.array_equal(CAMERA.matrix.ravel(), K9)


@pytest.mark.parametrize(
    ("k", "d", "model", "message"),
    [
        ([0.0] * 9, [], "plumb_bob", "not calibrated"),
        (K9[:4], [], "", "expected 9"),
        (K9, [0.1] * 4, "equidistant", "equidistant"),
        ([60.0, 1, *K9[2:]], [], "", "skew"),
        ([60.0, 0, 31.5, 0, np.nan, *K9[5:]], [], "", "fy is nan"),
        ([0.9, 0, 0.5, 0, 0.9, 0.5, 0, 0, 1], [], "", "89.2 degrees to the side"),  # in image widths instead of pixels
        ([60.0, 0, -3e17, 0, *K9[4:]], [], "", "no pinhole camera"),
        ([1e30, *K9[1:]], [], "", "no pinhole camera"),
    ],
)
def test_camera_info_that_cannot_be_used_is_refused(k, d, model, message):
    with bad_frame(message):
        Intrinsics.from_camera_info_arrays(k, d, 64, 48, model)


def test_distortion_that_folds_the_image_is_refused():
    with bad_frame("cannot be undone"):
        backproject(np.ones((48, 64), np.float32), Intrinsics(30, 30, 31.5, 23.5, 64, 48, (-2.0, 3.0, 0, 0)))


def test_points_behind_the_camera_have_no_pixel():
    uv, _ = project(np.array([[0, 0, 1.0], [0, 0, -1.0], [0, 0, 0]]), CAMERA)
    assert uv[0].tolist() == [31.5, 23.5] and np.isnan(uv[1:]).all()


@settings(deadline=None)
@given(poses)
def test_inverse_of_a_pose(pose):
    points = np.random.default_rng(0).normal(size=(20, 3))
    assert is_rigid(pose)
    assert np.allclose(transform_points(invert_pose(pose), transform_points(pose, points)), points, atol=1e-9)
    assert transform_points(pose, points.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("matrix", [np.diag([1, 1, -1, 1]), 1.01 * np.eye(4), np.eye(3), np.full((4, 4), np.nan)])
def test_what_is_not_rigid(matrix):
    assert not is_rigid(matrix)


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    mm = rng.integers(400, 2000, (48, 64)).astype(np.uint16)
    Image.fromarray(mm).save(tmp_path / "d.png")
    np.save(tmp_path / "d.npy", mm * 1e-3)
    (tmp_path / "k.json").write_text(json.dumps(CAMERA.to_dict()))
    (tmp_path / "p.json").write_text(json.dumps(pose_of((0.1, 0.2, 0.3), (1, 2, 3)).tolist()))
    return tmp_path


def test_frames_from_png_and_npy_agree(files):
    png = load_frame(files / "a.png", files / "d.png", "mm", files / "k.json", files / "p.json")
    npy = load_frame(files / "a.png", files / "d.npy", "m", files / "k.json")
    assert png.intrinsics == CAMERA and png.rgb.shape == (48, 64, 3)
    assert np.allclose(png.depth, npy.depth, atol=1e-6)
    assert png.camera_pose[:3, 3].tolist() == [1, 2, 3] and npy.camera_pose is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.png", None, "cannot read the image"),
        ("d.png", b"no png", "cannot read the image"),
        ("k.json", b"{", "cannot read"),
        ("k.json", b'{"fx": 1}', "fx, fy, cx, cy"),
        ("k.json", b"[1]", "fx, fy, cx, cy"),
        ("k.json", b'{"fx":"a","fy":1,"cx":1,"cy":1,"width":1,"height":1}', "numbers"),
        ("k.json", b'{"fx":0,"fy":1,"cx":1,"cy":1,"width":4,"height":3}', "fx is 0"),
        ("p.json", b'{"a": 1}', "4x4"),
        ("p.json", b"[[1, 2], [3]]", "4x4"),
        ("p.json", b"[[1, 2], [3, 4]]", "not rigid"),
    ],
)
def test_broken_files_are_named(files, name, content, message):
    (files / name).unlink() if content is None else (files / name).write_bytes(content)
    with bad_frame(message) as error:
        load_frame(files / "a.png", files / "d.png", "mm", files / "k.json", files / "p.json")
    assert error.value.status is Status.BAD_FRAME
    assert name in error.value.message or message == "not rigid" or name == "k.json"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_read_as_viewers_show_it(files, orientation):
    """Cameras write how they were held into the file, and leave the pixels as the sensor had them."""
    upright = Image.open(files / "a.png")
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}.get(orientation)  # Pillow's transposes that lead back
    stored = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(files / "held.png", exif=exif)
    frame = load_frame(files / "held.png", files / "d.png", "mm", files / "k.json")
    assert (frame.rgb == np.asarray(upright)).all()


@pytest.mark.parametrize("mode", ["uint16", "int32", "float32"])
def test_a_colour_image_of_more_than_8_bits_is_refused(files, mode):
    """It is grey that would be clipped to white, or the depth image in the wrong place."""
    suffix = "png" if mode == "uint16" else "tif"
    Image.fromarray(np.full((6, 8), 1000, mode)).save(files / f"deep.{suffix}")
    with pytest.raises(DropclipError, match=r"bits a channel: is it the depth"):
        load_frame(files / f"deep.{suffix}", files / "d.png", "mm", files / "k.json")


def test_colour_and_depth_in_each_others_place_are_refused(files):
    with pytest.raises(DropclipError, match="is it the depth"):
        load_frame(files / "d.png", files / "a.png", "mm", files / "k.json")
    with pytest.raises(DropclipError, match="expected one channel"):
        load_frame(files / "a.png", files / "a.png", "mm", files / "k.json")


def test_pickled_depth_is_not_opened(files):
    np.save(files / "d.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with bad_frame("cannot read the depth array"):
        load_frame(files / "a.png", files / "d.npy", "m", files / "k.json")
