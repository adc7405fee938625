# SPDX-License-Identifier: Apache-2.0
"""From grasps to what a motion planner is asked for: poses of the tool frame at the grasp, before and after it.

All poses are of a grasp's own frame (REP-103: metres, right-handed); 4x4 matrices.
"""

from dataclasses import dataclass

import numpy as np

from dropclip_ros.base.ranges import check_fields, ranged
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import Gripper


@dataclass(frozen=True)
class HandoffConfig:
    """Metres: `approach`, of the straight way to the grasp; `lift`, of the straight way up after it."""

    approach: float = ranged(0.10, 0.0, 0.99, doc="Length of the straight way to a grasp, m")
    lift: float = ranged(0.15, 0.0, 0.99, doc="Length of the straight way up after it, m")

    def __post_init__(self) -> None:
        check_fields(self, "HandoffConfig.")


@dataclass(frozen=True, eq=False)
class Handoff:
    """For N grasps, poses (N, 4, 4): between the tips, of the tool frame there, at the start, and at the end."""

    tip: np.ndarray
    tool: np.ndarray
    pregrasp: np.ndarray
    retreat: np.ndarray

    def transformed(self, transform: np.ndarray) -> "Handoff":
        """The same in frame a, by a rigid a_from_this (4, 4)."""
        return Handoff(*(transform @ poses for poses in (self.tip, self.tool, self.pregrasp, self.retreat)))

    def __getitem__(self, index) -> "Handoff":
        """Those of a mask, an index array or a slice."""
        return Handoff(*(poses[index] for poses in (self.tip, self.tool, self.pregrasp, self.retreat)))


def hand_off(grasps: Grasps, gripper: Gripper, up: np.ndarray, config: HandoffConfig = HandoffConfig()) -> Handoff:
    """The motion around each grasp. up (3,): unit vector away from the table, in the grasps' frame.

    With R, t, w, depth of a grasp, x = R e_x its approach, and T = tool_from_tip(w) of the gripper:

        tip      = [R, t + depth x]           (A.7: the grasp centre moved to the gripper's tip)
        tool     = tip T^-1
        pregrasp = tool moved by -approach x
        retreat  = tool moved by lift up

    w is the opening at which the fingers meet the object, so that tips that move on arcs are then where the grasp wants
    them; a hand that is opened further for the approach has them further back, out of the way.
    """
    tip = grasps.poses()
    tip[:, :3, 3] = grasps.tips()
    tool = tip @ np.linalg.inv(gripper.tool_from_tip(grasps.width))
    pregrasp, retreat = tool.copy(), tool.copy()
    pregrasp[:, :3, 3] -= config.approach * grasps.approach
    retreat[:, :3, 3] += config.lift * np.asarray(up, dtype=np.float64)
    return Handoff(tip, tool, pregrasp, retreat)
