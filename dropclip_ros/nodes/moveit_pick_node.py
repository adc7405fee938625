# SPDX-License-Identifier: Apache-2.0
"""The actions `pick` and `place` by MoveIt 2: an example for a lab to adapt. Needs moveit_msgs, control_msgs and
move_group.

Obstacles are what move_group knows: the table, what stands on it and what the hand carries, which this node puts there
(`ros.arm.scene_keeper`), and the camera's octomap (config/ur5e/octomap.yaml). On the straight ways at the object the
hand may touch that and the octomap, in which it may still be: that the hand is free there was checked against the
cloud, by the proposer and by the matcher's rule `collision`. The arm may never. Before each pick the robot in TF is
compared with the model's (`ros.arm.robot_check`).

Never run before MoveIt itself, which was not to be had: before a stand-in of move_group over DDS, of MoveIt's own
messages (test/trials/test_trials_served.py).
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose
from moveit_msgs.action import ExecuteTrajectory, MoveGroup
from moveit_msgs.msg import (
    BoundingVolume,
    Constraints,
    MoveItErrorCodes,
    OrientationConstraint,
    PositionConstraint,
    RobotState,
    RobotTrajectory,
)
from moveit_msgs.srv import GetCartesianPath, GetPositionFK
from rclpy.action import ActionClient, ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.client import Client
from rclpy.node import Node
from sensor_msgs.msg import JointState
from shape_msgs.msg import SolidPrimitive
from std_msgs.msg import Header

from dropclip_ros.action import Pick
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.telling import for_peers, of_a_bug
from dropclip_ros.grasping.gate import Known, Refusal, refusals
from dropclip_ros.grasping.grippers import load_gripper
from dropclip_ros.msg import GraspCandidate
from dropclip_ros.ros.arm import gripper_action, robot_check, scene_keeper
from dropclip_ros.ros.arm.gripper_action import GripperAction, holds
from dropclip_ros.ros.arm.robot_check import check_robot
from dropclip_ros.ros.arm.scene_keeper import SceneKeeper
from dropclip_ros.ros.asking import ask, follow
from dropclip_ros.ros.common import (
    ACTION_SERVER_QOS,
    PICK_ACTION,
    PLACE_ACTION,
    SERVICE_QOS,
    AnswerError,
    Setting,
    Settings,
    Values,
    listed,
    log_bug,
    run,
)
from dropclip_ros.ros.grasp_messages import motion_of
from dropclip_ros.ros.messages import nanoseconds, pose_matrix, pose_message
from dropclip_ros.ros.pick_sequence import NoPath, pick_first, place_first
from dropclip_ros.ros.settings import gate as gate_settings
from dropclip_ros.ros.settings.gate import limits
from dropclip_ros.ros.stages import Admission, Stages, finish
from dropclip_ros.ros.tf import Frames

SETTINGS = (
    Setting("planning_frame", "world", "Frame that poses are planned in", read_only=True),
    Setting("group", "ur_manipulator", "The arm's group in the SRDF", read_only=True),
    Setting("tool_link", "tool0", "Link that candidates are poses of", read_only=True),
    Setting(
        "hand_links",
        [
            "gripper_mount",
            "robotiq_140_base_link",
            *(
                f"{side}_{part}"
                for side in ("left", "right")
                for part in ("outer_knuckle", "outer_finger", "inner_knuckle", "inner_finger", "inner_finger_pad")
            ),
        ],
        "Links that may touch what the camera saw, on the straight ways at the object",
        read_only=True,
    ),
    Setting("planning_time", 5.0, "Of a plan, s", 0.1, 60.0),
    Setting("speed", 0.3, "Share of the joints' largest speed and acceleration", 0.01, 1.0),
    Setting("step", 0.005, "Between configurations that are checked on a straight way, m", 0.0005, 0.05),
    Setting("position_tolerance", 0.002, "m", 0.0001, 0.05),
    Setting("angle_tolerance", 0.01, "rad", 0.001, 0.5),
    Setting("finger_joint", "finger_joint", "Joint of the gripper that is driven", read_only=True),
    Setting("finger_closed", 0.695, "Its angle when closed, rad; 0 is open", 0.01, 3.0),
    Setting("force", 40.0, "Of the gripper, N", 1.0, 300.0),
    *scene_keeper.SETTINGS,
    *gate_settings.with_defaults(base_frame="base_link", reach=1.1),
    Setting(
        "max_age", 60.0, "Older candidates are refused, s; 0 takes any. Stamp 0 says that nothing has moved", 0.0, 1e9
    ),
    Setting("timeout", 60.0, "Of a motion, s", 1.0, 600.0),
    Setting("tf_timeout", 0.5, "How long a transform is waited for, s", 0.0, 10.0),
    *gripper_action.SETTINGS,
    *robot_check.SETTINGS,
)


def _check_settings(values: Values) -> None:
    """ValueError or DropclipError where parameter values by name make no sense in themselves."""
    limits(values)
    load_gripper(str(values["gripper"]))
    for name in ("table", "table_centre"):
        if len(found := listed(values, name)) != 3:
            raise ValueError(f"{name} has {len(found)} numbers: expected 3, m")


class MoveItArm:
    """`Arm` of `pick_sequence` by move_group's actions and services. Ways are RobotTrajectory.

    told: what its scene could not be told, in words.
    """

    def __init__(
        self,
        node: "MoveItPickNode",
        settings: Settings,
        scene: SceneKeeper,
        stages: Stages,
        candidates: Sequence[GraspCandidate],
        picks: bool,
    ):
        self._node, self._settings, self._scene, self._stages = node, settings, scene, stages
        self._candidates, self._picks, self.told = candidates, picks, ""
        self.max_opening = load_gripper(settings["gripper"]).max_width

    def reach(self, pose: Pose) -> RobotTrajectory:
        one = next(one for one in self._candidates if one.pregrasp is pose)
        self._tool, self._width = pose_matrix(one.tool.position, one.tool.orientation), one.grasp.width
        self._near = self._scene.at_hand(self._tool, self._width) if self._picks else []
        goal = MoveGroup.Goal()
        request = goal.request
        request.group_name = self._settings["group"]
        request.goal_constraints = [self._constraints(pose)]
        request.num_planning_attempts, request.allowed_planning_time = 4, self._settings["planning_time"]
        request.max_velocity_scaling_factor = request.max_acceleration_scaling_factor = self._settings["speed"]
        request.start_state.is_diff = True  # from where the arm is
        goal.planning_options.plan_only = True
        goal.planning_options.planning_scene_diff.is_diff = True
        goal.planning_options.planning_scene_diff.robot_state.is_diff = True
        result = self._node.act(self._node.planner, goal, self._stages)
        _require(result.error_code, "no path without collision to the pre-grasp")
        return result.planned_trajectory

    def straight(self, after: RobotTrajectory, pose: Pose, into: bool) -> RobotTrajectory:
        request = GetCartesianPath.Request(
            header=Header(frame_id=self._settings["planning_frame"]),
            start_state=_end(after),
            group_name=self._settings["group"],
            link_name=self._settings["tool_link"],
            waypoints=[pose],
            max_step=self._settings["step"],
            avoid_collisions=True,
        )
        for name in ("max_velocity_scaling_factor", "max_acceleration_scaling_factor"):
            if hasattr(request, name):  # of MoveIt 2.8 and newer
                setattr(request, name, self._settings["speed"])
        with self._scene.touching(self._near, self._stages) if into else nullcontext():
            answer = self._node.ask(self._node.cartesian, request, self._stages)
        _require(answer.error_code, "the straight way at the object is not free")
        if answer.fraction < 0.999:
            raise NoPath(f"the straight way at the object is free for {100 * answer.fraction:.0f} % only")
        return answer.solution

    def execute(self, way: RobotTrajectory) -> None:
        result = self._node.act(self._node.executor_client, ExecuteTrajectory.Goal(trajectory=way), self._stages)
        code = result.error_code.val
        if code in (MoveItErrorCodes.PREEMPTED, MoveItErrorCodes.CONTROL_FAILED):
            raise DropclipError(
                Status.CANCELLED,
                f"the arm was stopped on its way (MoveIt's code {code}), by a stop, an emergency stop or its "
                "controller: see the controller's log before it moves again",
            )
        if code != MoveItErrorCodes.SUCCESS:
            raise DropclipError(
                Status.NO_PATH,
                f"the arm stopped on its way (MoveIt's code {code}): "
                "see the controller's log, and free the arm by hand",
            )

    def open(self, opening: float) -> None:
        self._grip(self._settings["finger_closed"] * (1.0 - opening / self.max_opening))  # taken as linear
        if not self._picks:
            self.told += self._scene.released(self._tool)

    def close(self) -> bool:
        held = holds(self._grip(self._settings["finger_closed"]))
        self.told += self._scene.took(held, self._tool, self._width, self._near)
        return held

    def _grip(self, angle: float):
        goal = self._node.gripper_type.goal(self._settings["finger_joint"], angle, self._settings["force"])
        return self._node.act(self._node.gripper, goal, self._stages)

    def _constraints(self, pose: Pose) -> Constraints:
        header = Header(frame_id=self._settings["planning_frame"])
        link, angle = self._settings["tool_link"], self._settings["angle_tolerance"]
        ball = SolidPrimitive(type=SolidPrimitive.SPHERE, dimensions=[self._settings["position_tolerance"]])
        region = BoundingVolume(primitives=[ball], primitive_poses=[Pose(position=pose.position)])
        return Constraints(
            position_constraints=[
                PositionConstraint(header=header, link_name=link, constraint_region=region, weight=1.0)
            ],
            orientation_constraints=[
                OrientationConstraint(
                    header=header,
                    link_name=link,
                    orientation=pose.orientation,
                    absolute_x_axis_tolerance=angle,
                    absolute_y_axis_tolerance=angle,
                    absolute_z_axis_tolerance=angle,
                    weight=1.0,
                )
            ],
        )


class MoveItPickNode(Node):
    def __init__(self, **options):
        super().__init__("moveit_pick_node", **options)
        self._settings = Settings(self, SETTINGS, check=_check_settings)
        self._frames = Frames(self)
        group = ReentrantCallbackGroup()
        self.planner = ActionClient(self, MoveGroup, "move_action", callback_group=group)
        self.executor_client = ActionClient(self, ExecuteTrajectory, "execute_trajectory", callback_group=group)
        self.gripper_type = GripperAction(self._settings["gripper_type"])
        self.gripper = ActionClient(
            self, self.gripper_type.action, self._settings["gripper_action"], callback_group=group
        )
        self.cartesian, self._kinematics = (
            self.create_client(kind, name, qos_profile=SERVICE_QOS, callback_group=group)
            for kind, name in (
                (GetCartesianPath, "compute_cartesian_path"),
                (GetPositionFK, "compute_fk"),
            )
        )
        self._scene = SceneKeeper(self, self._settings, self._frames, self.ask)
        self._busy, self._goals = threading.Lock(), Admission()
        self._servers = [
            ActionServer(
                self,
                Pick,
                name,
                partial(self._serve, sequence),
                callback_group=group,
                goal_callback=self._goals.admit,
                cancel_callback=lambda _: CancelResponse.ACCEPT,
                **ACTION_SERVER_QOS,
            )
            for name, sequence in ((PICK_ACTION, pick_first), (PLACE_ACTION, place_first))
        ]

    def _serve(self, sequence: Callable[..., Pick.Result], handle: ServerGoalHandle) -> Pick.Result:
        stages = Stages(handle, Pick.Feedback)
        try:
            with self._goals.leaving(), self._alone(stages):
                stages.begin("look")
                candidates, refused = self._judge(handle.request)
                fit = [one for one, no in zip(handle.request.candidates, refused, strict=True) if not no]
                frame = self._settings["planning_frame"]
                check_robot(self._settings, frame, self._in_tf, lambda links: self._in_model(links, stages), fit)
                picks = sequence is pick_first
                self._scene.prepare(handle.request.header.stamp, picks, stages)
                arm = MoveItArm(self, self._settings, self._scene, stages, candidates, picks)
                result = sequence(arm, candidates, refused, stages.begin, stages.check)
                result.message += arm.told
        except AnswerError as error:
            result = Pick.Result(status=int(error.status), message=for_peers(error.message), **error.fields)
        except DropclipError as error:
            result = Pick.Result(status=int(error.status), message=for_peers(error.message), executed=-1)
        except Exception as error:  # a bug: the status of a result that nobody filled is OK
            log_bug(self)
            result = Pick.Result(status=int(Status.MODEL_ERROR), message=of_a_bug(error), executed=-1)
        stages.end()
        result.timing = stages.timing
        finish(handle, result.status)
        return result

    @contextmanager
    def _alone(self, stages: Stages) -> Iterator[None]:
        """One goal at a time; those that wait can be cancelled."""
        while not self._busy.acquire(timeout=0.05):
            stages.check()
        try:
            yield
        finally:
            self._busy.release()

    def _judge(self, goal: Pick.Goal) -> tuple[list[GraspCandidate], list[Refusal | None]]:
        """The candidates, poses in the planning frame, and what the gate says of each. BAD_REQUEST or TF_ERROR."""
        if not goal.candidates:
            raise DropclipError(Status.BAD_REQUEST, "the goal has no candidates; send those of match_grasps or grasp")
        s, gripper = self._settings, load_gripper(self._settings["gripper"])
        known = self._known(goal.header)
        carry = self._frames.lookup(s["planning_frame"], goal.header.frame_id, goal.header.stamp, s["tf_timeout"])
        motion, width = motion_of(goal.candidates, gripper, carry)
        refused = refusals(motion, width, gripper, known, limits(s, max_age=s["max_age"]))
        placed = list(goal.candidates)
        for i in (i for i, refusal in enumerate(refused) if not refusal):
            poses = {name: pose_message(getattr(motion, name)[i]) for name in ("tool", "pregrasp", "retreat")}
            placed[i] = GraspCandidate(grasp=placed[i].grasp, **poses)
        return placed, refused

    def _in_tf(self, link: str) -> np.ndarray:
        """planning_frame_from_link (4, 4), the newest. Raises TF_ERROR."""
        return self._frames.lookup(self._settings["planning_frame"], link, Time(), self._settings["tf_timeout"])

    def _in_model(self, links: Sequence[str], stages: Stages) -> dict[str, np.ndarray]:
        """The same of links in move_group's model, with the joints as it knows them. TIMEOUT or ROBOT_MISMATCH."""
        request = GetPositionFK.Request(
            header=Header(frame_id=self._settings["planning_frame"]),
            fk_link_names=list(links),
            robot_state=RobotState(is_diff=True),
        )
        answer = self.ask(self._kinematics, request, stages)
        if answer.error_code.val != MoveItErrorCodes.SUCCESS:
            raise DropclipError(
                Status.ROBOT_MISMATCH,
                f"move_group does not know where {', '.join(links)} are in {request.header.frame_id} (MoveIt's code "
                f"{answer.error_code.val}): set planning_frame and checked_links to names of its model",
            )
        poses = [pose_matrix(one.pose.position, one.pose.orientation) for one in answer.pose_stamped]
        return dict(zip(answer.fk_link_names, poses, strict=True))

    def _known(self, header: Header) -> Known:
        """In the planning frame: z up, the table's top, the arm's base by TF; and the candidates' age."""
        s, up, stamp = self._settings, np.array([0.0, 0.0, 1.0]), nanoseconds(header.stamp)
        return Known(
            up=up,
            table=np.append(up, -s["table_centre"][2]) if all(s["table"]) else None,
            base=self._in_tf(s["base_frame"])[:3, 3] if s["base_frame"] else None,
            age=(self.get_clock().now().nanoseconds - stamp) / 1e9 if stamp else None,
        )

    def ask(self, client: Client, request: Any, stages: Stages) -> Any:
        """The answer of one of move_group's services. Raises TIMEOUT or CANCELLED."""
        return ask(client, request, stages, self._settings["timeout"], who="move_group")

    def act(self, client: ActionClient, goal: Any, stages: Stages) -> Any:
        """The result of an action; it is cancelled, and the arm stops, where our own client cancels or time is up."""
        return follow(client, goal, stages, self._settings["timeout"])


def _end(way: RobotTrajectory) -> RobotState:
    """The state that a way ends in; joints that it does not move stay where they are."""
    trajectory = way.joint_trajectory
    joints = JointState(name=trajectory.joint_names, position=trajectory.points[-1].positions)
    return RobotState(joint_state=joints, is_diff=True)


def _require(code: MoveItErrorCodes, what: str) -> None:
    if code.val != MoveItErrorCodes.SUCCESS:
        raise NoPath(f"{what} (MoveIt's code {code.val})")


def main() -> None:
    run(MoveItPickNode)


if __name__ == "__main__":
    main()
