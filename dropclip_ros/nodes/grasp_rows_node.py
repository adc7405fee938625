# SPDX-License-Identifier: Apache-2.0
"""Makes proposals of grasps that another program detects: GraspNet rows of 17 numbers, as HGGD and others write them.

Either the newest file of a folder (.npy, or .txt with a row a line), or messages on `grasp_rows`
(std_msgs/Float32MultiArray, N x 17). Both in metres, in the frame `frame_id`.

    ros2 run dropclip_ros grasp_rows_node --ros-args -p folder:=hggd_output
"""

from pathlib import Path

import numpy as np
from rclpy.node import Node
from std_msgs.msg import Float32MultiArray, Header

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grasping.grasps import ROW_LENGTH, Grasps, load_rows
from dropclip_ros.grasping.grippers import load_gripper
from dropclip_ros.ros.common import Setting, Settings, Values, run
from dropclip_ros.ros.messages import time_message
from dropclip_ros.ros.proposer import GRIPPER, GraspPublisher

TOPIC = "grasp_rows"
SETTINGS = (
    Setting(
        "folder", "", "Folder of rows, of which the newest file counts; '' for the topic grasp_rows", read_only=True
    ),
    Setting("frame_id", "camera_color_optical_frame", "Frame of the rows"),
    Setting("rate", 2.0, "How often the folder is looked at, Hz", 0.01, 100.0, read_only=True),
    Setting(
        "restamp",
        True,
        "A file's grasps hold for now, as where nothing moves, and are published over and over; "
        "otherwise once, for the time the file was written",
    ),
    GRIPPER,
)
SUFFIXES = ".npy", ".txt"


def newest_file(folder: Path) -> tuple[Path, int]:
    """The file of rows that was written last, and when, ns since the epoch.

    BAD_REQUEST where the folder cannot be listed, NO_GRASPS where it has no such file.
    """
    try:
        files = [(path.stat().st_mtime_ns, path) for path in folder.iterdir() if path.suffix in SUFFIXES]
    except OSError as error:
        raise DropclipError(Status.BAD_REQUEST, f"parameter folder: cannot list {folder}: {error.strerror}") from error
    if not files:
        raise DropclipError(Status.NO_GRASPS, f"{folder} has no file of grasp rows yet ({', '.join(SUFFIXES)})")
    written, path = max(files)
    return path, written


def rows_of(msg: Float32MultiArray) -> np.ndarray:
    """Rows (N, 17) of a message. BAD_REQUEST where its sizes do not say so."""
    sizes = [dim.size for dim in msg.layout.dim]
    if len(msg.data) % ROW_LENGTH or (sizes and sizes != [len(msg.data) // ROW_LENGTH, ROW_LENGTH]):
        raise DropclipError(
            Status.BAD_REQUEST,
            f"a message on {TOPIC} has {len(msg.data)} numbers and the layout "
            f"{sizes}; expected N x {ROW_LENGTH}, row after row",
        )
    return np.array(msg.data, dtype=np.float64).reshape(-1, ROW_LENGTH)


class GraspRowsNode(Node):
    def __init__(self, **options):
        super().__init__("grasp_rows_node", **options)
        self._settings = Settings(self, SETTINGS, check=_check_settings)
        self._grasps = GraspPublisher(self, self._settings)
        self._published: tuple[Path, int] | None = None
        if self._settings["folder"]:
            self.create_timer(1.0 / self._settings["rate"], lambda: self._grasps.publish(self._from_folder))
        else:
            self.create_subscription(
                Float32MultiArray,
                TOPIC,
                lambda msg: self._grasps.publish(lambda: (self._header(), Grasps.from_rows(rows_of(msg)))),
                10,
            )

    def _from_folder(self) -> tuple[Header, Grasps] | None:
        if not self._grasps.heard:
            return None
        path, written = newest = newest_file(Path(self._settings["folder"]))
        restamp = self._settings["restamp"]
        if newest == self._published and not restamp:
            return None
        header, grasps = self._header(), load_rows(path)
        header.stamp = header.stamp if restamp else time_message(written)
        self._published = newest
        return header, grasps

    def _header(self) -> Header:
        return Header(stamp=self.get_clock().now().to_msg(), frame_id=self._settings["frame_id"])


def _check_settings(values: Values) -> None:
    load_gripper(str(values["gripper"]))


def main() -> None:
    run(GraspRowsNode)


if __name__ == "__main__":
    main()
