# SPDX-License-Identifier: Apache-2.0
"""move_group's planning scene around a pick: the table, what stands on it, what the hand takes hold of and lets go of.

What stands there comes from the grounding node's `~/scene`, of the frame that the candidates were found in. An object
is `object_N`, N its number in `~/detections`, for as long as that lasts. MoveIt takes what is in the scene out of the
octomap; what is left of it there the hand may touch on the straight ways at the object, and so may what it carries.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from moveit_msgs.msg import (
    AllowedCollisionMatrix,
    AttachedCollisionObject,
    CollisionObject,
    PlanningScene,
    PlanningSceneComponents,
)
from moveit_msgs.srv import ApplyPlanningScene, GetPlanningScene
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.client import Client
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import PointCloud2

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grasping.grippers import load_gripper
from dropclip_ros.ros.arm.planning_scene import (
    CARRIED,
    OCTOMAP,
    TABLE,
    Pairs,
    allow,
    allow_no_more,
    attached,
    between_fingers,
    carried_box,
    changed,
    put_down,
    standing,
    table_box,
    table_slab,
    with_held,
    with_objects,
    without_held,
    without_objects,
)
from dropclip_ros.ros.common import SERVICE_QOS, Setting, Settings
from dropclip_ros.ros.messages import cloud_to_numpy
from dropclip_ros.ros.stages import Stages
from dropclip_ros.ros.tf import Frames
from dropclip_ros.vision.geometry import invert_pose, transform_points

SETTINGS = (
    Setting(
        "scene_topic",
        "grounding_node/scene",
        "What stands on the table, for move_group's scene; '' for none",
        read_only=True,
    ),
    Setting("table", [1.5, 1.1, 0.04], "Size of the table, m; 0 0 0 for what the camera sees of it", read_only=True),
    Setting("table_centre", [0.0, 0.0, 0.0], "Middle of its top in the planning frame, m", read_only=True),
)
_KEPT = 10  # scenes, of the newest questions
_WAIT = 1.0  # s, that a scene may come after the candidates of its frame


class SceneKeeper:
    """What of move_group's scene is ours. One goal at a time; poses (4, 4) of the tool are in the planning frame.

    ask: the answer of a service, (client, request, stages); raises TIMEOUT or CANCELLED.
    """

    def __init__(self, node: Node, settings: Settings, frames: Frames, ask: Callable[[Any, Any, Stages], Any]):
        self._node, self._settings, self._frames, self._ask = node, settings, frames, ask
        group = ReentrantCallbackGroup()
        self._get: Client = node.create_client(
            GetPlanningScene, "get_planning_scene", qos_profile=SERVICE_QOS, callback_group=group
        )
        self._set: Client = node.create_client(
            ApplyPlanningScene, "apply_planning_scene", qos_profile=SERVICE_QOS, callback_group=group
        )
        self._heard: deque[PointCloud2] = deque(maxlen=_KEPT)
        self._changed = threading.Condition()
        if topic := settings["scene_topic"]:
            qos = QoSProfile(depth=_KEPT, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            node.create_subscription(PointCloud2, topic, self._hear, qos, callback_group=group)
        self._points: dict[str, np.ndarray] = {}  # of each object, (N, 3), in the planning frame
        self._objects: dict[str, CollisionObject] = {}  # that we have put into the world
        self._table: float | None = None  # height of its top, m
        self._held: AttachedCollisionObject | None = None
        self._allowed: tuple[AllowedCollisionMatrix, Pairs] | None = None  # what was before, and what we allowed

    def _hear(self, msg: PointCloud2) -> None:
        with self._changed:
            self._heard.append(msg)
            self._changed.notify_all()

    def prepare(self, stamp: Time, picks: bool, stages: Stages) -> None:
        """The table is in the scene; and, before a pick, what stands on it in the frame of this stamp, and nothing is
        in the hand. Raises NO_PATH where move_group refuses that, TF_ERROR, or as `ask`."""
        self._end_allowed(stages)
        frame, size = self._settings["planning_frame"], list(self._settings["table"])
        seen = self._seen(stamp, stages) if picks else None
        if all(size):
            centre = self._settings["table_centre"]
            self._table = centre[2]
            self._apply(with_objects(table_box(frame, size, centre)), stages)
        if not picks:
            return
        if self._held is not None:
            self._apply(without_held(self._held.object.id), stages, strict=False)
            self._held = None
        points = seen or {}
        if not all(size):
            corners = points.get(0)
            self._table = None if corners is None else float(np.median(corners[:, 2]))
        self._points = {f"object_{number}": part for number, part in points.items() if number}
        objects = {name: standing(name, frame, part, self._table) for name, part in self._points.items()}
        if 0 in points and not all(size):
            objects[TABLE] = table_slab(frame, points[0])
        self._remove(set(self._objects) - set(objects), stages)
        if objects:
            self._apply(with_objects(*objects.values()), stages)
        self._objects = objects

    def at_hand(self, tool: np.ndarray, width: float) -> list[str]:
        """The objects that have something between the fingers, opened to `width` m, of a hand at `tool`; that with the
        most first."""
        gripper = load_gripper(self._settings["gripper"])
        inside = {name: between_fingers(part, tool, width, gripper).sum() for name, part in self._points.items()}
        return sorted((name for name in inside if inside[name]), key=lambda name: -inside[name])

    @contextmanager
    def touching(self, names: Sequence[str], stages: Stages) -> Iterator[None]:
        """In the block the hand may touch these objects and the octomap; what it carries, the octomap and the table.
        Afterwards the matrix is as before, whoever cancels or fails."""
        links = list(self._settings["hand_links"])
        pairs = {(link, body) for link in links for body in (OCTOMAP, *names)}
        if self._held is not None:
            pairs |= {(self._held.object.id, body) for body in (OCTOMAP, *([TABLE] if self._table is not None else []))}
        matrix, before = self._matrix(stages), self._matrix(stages)
        self._allowed = before, frozenset(pairs)
        try:
            allow(matrix, frozenset(pairs), links)
            self._apply(changed(allowed_collision_matrix=matrix), stages)
            yield
        finally:
            self._end_allowed(Stages())

    def took(self, held: bool, tool: np.ndarray, width: float, names: Sequence[str]) -> str:
        """The hand has closed at `tool`, where these objects were at hand, and holds something or not. '' or what
        failed, in words: what the arm did is done all the same."""
        s = self._settings
        with self._told() as failed:
            if not held:
                self._remove(names[:1], Stages())  # it slipped: where it is now, the octomap knows
                return ""
            name = names[0] if names else CARRIED
            if name in self._objects:
                one = attached(self._objects.pop(name), s["tool_link"], invert_pose(tool), s["hand_links"])
            else:
                gripper = load_gripper(s["gripper"])
                one = carried_box(tool, width, gripper, self._table, s["tool_link"], s["hand_links"])
            self._held = one
            self._points.pop(name, None)
            self._apply(with_held(one), Stages())  # whoever cancels: the arm has done it
        return failed[0] if failed else ""

    def released(self, tool: np.ndarray) -> str:
        """The hand has let go at `tool` of what it held, which is there now. '' or what failed."""
        held, self._held = self._held, None
        if held is None:
            return ""
        with self._told() as failed:
            name = held.object.id
            self._apply(without_held(name), Stages(), strict=False)
            if name != CARRIED:  # a box in its place: the octomap has it from here on
                self._objects[name] = put_down(held, self._settings["planning_frame"], tool)
                self._apply(with_objects(self._objects[name]), Stages())
        return failed[0] if failed else ""

    @contextmanager
    def _told(self) -> Iterator[list[str]]:
        failed: list[str] = []
        try:
            yield failed
        except DropclipError as error:
            failed.append(f"; move_group does not know what the hand carries now ({error.message})")

    def _seen(self, stamp: Time, stages: Stages) -> dict[int, np.ndarray] | None:
        """Points (N, 3) in the planning frame by number, 0 for the table's corners; None where that frame's scene is
        not known."""

        def scene() -> PointCloud2 | None:
            return next((msg for msg in reversed(self._heard) if msg.header.stamp == stamp), None)

        topic = self._settings["scene_topic"]
        if not topic:
            return None
        with self._changed:
            if self._heard or self._node.count_publishers(topic):
                stages.wait(self._changed, lambda: scene() is not None, _WAIT)
            msg = scene()
        if msg is None:
            self._node.get_logger().warning(
                f"no scene of the candidates' frame on {topic}: what stands around is known by the octomap alone"
            )
            return None
        cloud = cloud_to_numpy(msg).ravel()
        if not {"x", "y", "z", "id"} <= set(cloud.dtype.names or ()):
            raise DropclipError(Status.BAD_REQUEST, f"the cloud on {topic} needs the fields x, y, z and id")
        frame, wait = self._settings["planning_frame"], self._settings["tf_timeout"]
        there = self._frames.lookup(frame, msg.header.frame_id, msg.header.stamp, wait)
        points = transform_points(there, np.stack([cloud[axis] for axis in "xyz"], axis=1).astype(np.float64))
        finite = np.isfinite(points).all(axis=1)
        return {int(one): points[finite & (cloud["id"] == one)] for one in np.unique(cloud["id"][finite])}

    def _matrix(self, stages: Stages) -> AllowedCollisionMatrix:
        wanted = PlanningSceneComponents(components=PlanningSceneComponents.ALLOWED_COLLISION_MATRIX)
        return self._ask(self._get, GetPlanningScene.Request(components=wanted), stages).scene.allowed_collision_matrix

    def _end_allowed(self, stages: Stages) -> None:
        """What we allowed is no longer so; where that fails, the next goal begins with it."""
        if self._allowed is not None:
            matrix = self._matrix(stages)
            allow_no_more(matrix, *self._allowed)
            self._apply(changed(allowed_collision_matrix=matrix), stages)
            self._allowed = None

    def _remove(self, names: Sequence[str] | set[str], stages: Stages) -> None:
        """Out of the world. One that is no longer there, as somebody has cleared the scene, is well."""
        if names:
            self._apply(without_objects(sorted(names)), stages, strict=False)
        for name in names:
            self._objects.pop(name, None)
            self._points.pop(name, None)

    def _apply(self, scene: PlanningScene, stages: Stages, strict: bool = True) -> None:
        """Raises NO_PATH where move_group refuses the change and it is `strict`, or as `ask`."""
        if not self._ask(self._set, ApplyPlanningScene.Request(scene=scene), stages).success and strict:
            raise DropclipError(Status.NO_PATH, "move_group refuses a change of its planning scene: see its log")
