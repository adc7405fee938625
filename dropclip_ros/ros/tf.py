# SPDX-License-Identifier: Apache-2.0
"""TF for the nodes: lookups as 4x4 arrays with typed errors, and publishing, with tf2_ros where it is installed."""

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.node import Node
from tf2_msgs.msg import TFMessage

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.ros.clock import on_jump_back
from dropclip_ros.ros.messages import nanoseconds, pose_matrix, read_points, transform_message

try:
    from tf2_ros import Buffer, TransformException, TransformListener

    OWN_BUFFER = False
except ImportError:
    OWN_BUFFER = True
    from dropclip_ros.ros.tf_buffer import Buffer, TransformException, TransformListener

_FARTHEST = 1e5  # m; points are float32, beyond this their steps are a centimetre


class Frames:
    """Where one frame is in another at a stamp. The node must run in a MultiThreadedExecutor."""

    def __init__(self, node: Node):
        self._buffer = Buffer()
        lacking = [name for name, own in (("tf2_ros", OWN_BUFFER), ("sensor_msgs_py", read_points is None)) if own]
        if lacking:
            node.get_logger().info(
                f"{' and '.join(lacking)} not installed (apt: ros-$ROS_DISTRO-tf2-ros-py, -sensor-msgs-py): our own "
                "buffer of transforms and reading of clouds stand in"
            )
        self._listener = TransformListener(self._buffer, node)
        self._jumps = on_jump_back(node, self._buffer.clear)
        self._publisher = node.create_publisher(TFMessage, "/tf", 100)

    def lookup(self, target: str, source: str, stamp: Time, timeout: float) -> np.ndarray:
        """target_from_source (4, 4) at the stamp; waits up to `timeout` s, then raises TF_ERROR."""
        if target == source:
            return np.eye(4)
        try:
            found = self._buffer.lookup_transform(target, source, stamp, Duration(seconds=timeout)).transform
        except TransformException as error:
            raise DropclipError(
                Status.TF_ERROR,
                f"no transform from {source!r} to {target!r} at {nanoseconds(stamp) / 1e9:.3f} s "
                f"within {timeout:.2f} s: {error}; is somebody publishing it, with the camera's clock?",
            ) from error
        matrix = pose_matrix(found.translation, found.rotation)
        if not np.abs(matrix[:3, 3]).max() < _FARTHEST:  # false for NaN
            raise DropclipError(
                Status.TF_ERROR,
                f"{source!r} is at {matrix[:3, 3].tolist()} m in {target!r}: expected "
                f"less than {_FARTHEST:g} m; who publishes that?",
            )
        return matrix

    def publish(self, stamp: Time, parent: str, child: str, parent_from_child: np.ndarray) -> None:
        """Send one transform on /tf."""
        self._publisher.publish(TFMessage(transforms=[transform_message(stamp, parent, child, parent_from_child)]))
