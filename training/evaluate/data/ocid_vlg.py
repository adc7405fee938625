# SPDX-License-Identifier: Apache-2.0
"""OCID-VLG: real cluttered tabletops with referring expressions (table 4, table 11, A.6.1).

The layout is read from the authors' loader (github.com/gtziafas/OCID-VLG, dataset.py). It was not tried on the data.
`refer/VERSION/{train,val,test}_expressions.json` has "data", a list of rows:
    image_filename: "SEQUENCE,NAME.png"
    question: the sentence
    answer: the target's value in the mask
    target: its instance, such as cereal_box_3
`SEQUENCE/{rgb,depth,seg_mask_instances_combi}/NAME.png` are the images. Depth is in mm; 0 in the mask is no object.

The layout lacks two things.
Camera: OCID publishes none. `k.json` in the folder is taken, as `dropclip` takes it. Without one the camera is fitted
to OCID's organised cloud, `SEQUENCE/pcd/NAME.pcd`. Without that it is an Asus Xtion's nominal one.
Type of a sentence: one that tells no place is taken for a name (`is_name`).

To compare with: the paper counts 165 scenes with 1249 semantic queries in `val` of `unique`, and 325 scenes in `test`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dropclip_ros.base.shapes import read_cloud
from dropclip_ros.vision.geometry import Intrinsics
from training.evaluate.data.scene import MOST_LABELS, Recorded, folder_of, make_view, read_image, read_json
from training.evaluate.questions import Question, areas_of
from training.runs.errors import InputError
from training.scenes.description import FIRST_OBJECT_ID
from training.scenes.scene import View

SPLITS = ("train", "val", "test")
VERSIONS = ("unique", "multiple", "novel-instances", "novel-classes")
XTION = Intrinsics(570.3, 570.3, 319.5, 239.5, 640, 480)
KEYS = ("image_filename", "question", "answer", "target")

_VERB = re.compile(
    r"^\s*(?:please\s+|(?:can|could|would)\s+you\s+)*"
    r"(?:(?:pick\s+up|pick|grasp|grab|take|lift|get|fetch|find|(?:hand|give|bring|pass)\s+me|i\s+(?:want|need))\s+)?"
    r"(?:(?:the|a|an|that|this)\s+)?",
    re.IGNORECASE,
)
_PLACE = re.compile(
    r"\b(?:left|right|front|behind|rear|back|above|below|under|underneath|beneath|beside|near|nearest|next|close|closest|"
    r"far|farthest|furthest|top|bottom|cent(?:er|re)|middle|between|corner|side|on|upper|lower|leftmost|rightmost)\b",
    re.IGNORECASE,
)


def load_ocid_vlg(
    folder: str | Path, split: str = "val", version: str = "unique", per_scene: int | None = 1
) -> list[Recorded]:
    """The images of a split, each a scene of one view, in the order of its expressions.

    per_scene: how many sentences of each scene are asked, at most. Only names count then (family "name"), and A.6.1
    asks one. None asks all sentences; those that tell a place are of family "place". The verb is left out of each.
    A class (`categories`) is the target without its number: "cereal_box_3" is a "cereal box". Masks are read here, to
    know what stands in each scene.
    """
    for value, known, what in ((split, SPLITS, "split"), (version, VERSIONS, "version")):
        if value not in known:
            raise InputError(f"OCID-VLG: {what} {value!r}; expected one of {', '.join(known)}")
    file = Path("refer") / version / f"{split}_expressions.json"
    root = folder_of(Path(folder), "OCID-VLG", str(file))
    camera = Intrinsics.from_json(root / "k.json") if (root / "k.json").exists() else None
    return [_scene(root, camera, name, of, per_scene) for name, of in _by_image(root / file).items()]


def _by_image(file: Path) -> dict[str, list[dict[str, Any]]]:
    table = read_json(file)
    rows = table.get("data") if isinstance(table, dict) else None
    if not isinstance(rows, list) or any(not isinstance(row, dict) or not {*KEYS} <= row.keys() for row in rows):
        raise InputError(f'{file}: expected {{"data": [...]}}, rows with {", ".join(KEYS)}; is it OCID-VLG\'s?')
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        name = str(row["image_filename"])
        if name.count(",") != 1 or ".." in name or name.startswith("/") or not str(row["answer"]).isdigit():
            raise InputError(
                f'{file}: image_filename {name!r}, answer {row["answer"]!r}; expected "SEQUENCE,NAME.png" and a number'
            )
        found.setdefault(str(row["image_filename"]), []).append(row)
    return found


def _scene(root: Path, camera: Intrinsics | None, name: str, rows: list[dict], per_scene: int | None) -> Recorded:
    sequence, image = name.split(",")
    folder = root / sequence
    values = _instances(folder, image)
    targets = {int(row["answer"]): str(row["target"]) for row in rows}
    objects = {}
    for value in (np.flatnonzero(areas_of(values)[1:]) + 1).tolist():
        target = targets.get(value, "object")
        objects[_label(value)] = {"name": target.replace("_", " "), "category": category(target)}
    return Recorded(
        f"{sequence}/{Path(image).stem}",
        objects,
        (partial(_view, folder, image, camera),),
        (tuple(_questions(rows, per_scene)),),
        least=1,
    )


def _questions(rows: Iterable[dict[str, Any]], per_scene: int | None) -> Iterable[Question]:
    """One question for each phrase. Its answer is every object that the phrase was said of."""
    labels: dict[str, list[int]] = {}
    for row in rows:
        labels.setdefault(without_verb(str(row["question"])), []).append(_label(int(row["answer"])))
    asked = [Question(phrase, "name" if is_name(phrase) else "place", sorted({*of})) for phrase, of in labels.items()]
    return asked if per_scene is None else [question for question in asked if question.family == "name"][:per_scene]


def without_verb(sentence: str) -> str:
    """ "Pick the Kleenex tissues." -> "Kleenex tissues"."""
    return _VERB.sub("", sentence).strip(" .?!") or sentence


def is_name(phrase: str) -> bool:
    """Does it say what a thing is, and not where? (It may be a plain class with a colour as well.)"""
    return not _PLACE.search(phrase)


def category(target: str) -> str:
    """The class of an instance: "cereal_box_3" -> "cereal box"."""
    return re.sub(r"_\d+$", "", target).replace("_", " ")


def _label(value: int) -> int:
    return value - 1 + FIRST_OBJECT_ID


def _instances(folder: Path, image: str) -> np.ndarray:
    path = folder / "seg_mask_instances_combi" / image
    values = read_image(path)
    if values.ndim != 2 or values.max(initial=0) > MOST_LABELS:
        raise InputError(f"{path}: {values.shape} with values up to {values.max()}; expected one channel of instances")
    return values


def fitted_camera(points: np.ndarray) -> Intrinsics | None:
    """The camera of an organised cloud (H,W,3) in its own optical frame, NaN where unknown; None where it is not one
    camera's: where a straight line of pixels over x/z and y/z is off by more than a pixel."""
    height, width = points.shape[:2]
    known = np.isfinite(points).all(axis=2) & (np.nan_to_num(points[..., 2]) > 0)
    if known.sum() < 1000:
        return None
    x, y, z = points[known].astype(np.float64).T
    (fx, cx, off_x), (fy, cy, off_y) = (
        _line(tangent, pixel) for tangent, pixel in zip((x / z, y / z), np.nonzero(known)[::-1], strict=True)
    )
    return Intrinsics(fx, fy, cx, cy, width, height) if max(off_x, off_y) < 1 and min(fx, fy) > 0 else None


def _line(tangents: np.ndarray, pixels: np.ndarray) -> tuple[float, float, float]:
    """Focal length and centre in pixels, and how far 99 % of the pixels are from it at most."""
    focal, centre = np.polyfit(tangents, pixels, 1).tolist()
    return focal, centre, float(np.quantile(np.abs(focal * tangents + centre - pixels), 0.99))


def _camera(folder: Path, image: str, shape: tuple[int, int]) -> Intrinsics:
    path = (folder / "pcd" / image).with_suffix(".pcd")
    if path.exists():
        try:
            points = np.asarray(read_cloud(path).points)
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error}); is the data set whole?") from error
        if len(points) == shape[0] * shape[1] and (fitted := fitted_camera(points.reshape(*shape, 3))):
            return fitted
    return XTION


def _view(folder: Path, image: str, camera: Intrinsics | None) -> View:
    values = _instances(folder, image).astype(np.int64)
    return make_view(
        read_image(folder / "rgb" / image, "RGB"),
        read_image(folder / "depth" / image),
        np.where(values > 0, values - 1 + FIRST_OBJECT_ID, 0),
        camera or _camera(folder, image, values.shape),
        what=f"{folder / image}",
    )
