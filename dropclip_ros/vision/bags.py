# SPDX-License-Identifier: Apache-2.0
"""The first RGB-D frame of a rosbag2, read without ROS (needs `rosbags`, extra `ros`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.vision.geometry import Intrinsics, RgbdFrame, decode_depth

COLOR_TOPIC = "/camera/color/image_raw"  # rgb8
DEPTH_TOPIC = "/camera/aligned_depth_to_color/image_raw"  # 16UC1, mm
INFO_TOPIC = "/camera/color/camera_info"


def load_bag_frame(bag: str | Path) -> RgbdFrame:
    """First colour and depth image and CameraInfo of `bag`. BAD_FRAME where one is missing or the bag is damaged."""
    from rosbags.highlevel import AnyReader, AnyReaderError
    from rosbags.typesys import Stores, get_typestore

    messages: dict = {}
    try:
        with AnyReader([Path(bag)], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as reader:
            wanted = [c for c in reader.connections if c.topic in (COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC)]
            for connection, _, raw in reader.messages(connections=wanted):
                messages.setdefault(connection.topic, reader.deserialize(raw, connection.msgtype))
    except (AnyReaderError, OSError) as error:
        raise DropclipError(Status.BAD_FRAME, f"{bag} cannot be read as a rosbag2 ({error})") from error
    for topic in (COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC):
        if topic not in messages:
            raise DropclipError(Status.BAD_FRAME, f"{bag} holds no {topic}; record it with the camera's own topics")
    color, depth, info = (messages[topic] for topic in (COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC))
    if (color.encoding, depth.encoding) != ("rgb8", "16UC1"):
        raise DropclipError(
            Status.BAD_FRAME, f"{bag} holds {color.encoding} and {depth.encoding}; expected rgb8 and 16UC1"
        )
    millimetres = depth.data.view(np.uint16).reshape(depth.height, depth.width)
    intrinsics = Intrinsics.from_camera_info_arrays(info.k, info.d, info.width, info.height, info.distortion_model)
    return RgbdFrame(color.data.reshape(color.height, color.width, 3), decode_depth(millimetres, "mm"), intrinsics)
