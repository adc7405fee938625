# SPDX-License-Identifier: Apache-2.0
"""Scenes on disk: what `dropclip-mvtod generate` writes and everything else reads, from folders or from shards.

A scene is a folder: scene.json (COCO tables, with K and world_from_camera of each image; objects with poses, attributes
and phrases; queries; the description that renderers draw) and for each view `.rgb.jpg`, `.depth.png` (uint16, 0.1 mm, 0
unknown, up to 6 m) and `.mask.png` (uint8: 0 none, 1 table, 2.. objects). A shard is a tar of such folders
(`training.scenes.shards`). Reading needs no MuJoCo: OSMesa's LLVM and Triton's do not live in one process.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from dropclip_ros.base.reading import ARRAYS, decode_image, parse_json, read_bytes
from dropclip_ros.vision.geometry import Intrinsics
from training.runs.errors import InputError
from training.scenes.description import FIRST_OBJECT_ID, SceneDescription
from training.scenes.sensor import SensorConfig, sense

SCENE_FILE = "scene.json"
DEPTH_UNIT = 1e-4  # metres per count of the depth PNG
FILES = ("file_name", "depth_file", "mask_file")  # of an image, as named in its table
MAX_DEPTH = 6.0  # m; beyond it depth is stored as unknown


@dataclass
class View:
    """One rendered view: rgb (H,W,3) uint8, depth (H,W) m, mask (H,W) uint8, K 3x3, world_from_camera 4x4 (optical)."""

    rgb: np.ndarray
    depth: np.ndarray
    mask: np.ndarray
    intrinsics: np.ndarray
    world_from_camera: np.ndarray

    @property
    def camera(self) -> Intrinsics:
        """The camera of this view."""
        return Intrinsics.from_matrix(self.intrinsics, *self.depth.shape[::-1])


def write_view(folder: Path, v: int, view: View, coco: dict, visible: Mapping[int, float] | None = None) -> None:
    """Writes view `v` into `folder` and enters it into the scene's COCO tables.

    visible: fraction of each object, by label, that the view shows.
    """
    names = {
        "file_name": f"view_{v:02d}.rgb.jpg",
        "depth_file": f"view_{v:02d}.depth.png",
        "mask_file": f"view_{v:02d}.mask.png",
    }
    Image.fromarray(view.rgb).save(folder / names["file_name"], quality=92)
    depth = np.where(view.depth < MAX_DEPTH, np.round(view.depth / DEPTH_UNIT), 0).astype(np.uint16)
    Image.fromarray(depth).save(folder / names["depth_file"], compress_level=1)
    Image.fromarray(view.mask).save(folder / names["mask_file"], compress_level=1)
    visible = visible or {}
    coco["images"].append(
        {
            "id": v,
            **names,
            "width": view.mask.shape[1],
            "height": view.mask.shape[0],
            "K": view.intrinsics.tolist(),
            "world_from_camera": view.world_from_camera.tolist(),
            "visible_fraction": {str(label): round(fraction, 3) for label, fraction in visible.items()},
        }
    )
    for label in np.unique(view.mask[view.mask >= FIRST_OBJECT_ID]).tolist():
        shown = view.mask == label
        rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
        box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
        coco["annotations"].append(
            {
                "id": len(coco["annotations"]) + 1,  # pycocotools takes 0 for "none"
                "image_id": v,
                "category_id": label,
                "bbox": [int(value) for value in box],
                "area": int(shown.sum()),
                "segmentation": run_lengths(shown),
                "iscrowd": 0,
            }
        )


def run_lengths(mask: np.ndarray) -> dict:
    """COCO's uncompressed run lengths of a mask (H,W) bool: column by column, zeros first."""
    flat = np.concatenate([[False], mask.ravel(order="F"), [not mask[-1, -1]]])
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    return {"size": list(mask.shape), "counts": np.diff(ends, prepend=0).tolist()}


class SceneFiles(Protocol):
    """Where the files of scenes are; hashable. `read` raises OSError or KeyError where there is none of that name."""

    def read(self, name: str) -> bytes: ...

    def files(self, scene: str) -> list[str]: ...


@dataclass(frozen=True)
class Folder:
    """A folder of scene folders."""

    path: Path

    def read(self, name: str) -> bytes:
        return read_bytes(self.path / name, ARRAYS)

    def files(self, scene: str) -> list[str]:
        return [file.name for file in (self.path / scene).iterdir() if file.is_file()]

    def __str__(self) -> str:
        return str(self.path)


