# SPDX-License-Identifier: Apache-2.0
"""Views as a ROS 2 bag: RGB, depth, CameraInfo and TF of a camera, on the topics that the package's nodes take."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.enums import CompressionFormat, CompressionMode
from rosbags.typesys import Stores, get_typestore
from scipy.spatial.transform import Rotation

from dropclip_ros.vision.bags import COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC
from training.scenes.scene import View

CAMERA_FRAME = "camera_color_optical_frame"
WORLD_FRAME = "world"


def write_bag(out: Path, views: Iterable[View], rate: float, fixed: bool = False) -> None:
    """A new rosbag2 of one frame a view, at `rate` Hz; messages compressed with zstd, depth 16UC1 in mm.

    TF says where the camera is in the frame "world": on /tf, or of a `fixed` one once on /tf_static. Raises OSError.
    """
    try:
        _write_bag(out, views, rate, fixed)
    except sqlite3.Error as error:  # a full disk is one of these
        raise OSError(errno.EIO, f"SQLite says {error}") from error


def _write_bag(out: Path, views: Iterable[View], rate: float, fixed: bool) -> None:
    store = get_typestore(Stores.ROS2_HUMBLE)
    t = store.types
    writer = Writer(out, version=8, storage_plugin=StoragePlugin.SQLITE3)
    writer.set_compression(CompressionMode.MESSAGE, CompressionFormat.ZSTD)
    tf = "/tf_static" if fixed else "/tf"
    with writer:
        topics = {
            COLOR_TOPIC: "sensor_msgs/msg/Image",
            DEPTH_TOPIC: "sensor_msgs/msg/Image",
            INFO_TOPIC: "sensor_msgs/msg/CameraInfo",
            tf: "tf2_msgs/msg/TFMessage",
        }
        links = {topic: writer.add_connection(topic, kind, typestore=store) for topic, kind in topics.items()}

        def write(topic: str, message: object, nanoseconds: int) -> None:
            writer.write(links[topic], nanoseconds, store.serialize_cdr(message, topics[topic]))

        for frame, view in enumerate(views):
            nanoseconds = 10**9 + int(frame * 1e9 / rate)
            stamp = t["builtin_interfaces/msg/Time"](nanoseconds // 10**9, nanoseconds % 10**9)
            header = t["std_msgs/msg/Header"](stamp, CAMERA_FRAME)
            k, (height, width), pose = view.intrinsics, view.mask.shape, view.world_from_camera
            if frame == 0 or not fixed:
                translation = t["geometry_msgs/msg/Vector3"](*pose[:3, 3])
                rotation = t["geometry_msgs/msg/Quaternion"](*Rotation.from_matrix(pose[:3, :3]).as_quat())
                transform = t["geometry_msgs/msg/TransformStamped"](
                    t["std_msgs/msg/Header"](stamp, WORLD_FRAME),
                    CAMERA_FRAME,
                    t["geometry_msgs/msg/Transform"](translation, rotation),
                )
                write(tf, t["tf2_msgs/msg/TFMessage"]([transform]), nanoseconds)
            roi = t["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
            projection = np.hstack([k, np.zeros((3, 1))]).ravel()
            matrices = (np.zeros(5), k.ravel(), np.eye(3).ravel(), projection)  # D, K, R, P
            info = t["sensor_msgs/msg/CameraInfo"](header, height, width, "plumb_bob", *matrices, 0, 0, roi)
            write(INFO_TOPIC, info, nanoseconds)
            image = t["sensor_msgs/msg/Image"]
            write(COLOR_TOPIC, image(header, height, width, "rgb8", 0, 3 * width, view.rgb.reshape(-1)), nanoseconds)
            millimetres = np.rint(1000 * view.depth).astype(np.uint16).view(np.uint8).reshape(-1)
            write(DEPTH_TOPIC, image(header, height, width, "16UC1", 0, 2 * width, millimetres), nanoseconds)
