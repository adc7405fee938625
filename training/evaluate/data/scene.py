# SPDX-License-Identifier: Apache-2.0
"""What is evaluated on: scenes of any data set behind one protocol, that of `training.scenes.scene.Scene` and more.

A world frame has z up and its origin on the table, metres. Masks are those of MV-TOD: 0 nothing, 1 the table, 2.. the
objects; a data set's own numbers are mapped to these. Everything is read when it is asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dropclip_ros.base import reading
from dropclip_ros.base.errors import DropclipError
from dropclip_ros.tabletop.plane import at_most, ransac_plane
from dropclip_ros.tabletop.scene import look
from dropclip_ros.tabletop.table import TableConfig, table_frame
from dropclip_ros.tabletop.workspace import Workspace
from dropclip_ros.vision.geometry import Intrinsics, backproject, decode_depth, invert_pose
from training.evaluate.questions import MIN_VISIBLE, Question, areas_of, categories
from training.runs.errors import InputError
from training.scenes.description import FIRST_OBJECT_ID, TABLE_ID
from training.scenes.scene import View

FAR = 3.0  # m; a table is looked for up to here
MOST_LABELS = 256 - FIRST_OBJECT_ID  # of objects in a mask


class EvalScene(Protocol):
    """A scene with its questions. Whatever cannot be read raises InputError or DropclipError, in one sentence."""

    name: str

    @property
    def objects(self) -> dict[int, dict]:
        """Mask label -> {'name', 'category', ...}."""
        ...

    def __len__(self) -> int:
        """How many views."""
        ...

    def view(self, v: int) -> View: ...

    def views(self, numbers: Iterable[int] | None = None) -> Iterator[tuple[int, View]]:
        """Views with their numbers (all by default); one that cannot be read is left out, with a warning."""
        ...

    def questions(self, v: int) -> list[Question]:
        """What is asked of view `v`, always the same."""
        ...

    def categories(self, v: int) -> dict[str, list[int]]:
        """The categories in view `v`: name -> labels of its objects."""
        ...


@dataclass(frozen=True)
class Recorded:
    """An EvalScene of a recording: each view is read by a function, and each has its questions.

    asked: of every view (one list for all: the same). Of a question only the labels that have `least` pixels in the
    view count, and one with none of them left is not asked there; one without labels is asked everywhere.
    """

    name: str
    objects: dict[int, dict]
    frames: Sequence[Callable[[], View]]
    asked: Sequence[Sequence[Question]] = field(default=((),))
    least: int = MIN_VISIBLE

    def __len__(self) -> int:
        return len(self.frames)

    def view(self, v: int) -> View:
        return _read(self.frames[v])

    def views(self, numbers: Iterable[int] | None = None) -> Iterator[tuple[int, View]]:
        for v in range(len(self)) if numbers is None else numbers:
            try:
                view = self.view(v)
            except (InputError, DropclipError) as error:
                warnings.warn(f"left out: {error}", stacklevel=2)
            else:
                yield v, view

    def questions(self, v: int) -> list[Question]:
        asked = self.asked[v if len(self.asked) > 1 else 0]
        return seen_questions(asked, self.view(v).mask, self.least) if asked else []

    def categories(self, v: int) -> dict[str, list[int]]:
        return categories(self, self.view(v).mask)


@lru_cache(maxsize=2)  # a view is asked for, then its questions, then its categories
def _read(frame: Callable[[], View]) -> View:
    return frame()


def seen_questions(asked: Iterable[Question], mask: np.ndarray, least: int = MIN_VISIBLE) -> list[Question]:
    """Those about objects with at least `least` pixels of the mask (H,W), with these alone, and those about nothing."""
    areas = areas_of(mask)
    found = []
    for question in asked:
        labels = [label for label in question.labels if areas[label] >= least]
        if labels or not question.labels:
            found.append(replace(question, labels=labels))
    return found


def read_json(path: Path) -> Any:
    """Raises InputError where there is none, or it is broken."""
    try:
        return reading.read_json(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error}); is the data set whole?") from error


def read_image(path: Path, mode: str | None = None) -> np.ndarray:
    """Raises InputError where there is none, or it is broken."""
    try:
        image = reading.read_image(path)
        return np.array(image.convert(mode) if mode else image)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error}); is the data set whole?") from error


def folder_of(root: Path, what: str, needs: str = "") -> Path:
    """`root` (or `needs` in it), where it is there. what: the data set's name, for the error."""
    folder = Path(root)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; unpack {what} there, or name the folder where it is")
    if needs and not (folder / needs).exists():
        raise InputError(f"{folder} has no {needs}, which {what} has; name the folder that holds it")
    return folder


def make_view(
    rgb: np.ndarray,
    depth: np.ndarray,
    mask: np.ndarray,
    intrinsics: Intrinsics,
    world_from_camera: np.ndarray | None = None,
    what: str = "the view",
) -> View:
    """A view of images of one size: rgb (H,W,3) uint8, depth (H,W) of counts of 1 mm or float m, mask (H,W) of labels.

    world_from_camera: 4x4, z up; None: stood on the table (`upright`). what: for the error about sizes.
    """
    if not rgb.shape[:2] == depth.shape[:2] == mask.shape[:2] or mask.ndim != 2:
        raise InputError(f"{what}: colour is {rgb.shape}, depth {depth.shape}, mask {mask.shape}; expected one size")
    metres = decode_depth(depth, "m" if depth.dtype.kind == "f" else "mm")
    camera = intrinsics.scaled_to(rgb.shape[1], rgb.shape[0])
    pose = upright(metres, mask, camera) if world_from_camera is None else world_from_camera
    return View(rgb, metres, mask.astype(np.uint8), camera.matrix, pose)


def upright(depth: np.ndarray, mask: np.ndarray, intrinsics: Intrinsics) -> np.ndarray:
    """world_from_camera (4,4) of a camera whose pose is unknown: z up from the table that the mask (H,W) labels, the
    origin where the optical axis meets it; where none is labelled, from the table that is found. Raises NO_TABLE or
    EMPTY_SCENE.
    """
    points, pixels = backproject(depth, intrinsics, far=FAR)
    lies = points[mask.ravel()[pixels] == TABLE_ID].astype(np.float64)
    rng = np.random.default_rng(0)
    config = TableConfig()
    if len(lies) >= config.min_points:
        plane = ransac_plane(at_most(lies, config.sample, rng), config.distance, config.iterations, rng)
    else:
        plane = look(depth, intrinsics, Workspace(far=FAR, table="plane")).table.plane
    return invert_pose(table_frame(plane))


def relabelled(values: np.ndarray, labels: dict[int, int]) -> np.ndarray:
    """A mask (H,W) uint8 with label `labels[value]` where `values` (H,W) has a value, 0 where it is none of them."""
    known = np.array(sorted(labels))
    place = np.searchsorted(known, values).clip(max=max(len(known) - 1, 0))
    return np.where(known[place] == values, np.array([labels[k] for k in known.tolist()], np.uint8)[place], 0)
