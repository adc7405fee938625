# SPDX-License-Identifier: Apache-2.0
"""The runner's side of the wire: asks for scenes, grasps and picks, and hears the truth from the simulator."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from rcl_interfaces.srv import SetParameters
from rclpy.action import ActionClient
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from dropclip_ros.action import Grasp, Pick
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.msg import GraspArray
from dropclip_ros.ros.common import (
    ACTION_CLIENT_QOS,
    COLOR_TOPIC,
    DEPTH_TOPIC,
    GRASP_ACTION,
    GRASPS_TOPIC,
    GROUND_SERVICE,
    INFO_TOPIC,
    LATCHED_QOS,
    MATCH_SERVICE,
    PICK_ACTION,
    PLACE_ACTION,
    SENSOR_QOS,
    SERVICE_QOS,
)
from dropclip_ros.ros.messages import (
    cloud_to_numpy,
    color_image,
    image_to_numpy,
    intrinsics_of,
    nanoseconds,
    pose_matrix,
)
from dropclip_ros.ros.tf import Frames
from dropclip_ros.srv import Ground, MatchGrasps, ResetCell
from dropclip_ros.vision.geometry import Intrinsics
from training.trials.presets import Preset
from training.trials.protocol import Plan
from training.workcell.topics import LABELS_TOPIC, OVERVIEW_TOPIC, POSES_TOPIC, RESET_SERVICE, WORLD

GROUNDING_NODE, MATCHER_NODE = "grounding_node", "grasp_matcher_node"
SCENE_TOPIC = f"{GROUNDING_NODE}/scene"
OLD = 120.0  # s: the runner waits for proposals of the scene before it asks
HELD = 40  # label images, so that the one of an answer's stamp is among them
LATEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class TrialClient(Node):
    """Calls wait, up to `timeout` s; a thread that is not the caller's must serve the node.

    frame_poll: how long the newest of what is published is waited for, s.
    """

    def __init__(self, timeout: float = 180.0, frame_poll: float = 30.0, **options) -> None:
        super().__init__("trials", **options)
        self._timeout, self._frame_poll = timeout, frame_poll
        self.frames = Frames(self)
        self.film: list[np.ndarray] | None = None  # pictures of the trial that is on, where somebody wants them
        self._changed = threading.Condition()
        self._newest: dict[str, object] = {}
        self._labels: OrderedDict[int, Image] = OrderedDict()
        group = ReentrantCallbackGroup()
        subscribed = {
            POSES_TOPIC: (TFMessage, 10),
            LABELS_TOPIC: (Image, SENSOR_QOS),
            DEPTH_TOPIC: (Image, SENSOR_QOS),
            COLOR_TOPIC: (Image, LATEST),
            INFO_TOPIC: (CameraInfo, SENSOR_QOS),
            GRASPS_TOPIC: (GraspArray, 1),
        }
        for topic, (kind, qos) in subscribed.items():
            self.create_subscription(
                kind, topic, lambda msg, topic=topic: self._take(topic, msg), qos, callback_group=group
            )
        self._group, self._watches = group, False
        self._proposals = self.create_publisher(GraspArray, GRASPS_TOPIC, 1)
        self._callers = {
            name: self.create_client(kind, name, qos_profile=SERVICE_QOS, callback_group=group)
            for name, kind in (
                (RESET_SERVICE, ResetCell),
                (GROUND_SERVICE, Ground),
                (MATCH_SERVICE, MatchGrasps),
                *((f"{node}/set_parameters", SetParameters) for node in (GROUNDING_NODE, MATCHER_NODE)),
            )
        }
        self._doers = {
            name: ActionClient(self, kind, name, callback_group=group, **ACTION_CLIENT_QOS)
            for name, kind in ((GRASP_ACTION, Grasp), (PICK_ACTION, Pick), (PLACE_ACTION, Pick))
        }

    # --- what is heard ---

    def _take(self, topic: str, msg) -> None:
        with self._changed:
            self._newest[topic] = msg
            if topic == LABELS_TOPIC:
                self._labels[nanoseconds(msg.header.stamp)] = msg
                while len(self._labels) > HELD:
                    self._labels.popitem(last=False)
            self._changed.notify_all()

    def _shoot(self, msg: Image) -> None:
        if self.film is not None:
            self.film.append(color_image(msg).copy())

    def start_film(self) -> None:
        """Keeps the overview's pictures from now on, in `film`."""
        self.film = []
        if not self._watches:  # whoever draws them need not, for those who make no film
            self._watches = True
            self.create_subscription(Image, OVERVIEW_TOPIC, self._shoot, LATEST, callback_group=self._group)

    def hear_scenes(self) -> None:
        """From now on what stands on the table is known, by the grounding node's own instances."""
        self.create_subscription(
            PointCloud2, SCENE_TOPIC, lambda msg: self._take(SCENE_TOPIC, msg), LATCHED_QOS, callback_group=self._group
        )

    def scene(self) -> tuple[np.ndarray, np.ndarray]:
        """Points (N, 3) of what the last answer's frame shows on the table, in its frame, m, and their owners (N,)."""
        fields = cloud_to_numpy(self.newest(SCENE_TOPIC)).ravel()
        owner = fields["id"].astype(np.int64)
        return np.stack([fields[axis] for axis in "xyz"], axis=1)[owner > 0].astype(np.float64), owner[owner > 0]

    def now(self) -> int:
        """ns, of the clock that stamps are of."""
        return self.get_clock().now().nanoseconds

    def newest(self, topic: str, after: int = 0, timeout: float | None = None):
        """The newest message of a topic that is stamped later than `after`, ns. Raises TIMEOUT."""

        def there() -> bool:
            msg = self._newest.get(topic)
            return msg is not None and _stamp(msg) >= after

        timeout = self._frame_poll if timeout is None else timeout
        with self._changed:
            if not self._changed.wait_for(there, timeout):
                raise DropclipError(Status.TIMEOUT, f"nothing new on {topic} in {timeout:g} s: is its node running?")
            return self._newest[topic]

    def poses(self, names: Sequence[str], after: int) -> dict[str, np.ndarray]:
        """True poses (4,4) in the world of objects by name, stamped later than `after`, ns."""
        found = {
            t.child_frame_id: pose_matrix(t.transform.translation, t.transform.rotation)
            for t in self.newest(POSES_TOPIC, after).transforms
        }
        if missing := set(names) - found.keys():
            raise DropclipError(Status.TIMEOUT, f"{POSES_TOPIC} has no pose of {min(missing)}; is it the same cell?")
        return {name: found[name] for name in names}

    def labels(self, stamp: int) -> np.ndarray | None:
        """Which object each pixel (H,W) of the frame of a stamp, ns, shows: numbers from 1 on; None where nobody says.

        Where that very frame's is gone, the newest one: the camera stands still, and so do the objects.
        """
        with self._changed:
            msg = self._labels.get(stamp) or self._newest.get(LABELS_TOPIC)
        return None if msg is None else image_to_numpy(msg, "label image", ("mono8", "8UC1", "mono16", "16UC1"))

    def intrinsics(self) -> Intrinsics:
        return intrinsics_of(self.newest(INFO_TOPIC))

    # --- what is asked ---

    def wait_for_servers(self, names: Sequence[str], timeout: float) -> None:
        """Raises TIMEOUT where one of the services and actions does not come up."""
        end = time.monotonic() + timeout
        for name in names:
            server = self._callers.get(name) or self._doers[name]
            wait = server.wait_for_service if name in self._callers else server.wait_for_server
            if not wait(timeout_sec=max(end - time.monotonic(), 0.1)):
                raise DropclipError(
                    Status.TIMEOUT,
                    f"{name} is not there after {timeout:g} s: start the workcell and "
                    "the nodes first (trials.launch.py), in the same ROS domain",
                )

    def reset(self, planned: Plan, split: str) -> list[str]:
        """Puts the objects on the table; the names of those that lie there, in the order of the labels."""
        answer = self._call(
            RESET_SERVICE,
            ResetCell.Request(
                seed=planned.seed,
                clutter=planned.clutter,
                split=split,
                min_objects=len(planned.objects),
                max_objects=len(planned.objects),
                objects=list(planned.objects),
            ),
        )
        if answer.status != Status.OK:
            raise DropclipError(Status(answer.status), answer.message)
        return list(answer.names)

    def ground(self, request: Ground.Request) -> Ground.Response:
        return self._call(GROUND_SERVICE, request)

    def match(self, cloud: PointCloud2, top_k: int) -> MatchGrasps.Response:
        """Grasps of a target whose points are known."""
        return self._call(MATCH_SERVICE, MatchGrasps.Request(cloud=cloud, top_k=top_k, target_frame=WORLD))

    def grasp(self, query: str, top_k: int, literal: bool = False, previous: Sequence[int] = ()) -> Grasp.Result:
        """Grasps of what a phrase means. literal: compared as a whole; then the best is taken where several fit.
        previous: ids of the last answer, for "it"."""
        goal = Grasp.Goal(query=query, top_k=top_k, target_frame=WORLD, literal=literal, previous=list(previous))
        return self._act(GRASP_ACTION, goal)

    def world_from(self, header: Header) -> np.ndarray:
        """The pose (4, 4) of a message's frame in the world."""
        return self.frames.lookup(WORLD, header.frame_id, header.stamp, 2.0)

    def pick(self, header: Header, candidates: Sequence) -> Pick.Result:
        return self._act(PICK_ACTION, Pick.Goal(header=header, candidates=list(candidates)))

    def place(self, header: Header, candidates: Sequence) -> Pick.Result:
        """Puts down what was picked."""
        return self._act(PLACE_ACTION, Pick.Goal(header=header, candidates=list(candidates)))

    def propose(self, grasps: GraspArray) -> None:
        """Stands in for a proposer."""
        self._proposals.publish(grasps)

    def set_negatives(self, names: Sequence[str]) -> None:
        """What the grounding node tells a query apart from: the names of what is on the table."""
        self._set(GROUNDING_NODE, negatives_mode="scene", scene_negatives=list(names))

    def prepare(self, preset: Preset, model: bool) -> None:
        """Sets what a preset has beside what ships. Proposals may be old, for a scene stands still. model: whether a
        grounding node runs."""
        self._set(MATCHER_NODE, max_stamp_difference=OLD, **preset.matcher)
        if model and preset.grounding:
            self._set(GROUNDING_NODE, **preset.grounding)

    def trust_proposals(self) -> None:
        """The matcher waits for proposals, samples none itself, and takes a far one too: all are on the target."""
        self._set(MATCHER_NODE, sample_target=False, proposals_timeout=30.0, max_distance=1.0)

    def _set(self, node: str, **values) -> None:
        """Parameters of a node. Raises BAD_REQUEST where it refuses one."""
        parameters = [RosParameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        answer = self._call(f"{node}/set_parameters", SetParameters.Request(parameters=parameters))
        if refused := [result.reason for result in answer.results if not result.successful]:
            raise DropclipError(Status.BAD_REQUEST, f"{node} refuses {', '.join(values)}: {refused[0]}")

    def _call(self, name: str, request):
        return self._finish(self._callers[name].call_async(request), name)

    def _act(self, name: str, goal):
        handle = self._finish(self._doers[name].send_goal_async(goal), name)
        if not handle.accepted:
            raise DropclipError(Status.BAD_REQUEST, f"the action {name} refuses the goal; is it still busy?")
        try:
            return self._finish(handle.get_result_async(), name).result
        except DropclipError:
            handle.cancel_goal_async()
            raise

    def _finish(self, future: Future, name: str):
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        if not done.wait(self._timeout):
            raise DropclipError(Status.TIMEOUT, f"{name} has not answered within {self._timeout:g} s")
        return future.result()


def _stamp(msg) -> int:
    header = msg.transforms[0].header if isinstance(msg, TFMessage) and msg.transforms else getattr(msg, "header", None)
    return nanoseconds(header.stamp) if header else 0
