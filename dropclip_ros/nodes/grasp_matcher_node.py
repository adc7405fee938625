# SPDX-License-Identifier: Apache-2.0
"""The service `match_grasps`: which of the newest grasp proposals take hold of what a phrase means (appendix A.7)?

With a world frame, proposals are carried from their own stamp to the target's through it. Without one the camera is
taken to stand still between the two.
"""
import threading
import time

import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from dropclip_ros.errors import DropclipError, Status
from dropclip_ros.geometry import transform_points
from dropclip_ros.grasps import GRIPPERS, Grasps
from dropclip_ros.matching import MatchConfig, match_grasps
from dropclip_ros.msg import GraspArray, StageTime
from dropclip_ros.nodes.common import (
    GRASPS_TOPIC,
    GROUND_SERVICE,
    MATCH_SERVICE,
    SERVICE_QOS,
    Setting,
    Settings,
    answer_errors,
    run,
)
from dropclip_ros.nodes.grasp_messages import grasp_array_message, grasps_from_message
from dropclip_ros.nodes.markers import grasp_markers
from dropclip_ros.nodes.messages import cloud_points, nanoseconds, point_message
from dropclip_ros.nodes.tf import Frames
from dropclip_ros.srv import Ground, MatchGrasps

_DEFAULT = MatchConfig()
SETTINGS = (
    Setting("world_frame", "", "Frame that stands still, and of the answers; '' where the camera stands still"),
    Setting("top_k", _DEFAULT.top_k, "Most grasps in an answer", 1, 255),
    Setting("max_distance", 0.1, "Largest distance from a grasp's tip to the target's centre, m", 0.001, 10.0),
    Setting("outlier_neighbors", _DEFAULT.outlier_neighbors, "Neighbours in the target's outlier removal", 1, 1000),
    Setting("outlier_std", _DEFAULT.outlier_std, "Standard deviations in the target's outlier removal", 0.01, 20.0),
    Setting("gripper", "robotiq_2f_140", "The gripper that the markers show", choices=tuple(sorted(GRIPPERS))),
    Setting("proposals_timeout", 5.0, "How long a request waits for proposals near the target's stamp, s", 0.0, 60.0),
    Setting("max_stamp_difference", 5.0, "Largest time between proposals and target, s", 0.0, 1e9),
    Setting("ground_timeout", 60.0, "How long the service `ground` may take (the first call loads the model), s",
            0.1, 3600.0),
    Setting("tf_timeout", 0.5, "How long a transform is waited for, s", 0.0, 10.0),
)


