# SPDX-License-Identifier: Apache-2.0
"""Messages to arrays and back, what broken messages are answered with, and what the interfaces promise."""

import array
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import ros_support  # noqa: F401  skips where ROS is missing
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.telling import for_peers
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.msg import Status as StatusMessage
from dropclip_ros.ros import messages as m
from dropclip_ros.ros.common import answer_errors
from dropclip_ros.ros.grasp_messages import grasp_array_message, grasps_from_message
from dropclip_ros.srv import Ground
from dropclip_ros.vision.geometry import Intrinsics

ROOT = Path(__file__).resolve().parents[2]
RNG = np.random.default_rng(0)


def status_of(function, *args) -> Status:
    with pytest.raises(DropclipError) as caught:
        function(*args)
    assert caught.value.message
    return caught.value.status


@pytest.mark.parametrize(
    "encoding, order", [("rgb8", [0, 1, 2]), ("bgr8", [2, 1, 0]), ("rgba8", [0, 1, 2, 3]), ("bgra8", [2, 1, 0, 3])]
)
def test_colour_arrives_red_first_whatever_the_encoding(encoding, order):
    rgb = RNG.integers(0, 256, (5, 7, 4), dtype=np.uint8)
    msg = m.image_message(Header(), rgb[:, :, order], encoding)
    assert (m.color_image(msg) == rgb[:, :, :3]).all()


def test_rows_may_be_padded_and_bytes_swapped():
    depth = RNG.integers(1, 5000, (4, 6), dtype=np.uint16)
    padded = np.zeros((4, 20), np.uint8)
    padded[:, :12] = depth.astype(">u2").view(np.uint8)
    msg = m.image_message(Header(), depth, "16UC1")
    msg.step, msg.is_bigendian, msg.data = 20, 1, array.array("B", padded.tobytes())
    assert np.allclose(m.depth_image(msg), depth / 1000.0)
    assert np.allclose(m.depth_image(msg, "0.1mm"), depth / 10000.0)


def test_float_depth_is_in_metres_and_invalid_is_zero():
    depth = np.array([[0.5, np.nan, np.inf], [-1.0, 0.0, 2.0]], np.float32)
    assert m.depth_image(m.image_message(Header(), depth, "32FC1")).tolist() == [[0.5, 0, 0], [0, 0, 2.0]]


@pytest.mark.parametrize(
    "field, value",
    [
        ("encoding", "yuv422"),
        ("height", 9),
        ("width", 100),
        ("step", 3),
        ("data", array.array("B", b"123")),
        ("height", 0),
    ],
)
def test_images_whose_sizes_lie_are_refused(field, value):
    msg = m.image_message(Header(), np.zeros((8, 8, 3), np.uint8), "rgb8")
    setattr(msg, field, value)
    assert status_of(m.color_image, msg) == Status.BAD_FRAME


def test_swapped_topics_are_named():
    color = m.image_message(Header(), np.zeros((8, 8, 3), np.uint8), "rgb8")
    depth = m.image_message(Header(), np.zeros((8, 8), np.uint16), "16UC1")
    assert status_of(m.color_image, depth) == status_of(m.depth_image, color) == Status.BAD_FRAME


def test_camera_info_round_trip_and_refusals():
    intrinsics = Intrinsics(600.0, 601.0, 320.5, 239.5, 640, 480, (0.1, -0.2, 0.001, 0.002, 0.0))
    info = m.camera_info_message(Header(), intrinsics)
    assert m.intrinsics_of(info) == intrinsics
    info.binning_x = 2
    assert status_of(m.intrinsics_of, info) == Status.BAD_FRAME
    info = m.camera_info_message(Header(), intrinsics)
    info.k = np.zeros(9)
    assert status_of(m.intrinsics_of, info) == Status.BAD_FRAME


def test_cloud_round_trip():
    points, colors = RNG.normal(size=(50, 3)).astype(np.float32), RNG.integers(0, 256, (50, 3), dtype=np.uint8)
    msg = m.cloud_message(Header(frame_id="a"), points, colors, np.linspace(0, 1, 50))
    assert [f.name for f in msg.fields] == ["x", "y", "z", "rgb", "score"]
    assert (m.cloud_points(msg) == points).all() and (m.cloud_colors(msg) == colors).all()
    assert np.allclose(m.cloud_to_numpy(msg)["score"], np.linspace(0, 1, 50))


