# SPDX-License-Identifier: Apache-2.0
"""The objects of the generator: cheap specs with attributes and splits, and the models that physics and renderers need.

catalogue = Catalogue.procedural()                     # or Catalogue.load("objects/catalogue.json")
model = catalogue.build(catalogue.of_split(TRAIN)[0])  # mesh, texture, collision shapes, mass, phrases

A catalogue of meshes is a folder with catalogue.json; `training.mvtod.collect` makes one of YCB, Google Scanned
Objects, ShapeNet-Sem or a plain folder of meshes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from training.mvtod.errors import MvtodError
from training.mvtod.phrases import normal
from training.mvtod.wording import describe_object

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


@dataclass(frozen=True)
class Catalogue:
    """Specs of objects, and the folder that their paths are relative to (None: all are procedural)."""

    specs: tuple[ObjectSpec, ...]
    root: Path | None = None

    @classmethod
    def procedural(cls) -> Catalogue:
        """The objects that the project makes itself."""
        from training.mvtod.procedural.objects import catalogue  # it imports this module

        return cls(tuple(catalogue()))

    def of_split(self, split: str) -> tuple[ObjectSpec, ...]:
        """Specs of one of SPLITS; raises MvtodError where there are none."""
        if split not in SPLITS:
            raise MvtodError(f"split {split!r}: expected one of {', '.join(SPLITS)}")
        specs = tuple(spec for spec in self.specs if spec.split == split)
        if not specs:
            raise MvtodError(f"{self.root or 'the catalogue'}: no object of split {split}; choose another split")
        return specs

    def build(self, spec: ObjectSpec) -> ObjectModel:
        """The mesh, texture, physics and phrases of a spec; the same bytes every time."""
        from training.mvtod.procedural.objects import build

        if spec.mesh is None:
            return build(spec)
        raise MvtodError(f"{spec.name}: meshes cannot be read yet")


def matches(spec: ObjectSpec, phrase: str) -> bool:
    """Does the phrase truthfully describe the object? Knows every phrase of the vocabulary, training or held out."""
    return normal(phrase) in describe_object(spec).accepted
