# SPDX-License-Identifier: Apache-2.0
"""A camera at the wrist of a cell's arm: what it sees, from where it can look, and how the arm gets there.

It looks along the tool's z from beside the hand, so that it does not see the hand. Its casing is not in the planner's
model: poses lie well above the table. Arms go there on checked paths, and back home, from where `pick` begins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy.ndimage import binary_dilation
from scipy.spatial.transform import Rotation

from dropclip_ros.vision.geometry import invert_pose
from training.scenes.clutter import look_at
from training.scenes.scene import View
from training.workcell.cell import Cell, CellConfig
from training.workcell.kinematics import inverse, nearest_turn
from training.workcell.pick import AROUND, AT_HOME, drive
from training.workcell.planning import TURN, NoPath, Planner, observed
from training.workcell.robot import HOME

BESIDE, AHEAD = 0.12, 0.09  # m, of the tool's y and z
MIDDLE = (0.0, 0.0, 0.03)  # m, of what is looked at
AZIMUTHS = {  # degrees
    "right": -90,
    "front right": -135,
    "front left": 135,
    "left": 90,
    "far right": -45,
    "far left": 45,
}
ELEVATIONS = {"low": 0.75, "high": 1.15}  # rad
DISTANCES = (0.5, 0.45, 0.4)  # m, the first that can be reached
ROLLS = np.radians(np.arange(0, 360, 45))  # about the camera's axis, that are tried

TOOL_FROM_CAMERA = np.eye(4)
TOOL_FROM_CAMERA[:3, 3] = 0.0, BESIDE, AHEAD


@lru_cache(8)
def looks(config: CellConfig) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Named poses that an arm alone with its table reaches: world_from_camera 4x4, and angles (6,) of the arm."""
    planner, found = Planner(config, np.zeros((0, 3))), {}
    for side, azimuth in AZIMUTHS.items():
        for height, elevation in ELEVATIONS.items():
            for distance in DISTANCES:
                pose = look_at(MIDDLE, distance, np.radians(azimuth), elevation)
                if reached := reach(planner, config, pose, HOME):
                    found[f"{side}, {height}"] = reached
                    break
    return found


def reach(
    planner: Planner, config: CellConfig, pose: np.ndarray, near: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """The pose, turned about its axis so that the arm gets there with the least motion from `near`, and its angles."""
    best = None
    for roll in ROLLS:
        turned = pose.copy()
        turned[:3, :3] = pose[:3, :3] @ Rotation.from_euler("z", roll).as_matrix()
        tool = invert_pose(config.world_from_base) @ turned @ invert_pose(TOOL_FROM_CAMERA)
        for joints in nearest_turn(inverse(tool), near):
            far = np.abs(joints - near).max()
            if (best is None or far < best[0]) and planner.free(joints, config.gripper.max_width):
                best = far, turned, joints
    return None if best is None else best[1:]


def eye(cell: Cell) -> np.ndarray:
    """world_from_camera 4x4, where the wrist is now."""
    return cell.frames()["tool0"] @ TOOL_FROM_CAMERA


def capture(cell: Cell, noise: bool = True) -> View:
    """What the wrist's camera sees, as `Cell.capture`."""
    return cell.capture(noise, eye(cell))


def go(
    cell: Cell,
    joints: np.ndarray,
    seen: Sequence[View],
    cancelled: Callable[[], bool] = lambda: False,
    came: np.ndarray | None = None,
) -> np.ndarray | None:
    """Moves the arm to angles (6,), past all that the views show; the way (N, 6) it took, None where cancelled.

    came: a way from those angles to where the arm is: it goes back on it where that is free. Raises NoPath.
    """
    points = [observed(view, cell.config) for view in map(_without_arm, seen) if view.depth.any()]
    planner = Planner(cell.config, np.unique(np.concatenate([np.zeros((0, 3)), *points]), axis=0))
    opening = cell.opening()
    if not planner.free(joints, opening):
        raise NoPath("something stands where the arm would be")
    way = None if came is None else came[::-1]
    if way is None or np.abs(way[0] - cell.arm()).max() > AT_HOME or not _is_free(planner, way, opening):
        way = planner.way(cell.arm(), joints, opening)
    return way if drive(cell, way, cancelled) else None


def _is_free(planner: Planner, way: np.ndarray, opening: float) -> bool:
    """Whether straight lines between configurations (N, 6) hit nothing."""
    for one, other in pairwise(way):
        steps = int(np.ceil(np.abs(other - one).max() / TURN)) + 1
        if not all(planner.free(joints, opening) for joints in np.linspace(one, other, steps)):
            return False
    return True


def _without_arm(view: View) -> View:
    """The arm knows where it is: its points are none that it could hit."""
    arm = binary_dilation(view.mask == 0, iterations=AROUND)
    return replace(view, depth=np.where(arm, np.float32(0), view.depth))
