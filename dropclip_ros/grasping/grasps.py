# SPDX-License-Identifier: Apache-2.0
"""Parallel-jaw grasps: a container, collision checks against a gripper's boxes, and suppression of near-duplicates.

Frames. A grasp's rotation has as columns the approach (x), the closing axis (y) and their cross product (z);
its translation is the grasp centre, and the fingertips lie `depth` further along the approach. Metres throughout.
These are the conventions of GraspNet's rows of 17 numbers, which HGGD writes.
"""

import logging
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.reading import read_array, read_text
from dropclip_ros.grasping.grippers import ROBOTIQ_2F_140, Gripper

logger = logging.getLogger(__name__)

ROW_LENGTH = 17  # score, width, height, depth, rotation (9, row-major), translation (3), object id
ROTATION_TOLERANCE = 1e-3  # in the elements of R^T R: rows are written as float32 or as a few decimals


@dataclass(frozen=True, eq=False)
class Grasps:
    """N grasps of one frame (the camera optical frame unless said otherwise).

    score (N,), width, height, depth (N,) metres; rotation (N, 3, 3); translation (N, 3); object_id (N,) int, -1 where
    unknown. `width` is the opening at which the fingers are put around the object, `height` the fingers' width.
    """

    score: np.ndarray
    width: np.ndarray
    height: np.ndarray
    depth: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    object_id: np.ndarray

    def __post_init__(self):
        shapes = {"rotation": (len(self.score), 3, 3), "translation": (len(self.score), 3)}
        for field in fields(self):
            dtype = np.int64 if field.name == "object_id" else np.float64
            value = np.asarray(getattr(self, field.name), dtype=dtype)
            expected = shapes.get(field.name, (len(self.score),))
            if value.shape != expected:
                raise ValueError(f"Grasps.{field.name} has shape {value.shape}; expected {expected}")
            object.__setattr__(self, field.name, value)

    @classmethod
    def empty(cls) -> "Grasps":
        """No grasps."""
        return cls.from_rows(np.zeros((0, ROW_LENGTH)))

    @classmethod
    def from_rows(cls, rows: np.ndarray, strict: bool = True) -> "Grasps":
        """GraspNet rows (N, 17).

        Rows that are not finite, or have a negative width, or a rotation that is not orthonormal or left-handed raise
        BAD_REQUEST, naming the first; with `strict` off they are dropped and their number is logged.
        """
        rows = np.asarray(rows, dtype=np.float64)
        rows = rows.reshape(-1, ROW_LENGTH) if rows.size == 0 else rows
        if rows.ndim != 2 or rows.shape[1] != ROW_LENGTH:
            raise DropclipError(
                Status.BAD_REQUEST,
                f"grasp rows have shape {rows.shape}; expected (N, {ROW_LENGTH}): "
                "score, width, height, depth, rotation (9, row-major), translation (3), object id.",
            )
        faults = row_faults(rows)
        if faults and strict:
            fault, bad = next(iter(faults.items()))
            first = int(np.flatnonzero(bad)[0])
            raise DropclipError(
                Status.BAD_REQUEST,
                f"grasp row {first} (of {len(rows)}, {int(bad.sum())} such): "
                f"{fault}. Row: {np.round(rows[first], 4).tolist()}. Mend it, or read with strict off.",
            )
        if faults:
            counts = ", ".join(f"{int(bad.sum())} with {fault}" for fault, bad in faults.items())
            logger.warning("dropped grasp rows: %s (of %d)", counts, len(rows))
            rows = rows[~np.any(list(faults.values()), axis=0)]
        return cls(
            rows[:, 0],
            rows[:, 1],
            rows[:, 2],
            rows[:, 3],
            rows[:, 4:13].reshape(-1, 3, 3),
            rows[:, 13:16],
            rows[:, 16].astype(np.int64),
        )

    def rows(self) -> np.ndarray:
        """GraspNet rows (N, 17), what `from_rows` reads."""
        return np.column_stack(
            [
                self.score,
                self.width,
                self.height,
                self.depth,
                self.rotation.reshape(-1, 9),
                self.translation,
                self.object_id,
            ]
        )

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, index) -> "Grasps":
        """The grasps of a mask, an index array, a slice, or one index (then one grasp)."""
        index = np.atleast_1d(index) if not isinstance(index, slice) else index
        return Grasps(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    @property
    def approach(self) -> np.ndarray:
        """Unit approach directions (N, 3)."""
        return self.rotation[:, :, 0]

    def tips(self) -> np.ndarray:
        """Points midway between the fingertips (N, 3): the centre moved to the gripper's tip (A.7)."""
        return self.translation + self.depth[:, None] * self.approach

    def poses(self) -> np.ndarray:
        """frame_from_grasp (N, 4, 4), at the grasp centre."""
        poses = np.tile(np.eye(4), (len(self), 1, 1))
        poses[:, :3, :3] = self.rotation
        poses[:, :3, 3] = self.translation
        return poses

    def transformed(self, transform: np.ndarray) -> "Grasps":
        """The same grasps in frame a, by a rigid a_from_this (4, 4)."""
        rotation, offset = np.asarray(transform)[:3, :3], np.asarray(transform)[:3, 3]
        return Grasps(
            self.score,
            self.width,
            self.height,
            self.depth,
            rotation @ self.rotation,
            self.translation @ rotation.T + offset,
            self.object_id,
        )


def load_rows(path: str | Path) -> Grasps:
    """Grasps of a file of GraspNet rows: .npy (N, 17), or text with a row a line. BAD_REQUEST where it is neither.

    Nothing is unpickled.
    """
    path = Path(path)
    try:
        if path.suffix == ".npy":
            rows = read_array(path)
        else:
            rows = np.array([line.replace(",", " ").split() for line in read_text(path).splitlines() if line.strip()])
        rows = np.asarray(rows, dtype=np.float64)
    except (OSError, ValueError, TypeError) as error:
        raise DropclipError(
            Status.BAD_REQUEST,
            f"cannot read grasp rows from {path}: {error}; expected .npy or text of {ROW_LENGTH} numbers a row",
        ) from error
    try:
        return Grasps.from_rows(rows)
    except DropclipError as error:
        raise DropclipError(error.status, f"{path}: {error.message}") from error


def row_faults(rows: np.ndarray) -> dict[str, np.ndarray]:
    """What is wrong with GraspNet rows (N, 17): a mask (N,) by fault, each row under its first fault only."""
    finite = np.isfinite(rows).all(axis=1)
    rotation = np.where(finite[:, None], rows[:, 4:13], 0.0).reshape(-1, 3, 3)
    gram = np.swapaxes(rotation, 1, 2) @ rotation
    masks = {
        "a number that is not finite": ~finite,
        "a rotation that is not orthonormal": np.abs(gram - np.eye(3)).max(axis=(1, 2), initial=0) > ROTATION_TOLERANCE,
        "a left-handed rotation": np.linalg.det(rotation) < 0,
        "a negative width": rows[:, 1] < 0,
    }
    faults, seen = {}, np.zeros(len(rows), dtype=bool)
    for fault, mask in masks.items():
        mask = mask & ~seen
        seen |= mask
        if mask.any():
            faults[fault] = mask
    return faults


def thin_cloud(points: np.ndarray, voxel_size: float) -> np.ndarray:
    """Indices (M,) of one point for each occupied voxel, in ascending order, so that the choice is deterministic."""
    if len(points) == 0:
        return np.zeros(0, dtype=np.int64)
    cells = np.floor(np.asarray(points) / voxel_size).astype(np.int64)
    cells -= cells.min(axis=0)
    extent = cells.max(axis=0) + 1
    keys = (cells[:, 0] * extent[1] + cells[:, 1]) * extent[2] + cells[:, 2]
    return np.sort(np.unique(keys, return_index=True)[1])


def fill_down(points: np.ndarray, table: np.ndarray | None, step: float) -> np.ndarray:
    """The points (N, 3) and, below each, one every `step` (m) down to the table's plane (4,), unit normal up: what one
    view hides is most often solid. At most one for each voxel of that size; without a table the points alone."""
    if table is not None:
        count = np.maximum(((points @ table[:3] + table[3]) / step).astype(np.int64), 0) + 1
        level = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        points = np.repeat(points, count, axis=0) - level[:, None] * step * table[:3]
    return points[thin_cloud(points, step)]


def colliding(
    grasps: Grasps,
    cloud: np.ndarray,
    gripper: Gripper = ROBOTIQ_2F_140,
    voxel_size: float = 0.005,
    allowed_points: int = 0,
) -> np.ndarray:
    """Which grasps (N,) bool have more than `allowed_points` voxels of the cloud (K, 3) inside fingers or body.

    The cloud, in the grasps' frame, is thinned to one point for each voxel (metres); 0 takes it as it is.
    """
    cloud = np.asarray(cloud, dtype=np.float32).reshape(-1, 3)
    cloud = cloud[np.isfinite(cloud).all(axis=1)]
    if voxel_size > 0:
        cloud = cloud[thin_cloud(cloud, voxel_size)]
    return _points_inside(grasps, cloud, gripper.parts(grasps.width)) > allowed_points


def points_between(grasps: Grasps, cloud: np.ndarray, gripper: Gripper = ROBOTIQ_2F_140) -> np.ndarray:
    """How many points (N,) of the cloud (K, 3) lie between the fingers, from the tips to where the body begins."""
    region = gripper.parts(grasps.width)[:, :1].copy()
    region[:, 0, 2:4] = np.stack([np.zeros(len(grasps)), region[:, 0, 2]], axis=-1)
    return _points_inside(grasps, np.asarray(cloud, dtype=np.float32).reshape(-1, 3), region)


def _points_inside(grasps: Grasps, cloud: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """How many points (N,) of the cloud (K, 3) lie in each grasp's boxes (N, P, 5), as `Gripper.parts` gives them."""
    columns = np.ascontiguousarray(cloud.T)
    turns = np.swapaxes(grasps.rotation, 1, 2).astype(np.float32)
    starts = turns @ grasps.tips().astype(np.float32)[:, :, None]
    result = np.zeros(len(grasps), dtype=np.int64)
    for i, boxes in enumerate(parts.astype(np.float32)):
        local = turns[i] @ columns - starts[i]
        x, y, z = local[:, (local[0] > boxes[:, 0].min()) & (local[0] < 0)]
        y, z = np.abs(y), np.abs(z)
        inside = np.zeros(len(x), dtype=bool)
        for x0, x1, y0, y1, z1 in boxes:
            inside |= (x > x0) & (x < x1) & (y >= y0) & (y < y1) & (z < z1)
        result[i] = np.count_nonzero(inside)
    return result


def height_above(grasps: Grasps, table: np.ndarray, gripper: Gripper = ROBOTIQ_2F_140) -> np.ndarray:
    """Height (N,) of the lowest point of the gripper over the plane (4,) (unit normal up, offset); < 0 is inside it."""
    table = np.asarray(table, dtype=np.float64)
    along = np.einsum("i,nij->nj", table[:3], grasps.rotation)  # the normal in each grasp's frame
    x0, x1, _, y1, z1 = np.moveaxis(gripper.parts(grasps.width), -1, 0)
    lowest = np.minimum(x0 * along[:, :1], x1 * along[:, :1]) - y1 * np.abs(along[:, 1:2]) - z1 * np.abs(along[:, 2:])
    return grasps.tips() @ table[:3] + table[3] + lowest.min(axis=1, initial=np.inf)


def openings(
    grasps: Grasps,
    cloud: np.ndarray,
    gripper: Gripper,
    most: float,
    step: float,
    table: np.ndarray | None = None,
    clearance: float = 0.0,
    allowed_points: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """How wide (N,) m each hand can be opened, and which (N,) bool are clear at all, as they are or up to `most` wider.

    In steps (m), from the first opening that is clear on, while it stays so: fingers may clear the flank of what they
    hold, but do not step over what stands beside it. Hands that are never clear stay as they are. cloud (K, 3): what is
    in the way; table (4,): plane, above which the gripper keeps `clearance` (m).
    """
    widths, clear, going = grasps.width.copy(), np.zeros(len(grasps), dtype=bool), np.ones(len(grasps), dtype=bool)
    for more in np.append(np.arange(0, most, step), most):
        tried = np.flatnonzero(going)
        wider = np.maximum(grasps.width, np.minimum(grasps.width + more, gripper.max_width))[tried]
        hands = replace(grasps[tried], width=wider)
        free = ~colliding(hands, cloud, gripper, 0, allowed_points)
        if table is not None:
            free &= height_above(hands, table, gripper) >= clearance
        widths[tried[free]] = wider[free]
        going[tried] = (free | ~clear[tried]) & (wider < gripper.max_width)
        clear[tried] |= free
    return widths, clear


def suppress(grasps: Grasps, distance: float = 0.02, angle: float = 0.5, limit: int | None = None) -> np.ndarray:
    """Non-maximum suppression: indices kept (K,), best score first.

    A grasp goes if a better one has its tips within `distance` (m) and its rotation within `angle` (rad), half a
    turn about the approach being the same grasp. Stops after `limit` grasps.
    """
    order = np.argsort(-grasps.score, kind="stable")
    tips = grasps.tips()
    kept: list[int] = []
    while len(order) and (limit is None or len(kept) < limit):
        best, order = order[0], order[1:]
        kept.append(best)
        relative = np.einsum("ji,njk->nik", grasps.rotation[best], grasps.rotation[order])
        xx, yy, zz = relative[:, 0, 0], relative[:, 1, 1], relative[:, 2, 2]
        trace = xx + np.abs(yy + zz)  # the larger trace of the rotation and of its half turn
        same = (np.linalg.norm(tips[order] - tips[best], axis=1) < distance) & ((trace - 1) / 2 > np.cos(angle))
        order = order[~same]
    return np.array(kept, dtype=np.int64)
