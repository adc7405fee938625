# SPDX-License-Identifier: Apache-2.0
"""Shapes of HGGD's networks, and how grasps are read from what they say. The defaults are the published ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

Corner = tuple[float, float, float]  # x, y, z, m
EVERYWHERE = (-math.inf,) * 3, (math.inf,) * 3
CELL = 8  # pixels of the input along a cell of the angle, width and depth maps: three halvings


@dataclass(frozen=True)
class HggdConfig:
    """What weights belong to: a checkpoint without a config has the defaults.

    width, height: the input, px; an image is scaled, its aspect ratio kept, to fit into it.
    trunk: channels of the trunk's first stage, doubled four times. blocks: residual blocks of the other four.
    head: channels within a head. angles: classes of the in-plane angle over half a turn.
    anchor_width: px of the input; anchor_depth: m; what the width and the depth maps are relative to.
    rotations: anchors of each of the two angles out of the plane.
    points: of the scene; region_points: of a region around a centre.
    point_channels: of the local network's three point-wise layers; hidden: of the two after; info_channels: of the
    embedding of a centre's angle, width and depth.
    """

    width: int = 640
    height: int = 360
    trunk: int = 8
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    head: int = 32
    angles: int = 6
    anchor_width: float = 50.0
    anchor_depth: float = 0.02
    rotations: int = 7
    points: int = 25600
    region_points: int = 512
    point_channels: tuple[int, int, int] = (64, 128, 1024)
    hidden: tuple[int, int] = (512, 256)
    info_channels: int = 32

    def __post_init__(self) -> None:
        for name, count in (("blocks", 4), ("point_channels", 3), ("hidden", 2)):
            value = tuple(getattr(self, name))  # lists, where it was read from a file
            object.__setattr__(self, name, value)
            if len(value) != count or not all(_is_count(v, 4096) for v in value):
                raise ValueError(f"HggdConfig.{name} is {value}; expected {count} whole numbers in [1, 4096]")
        for name in ("width", "height", "trunk", "head", "angles", "rotations", "region_points", "info_channels"):
            if not _is_count(getattr(self, name), 4096):
                raise ValueError(f"HggdConfig.{name} is {getattr(self, name)!r}; expected a whole number in [1, 4096]")
        if not _is_count(self.points, 10**6):
            raise ValueError(f"HggdConfig.points is {self.points!r}; expected a whole number in [1, 1000000]")
        if min(self.width, self.height) < 4 * CELL:
            raise ValueError(f"HggdConfig: an input of {self.width}x{self.height} px is too small; expected {4 * CELL}")
        for name, high in (("anchor_width", 4096), ("anchor_depth", 1)):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and math.isfinite(value) and 0 < value <= high):
                raise ValueError(f"HggdConfig.{name} is {value!r}; expected a number in (0, {high}]")

    @property
    def features(self) -> int:
        """Channels of the feature map that the points of a region carry."""
        return 4 * self.trunk


def _is_count(value: object, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= high


@dataclass(frozen=True)
class DetectionConfig:
    """How grasps are read from the networks. Metres, radians, pixels of the networks' input.

    near, far: depth beyond is taken as unknown. workspace: corners (low, high) of a box in the camera's optical frame
    outside of which no grasp is looked for.
    centers: regions looked at; heat: least score of their centres. min_points: of a region.
    per_region: grasps read from each; depth: of the tips beyond a grasp's centre, 7 mm more than published: fewer are
    lost (benchmarks/path/proposals.py). open_wider: how much wider than the networks say the hand is opened where
    nothing is
    in the way, as one view hides how far back an object reaches; 0 as published. min_score: least of a grasp's.
    held_points: least number of 5 mm voxels that are seen between the fingers. nms_distance, nms_angle: of two grasps
    that lie closer the better one stays. top_k: grasps in all. seed: of the choice of points.
    """

    near: float = 0.1
    far: float = 3.0
    workspace: tuple[Corner, Corner] = EVERYWHERE
    centers: int = 48
    heat: float = 0.01
    min_points: int = 32
    per_region: int = 10
    depth: float = 0.027
    open_wider: float = 0.09
    min_score: float = 0.01
    held_points: int = 3
    nms_distance: float = 0.03
    nms_angle: float = math.pi / 6
    top_k: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        for name, high in (("centers", 4096), ("per_region", 4096), ("top_k", 10**6)):
            if not _is_count(getattr(self, name), high):
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected a whole number in [1, {high}]")
        for name, high in (
            ("heat", 1),
            ("min_score", 1),
            ("depth", 1),
            ("open_wider", 1),
            ("nms_distance", 1),
            ("nms_angle", math.pi),
            ("min_points", 10**6),
            ("held_points", 10**6),
            ("seed", 2**31 - 1),
        ):
            if not 0 <= getattr(self, name) <= high:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected a number in [0, {high:g}]")
        if not 0 <= self.near < self.far < math.inf:
            raise ValueError(f"near is {self.near} and far {self.far}; expected 0 <= near < far, metres")
        low, high = self.workspace
        if len(low) != 3 or len(high) != 3 or not all(a < b for a, b in zip(low, high, strict=True)):
            raise ValueError(
                f"workspace is {self.workspace}; expected two corners x, y, z in metres, each coordinate "
                "of the first below that of the second"
            )
