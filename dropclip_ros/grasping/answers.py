# SPDX-License-Identifier: Apache-2.0
"""Grasps for what a phrase means in one frame, chosen as grasp_matcher_node chooses: same proposals, rules and gate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.grasping.antipodal import sample_antipodal
from dropclip_ros.grasping.choose import Seen, View, World, choose
from dropclip_ros.grasping.gate import Limits
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import ROBOTIQ_2F_140, Gripper
from dropclip_ros.grasping.handoff import HandoffConfig
from dropclip_ros.grasping.matching import SERVED, MatchConfig, Surroundings
from dropclip_ros.grounding.pipeline import EncodedScene, GroundResult


def proposals_of(scene: EncodedScene, gripper: Gripper = ROBOTIQ_2F_140) -> Grasps:
    """Antipodal grasps on all that stands on the table, camera frame, as proposal_node makes them."""
    return sample_antipodal(scene.points, gripper=gripper, table=scene.table.plane)


def grasps_of(
    scene: EncodedScene,
    result: GroundResult,
    proposals: Grasps,
    config: MatchConfig = SERVED,
    top_k: int = 3,
    gripper: Gripper = ROBOTIQ_2F_140,
) -> tuple[Grasps, str]:
    """Grasps of the best object, best first, camera frame, their widths those to open the hand to; and '', or why there
    are none: nothing was found, or what the matching or the gate says."""
    if not result.objects:
        return Grasps.empty(), result.message
    pose = scene.frame.camera_pose
    view = View(scene.frame.depth, scene.frame.intrinsics, np.eye(4), pose) if scene.frame.picture else None
    around = Surroundings(scene.points.astype(np.float64), scene.table.plane)
    seen = Seen(view, around, 1.0, scene.table.seen) if config.needs_surroundings else None
    world = World(np.eye(4) if pose is None else pose, pose is not None)
    target = scene.points[result.objects[0].points].astype(np.float64)
    try:
        choice = choose(
            proposals, target, replace(config, top_k=top_k), gripper, HandoffConfig(), world, Limits(), seen
        )
    except DropclipError as error:  # the object is found all the same
        return Grasps.empty(), error.message
    return choice.match.opened, ""
