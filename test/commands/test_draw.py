# SPDX-License-Identifier: Apache-2.0
"""Pictures and clouds: what must be visible in them, and that they are whole."""

import time
import warnings

import numpy as np
import pytest

from dropclip_ros.draw import draw_result, draw_segments, write_ply
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.vision.geometry import Intrinsics

CAMERA = Intrinsics(300.0, 300.0, 159.5, 119.5, 320, 240)


@pytest.fixture
def scene():
    rgb = np.full((240, 320, 3), 128, dtype=np.uint8)
    mask = np.zeros((240, 320), dtype=bool)
    mask[100:140, 140:180] = True
    scores = np.full((240, 320), np.nan, dtype=np.float32)
    scores[80:160, 60:260] = 0.1
    scores[mask] = 0.95
    return rgb, scores, mask


def grasps(count: int, depth: float = 0.9) -> Grasps:
    rotation = np.tile([[0.0, 1, 0], [1, 0, 0], [0, 0, -1]], (count, 1, 1))  # approach down the image, closing across
    ones = np.ones(count)
    translation = np.column_stack([0.02 * np.arange(count), 0 * ones, depth * ones])
    return Grasps(ones, 0.08 * ones, 0.02 * ones, 0.02 * ones, rotation, translation, np.arange(count))


def near(image: np.ndarray, colour: tuple, tolerance: int = 30) -> int:
    return int((np.abs(image.astype(int) - colour).max(axis=2) < tolerance).sum())


def test_the_picture_shows_verdict_outline_grasps_and_heat(scene):
    rgb, scores, mask = scene
    plain = draw_result(rgb, CAMERA, scores, mask, title="“cup”: FOUND")
    held = draw_result(rgb, CAMERA, scores, mask, grasps(3), title="“cup”: FOUND")
    assert plain.dtype == np.uint8 and plain.shape[1:] == (1400, 3) and held.shape == plain.shape
    assert near(plain, (0x1A, 0x7F, 0x37)) > 20000  # the green band
    assert near(plain, (0x00, 0xE5, 0xFF)) > 300  # the outline
    assert near(held, (0xFF, 0xD4, 0x00)) > 300 + near(plain, (0xFF, 0xD4, 0x00))  # the best grasp
    right, left = plain[60:, 700:1325], plain[60:, 16:666]
    red = (right[..., 0].astype(int) - right[..., 2]) > 100
    assert 1000 < red.sum() < 0.2 * red.size and not ((left[..., 0].astype(int) - left[..., 2]) > 100).any()


def test_not_found_is_red_and_has_no_outline(scene):
    rgb, scores, mask = scene
    picture = draw_result(rgb, CAMERA, scores, np.zeros_like(mask), title="NOT FOUND")
    assert near(picture, (0xCF, 0x22, 0x2E)) > 20000 and near(picture, (0x00, 0xE5, 0xFF), 10) < 50


def test_letters_that_the_font_lacks_are_numbers_and_nothing_is_warned_of(scene):
    rgb, scores, mask = scene
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        foreign = draw_result(rgb, CAMERA, scores, mask, title="红")
        draw_segments(rgb, mask.astype(int), {"1": "红色的杯子"})
    assert (foreign == draw_result(rgb, CAMERA, scores, mask, title="\\u7ea2")).all()


def test_odd_titles_grasps_behind_the_camera_and_empty_scores_are_drawn(scene):
    rgb, scores, mask = scene
    for title in ("$5 _toy_ {x} \\frac", "x" * 500, ""):
        draw_result(rgb, CAMERA, np.full_like(scores, np.nan), mask, grasps(5, depth=-0.5), title=title)


def test_the_input_is_left_alone_and_checked(scene):
    rgb, scores, mask = scene
    copies = rgb.copy(), scores.copy(), mask.copy()
    draw_result(rgb, CAMERA, scores, mask, title="x")
    for before, after in zip(copies, scene, strict=True):
        np.testing.assert_array_equal(before, after)
    with pytest.raises(ValueError, match="size"):
        draw_result(rgb, CAMERA, scores[:-1], mask, title="x")


def test_a_picture_takes_less_than_a_second():
    rgb, scores = np.zeros((480, 640, 3), np.uint8), np.random.default_rng(0).random((480, 640), dtype=np.float32)
    camera = CAMERA.scaled_to(640, 480)
    draw_result(rgb, camera, scores, scores > 0.9, grasps(3), title="warm")
    start = time.process_time()
    draw_result(rgb, camera, scores, np.arange(480)[:, None] + np.arange(640) < 300, grasps(3), title="x")
    assert time.process_time() - start < 1.0


def test_segments_are_tinted_each_in_its_own_colour(scene):
    rgb, _, mask = scene
    labels = np.where(mask, 1, 0).astype(np.uint16)
    labels[:20] = 2
    picture = draw_segments(rgb, labels, {"1": "cup", "2": "bowl", "3": "absent"})
    panel = picture[70 : 70 + int(924 * 0.75), 16:940]
    scale = panel.shape[1] / 320
    seen = {tuple(panel[int(v * scale), int(u * scale)]) for u, v in ((160, 120), (50, 10), (50, 200))}
    assert len(seen) == 3
    with pytest.raises(ValueError, match="without a name"):
        draw_segments(rgb, labels, {"1": "cup"})
    draw_segments(rgb, np.zeros_like(labels), {})


def test_ply_keeps_points_colours_and_scores(tmp_path):
    import open3d as o3d

    rng = np.random.default_rng(0)
    points, colors = rng.normal(size=(50, 3)), rng.integers(0, 256, (50, 3), dtype=np.uint8)
    scores = rng.random(50)
    write_ply(tmp_path / "cloud.ply", points, colors, scores)
    assert [p.name for p in tmp_path.iterdir()] == ["cloud.ply"]
    header = (tmp_path / "cloud.ply").read_bytes()[:500].decode("latin1")
    assert "binary_little_endian" in header and "property uchar red" in header and "score" in header
    cloud = o3d.t.io.read_point_cloud(str(tmp_path / "cloud.ply"))
    np.testing.assert_allclose(cloud.point.positions.numpy(), points, atol=1e-6)
    np.testing.assert_array_equal(cloud.point.colors.numpy(), colors)
    np.testing.assert_allclose(cloud.point.score.numpy().ravel(), scores, atol=1e-6)
    write_ply(tmp_path / "cloud.ply", points[:5], colors[:5], scores[:5])  # over an older one
    with pytest.raises(ValueError, match="uint8"):
        write_ply(tmp_path / "other.ply", points, colors / 255, scores)
    with pytest.raises(OSError):
        write_ply(tmp_path / "missing" / "cloud.ply", points, colors, scores)
