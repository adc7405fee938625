# SPDX-License-Identifier: Apache-2.0
"""The service `match_grasps` and the action `grasp`: which of the newest grasp proposals take hold of what a phrase
means (4.4, appendix A.7, and the rules of dropclip_ros.grasping.matching)?

With a world frame, what was seen at another time than the target is carried to it through that frame. Without one the
camera is taken to stand still. What else stands around the target, and whether it is still where it was found, is seen
in the newest depth image: that is what the gripper would meet now.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from dropclip_ros.action import Grasp
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grasping.choose import Choice, Seen, View, World, choose, look
from dropclip_ros.grasping.gate import Limits
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import load_gripper
from dropclip_ros.grasping.handoff import HandoffConfig
from dropclip_ros.grasping.matching import RULES, Match, sound_target
from dropclip_ros.msg import FoundObject, GraspArray, GraspCandidate
from dropclip_ros.ros import table_settings
from dropclip_ros.ros.asking import AGAIN, ask
from dropclip_ros.ros.camera import listener as camera
from dropclip_ros.ros.camera.listener import CameraListener
from dropclip_ros.ros.clock import on_jump_back
from dropclip_ros.ros.common import (
    ACTION_SERVER_QOS,
    GRASP_ACTION,
    GRASPS_TOPIC,
    GROUND_SERVICE,
    LATCHED_QOS,
    MATCH_SERVICE,
    SERVICE_QOS,
    AnswerError,
    Setting,
    Settings,
    Values,
    WaitingCallbackGroup,
    answer_errors,
    run,
)
from dropclip_ros.ros.grasp_messages import candidate_messages, grasp_array_message, grasps_from_message
from dropclip_ros.ros.health.diagnostics import LOG, Health
from dropclip_ros.ros.managed import AUTOSTART, ManagedNode
from dropclip_ros.ros.markers import grasp_markers
from dropclip_ros.ros.messages import cloud_points, depth_image, intrinsics_of, nanoseconds, point_message
from dropclip_ros.ros.settings import gate as gate_settings
from dropclip_ros.ros.settings import match as match_settings
from dropclip_ros.ros.settings import trust as trust_settings
from dropclip_ros.ros.settings.gate import limits
from dropclip_ros.ros.settings.match import match_config
from dropclip_ros.ros.settings.trust import trust_config
from dropclip_ros.ros.sleeping import Wanted
from dropclip_ros.ros.stages import Admission, Stages, finish
from dropclip_ros.ros.table_settings import workspace_of
from dropclip_ros.ros.tf import Frames
from dropclip_ros.srv import Ground, MatchGrasps
from dropclip_ros.vision.extrinsics import check_camera
from dropclip_ros.vision.geometry import transform_points

SETTINGS = (
    *match_settings.SETTINGS,
    Setting("world_frame", "", "Frame that stands still, and of the answers; '' where the camera stands still"),
    Setting("gripper", "robotiq_2f_140", "The gripper: a name, or the path of a profile, .yaml"),
    Setting("use_camera", True, "Look at the depth image: most rules, the candidates and max_moved need it"),
    Setting(
        "max_moved", 0.1, "Largest share of the target that may no longer be where it was found; 1 for any", 0.0, 1.0
    ),
    Setting.of(HandoffConfig, "approach", name="approach_distance"),
    Setting.of(HandoffConfig, "lift", name="lift_distance"),
    Setting(
        "proposals_timeout",
        0.2,
        "How long a request waits for proposals near the target's stamp, s; with sample_target it then does without",
        0.0,
        60.0,
    ),
    Setting("max_stamp_difference", 5.0, "Largest time between proposals and target, s", 0.0, 1e9),
    Setting(
        "ground_timeout",
        60.0,
        "How long the service `ground` may take (the first call loads the model), s",
        0.1,
        3600.0,
    ),
    Setting("ask_again", AGAIN, "After how long without an answer `ground` is asked once more, s", 0.1, 3600.0),
    Setting("min_seen", Limits().min_seen, "Least share of the target that must be seen where it was found", 0.0, 1.0),
    Setting("tf_timeout", 0.5, "How long a transform is waited for, s", 0.0, 10.0),
    AUTOSTART,
    LOG,
    *gate_settings.SETTINGS,
    *camera.SETTINGS,
    *trust_settings.SETTINGS,
    *table_settings.SETTINGS,
)
_CALLS = 12  # of the service in the node at once: more wait for their turn
PASSED_ON = ("negatives", "negatives_mode", "threshold", "source", "viewer_frame", "previous", "literal")  # to Ground


def _check_settings(values: Values) -> None:
    """ValueError or DropclipError where parameter values by name make no sense together or in themselves."""
    workspace_of(values)
    trust_config(values)
    load_gripper(str(values["gripper"]))
    if limits(values).workspace and not values["world_frame"]:
        raise ValueError("workspace is set and world_frame is not: expected the frame of the box")
    if match_config(values).needs_surroundings and not values["use_camera"]:
        raise ValueError(
            "use_camera is off: expected of rules only width and target, which need no camera, "
            "rank distance or score, open_wider 0 and sample_target false"
        )


@dataclass(frozen=True)
class _Answer:
    """Grasps (K) in the header's frame, what they were matched by, and what a planner needs (none without camera)."""

    header: Header
    grasps: Grasps
    match: Match
    message: str
    candidates: list[GraspCandidate]
    ground: Ground.Response


