# SPDX-License-Identifier: Apache-2.0
"""ROS messages to and from the core's arrays. A message that cannot be used raises DropclipError, never less.

sensor_msgs_py reads and writes clouds where it is installed (the PyPI wheels lack it, as they do cv_bridge) and gets
them right.
"""

import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, Quaternion, Transform, TransformStamped, Vector3
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.vision.geometry import Intrinsics, RgbdFrame, decode_depth, same_aspect

try:
    from sensor_msgs_py.point_cloud2 import create_cloud, read_points
except ImportError:
    create_cloud = read_points = None


class _Encoding(NamedTuple):
    dtype: str
    channels: int
    to_rgb: slice | list[int] | None  # which channels are red, green, blue; None: not a colour image


_RGB, _BGR = slice(3), slice(2, None, -1)
_ENCODINGS = {
    "rgb8": _Encoding("u1", 3, _RGB),
    "rgba8": _Encoding("u1", 4, _RGB),
    "bgr8": _Encoding("u1", 3, _BGR),
    "bgra8": _Encoding("u1", 4, _BGR),
    "8UC3": _Encoding("u1", 3, _BGR),
    "mono8": _Encoding("u1", 1, [0, 0, 0]),
    "8UC1": _Encoding("u1", 1, [0, 0, 0]),
    "16UC1": _Encoding("u2", 1, None),
    "mono16": _Encoding("u2", 1, None),
    "32FC1": _Encoding("f4", 1, None),
}
_CLOUD_DTYPE = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("score", "<f4")])
_FIELD_TYPES = {
    PointField.INT8: "i1",
    PointField.UINT8: "u1",
    PointField.INT16: "i2",
    PointField.UINT16: "u2",
    PointField.INT32: "i4",
    PointField.UINT32: "u4",
    PointField.FLOAT32: "f4",
    PointField.FLOAT64: "f8",
}


# --- time ---------------------------------------------------------------------------------------------------


def nanoseconds(stamp: Time) -> int:
    """Nanoseconds since the epoch."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def time_message(ns: int) -> Time:
    """The inverse of `nanoseconds`."""
    sec, nanosec = divmod(ns, 1_000_000_000)
    return Time(sec=sec, nanosec=nanosec)


# --- images -------------------------------------------------------------------------------------------------


def image_to_numpy(msg: Image, what: str = "image", encodings: Sequence[str] = tuple(_ENCODINGS)) -> np.ndarray:
    """Pixels as (H, W) or (H, W, C), a view of the message where its byte order allows; `what` is its name in errors.

    Raises BAD_FRAME for an encoding that is not one of `encodings` and for sizes that the data does not bear out.
    """
    if msg.encoding not in encodings:
        raise DropclipError(
            Status.BAD_FRAME,
            f"the {what} has encoding {msg.encoding!r:.40}; publish one of {', '.join(encodings)}"
            + ("; are the colour and the depth topic swapped?" if msg.encoding in _ENCODINGS else ""),
        )
    encoding = _ENCODINGS[msg.encoding]
    dtype = np.dtype(encoding.dtype).newbyteorder(">" if msg.is_bigendian else "<")
    row = msg.width * encoding.channels * dtype.itemsize
    if msg.height == 0 or msg.width == 0:
        raise DropclipError(Status.BAD_FRAME, f"the {what} is empty ({msg.width}x{msg.height}); is the camera set up?")
    if msg.step < row:
        raise DropclipError(
            Status.BAD_FRAME,
            f"the {what} has rows (step) of {msg.step} bytes, but {msg.width} pixels "
            f"of {msg.encoding} need {row}; its driver or a converter fills in the message wrongly",
        )
    if msg.step * msg.height > len(msg.data):
        raise DropclipError(
            Status.BAD_FRAME,
            f"the {what} is truncated: {msg.height} rows of {msg.step} bytes are "
            f"{msg.step * msg.height} bytes, but it has {len(msg.data)}; its driver or a converter loses the rest",
        )
    pixels = np.ndarray(
        (msg.height, msg.width, encoding.channels),
        dtype,
        buffer=msg.data,
        strides=(msg.step, encoding.channels * dtype.itemsize, dtype.itemsize),
    )
    return pixels if encoding.channels > 1 else pixels[:, :, 0]


def color_image(msg: Image) -> np.ndarray:
    """A colour or grey image as contiguous uint8 (H, W, 3), red first; rgb8 as a view of the message."""
    pixels = image_to_numpy(msg, "colour image", [name for name, e in _ENCODINGS.items() if e.to_rgb])
    return np.ascontiguousarray(np.atleast_3d(pixels)[:, :, _ENCODINGS[msg.encoding].to_rgb])


def depth_image(msg: Image, unit: str = "mm") -> np.ndarray:
    """A depth image as float32 (H, W) metres, 0 where invalid. 32FC1 is in metres, whole numbers in `unit`."""
    pixels = image_to_numpy(msg, "depth image", [name for name, e in _ENCODINGS.items() if not e.to_rgb])
    return decode_depth(pixels, "m" if msg.encoding == "32FC1" else unit)


def image_message(header: Header, pixels: np.ndarray, encoding: str) -> Image:
    """(H, W[, C]) of the encoding's type, as a message."""
    pixels = np.ascontiguousarray(pixels, np.dtype(_ENCODINGS[encoding].dtype).newbyteorder("<"))
    return Image(
        header=header,
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        step=pixels.strides[0],
        data=_bytes(pixels),
    )


