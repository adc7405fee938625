# SPDX-License-Identifier: Apache-2.0
"""OCID-VLG: real cluttered tabletops with referring expressions (table 4, table 11, A.6.1).

The layout is that of the authors' loader (github.com/gtziafas/OCID-VLG, dataset.py), not seen on the data itself:
`refer/VERSION/{train,val,test}_expressions.json` with "data": rows of image_filename ("SEQUENCE,NAME.png"), question
(the sentence), answer (the target's value in the mask) and target (its instance, such as cereal_box_3); and
`SEQUENCE/{rgb,depth,seg_mask_instances_combi}/NAME.png`, depth in mm. In the mask 0 is no object.

Two things are not in that layout. The camera: OCID publishes none; where the folder has no `k.json` (as `dropclip`
takes it; it can be fitted to a sequence's organised pcd/), an Asus Xtion's nominal focal length is taken. And which
type a sentence is of: it is taken for a name where it tells no place; see `is_name`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dropclip_ros.geometry import Intrinsics
from training.evaluate.data.scene import MOST_LABELS, Recorded, folder_of, make_view, read_image, read_json
from training.evaluate.questions import Question
from training.mvtod.errors import MvtodError
from training.mvtod.scene import FIRST_OBJECT_ID
from training.mvtod.scenes import View

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

    per_scene: at most so many sentences that name an object (family "name"), verb parsed out, as A.6.1 has one; None:
    all sentences, those that tell a place in family "place". Classes (`categories`) are the targets' without their
    number: "cereal_box_3" is a "cereal box". Masks are looked at here, to know what stands in each scene.
    """
    for value, known, what in ((split, SPLITS, "split"), (version, VERSIONS, "version")):
        if value not in known:
            raise MvtodError(f"OCID-VLG: {what} {value!r}; expected one of {', '.join(known)}")
    file = Path("refer") / version / f"{split}_expressions.json"
    root = folder_of(Path(folder), "OCID-VLG", str(file))
    camera = Intrinsics.from_json(root / "k.json") if (root / "k.json").exists() else XTION
    return [_scene(root, camera, name, of, per_scene) for name, of in _by_image(root / file).items()]


def _by_image(file: Path) -> dict[str, list[dict[str, Any]]]:
    table = read_json(file)
    rows = table.get("data") if isinstance(table, dict) else None
    if not isinstance(rows, list) or any(not isinstance(row, dict) or not {*KEYS} <= row.keys() for row in rows):
        raise MvtodError(f'{file}: expected {{"data": [...]}}, rows with {", ".join(KEYS)}; is it OCID-VLG\'s?')
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if str(row["image_filename"]).count(",") != 1 or ".." in str(row["image_filename"]):
            raise MvtodError(f'{file}: image_filename {row["image_filename"]!r}; expected "SEQUENCE,NAME.png"')
        found.setdefault(str(row["image_filename"]), []).append(row)
    return found


def _scene(root: Path, camera: Intrinsics, name: str, rows: list[dict], per_scene: int | None) -> Recorded:
    sequence, image = name.split(",")
    folder = root / sequence
    values = _instances(folder, image)
    targets = {int(row["answer"]): str(row["target"]) for row in rows}
    objects = {}
    for value in np.unique(values[values > 0]).tolist():
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
    """One for each phrase, about all that it is said of."""
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
        raise MvtodError(f"{path}: {values.shape} with values up to {values.max()}; expected one channel of instances")
    return values


def _view(folder: Path, image: str, camera: Intrinsics) -> View:
    values = _instances(folder, image).astype(np.int64)
    return make_view(
        read_image(folder / "rgb" / image, "RGB"),
        read_image(folder / "depth" / image),
        np.where(values > 0, values - 1 + FIRST_OBJECT_ID, 0),
        camera,
        what=f"{folder / image}",
    )
