# SPDX-License-Identifier: Apache-2.0
"""What nodes that propose grasps share. They publish `grasp_proposals`, those of a camera in its optical frame and
with the image's stamp, while somebody subscribes.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import load_gripper
from dropclip_ros.msg import GraspArray
from dropclip_ros.ros.camera import listener as camera
from dropclip_ros.ros.camera.listener import CameraListener, CapturedFrame
from dropclip_ros.ros.common import GRASPS_TOPIC, Setting, Settings, log_bug
from dropclip_ros.ros.grasp_messages import grasp_array_message
from dropclip_ros.ros.markers import grasp_markers
from dropclip_ros.ros.tf import Frames

GRIPPER = Setting("gripper", "robotiq_2f_140", "The gripper that must fit: a name, or the path of a profile, .yaml")
SETTINGS = (
    Setting("max_rate", 2.0, "Highest rate of proposals, Hz", 0.01, 100.0, read_only=True),
    GRIPPER,
    Setting("world_frame", "", "Frame with z up, in which the table is level; '' where gravity is not known"),
    Setting("tf_timeout", 0.5, "How long a transform is waited for, s", 0.0, 10.0),
    *camera.SETTINGS,
)


class GraspPublisher:
    """Publishes grasps for the matcher, and as markers; says once, not at every frame, why there are none."""

    def __init__(self, node: Node, settings: Settings):
        self._node, self._settings = node, settings
        self._publisher = node.create_publisher(GraspArray, GRASPS_TOPIC, 1)
        self._marker_publisher = node.create_publisher(MarkerArray, f"{GRASPS_TOPIC}/markers", 1)
        self._complaint: Status | None = None

    @property
    def heard(self) -> bool:
        """Whether anybody subscribes."""
        return bool(self._publisher.get_subscription_count() or self._marker_publisher.get_subscription_count())

    def publish(self, propose: Callable[[], tuple[Header, Grasps] | None]) -> None:
        """What `propose` returns, unless that is None or it raises."""
        start = time.perf_counter()
        try:
            proposed = propose()
            if proposed is None:
                return
            header, grasps = proposed
            self._publisher.publish(grasp_array_message(header, grasps))
            if self._marker_publisher.get_subscription_count():
                gripper = load_gripper(self._settings["gripper"])
                self._marker_publisher.publish(grasp_markers(header, grasps, gripper))
            self._node.get_logger().debug(f"{len(grasps)} grasps in {time.perf_counter() - start:.2f} s")
            self._complaint = None
        except DropclipError as error:
            if error.status != self._complaint:
                self._node.get_logger().warning(str(error))
            self._complaint = error.status
        except Exception:  # a bug: the next frame may be better
            log_bug(self._node)


class Proposer(Node):
    """Proposes for the newest frame, at most `max_rate` times a second. Subclasses say how, in `propose`."""

    def __init__(self, name: str, settings: Sequence[Setting], check: Callable, with_color: bool, **options):
        super().__init__(name, **options)
        self._settings = Settings(self, settings, check=check)
        self._frames = Frames(self)
        self._camera = CameraListener(self, self._settings, with_color, self._frames)
        self._grasps = GraspPublisher(self, self._settings)
        self._done: CapturedFrame | None = None
        self.create_timer(1.0 / self._settings["max_rate"], self._tick, MutuallyExclusiveCallbackGroup())

    def propose(self, captured: CapturedFrame) -> Grasps:
        """Grasps in the camera's optical frame. Raises DropclipError where the frame, or the scene, has none."""
        raise NotImplementedError

    def world_from_camera(self, header: Header) -> np.ndarray | None:
        """Pose (4, 4) of the camera at the header's stamp, None without a `world_frame`. Raises TF_ERROR."""
        world = self._settings["world_frame"]
        if not world:
            return None
        return self._frames.lookup(world, header.frame_id, header.stamp, self._settings["tf_timeout"])

    def _tick(self) -> None:
        if self._grasps.heard:
            self._grasps.publish(self._newest)

    def _newest(self) -> tuple[Header, Grasps] | None:
        captured = self._camera.newest()
        if captured is self._done:
            return None
        self._done = captured
        return captured.header, self.propose(captured)