def _bytes(values: np.ndarray) -> array.array:
    data = array.array("B")  # only this type takes the quick path of the generated setter
    data.frombytes(values.reshape(-1).view(np.uint8).data)
    return data


# --- camera -------------------------------------------------------------------------------------------------


def intrinsics_of(info: CameraInfo) -> Intrinsics:
    """Intrinsics of a CameraInfo; BAD_FRAME where it is uncalibrated, distorted beyond use, binned or cropped."""
    roi = info.roi
    cropped = (roi.width, roi.height) not in ((0, 0), (info.width, info.height)) or roi.x_offset or roi.y_offset
    if info.binning_x > 1 or info.binning_y > 1 or cropped:
        raise DropclipError(
            Status.BAD_FRAME,
            "CameraInfo describes a binned image or a region of interest, which is "
            "not supported; publish the CameraInfo of the image as it is",
        )
    return Intrinsics.from_camera_info_arrays(info.k, info.d, info.width, info.height, info.distortion_model)


def camera_info_message(header: Header, intrinsics: Intrinsics) -> CameraInfo:
    """The CameraInfo that `intrinsics_of` reads back."""
    k = intrinsics.matrix
    d = [float(v) for v in intrinsics.distortion]
    return CameraInfo(
        header=header,
        width=intrinsics.width,
        height=intrinsics.height,
        d=d or [0.0] * 5,
        distortion_model="rational_polynomial" if len(d) == 8 else "plumb_bob",
        k=k.ravel(),
        r=np.eye(3).ravel(),
        p=np.hstack([k, np.zeros((3, 1))]).ravel(),
    )


def misfit(color: Image | None, depth: Image, info: CameraInfo) -> str:
    """'' or, in words, why depth, colour and CameraInfo are not of one camera, or not registered to each other."""
    image, what = (depth, "depth image") if color is None else (color, "colour image")
    frames = {"colour image": color, "depth image": depth, "CameraInfo": info}
    without = [name for name, msg in frames.items() if msg is not None and not _frame(msg)]
    if without:
        return f"the {' and the '.join(without)} have no frame_id: set it in the camera's driver"
    if not same_frame(depth, image):
        return (
            f"depth is in {depth.header.frame_id!r:.60} and colour in {image.header.frame_id!r:.60}: they are not "
            "registered. Use the aligned depth (align_depth.enable:=true of realsense2_camera, depth_registration of "
            "others, or the register node of depth_image_proc) with the colour's CameraInfo"
        )
    if not same_frame(info, image):
        return (
            f"the {what} is in {image.header.frame_id!r:.60} and CameraInfo in {info.header.frame_id!r:.60}: it is of "
            "another camera. Remap camera/color/camera_info to that of the colour image"
        )
    if color is not None and not _same_shape(depth, color):
        return (
            f"depth is {depth.width}x{depth.height} and colour {color.width}x{color.height}, another aspect ratio, so "
            "they are not registered. Use the depth aligned to colour (align_depth.enable:=true)"
        )
    if not _same_shape(info, image):
        return (
            f"the {what} is {image.width}x{image.height} and CameraInfo of {info.width}x{info.height}, another aspect "
            "ratio. Use the CameraInfo of the colour image"
        )
    return ""


