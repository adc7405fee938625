# SPDX-License-Identifier: Apache-2.0
"""What `benchmarks.ros.fuzz` does to messages: by name, functions of a random state that spoil a part of a good one."""

from __future__ import annotations

import array
import math
import random
import unicodedata

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Quaternion, Vector3
from sensor_msgs.msg import PointCloud2, PointField

from benchmarks.ros.live import ABSENT, OPTICAL_FRAME, PRESENT
from dropclip_ros.msg import Grasp
from dropclip_ros.ros.common import TABLE_FRAME
from dropclip_ros.ros.messages import image_message
from dropclip_ros.srv import MatchGrasps

NUMBERS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-30, 1e-300, 1e-3, 1e3, 1e6, 1e30, 1e300, -1e30, math.nan, math.inf, -math.inf)
WHOLE = (0, 1, 2, 3, 7, 95, 96, 97, 127, 128, 129, 255, 256, 384, 640, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
ENCODINGS = (
    "rgb8",
    "bgr8",
    "rgba8",
    "bgra8",
    "mono8",
    "8UC1",
    "8UC3",
    "16UC1",
    "mono16",
    "32FC1",
    "bayer_rggb8",
    "",
    "RGB8",
    "yuv422",
    "64FC1",
    "16UC3",
    "32FC1\n",
)
ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz ",
    "aAéßİıﬁ",
    "红色的杯子",
    "كوب أحمر",
    "🥤🍌👩‍👩‍👧",
    "a\u0301\u0308\u20dd",
    "\u202e\u200b\ufeff ",
    "\t\n\r\x00\x07\x1b\x7f\x85",
    " \u00a0\u3000",
    "{}[]()%s\\'\"<>&;$`",
    "0123456789.-e",
)


def number(r: random.Random) -> float:
    return r.choice(NUMBERS) if r.random() < 0.7 else r.uniform(-1, 1) * 10 ** r.uniform(-6, 6)


def float32(r: random.Random) -> float:
    value = number(r)
    return value if not math.isfinite(value) or abs(value) < 3e38 else math.copysign(3e38, value)


def text(r: random.Random) -> str:
    """Any unicode that a ROS string carries."""
    length = r.choice((0, 1, 2, 5, 20, 60, 255, 256, 257)) if r.random() < 0.98 else 10_000
    if r.random() < 0.3:
        points = (r.randrange(0x110000) for _ in range(length))
        return "".join(chr(p) for p in points if unicodedata.category(chr(p)) != "Cs")
    alphabet = r.choice(ALPHABETS)
    return "".join(r.choice(alphabet) for _ in range(length))


def frame_id(r: random.Random) -> str:
    return r.choice(("", "nowhere", "world", "/world", TABLE_FRAME, OPTICAL_FRAME, text(r)))


def stamp(r: random.Random) -> Time:
    return Time(
        sec=r.choice((0, 1, -1, 2**31 - 1, -(2**31), r.randrange(2**31))),
        nanosec=r.choice((0, 1, 999_999_999, 10**9, 2**32 - 1)),
    )


# --- frames: each mutates the messages {color, depth, info} of a good frame ------------------------------------------


def _image(r: random.Random, messages: dict):
    return messages[r.choice(("color", "depth"))]


def _encoding(r, m):
    _image(r, m).encoding = r.choice(ENCODINGS) if r.random() < 0.8 else text(r)


def _step(r, m):
    _image(r, m).step = r.choice(WHOLE)


def _size(r, m):
    setattr(_image(r, m), r.choice(("height", "width")), r.choice(WHOLE))


