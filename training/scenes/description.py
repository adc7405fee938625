# SPDX-License-Identifier: Apache-2.0
"""What a scene may look like, and what one does: a description that any renderer can draw, as plain JSON.

A description names its objects; their meshes come from the catalogue (`Catalogue.build`). z is up, the world's origin
lies on the table's surface, in the middle.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from dropclip_ros.base.ranges import check_fields, ranged

TABLE_ID = 1
FIRST_OBJECT_ID = 2
MAX_OBJECTS = 250  # labels are bytes
SPOT = np.pi / 3  # rad
CLUTTER = ("scattered", "packed", "mixed")


@dataclass(frozen=True)
class SceneConfig:
    """Ranges that scenes are drawn from. Lengths in metres, angles in radians, times in seconds.

    min_objects, max_objects: that fall onto the table; clutter: scattered, packed or mixed, or "any": drawn a scene.
    views: the first from above, the others uniform on the upper hemisphere between the two `elevation`s; radius: of the
    views, from the middle of the table; focal: of 640 pixels of width. area: half of the extents where things fall.
    poses: "low", a third of the objects in any pose and the others upright, where of 30 places the table is nearest;
    "random": each in any pose at the first place drawn, as in the paper (A.1.1). scale, brightness: factors on
    objects' size and texture; settle_time: at most, until all rest.
    """

    min_objects: int = ranged(4, 1, MAX_OBJECTS)
    max_objects: int = ranged(12, 1, MAX_OBJECTS)
    clutter: str = "any"
    poses: Literal["low", "random"] = "low"
    views: int = ranged(73, 1)
    width: int = ranged(640, 1)
    height: int = ranged(480, 1)
    radius: tuple[float, float] = ranged((0.6, 0.95), above=0)
    elevation: tuple[float, float] = ranged((0.3, 1.4), above=0)
    focal: tuple[float, float] = ranged((520.0, 620.0), above=0)
    area: tuple[float, float] = ranged((0.22, 0.17), above=0)
    scale: tuple[float, float] = ranged((0.92, 1.08), above=0)
    brightness: tuple[float, float] = ranged((0.85, 1.15), above=0)
    settle_time: float = ranged(4.0, above=0)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.min_objects > self.max_objects:
            raise ValueError(f"min_objects {self.min_objects}: expected at most max_objects, {self.max_objects}")
        if self.clutter not in (*CLUTTER, "any"):
            raise ValueError(f"clutter {self.clutter!r}: expected any, {', '.join(CLUTTER)}")
        for name in ("radius", "elevation", "focal", "scale", "brightness"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} ({low}, {high}): expected the smaller number first")
        if self.elevation[1] > np.pi / 2:
            raise ValueError(f"elevation up to {self.elevation[1]}: expected radians, at most pi / 2")


@dataclass(frozen=True)
class Surface:
    """A table top or a floor: `random_surface` of the seed, repeated `repeat` times; height: of its top, m."""

    seed: int
    height: float
    half: tuple[float, float]  # extents along x and y, m
    specular: float
    shininess: float
    repeat: float = 1.0


@dataclass(frozen=True)
class Light:
    """A spot that shines at the origin, SPOT to each side, and casts shadows: position (3,) m, colour (3,), 0 to 1."""

    position: tuple[float, float, float]
    color: tuple[float, float, float]


@dataclass(frozen=True)
class Camera:
    """A pinhole: square pixels, centre in the middle of the image, world_from_camera 4x4 (optical frame), m."""

    width: int
    height: int
    focal: float
    world_from_camera: tuple[tuple[float, ...], ...]

    @property
    def intrinsics(self) -> np.ndarray:
        """K (3,3), pixels; the middle of the first pixel is (0, 0)."""
        return np.array(
            [[self.focal, 0, self.width / 2 - 0.5], [0, self.focal, self.height / 2 - 0.5], [0, 0, 1]], float
        )

    @property
    def pose(self) -> np.ndarray:
        return np.array(self.world_from_camera)


@dataclass(frozen=True)
class PlacedObject:
    """An object of the catalogue at rest. `scale` and `brightness` are factors on its mesh and texture.

    world_from_mesh: 4x4, rigid; vertex v of the catalogue's mesh lies at world_from_mesh @ (scale v). label: in masks.
    """

    label: int
    name: str
    scale: float
    brightness: float
    specular: float
    shininess: float
    world_from_mesh: tuple[tuple[float, ...], ...]

    @property
    def pose(self) -> np.ndarray:
        return np.array(self.world_from_mesh)


@dataclass(frozen=True)
class SceneDescription:
    """A settled scene and the cameras that look at it.

    ambient: light from everywhere, in [0, 1]; backdrop: colour (3,) in [0, 1] of what lies behind the floor.
    """

    clutter: str
    objects: tuple[PlacedObject, ...]
    table: Surface
    floor: Surface
    ambient: float
    backdrop: tuple[float, float, float]
    lights: tuple[Light, ...]
    cameras: tuple[Camera, ...]

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict) -> SceneDescription:
        """Raises KeyError or TypeError where a field is missing or unknown."""
        return cls(
            data["clutter"],
            tuple(PlacedObject(**{**o, "world_from_mesh": rows(o["world_from_mesh"])}) for o in data["objects"]),
            *(Surface(**{**data[name], "half": tuple(data[name]["half"])}) for name in ("table", "floor")),
            data["ambient"],
            tuple(data["backdrop"]),
            tuple(Light(tuple(light["position"]), tuple(light["color"])) for light in data["lights"]),
            tuple(Camera(**{**c, "world_from_camera": rows(c["world_from_camera"])}) for c in data["cameras"]),
        )


def rows(matrix: np.ndarray | list) -> tuple[tuple[float, ...], ...]:
    """A matrix as it stands in a description."""
    return tuple(tuple(float(value) for value in row) for row in matrix)
