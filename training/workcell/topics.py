# SPDX-License-Identifier: Apache-2.0
"""Names that a workcell, embedded or in Gazebo, and the trials share beside those of `dropclip_ros.ros.common`."""

from collections.abc import Callable

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node

from dropclip_ros.ros.common import SERVICE_QOS
from dropclip_ros.srv import ResetCell

WORLD = "world"
POSES_TOPIC, LABELS_TOPIC = "ground_truth/poses", "ground_truth/labels"
OVERVIEW_TOPIC = "overview/image_raw"
RESET_SERVICE = "reset_cell"
POSES_OF_WRIST_TOPIC, MOVE_CAMERA_ACTION = "look_poses", "move_camera"


def serve_reset(node: Node, callback: Callable[[ResetCell.Request, ResetCell.Response], ResetCell.Response]) -> None:
    """The service that lays new objects, one request at a time."""
    group = MutuallyExclusiveCallbackGroup()
    node.create_service(ResetCell, RESET_SERVICE, callback, qos_profile=SERVICE_QOS, callback_group=group)


def wrist_topic(name: str) -> str:
    """The wrist's camera has the fixed one's topics with another first name."""
    return f"wrist/{name.partition('/')[2]}"