def _data(r, m):
    image = _image(r, m)
    length = r.choice((0, 1, len(image.data) - 1, len(image.data) // 2, len(image.data) + 1, 2 * len(image.data)))
    image.data = array.array("B", (bytes(image.data) * 2)[:length])


def _endianness(r, m):
    _image(r, m).is_bigendian = r.choice((1, 2, 255))


def _noise(r, m):
    image = _image(r, m)
    image.data = array.array("B", r.randbytes(len(image.data)))


def _header_frame(r, m):
    r.choice(list(m.values())).header.frame_id = frame_id(r)


def _header_stamp(r, m):
    broken = stamp(r)
    for message in m.values() if r.random() < 0.7 else [r.choice(list(m.values()))]:
        message.header.stamp = broken


def _missing(r, m):
    del m[r.choice(list(m))]


def _float_depth(r, m):
    """32FC1 with what floats can hold in a share of the pixels."""
    depth = pixels(m) / 1000
    where = np.random.default_rng(r.getrandbits(32)).random(depth.shape) < r.choice((0.01, 0.5, 1.0))
    depth[where] = float32(r)
    m["depth"] = image_message(m["depth"].header, depth, "32FC1")


def _geometry(r, m):
    """Another scene: scaled, flat, tilted, noisy, nearly empty, or a step."""
    depth, noise = pixels(m) / 1000, np.random.default_rng(r.getrandbits(32))
    rows, columns = np.mgrid[: depth.shape[0], : depth.shape[1]]
    few = noise.random(depth.shape) < r.choice((0.001, 0.01, 0.1))
    depth = r.choice(
        (
            depth * 10 ** r.uniform(-2, 2),
            np.full_like(depth, r.uniform(0.05, 5)),
            depth + noise.normal(0, 0.1, depth.shape),
            0.5 + r.uniform(-0.02, 0.02) * rows + r.uniform(-0.02, 0.02) * columns,
            noise.uniform(0, 3, depth.shape),
            depth * few,
            np.where(columns < columns.max() // 2, 0.5, 1.0),
            np.where(few, 0.4, 0.8),
            depth * (rows % 2),
        )
    )
    m["depth"] = image_message(m["depth"].header, np.clip(np.nan_to_num(depth), 0, 65), "32FC1")


def _shape(r, m):
    """Images that are sound but of another size, tiny ones too."""
    shape = r.choice(((1, 1), (1, 128), (96, 1), (2, 2), (48, 64), (97, 128), (192, 256), (30, 400)))
    for name in r.choice((("color",), ("depth",), ("color", "depth"))):
        size = (*shape, 3) if name == "color" else shape
        values = np.frombuffer(m[name].data, np.uint8) if name == "color" else pixels(m)
        m[name] = image_message(m[name].header, np.resize(values, size), "rgb8" if name == "color" else "16UC1")


def _k(r, m):
    k = np.array(m["info"].k)
    for i in r.choice(((0,), (4,), (0, 4), (2,), (5,), (1,), (8,), range(9))):
        k[i] = k[i] * 10 ** r.uniform(-4, 4) if r.random() < 0.3 else number(r)
    m["info"].k = k


def _distortion(r, m):
    m["info"].d = [number(r) * r.choice((1, 1e-3)) for _ in range(r.choice((0, 1, 4, 5, 8, 12, 14, 100)))]
    m["info"].distortion_model = r.choice(("plumb_bob", "rational_polynomial", "equidistant", "", text(r)))


def _info_size(r, m):
    setattr(m["info"], r.choice(("width", "height")), r.choice(WHOLE))


def _roi(r, m):
    target, names = r.choice(
        ((m["info"], ("binning_x", "binning_y")), (m["info"].roi, ("x_offset", "y_offset", "height", "width")))
    )
    setattr(target, r.choice(names), r.choice(WHOLE))


FRAMES = {
    "good": lambda r, m: None,
    "encoding": _encoding,
    "step": _step,
    "height, width": _size,
    "data length": _data,
    "endianness": _endianness,
    "noise": _noise,
    "frame_id": _header_frame,
    "stamp": _header_stamp,
    "stream missing": _missing,
    "NaN, inf, huge depth": _float_depth,
    "another scene": _geometry,
    "another size": _shape,
    "K": _k,
    "distortion": _distortion,
    "CameraInfo size": _info_size,
    "binning, ROI": _roi,
}


def pixels(messages: dict) -> np.ndarray:
    """The good frame's depth, mm, as float32 (H, W), whatever else was mutated before."""
    depth = messages["depth"]
    good = np.frombuffer(bytes(depth.data).ljust(2 * 96 * 128, b"\0")[: 2 * 96 * 128], np.uint16)
    return good.reshape(96, 128).astype(np.float32)


# --- requests, grasps, targets, transforms ---------------------------------------------------------------------------

REQUESTS = {
    "good": lambda r: {"query": PRESENT},
    "query": lambda r: {"query": text(r)},
    "negatives": lambda r: {
        "negatives": r.choice(
            (
                [text(r) for _ in range(r.choice((1, 3, 10)))],
                [PRESENT, PRESENT.upper()],
                [""],
                ["a"] * r.choice((256, 257, 1000)),
            )
        )
    },
    "negatives_mode": lambda r: {"negatives_mode": r.choice((0, 1, 2, 3, 4, 5, 255))},
    "threshold": lambda r: {"threshold": float32(r)},
    "target_frame": lambda r: {"target_frame": frame_id(r)},
    "stamp": lambda r: {"stamp": stamp(r)},
}


def spoil_axis(r: random.Random, good: Point | Vector3) -> None:
    setattr(good, r.choice("xyz"), number(r))


def _grasp_number(r, grasp: Grasp):
    setattr(grasp, r.choice(("width", "height", "depth", "score", "tip_distance")), float32(r))


def _grasp_turn(r, grasp: Grasp):
    grasp.pose.orientation = Quaternion(x=number(r), y=number(r), z=number(r), w=number(r))


GRASPS = {
    "good": lambda r, grasp: None,
    "position": lambda r, grasp: spoil_axis(r, grasp.pose.position),
    "orientation": _grasp_turn,
    "numbers": _grasp_number,
    "object_id": lambda r, grasp: setattr(grasp, "object_id", r.choice((-1, 0, 2**31 - 1, -(2**31)))),
}


def _cloud_size(r, request: MatchGrasps.Request):
    setattr(request.cloud, r.choice(("height", "width", "point_step", "row_step")), r.choice(WHOLE))


def _cloud_field(r, request: MatchGrasps.Request):
    fields = request.cloud.fields
    if r.random() < 0.3:
        fields.append(
            PointField(name=text(r), offset=r.choice(WHOLE), datatype=r.randrange(256), count=r.choice(WHOLE))
        )
        return
    chosen = r.choice(fields)
    name, value = r.choice(
        (
            ("name", r.choice(("x", "", "f0", "f1", text(r)))),
            ("offset", r.choice(WHOLE)),
            ("datatype", r.randrange(10)),
            ("count", r.choice(WHOLE)),
        )
    )
    setattr(chosen, name, value)


def _cloud_data(r, request: MatchGrasps.Request):
    good = bytes(request.cloud.data)
    request.cloud.data = array.array("B", r.choice((b"", good[:-1], good[: len(good) // 2], r.randbytes(len(good)))))


def _cloud_points(r, request: MatchGrasps.Request):
    """Coordinates that are not finite, huge, or all the same."""
    points = np.frombuffer(bytes(request.cloud.data), np.uint8).reshape(-1, request.cloud.point_step).copy()
    coordinates = points[:, :12].copy().view(np.float32)
    coordinates[: r.choice((1, len(points) // 2, len(points)))] = float32(r)
    points[:, :12] = coordinates.view(np.uint8)
    request.cloud.data = array.array("B", points.tobytes())


TARGETS = {
    "sizes": _cloud_size,
    "fields": _cloud_field,
    "data": _cloud_data,
    "points": _cloud_points,
    "endianness": lambda r, request: setattr(request.cloud, "is_bigendian", True),
    "cloud frame_id": lambda r, request: setattr(request.cloud.header, "frame_id", frame_id(r)),
    "cloud stamp": lambda r, request: setattr(request.cloud.header, "stamp", stamp(r)),
    "target_frame": lambda r, request: setattr(request, "target_frame", frame_id(r)),
    "top_k": lambda r, request: setattr(request, "top_k", r.choice((0, 1, 255))),
    "no cloud": lambda r, request: setattr(request, "cloud", PointCloud2()),
    "query": lambda r, request: setattr(request, "query", text(r)),
    "a phrase": lambda r, request: setattr(request, "query", r.choice((PRESENT, ABSENT))),
}
