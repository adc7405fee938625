# SPDX-License-Identifier: Apache-2.0
"""Plays a rosbag2 (sqlite3 or mcap, plain or zstd) as a live camera: `ros2 bag play` for machines without it.

ros2 run dropclip_ros bag_player --ros-args -p bag:=demo/tabletop -p loop:=true
"""

import struct
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import deserialize_message
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection
from tf2_msgs.msg import TFMessage

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.reading import read_text
from dropclip_ros.ros.common import Setting, Settings, run
from dropclip_ros.ros.messages import nanoseconds, time_message
from dropclip_ros.vision.bags import open_bag

SETTINGS = (
    Setting("bag", "", "Folder of the rosbag2", read_only=True),
    Setting("rate", 1.0, "Speed, times the recorded one", 0.01, 100.0),
    Setting("loop", True, "Start again at the end"),
    Setting("period", 0.1, "Least time from one start of the bag to the next, s", 0.01, 3600.0),
    Setting("restamp", True, "Shift the stamps so that the bag happens now"),
)
_ZSTD = b"\x28\xb5\x2f\xfd"  # what a compressed message begins with; a serialised one begins with 0


def restamp_header(raw: bytes, restamp: Callable[[int], int]) -> bytes:
    """A CDR message that begins with a std_msgs/Header, its stamp [ns] mapped; all other bytes as recorded."""
    out = bytearray(raw)
    stamp_format = "<iI" if out[1] & 1 else ">iI"  # second byte of the encapsulation header: endianness
    sec, nanosec = struct.unpack_from(stamp_format, out, 4)
    struct.pack_into(stamp_format, out, 4, *divmod(restamp(sec * 1_000_000_000 + nanosec), 1_000_000_000))
    return bytes(out)


def whole_bag(path: Path) -> Path:
    """The folder of a bag where one of its files was named: only metadata.yaml says how its messages are stored."""
    beside = path.parent / "metadata.yaml"
    named = path.is_file() and beside.is_file() and path.name in read_text(beside, errors="replace")
    return path.parent if named else path


def refuse_compressed(reader: AnyReader) -> None:
    """BAD_REQUEST where messages are compressed and nothing says so: they would be played as they are stored."""
    try:
        _, _, raw = next(iter(reader.messages()), (None, 0, b""))
    except Exception:  # of many kinds: a damaged bag is said to be so when it is played
        return
    if bytes(raw[:4]) == _ZSTD:
        raise DropclipError(
            Status.BAD_REQUEST,
            "parameter bag: its messages are compressed; give the folder with the metadata.yaml that says so",
        )


def message_type(name: str) -> type | None:
    """The class of "package/msg/Name"; None where it is not installed. A bag's words import no other module."""
    package, _, kind = name.partition("/msg/")
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or not any((Path(place) / "msg").is_dir() for place in spec.submodule_search_locations or ()):
        return None
    try:
        found = getattr(import_module(f"{package}.msg"), kind, None)
    except ImportError:
        return None
    return found if hasattr(found, "get_fields_and_field_types") else None


class BagPlayer(Node):
    """Publishes what the bag holds, on its own topics; types that are not installed are left out, with a warning."""

    def __init__(self, **options):
        self._stopped = threading.Event()
        self._player = threading.Thread(target=self._play, daemon=True)
        super().__init__("bag_player", **options)
        self._settings = Settings(self, SETTINGS)
        try:
            self._reader = open_bag(whole_bag(Path(self._settings["bag"])))
        except OSError as error:
            raise DropclipError(
                Status.BAD_REQUEST, f"parameter bag: {self._settings['bag']!r} cannot be read as a rosbag2 ({error})"
            ) from error
        refuse_compressed(self._reader)
        self._topics = {c.topic: entry for c in self._reader.connections if (entry := self._publisher(c))}
        self._player.start()

    def destroy_node(self) -> None:
        self._stopped.set()  # a thread must not publish on what is being destroyed
        if self._player.is_alive():
            self._player.join(1.0)
        super().destroy_node()

    def _publisher(self, connection: Connection) -> tuple[Publisher, type] | None:
        if (kind := message_type(connection.msgtype)) is None:
            self.get_logger().warning(f"{connection.topic} left out: {connection.msgtype} is not installed")
            return None
        qos = QoSProfile(depth=100 if "tf" in connection.msgtype.lower() else 5)
        if connection.topic == "/tf_static":
            qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
        return self.create_publisher(kind, connection.topic, qos), kind

    def _play(self) -> None:
        try:
            self._play_all()
        except Exception as error:  # of many kinds, from reading what is damaged
            if not self._stopped.is_set():
                self.get_logger().error(f"the bag cannot be played on, it is damaged: {type(error).__name__}: {error}")

    def _play_all(self) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            played = self._play_once(began, self._settings["rate"])
            if not played or not self._settings["loop"]:
                self.get_logger().info("the bag is over")
                return
            self._sleep_until(began + self._settings["period"])

    def _play_once(self, began: float, rate: float) -> int:
        """One pass over the bag, on time; returns how many messages went out."""
        began_ros, count, first = self.get_clock().now().nanoseconds, 0, None
        for connection, recorded, raw in self._reader.messages():
            if connection.topic not in self._topics:
                continue
            first = recorded if first is None else first
            self._sleep_until(began + (recorded - first) / 1e9 / rate)
            if self._stopped.is_set():
                break
            # one map for the whole pass, so that stamps that were equal stay equal
            self._publish(connection.topic, bytes(raw), partial(_restamped, first, began_ros, rate))
            count += 1
        return count

    def _publish(self, topic: str, raw: bytes, restamp: Callable[[int], int]) -> None:
        publisher, kind = self._topics[topic]
        if not self._settings["restamp"]:
            publisher.publish(raw)  # rclpy takes bytes for a message that is serialised already
        elif kind is TFMessage:
            msg = deserialize_message(raw, TFMessage)
            for transform in msg.transforms:
                transform.header.stamp = time_message(restamp(nanoseconds(transform.header.stamp)))
            publisher.publish(msg)
        elif next(iter(kind.get_fields_and_field_types().values()), "") == "std_msgs/Header":
            publisher.publish(restamp_header(raw, restamp))
        else:
            publisher.publish(raw)

    def _sleep_until(self, moment: float) -> None:
        self._stopped.wait(max(moment - time.monotonic(), 0.0))


def _restamped(first: int, began: int, rate: float, ns: int) -> int:
    """When a stamp of the bag, ns, is played that begins at `first`, from `began` on."""
    return began + round((ns - first) / rate)


def main() -> None:
    run(BagPlayer)


if __name__ == "__main__":
    main()