def _frame(msg: Image | CameraInfo) -> str:
    return msg.header.frame_id.lstrip("/")


def same_frame(a: Image | CameraInfo, b: Image | CameraInfo) -> bool:
    """Whether two are of one frame, with ROS 1's slash or without."""
    return _frame(a) == _frame(b)


def _same_shape(a: Image | CameraInfo, b: Image | CameraInfo) -> bool:
    """Whether the aspect ratios are the same; of sizes that no image has, others complain."""
    sizes = (a.width, a.height, b.width, b.height)
    return not all(0 < size < 10**5 for size in sizes) or same_aspect(sizes[:2], sizes[2:])


def rgbd_frame(
    color: Image, depth: Image, info: CameraInfo, depth_unit: str = "mm", camera_pose: np.ndarray | None = None
) -> RgbdFrame:
    """The core's frame: rgb, depth in metres, intrinsics, stamp of the colour image in seconds.

    The colours of a cloud may be no picture (`points.CloudImages`).
    """
    return RgbdFrame(
        color_image(color),
        depth_image(depth, depth_unit),
        intrinsics_of(info),
        camera_pose,
        nanoseconds(color.header.stamp) / 1e9,
        getattr(color, "picture", True),
    )


# --- clouds -------------------------------------------------------------------------------------------------


def cloud_message(header: Header, points: np.ndarray, colors: np.ndarray, scores: np.ndarray) -> PointCloud2:
    """points (N, 3) m, colors uint8 (N, 3), scores (N,), as x y z rgb score of 20 bytes a point."""
    cloud = np.empty(len(points), _CLOUD_DTYPE)
    cloud["x"], cloud["y"], cloud["z"] = np.asarray(points).T
    red, green, blue = np.asarray(colors, np.uint32).T
    cloud["rgb"] = red << 16 | green << 8 | blue
    cloud["score"] = scores
    # rgb is declared FLOAT32 though it holds packed bytes: the convention of PCL and RViz
    fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate(_CLOUD_DTYPE.names or ())
    ]
    if create_cloud is not None:
        made = create_cloud(header, fields, cloud.view([(name, "<f4") for name in _CLOUD_DTYPE.names or ()]))
        made.is_dense = True
        return made
    return PointCloud2(
        header=header,
        height=1,
        width=len(cloud),
        fields=fields,
        is_bigendian=False,
        is_dense=True,
        point_step=cloud.itemsize,
        row_step=cloud.nbytes,
        data=_bytes(cloud),
    )


