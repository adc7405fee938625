# SPDX-License-Identifier: Apache-2.0
"""What an object is before its mesh (a spec), and what physics and renderers need of it (a model)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

TRAIN, UNSEEN_INSTANCE, UNSEEN_CATEGORY = SPLITS = ("train", "unseen_instance", "unseen_category")


@dataclass(frozen=True)
class ObjectSpec:
    """An object before its mesh: everything that `Catalogue.build`, phrases and splits need.

    name: unique in its catalogue; attributes: color, material, state, brand, flavour ... in plain words.
    seed: of a procedural object. mesh: path relative to the catalogue's folder, None: procedural; texture: an image,
    None: as the mesh file says; scale: metres per unit of the mesh; up: the mesh's direction that points up.
    mass: kg, None: by material; grasps: ACRONYM file, relative path; prompts: phrases by family, None: made of the
    attributes.
    """

    name: str
    category: str
    split: str
    attributes: dict[str, str]
    seed: int = 0
    mesh: str | None = None
    texture: str | None = None
    scale: float = 1.0
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)
    mass: float | None = None
    grasps: str | None = None
    prompts: dict[str, tuple[str, ...]] | None = None

    @property
    def identity(self) -> tuple[str, str, str, dict[str, str]]:
        """Name, category, split and attributes: what a model has of its spec."""
        return self.name, self.category, self.split, dict(self.attributes)


@dataclass(frozen=True)
class ObjectModel:
    """A textured object, upright (z up), origin in the middle of its bounding box.

    vertices (V,3) float32 m; faces (F,3) int32 wound outward; uv (V,2) float32, OpenGL convention (v up: row 0 of the
    texture is v = 1); texture (H,W,3) uint8; specular and shininess in [0, 1]; friction of sliding.
    hull_parts: vertices (v,3) float32 m of convex parts for collision; together they cover the mesh.
    mass kg; density kg/m3: of the parts, so that together they weigh `mass`.
    model_from_file: rigid 4x4 from the mesh file's frame (in metres, after `scale`) to the model's: moves grasps.
    """

    name: str
    category: str
    split: str
    attributes: dict[str, str]
    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    texture: np.ndarray
    specular: float
    shininess: float
    mass: float
    density: float
    friction: float
    hull_parts: list[np.ndarray]
    phrases: dict[str, tuple[str, ...]]
    heldout_phrases: dict[str, tuple[str, ...]]
    model_from_file: np.ndarray = field(default_factory=lambda: np.eye(4))
