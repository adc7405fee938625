# SPDX-License-Identifier: Apache-2.0
"""The Object Segmentation Database: 67 real Kinect tabletops, 2 to 16 objects each, without names.

As prepared for this project: NAME_color.png, NAME_depth.png (uint16 mm), NAME_label.png (0 invalid, 1 table, 2.. the
objects) and index.json with K and each scene's category. Checked on the real thing. It asks nothing: it is for
instances, whose only name is "object".
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dropclip_ros.vision.geometry import Intrinsics
from training.evaluate.data.scene import Recorded, folder_of, make_view, read_image, read_json
from training.runs.errors import InputError
from training.scenes.description import FIRST_OBJECT_ID
from training.scenes.scene import View

SPLITS = ("learn", "test")  # how its scenes' names begin


class OsdScene(NamedTuple):
    """An entry of the index: how its files' names begin, what the scene is of, and how many objects it has."""

    name: str
    category: str
    objects: int


def osd_index(root: Path) -> tuple[Intrinsics, list[OsdScene]]:
    """The camera, and the scenes. InputError where index.json lacks something."""
    index = read_json(root / "index.json")
    try:
        camera = Intrinsics.from_matrix(index["K"], index["width"], index["height"])
        return camera, [OsdScene(str(r["id"]), str(r["category"]), int(r["n_objects"])) for r in index["scenes"]]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"{root / 'index.json'}: expected K, width, height and scenes with id, category, n_objects ({error})"
        ) from error


def osd_images(root: Path, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a scene: colour (H,W,3) uint8, depth (H,W) uint16 mm, labels (H,W). InputError where one cannot be read."""
    color = read_image(root / f"{name}_color.png", "RGB")
    depth, label = (read_image(root / f"{name}_{what}.png") for what in ("depth", "label"))
    return color, depth, label


def load_osd(folder: str | Path, split: str | None = None) -> list[Recorded]:
    """All scenes, or those of one of SPLITS, in the order of the index; each of one view, stood on its table."""
    root = folder_of(Path(folder), "the Object Segmentation Database", "index.json")
    camera, rows = osd_index(root)
    if split is not None:
        rows = [row for row in rows if row.name.startswith(split)]
    if not rows:
        raise InputError(f"{root}: no scene of split {split!r}; expected one of {', '.join(SPLITS)}")
    return [
        Recorded(
            row.name,
            {FIRST_OBJECT_ID + k: {"name": "object", "category": "object"} for k in range(row.objects)},
            (partial(_view, root, row.name, camera),),
        )
        for row in rows
    ]


def _view(root: Path, name: str, camera: Intrinsics) -> View:
    return make_view(*osd_images(root, name), camera, what=name)
