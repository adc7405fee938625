# SPDX-License-Identifier: Apache-2.0
"""One frame of the camera and where things are by TF at its stamp, for programs that run once."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
from rclpy.node import Node

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.ros.camera import listener as camera
from dropclip_ros.ros.camera.listener import CameraListener
from dropclip_ros.ros.common import COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC, Settings
from dropclip_ros.ros.launcher import served
from dropclip_ros.ros.messages import rgbd_frame
from dropclip_ros.ros.tf import Frames
from dropclip_ros.vision.geometry import RgbdFrame

_DISCOVERY = 10.0  # s, for camera and TF to be found


class _Camera(Node):
    def __init__(self, topics: Sequence[str]):
        ours = (COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC)
        remaps = [word for own, told in zip(ours, topics, strict=False) for word in ("-r", f"{own}:={told}")]
        super().__init__("dropclip_snapshot", cli_args=["--ros-args", *remaps] if remaps else None)
        self._settings = Settings(self, camera.SETTINGS)
        self._frames = Frames(self)
        self._camera = CameraListener(self, self._settings, frames=self._frames)

    def look(self, world: str) -> RgbdFrame:
        captured = self._camera.newest()
        header, unit = captured.header, self._settings["depth_unit"]
        pose = self._frames.lookup(world, header.frame_id, header.stamp, 1.0) if world else None
        return rgbd_frame(captured.color, captured.depth, captured.info, unit, pose)

    def take(self, world: str, link: str) -> tuple[RgbdFrame, np.ndarray]:
        captured = self._camera.newest()
        header = captured.header
        pose = self._frames.lookup(world, header.frame_id, header.stamp, 1.0)
        world_from_link = self._frames.lookup(world, link, header.stamp, 1.0)
        frame = rgbd_frame(captured.color, captured.depth, captured.info, self._settings["depth_unit"], pose)
        return frame, world_from_link


def snapshot(world: str, link: str, topics: Sequence[str] = ()) -> tuple[RgbdFrame, np.ndarray]:
    """The newest frame with its camera's pose in `world`, and world_from_link (4, 4), both by TF at its stamp.

    topics: of colour, depth and CameraInfo; () for the nodes' own names. Raises NO_FRAME, BAD_FRAME, TF_ERROR.
    """
    with served(lambda: _Camera(topics)) as node:
        end = time.monotonic() + _DISCOVERY
        while True:
            try:
                return node.take(world, link)
            except DropclipError as error:
                if time.monotonic() > end:
                    raise
                print(f"waiting: {error}", file=sys.stderr)


@contextmanager
def live_frames(topics: Sequence[str] = (), world: str = "") -> Iterator[Callable[[], RgbdFrame]]:
    """What gives the camera's newest frame whenever it is called, with its pose in `world` where that is named; topics
    as in `snapshot`. It raises NO_FRAME, STALE_FRAME, BAD_FRAME or TF_ERROR."""
    with served(lambda: _Camera(topics)) as node:
        yield partial(node.look, world)
