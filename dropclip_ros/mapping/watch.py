# SPDX-License-Identifier: Apache-2.0
"""What a frame must not contradict before it is fused: time, the table, where things are, and that they are there."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.mapping.config import MapConfig
from dropclip_ros.mapping.frames import MapFrame
from dropclip_ros.mapping.poses import Drift, drift_of, table_off

SOME = 15  # voxels that are something
_STEEPEST = 15.0  # degrees that the first table may be tilted in a world with z up
_TABLES = 20  # frames whose tables are averaged
_MANY = 150  # voxels that a frame must contradict at least to be strange
_STRANGE = 3  # objects


class Watch:
    """Knows the newest stamp, s, and the table's plane (4,) in the world, None before one is seen."""

    def __init__(self, config: MapConfig) -> None:
        self.config = config
        self.newest = -np.inf
        self.table: np.ndarray | None = None
        self._tables = self._strange = 0
        self._rng = np.random.default_rng(0)

    def time(self, stamp: float) -> None:
        """Raises BAD_FRAME or STALE_FRAME."""
        if not np.isfinite(stamp):
            raise DropclipError(Status.BAD_FRAME, f"the frame's stamp is {stamp}; expected seconds")
        if stamp < self.newest - self.config.late:
            raise DropclipError(
                Status.STALE_FRAME,
                f"the frame is {self.newest - stamp:.2f} s older than the newest, more than {self.config.late:g} s: "
                "did time go back? Clear the map then",
            )

    def plane(self, frame: MapFrame) -> None:
        """Whether the table lies where it lay. Raises TF_ERROR."""
        if frame.plane is None:
            return
        if self.table is None:
            tilt = np.degrees(np.arccos(np.clip(frame.plane[2], -1, 1)))
            if tilt > _STEEPEST:
                raise wrong_pose(f"the table is tilted by {tilt:.0f} degrees in a world with z up")
            return
        at = frame.points.mean(0) if len(frame.points) else looked_at(frame)
        height, tilt = table_off(frame.plane, self.table, at)
        if height > self.config.table_height or tilt > self.config.table_tilt:
            raise wrong_pose(
                f"the table lies {1e3 * height:.0f} mm and {tilt:.1f} degrees off where it was, allowed are "
                f"{1e3 * self.config.table_height:.0f} mm and {self.config.table_tilt:g} degrees"
            )

    def drift(self, points: np.ndarray, tree: cKDTree | None, places: np.ndarray, owner: np.ndarray) -> Drift | None:
        """Whether points (n,3) m of a frame lie where the map's places (M,3), of objects (M,), do. Raises TF_ERROR."""
        if tree is None:
            return None
        drift = drift_of(points, tree, places, owner, self._rng)
        if drift is None or drift.agree < 2 or 2 * drift.agree <= drift.objects:
            return drift
        if drift.offset > self.config.drift or drift.turn > self.config.turn:
            raise wrong_pose(
                f"what it shows lies {1e3 * drift.offset:.0f} mm and {drift.turn:.1f} degrees off what the map holds, "
                f"{drift.agree} of {drift.objects} objects alike"
            )
        return drift

    def change(self, seen: np.ndarray, gone: np.ndarray) -> None:
        """A frame that contradicts most of what should be there is not believed at once: its pose may be another's.

        seen, gone (K,): voxels of each object that it shows, and that it sees through. Raises TF_ERROR.
        """
        away = (gone > SOME) & (gone > self.config.changed * (seen + gone))
        total = seen.sum() + gone.sum()
        if gone.sum() < _MANY or gone.sum() <= self.config.changed * total or away.sum() < _STRANGE:
            self._strange = 0
            return
        self._strange += 1
        if self._strange < self.config.insist:
            raise wrong_pose(
                f"{away.sum()} objects that it should show are not there ({self._strange} of {self.config.insist} such "
                "frames in a row before they are believed)"
            )

    def accept(self, frame: MapFrame) -> None:
        """The frame was fused: it is the newest, and its table is averaged with those before."""
        if frame.plane is not None and self._tables < _TABLES:
            self._tables += 1
            known = frame.plane if self.table is None else self.table + (frame.plane - self.table) / self._tables
            self.table = known / np.linalg.norm(known[:3])
        self.newest = max(self.newest, frame.stamp)


def looked_at(frame: MapFrame) -> np.ndarray:
    """Where the camera's axis meets the frame's table, (3,) m; below the camera where it does not."""
    assert frame.plane is not None
    normal, eye, axis = frame.plane[:3], frame.pose[:3, 3], frame.pose[:3, 2]
    height = normal @ eye + frame.plane[3]
    down = normal @ axis
    return eye - axis * height / down if down < -0.1 else eye - normal * height


def wrong_pose(what: str) -> DropclipError:
    return DropclipError(
        Status.TF_ERROR,
        f"the camera's pose is not what it sees: {what}. The frame is not fused; check the camera's calibration "
        "and the arm's TF, or clear the map where the camera or the table was moved on purpose",
    )
