# SPDX-License-Identifier: Apache-2.0
"""The action `look`: names the pose from which most would be learned of what is asked, until it is certain.

It moves nothing: whoever has the arm goes to the pose of the feedback, and the map takes the frames from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node

from dropclip_ros.action import Look
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.ranges import built
from dropclip_ros.base.telling import for_peers, of_a_bug
from dropclip_ros.msg import FoundObject
from dropclip_ros.ros.common import ACTION_SERVER_QOS, LOOK_ACTION, Settings, log_bug
from dropclip_ros.ros.map_keeper import MapAnswer, MapKeeper
from dropclip_ros.ros.messages import pose_matrix
from dropclip_ros.ros.stages import Admission, Stages, finish
from dropclip_ros.ros.tf import Frames

if TYPE_CHECKING:
    from dropclip_ros.grounding.pipeline import Grounder, GroundResult
    from dropclip_ros.mapping.scene_map import SceneMap

_THERE, _TURNED = 0.03, np.radians(6)  # m and rad, within which a pose is reached
_PATIENCE = 30.0  # s


class LookServer:
    """Serves `look` for a node with a map. load: gives the grounder, in the model's thread; message: an object of an
    answer as a message."""

    def __init__(
        self,
        node: Node,
        settings: Settings,
        frames: Frames,
        keeper: MapKeeper,
        model: ThreadPoolExecutor,
        load: Callable[[], Grounder],
        message: Callable[[MapAnswer, GroundResult, int], FoundObject],
    ) -> None:
        self._node, self._settings, self._frames, self._keeper = node, settings, frames, keeper
        self._model, self._load, self._message = model, load, message
        self._goals, qos = Admission(2), _any(ACTION_SERVER_QOS)
        self.action = ActionServer(
            node,
            Look,
            LOOK_ACTION,
            self._execute,
            goal_callback=self._goals.admit,
            cancel_callback=lambda goal: CancelResponse.ACCEPT,
            callback_group=MutuallyExclusiveCallbackGroup(),
            **qos,
        )

    def _execute(self, goal: ServerGoalHandle) -> Look.Result:
        result = Look.Result()
        with self._goals.leaving():
            try:
                self._look(goal, result)
            except DropclipError as error:
                result.status, result.message = int(error.status), for_peers(error.message)
            except Exception as error:
                log_bug(self._node)
                result.status, result.message = int(Status.MODEL_ERROR), of_a_bug(error)
            finish(goal, Status(result.status))
        return result

    def _look(self, goal: ServerGoalHandle, result: Look.Result) -> None:
        """Fills the result. Raises DropclipError."""
        from dropclip_ros.mapping.look import LookConfig, certain, next_view, scores_of

        request, stages = goal.request, Stages(goal)
        config = LookConfig()
        if request.sure:
            try:
                config = built(lambda **values: replace(config, **values), {"sure": request.sure})
            except ValueError as error:
                raise DropclipError(Status.BAD_REQUEST, str(error)) from error
        left = self._poses(request)
        most, patience = request.max_looks or len(left), request.patience or _PATIENCE
        while True:
            asked, found = self._model.submit(self._ask, request).result()
            assert asked.map.last is not None  # a map that answers has seen something
            scores = scores_of(found)
            chosen = next_view(asked.map, found, left, asked.map.last.frame.intrinsics, config)
            if chosen is None or len(result.looked) >= most:
                break
            number, gain = chosen
            goal.publish_feedback(
                Look.Feedback(
                    next=number, pose=request.poses[number], gain=gain, score=max(scores.values(), default=0.0)
                )
            )
            arrived = partial(_seen_from, asked.map, left.pop(number), asked.map.frames)
            with self._keeper.changed:
                reached = stages.wait(self._keeper.changed, arrived, patience)
            if reached:
                result.looked.append(number)
        goal.publish_feedback(Look.Feedback(next=-1, score=max(scores.values(), default=0.0)))
        result.status, result.message = int(found.status), found.message
        result.certain = certain(scores, config)
        result.objects = [self._message(asked, found, k) for k in range(len(found.objects))]

    def _poses(self, request: Look.Goal) -> dict[int, np.ndarray]:
        """world_from_camera (4,4) of each pose, by number. Raises BAD_REQUEST or TF_ERROR."""
        world, poses = self._settings["world_frame"], {}
        if not request.poses:
            raise DropclipError(Status.BAD_REQUEST, "no poses: expected some that the arm can reach")
        for k, stamped in enumerate(request.poses):
            pose = pose_matrix(stamped.pose.position, stamped.pose.orientation)
            frame, stamp = stamped.header.frame_id or world, stamped.header.stamp
            poses[k] = self._frames.lookup(world, frame, stamp, self._settings["tf_timeout"]) @ pose
        return poses

    def _ask(self, request: Look.Goal) -> tuple[MapAnswer, GroundResult]:
        """In the model's thread: what the map answers now."""
        grounder = self._load()
        asked = self._keeper.asked(grounder)
        threshold = self._settings["threshold"]
        return asked, grounder.ground(asked.scene, request.query, threshold=threshold, literal=request.literal)


def _any(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords whose types a checker is not to match with all parameters."""
    return dict(values)


def _seen_from(scene_map: SceneMap, pose: np.ndarray, before: int) -> bool:
    """Whether a frame from about there was fused after `before` frames."""
    last = scene_map.last
    if scene_map.frames <= before or last is None:
        return False
    cosine = (np.trace(last.pose[:3, :3].T @ pose[:3, :3]) - 1) / 2
    near = np.linalg.norm(last.pose[:3, 3] - pose[:3, 3]) <= _THERE
    return bool(near and np.arccos(np.clip(cosine, -1, 1)) <= _TURNED)
