# SPDX-License-Identifier: Apache-2.0
"""Proposes grasps with HGGD, from colour and depth: the published weights, or those trained on MV-TOD.

ros2 run dropclip_ros hggd_node --ros-args -p weights:=realsense_checkpoint -p device:=cuda
"""

from __future__ import annotations

import numpy as np

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.base.ranges import built
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import load_gripper
from dropclip_ros.grasping.hggd.config import DetectionConfig
from dropclip_ros.ros import proposer, table_settings
from dropclip_ros.ros.camera.listener import CapturedFrame
from dropclip_ros.ros.common import Setting, Values, listed, run
from dropclip_ros.ros.messages import color_image, depth_image, intrinsics_of
from dropclip_ros.ros.proposer import Proposer
from dropclip_ros.ros.table_settings import workspace_of
from dropclip_ros.tabletop.scene import look
from dropclip_ros.vision.geometry import Intrinsics

SETTINGS = (
    Setting("weights", "", "Checkpoint with anchor, local, gamma and beta; '' for the one shipped", read_only=True),
    Setting("device", "auto", "Where the networks run: auto, cpu, cuda or cuda:N", read_only=True),
    Setting(
        "workspace",
        [-10.0, -10.0, 0.0, 10.0, 10.0, 10.0],
        "Box in the camera's optical frame in which grasps are looked for: its least x, y, z, then its greatest, m",
    ),
    *(Setting.of(DetectionConfig, name) for name in ("far", "min_score")),
    Setting.of(DetectionConfig, "top_k", high=10_000),
    *(Setting.of(DetectionConfig, name) for name in ("centers", "seed")),
    *proposer.SETTINGS,
    *table_settings.SETTINGS,
)


def detection_config(values: Values) -> DetectionConfig:
    """The core's configuration from parameter values by name; ValueError where they contradict each other."""
    workspace = listed(values, "workspace")
    if len(workspace) != 6:
        raise ValueError(f"workspace has {len(workspace)} numbers; expected the least x, y, z and the greatest, m")
    own = {name: values[name] for name in ("far", "min_score", "top_k", "centers", "seed")}
    return built(DetectionConfig, own | {"workspace": (workspace[:3], workspace[3:])})


def _check_settings(values: Values) -> None:
    detection_config(values)
    workspace_of(values)
    load_gripper(str(values["gripper"]))


class HggdNode(Proposer):
    """Ends at once, with MODEL_ERROR, where its weights or its device cannot be used: nothing stands in for them."""

    def __init__(self, **options):
        from dropclip_ros.grasping.hggd.detector import SHIPPED, Hggd

        super().__init__("hggd_node", SETTINGS, _check_settings, with_color=True, **options)
        weights = self._settings["weights"] or SHIPPED
        self._hggd = Hggd.load(weights, self._settings["device"])
        self.get_logger().info(f"HGGD of {weights} on {self._hggd.device}")

    def propose(self, captured: CapturedFrame) -> Grasps:
        depth = depth_image(captured.depth, self._settings["depth_unit"])
        intrinsics = intrinsics_of(captured.info)
        return self._hggd.detect(
            color_image(captured.color),
            depth,
            intrinsics,
            detection_config(self._settings),
            load_gripper(self._settings["gripper"]),
            self._table(depth, intrinsics, self.world_from_camera(captured.header)),
        )

    def _table(self, depth: np.ndarray, intrinsics: Intrinsics, pose: np.ndarray | None) -> np.ndarray | None:
        """The table's plane (4,); None where none is seen: HGGD needs none."""
        try:
            top = look(depth, intrinsics.scaled_to(depth.shape[1], depth.shape[0]), workspace_of(self._settings), pose)
            return top.table.plane
        except DropclipError as error:
            self.get_logger().debug(f"proposals are not checked against a table: {error.message}")
            return None


def main() -> None:
    run(HggdNode, imports=("torch", "torchvision", "scipy.spatial"))


if __name__ == "__main__":
    main()
