# SPDX-License-Identifier: Apache-2.0
"""A camera that gives point clouds alone: organised or not, in whatever fields; and what RViz shows of the region."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.node import Node
from rclpy.parameter import Parameter
from ros_support import OPTICAL_FRAME, ros, wait_until  # noqa: F401  the fixture
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.ros.camera import listener as camera
from dropclip_ros.ros.camera.listener import CameraListener
from dropclip_ros.ros.camera.points import CloudImages, frame_of
from dropclip_ros.ros.common import CAMERA_QOS, POINTS_TOPIC, Settings
from dropclip_ros.ros.markers import region_markers
from dropclip_ros.ros.messages import pose_matrix, rgbd_frame
from dropclip_ros.ros.table_settings import SETTINGS, workspace_of
from dropclip_ros.tabletop.workspace import Workspace
from dropclip_ros.vision.geometry import Intrinsics, RgbdFrame, backproject, transform_points


def zivid(frame: RgbdFrame, organised: bool = True, packed: str = "rgba", header: Header | None = None) -> PointCloud2:
    """A frame as Zivid's driver sends it: x y z and a word of colours, NaN where nothing is known."""
    points, pixels = backproject(frame.depth, frame.intrinsics)
    fields = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), *([(packed, "<u4")] if packed else [])]
    cloud = np.zeros(frame.depth.size if organised else len(points), fields)
    place = pixels if organised else np.arange(len(points))
    for axis, name in enumerate("xyz"):
        cloud[name] = np.nan
        cloud[name][place] = points[:, axis]
    if packed:
        red, green, blue = frame.rgb.reshape(-1, 3)[slice(None) if organised else pixels].astype(np.uint32).T
        cloud[packed] = 255 << 24 | red << 16 | green << 8 | blue
    height, width = frame.depth.shape if organised else (1, len(points))
    kinds = {"<f4": PointField.FLOAT32, "<u4": PointField.UINT32}
    return PointCloud2(
        header=header or Header(frame_id=OPTICAL_FRAME),
        height=height,
        width=width,
        fields=[PointField(name=n, offset=4 * i, datatype=kinds[k], count=1) for i, (n, k) in enumerate(fields)],
        point_step=cloud.itemsize,
        row_step=cloud.itemsize * width,
        data=cloud.tobytes(),
    )


@pytest.fixture(scope="module")
def seen(make_tabletop) -> RgbdFrame:
    return make_tabletop(noise=0.001, size=(160, 120)).frame


def test_an_organised_cloud_keeps_its_pixels_colours_and_camera(seen):
    images = CloudImages(zivid(seen))
    frame = rgbd_frame(images.color, images.depth, images.info)
    assert (frame.rgb == seen.rgb).all() and frame.picture
    np.testing.assert_allclose(frame.depth, seen.depth, atol=1e-6)
    np.testing.assert_allclose(frame.intrinsics.matrix, seen.intrinsics.matrix, rtol=1e-3)


@pytest.mark.parametrize("packed", ["rgb", ""])
def test_a_cloud_that_is_not_organised_is_drawn_and_is_no_picture(seen, packed):
    frame = frame_of(zivid(seen, organised=False, packed=packed))
    there, _ = backproject(seen.depth, seen.intrinsics)
    points, _ = backproject(frame.depth, frame.intrinsics)
    assert not frame.picture and len(points) > 0.3 * len(there)
    assert np.abs(np.percentile(points, (5, 95), 0) - np.percentile(there, (5, 95), 0)).max() < 0.02


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda msg: msg.fields.pop(2), "expected x, y and z"),
        (lambda msg: setattr(msg, "point_step", 400), "fields that do not fit|has"),
        (lambda msg: setattr(msg, "data", bytes(len(msg.data))), "none is finite and before the camera"),
    ],
)
def test_a_cloud_that_cannot_be_used_is_a_bad_frame(seen, spoil, words):
    msg = zivid(seen)
    spoil(msg)
    images = CloudImages(msg)  # that there is something wrong shows when somebody looks
    with pytest.raises(DropclipError, match=words) as error:
        rgbd_frame(images.color, images.depth, images.info)
    assert error.value.status is Status.BAD_FRAME


def test_clouds_are_frames_of_the_camera_over_dds(ros, seen):
    told = [Parameter("transport", value="points"), Parameter("reliable", value=True)]
    node = ros.serve(Node("scanner_client", parameter_overrides=told))
    listener = CameraListener(node, Settings(node, camera.SETTINGS))
    with pytest.raises(DropclipError, match=f"{POINTS_TOPIC}.*PointCloud2"):
        listener.newest()
    publisher = ros.node.create_publisher(PointCloud2, POINTS_TOPIC, CAMERA_QOS)
    wait_until(lambda: publisher.get_subscription_count() > 0)
    header = Header(stamp=ros.node.get_clock().now().to_msg(), frame_id=OPTICAL_FRAME)
    publisher.publish(zivid(seen, header=header))
    captured = listener.at(header.stamp)
    assert captured.header == header
    assert (rgbd_frame(captured.color, captured.depth, captured.info).rgb == seen.rgb).all()
    ros.stop(node)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_the_region_is_shown_where_it_is(seed, posed):
    rng = np.random.default_rng(seed)
    pose = np.eye(4)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    pose[:3, :3], pose[:3, 3] = rotation * np.linalg.det(rotation), rng.normal(size=3)
    low = rng.uniform(-1, 0, 3)
    high = low + rng.uniform(0.1, 1, 3)
    workspace = Workspace(low=tuple(low), high=tuple(high), height=0.1, polygon=((10, 10), (90, 20), (50, 70)))
    lens = Intrinsics(100, 100, 49.5, 39.5, 100, 80)
    clear, *shown = region_markers(Header(), workspace, lens, pose if posed else None).markers
    assert clear.action == Marker.DELETEALL and [m.ns for m in shown] == ["region", "table", "polygon"]
    box = pose_matrix(shown[0].pose.position, shown[0].pose.orientation)
    half = np.array([shown[0].scale.x, shown[0].scale.y, shown[0].scale.z]) / 2
    corners = transform_points((pose if posed else np.eye(4)) @ box, np.stack([-half, half]))
    np.testing.assert_allclose(np.sort(corners, axis=0), [low, high], atol=1e-6)
    flat = pose_matrix(shown[1].pose.position, shown[1].pose.orientation)
    assert abs(transform_points((pose if posed else np.eye(4)) @ flat, np.array([0.3, -0.2, 0.0]))[2] - 0.1) < 1e-6
    assert len(shown[2].points) == 12
    assert not region_markers(Header(), Workspace(), lens, None).markers[1:]


def test_a_known_height_is_a_parameter():
    values = {s.name: s.default for s in SETTINGS}
    assert workspace_of(values).height is None
    assert workspace_of(values | {"table.height": 0.0}).height == 0.0
    with pytest.raises(ValueError, match="no plane beside it"):
        workspace_of(values | {"table.height": 0.0, "table.plane": [0.0, 0.0, 1.0, 0.0]})
