# SPDX-License-Identifier: Apache-2.0
"""The one gate that every pose passes before it leaves for an arm: what may be wrong with it, each with its status.

Whatever comes in, what is let through is finite, a rotation, of the gripper, inside the box where the arm may work and
within its reach; the hand stays over the table, comes from above and lifts up; target and frame are seen and new.
What is not known (None) is not judged, but nothing that is known and bad passes. Metres, radians, seconds.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grasping.grasps import Grasps, height_above
from dropclip_ros.grasping.grippers import Gripper
from dropclip_ros.grasping.handoff import Handoff
from dropclip_ros.vision.geometry import Intrinsics, is_rigid, project

_ALONG = 0.5  # cosine: a straight way goes where it should within 60 degrees
_STEP = 1e-3  # m; a shorter way has no direction
_FARTHEST = 100.0  # m; no arm is so far away, and numbers still have their millimetres
_ROUNDING = 1e-6  # m; widths travel as float32


class Refusal(NamedTuple):
    """Why a pose may not leave."""

    status: Status
    reason: str


@dataclass(frozen=True)
class Limits:
    """What a pose must keep. `workspace`: least x, y, z, then greatest, of the tool and the tips, in the poses' frame;
    () for no box. `reach`: of the tool from the arm's base; 0 for any. `clearance`: least height of the gripper over
    the table; negative lets it touch. `max_tilt`: of the approach from straight down. `min_seen`: least share of the
    target that is seen where it was found, `min_beside` of the places where the fingers go. `max_age`: of the frame; 0
    for any."""

    workspace: tuple[float, ...] = ()
    reach: float = 0.0
    clearance: float = -0.005
    max_tilt: float = 1.66
    min_seen: float = 0.5
    min_beside: float = 0.2
    max_age: float = 0.0

    def __post_init__(self):
        box = np.array(self.workspace, dtype=float)
        if box.size and not (box.size == 6 and np.isfinite(box).all() and (box[:3] < box[3:]).all()):
            raise ValueError(
                f"workspace is {list(self.workspace)}: expected the least x, y, z and then the greatest, m, or none"
            )
        for name, low, high in (
            ("reach", 0, 100),
            ("clearance", -1, 1),
            ("max_tilt", 0, np.pi),
            ("min_seen", 0, 1),
            ("min_beside", 0, 1),
            ("max_age", 0, np.inf),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is {getattr(self, name)}: expected a number from {low} to {high}")


@dataclass(frozen=True, eq=False)
class Known:
    """What is known around the poses, in their frame, None where it is not: `up` (3,) against gravity, the `table`'s
    plane (4,), where the arm's `base` is (3,), the share of the target that is `seen`, of the places in each hand's
    fingers the share `beside` (N,) that the image knows, and the frame's `age`."""

    up: np.ndarray | None = None
    table: np.ndarray | None = None
    base: np.ndarray | None = None
    seen: float | None = None
    beside: np.ndarray | None = None
    age: float | None = None


def refusals(
    motion: Handoff, width: np.ndarray, gripper: Gripper, known: Known = Known(), limits: Limits = Limits()
) -> list[Refusal | None]:
    """For each of N motions with the hand opened by `width` (N,): None where it may leave, or the first thing wrong."""
    scene = refusal_of_scene(known, limits)
    width = np.asarray(width, dtype=np.float64)
    beside = np.ones(len(width)) if known.beside is None else known.beside
    return [
        scene or _of_one(tip, tool, pregrasp, retreat, opening, gripper, known, limits) or _beside(share, limits)
        for tip, tool, pregrasp, retreat, opening, share in zip(
            motion.tip, motion.tool, motion.pregrasp, motion.retreat, width, beside, strict=True
        )
    ]


def seen_beside(hands: Grasps, depth: np.ndarray, intrinsics: Intrinsics, gripper: Gripper) -> np.ndarray:
    """Share (N,) of places in the fingers of hands, in the frame of a camera, where its depth image (H, W) m knows
    something: that nothing was seen there does not say that nothing is there."""
    if not len(hands):
        return np.zeros(0)
    x0, _, y0, y1, z1 = np.moveaxis(gripper.parts(hands.width)[:, 0], -1, 0)
    along, across, side = (grid.ravel() for grid in np.meshgrid((0.0, 0.5), (0.0, 0.5, 1.0), (-1.0, 0.0, 1.0)))
    y = y0[:, None] + across * (y1 - y0)[:, None]
    local = np.stack([along * x0[:, None], y, side * z1[:, None]], axis=-1)
    both = np.concatenate([local, local * (1, -1, 1)], axis=1)
    places = both @ np.swapaxes(hands.rotation, 1, 2) + hands.tips()[:, None]
    pixels, z = project(places.reshape(-1, 3), intrinsics)
    inside = (z > 0) & (pixels >= -0.5).all(axis=1) & (pixels < np.array(depth.shape[::-1]) - 0.5).all(axis=1)
    known = np.zeros(len(pixels), dtype=bool)
    column, row = np.round(pixels[inside]).astype(np.int64).T
    known[inside] = depth[row, column] > 0
    return known.reshape(len(hands), -1).mean(axis=1)


def tips_of(tool: np.ndarray, width: np.ndarray, gripper: Gripper) -> np.ndarray:
    """Poses (N, 4, 4) between the tips, of poses of the tool and openings (N,); NaN where an opening is no number."""
    width = np.asarray(width, dtype=np.float64)
    return tool @ gripper.tool_from_tip(np.where(np.isfinite(width), width, 0.0))


