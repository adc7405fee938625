# SPDX-License-Identifier: Apache-2.0
"""Proposes antipodal grasps on what stands on the table, from depth alone: stands in for a learnt proposer.

Publishes `grasp_proposals` in the camera's optical frame with the image's stamp, while somebody subscribes.
"""
import time
import traceback
from collections.abc import Mapping

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from visualization_msgs.msg import MarkerArray

from dropclip_ros.antipodal import AntipodalConfig, sample_antipodal
from dropclip_ros.crop import crop_above
from dropclip_ros.errors import DropclipError, Status
from dropclip_ros.geometry import backproject
from dropclip_ros.grasps import Grasps
from dropclip_ros.grippers import load_gripper
from dropclip_ros.msg import GraspArray
from dropclip_ros.nodes import camera, table_settings
from dropclip_ros.nodes.camera import Camera, CapturedFrame
from dropclip_ros.nodes.common import GRASPS_TOPIC, Setting, Settings, run
from dropclip_ros.nodes.grasp_messages import grasp_array_message
from dropclip_ros.nodes.markers import grasp_markers
from dropclip_ros.nodes.messages import depth_image, intrinsics_of
from dropclip_ros.nodes.table_settings import table_config
from dropclip_ros.table import find_table

SETTINGS = (
    Setting("max_rate", 2.0, "Highest rate of proposals, Hz", 0.01, 100.0, read_only=True),
    Setting("gripper", "robotiq_2f_140", "The gripper that must fit: a name, or the path of a profile, .yaml"),
    Setting("seed", 0, "Seed of the sampler", 0, 2**31 - 1),
    *camera.SETTINGS,
    *table_settings.SETTINGS,
)


def _check_settings(values: Mapping[str, object]) -> None:
    """ValueError or DropclipError where parameter values by name make no sense together or in themselves."""
    table_config(values)
    load_gripper(values["gripper"])


class ProposalNode(Node):
    def __init__(self, **options):
        super().__init__("proposal_node", **options)
        self._settings = Settings(self, SETTINGS, check=_check_settings)
        self._camera = Camera(self, self._settings, with_color=False)
        self._publisher = self.create_publisher(GraspArray, GRASPS_TOPIC, 1)
        self._marker_publisher = self.create_publisher(MarkerArray, "~/markers", 1)
        self._done: CapturedFrame | None = None
        self._complaint: Status | None = None
        self.create_timer(1.0 / self._settings["max_rate"], self._propose, MutuallyExclusiveCallbackGroup())

    def _propose(self) -> None:
        if not (self._publisher.get_subscription_count() or self._marker_publisher.get_subscription_count()):
            return
        try:
            captured = self._camera.newest()
            if captured is self._done:
                return
            self._done = captured
            self._publish(captured)
            self._complaint = None
        except DropclipError as error:
            if error.status != self._complaint:     # once, not at every frame
                self.get_logger().warning(str(error))
            self._complaint = error.status
        except Exception:       # a bug: the next frame may be better
            self.get_logger().error(traceback.format_exc())

    def _publish(self, captured: CapturedFrame) -> None:
        start = time.perf_counter()
        gripper = load_gripper(self._settings["gripper"])
        grasps = self._sample(captured)
        self._publisher.publish(grasp_array_message(captured.header, grasps))
        if self._marker_publisher.get_subscription_count():
            self._marker_publisher.publish(grasp_markers(captured.header, grasps, gripper))
        self.get_logger().debug(f"{len(grasps)} grasps in {time.perf_counter() - start:.2f} s")

    def _sample(self, captured: CapturedFrame) -> Grasps:
        """Grasps in the camera frame. Raises what makes a depth image unusable."""
        depth = depth_image(captured.depth, self._settings["depth_unit"])
        intrinsics = intrinsics_of(captured.info).scaled_to(depth.shape[1], depth.shape[0])
        points, _ = backproject(depth, intrinsics)
        config = table_config(self._settings)
        table = find_table(points, config)
        above = crop_above(points, table, config)
        return sample_antipodal(points[above], AntipodalConfig(seed=self._settings["seed"]),
                                load_gripper(self._settings["gripper"]), table=table.plane)


def main() -> None:
    run(ProposalNode, imports=("open3d",))


if __name__ == "__main__":
    main()