@lru_cache(maxsize=256)  # thousands of scenes of 73 views would fill the memory
def _read_tables(source: SceneFiles, name: str) -> dict:
    file = f"{name}/{SCENE_FILE}"
    try:
        tables = parse_json(source.read(file))
    except (OSError, KeyError) as error:
        raise InputError(f"{source}: {file} cannot be read ({error}); generate the scene again") from error
    if complaint := _complaint(tables):
        raise InputError(f"{source}: {file} is not the tables of a scene ({complaint}); generate the scene again")
    return tables


def _complaint(tables: object) -> str:
    """What a foreign JSON lacks; nothing of a scene's."""
    if not isinstance(tables, dict):
        return "no object"
    for table, keys in (
        ("images", ()),
        ("annotations", ("image_id", "category_id")),
        ("objects", ("id", "name", "category")),
    ):
        rows = tables.get(table)
        if not isinstance(rows, list) or any(not isinstance(row, dict) or not {*keys} <= row.keys() for row in rows):
            return f"{table}: expected a list of objects with {', '.join(keys) or 'K and names of files'}"
    for image in tables["images"]:
        for key in FILES:
            if Path(name := str(image.get(key, ""))).name != name:  # it must not lead out of the scene's folder
                return f"{key} {name!r}: expected the name of a file"
    return ""


@dataclass(frozen=True)
class Scene:
    """A scene of a folder or a shard, read when asked for."""

    source: SceneFiles
    name: str

    @property
    def coco(self) -> dict:
        """The tables of scene.json. Raises InputError where they are not to be read."""
        return _read_tables(self.source, self.name)

    @property
    def objects(self) -> dict[int, dict]:
        """Mask label -> {'name', 'category', 'split', 'world_from_mesh', ...}."""
        return {o["id"]: o for o in self.coco["objects"]}

    @property
    def description(self) -> SceneDescription | None:
        """What renderers draw; None for scenes of before there was one."""
        data = self.coco.get("description")
        return SceneDescription.from_json(data) if data else None

    def __len__(self) -> int:
        return len(self.coco["images"])

    def read(self, name: str) -> bytes:
        """A file of the scene's folder. Raises InputError where there is none."""
        try:
            return self.source.read(f"{self.name}/{name}")
        except (OSError, KeyError) as error:
            raise self._broken(f"{name} cannot be read ({error})") from error

    def view(self, v: int, sensor: SensorConfig | None = None, depth: bool = True) -> View:
        """Decodes view `v`; its depth as `sensor` would give it, the same each time. Raises InputError.

        depth: False leaves it all zeros, for who looks at colours only: it takes as long as the two other images.
        """
        image = self.coco["images"][v]
        try:
            names = [image[key] for key in FILES]
            intrinsics, pose = np.array(image["K"], float), np.array(image["world_from_camera"], float)
        except (KeyError, TypeError, ValueError) as error:
            raise self._broken(f"image {v} in {SCENE_FILE} is not whole ({error})") from error
        rgb, mask = self._image(names[0]), self._image(names[2])
        metres = np.zeros(mask.shape, np.float32)
        if depth:
            metres = self._image(names[1]).astype(np.float32) * np.float32(DEPTH_UNIT)
        size = image.get("height"), image.get("width")
        shapes = (*size, 3), size, size, (3, 3), (4, 4)
        if (found := tuple(array.shape for array in (rgb, metres, mask, intrinsics, pose))) != shapes:
            raise self._broken(f"image {v}: the shapes of colour, depth, mask, K, pose are {found}, expected {shapes}")
        view = View(rgb, metres, mask, intrinsics, pose)
        if sensor is not None:
            rng = np.random.default_rng([sensor.seed, zlib.crc32(self.name.encode()), v])
            view.depth = sense(view.depth, view.intrinsics, sensor, rng, self._shininess(view.mask))
        return view

    def views(
        self, numbers: Iterable[int] | None = None, sensor: SensorConfig | None = None, depth: bool = True
    ) -> Iterator[tuple[int, View]]:
        """Views with their numbers (all by default), in turn; one that cannot be read is left out, with a warning."""
        for v in range(len(self)) if numbers is None else numbers:
            try:
                view = self.view(v, sensor, depth)
            except InputError as error:
                warnings.warn(f"left out: {error}", stacklevel=2)
            else:
                yield v, view

    def _shininess(self, mask: np.ndarray) -> np.ndarray | None:
        """Of the surface at each pixel, 0 to 1."""
        if self.description is None:
            return None
        of_label = np.zeros(256)
        for placed in self.description.objects:
            of_label[placed.label] = placed.specular * placed.shininess
        return of_label[mask]

    def _image(self, name: str) -> np.ndarray:
        data = self.read(name)
        try:
            return np.asarray(decode_image(data, name))
        except OSError as error:
            raise self._broken(f"{name} cannot be read ({error})") from error

    def _broken(self, what: str) -> InputError:
        return InputError(f"{self.source}: {self.name}/{what}; generate the scene again")