def raise_where_none_passes(found: Sequence[Refusal | None]) -> None:
    """Raises the most frequent refusal where there is nothing else."""
    refused = [one for one in found if one is not None]
    if not found or len(refused) < len(found):
        return
    status = Counter(one.status for one in refused).most_common(1)[0][0]
    first = next(one for one in refused if one.status == status)
    raise DropclipError(status, f"none of {len(found)} grasps may be executed; the first: {first.reason}")


def verdict(found: Sequence[Refusal]) -> Status:
    """Of candidates none of which can be executed: what all were refused for, or else NO_PATH."""
    statuses = {one.status for one in found}
    return statuses.pop() if len(statuses) == 1 else Status.NO_PATH


def refusal_of_scene(known: Known, limits: Limits) -> Refusal | None:
    if known.age is not None and limits.max_age and not known.age <= limits.max_age:
        return Refusal(
            Status.STALE_FRAME, f"the frame is {known.age:.1f} s old, more than {limits.max_age:g} s: ask again"
        )
    if known.seen is not None and not known.seen >= limits.min_seen:
        return Refusal(
            Status.TARGET_UNSEEN,
            f"only {100 * known.seen:.0f} % of the target are seen where it was found, less than "
            f"{100 * limits.min_seen:.0f} %: is something before it, or the depth missing there?",
        )
    return None


def _beside(share: float, limits: Limits) -> Refusal | None:
    if share >= limits.min_beside:
        return None
    return Refusal(
        Status.TARGET_UNSEEN,
        f"the depth image knows only {100 * share:.0f} % of where the fingers would go: what is there is not known",
    )


def _of_one(tip, tool, pregrasp, retreat, width: float, gripper: Gripper, known: Known, limits: Limits):
    """The first thing wrong with one motion, poses (4, 4)."""
    return (
        _shape((tip, tool, pregrasp, retreat), width, gripper)
        or _place((tip, tool, pregrasp, retreat), known, limits)
        or _height((tool, pregrasp, retreat), width, gripper, known, limits)
        or _direction(tip, tool, pregrasp, retreat, known, limits)
    )


def _shape(poses, width: float, gripper: Gripper) -> Refusal | None:
    if not all(is_rigid(pose) for pose in poses):
        return Refusal(Status.BAD_POSE, "a pose is not finite, or no rotation (a unit quaternion)")
    if np.abs([pose[:3, 3] for pose in poses]).max() > _FARTHEST:
        return Refusal(Status.BAD_POSE, f"a pose is more than {_FARTHEST:g} m away")
    if not (np.isfinite(width) and width > 0):
        return Refusal(Status.BAD_POSE, f"its width is {width:g} m: expected one above 0")
    if width > gripper.max_width + _ROUNDING:
        return Refusal(Status.TOO_WIDE, f"needs an opening of {width:.3f} m, {gripper.max_width:.3f} m is all")
    return None


def _place(poses, known: Known, limits: Limits) -> Refusal | None:
    places = np.array([pose[:3, 3] for pose in poses])
    if limits.workspace:
        low, high = np.reshape(limits.workspace, (2, 3))
        outside = ((places < low) | (places > high)).any(axis=1)
        if outside.any():
            x, y, z = places[outside][0]
            return Refusal(
                Status.OUT_OF_WORKSPACE,
                f"goes to ({x:.3f}, {y:.3f}, {z:.3f}) m, outside the workspace from {low.tolist()} to {high.tolist()}",
            )
    if limits.reach and known.base is not None:
        far = np.linalg.norm(places[1:] - known.base, axis=1).max()
        if not far <= limits.reach:
            return Refusal(
                Status.OUT_OF_REACH, f"goes {far:.3f} m away from the arm's base, which reaches {limits.reach:g} m"
            )
    return None


def _height(tools, width: float, gripper: Gripper, known: Known, limits: Limits) -> Refusal | None:
    if known.table is None:
        return None
    tips = tips_of(np.array(tools), np.full(len(tools), width), gripper)
    score, opening, height, depth = (np.full(len(tips), v) for v in (1.0, width, 0.0, 0.0))
    hands = Grasps(score, opening, height, depth, tips[:, :3, :3], tips[:, :3, 3], np.full(len(tips), -1))
    lowest = float(height_above(hands, known.table, gripper).min())
    if lowest >= limits.clearance:
        return None
    return Refusal(
        Status.TOO_LOW,
        f"takes the hand to {1000 * lowest:.0f} mm over the table, allowed are {1000 * limits.clearance:.0f} mm",
    )


def _direction(tip, tool, pregrasp, retreat, known: Known, limits: Limits) -> Refusal | None:
    approach, forward, lift = tip[:3, 0], tool[:3, 3] - pregrasp[:3, 3], retreat[:3, 3] - tool[:3, 3]
    if not _goes(forward, approach):
        return Refusal(Status.BAD_APPROACH, "the way to the grasp does not go where the fingers point")
    up = known.up if known.up is not None else known.table[:3] if known.table is not None else None
    if up is None:
        return None
    tilt = float(np.arccos(np.clip(approach @ -np.asarray(up), -1, 1)))
    if tilt > limits.max_tilt:
        return Refusal(
            Status.BAD_APPROACH,
            f"the hand would come {np.degrees(tilt):.0f} degrees from straight down, allowed are "
            f"{np.degrees(limits.max_tilt):.0f}",
        )
    if not _goes(lift, up):
        return Refusal(Status.BAD_APPROACH, "the lift does not rise")
    return None


def _goes(way: np.ndarray, direction: np.ndarray) -> bool:
    """Whether a way (3,), where it is one, goes in a unit direction (3,), within 60 degrees."""
    length = np.linalg.norm(way)
    return bool(length < _STEP or way @ direction >= _ALONG * length)
