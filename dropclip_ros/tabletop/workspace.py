# SPDX-License-Identifier: Apache-2.0
"""What a lab knows about where its things are: how far, in which region, on what table."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from dropclip_ros.base.arrays import Array, array_namespace, falses, like_array, true_indices
from dropclip_ros.tabletop.table import TableConfig

TABLES = ("auto", "plane", "none", "ransac")


@dataclass(frozen=True)
class Workspace:
    """Lengths in metres. Plane, height and box are in the world where the camera's pose is known, else in its frame.

    table: `plane` expects one; `none` takes whatever is in the region by itself, as in bins and trays; `auto` does so
    where no plane is seen, or where a region is given and nothing stands on a plane in it. `ransac` is the paper's
    (A.7): the largest plane of open3d's RANSAC, and everything else stands on it.
    """

    near: float = 0.1  # depths under it, and
    far: float = 3.0  # over it, are left out
    table: str = "auto"
    height: float | None = None  # z of the table, where it is known
    plane: tuple[float, ...] | None = None  # a, b, c, d: a x + b y + c z + d = 0 is the table, where it is known
    low: tuple[float, ...] | None = None  # the box x, y, z to look in: its least
    high: tuple[float, ...] | None = None  # and its largest corner
    polygon: tuple[tuple[float, float], ...] = ()  # of pixels u, v: what part of the image to look at
    search: TableConfig = field(default_factory=TableConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.near < self.far < np.inf:
            raise ValueError(f"near {self.near} and far {self.far}: expected 0 <= near < far, metres")
        if self.table not in TABLES:
            raise ValueError(f"table {self.table!r}: expected one of {', '.join(TABLES)}")
        if self.height is not None and (self.plane is not None or not np.isfinite(self.height)):
            raise ValueError(f"height {self.height}: expected a finite number, and no plane beside it")
        if self.plane is not None and (not _numbers(self.plane, 4) or not np.any(self.plane[:3])):
            raise ValueError(f"plane {self.plane}: expected a, b, c, d, finite, with a, b, c not all 0")
        if self.table in ("none", "ransac") and (self.height is not None or self.plane is not None):
            raise ValueError(
                f"table {self.table!r} and where it is: expected auto or plane where height or plane is known"
            )
        if (self.low is None) != (self.high is None):
            raise ValueError("the box has one corner only: expected low and high")
        if box := self._box:
            low, high = box
            if not (_numbers(low, 3) and _numbers(high, 3) and np.less(low, high).all()):
                raise ValueError(f"box from {low} to {high}: expected x, y, z, finite, low under high")
        if self.polygon and (len(self.polygon) < 3 or not all(_numbers(corner, 2) for corner in self.polygon)):
            raise ValueError(f"polygon {self.polygon}: expected three corners u, v or more, finite, in pixels")

    @property
    def _box(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def bounded(self) -> bool:
        """Whether a region is given."""
        return self.low is not None or bool(self.polygon)

    def known_plane(self, pose: np.ndarray | None = None) -> np.ndarray | None:
        """The table's plane (4,) in the camera frame, towards the camera, where it is known; pose (4, 4):
        world_from_camera."""
        given = (0.0, 0.0, 1.0, -self.height) if self.height is not None else self.plane
        if given is None:
            return None
        plane = np.array(given, float) / np.linalg.norm(given[:3])
        if pose is not None:
            plane = np.append(plane[:3] @ pose[:3, :3], plane[:3] @ pose[:3, 3] + plane[3])
        return plane if plane[3] >= 0 else -plane

    def region(
        self, points: Array, pixels: Array | None, size: tuple[int, int] | None, pose: np.ndarray | None
    ) -> Array:
        """Which of the points (N, 3), camera frame, are in it: indices. pixels (N,): of an image of size (H, W)."""
        inside = ~falses(points)
        if box := self._box:
            low, high = (like_array(points, corner) for corner in box)
            turned = (
                points
                if pose is None
                else points @ like_array(points, pose[:3, :3].T) + like_array(points, pose[:3, 3])
            )
            inside &= array_namespace(points).all((turned >= low) & (turned <= high), 1)
        if self.polygon and pixels is not None and size is not None:
            mask = _drawn(self.polygon, *size)
            inside &= mask[pixels] if isinstance(pixels, np.ndarray) else like_array(inside, mask)[pixels]
        return true_indices(inside)


def _numbers(values: tuple, count: int) -> bool:
    return len(values) == count and bool(np.isfinite(values).all())


@lru_cache(maxsize=4)
def _drawn(polygon: tuple[tuple[float, float], ...], height: int, width: int) -> np.ndarray:
    """The polygon's pixels, bool (height width,)."""
    image = Image.new("1", (width, height))
    ImageDraw.Draw(image).polygon([tuple(corner) for corner in polygon], fill=1)
    return np.array(image).reshape(-1)
