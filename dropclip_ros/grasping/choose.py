# SPDX-License-Identifier: Apache-2.0
"""Grasps for one target that may leave for an arm: what the newest depth image shows, the match, and the gate.

All in the frame of the answer unless said otherwise; metres.
"""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from dropclip_ros.base.arrays import to_numpy
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grasping.gate import Known, Limits, raise_where_none_passes, refusal_of_scene, refusals, seen_beside
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import Gripper
from dropclip_ros.grasping.handoff import Handoff, HandoffConfig, hand_off
from dropclip_ros.grasping.matching import Match, MatchConfig, Surroundings, look_again, match_grasps
from dropclip_ros.tabletop import scene
from dropclip_ros.tabletop.workspace import Workspace
from dropclip_ros.vision.geometry import Intrinsics, invert_pose, transform_points

_ROOM = 0.5  # share of places in the fingers that must be known before a hand is opened wider than proposed
_MORE = 8  # times top_k are looked at, where the gate refuses some of the best


@dataclass(frozen=True, eq=False)
class View:
    """A depth image (H, W) m; pose: answer_from_camera (4, 4); world: world_from_camera, z up, None where unknown."""

    depth: np.ndarray
    intrinsics: Intrinsics
    pose: np.ndarray
    world: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class World:
    """Where the gate judges. pose: world_from_answer (4, 4), z up if `level`; base (3,): of the arm, or None."""

    pose: np.ndarray
    level: bool = False
    base: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Seen:
    """What a view shows of a target's surroundings, the share of the target that it shows where it was found, and
    whether there is a `table`. view: None where the scene is points without a camera; gaps between them say nothing."""

    view: View | None
    around: Surroundings
    share: float
    table: bool = True


@dataclass(frozen=True, eq=False)
class Choice:
    """The match and its motions (K), best first; refused: how many the gate held back, by status."""

    match: Match
    motion: Handoff
    refused: Counter


def look(target: np.ndarray, view: View, workspace: Workspace, max_moved: float, limits: Limits) -> Seen:
    """Looks whether the target (n, 3) is still there, and at what stands around it.

    SCENE_CHANGED where more than the share `max_moved` of what can be judged has gone, TARGET_UNSEEN where too little
    can; and what `scene.look` raises.
    """
    moved, share = look_again(transform_points(invert_pose(view.pose), target), view.depth, view.intrinsics)
    if moved > max_moved:
        raise DropclipError(
            Status.SCENE_CHANGED,
            f"{100 * moved:.0f} % of the target are no longer where it was "
            f"found, more than max_moved {100 * max_moved:.0f} %: ask again",
        )
    if refusal := refusal_of_scene(Known(seen=share), limits):
        raise DropclipError(*refusal)
    top = scene.look(view.depth, view.intrinsics, workspace, view.world)
    standing = to_numpy(top.points[top.standing]).astype(np.float64)
    return Seen(view, Surroundings(standing, top.table.plane).transformed(view.pose), share, top.table.seen)


def choose(
    grasps: Grasps,
    target: np.ndarray,
    config: MatchConfig,
    gripper: Gripper,
    ways: HandoffConfig,
    world: World,
    limits: Limits,
    seen: Seen | None,
) -> Choice:
    """The `top_k` best that pass the gate. Raises what `match_grasps` does, or what most were refused for."""
    for top_k in (config.top_k, _MORE * config.top_k):
        match = match_grasps(grasps, target, replace(config, top_k=top_k), gripper, seen.around if seen else None)
        match, beside = _keep_to_what_is_seen(match, seen, gripper)
        motion = hand_off(match.grasps, gripper, seen.around.table[:3] if seen else np.zeros(3), ways)
        known = Known(
            up=np.array([0.0, 0.0, 1.0]) if world.level else None,
            table=seen.around.table @ np.linalg.inv(world.pose) if seen and seen.table else None,
            base=world.base,
            seen=seen.share if seen else None,
            beside=beside,
        )
        if not seen:  # then there is no table to lift from
            known = replace(known, up=None)
        found = refusals(motion.transformed(world.pose), match.widths, gripper, known, limits)
        passed = [i for i, refusal in enumerate(found) if refusal is None]
        if len(passed) >= config.top_k or len(found) < top_k:
            break
    raise_where_none_passes(found)
    kept = passed[: config.top_k]
    match = replace(
        match,
        indices=match.indices[kept],
        grasps=match.grasps[kept],
        widths=match.widths[kept],
        tip_distances=match.tip_distances[kept],
    )
    return Choice(match, motion[kept], Counter(one.status for one in found if one))


def _keep_to_what_is_seen(match: Match, seen: Seen | None, gripper: Gripper) -> tuple[Match, np.ndarray | None]:
    """The match with hands no wider than proposed where the image does not know what is beside; the shares it knows."""
    if seen is None or seen.view is None:
        return match, None
    view = seen.view
    camera_from_answer = invert_pose(view.pose)

    def known(width: np.ndarray) -> np.ndarray:
        hands = replace(match.grasps, width=width).transformed(camera_from_answer)
        return seen_beside(hands, view.depth, view.intrinsics, gripper)

    wide = known(match.widths)
    room = wide >= _ROOM
    return (
        replace(match, widths=np.where(room, match.widths, match.grasps.width)),
        np.where(room, wide, known(match.grasps.width)),
    )
