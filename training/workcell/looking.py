# SPDX-License-Identifier: Apache-2.0
"""Looks again with the wrist: `look` of a scene_node names a pose, `move_camera` of the workcell goes there.

The scene_node's camera topics are to be remapped to the wrist's (`wrist_topic`). Whoever calls this serves the node in
another thread.
"""

from __future__ import annotations

import threading

import numpy as np
from geometry_msgs.msg import PoseArray, PoseStamped
from rclpy.action import ActionClient
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.task import Future
from std_msgs.msg import Header

from dropclip_ros.action import Look, Pick
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.msg import GraspCandidate
from dropclip_ros.ros.common import ACTION_CLIENT_QOS, LOOK_ACTION
from dropclip_ros.ros.messages import pose_matrix, pose_message
from dropclip_ros.vision.geometry import invert_pose
from training.workcell.topics import MOVE_CAMERA_ACTION, POSES_OF_WRIST_TOPIC, WORLD
from training.workcell.wrist import TOOL_FROM_CAMERA


class WristLooker:
    """moved: how each `move_camera` that was asked for ended, in order. timeout: s, of each wait."""

    def __init__(self, node: Node, timeout: float = 120.0) -> None:
        self._timeout, self.moved = timeout, list[Pick.Result]()
        self._poses: PoseArray | None = None
        self._came, group = threading.Event(), ReentrantCallbackGroup()
        lasting = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(PoseArray, POSES_OF_WRIST_TOPIC, self._take, lasting, callback_group=group)
        self._look = ActionClient(node, Look, LOOK_ACTION, callback_group=group, **ACTION_CLIENT_QOS)
        self._move = ActionClient(node, Pick, MOVE_CAMERA_ACTION, callback_group=group, **ACTION_CLIENT_QOS)

    def _take(self, poses: PoseArray) -> None:
        self._poses = poses
        self._came.set()

    def home(self) -> Pick.Result:
        """Brings the arm home, from where `pick` begins."""
        return self._go([])

    def first(self) -> Pick.Result:
        """Goes to the first of the wrist's poses that can be reached: a map begins with a view."""
        return self._go([pose_matrix(pose.position, pose.orientation) for pose in self._known().poses])

    def look(self, query: str, **fields: object) -> Look.Result:
        """Asks, goes where more would be learned of the query, and asks again, until it is certain or nothing would
        gain. fields: others of the goal. Raises TIMEOUT."""
        known = self._known()
        poses = [PoseStamped(header=known.header, pose=pose) for pose in known.poses]

        def told(message: Look.Impl.FeedbackMessage) -> None:
            if message.feedback.next >= 0:
                pose = message.feedback.pose.pose
                threading.Thread(
                    target=lambda: self.moved.append(self._go([pose_matrix(pose.position, pose.orientation)])),
                    daemon=True,
                ).start()

        goal = Look.Goal(query=query, poses=poses, **fields)
        return self._finish(self._look, goal, told)

    def _known(self) -> PoseArray:
        if not self._came.wait(self._timeout) or self._poses is None:
            raise DropclipError(Status.TIMEOUT, f"nothing on {POSES_OF_WRIST_TOPIC}: does the workcell have a wrist?")
        return self._poses

    def _go(self, poses: list[np.ndarray]) -> Pick.Result:
        tools = [GraspCandidate(tool=pose_message(pose @ invert_pose(TOOL_FROM_CAMERA))) for pose in poses]
        return self._finish(self._move, Pick.Goal(header=Header(frame_id=WORLD), candidates=tools))

    def _finish(self, client: ActionClient, goal: object, told=None):
        if not client.wait_for_server(timeout_sec=self._timeout):
            raise DropclipError(Status.TIMEOUT, "look or move_camera is not served: start scene_node and the workcell")
        handle = self._wait(client.send_goal_async(goal, feedback_callback=told))
        return self._wait(handle.get_result_async()).result

    def _wait(self, future: Future):
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        if not done.wait(self._timeout):
            raise DropclipError(Status.TIMEOUT, f"no answer within {self._timeout:g} s")
        return future.result()
