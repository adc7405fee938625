# SPDX-License-Identifier: Apache-2.0
"""Shapes of HGGD's networks, and how grasps are read from what they say. The defaults are the published ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dropclip_ros.base.ranges import check_fields, ranged

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

    width: int = ranged(640, 1, 4096)
    height: int = ranged(360, 1, 4096)
    trunk: int = ranged(8, 1, 4096)
    blocks: tuple[int, int, int, int] = ranged((3, 4, 6, 3), 1, 4096)
    head: int = ranged(32, 1, 4096)
    angles: int = ranged(6, 1, 4096)
    anchor_width: float = ranged(50.0, above=0, high=4096)
    anchor_depth: float = ranged(0.02, above=0, high=1)
    rotations: int = ranged(7, 1, 4096)
    points: int = ranged(25600, 1, 10**6)
    region_points: int = ranged(512, 1, 4096)
    point_channels: tuple[int, int, int] = ranged((64, 128, 1024), 1, 4096)
    hidden: tuple[int, int] = ranged((512, 256), 1, 4096)
    info_channels: int = ranged(32, 1, 4096)

    def __post_init__(self) -> None:
        for name, count in (("blocks", 4), ("point_channels", 3), ("hidden", 2)):
            value = tuple(getattr(self, name))  # lists, where it was read from a file
            object.__setattr__(self, name, value)
            if len(value) != count:
                raise ValueError(f"HggdConfig.{name} {value}: expected {count} numbers")
        check_fields(self, "HggdConfig.")
        if min(self.width, self.height) < 4 * CELL:
            raise ValueError(f"HggdConfig: an input of {self.width}x{self.height} px is too small; expected {4 * CELL}")

    @property
    def features(self) -> int:
        """Channels of the feature map that the points of a region carry."""
        return 4 * self.trunk


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

    near: float = ranged(0.1, 0)
    far: float = ranged(3.0, 0.2, 100.0, doc="Depth beyond is taken as unknown, m")
    workspace: tuple[Corner, Corner] = EVERYWHERE
    centers: int = ranged(48, 1, 4096, doc="Places of the image that are looked at closely")
    heat: float = ranged(0.01, 0, 1)
    min_points: int = ranged(32, 0, 10**6)
    per_region: int = ranged(10, 1, 4096)
    depth: float = ranged(0.027, 0, 1)
    open_wider: float = ranged(0.09, 0, 1)
    min_score: float = ranged(0.01, 0.0, 1.0, doc="Least score of a proposal")
    held_points: int = ranged(3, 0, 10**6)
    nms_distance: float = ranged(0.03, 0, 1)
    nms_angle: float = ranged(math.pi / 6, 0, math.pi)
    top_k: int = ranged(100, 1, 10**6, doc="Most proposals of a frame")
    seed: int = ranged(0, 0, 2**31 - 1, doc="Seed of the choice of points")

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.near < self.far:
            raise ValueError(f"near is {self.near} and far {self.far}; expected 0 <= near < far, metres")
        low, high = self.workspace
        if len(low) != 3 or len(high) != 3 or not all(a < b for a, b in zip(low, high, strict=True)):
            raise ValueError(
                f"workspace is {self.workspace}; expected two corners x, y, z in metres, each coordinate "
                "of the first below that of the second"
            )
