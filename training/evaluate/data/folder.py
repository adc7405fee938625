# SPDX-License-Identifier: Apache-2.0
"""One's own RGB-D frames with masks.

A folder with, of each frame NAME, colour, depth and mask: in `rgb/`, `depth/` and `mask/` as NAME.png (colour may be
.jpg, depth .npy in metres), or beside each other as NAME_color.png, NAME_depth.png and NAME_label.png. Masks hold 0
nothing, 1 the table, 2.. the objects. `k.json` is the camera as `dropclip` takes it. What may be there as well:
- `pose/NAME.json` (or NAME_pose.json): world_from_camera, 4x4 rows, z up, the table at z = 0. With poses the frames are
  the views of one scene; without, each is a scene of its own and is stood on its table.
- `objects.json`: {label: {"name", "category"}}, or {label: name}.
- `queries.json`: {phrase: labels}, or {family: {phrase: labels}}; no labels: the phrase fits nothing.
  `queries/NAME.json` (or NAME_queries.json) are one frame's own, and are asked instead.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dropclip_ros.vision.geometry import DEPTH_UNITS, load_frame
from training.evaluate.data.scene import Recorded, folder_of, make_view, read_image, read_json
from training.evaluate.questions import Question
from training.runs.errors import InputError
from training.scenes.description import FIRST_OBJECT_ID
from training.scenes.scene import View

KINDS = {  # of file -> its folder, what its name ends with beside the others, and its suffixes
    "colour": ("rgb", "_color", (".png", ".jpg", ".jpeg")),
    "depth": ("depth", "_depth", (".png", ".npy")),
    "mask": ("mask", "_label", (".png",)),
    "pose": ("pose", "_pose", (".json",)),
    "queries": ("queries", "_queries", (".json",)),
}


def load_folder(folder: str | Path, split: str | None = None, unit: str = "mm") -> list[Recorded]:
    """The scenes of a folder, or of folder/`split`. unit: of depth images (mm, 0.1mm; .npy is in metres).

    Masks are looked at here, to know which labels there are. Raises InputError, DropclipError.
    """
    root = folder_of(Path(folder) / split if split else Path(folder), "an RGB-D folder", "k.json")
    if unit not in DEPTH_UNITS:
        raise InputError(f"depth unit {unit!r}; expected one of {', '.join(DEPTH_UNITS)}")
    names = sorted(path.stem for path in (root / "mask").glob("*.png")) or sorted(
        path.stem.removesuffix("_label") for path in root.glob("*_label.png")
    )
    if not names:
        raise InputError(f"{root}: no mask/NAME.png and no NAME_label.png; evaluation needs the true masks")
    named = {label: _entry(entry) for label, entry in _by_label(root / "objects.json").items()}
    frames = [partial(_view, root, name, unit) for name in names]
    everywhere = _questions(root / "queries.json")
    asked = [_questions(file) if (file := _file(root, "queries", name)) else everywhere for name in names]
    seen = [_labels(_needed(root, "mask", name)) for name in names]
    posed = [_file(root, "pose", name) is not None for name in names]
    if any(posed):
        if not all(posed):
            raise InputError(f"{root}: {names[posed.index(False)]} has no pose and others have; give all of them one")
        return [Recorded(root.name, _objects(np.unique(np.concatenate(seen)), named), frames, asked)]
    return [
        Recorded(name, _objects(labels, named), (frame,), (of,))
        for name, labels, frame, of in zip(names, seen, frames, asked, strict=True)
    ]


def _file(root: Path, kind: str, name: str) -> Path | None:
    folder, ending, suffixes = KINDS[kind]
    places = [
        path for suffix in suffixes for path in (root / folder / f"{name}{suffix}", root / f"{name}{ending}{suffix}")
    ]
    return next((path for path in places if path.exists()), None)


def _needed(root: Path, kind: str, name: str) -> Path:
    path = _file(root, kind, name)
    if path is None:
        folder, ending, suffixes = KINDS[kind]
        raise InputError(
            f"{root}: no {folder}/{name}{suffixes[0]} and no {name}{ending}{suffixes[0]} ({kind} of {name})"
        )
    return path


def _view(root: Path, name: str, unit: str) -> View:
    depth = _needed(root, "depth", name)
    unit = "m" if depth.suffix == ".npy" else unit
    frame = load_frame(_needed(root, "colour", name), depth, unit, root / "k.json", _file(root, "pose", name))
    mask = read_image(_needed(root, "mask", name))
    return make_view(frame.rgb, frame.depth, mask, frame.intrinsics, frame.camera_pose, name)


def _labels(path: Path) -> np.ndarray:
    mask = read_image(path)
    if mask.ndim != 2 or mask.max(initial=0) > 255:
        raise InputError(
            f"{path}: {mask.shape} with labels up to {mask.max()}; expected one channel of labels up to 255"
        )
    return np.unique(mask[mask >= FIRST_OBJECT_ID])


def _objects(labels: np.ndarray, named: dict[int, dict]) -> dict[int, dict]:
    return {label: named.get(label, {"name": "object", "category": "object"}) for label in labels.tolist()}


def _entry(entry: Any) -> dict:
    if isinstance(entry, dict):
        name = str(entry.get("name", entry.get("category", "object")))
        return entry | {"name": name, "category": str(entry.get("category", name))}
    return {"name": str(entry), "category": str(entry)}


def _by_label(file: Path) -> dict[int, Any]:
    if not file.exists():
        return {}
    try:
        return {int(label): entry for label, entry in read_json(file).items()}
    except (AttributeError, ValueError) as error:
        raise InputError(f'{file}: expected {{label: {{"name", "category"}}}} ({error})') from error


def _questions(file: Path) -> list[Question]:
    if not file.exists():
        return []
    try:
        table = read_json(file)
        families = table if all(isinstance(of, dict) for of in table.values()) else {"open": table}
        return [
            Question(phrase, family, sorted(map(int, labels)))
            for family, of in families.items()
            for phrase, labels in of.items()
        ]
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"{file}: expected {{phrase: [labels]}} or {{family: {{phrase: [labels]}}}} ({error})"
        ) from error