class GraspMatcherNode(Node):
    def __init__(self, **options):
        super().__init__("grasp_matcher_node", **options)
        self._settings = Settings(self, SETTINGS)
        self._frames = Frames(self)
        self._proposals: GraspArray | None = None
        self._changed = threading.Condition()
        self.create_subscription(GraspArray, GRASPS_TOPIC, self._take, 1,
                                 callback_group=MutuallyExclusiveCallbackGroup())
        self._ground = self.create_client(Ground, GROUND_SERVICE, callback_group=MutuallyExclusiveCallbackGroup())
        self._marker_publisher = self.create_publisher(MarkerArray, "~/markers", 1)
        self.create_service(MatchGrasps, MATCH_SERVICE, self._match, qos_profile=SERVICE_QOS,
                            callback_group=MutuallyExclusiveCallbackGroup())

    def _take(self, msg: GraspArray) -> None:
        with self._changed:
            self._proposals = msg
            self._changed.notify_all()

    @answer_errors
    def _match(self, request: MatchGrasps.Request, response: MatchGrasps.Response) -> None:
        times = {}
        start = time.perf_counter()
        cloud, header, stages = self._target(request)
        times["ground"] = time.perf_counter() - start
        proposals = self._newest_proposals(header)
        times["proposals"] = time.perf_counter() - start - times["ground"]

        start = time.perf_counter()
        points = transform_points(self._lookup(header.frame_id, cloud.header), cloud_points(cloud))
        grasps = self._carry(proposals, header)
        config = MatchConfig(request.top_k or self._settings["top_k"], self._settings["outlier_neighbors"],
                             self._settings["outlier_std"], self._settings["max_distance"])
        match = match_grasps(grasps, points, config)
        chosen = grasps[match.indices]
        times["match"] = time.perf_counter() - start

        response.grasps = grasp_array_message(header, chosen, match.tip_distances)
        response.target_centre = point_message(match.target_centre)
        if self._marker_publisher.get_subscription_count():
            self._marker_publisher.publish(grasp_markers(header, chosen, GRIPPERS[self._settings["gripper"]]))
        response.status, response.message = int(Status.OK), f"{len(chosen)} of {len(grasps)} proposals"
        response.timing = [*stages, *(StageTime(stage=k, milliseconds=1e3 * s) for k, s in times.items())]

    def _target(self, request: MatchGrasps.Request) -> tuple[PointCloud2, Header, list[StageTime]]:
        """The target's points, the stamp and frame of the answer, and what Ground took."""
        frame = request.target_frame or self._settings["world_frame"]
        if request.query:
            found = self._call_ground(Ground.Request(query=request.query, target_frame=frame))
            if found.status != Status.OK:
                raise DropclipError(Status(found.status), found.message)
            return found.objects[0].cloud, found.header, list(found.timing)
        cloud = request.cloud
        if not cloud.width * cloud.height:
            raise DropclipError(Status.BAD_REQUEST, "the request has neither a query nor points in its cloud")
        return cloud, Header(stamp=cloud.header.stamp, frame_id=frame or cloud.header.frame_id), []

    def _call_ground(self, request: Ground.Request) -> Ground.Response:
        timeout = self._settings["ground_timeout"]
        done = threading.Event()
        if not self._ground.wait_for_service(timeout_sec=min(timeout, 5.0)):
            raise DropclipError(Status.TIMEOUT, f"the service {self._ground.srv_name} is not there: is grounding_node "
                                "running, in the same namespace?")
        future = self._ground.call_async(request)
        future.add_done_callback(lambda _: done.set())
        if not done.wait(timeout):
            self._ground.remove_pending_request(future)
            raise DropclipError(Status.TIMEOUT, f"{self._ground.srv_name} has not answered within {timeout:g} s")
        return future.result()

    def _newest_proposals(self, target: Header) -> GraspArray:
        """The newest proposals, once they are near the target's stamp. Raises NO_GRASPS or STALE_FRAME."""
        def difference() -> float:
            return abs(nanoseconds(self._proposals.header.stamp) - nanoseconds(target.stamp)) / 1e9

        limit = self._settings["max_stamp_difference"]
        with self._changed:
            self._changed.wait_for(lambda: self._proposals and difference() <= limit,
                                   self._settings["proposals_timeout"])
            if self._proposals is None:
                raise DropclipError(Status.NO_GRASPS, f"no proposals have arrived on {GRASPS_TOPIC}: is a proposer "
                                    "running, and does it see a table?")
            if difference() > limit:
                raise DropclipError(Status.STALE_FRAME, f"the newest proposals are {difference():.1f} s away from the "
                                    f"target, more than max_stamp_difference {limit:g} s: has the proposer stopped?")
            return self._proposals

    def _carry(self, proposals: GraspArray, target: Header) -> Grasps:
        """The proposals in the target's frame, at its stamp."""
        grasps = grasps_from_message(proposals)
        if len(grasps) < len(proposals.grasps):
            self.get_logger().warning(f"{len(proposals.grasps) - len(grasps)} of {len(proposals.grasps)} proposals "
                                      "are not finite or not orthonormal: dropped")
            if not len(grasps):
                raise DropclipError(Status.NO_GRASPS, f"all {len(proposals.grasps)} proposals on {GRASPS_TOPIC} are "
                                    "broken (not finite, no unit quaternion or a negative width); mend the proposer")
        world = self._settings["world_frame"]
        if world:
            world_from_grasps = self._lookup(world, proposals.header)
            target_from_world = self._lookup(target.frame_id, Header(stamp=target.stamp, frame_id=world))
            return grasps.transformed(target_from_world @ world_from_grasps)
        return grasps.transformed(self._lookup(target.frame_id, Header(stamp=target.stamp,
                                                                        frame_id=proposals.header.frame_id)))

    def _lookup(self, target: str, source: Header) -> np.ndarray:
        return self._frames.lookup(target, source.frame_id, source.stamp, self._settings["tf_timeout"])


def main() -> None:
    run(GraspMatcherNode, imports=("open3d",))


if __name__ == "__main__":
    main()
