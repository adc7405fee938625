# SPDX-License-Identifier: Apache-2.0
"""Objects of the generator: a cheap spec with attributes and split, and the model that physics and renderers need."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.mvtod.phrases import describe, normal

TRAIN, UNSEEN_INSTANCE, UNSEEN_CATEGORY = SPLITS = ("train", "unseen_instance", "unseen_category")


@dataclass(frozen=True)
class ObjectSpec:
    """An object before its mesh: everything that `build`, phrases and splits need."""

    name: str
    category: str
    split: str
    attributes: dict[str, str]
    seed: int


@dataclass(frozen=True)
class ObjectModel:
    """A textured object, upright (z up), origin in the middle of its bounding box.

    vertices (V,3) float32 m; faces (F,3) int32 wound outward; uv (V,2) float32, OpenGL convention (v up: row 0 of the
    texture is v = 1); texture (256,256,3) uint8; specular and shininess in [0, 1]; mass kg; friction of sliding;
    hull_parts: vertices (v,3) float32 m of convex parts for collision, None: the convex hull of the mesh serves.
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
    friction: float
    hull_parts: list[np.ndarray] | None
    phrases: dict[str, tuple[str, ...]]
    heldout_phrases: dict[str, tuple[str, ...]]


def matches(spec: ObjectSpec, phrase: str) -> bool:
    """Does the phrase truthfully describe the object? Knows every phrase of the vocabulary, training or held out."""
    return normal(phrase) in describe(spec.category, spec.attributes).accepted
