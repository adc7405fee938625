# SPDX-License-Identifier: Apache-2.0
"""RGB-D frames of a rosbag2, read without ROS (needs `rosbags`, extra `ros`)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.reading import Unreadable, decode_image, readable
from dropclip_ros.vision.geometry import Intrinsics, RgbdFrame, decode_depth

if TYPE_CHECKING:
    from rosbags.highlevel import AnyReader
    from rosbags.interfaces import Connection

COLOR_TOPIC = "/camera/color/image_raw"  # rgb8
DEPTH_TOPIC = "/camera/aligned_depth_to_color/image_raw"  # 16UC1, mm
INFO_TOPIC = "/camera/color/camera_info"
APART = 0.05  # s, between colour and depth of one frame, at most
_IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
_REGISTERED = ("aligned", "registered", "to_color", "to_rgb")  # in the names of depth topics
_COLOURS = {"rgb8": (0, 1, 2), "bgr8": (2, 1, 0), "rgba8": (0, 1, 2), "bgra8": (2, 1, 0)}


def open_bag(bag: str | Path) -> AnyReader:
    """A rosbag2, a folder or a file of one, opened; regular files alone. Unreadable where it is none.

    What the reader then finds damaged raises errors of many kinds.
    """
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore

    path = readable(bag)
    for file in path.iterdir() if path.is_dir() else ():
        readable(file)
    reader = AnyReader([path], default_typestore=get_typestore(Stores.ROS2_HUMBLE))
    try:
        reader.open()
    except Exception as error:  # the reader raises whatever it meets in a broken file
        raise Unreadable(f"it is no whole rosbag2 ({error!r:.200})", bag) from error
    return reader


def load_bag_frame(bag: str | Path) -> RgbdFrame:
    """The first frame of `bag`, as `BagFrames` has it. BAD_FRAME where there is none or the bag is damaged."""
    frames = BagFrames(bag)
    with frames.open() as (reader, topics):
        return frames.read(reader, topics, *next(frames.pairs(reader, topics)))


class BagFrames:
    """The frames of a bag: colour images, each with the depth image nearest in time and the first CameraInfo.

    Topics are those of a RealSense, else the only ones of their kind: an image topic without "depth" or "infra" in its
    name, the registered depth, and the camera_info beside the colour. Raises BAD_FRAME.
    """

    def __init__(self, bag: str | Path) -> None:
        self.path = Path(bag)

    def __len__(self) -> int:
        return len(self._times)

    def __getitem__(self, index: int) -> RgbdFrame:
        with self.open() as (reader, topics):
            return self.read(reader, topics, *self._times[index])

    @cached_property
    def _times(self) -> list[tuple[int, int]]:
        with self.open() as (reader, topics):
            return list(self.pairs(reader, topics))

    @contextmanager
    def open(self) -> Iterator[tuple[AnyReader, dict[str, Connection]]]:
        """The reader, and the connections `color`, `depth` and `info`."""
        try:
            with closing(open_bag(self.path)) as reader:
                yield reader, self._topics(reader.connections)
        except DropclipError:
            raise
        except Exception as error:  # a damaged bag shows while it is read, in many kinds
            raise DropclipError(
                Status.BAD_FRAME, f"{self.path} cannot be read as a rosbag2 ({error!r:.200})"
            ) from error

    def _topics(self, connections: list[Connection]) -> dict[str, Connection]:
        by_name = {connection.topic: connection for connection in connections if connection.msgcount}
        images = [name for name in by_name if by_name[name].msgtype in _IMAGES and "infra" not in name]
        depths = [name for name in images if "depth" in name and by_name[name].msgtype == _IMAGES[0]]
        registered = [name for name in depths if any(word in name for word in _REGISTERED)]
        color = self._one([name for name in images if "depth" not in name], COLOR_TOPIC, "a colour image")
        info = f"{color.removesuffix('/compressed').rpartition('/')[0]}/camera_info"
        if info not in by_name:
            raise DropclipError(
                Status.BAD_FRAME, f"{self.path} holds no {info}; record it with the camera's own topics"
            )
        depth = self._one(registered or depths, DEPTH_TOPIC, "depth")
        return {"color": by_name[color], "depth": by_name[depth], "info": by_name[info]}

    def _one(self, names: list[str], usual: str, what: str) -> str:
        """The usual topic, or the only one."""
        if usual in names:
            return usual
        raw = [name for name in names if not name.endswith("/compressed")] or names
        if len(raw) != 1:
            found = f"several topics of {what}: {', '.join(raw)}" if raw else f"no topic of {what}"
            raise DropclipError(
                Status.BAD_FRAME, f"{self.path} holds {found}; expected {usual} or one, of the camera's own topics"
            )
        return raw[0]

    def pairs(self, reader: AnyReader, topics: dict[str, Connection]) -> Iterator[tuple[int, int]]:
        """When the colour and the depth image of each frame were recorded, ns; they are paired by their stamps."""
        waiting: dict[str, list[tuple[float, int]]] = {"color": [], "depth": []}
        kinds = {topics[kind].topic: kind for kind in waiting}
        found = False
        for connection, time, raw in reader.messages(connections=[topics["color"], topics["depth"]]):
            seconds, nanoseconds = struct.unpack_from("<iI" if raw[1] & 1 else ">iI", raw, 4)
            waiting[kinds[connection.topic]].append((seconds + 1e-9 * nanoseconds, time))
            if all(waiting.values()):
                apart, one, other = min((abs(c[0] - d[0]), c, d) for c in waiting["color"] for d in waiting["depth"])
                if apart <= APART:
                    found = True
                    yield one[1], other[1]
                    waiting = {kind: [w for w in waiting[kind] if w[0] > one[0]] for kind in waiting}
                waiting = {kind: rows[-30:] for kind, rows in waiting.items()}
        if not found:
            raise DropclipError(
                Status.BAD_FRAME,
                f"{self.path} holds no colour and depth image within {APART:g} s of each other; was depth recorded?",
            )

    def read(self, reader: AnyReader, topics: dict[str, Connection], color_time: int, depth_time: int) -> RgbdFrame:
        def at(kind: str, time: int | None) -> Any:
            stop = None if time is None else time + 1
            connection, _, raw = next(reader.messages([topics[kind]], start=time, stop=stop))
            return reader.deserialize(raw, connection.msgtype)

        info, color = at("info", None), at("color", color_time)
        intrinsics = Intrinsics.from_camera_info_arrays(info.k, info.d, info.width, info.height, info.distortion_model)
        stamp = color.header.stamp.sec + 1e-9 * color.header.stamp.nanosec
        return RgbdFrame(self._colour(color), self._depth(at("depth", depth_time)), intrinsics, stamp=stamp)

    def _colour(self, msg: Any) -> np.ndarray:
        if hasattr(msg, "format"):
            return np.asarray(decode_image(msg.data.tobytes()).convert("RGB"))
        if msg.encoding not in _COLOURS:
            raise DropclipError(
                Status.BAD_FRAME, f"{self.path} holds colour in {msg.encoding}; expected {', '.join(_COLOURS)}"
            )
        rows = msg.data.reshape(msg.height, msg.step)[:, : msg.width * len(_channels(msg.encoding))]
        pixels = rows.reshape(msg.height, msg.width, -1)
        return np.ascontiguousarray(pixels[:, :, _COLOURS[msg.encoding]])

    def _depth(self, msg: Any) -> np.ndarray:
        types = {"16UC1": np.uint16, "mono16": np.uint16, "32FC1": np.float32}
        if msg.encoding not in types:
            raise DropclipError(
                Status.BAD_FRAME, f"{self.path} holds depth in {msg.encoding}; expected {', '.join(types)}"
            )
        dtype = np.dtype(types[msg.encoding])
        rows = msg.data.reshape(msg.height, msg.step)[:, : msg.width * dtype.itemsize]
        pixels = np.ascontiguousarray(rows).view(dtype.newbyteorder(">" if msg.is_bigendian else "<"))
        return decode_depth(pixels, "m" if dtype.kind == "f" else "mm")


def _channels(encoding: str) -> str:
    return encoding.removesuffix("8")