class GraspMatcherNode(ManagedNode):
    def __init__(self, **options):
        super().__init__("grasp_matcher_node", **options)
        self._settings = Settings(self, SETTINGS, check=_check_settings)
        self._frames = Frames(self)
        self._camera = CameraListener(self, self._settings, with_color=False, frames=self._frames)
        self._proposals: GraspArray | None = None
        self._changed = threading.Condition()
        self._jumps = on_jump_back(self, self._forget)
        self.create_subscription(
            GraspArray, GRASPS_TOPIC, self._take, 1, callback_group=MutuallyExclusiveCallbackGroup()
        )
        self._wanted = Wanted(self, GRASPS_TOPIC)
        self._ground = self.create_client(
            Ground, GROUND_SERVICE, qos_profile=SERVICE_QOS, callback_group=MutuallyExclusiveCallbackGroup()
        )
        self._marker_publisher = self.create_publisher(MarkerArray, "~/markers", LATCHED_QOS)
        self.create_service(
            MatchGrasps,
            MATCH_SERVICE,
            self._serve,
            qos_profile=SERVICE_QOS,
            callback_group=WaitingCallbackGroup(_CALLS),
        )
        self._health = Health(self, self._settings, {"camera": self._camera.health})
        self._turn, self._busy, self._goals = threading.Condition(), False, Admission()
        self._action = ActionServer(
            self,
            Grasp,
            GRASP_ACTION,
            self._execute,
            goal_callback=self._goals.admit,
            cancel_callback=lambda goal: CancelResponse.ACCEPT,
            callback_group=MutuallyExclusiveCallbackGroup(),
            **ACTION_SERVER_QOS,
        )
        self.begin(self._settings)

    def _serve(self, request: MatchGrasps.Request, response: MatchGrasps.Response) -> MatchGrasps.Response:
        """`_match`, and what is to be told of it."""
        start = time.perf_counter()
        answer = self._match(request, response)
        self._told(f"match_grasps {request.query[:80]!r}", answer, start)
        return answer

    def _told(self, what: str, answer: MatchGrasps.Response | Grasp.Result, start: float) -> None:
        milliseconds = 1e3 * (time.perf_counter() - start)
        self._health.asked(what, answer.status, answer.message, milliseconds, grasps=len(answer.candidates))

    def destroy_node(self) -> None:
        self._action.destroy()
        super().destroy_node()

    def _forget(self) -> None:
        self._proposals = None

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
        _tell(response, answer.ground)

    def _execute(self, goal) -> Grasp.Result:
        start = time.perf_counter()
        with self._goals.leaving():
            result = self._serve_goal(goal, Grasp.Result())
        self._told(f"grasp {goal.request.query[:80]!r}", result, start)
        finish(goal, result.status)
        return result

    @answer_errors
    def _serve_goal(self, goal, result: Grasp.Result) -> None:
        stages, wanted = Stages(goal, Grasp.Feedback), goal.request
        if not wanted.query.strip():
            raise DropclipError(Status.BAD_REQUEST, "the goal has no query; name an object, as 'the red mug'")
        if not self._settings["use_camera"]:
            raise DropclipError(
                Status.BAD_REQUEST,
                "use_camera is off: candidates need the depth camera; switch it on, or call match_grasps",
            )
        answer = self._find(wanted, stages)
        result.status, result.message, result.header = int(Status.OK), answer.message, answer.header
        result.candidates, result.timing = answer.candidates, stages.timing
        _tell(result, answer.ground)

    def _find(self, request: MatchGrasps.Request | Grasp.Goal, stages: Stages) -> _Answer:
        """What service and action have in common. Raises whatever makes an answer impossible, and CANCELLED."""
        if self._wanted.say(self._settings["listen_time"]):  # they are made while the phrase is grounded
            self._forget()
        stages.begin("ground")
        cloud, header, ground = self._target(request, stages)
        stages.begin("proposals")
        self._wanted.say(self._settings["listen_time"])
        proposals = self._newest_proposals(header, stages)
        grasps = self._carry(proposals, header) if proposals else Grasps.empty()
        target = sound_target(transform_points(self._lookup(header.frame_id, cloud.header), cloud_points(cloud)))
        world, view = self._world(header), None
        if self._settings["use_camera"]:
            stages.begin("surroundings")
            view = self._view(header)
        with self._alone(stages):
            bounds = limits(self._settings, min_seen=self._settings["min_seen"])
            seen = (
                look(target, view, workspace_of(self._settings), self._settings["max_moved"], bounds) if view else None
            )
            doubt = self._doubt(seen, target, world) if seen else ""
            stages.begin("match")
            gripper = load_gripper(self._settings["gripper"])
            choice = choose(
                grasps,
                target,
                match_config(self._settings, request.top_k),
                gripper,
                HandoffConfig(self._settings["approach_distance"], self._settings["lift_distance"]),
                world,
                bounds,
                seen,
            )
        stages.end()
        stages.check()
        chosen = choice.match.grasps
        candidates = []
        if seen:
            chosen = replace(chosen, width=choice.match.widths)
            candidates = candidate_messages(header, chosen, choice.match.tip_distances, choice.motion)
        self._marker_publisher.publish(grasp_markers(header, chosen, gripper))
        message = "; ".join(filter(None, [_summary(choice, len(grasps)), doubt]))
        return _Answer(header, chosen, choice.match, message, candidates, ground)

    @contextmanager
    def _alone(self, stages: Stages) -> Iterator[None]:
        """One request at a time, for what needs the processor; those that wait for others do not hold it up."""
        with self._turn:
            stages.wait(self._turn, lambda: not self._busy, float("inf"))
            self._busy = True
        try:
            yield
        finally:
            with self._turn:
                self._busy = False
                self._turn.notify_all()

    def _target(
        self, request: MatchGrasps.Request | Grasp.Goal, stages: Stages
    ) -> tuple[PointCloud2, Header, Ground.Response]:
        """The target's points, the stamp and frame of the answer, and Ground's; its own times go into the stages."""
        frame = request.target_frame or self._settings["world_frame"]
        if request.query:
            asked = Ground.Request(query=request.query, target_frame=frame)
            for name in PASSED_ON:
                setattr(asked, name, getattr(request, name))
            timeout, again = self._settings["ground_timeout"], self._settings["ask_again"]
            found = ask(self._ground, asked, stages, timeout, again, "grounding_node, in the same namespace,")
            if found.status != Status.OK:
                raise AnswerError(
                    Status(found.status),
                    found.message,
                    objects=_small(found.objects),
                    interpretation=found.interpretation,
                )
            stages.timing.extend(found.timing)
            return found.objects[0].cloud, found.header, found
        cloud = getattr(request, "cloud", None)
        if cloud is None or not cloud.width * cloud.height:
            raise DropclipError(Status.BAD_REQUEST, "the request has neither a query nor points in its cloud")
        return cloud, Header(stamp=cloud.header.stamp, frame_id=frame or cloud.header.frame_id), Ground.Response()

    def _newest_proposals(self, target: Header, stages: Stages) -> GraspArray | None:
        """The newest proposals, once they are near the target's stamp; None where there are none and the target is
        sampled. Raises NO_GRASPS or STALE_FRAME."""

        def difference(proposals: GraspArray) -> float:
            return abs(nanoseconds(proposals.header.stamp) - nanoseconds(target.stamp)) / 1e9

        limit = self._settings["max_stamp_difference"]
        with self._changed:
            stages.wait(
                self._changed,
                lambda: (newest := self._proposals) is not None and difference(newest) <= limit,
                self._settings["proposals_timeout"],
            )
            newest = self._proposals  # once: a clock that jumps back makes it None
        if self._settings["sample_target"] and (newest is None or difference(newest) > limit):
            return None
        if newest is None:
            raise DropclipError(
                Status.NO_GRASPS,
                f"no proposals have arrived on {GRASPS_TOPIC}: is a proposer running, and does it see a table?",
            )
        if difference(newest) > limit:
            raise DropclipError(
                Status.STALE_FRAME,
                f"the newest proposals are {difference(newest):.1f} s away from the "
                f"target, more than max_stamp_difference {limit:g} s: has the proposer stopped?",
            )
        return newest

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

    def _view(self, header: Header) -> View:
        """The newest depth image, and where it was taken in the header's frame."""
        captured = self._camera.newest()
        depth = depth_image(captured.depth, self._settings["depth_unit"])
        intrinsics = intrinsics_of(captured.info).scaled_to(depth.shape[1], depth.shape[0])
        world, pose = self._settings["world_frame"], None
        if world:
            pose = self._lookup(world, captured.header)
        return View(depth, intrinsics, self._way(header, captured.header), pose)

    def _doubt(self, seen: Seen, target: np.ndarray, world: World) -> str:
        """'' or a warning that the camera is not where TF says; TF_ERROR where that is sure."""
        if not (world.level and seen.table and len(target)):
            return ""
        at = transform_points(world.pose, target.mean(axis=0))
        return check_camera(seen.around.table @ np.linalg.inv(world.pose), at, trust_config(self._settings))

    def _world(self, header: Header) -> World:
        """Where the gate judges: in the world, if there is one, or else in the answer's frame."""
        world, base = self._settings["world_frame"], self._settings["base_frame"]
        pose = self._lookup(world, header) if world else np.eye(4)
        at = Header(stamp=header.stamp, frame_id=base)
        return World(pose, bool(world), self._lookup(world or header.frame_id, at)[:3, 3] if base else None)

    def _way(self, target: Header, source: Header) -> np.ndarray:
        """target_from_source (4, 4), each at its own stamp, through the world frame; without one at the target's."""
        world = self._settings["world_frame"]
        if not world:
            return self._lookup(target.frame_id, Header(stamp=target.stamp, frame_id=source.frame_id))
        return self._lookup(target.frame_id, Header(stamp=target.stamp, frame_id=world)) @ self._lookup(world, source)

    def _lookup(self, target: str, source: Header) -> np.ndarray:
        return self._frames.lookup(target, source.frame_id, source.stamp, self._settings["tf_timeout"])


def _summary(choice: Choice, proposed: int) -> str:
    """How many there are, where from, and why not more, in a line."""
    match = choice.match
    dropped = [f"{count} {RULES[rule]}" for rule, count in match.dropped.items() if count]
    dropped += [f"{count} {status.name}" for status, count in choice.refused.items()]
    source = f"sampled on the target; {match.sampled}" if match.sampled else f"of {proposed} proposals"
    return f"{len(match.grasps)} {source}" + (f"; dropped {', '.join(dropped)}" if dropped else "")


def _tell(answer: MatchGrasps.Response | Grasp.Result, ground: Ground.Response) -> None:
    """What Ground found and how it read the phrase, without the clouds and masks."""
    answer.objects, answer.interpretation = _small(ground.objects), ground.interpretation


def _small(objects: Sequence[FoundObject]) -> list[FoundObject]:
    """Without what is large: clouds and masks."""
    for one in objects:
        one.cloud, one.mask = PointCloud2(), Image()
    return list(objects)


def main() -> None:
    run(GraspMatcherNode)


if __name__ == "__main__":
    main()
