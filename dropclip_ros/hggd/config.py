# SPDX-License-Identifier: Apache-2.0
"""Shapes of HGGD's networks, and how grasps are read from what they say. The defaults are the published ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

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
