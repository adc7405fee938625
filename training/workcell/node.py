# SPDX-License-Identifier: Apache-2.0
"""The embedded workcell as a ROS 2 node: a camera, an arm and a table that happen to be simulated.

    python -m training.workcell.node --ros-args -p seed:=3 -p clutter:=packed

Publishes colour, depth, CameraInfo, joint_states, TF (world, base_link, tool0, gripper_tip, camera), the truth
(`ground_truth/poses`, `ground_truth/labels`) and an overview picture; serves `reset_cell` and the actions `pick` and
`place`.

Simulated time runs only while something moves; stamps are of the node's clock. One thread owns the simulation.
While the arm moves the camera's images pause: they would show the arm, and nobody looks. Idle, the last frame is sent
again with new stamps, for it would be the same.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from dropclip_ros.action import Pick
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.msg import StageTime
from dropclip_ros.ros.common import (
    ACTION_SERVER_QOS,
    CAMERA_QOS,
    COLOR_TOPIC,
    DEPTH_TOPIC,
    INFO_TOPIC,
    PICK_ACTION,
    PLACE_ACTION,
    Setting,
    Settings,
    answer_errors,
    log_bug,
    run,
)
from dropclip_ros.ros.grasp_messages import motion_of
from dropclip_ros.ros.messages import (
    camera_info_message,
    image_message,
    nanoseconds,
    transform_message,
)
from dropclip_ros.ros.stages import Admission, finish
from dropclip_ros.ros.tf import Frames
from dropclip_ros.srv import ResetCell
from dropclip_ros.vision.geometry import invert_pose
from training.runs.errors import InputError
from training.scenes.scene import View
from training.workcell.cell import Cell, CellConfig
from training.workcell.pick import Candidate, PickResult, pick, place
from training.workcell.topics import LABELS_TOPIC, OVERVIEW_TOPIC, POSES_TOPIC, WORLD, serve_reset
from training.workcell.wrist import TOOL_FROM_CAMERA
from training.workcell.wrist_node import OPTICAL as WRIST_OPTICAL
from training.workcell.wrist_node import WristServer

OPTICAL, CAMERA = "camera_color_optical_frame", "camera_link"
FROM_OPTICAL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])  # camera_link: x forward, z up
HELD = 200  # stamps of which is known what the camera saw
STATE_PERIOD, FILM_PERIOD = 0.05, 0.25  # simulated s, between messages while the arm moves
SETTINGS = (
    Setting("catalogue", "procedural", "Of the objects: procedural, or a folder with catalogue.json", read_only=True),
    Setting("seed", 0, "Of the first scene", 0, 2**31 - 1, read_only=True),
    Setting("clutter", "mixed", "Of the first scene", choices=("scattered", "packed", "mixed"), read_only=True),
    Setting(
        "split",
        "unseen_instance",
        "Objects of the first scene",
        choices=("train", "unseen_instance", "unseen_category"),
        read_only=True,
    ),
    Setting("rate", 2.0, "Frames of the camera a second", 0.05, 30.0, read_only=True),
    Setting("state_rate", 10.0, "Joint states, transforms and true poses a second", 0.5, 100.0, read_only=True),
    Setting("depth_encoding", "16UC1", "Depth in whole mm or as floats in m", choices=("16UC1", "32FC1")),
    Setting("noise", True, "Depth as a sensor would give it, with noise and holes"),
    Setting("prefix", "", "Before the names of the arm's frames and joints, for a second arm", read_only=True),
    Setting("wrist", False, "A camera at the wrist too, and the action that moves it (wrist_node)", read_only=True),
    Setting(
        "second_base",
        [0.0],
        "Where a second arm stands: x, y (m), turn about z (rad); its frame is second_base_link. [0.0]: there is none",
        read_only=True,
    ),
    Setting("tf_timeout", 0.5, "How long a transform is waited for, s", 0.0, 10.0),
)


@dataclass(frozen=True)
class _State:
    """What the simulation says of itself at one moment: for threads that do not own it."""

    joints: dict[str, float]
    frames: dict[str, np.ndarray]
    poses: dict[str, np.ndarray]


class WorkcellNode(Node):
    def __init__(self, config: CellConfig | None = None, **options) -> None:
        super().__init__("workcell", **options)
        self._settings = Settings(self, SETTINGS)
        self._owner = ThreadPoolExecutor(1, "simulation")
        self._frames = Frames(self)
        self._seen: OrderedDict[int, View] = OrderedDict()  # by stamp, ns
        self._lock = threading.Lock()
        self._moving, self._ending = threading.Event(), threading.Event()
        self._told = self._filmed = -np.inf
        self._make_publishers()
        self.cell = Cell(config or CellConfig(catalogue=self._settings["catalogue"]))
        self.cell.hook = self._while_moving
        self._view: View | None = None
        self._state: _State | None = None
        self.owned(lambda: self._lay(*(self._settings[name] for name in ("seed", "clutter", "split"))))
        self._publish_static()
        timers = MutuallyExclusiveCallbackGroup()
        self.create_timer(1 / self._settings["rate"], self._publish_camera, timers)
        self.create_timer(1 / self._settings["state_rate"], self._publish_state, MutuallyExclusiveCallbackGroup())
        serve_reset(self, self._reset)
        self._goals = Admission()
        self._wrist = (
            WristServer(self, self, self._frames, self._goals, self._settings["rate"])
            if self._settings["wrist"]
            else None
        )
        self._actions = [
            ActionServer(
                self,
                Pick,
                name,
                partial(self._move, name),
                callback_group=ReentrantCallbackGroup(),
                goal_callback=self._goals.admit,
                cancel_callback=lambda _: CancelResponse.ACCEPT,
                **ACTION_SERVER_QOS,
            )
            for name in (PICK_ACTION, PLACE_ACTION)
        ]

    def _make_publishers(self) -> None:
        make = self.create_publisher
        self._color, self._depth = make(Image, COLOR_TOPIC, CAMERA_QOS), make(Image, DEPTH_TOPIC, CAMERA_QOS)
        self._info, self._joints = make(CameraInfo, INFO_TOPIC, CAMERA_QOS), make(JointState, "joint_states", 10)
        self._poses, self._labels = make(TFMessage, POSES_TOPIC, 10), make(Image, LABELS_TOPIC, CAMERA_QOS)
        self._overview = make(Image, OVERVIEW_TOPIC, 1)
        self._tf = make(TFMessage, "/tf", 100)
        lasting = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._tf_static = make(TFMessage, "/tf_static", lasting)

    def owned(self, work: Callable[[], object]):
        """What `work` returns in the thread that owns the simulation, once that is free."""
        return self._owner.submit(work).result()

    def driven(self, work: Callable[[], object]):
        """`owned` of what may move the arm: the cameras pause, and look again when it stands."""

        def drive():
            self._moving.set()
            self._told = self._filmed = -np.inf
            try:
                return work()
            finally:
                self._rest()

        return self.owned(drive)

    @property
    def standing(self) -> object | None:
        """Another one each time that something has moved; None while it does."""
        return None if self._moving.is_set() else self._state

    # --- publishing ---

    def _look(self) -> _State:
        """In the simulation's thread."""
        return _State(self.cell.joints(), self.cell.frames(), self.cell.poses())

    def _name(self, frame: str) -> str:
        return frame if frame in (WORLD, CAMERA, OPTICAL) else self._settings["prefix"] + frame

    def _transform(self, parent: str, child: str, frames: dict[str, np.ndarray]):
        pose = invert_pose(frames[parent]) @ frames[child] if parent != WORLD else frames[child]
        return transform_message(self._now(), self._name(parent), self._name(child), pose)

    def _now(self):
        return self.get_clock().now().to_msg()

    def _publish_static(self) -> None:
        frames = self._state.frames
        frames = frames | {CAMERA: frames[OPTICAL] @ invert_pose(FROM_OPTICAL)}
        pairs = ((WORLD, "base_link"), (WORLD, CAMERA), (CAMERA, OPTICAL))
        fixed = [self._transform(*pair, frames) for pair in pairs]
        if self._settings["wrist"]:
            fixed.append(transform_message(self._now(), self._name("tool0"), WRIST_OPTICAL, TOOL_FROM_CAMERA))
        if len(second := self._settings["second_base"]) == 3:
            pose = replace(self.cell.config, base=tuple(second)).world_from_base
            fixed.append(transform_message(self._now(), WORLD, "second_base_link", pose))
        self._tf_static.publish(TFMessage(transforms=fixed))

    def _publish_state(self) -> None:
        state, stamp, prefix = self._state, self._now(), self._settings["prefix"]
        self._joints.publish(
            JointState(
                header=Header(stamp=stamp),
                name=[prefix + name for name in state.joints],
                position=[float(angle) for angle in state.joints.values()],
            )
        )
        pairs = (("base_link", "tool0"), ("tool0", "gripper_tip"))
        self._tf.publish(TFMessage(transforms=[self._transform(*pair, state.frames) for pair in pairs]))
        self._poses.publish(
            TFMessage(transforms=[transform_message(stamp, WORLD, name, pose) for name, pose in state.poses.items()])
        )

    def _publish_camera(self) -> None:
        """The last view, with a stamp of now; nothing while the arm moves."""
        if self._moving.is_set():
            return
        view = self._view or self.owned(self._see)
        header = Header(stamp=self._now(), frame_id=OPTICAL)
        with self._lock:
            self._seen[nanoseconds(header.stamp)] = view
            while len(self._seen) > HELD:
                self._seen.popitem(last=False)
        encoding = self._settings["depth_encoding"]
        depth = view.depth if encoding == "32FC1" else np.round(1000 * view.depth).clip(0, 65535)
        intrinsics = view.camera
        for publisher, make in (
            (self._info, lambda: camera_info_message(header, intrinsics)),
            (self._color, lambda: image_message(header, view.rgb, "rgb8")),
            (self._depth, lambda: image_message(header, depth, encoding)),
            (self._labels, lambda: image_message(header, np.maximum(view.mask, 1) - 1, "mono8")),
        ):
            if publisher.get_subscription_count():
                publisher.publish(make())

    def _while_moving(self) -> None:
        """In the simulation's thread, every 10 ms of its time while something moves."""
        if self.cell.time - self._told >= STATE_PERIOD:
            self._told, self._state = self.cell.time, self._look()
            self._publish_state()
        if self.cell.time - self._filmed >= FILM_PERIOD and self._overview.get_subscription_count():
            self._filmed = self.cell.time
            header = Header(stamp=self._now(), frame_id=WORLD)
            self._overview.publish(image_message(header, self.cell.overview(), "rgb8"))

    # --- reset ---

    @answer_errors
    def _reset(self, request: ResetCell.Request, response: ResetCell.Response) -> None:
        counts = {}
        if request.min_objects or request.max_objects:
            counts = {"min_objects": request.min_objects, "max_objects": request.max_objects}
        response.names = self.owned(
            lambda: self._lay(
                request.seed,
                request.clutter or "mixed",
                request.split or "unseen_instance",
                objects=list(request.objects),
                **counts,
            )
        )
        response.status, response.message = int(Status.OK), f"{len(response.names)} objects"

    def _lay(self, seed: int, clutter: str, split: str, **how) -> list[str]:
        """In the simulation's thread: a new scene, which the camera sees from now on."""
        self._moving.set()
        self._told = self._filmed = -np.inf
        try:
            return list(self.cell.reset(seed, clutter=clutter, split=split, **how))
        except InputError as error:
            raise DropclipError(Status.BAD_REQUEST, str(error)) from error
        finally:
            self._rest()

    def _see(self) -> View:
        """In the simulation's thread: what the camera sees, until something moves."""
        self._view = self.cell.capture(noise=self._settings["noise"])
        return self._view

    def _rest(self) -> None:
        """In the simulation's thread: nothing moves any more. The camera looks when its next frame is due."""
        self._state, self._view = self._look(), None
        self._moving.clear()
        self._publish_state()

    # --- pick and place ---

    def _move(self, name: str, handle: ServerGoalHandle) -> Pick.Result:
        """Serves the action of this name."""
        start = time.perf_counter()
        try:
            with self._goals.leaving():
                candidates, seen = self._understand(handle.request)
                done = self.driven(lambda: self._execute(name, handle, candidates, seen))
            timing = [StageTime(stage=name, milliseconds=1e3 * seconds) for name, seconds in done.timing.items()]
            result = Pick.Result(
                status=int(done.status),
                message=done.message,
                executed=done.executed,
                reasons=list(done.reasons),
                reason_codes=[int(code) for code in done.reason_codes],
                timing=timing,
            )
        except DropclipError as error:
            result = Pick.Result(status=int(error.status), message=error.message, executed=-1)
        except Exception as error:  # a bug: the status of a result that nobody filled is OK
            log_bug(self)
            message = f"internal error, please report it: {type(error).__name__}: {error}"
            result = Pick.Result(status=int(Status.MODEL_ERROR), message=message, executed=-1)
        finish(handle, result.status)
        self.get_logger().info(
            f"{name}: {Status(result.status).name}, {time.perf_counter() - start:.1f} s: {result.message}"
        )
        return result

    def _understand(self, goal: Pick.Goal) -> tuple[list[Candidate], View | None]:
        """Candidates in the world, and what the camera saw at the goal's stamp; None for stamp 0.

        Raises BAD_REQUEST, TF_ERROR or STALE_FRAME.
        """
        if not goal.candidates:
            raise DropclipError(Status.BAD_REQUEST, "the goal has no candidates; send those of match_grasps or grasp")
        frame, stamp = goal.header.frame_id, nanoseconds(goal.header.stamp)
        world_from_goal = self._frames.lookup(WORLD, frame, goal.header.stamp, self._settings["tf_timeout"])
        motion, width = motion_of(goal.candidates, self.cell.config.gripper, world_from_goal)
        candidates = [
            Candidate(*poses, opening=round(float(opening), 6))  # to the micrometre: it travelled as float32
            for *poses, opening in zip(motion.tool, motion.pregrasp, motion.retreat, width, strict=True)
        ]
        with self._lock:
            seen = self._seen.get(stamp)
        if stamp and seen is None:
            raise DropclipError(
                Status.STALE_FRAME,
                "the candidates are of no frame that the cell still knows; ask for "
                "grasps again, or send stamp 0 where the scene surely is the same",
            )
        return candidates, seen

    def _execute(
        self, name: str, handle: ServerGoalHandle, candidates: list[Candidate], seen: View | None
    ) -> PickResult:
        """In the simulation's thread."""

        def cancelled() -> bool:
            return handle.is_cancel_requested or self._ending.is_set()

        def stage(begun: str) -> None:
            handle.publish_feedback(Pick.Feedback(stage=begun))

        if name == PLACE_ACTION:
            return place(self.cell, candidates, cancelled, stage)
        return pick(self.cell, candidates, seen, cancelled, stage)

    def destroy_node(self) -> None:
        self._ending.set()
        self._owner.submit(self.cell.close)  # OpenGL wants it from that thread
        self._owner.shutdown()
        for action in (*self._actions, *([self._wrist.action] if self._wrist else ())):
            action.destroy()
        super().destroy_node()


def main() -> None:
    run(WorkcellNode, imports=("open3d", "mujoco", "training.workcell.cell"))


if __name__ == "__main__":
    main()
