# SPDX-License-Identifier: Apache-2.0
"""Ten views of one object alone on a plain background, for annotation (A.1.1)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO

import numpy as np
from PIL import Image

from training.objects.spec import ObjectModel
from training.scenes.clutter import look_at
from training.scenes.description import FIRST_OBJECT_ID, Camera, Light, PlacedObject, SceneDescription, Surface, rows
from training.scenes.render_mujoco import render

SIZE = 336  # pixels
RADIUS = 0.15  # m; all objects are drawn in this size
FOCAL = 2.0 * SIZE  # pixels
DISTANCE = 2.1 * RADIUS * FOCAL / SIZE  # m; the object's sphere fills the picture
GLOSS = (0.2, 0.3)  # specular and shininess of all: what a mesh is made of is for the annotation to say
AROUND = [(k * np.pi / 3, 0.3) for k in range(6)]  # azimuth and elevation, rad
ABOVE = [*((k * 2 * np.pi / 3 + 0.5, 0.9) for k in range(3)), (0.0, np.pi / 2)]


def turntable(model: ObjectModel) -> SceneDescription:
    """The object upright in the air, six cameras around it, four above."""
    scale = RADIUS / float(np.linalg.norm(model.vertices, axis=1).max())
    placed = PlacedObject(FIRST_OBJECT_ID, model.name, scale, 1.0, *GLOSS, rows(np.eye(4)))
    unseen = Surface(seed=0, height=-100.0, half=(0.1, 0.1), specular=0.0, shininess=0.0)  # too far to be drawn
    lights = (Light((1.0, -1.0, 2.0), (0.35,) * 3), Light((-1.0, 1.0, 2.0), (0.25,) * 3))
    cameras = tuple(
        Camera(SIZE, SIZE, FOCAL, rows(look_at((0, 0, 0), DISTANCE, *direction))) for direction in AROUND + ABOVE
    )
    return SceneDescription("scattered", (placed,), unseen, unseen, 0.6, (0.8, 0.8, 0.8), lights, cameras)


def pictures(model: ObjectModel) -> Iterator[bytes]:
    """The ten views as PNG files."""
    for view in render(turntable(model), {model.name: model}):
        file = BytesIO()
        Image.fromarray(view.rgb).save(file, "PNG")
        yield file.getvalue()


def digest(model: ObjectModel) -> bytes:
    """SHA-256 of all that the pictures show, whatever the object is called; quicker than the pictures."""
    scene = turntable(replace(model, name="")).to_json()
    for name in ("vertices", "faces", "uv", "texture"):
        array = np.ascontiguousarray(getattr(model, name))
        scene[name] = [array.dtype.str, array.shape, hashlib.sha256(array).hexdigest()]
    return hashlib.sha256(json.dumps(scene).encode()).digest()