def test_clouds_of_other_makers_are_read():
    """Organised, padded, double precision, with holes: what cameras and PCL send."""
    dtype = np.dtype(
        {
            "names": ["x", "y", "z", "n"],
            "formats": ["<f8", "<f8", "<f8", ("<f4", (2,))],
            "offsets": [0, 8, 16, 24],
            "itemsize": 40,
        }
    )
    cloud = np.zeros((2, 3), dtype)
    cloud["x"] = np.arange(6).reshape(2, 3)
    cloud["z"][1, 2] = np.nan
    fields = [PointField(name=n, offset=8 * i, datatype=PointField.FLOAT64, count=1) for i, n in enumerate("xyz")]
    fields.append(PointField(name="n", offset=24, datatype=PointField.FLOAT32, count=2))
    msg = PointCloud2(
        height=2, width=3, fields=fields, point_step=40, row_step=120, data=array.array("B", cloud.tobytes())
    )
    assert m.cloud_points(msg)[:, 0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("field, value", [("width", 100), ("row_step", 1), ("point_step", 8), ("fields", [])])
def test_clouds_whose_sizes_lie_are_refused(field, value):
    msg = m.cloud_message(Header(), np.zeros((9, 3)), np.zeros((9, 3)), np.zeros(9))
    setattr(msg, field, value)
    assert status_of(m.cloud_points, msg) == Status.BAD_REQUEST


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31 - 1), st.integers(0, 999_999_999))
def test_stamps_survive(sec, nanosec):
    assert m.nanoseconds(m.time_message(sec * 10**9 + nanosec)) == sec * 10**9 + nanosec


def test_grasps_round_trip_and_unsound_ones_are_dropped():
    count = 6
    rotations = Rotation.from_rotvec(RNG.normal(size=(count, 3))).as_matrix()
    places = RNG.normal(size=(count, 3))
    grasps = Grasps(RNG.random(count), *RNG.random((3, count)), rotations, places, np.arange(count))
    msg = grasp_array_message(Header(frame_id="a"), grasps)
    back = grasps_from_message(msg)
    assert np.allclose(back.rows(), grasps.rows(), atol=1e-6)
    tip = msg.grasps[0].tip.position
    assert np.allclose([tip.x, tip.y, tip.z], grasps.tips()[0])
    msg.grasps[1].pose.position.x = float("nan")
    msg.grasps[2].pose.orientation.w = 5.0
    msg.grasps[3].width = -1.0
    assert grasps_from_message(msg).object_id.tolist() == [0, 4, 5]


def test_status_constants_are_the_cores():
    constants = {s.name: getattr(StatusMessage, s.name) for s in Status}
    assert constants == {s.name: s.value for s in Status}
    lines = (ROOT / "msg/Status.msg").read_text().splitlines()
    assert sum("=" in line.split("#")[0] for line in lines) == len(Status)


def test_package_xml_has_sorted_dependencies():
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    assert package.get("format") == "3"
    for kind in ("buildtool_depend", "depend", "exec_depend", "test_depend"):
        names = [e.text for e in package.findall(kind)]
        assert names == sorted(set(names)), kind


@pytest.mark.parametrize("swapped", [False, True])
def test_sensor_msgs_py_reads_and_writes_where_it_is_installed_and_gets_it_right(monkeypatch, swapped):
    """By a stand-in with its two functions: what it would read wrongly, as big-endian clouds, it is not given."""
    asked = []

    def read(msg):
        asked.append("read")
        names = [(field.name, "<f4") for field in msg.fields]
        return np.frombuffer(msg.data, np.dtype(names))

    def write(header, fields, points):
        asked.append("write")
        assert points.dtype.names == tuple(field.name for field in fields)
        return PointCloud2(
            header=header,
            fields=fields,
            height=1,
            width=len(points),
            point_step=20,
            row_step=20 * len(points),
            data=array.array("B", points.tobytes()),
        )

    monkeypatch.setattr(m, "create_cloud", write)
    monkeypatch.setattr(m, "read_points", read)
    points = RNG.normal(size=(7, 3)).astype(np.float32)
    msg = m.cloud_message(Header(frame_id="a"), points, np.full((7, 3), 9, np.uint8), np.ones(7))
    if swapped:
        msg.is_bigendian = True
        msg.data = array.array("B", np.frombuffer(msg.data, "<u4").byteswap().tobytes())
    assert (m.cloud_points(msg) == points).all() and (m.cloud_points(msg) == points).all()
    assert asked == ["write"] + ([] if swapped else ["read", "read"])


def test_peers_are_told_names_of_files_and_not_where_they_lie(tmp_path):
    path = tmp_path / "deep" / "model" / "config.json"
    told = for_peers(f"cannot read {path}: no such file; give '{tmp_path}/other.json' (or ~/mine.yaml)")
    assert told == "cannot read config.json: no such file; give 'other.json' (or mine.yaml)"
    for kept in (
        "no /camera/color/image_raw within 0.5 s",
        "http://host/v1 says no",
        "a/b, 3/4",
        "frame /map is unknown",
    ):
        assert for_peers(kept) == kept


def test_a_bug_is_told_without_what_it_quotes():
    class Served:
        @answer_errors
        def serve(self, request, response):
            raise ValueError("root:x:0:0")

        def get_logger(self):
            return SimpleNamespace(error=self.logged.append)

        context = SimpleNamespace(ok=lambda: True)
        logged: ClassVar[list[str]] = []

    answer = Served().serve(None, Ground.Response())
    assert answer.status == Status.MODEL_ERROR and "ValueError" in answer.message and "root" not in answer.message
    assert "root:x:0:0" in Served.logged[0]
