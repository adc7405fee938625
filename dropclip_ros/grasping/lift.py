# SPDX-License-Identifier: Apache-2.0
"""How likely a grasp lifts its target, from what one view shows: small networks on measures of what is around it.

It was trained on picks in the simulated workcell, on objects of the training split (`python -m training.workcell.lifts`
makes them and trains it). Nothing here simulates.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from dropclip_ros.base.reading import read_arrays
from dropclip_ros.grasping.antipodal import normals
from dropclip_ros.grasping.grasps import Grasps, fill_down, height_above, thin_cloud
from dropclip_ros.grasping.grippers import Gripper

SHIPPED = Path(__file__).parent.parent / "model" / "lift.npz"
VOXEL = 0.005  # m, of the clouds
_STEP = 0.0075  # m, of the columns that stand for what is hidden
_END = 0.01  # m: the outermost part of what is held, on which a pad presses
_AHEAD = 0.015  # m beyond the tips
_SIDE = 0.02  # m outside of a finger
NAMES = (
    "width",
    "opening",
    "reach",
    "tip_height",
    "tilt",
    "held",
    "solid",
    "share",
    "others",
    "extent",
    "along_pad",
    "off_closing",
    "off_pad",
    "off_approach",
    "low_contact",
    "high_contact",
    "low_seen",
    "high_seen",
    "oblique",
    "under_target",
    "under_others",
    "ahead",
    "beside",
    "above",
    "top",
    "long",
    "short",
    "clearance",
    "score",
)


@dataclass(frozen=True, eq=False)
class Around:
    """What one view shows around a target, in the grasps' frame, m: points of the target (n, 3) and of the rest (m, 3),
    the table's plane (4,), unit normal up, and where the camera is (3,)."""

    target: np.ndarray
    others: np.ndarray
    table: np.ndarray
    camera: np.ndarray


def features(grasps: Grasps, widths: np.ndarray, around: Around, gripper: Gripper) -> np.ndarray:
    """Measures (N, len(NAMES)), each about 0 to 1, of grasps whose hands are opened by `widths` (N,), m."""
    target = around.target[thin_cloud(around.target, VOXEL)]
    others = around.others[thin_cloud(around.others, VOXEL)]
    outward = normals(target - around.camera, VOXEL)
    solid = fill_down(target, around.table, _STEP)
    up, height = around.table[:3], target @ around.table[:3] + around.table[3]
    flat = (target - target.mean(axis=0)) @ (np.eye(3) - np.outer(up, up))
    axes = np.linalg.svd(flat, full_matrices=False)[2] if len(flat) > 2 else np.eye(3)
    size = [float(np.quantile(height, 0.95)), *(float(np.ptp(flat @ axis)) for axis in axes[:2])]
    low = height_above(replace(grasps, width=widths), around.table, gripper)
    tips, middle = grasps.tips(), solid.mean(axis=0)
    return np.array(
        [
            _of_one(
                grasps.rotation[i],
                tips[i],
                (float(grasps.width[i]), float(widths[i]), float(low[i]), float(grasps.score[i])),
                (target, outward, solid, others, middle),
                around.table,
                size,
                gripper,
            )
            for i in range(len(grasps))
        ]
    ).reshape(-1, len(NAMES))


