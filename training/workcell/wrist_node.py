# SPDX-License-Identifier: Apache-2.0
"""The wrist's camera of the embedded workcell over ROS, and the action that moves the arm to where it looks from.

Publishes `wrist/...` as the fixed camera's topics, the transform tool0 -> wrist_optical_frame, and `look_poses`
(PoseArray, latched, world frame): poses of that camera which the arm alone could reach. `move_camera` (Pick) goes to
the first of its candidates' tool poses to which there is a path past what both cameras see now; without candidates
home, from where `pick` begins. A `scene_node` whose camera topics are remapped to `wrist/...` maps what it sees.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np
from geometry_msgs.msg import PoseArray
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from dropclip_ros.action import Pick
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.msg import StageTime
from dropclip_ros.ros.common import ACTION_SERVER_QOS, CAMERA_QOS, COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC, log_bug
from dropclip_ros.ros.messages import camera_info_message, image_message, pose_matrix, pose_message
from dropclip_ros.ros.stages import Admission, finish
from dropclip_ros.ros.tf import Frames
from dropclip_ros.vision.geometry import invert_pose
from training.scenes.scene import View
from training.workcell import wrist
from training.workcell.cell import Cell
from training.workcell.kinematics import inverse, nearest_turn
from training.workcell.pick import AT_HOME
from training.workcell.planning import NoPath
from training.workcell.robot import HOME
from training.workcell.topics import MOVE_CAMERA_ACTION, POSES_OF_WRIST_TOPIC, WORLD, wrist_topic

OPTICAL = "wrist_optical_frame"


class Owner(Protocol):
    """What the wrist asks of the node that owns the cell: `standing` changes as what stands in it does, `owned` and
    `driven` run what looks and what moves in the simulation's thread."""

    cell: Cell

    @property
    def standing(self) -> object | None: ...
    def owned(self, work: Callable[[], Any], /) -> Any: ...
    def driven(self, work: Callable[[], Any], /) -> Any: ...


class WristServer:
    """The wrist of a workcell node: its publishers and its action."""

    def __init__(self, node: Node, owner: Owner, frames: Frames, goals: Admission, rate: float) -> None:
        self._node, self._owner, self._frames, self._goals = node, owner, frames, goals
        self._view: View | None = None
        self._came: np.ndarray | None = None  # the way from home
        self._at: object | None = None  # what stood as it does when that was seen
        make, group = node.create_publisher, MutuallyExclusiveCallbackGroup()
        self._color = make(Image, wrist_topic(COLOR_TOPIC), CAMERA_QOS)
        self._depth = make(Image, wrist_topic(DEPTH_TOPIC), CAMERA_QOS)
        self._info = make(CameraInfo, wrist_topic(INFO_TOPIC), CAMERA_QOS)
        lasting = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._poses = make(PoseArray, POSES_OF_WRIST_TOPIC, lasting)
        self.looks = wrist.looks(owner.cell.config)
        world = Header(stamp=node.get_clock().now().to_msg(), frame_id=WORLD)
        self._poses.publish(PoseArray(header=world, poses=[pose_message(pose) for pose, _ in self.looks.values()]))
        node.create_timer(1 / rate, self.publish, group)
        self.action = ActionServer(
            node,
            Pick,
            MOVE_CAMERA_ACTION,
            self._move,
            callback_group=ReentrantCallbackGroup(),
            goal_callback=goals.admit,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            **ACTION_SERVER_QOS,
        )

    def publish(self) -> None:
        """What the wrist sees, with a stamp of now; nothing while the arm moves, or where nobody listens."""
        node, standing = self._node, self._owner.standing
        if standing is None or not any(one.get_subscription_count() for one in (self._color, self._depth, self._info)):
            return
        if standing is not self._at or self._view is None:  # something moved since
            self._at, self._view = standing, self._owner.owned(lambda: wrist.capture(self._owner.cell))
        header, view = Header(stamp=node.get_clock().now().to_msg(), frame_id=OPTICAL), self._view
        self._info.publish(camera_info_message(header, view.camera))
        self._color.publish(image_message(header, view.rgb, "rgb8"))
        self._depth.publish(image_message(header, np.round(1000 * view.depth).clip(0, 65535), "16UC1"))

    def _move(self, handle: ServerGoalHandle) -> Pick.Result:
        start, result = time.perf_counter(), Pick.Result(executed=-1)
        with self._goals.leaving():
            try:
                tools = self._tools(handle.request)
                self._owner.driven(partial(self._drive, handle, tools, result))
            except DropclipError as error:
                result.status, result.message = int(error.status), error.message
            except Exception as error:
                log_bug(self._node)
                result.status, result.message = int(Status.MODEL_ERROR), f"internal error: {error}"
        result.timing = [StageTime(stage="move", milliseconds=1e3 * (time.perf_counter() - start))]
        finish(handle, result.status)
        return result

    def _tools(self, goal: Pick.Goal) -> list[np.ndarray]:
        """world_from_tool0 (4,4) of each candidate. Raises TF_ERROR."""
        if not goal.candidates:
            return []
        pose = self._frames.lookup(WORLD, goal.header.frame_id or WORLD, goal.header.stamp, 1.0)
        return [pose @ pose_matrix(one.tool.position, one.tool.orientation) for one in goal.candidates]

    def _drive(self, handle: ServerGoalHandle, tools: list[np.ndarray], result: Pick.Result) -> None:
        """In the simulation's thread: goes to the first pose to which there is a path, or home."""
        cell, cancelled = self._owner.cell, lambda: handle.is_cancel_requested
        seen, base = [cell.capture(), wrist.capture(cell)], invert_pose(cell.config.world_from_base)
        handle.publish_feedback(Pick.Feedback(stage="move"))
        reasons: list[str] = []
        goals = [inverse(base @ tool) for tool in tools] if tools else [HOME[None]]
        for number, found in enumerate(goals):
            reason = self._first(found, seen, cancelled, home=not tools)
            if reason is None or cancelled():
                stopped = cancelled()
                result.status = int(Status.CANCELLED if stopped else Status.OK)
                result.message = "the arm stands still on its way" if stopped else "the camera is there"
                result.executed = number
                break
            reasons.append(reason)
        else:
            result.status = int(Status.NO_PATH)
            result.message = f"none of {len(goals)} poses can be reached: {'; '.join(reasons)}"
        result.reasons, result.reason_codes = reasons, [int(Status.NO_PATH)] * len(reasons)

    def _first(self, found: np.ndarray, seen: list[View], cancelled: Callable[[], bool], home: bool) -> str | None:
        """Goes to the nearest of configurations (S, 6) to which there is a path; why it did not, None where it did."""
        cell, why = self._owner.cell, "out of the arm's reach"
        found = nearest_turn(found, cell.arm())
        for joints in found[np.argsort(np.abs(found - cell.arm()).max(axis=1))]:
            try:
                from_home = np.abs(cell.arm() - HOME).max() < AT_HOME
                way = wrist.go(cell, joints, seen, cancelled, self._came if home else None)
                self._came = way if from_home else None
                return None
            except NoPath as error:
                why = str(error)
        return why
