# SPDX-License-Identifier: Apache-2.0
"""How frames become one lasting scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dropclip_ros.base.ranges import check_fields, ranged


@dataclass(frozen=True)
class MapConfig:
    """Lengths in metres, times in seconds, angles in degrees.

    Of the poses' limits either is enough for a frame to be refused; the table's are of its plane where the frame shows
    it, the residuals' of the motion that would bring what the frame shows onto what the map holds.
    """

    edge: float = ranged(0.005, above=0, high=0.05, doc="Edge of a voxel [m]; walls at multiples of it in the world")
    slack: float = ranged(0.012, above=0, doc="Depths that differ by less show the same surface [m]")
    behind: float = ranged(0.008, above=0, doc="What lies so far behind a voxel, all around it, shows it is gone [m]")
    rim: float = ranged(0.005, 0, doc="How far around that is looked for [m]: as far as poses err")
    through: int = ranged(2, 1, 100, doc="Frames that must see through a voxel before it is removed")
    taken: float = ranged(0.7, above=0, high=1, doc="Share of an object that is seen through when it is taken")
    new: float = ranged(0.4, above=0, high=1, doc="Confidence of an object that was seen once")
    grow: float = ranged(0.4, above=0, high=1, doc="Share of the way to 1 that a view adds to it")
    fade: float = ranged(0.6, 0, below=1, doc="What is left of it where the object should be seen and is not")
    least: float = ranged(0.15, 0, below=1, doc="Objects of less are forgotten")
    views: int = ranged(8, 1, 64, doc="Views that are kept of an object")
    apart: float = ranged(15.0, 0, 180, doc="Views of an object nearer to each other are one: the better [degrees]")
    keyframes: int = ranged(12, 1, 64, doc="Pictures that are kept, to be looked at for names and labels")
    voxels: int = ranged(120_000, 1000, doc="Most voxels; those seen longest ago go first")
    objects: int = ranged(128, 1, 1000, doc="Most objects")
    gone: int = ranged(32, 0, 1000, doc="Objects that were taken and are remembered, the latest")
    late: float = ranged(0.5, 0, doc="How much older than the newest a frame may be: cameras take turns [s]")
    table_height: float = ranged(0.006, above=0, doc="Most that the table may lie higher or lower than before [m]")
    table_tilt: float = ranged(0.9, above=0, doc="Most that it may be tilted against before [degrees]")
    drift: float = ranged(0.005, above=0, doc="Most that the pose may be off by what is seen [m], in the middle of it")
    turn: float = ranged(1.2, above=0, doc="Most that it may be turned by what is seen [degrees]")
    changed: float = ranged(0.6, above=0, high=1, doc="Share of the map that one frame may contradict")
    insist: int = ranged(3, 1, 100, doc="Frames in a row that must contradict so much before they are believed")
    features: Literal["views", "fused"] = "views"

    def __post_init__(self) -> None:
        check_fields(self, "map: ")
