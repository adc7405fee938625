# SPDX-License-Identifier: Apache-2.0
"""A move_group for tests: keeps a planning scene, plans to anywhere but where it is told not to, and executes nothing.

`Standing` offers it in the process, for messages that are stand-ins; `serve` over DDS, for MoveIt's own.
"""

import copy
import importlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from action_msgs.msg import GoalStatus
from rclpy.node import Node
from rclpy.task import Future

from dropclip_ros.ros.messages import pose_matrix, pose_message

SUCCESS, NO_PATH, CONTROL_FAILED = 1, -1, -4
LINKS = ("upper_arm_link", "gripper_mount", "left_inner_finger_pad")


def of(package: str, name: str) -> Any:
    return getattr(importlib.import_module(package), name)


class MoveGroup:
    """What it was asked is in `told`, in order; `objects` and `carried` are its scene, by id."""

    def __init__(self) -> None:
        self.told: list[tuple] = []
        self.objects: dict[str, Any] = {}
        self.carried: dict[str, Any] = {}
        self.places: dict[str, np.ndarray] = {}  # world_from_link of its model
        self.blocked: Callable[[Any], bool] = lambda pose: False
        self.ends_with, self.holds, self.pause, self.refuses = SUCCESS, True, 0.0, False
        self.allowed: list[dict[str, set[str]]] = []  # on each straight way, by body
        self.stop = threading.Event()
        row = of("moveit_msgs.msg", "AllowedCollisionEntry")
        self.matrix = of("moveit_msgs.msg", "AllowedCollisionMatrix")(
            entry_names=list(LINKS), entry_values=[row(enabled=[False] * len(LINKS)) for _ in LINKS]
        )

    def may_touch(self, body: str) -> set[str]:
        """Links and bodies that may touch this one."""
        names = list(self.matrix.entry_names)
        if body not in names:
            return set()
        at = names.index(body)
        rows = [list(row.enabled) for row in self.matrix.entry_values]
        assert all(len(row) == len(names) for row in rows) and np.array_equal(rows, np.transpose(rows))
        return {name for name, row in zip(names, rows, strict=True) if row[at]}

    def may_touch_octomap(self) -> set[str]:
        return self.may_touch("<octomap>")

    def way(self, pose) -> Any:
        p = pose.position
        point = of("trajectory_msgs.msg", "JointTrajectoryPoint")(positions=[p.x, p.y, p.z])
        joints = of("trajectory_msgs.msg", "JointTrajectory")(joint_names=["x", "y", "z"], points=[point])
        return of("moveit_msgs.msg", "RobotTrajectory")(joint_trajectory=joints)

    def plan(self, goal, result) -> Any:
        (constraints,) = goal.request.goal_constraints
        (ball,), (turn,) = constraints.position_constraints, constraints.orientation_constraints
        (pose,) = ball.constraint_region.primitive_poses
        assert goal.planning_options.plan_only and ball.link_name == turn.link_name
        self.told.append(("plan", round(pose.position.x, 3), round(pose.position.z, 3)))
        result.error_code.val = NO_PATH if self.blocked(pose) else SUCCESS
        result.planned_trajectory = self.way(pose)
        return result

    def cartesian(self, request, response) -> Any:
        (pose,) = request.waypoints
        assert request.avoid_collisions and request.start_state.joint_state.name == ["x", "y", "z"]
        self.told.append(("straight", round(pose.position.z, 3), frozenset(self.may_touch_octomap())))
        self.allowed.append({name: self.may_touch(name) for name in (*self.objects, *self.carried)})
        response.error_code.val, response.fraction = SUCCESS, 1.0
        response.solution = self.way(pose)
        return response

    def execute(self, goal, result) -> Any:
        self.told.append(("move", round(goal.trajectory.joint_trajectory.points[-1].positions[2], 3)))
        self.stop.wait(self.pause)
        result.error_code.val = self.ends_with
        return result

    def grip(self, goal, result) -> Any:
        command = goal.command
        angle = command.position if isinstance(command.position, float) else command.position[0]
        self.told.append(("grip", round(angle, 3)))
        closed = angle > 0.6
        result.stalled, result.reached_goal = closed and self.holds, not (closed and self.holds)
        return result

    def apply(self, request, response) -> Any:
        """As MoveIt does: what is attached leaves the world, what is detached comes back into it, and the removal of
        what is not there fails without holding up the rest."""
        scene, response.success = request.scene, not self.refuses
        assert scene.is_diff and scene.robot_state.is_diff
        if self.refuses:
            return response
        remove = of("moveit_msgs.msg", "CollisionObject").REMOVE
        for attached in scene.robot_state.attached_collision_objects:
            thing = attached.object
            if thing.operation != remove:
                self.carried[thing.id] = attached
                self.objects.pop(thing.id, None)
            elif thing.id in self.carried:
                self.objects[thing.id] = self.carried.pop(thing.id).object
        for thing in scene.world.collision_objects:
            if thing.operation != remove:
                self.objects[thing.id] = thing
            elif self.objects.pop(thing.id, None) is None:
                response.success = False
        if len(scene.allowed_collision_matrix.entry_names):
            self.matrix = scene.allowed_collision_matrix
        return response

    def scene(self, request, response) -> Any:
        assert (
            request.components.components == of("moveit_msgs.msg", "PlanningSceneComponents").ALLOWED_COLLISION_MATRIX
        )
        response.scene.allowed_collision_matrix = copy.deepcopy(self.matrix)  # as over the wire
        return response

    def kinematics(self, request, response) -> Any:
        stamped = importlib.import_module("geometry_msgs.msg").PoseStamped
        response.error_code.val = SUCCESS
        response.fk_link_names = list(request.fk_link_names)
        response.pose_stamped = [stamped(pose=pose_message(self.places[name])) for name in request.fk_link_names]
        return response

    def handlers(self) -> dict[str, Callable]:
        """By the names of MoveIt's actions and services."""
        return {
            "move_action": self.plan,
            "execute_trajectory": self.execute,
            "gripper_controller/gripper_cmd": self.grip,
            "compute_cartesian_path": self.cartesian,
            "apply_planning_scene": self.apply,
            "get_planning_scene": self.scene,
            "compute_fk": self.kinematics,
        }


