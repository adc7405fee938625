# SPDX-License-Identifier: Apache-2.0
"""Pictures and clouds: what must be visible in them, and that they are whole."""

import time
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropclip_ros.draw import Shown, draw_result, draw_segments, letters, write_ply
from dropclip_ros.draw.colours import AMBER, distinct_colours, oklab
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
    plain = draw_result(rgb, CAMERA, scores, [Shown(mask)], title="“cup”: FOUND")
    held = draw_result(rgb, CAMERA, scores, [Shown(mask)], grasps(3), title="“cup”: FOUND")
    assert plain.dtype == np.uint8 and plain.shape[1:] == (1400, 3) and held.shape == plain.shape
    assert near(plain, (0x1A, 0x7F, 0x37)) > 20000  # the green band
    outline = tuple(np.round(255 * distinct_colours(1, [np.full((1, 3), 128 / 255)])[0]))
    assert near(plain, outline) > 300 and near(held, outline) > 300 + near(plain, outline)  # and the grasps
    right, left = plain[60:, 700:1325], plain[60:, 16:666]
    red = [side[..., 0].astype(int) - side[..., 1:].max(-1) > 80 for side in (left, right)]
    assert 1000 < red[1].sum() < 0.2 * red[1].size and not red[0].any()


def test_not_found_is_red_and_has_no_outline(scene):
    rgb, scores, _ = scene
    picture = draw_result(rgb, CAMERA, scores, [], title="NOT FOUND")
    assert near(picture, (0xCF, 0x22, 0x2E)) > 20000
    assert near(picture, (0x1A, 0x7F, 0x37)) == 0


def test_nothing_is_warned_of_where_letters_are_foreign(scene):
    rgb, scores, mask = scene
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_result(rgb, CAMERA, scores, [Shown(mask)], title="红 คัพ कप")
        draw_segments(rgb, mask.astype(int), {"1": "红色的杯子"})


def test_odd_titles_grasps_behind_the_camera_and_empty_scores_are_drawn(scene):
    rgb, scores, mask = scene
    for title in ("$5 _toy_ {x} \\frac", "x" * 500, ""):
        draw_result(rgb, CAMERA, np.full_like(scores, np.nan), [Shown(mask)], grasps(5, depth=-0.5), title=title)


def test_the_input_is_left_alone_and_checked(scene):
    rgb, scores, mask = scene
    copies = rgb.copy(), scores.copy(), mask.copy()
    draw_result(rgb, CAMERA, scores, [Shown(mask)], title="x")
    for before, after in zip(copies, scene, strict=True):
        np.testing.assert_array_equal(before, after)
    with pytest.raises(ValueError, match="size"):
        draw_result(rgb, CAMERA, scores[:-1], [Shown(mask)], title="x")


def test_a_picture_takes_less_than_a_second():
    rgb, scores = np.zeros((480, 640, 3), np.uint8), np.random.default_rng(0).random((480, 640), dtype=np.float32)
    camera = CAMERA.scaled_to(640, 480)
    draw_result(rgb, camera, scores, [Shown(scores > 0.9)], grasps(3), title="warm")
    start = time.process_time()
    draw_result(rgb, camera, scores, [Shown(np.arange(480)[:, None] + np.arange(640) < 300)], grasps(3), title="x")
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


def test_what_is_doubtful_is_amber_and_each_grasp_bears_its_object(scene):
    rgb, scores, mask = scene
    other = np.roll(mask, 60, axis=1)
    amber = (0xBF, 0x6F, 0x00)
    sure = draw_result(rgb, CAMERA, scores, [Shown(mask, 0.9), Shown(other, 0.8)], title="x")
    doubt = draw_result(rgb, CAMERA, scores, [Shown(mask, 0.9, doubtful=True), Shown(other, 0.8)], title="x")
    assert near(sure, amber, 3) == 0 and near(doubt, amber, 3) > 20000
    half = draw_result(rgb, CAMERA, scores, [Shown(mask, 0.9), Shown(other, 0.8, doubtful=True)], title="x")
    assert near(half, (0x1A, 0x7F, 0x37)) > 20000 and 100 < near(half, amber, 3) < 5000  # its outline, not the band
    first, second = (
        draw_result(rgb, CAMERA, scores, [Shown(mask), Shown(other)], grasps(1), of=[k], title="x") for k in (0, 1)
    )
    assert (first != second).any()  # another letter, another colour


@given(
    st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=12),
)
def test_colours_stay_apart_from_what_they_mark_from_each_other_and_from_amber(objects):
    own = [np.array([colour]) / 255 for colour in objects]
    found = distinct_colours(len(objects), own)
    assert found.shape == (len(objects), 3) and found.min() >= 0 and found.max() <= 1
    places = oklab(found)
    for i, colour in enumerate(own):
        assert np.linalg.norm(places[i] - oklab(colour)) > 0.15
        assert np.linalg.norm(places[i] - oklab(np.array(AMBER))) > 0.1
        assert all(np.linalg.norm(places[i] - places[k]) > 0.05 for k in range(i))


def made_font(path, letters: str) -> None:
    """A font of our own: a square for each letter."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    names = [".notdef", *(f"g{k}" for k in range(len(letters)))]
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for corner in ((100, 700), (800, 700), (800, 0)):
        pen.lineTo(corner)
    pen.closePath()
    glyph, font = pen.glyph(), FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(names)
    font.setupCharacterMap({ord(letter): name for letter, name in zip(letters, names[1:], strict=True)})
    font.setupGlyf(dict.fromkeys(names, glyph))
    font.setupHorizontalMetrics(dict.fromkeys(names, (900, 100)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Dropclip Unifont Test", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(path)


def test_letters_of_a_script_are_drawn_where_a_font_has_them_and_named_where_none_has(scene, tmp_path, monkeypatch):
    import matplotlib.font_manager as fonts

    rgb, scores, mask = scene
    letter = "\U00010330"  # Gothic ahsa
    monkeypatch.setattr(fonts.fontManager, "ttflist", [e for e in fonts.fontManager.ttflist if "DejaVu" in e.name])
    monkeypatch.setattr(fonts, "findSystemFonts", lambda: [])
    letters.forget()
    assert "GOTHIC" in letters.missing(letter) and "\\U00010330" in letters.missing(letter)
    assert letters.writable(f"a{letter} ж") == "a\\U00010330 ж" and letters.missing("ж é العربية") == ""
    numbered = draw_result(rgb, CAMERA, scores, [Shown(mask)], title=letter)
    made_font(tmp_path / "made.ttf", letter)
    monkeypatch.setattr(fonts, "findSystemFonts", lambda: [str(tmp_path / "made.ttf")])
    letters.forget()
    assert letters.missing(letter) == "" and letters.families(letter)[1:] == ["Dropclip Unifont Test"]
    assert (numbered != draw_result(rgb, CAMERA, scores, [Shown(mask)], title=letter)).any()
    letters.forget()