def _of_one(rotation, tip, own, clouds, table, size, gripper: Gripper) -> list[float]:
    """The measures of one hand; x is the approach, y the closing axis, the tips at 0."""
    (width, opening, low, score), (target, outward, solid, others, middle) = own, clouds
    seen, filled, rest = ((cloud - tip) @ rotation for cloud in (target, solid, others))
    inside = _between(seen, width, gripper)
    x, y, z = seen[inside].T
    facing = outward[inside] @ rotation[:, 1]
    extent = float(np.ptp(y)) if len(y) else 0.0
    contacts = [_contact(sign * y, sign * facing) for sign in (-1, 1)]
    pads = [_ends(y[part]) for part in (z < -gripper.finger_width / 6, z > gripper.finger_width / 6)]
    oblique = max((abs(a - b) for a, b in zip(*pads, strict=True)), default=0.0) if all(pads) else 0.0
    off = np.abs((middle - tip) @ rotation)
    near = (np.abs(rest[:, 2]) < gripper.finger_width / 2) & (rest[:, 0] > -gripper.finger_depth) & (rest[:, 0] < 0)
    side = np.abs(rest[:, 1]) - opening / 2
    finger = gripper.finger_thickness
    return [
        width / gripper.max_width,
        opening / gripper.max_width,
        float(-x.min()) / gripper.finger_depth if len(x) else 0.0,
        float(tip @ table[:3] + table[3]) / 0.1,
        float(np.arccos(np.clip(-rotation[:, 0] @ table[:3], -1, 1))),
        np.sqrt(len(x)) / 10,
        np.sqrt(np.count_nonzero(_between(filled, width, gripper))) / 10,
        len(x) / max(len(target), 1),
        np.sqrt(np.count_nonzero(_between(rest, opening, gripper))) / 5,
        extent / gripper.max_width,
        float(np.ptp(z)) / gripper.finger_width if len(z) else 0.0,
        off[1] / 0.05,
        off[2] / 0.1,
        off[0] / 0.1,
        *(value for value, _ in contacts),
        *(count for _, count in contacts),
        oblique / 0.02,
        np.sqrt(_under(seen, opening, gripper)) / 3,
        np.sqrt(_under(rest, opening, gripper)) / 3,
        np.sqrt(_lanes(seen, width, gripper)) / 3,
        np.sqrt(np.count_nonzero(near & (side > finger) & (side < finger + _SIDE))) / 5,
        np.sqrt(np.count_nonzero((np.abs(rest[:, 1:]) < 0.04).all(axis=1) & (rest[:, 0] < 0))) / 10,
        size[0] / 0.2,
        size[1] / 0.2,
        size[2] / 0.2,
        np.clip(low, -0.01, 0.1) / 0.05,
        score,
    ]


def _between(points: np.ndarray, width: float, gripper: Gripper) -> np.ndarray:
    """Which points (n, 3), as a hand has them, lie between its pads."""
    x, y, z = points.T
    return (x < 0) & (x > -gripper.finger_depth) & (np.abs(y) < width / 2) & (np.abs(z) < gripper.finger_width / 2)


def _contact(along: np.ndarray, facing: np.ndarray) -> tuple[float, float]:
    """How squarely the surface at the end of what is held faces a pad, 0.5 where none is seen; and how much is seen."""
    at_end = along > along.max(initial=-np.inf) - _END
    if not at_end.any():
        return 0.5, 0.0
    return float(np.clip(facing[at_end], 0, 1).mean()), np.sqrt(at_end.sum()) / 5


def _ends(y: np.ndarray) -> tuple[float, ...]:
    return (float(y.min()), float(y.max())) if len(y) else ()


def _under(points: np.ndarray, opening: float, gripper: Gripper) -> int:
    """How many points (n, 3) fingers and palm meet on their way in."""
    x, y, z = points.T
    finger = (np.abs(np.abs(y) - opening / 2 - gripper.finger_thickness / 2) < gripper.finger_thickness / 2) & (x < 0)
    palm = (x < -gripper.finger_depth) & (np.abs(y) < gripper.max_width / 2)
    return int(np.count_nonzero((finger | palm) & (np.abs(z) < gripper.finger_width / 2)))


def _lanes(points: np.ndarray, width: float, gripper: Gripper) -> int:
    """How many points (n, 3) lie right ahead of the tips as they will close: a slope or a corner."""
    x, y, z = points.T
    aside = np.abs(np.abs(y) - width / 2 - gripper.finger_thickness / 2) < gripper.finger_thickness / 2
    return int(np.count_nonzero(aside & (x > 0) & (x < _AHEAD) & (np.abs(z) < gripper.finger_width / 2)))


@lru_cache(maxsize=2)
def _network(path: Path) -> tuple[np.ndarray, ...]:
    held = read_arrays(path)
    return tuple(held[name] for name in ("mean", "scale", "w1", "b1", "w2", "b2"))


def predict(measures: np.ndarray, path: Path = SHIPPED) -> np.ndarray:
    """Probabilities (N,) that grasps with these measures lift their target alone: the mean of a few small networks."""
    mean, scale, w1, b1, w2, b2 = _network(path)
    hidden = np.maximum(np.einsum("nf,mfh->mnh", (measures - mean) / scale, w1) + b1[:, None], 0)
    logits = np.einsum("mnh,mh->mn", hidden, w2) + b2[:, None]
    return (1 / (1 + np.exp(-np.clip(logits, -30, 30)))).mean(axis=0)
