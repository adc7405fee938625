# SPDX-License-Identifier: Apache-2.0
"""REGRAD: synthetic clutter of ShapeNet models, 9 views a scene (table 11, A.6.1).

The layout is the "Relation Part V2" of github.com/poisonwine/REGRAD (README.md), not seen on the data itself:
`SPLIT/{RGBImages/SCENE_VIEW.jpg, DepthImages/SCENE_VIEW.png (mm), SegmentationImages/SCENE_VIEW.png}`, where 255 is
the table, 0 the background and i the object with obj_id i, and `SPLIT/objects.json` (or objects_16k.json, which the
paper's authors read for all splits but train) with scene -> view -> objects with obj_id and model_name. The cameras are
not in it; they are those of the published renderer (Relation_generation/Blender_Renderer.py), the same for all scenes.
Version 1 keeps its masks as JPEG, whose labels cannot be told apart: it is not read. Tables are removed by the masks;
A.6.1 takes the authors' filtered point clouds for that, which are pickles and not opened here.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from dropclip_ros.vision.geometry import Intrinsics
from training.evaluate.data.scene import (
    MOST_LABELS,
    Recorded,
    folder_of,
    make_view,
    read_image,
    read_json,
    relabelled,
)
from training.evaluate.questions import Question
from training.runs.errors import InputError
from training.scenes.description import FIRST_OBJECT_ID, TABLE_ID
from training.scenes.scene import View

IMAGES = ("RGBImages", "DepthImages", "SegmentationImages")
CATEGORIES = (  # that the paper's authors ask for; the others are furniture made small
    "airplane",
    "bag",
    "bench",
    "birdhouse",
    "bottle",
    "camera",
    "cap",
    "car",
    "earphone",
    "guitar",
    "helmet",
    "motorcycle",
    "mug",
    "pistol",
    "remote control",
    "rocket",
)
CAMERA = Intrinsics(1791.384, 1791.384, 639.5, 479.5, 1280, 960)  # pixel centres are integers
TABLE_TOP = 0.49  # m, of the table in the renderer's world
TABLE_VALUE = 255
POSES = (  # position, and the point looked at, of views 1 to 9, m
    ((0.8, 0, 2.1), (-0.15, 0, 0)),
    ((0.8, -0.8, 2.1), (-0.15, 0.15, 0)),
    ((0.8, 0.8, 2.1), (-0.15, -0.15, 0)),
    ((-0.8, 0, 2.1), (0.15, 0, 0)),
    ((-0.8, 0.8, 2.1), (0.15, -0.15, 0)),
    ((-0.8, -0.8, 2.1), (0.15, 0.15, 0)),
    ((0, -0.8, 2.1), (0, 0.15, 0)),
    ((0, 0, 2.1), (0, 0, 0)),
    ((0, 0.8, 2.1), (0, -0.15, 0)),
)


def load_regrad(
    folder: str | Path, split: str = "seen_valid", scenes: int | None = 1000, seed: int = 0
) -> list[Recorded]:
    """Scenes of a split, drawn at random as in A.6.1 (None: all), with the names of the 16 CATEGORIES as questions.

    A scene without any of these is left out before the draw.
    """
    root = folder_of(Path(folder) / split, f"REGRAD's {split}", IMAGES[0])
    files = [root / name for name in ("objects.json", "objects_16k.json") if (root / name).exists()]
    if not files:
        raise InputError(f"{root} has no objects.json, which REGRAD version 2 has; version 1 is not read")
    table = read_json(files[0])
    try:
        objects = {name: _objects(views) for name, views in sorted(table.items())}
    except (AttributeError, KeyError, TypeError, ValueError, StopIteration) as error:
        raise InputError(
            f"{files[0]}: expected scene -> view -> objects with obj_id and model_name ({error!r})"
        ) from error
    asked = {name: asks for name, of in objects.items() if (asks := _questions(of))}
    if not asked:
        raise InputError(f"{files[0]}: no scene holds any of {', '.join(CATEGORIES)}; choose another split")
    names = list(asked)
    if scenes is not None and scenes < len(names):
        names = sorted(np.random.default_rng(seed).choice(names, scenes, replace=False).tolist())
    return [
        Recorded(
            name,
            objects[name],
            tuple(partial(_view, root, name, v, objects[name]) for v in range(len(POSES))),
            (asked[name],),
        )
        for name in names
    ]


def plain(name: str) -> str:
    """A category's name as it is asked: ShapeNet's first, "remote controller" as the other list has it."""
    first = name.split(",")[0].replace("_", " ").strip()
    return "remote control" if first.startswith("remote control") else first


def _objects(views: dict[str, list[dict]]) -> dict[int, dict]:
    """The scene's objects by label; any view has them all."""
    found = {}
    for entry in next(iter(views.values())):
        value = int(entry["obj_id"])
        if not 0 < value <= MOST_LABELS - 1:
            raise ValueError(f"obj_id {value}")
        name = plain(str(entry["model_name"]))
        found[value - 1 + FIRST_OBJECT_ID] = {"name": name, "category": name}
    return found


def _questions(objects: dict[int, dict]) -> tuple[Question, ...]:
    labels: dict[str, list[int]] = {}
    for label, entry in objects.items():
        if entry["category"] in CATEGORIES:
            labels.setdefault(entry["category"], []).append(label)
    return tuple(Question(name, "class", of) for name, of in sorted(labels.items()))


def _view(root: Path, scene: str, v: int, objects: dict[int, dict]) -> View:
    rgb, depth, segments = (root / of / f"{scene}_{v + 1}" for of in IMAGES)
    values = read_image(segments.with_suffix(".png"))
    labels = {TABLE_VALUE: TABLE_ID} | {label - FIRST_OBJECT_ID + 1: label for label in objects}
    position, target = (np.array(point, float) - (0, 0, TABLE_TOP) for point in POSES[v])
    return make_view(
        read_image(rgb.with_suffix(".jpg"), "RGB"),
        read_image(depth.with_suffix(".png")),
        relabelled(values, labels),
        CAMERA,
        look_at(position, target),
        what=f"{scene}_{v + 1}",
    )


def look_at(position: np.ndarray, target: np.ndarray) -> np.ndarray:
    """world_from_camera (4,4), optical frame, of a camera at `position` (3,) that looks at `target` (3,), the image's
    top towards +z; looking straight down, towards +y."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right = np.array([1.0, 0.0, 0.0]) if np.linalg.norm(right) < 1e-6 else right / np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = position
    return pose