def cloud_to_numpy(msg: PointCloud2) -> np.ndarray:
    """(H, W) structured view of a cloud, a name a field. BAD_REQUEST where its sizes contradict each other."""
    end = max(
        (f.offset + np.dtype(_FIELD_TYPES.get(f.datatype, "f8")).itemsize * max(f.count, 1) for f in msg.fields),
        default=0,
    )
    if (
        any(f.datatype not in _FIELD_TYPES for f in msg.fields)
        or not 0 < end <= msg.point_step
        or len({f.name for f in msg.fields}) < len(msg.fields)
        or msg.row_step < msg.width * msg.point_step
        or msg.row_step * msg.height > len(msg.data)
    ):
        raise DropclipError(
            Status.BAD_REQUEST,
            f"the cloud says {msg.width}x{msg.height} points of {msg.point_step} bytes in rows of "
            f"{msg.row_step}, but has {len(msg.data)} bytes, or fields that do not fit in a point",
        )
    # sensor_msgs_py turns the bytes of a big-endian message itself, and knows neither padding nor fields of several
    plain = (
        not msg.is_bigendian and msg.row_step == msg.width * msg.point_step and all(f.count <= 1 for f in msg.fields)
    )
    if read_points is not None and plain and all(f.name for f in msg.fields):
        return read_points(msg).reshape(msg.height, msg.width)
    order = ">" if msg.is_bigendian else "<"
    dtype = np.dtype(
        {
            "names": [f.name for f in msg.fields],
            "offsets": [f.offset for f in msg.fields],
            "itemsize": msg.point_step,
            "formats": [
                order + _FIELD_TYPES[f.datatype] if f.count <= 1 else (order + _FIELD_TYPES[f.datatype], f.count)
                for f in msg.fields
            ],
        }
    )
    return np.ndarray((msg.height, msg.width), dtype, buffer=msg.data, strides=(msg.row_step, msg.point_step))


def cloud_points(msg: PointCloud2) -> np.ndarray:
    """The finite points of a cloud, float32 (N, 3)."""
    cloud = cloud_to_numpy(msg).ravel()
    if not {"x", "y", "z"} <= set(cloud.dtype.names or ()):
        raise DropclipError(Status.BAD_REQUEST, "the cloud needs the fields x, y and z")
    if any(cloud[name].ndim > 1 for name in "xyz"):
        raise DropclipError(Status.BAD_REQUEST, "the cloud's fields x, y and z must have count 1: one number a point")
    points = np.stack([cloud[name].astype(np.float32) for name in "xyz"], axis=1)
    return points[np.isfinite(points).all(axis=1)]


def cloud_colors(msg: PointCloud2) -> np.ndarray:
    """The colours of a cloud that `cloud_message` made, uint8 (N, 3)."""
    return unpacked_colors(cloud_to_numpy(msg)["rgb"])


def unpacked_colors(values: np.ndarray) -> np.ndarray:
    """uint8 (N, 3), red first, of N values of four bytes, 0xAARRGGBB, whatever type they are said to have."""
    word = np.ascontiguousarray(values.ravel())
    packed = word.astype(word.dtype.newbyteorder("="), copy=False).view(np.uint32)
    return np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=1).astype(np.uint8)


# --- poses --------------------------------------------------------------------------------------------------


def point_message(xyz: Sequence[float] | np.ndarray) -> Point:
    x, y, z = (float(v) for v in xyz)
    return Point(x=x, y=y, z=z)


def vector_message(xyz: Sequence[float] | np.ndarray) -> Vector3:
    x, y, z = (float(v) for v in xyz)
    return Vector3(x=x, y=y, z=z)


def _quaternion(matrix: np.ndarray) -> Quaternion:
    x, y, z, w = (float(v) for v in Rotation.from_matrix(matrix[:3, :3]).as_quat())
    return Quaternion(x=x, y=y, z=z, w=w)


def pose_message(matrix: np.ndarray) -> Pose:
    """A rigid 4x4 as a pose."""
    return Pose(position=point_message(matrix[:3, 3]), orientation=_quaternion(matrix))


def transform_message(stamp: Time, parent: str, child: str, matrix: np.ndarray) -> TransformStamped:
    """parent_from_child, 4x4, as TF carries it."""
    return TransformStamped(
        header=Header(stamp=stamp, frame_id=parent),
        child_frame_id=child,
        transform=Transform(translation=vector_message(matrix[:3, 3]), rotation=_quaternion(matrix)),
    )


def pose_matrix(position: Point | Vector3, orientation: Quaternion) -> np.ndarray:
    """The rigid 4x4 of a pose or transform; ValueError where the quaternion is zero or not finite."""
    q = np.array([orientation.x, orientation.y, orientation.z, orientation.w])
    if not np.isfinite(q).all():
        raise ValueError(f"quaternion {q.tolist()} is not finite")
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat(q).as_matrix()
    matrix[:3, 3] = position.x, position.y, position.z
    return matrix
