# SPDX-License-Identifier: Apache-2.0
"""The service `match_grasps` and the action `grasp`: which of the newest grasp proposals take hold of what a phrase
means (4.4, appendix A.7, and the rules of dropclip_ros.grasping.matching)?

With a world frame, what was seen at another time than the target is carried to it through that frame. Without one the
camera is taken to stand still. What else stands around the target, and whether it is still where it was found, is seen
in the newest depth image: that is what the gripper would meet now.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from dropclip_ros.action import Grasp
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import load_gripper
from dropclip_ros.grasping.handoff import HandoffConfig, hand_off
from dropclip_ros.grasping.matching import RULES, Match, MatchConfig, Surroundings, match_grasps, seen_through
from dropclip_ros.msg import GraspArray, GraspCandidate
from dropclip_ros.ros import camera, table_settings
from dropclip_ros.ros.camera import CameraListener
from dropclip_ros.ros.common import (
    GRASP_ACTION,
    GRASPS_TOPIC,
    GROUND_SERVICE,
    MATCH_SERVICE,
    SERVICE_QOS,
    Setting,
    Settings,
    answer_errors,
    run,
)
from dropclip_ros.ros.grasp_messages import candidate_messages, grasp_array_message, grasps_from_message
from dropclip_ros.ros.markers import grasp_markers
from dropclip_ros.ros.messages import cloud_points, depth_image, intrinsics_of, nanoseconds, point_message
from dropclip_ros.ros.stages import Stages, finish
from dropclip_ros.ros.table_settings import workspace_of
from dropclip_ros.ros.tf import Frames
from dropclip_ros.srv import Ground, MatchGrasps
from dropclip_ros.tabletop.scene import look
from dropclip_ros.vision.geometry import invert_pose, transform_points

_DEFAULT = MatchConfig()
_MATCHING = (
    Setting("top_k", _DEFAULT.top_k, "Most grasps in an answer", 1, 255),
    Setting("max_distance", 0.1, "Largest distance from a grasp's tip to the target's centre, m", 0.001, 10.0),
    Setting("outlier_neighbors", _DEFAULT.outlier_neighbors, "Neighbours in the target's outlier removal", 1, 1000),
    Setting("outlier_std", _DEFAULT.outlier_std, "Standard deviations in the target's outlier removal", 0.01, 20.0),
    Setting("rules", list(RULES), f"Which grasps are dropped, of {', '.join(RULES)}; [''] for none, as in A.7"),
    Setting("max_tilt", _DEFAULT.max_tilt, "approach: largest angle from straight down, rad", 0.01, 3.15),
    Setting("clearance", _DEFAULT.clearance, "table: least height of the gripper above it, m", -0.1, 0.1),
    Setting("min_held", _DEFAULT.min_held, "target: least of its 5 mm voxels between the fingers", 1, 10_000),
    Setting("max_others", _DEFAULT.max_others, "others: largest share of what is between the fingers", 0.0, 1.0),
    Setting("max_hits", _DEFAULT.max_hits, "collision: most 5 mm voxels that the gripper may meet", 0, 10_000),
    Setting(
        "rank", "score", "Best first by distance alone (A.7), or by score and distance", choices=("distance", "score")
    ),
    Setting("distance_scale", _DEFAULT.distance_scale, "At this distance a score counts 1/e, m", 0.001, 10.0),
    Setting("open_wider", 0.2, "How much wider than proposed the hand is opened where there is room, m", 0.0, 1.0),
    Setting("sample_target", True, "Where no proposal can be used, sample antipodal grasps on the target itself"),
)
SETTINGS = (
    *_MATCHING,
    Setting("world_frame", "", "Frame that stands still, and of the answers; '' where the camera stands still"),
    Setting("gripper", "robotiq_2f_140", "The gripper: a name, or the path of a profile, .yaml"),
    Setting("use_camera", True, "Look at the depth image: most rules, the candidates and max_moved need it"),
    Setting(
        "max_moved", 0.1, "Largest share of the target that may no longer be where it was found; 1 for any", 0.0, 1.0
    ),
    Setting("approach_distance", HandoffConfig().approach, "Length of the straight way to a grasp, m", 0.0, 0.99),
    Setting("lift_distance", HandoffConfig().lift, "Length of the straight way up after it, m", 0.0, 0.99),
    Setting("proposals_timeout", 5.0, "How long a request waits for proposals near the target's stamp, s", 0.0, 60.0),
    Setting("max_stamp_difference", 5.0, "Largest time between proposals and target, s", 0.0, 1e9),
    Setting(
        "ground_timeout",
        60.0,
        "How long the service `ground` may take (the first call loads the model), s",
        0.1,
        3600.0,
    ),
    Setting("tf_timeout", 0.5, "How long a transform is waited for, s", 0.0, 10.0),
    *camera.SETTINGS,
    *table_settings.SETTINGS,
)
_GOALS = 8  # in the node at once, each in a thread: more are rejected


def match_config(values: Mapping[str, object], top_k: int = 0) -> MatchConfig:
    """The core's configuration from parameter values by name; ValueError where one makes no sense."""
    own = {s.name: values[s.name] for s in _MATCHING}
    return MatchConfig(**own | {"rules": tuple(filter(None, own["rules"])), "top_k": top_k or own["top_k"]})


