# SPDX-License-Identifier: Apache-2.0
"""Depth of a camera that lies beside the colour's, registered to it where both CameraInfos and TF are there."""

from collections.abc import Callable
from dataclasses import replace

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.ros.camera.latched import Latched
from dropclip_ros.ros.camera.pairing import CapturedFrame
from dropclip_ros.ros.common import DEPTH_TOPIC, SENSOR_QOS
from dropclip_ros.ros.messages import depth_image, image_message, intrinsics_of, same_frame
from dropclip_ros.ros.tf import Frames
from dropclip_ros.vision.registration import register_depth

_TF_TIMEOUT = 0.5  # s; how a camera is built goes out once, when its driver starts


class Registration:
    """Hears the CameraInfo beside the depth's topic, where image_transport has it, and carries depth to the colour."""

    def __init__(self, node: Node, frames: Frames, unit: Callable[[], str], group: CallbackGroup):
        self._frames, self._unit = frames, unit
        self._infos: dict[str, CameraInfo] = {}  # by frame_id: a driver that registers publishes the colour's here
        self._topic = node.resolve_topic_name(DEPTH_TOPIC).rpartition("/")[0] + "/camera_info"
        self._latched = Latched(node, CameraInfo, self._topic, self._take, SENSOR_QOS, group)
        self._last: tuple[CapturedFrame, CapturedFrame] | None = None

    def _take(self, info: CameraInfo) -> None:
        self._infos[info.header.frame_id] = info

    def registered(self, captured: CapturedFrame) -> tuple[CapturedFrame, str]:
        """The frame, with depth as its colour's camera sees it (that of the CameraInfo, where there is no colour), and
        what is missing for that, in words: then the frame is as it was. BAD_FRAME where the depth cannot be read.

        The same object where registering would not mend it, and each time that the same frame is asked for.
        """
        if not (captured.info.header.frame_id and captured.depth.header.frame_id):
            return captured, ""
        other_camera = captured.color is not None and not same_frame(captured.color, captured.info)
        if other_camera or same_frame(captured.depth, captured.info):
            return captured, ""
        known = self._infos.get(captured.depth.header.frame_id)
        if known is None:
            frame = captured.depth.header.frame_id
            return captured, f"; to register it here, {self._topic} lacks a CameraInfo of {frame!r:.60}"
        last = self._last
        if last is None or last[0] is not captured:
            try:
                last = self._last = captured, self._register(captured, known)
            except DropclipError as error:
                if error.status != Status.TF_ERROR:
                    raise
                return captured, f"; to register it here, {error.message}"
        return last[1], ""

    def _register(self, captured: CapturedFrame, own: CameraInfo) -> CapturedFrame:
        """own: the CameraInfo of the depth. Raises TF_ERROR, BAD_FRAME."""
        depth, target = captured.depth, captured.info
        pixels = depth_image(depth, self._unit())
        of = intrinsics_of(own).scaled_to(pixels.shape[1], pixels.shape[0])
        frames = target.header.frame_id, depth.header.frame_id
        seen = register_depth(
            pixels, of, intrinsics_of(target), self._frames.lookup(*frames, depth.header.stamp, _TF_TIMEOUT)
        )
        header = Header(stamp=depth.header.stamp, frame_id=target.header.frame_id)
        return replace(captured, depth=image_message(header, seen, "32FC1"))
