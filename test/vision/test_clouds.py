# SPDX-License-Identifier: Apache-2.0
"""Point clouds become frames that show the same scene."""

import numpy as np
import pytest

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.tabletop.scene import look
from dropclip_ros.vision.clouds import cloud_frame, load_cloud_frame
from dropclip_ros.vision.geometry import backproject, transform_points


def organised(scene):
    """Points (H W, 3) of a frame, NaN where it has no depth, and its colours."""
    frame = scene.frame
    points, pixels = backproject(frame.depth, frame.intrinsics)
    whole = np.full((frame.depth.size, 3), np.nan, np.float32)
    whole[pixels] = points
    return whole, frame.rgb.reshape(-1, 3)


def test_an_organised_cloud_keeps_its_pixels(make_tabletop):
    scene = make_tabletop(noise=0.001, holes=0.05)
    points, colors = organised(scene)
    frame = cloud_frame(points, colors, scene.frame.depth.shape)
    assert frame.intrinsics.fx == pytest.approx(scene.frame.intrinsics.fx, rel=1e-3)
    np.testing.assert_allclose(frame.depth, scene.frame.depth, atol=1e-6)
    assert (frame.rgb == scene.frame.rgb).all()


@pytest.mark.parametrize("kind", ["camera", "world"])
def test_a_cloud_without_order_shows_what_stands_on_the_table(make_tabletop, kind):
    scene = make_tabletop(noise=0.001)
    points, colors = organised(scene)
    shuffled = np.random.default_rng(0).permutation(np.flatnonzero(np.isfinite(points[:, 0])))
    points, colors = points[shuffled], colors[shuffled]
    if kind == "world":
        points = transform_points(scene.frame.camera_pose, points).astype(np.float32)
    frame = cloud_frame(points, colors, frame=kind)
    top = look(frame.depth, frame.intrinsics, pose=frame.camera_pose)
    things = colors[(scene.labels.ravel()[shuffled] >= 2)]
    seen = frame.rgb.reshape(-1, 3)[top.pixels[top.standing]]
    assert len(seen) > 1000 and (seen[:, None] == np.unique(things, axis=0)).all(-1).any(-1).mean() > 0.95


def test_files_of_clouds(make_tabletop, tmp_path):
    o3d = pytest.importorskip("open3d")
    points, colors = organised(make_tabletop(noise=0.001))
    known = np.isfinite(points[:, 0])
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(1000.0 * points[known]))
    cloud.colors = o3d.utility.Vector3dVector(colors[known] / 255)
    for name in ("a.ply", "a.pcd"):
        o3d.io.write_point_cloud(str(tmp_path / name), cloud)
        frame = load_cloud_frame(tmp_path / name, "mm")
        assert 0.5 < np.median(frame.depth[frame.depth > 0]) < 1.5


@pytest.mark.parametrize("content, words", [(None, "expected a file"), (b"ply\nnonsense", "no points")])
def test_what_is_no_cloud_is_said(tmp_path, content, words):
    path = tmp_path / "a.ply"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DropclipError, match=words) as error:
        load_cloud_frame(path)
    assert error.value.status is Status.BAD_FRAME


def test_a_cloud_behind_the_camera_is_refused():
    with pytest.raises(DropclipError, match="z up"):
        cloud_frame(np.full((10, 3), -1, np.float32))