def _check_settings(values: Mapping[str, object]) -> None:
    """ValueError or DropclipError where parameter values by name make no sense together or in themselves."""
    workspace_of(values)
    load_gripper(values["gripper"])
    if match_config(values).needs_surroundings and not values["use_camera"]:
        raise ValueError(
            "use_camera is off: expected of rules only width and target, which need no camera, "
            "open_wider 0 and sample_target false"
        )


@dataclass(frozen=True)
class _Answer:
    """Grasps (K) in the header's frame, what they were matched by, and what a planner needs (none without camera)."""

    header: Header
    grasps: Grasps
    match: Match
    message: str
    candidates: list[GraspCandidate]


class GraspMatcherNode(Node):
    def __init__(self, **options):
        super().__init__("grasp_matcher_node", **options)
        self._settings = Settings(self, SETTINGS, check=_check_settings)
        self._frames = Frames(self)
        self._camera = CameraListener(self, self._settings, with_color=False)
        self._proposals: GraspArray | None = None
        self._changed = threading.Condition()
        self.create_subscription(
            GraspArray, GRASPS_TOPIC, self._take, 1, callback_group=MutuallyExclusiveCallbackGroup()
        )
        self._ground = self.create_client(Ground, GROUND_SERVICE, callback_group=MutuallyExclusiveCallbackGroup())
        self._marker_publisher = self.create_publisher(MarkerArray, "~/markers", 1)
        self.create_service(
            MatchGrasps,
            MATCH_SERVICE,
            self._match,
            qos_profile=SERVICE_QOS,
            callback_group=MutuallyExclusiveCallbackGroup(),
        )
        self._turn, self._goals, self._executing = threading.Condition(), 0, False
        self._action = ActionServer(
            self,
            Grasp,
            GRASP_ACTION,
            self._execute,
            goal_callback=self._admit,
            cancel_callback=lambda goal: CancelResponse.ACCEPT,
            callback_group=MutuallyExclusiveCallbackGroup(),
        )

    def destroy_node(self) -> None:
        self._action.destroy()
        super().destroy_node()

    def _take(self, msg: GraspArray) -> None:
        with self._changed:
            self._proposals = msg
            self._changed.notify_all()

    @answer_errors
    def _match(self, request: MatchGrasps.Request, response: MatchGrasps.Response) -> None:
        stages = Stages()
        answer = self._find(request, stages)
        response.grasps = grasp_array_message(answer.header, answer.grasps, answer.match.tip_distances)
        response.candidates = answer.candidates
        response.target_centre = point_message(answer.match.target_centre)
        response.status, response.message, response.timing = int(Status.OK), answer.message, stages.timing

    def _admit(self, goal: Grasp.Goal) -> GoalResponse:
        with self._turn:
            if self._goals == _GOALS:
                return GoalResponse.REJECT
            self._goals += 1
            return GoalResponse.ACCEPT

    def _execute(self, goal) -> Grasp.Result:
        try:
            result = self._serve_goal(goal, Grasp.Result())
        finally:
            with self._turn:
                self._goals -= 1
        finish(goal, result.status)
        return result

    @answer_errors
    def _serve_goal(self, goal, result: Grasp.Result) -> None:
        stages, wanted = Stages(goal, Grasp.Feedback), goal.request
        with self._turn:
            stages.wait(self._turn, lambda: not self._executing, float("inf"))
            self._executing = True
        try:
            if not wanted.query.strip():
                raise DropclipError(Status.BAD_REQUEST, "the goal has no query; name an object, as 'the red mug'")
            if not self._settings["use_camera"]:
                raise DropclipError(
                    Status.BAD_REQUEST,
                    "use_camera is off: candidates need the depth camera; switch it on, or call match_grasps",
                )
            answer = self._find(
                MatchGrasps.Request(query=wanted.query, top_k=wanted.top_k, target_frame=wanted.target_frame), stages
            )
        finally:
            with self._turn:
                self._executing = False
                self._turn.notify_all()
        result.status, result.message, result.header = int(Status.OK), answer.message, answer.header
        result.candidates, result.timing = answer.candidates, stages.timing

    def _find(self, request: MatchGrasps.Request, stages: Stages) -> _Answer:
        """What service and action have in common. Raises whatever makes an answer impossible, and CANCELLED."""
        stages.begin("ground")
        cloud, header = self._target(request, stages)
        stages.begin("proposals")
        proposals = self._newest_proposals(header, stages)
        grasps = self._carry(proposals, header)
        target = transform_points(self._lookup(header.frame_id, cloud.header), cloud_points(cloud))
        surroundings = None
        if self._settings["use_camera"]:
            stages.begin("surroundings")
            surroundings = self._look(target, header)
        stages.begin("match")
        gripper = load_gripper(self._settings["gripper"])
        match = match_grasps(grasps, target, match_config(self._settings, request.top_k), gripper, surroundings)
        chosen, candidates = match.grasps, []
        if surroundings is not None:
            ways = HandoffConfig(self._settings["approach_distance"], self._settings["lift_distance"])
            motion = hand_off(chosen, gripper, surroundings.table[:3], ways)
            chosen = replace(chosen, width=match.widths)
            candidates = candidate_messages(header, chosen, match.tip_distances, motion)
        if self._marker_publisher.get_subscription_count():
            self._marker_publisher.publish(grasp_markers(header, chosen, gripper))
        stages.end()
        stages.check()
        dropped = [f"{count} {RULES[rule]}" for rule, count in match.dropped.items() if count]
        source = f"sampled on the target; {match.sampled}" if match.sampled else f"of {len(grasps)} proposals"
        message = f"{len(chosen)} {source}" + (f"; dropped {', '.join(dropped)}" if dropped else "")
        return _Answer(header, chosen, match, message, candidates)

    def _target(self, request: MatchGrasps.Request, stages: Stages) -> tuple[PointCloud2, Header]:
        """The target's points, and the stamp and frame of the answer; Ground's own times go into the stages."""
        frame = request.target_frame or self._settings["world_frame"]
        if request.query:
            found = self._call_ground(Ground.Request(query=request.query, target_frame=frame), stages)
            if found.status != Status.OK:
                raise DropclipError(Status(found.status), found.message)
            stages.timing.extend(found.timing)
            return found.objects[0].cloud, found.header
        cloud = request.cloud
        if not cloud.width * cloud.height:
            raise DropclipError(Status.BAD_REQUEST, "the request has neither a query nor points in its cloud")
        return cloud, Header(stamp=cloud.header.stamp, frame_id=frame or cloud.header.frame_id)

    def _call_ground(self, request: Ground.Request, stages: Stages) -> Ground.Response:
        timeout, answered = self._settings["ground_timeout"], threading.Condition()

        def answer(_) -> None:
            with answered:
                answered.notify_all()

        name = self._ground.srv_name
        with answered:
            if not stages.wait(answered, self._ground.service_is_ready, min(timeout, 5.0)):
                raise DropclipError(
                    Status.TIMEOUT,
                    f"the service {name} is not there: is grounding_node running, in the same namespace?",
                )
        future = self._ground.call_async(request)
        future.add_done_callback(answer)
        try:
            with answered:
                if not stages.wait(answered, future.done, timeout):
                    raise DropclipError(Status.TIMEOUT, f"{name} has not answered within {timeout:g} s")
        except DropclipError:
            self._ground.remove_pending_request(future)
            raise
        return future.result()

    def _newest_proposals(self, target: Header, stages: Stages) -> GraspArray:
        """The newest proposals, once they are near the target's stamp. Raises NO_GRASPS or STALE_FRAME."""

        def difference() -> float:
            return abs(nanoseconds(self._proposals.header.stamp) - nanoseconds(target.stamp)) / 1e9

        limit = self._settings["max_stamp_difference"]
        with self._changed:
            stages.wait(
                self._changed,
                lambda: self._proposals is not None and difference() <= limit,
                self._settings["proposals_timeout"],
            )
            if self._proposals is None:
                raise DropclipError(
                    Status.NO_GRASPS,
                    f"no proposals have arrived on {GRASPS_TOPIC}: is a proposer running, and does it see a table?",
                )
            if difference() > limit:
                raise DropclipError(
                    Status.STALE_FRAME,
                    f"the newest proposals are {difference():.1f} s away from the "
                    f"target, more than max_stamp_difference {limit:g} s: has the proposer stopped?",
                )
            return self._proposals

    def _carry(self, proposals: GraspArray, target: Header) -> Grasps:
        """The proposals in the target's frame, at its stamp."""
        grasps = grasps_from_message(proposals)
        if len(grasps) < len(proposals.grasps):
            self.get_logger().warning(
                f"{len(proposals.grasps) - len(grasps)} of {len(proposals.grasps)} proposals "
                "are not finite or not orthonormal: dropped"
            )
            if not len(grasps):
                raise DropclipError(
                    Status.NO_GRASPS,
                    f"all {len(proposals.grasps)} proposals on {GRASPS_TOPIC} are "
                    "broken (not finite, no unit quaternion or a negative width); mend the proposer",
                )
        return grasps.transformed(self._way(target, proposals.header))

    def _look(self, target: np.ndarray, header: Header) -> Surroundings:
        """What the newest depth image shows, in the header's frame. Raises SCENE_CHANGED where the target (n, 3), of
        that frame, is no longer there, and whatever makes a depth image unusable."""
        captured = self._camera.newest()
        target_from_camera = self._way(header, captured.header)
        depth = depth_image(captured.depth, self._settings["depth_unit"])
        intrinsics = intrinsics_of(captured.info).scaled_to(depth.shape[1], depth.shape[0])
        moved = seen_through(transform_points(invert_pose(target_from_camera), target), depth, intrinsics)
        if moved > self._settings["max_moved"]:
            raise DropclipError(
                Status.SCENE_CHANGED,
                f"{100 * moved:.0f} % of the target are no longer where it was "
                f"found, more than max_moved {100 * self._settings['max_moved']:.0f} %: ask again",
            )
        world = self._settings["world_frame"]
        pose = self._lookup(world, captured.header) if world else None
        top = look(depth, intrinsics, workspace_of(self._settings), pose)
        standing = top.points[top.standing].astype(np.float64)
        return Surroundings(standing, top.table.plane).transformed(target_from_camera)

    def _way(self, target: Header, source: Header) -> np.ndarray:
        """target_from_source (4, 4), each at its own stamp, through the world frame; without one at the target's."""
        world = self._settings["world_frame"]
        if not world:
            return self._lookup(target.frame_id, Header(stamp=target.stamp, frame_id=source.frame_id))
        return self._lookup(target.frame_id, Header(stamp=target.stamp, frame_id=world)) @ self._lookup(world, source)

    def _lookup(self, target: str, source: Header) -> np.ndarray:
        return self._frames.lookup(target, source.frame_id, source.stamp, self._settings["tf_timeout"])


def main() -> None:
    run(GraspMatcherNode, imports=("open3d",))


if __name__ == "__main__":
    main()
