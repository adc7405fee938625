# SPDX-License-Identifier: Apache-2.0
"""Proposes antipodal grasps on what stands on the table, from depth alone: needs no weights."""

from dropclip_ros.base.arrays import to_numpy
from dropclip_ros.grasping.antipodal import AntipodalConfig, sample_antipodal
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import load_gripper
from dropclip_ros.ros import proposer, table_settings
from dropclip_ros.ros.camera.listener import CapturedFrame
from dropclip_ros.ros.common import Setting, Values, run
from dropclip_ros.ros.messages import depth_image, intrinsics_of
from dropclip_ros.ros.proposer import Proposer
from dropclip_ros.ros.table_settings import workspace_of
from dropclip_ros.tabletop.scene import look

SETTINGS = (
    Setting("seed", 0, "Seed of the sampler", 0, 2**31 - 1),
    *proposer.SETTINGS,
    *table_settings.SETTINGS,
)


def _check_settings(values: Values) -> None:
    """ValueError or DropclipError where parameter values by name make no sense together or in themselves."""
    workspace_of(values)
    load_gripper(str(values["gripper"]))


class ProposalNode(Proposer):
    def __init__(self, **options):
        super().__init__("proposal_node", SETTINGS, _check_settings, with_color=False, **options)

    def propose(self, captured: CapturedFrame) -> Grasps:
        depth = depth_image(captured.depth, self._settings["depth_unit"])
        intrinsics = intrinsics_of(captured.info).scaled_to(depth.shape[1], depth.shape[0])
        top = look(depth, intrinsics, workspace_of(self._settings), self.world_from_camera(captured.header))
        return sample_antipodal(
            to_numpy(top.points[top.standing]),
            AntipodalConfig(seed=self._settings["seed"]),
            load_gripper(self._settings["gripper"]),
            table=top.table.plane,
        )


def main() -> None:
    run(ProposalNode)


if __name__ == "__main__":
    main()
