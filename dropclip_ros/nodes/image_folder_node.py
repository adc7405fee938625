# SPDX-License-Identifier: Apache-2.0
"""Publishes the image pairs of a folder as an RGB-D camera would: real frames, through the nodes, without a camera.

ros2 run dropclip_ros image_folder_node --ros-args -p folder:=frames -p intrinsics:=frames/k.json
"""

from pathlib import Path

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.ros.common import CAMERA_QOS, COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC, Setting, Settings, run
from dropclip_ros.ros.messages import camera_info_message, image_message
from dropclip_ros.vision.geometry import DEPTH_UNITS, Intrinsics, load_frame
from dropclip_ros.vision.recordings import image_pairs

SETTINGS = (
    Setting("folder", "", "Folder of the images", read_only=True),
    Setting(
        "color_pattern",
        "*_color.png",
        "Names of the colour images; * stands for what a pair has in common",
        read_only=True,
    ),
    Setting("depth_pattern", "*_depth.png", "Names of the depth images (16-bit PNG or .npy)", read_only=True),
    Setting("depth_unit", "mm", "Unit of the depth images", choices=tuple(DEPTH_UNITS)),
    Setting("intrinsics", "", "JSON file with fx, fy, cx, cy, width, height, in pixels", read_only=True),
    Setting("frame_id", "camera_color_optical_frame", "Optical frame of the camera"),
    Setting("rate", 2.0, "Image pairs a second, Hz", 0.01, 100.0, read_only=True),
    Setting("loop", True, "Start again after the last pair; otherwise the last one is repeated"),
)


class ImageFolderNode(Node):
    """A camera made of files: colour rgb8, depth 32FC1 in metres, and CameraInfo, all with one stamp."""

    def __init__(self, **options):
        super().__init__("image_folder_node", **options)
        self._settings = s = Settings(self, SETTINGS)
        self._pairs = image_pairs(Path(s["folder"]), s["color_pattern"], s["depth_pattern"])
        self._next = 0
        if not s["intrinsics"]:
            raise DropclipError(
                Status.BAD_REQUEST,
                "parameter intrinsics is not set; name a JSON file with fx, fy, cx, cy, width, height in pixels",
            )
        Intrinsics.from_json(s["intrinsics"])  # a missing file should end the node, not every frame
        self._color = self.create_publisher(Image, COLOR_TOPIC, CAMERA_QOS)
        self._depth = self.create_publisher(Image, DEPTH_TOPIC, CAMERA_QOS)
        self._info = self.create_publisher(CameraInfo, INFO_TOPIC, CAMERA_QOS)
        self.create_timer(1.0 / s["rate"], self._publish)
        self.get_logger().info(f"{len(self._pairs)} image pairs in {s['folder']}")

    def _publish(self) -> None:
        s = self._settings
        last = len(self._pairs) - 1
        color, depth = self._pairs[self._next]
        self._next = self._next + 1 if self._next < last else 0 if s["loop"] else last
        try:
            frame = load_frame(color, depth, s["depth_unit"], s["intrinsics"])
        except DropclipError as error:
            self.get_logger().error(f"{color.name} left out: {error}")
            return
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=s["frame_id"])
        self._info.publish(camera_info_message(header, frame.intrinsics))
        self._depth.publish(image_message(header, frame.depth, "32FC1"))
        self._color.publish(image_message(header, frame.rgb, "rgb8"))


def main() -> None:
    run(ImageFolderNode)


if __name__ == "__main__":
    main()