def corners(thing) -> np.ndarray:
    """Corners (N, 3) of a collision object of one box or one mesh, m, in the frame of its header."""
    if thing.meshes:
        (mesh,), (pose,) = thing.meshes, thing.mesh_poses
        points = np.array([[p.x, p.y, p.z] for p in mesh.vertices]).T
    else:
        (box,), (pose,) = thing.primitives, thing.primitive_poses
        points = np.array(np.meshgrid(*[(-side / 2, side / 2) for side in box.dimensions])).reshape(3, -1)
    there = pose_matrix(thing.pose.position, thing.pose.orientation) @ pose_matrix(pose.position, pose.orientation)
    return (there[:3, :3] @ points + there[:3, 3:]).T


def lowest(attached, world_from_link: np.ndarray) -> float:
    """Height of the lowest corner of what is carried, m."""
    return float((corners(attached.object) @ world_from_link[:3, :3].T + world_from_link[:3, 3])[:, 2].min())


def _done(value: Any) -> Future:
    future = Future()
    future.set_result(value)
    return future


class _Ended:
    """A goal handle, and its result, of a goal that ends in a thread of its own."""

    accepted = True

    def __init__(self, serve: Callable[[], Any], stop: threading.Event):
        self._result, self._stop = Future(), stop
        self.status = GoalStatus.STATUS_SUCCEEDED
        threading.Thread(target=self._run, args=[serve], daemon=True).start()

    def _run(self, serve: Callable[[], Any]) -> None:
        self.result = serve()
        self._result.set_result(self)

    def get_result_async(self) -> Future:
        return self._result

    def cancel_goal_async(self) -> Future:
        self.status = GoalStatus.STATUS_CANCELED
        self._stop.set()
        return _done(None)


class Standing:
    """In place of rclpy's clients: of an action (as `ActionClient`) or a service (as `Node.create_client`)."""

    def __init__(self, group: MoveGroup, kind: type, name: str):
        self._group, self._kind, self._serve = group, kind, group.handlers()[name]
        self._action_name = self.srv_name = name

    def server_is_ready(self) -> bool:
        return True

    service_is_ready = server_is_ready

    def send_goal_async(self, goal) -> Future:
        assert isinstance(goal, self._kind.Goal)
        return _done(_Ended(lambda: self._serve(goal, self._kind.Result()), self._group.stop))

    def call_async(self, request) -> Future:
        assert isinstance(request, self._kind.Request)
        return _done(self._serve(request, self._kind.Response()))

    def remove_pending_request(self, _) -> None:
        pass


def serve(node: Node, group: MoveGroup, gripper: type) -> list:
    """Offers it over DDS, as actions and services of `node`, of MoveIt's own messages."""
    from rclpy.action import ActionServer, CancelResponse
    from rclpy.callback_groups import ReentrantCallbackGroup

    kinds = {
        "move_action": of("moveit_msgs.action", "MoveGroup"),
        "execute_trajectory": of("moveit_msgs.action", "ExecuteTrajectory"),
        "gripper_controller/gripper_cmd": gripper,
        "compute_cartesian_path": of("moveit_msgs.srv", "GetCartesianPath"),
        "apply_planning_scene": of("moveit_msgs.srv", "ApplyPlanningScene"),
        "get_planning_scene": of("moveit_msgs.srv", "GetPlanningScene"),
        "compute_fk": of("moveit_msgs.srv", "GetPositionFK"),
    }
    together, servers = ReentrantCallbackGroup(), []
    for name, handler in group.handlers().items():
        kind = kinds[name]
        if not hasattr(kind, "Goal"):
            servers.append(node.create_service(kind, name, handler, callback_group=together))
            continue

        def execute(handle, handler=handler, kind=kind):
            result = handler(handle.request, kind.Result())
            handle.canceled() if handle.is_cancel_requested else handle.succeed()
            return result

        def cancel(_):
            group.stop.set()
            return CancelResponse.ACCEPT

        servers.append(ActionServer(node, kind, name, execute, callback_group=together, cancel_callback=cancel))
    return servers
