# SPDX-License-Identifier: Apache-2.0
"""The Object Segmentation Database: 67 real Kinect tabletops, 2 to 16 objects each, without names.

As prepared for this project: NAME_color.png, NAME_depth.png (uint16 mm), NAME_label.png (0 invalid, 1 table, 2.. the
objects) and index.json with K and each scene's category. Checked on the real thing. It asks nothing: it is for
instances, whose only name is "object".
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from dropclip_ros.vision.geometry import Intrinsics
from training.evaluate.data.scene import Recorded, folder_of, make_view, read_image, read_json
from training.runs.errors import InputError
from training.scenes.description import FIRST_OBJECT_ID
from training.scenes.scene import View

SPLITS = ("learn", "test")  # how its scenes' names begin


def load_osd(folder: str | Path, split: str | None = None) -> list[Recorded]:
    """All scenes, or those of one of SPLITS, in the order of the index; each of one view, stood on its table."""
    root = folder_of(Path(folder), "the Object Segmentation Database", "index.json")
    index = read_json(root / "index.json")
    try:
        k = np.array(index["K"], float)
        camera = Intrinsics(k[0, 0], k[1, 1], k[0, 2], k[1, 2], index["width"], index["height"])
        rows = [(str(row["id"]), int(row["n_objects"])) for row in index["scenes"]]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"{root / 'index.json'}: expected K, width, height and scenes with id, n_objects ({error})"
        ) from error
    if split is not None:
        rows = [row for row in rows if row[0].startswith(split)]
    if not rows:
        raise InputError(f"{root}: no scene of split {split!r}; expected one of {', '.join(SPLITS)}")
    return [
        Recorded(
            name,
            {FIRST_OBJECT_ID + k: {"name": "object", "category": "object"} for k in range(count)},
            (partial(_view, root, name, camera),),
        )
        for name, count in rows
    ]


def _view(root: Path, name: str, camera: Intrinsics) -> View:
    color = read_image(root / f"{name}_color.png", "RGB")
    depth, label = (read_image(root / f"{name}_{what}.png") for what in ("depth", "label"))
    return make_view(color, depth, label, camera, what=name)
