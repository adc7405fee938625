# SPDX-License-Identifier: Apache-2.0
"""LERF's scenes as they are evaluated: phrases with boxes or polygons in single images (table 12, A.6.3).

Two layouts, each as published code that evaluates on it reads it; neither was seen on the data itself:
- LERF's own boxes (github.com/kerrj/lerf, issue 27): `SCENE/keyframes.json`, whose keyframes have the vertical field of
  view in degrees, and for each `SCENE/I_rgb.json` of labelme (imageWidth, imageHeight, shapes with label and the two
  corners of a box) with the image beside it.
- LangSplat's lerf_ovs (github.com/minghanqin/LangSplat, eval/evaluate_iou_loc.py): `label/SCENE/frame_00001.json` with
  info (width, height) and objects with category, bbox (x1 y1 x2 y2) and segmentation (a polygon), and the .jpg beside.

LERF has no depth, and DROP needs it: put `NAME_depth.npy` (float32, m) or `NAME_depth.png` (uint16, mm) beside each
image, rendered from the scene's NeRF or Gaussians at that camera and brought to metres. lerf_ovs needs its camera as
well: `k.json` as `dropclip` takes it, or nerfstudio's `transforms.json`, beside the labels or in `SCENE/`. Each image
is a scene of one view, stood on its table, since one view is what DROP sees.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from dropclip_ros.base.reading import parse_json, read_array
from dropclip_ros.vision.geometry import Intrinsics, backproject, transform_points
from training.evaluate.data.scene import MOST_LABELS, Recorded, folder_of, make_view, read_image, read_json
from training.evaluate.questions import Question
from training.runs.errors import InputError
from training.scenes.description import FIRST_OBJECT_ID, TABLE_ID
from training.scenes.scene import View

SPLITS = ("figurines", "ramen", "teatime", "waldo_kitchen", "bouquet")  # the scenes; table 12 is of teatime
OTHER = FIRST_OBJECT_ID  # the label of what no phrase is about
ON_TABLE = 0.01  # m; what is lower and belongs to no phrase is the table
IMAGES = (".jpg", ".png", ".jpeg", ".JPG")


@dataclass
class PlaceQuestion(Question):
    """A question with its places in the image: boxes (n,4) x0 y0 x1 y1 in pixels, for localisation accuracy."""

    boxes: np.ndarray


@dataclass(frozen=True)
class Region:
    """A phrase's place: a polygon (n,2) of x, y in pixels, and its box x0 y0 x1 y1."""

    phrase: str
    polygon: tuple[tuple[float, float], ...]
    box: tuple[float, float, float, float]


def load_lerf(folder: str | Path, split: str = "teatime") -> list[Recorded]:
    """The labelled images of a scene, in either layout. Raises InputError.

    Phrases overlap (a bear, its nose), labels do not: each different set of phrases in the image is a label, and a
    question's labels are all whose set has its phrase. What no phrase is about is the table (`ON_TABLE`) or one more
    label, "other". Questions are of family "open" and are `PlaceQuestion`.
    """
    root = folder_of(Path(folder), "LERF's localisation set")
    boxes, polygons = root / split, root / "label" / split
    if (boxes / "keyframes.json").exists():
        cameras = _keyframes(boxes / "keyframes.json")
        files = sorted(boxes.glob("*_rgb.json"), key=lambda file: (len(file.name), file.name))
        if not 0 < len(files) <= len(cameras):
            raise InputError(f"{boxes}: {len(files)} files *_rgb.json for {len(cameras)} keyframes; expected one each")
        return [_scene(split, file, *_boxed(file), camera) for file, camera in zip(files, cameras, strict=False)]
    files = sorted(polygons.glob("frame_*.json"))
    if not files:
        raise InputError(
            f"{root}: neither {split}/keyframes.json nor label/{split}/frame_*.json; name the folder that "
            f"holds one of them (scenes: {', '.join(SPLITS)})"
        )
    camera = _camera(polygons, root / split)
    return [_scene(split, file, *_outlined(file), camera.scaled_to) for file in files]


def _scene(split: str, file: Path, regions: Sequence[Region], size: tuple[int, int], camera) -> Recorded:
    """camera: the Intrinsics of an image of a width and height."""
    phrases = sorted({region.phrase for region in regions})
    covered = np.zeros((len(phrases), size[1], size[0]), bool)
    for region in regions:
        covered[phrases.index(region.phrase)] |= _drawn(region, size)
    places = np.zeros(covered.shape[1:], int)  # the same number where the same phrases are
    for byte in np.packbits(covered, axis=0):
        places = np.unique(256 * places + byte, return_inverse=True)[1].reshape(places.shape)
    places = np.where(covered.any(axis=0), places + OTHER + 1, OTHER)
    labels, first = np.unique(places, return_index=True)
    if labels.max() > 255:
        raise InputError(f"{file}: phrases overlap in {len(labels)} ways; at most {MOST_LABELS} can be told apart")
    objects = {}
    for label, here in zip(labels.tolist(), covered.reshape(len(phrases), -1)[:, first].T, strict=True):
        name = ", ".join(np.array(phrases)[here]) if here.any() else "other"
        objects[label] = {"name": name, "category": name}
    asked = [
        PlaceQuestion(
            phrase,
            "open",
            np.unique(places[there]).tolist(),
            np.array([region.box for region in regions if region.phrase == phrase]),
        )
        for phrase, there in zip(phrases, covered, strict=True)
    ]
    return Recorded(f"{split}/{file.stem}", objects, (partial(_view, file, camera, places),), (asked,), least=1)


def _drawn(region: Region, size: tuple[int, int]) -> np.ndarray:
    """Its pixels, (H,W) bool; size: width, height."""
    image = Image.new("1", size)
    ImageDraw.Draw(image).polygon(list(region.polygon), fill=1, outline=1)
    return np.array(image)


def _view(file: Path, camera, places: np.ndarray) -> View:
    rgb = read_image(_image_of(file), "RGB")
    depth = _depth_of(file)
    intrinsics = camera(rgb.shape[1], rgb.shape[0])
    view = make_view(rgb, depth, np.zeros(rgb.shape[:2], np.uint8), intrinsics, what=str(file))
    if places.shape != rgb.shape[:2]:
        raise InputError(f"{file}: its labels are of an image of {places.shape}, the image is {rgb.shape[:2]}")
    points, pixels = backproject(view.depth, intrinsics, far=math.inf)
    mask = places.astype(np.uint8).ravel()
    low = transform_points(view.world_from_camera, points)[:, 2] < ON_TABLE
    mask[pixels[low & (mask[pixels] == OTHER)]] = TABLE_ID
    view.mask = mask.reshape(places.shape)
    return view


def _image_of(file: Path) -> Path:
    for suffix in IMAGES:
        if (image := file.with_suffix(suffix)).exists():
            return image
    raise InputError(f"{file} has no image beside it ({', '.join(IMAGES)}); is the data set whole?")


def _depth_of(file: Path) -> np.ndarray:
    path = file.with_name(f"{file.stem}_depth.npy")
    try:
        if path.exists():
            return read_array(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error}); expected depth (H,W) float32 in metres") from error
    if (image := path.with_suffix(".png")).exists():
        return read_image(image)
    raise InputError(
        f"{file.stem}: LERF has no depth, and {path.name} (m) or {image.name} (mm) is not beside it; "
        "render it from the scene's NeRF or Gaussians"
    )


def _boxed(file: Path) -> tuple[list[Region], tuple[int, int]]:
    """Of labelme: the regions, and width and height."""
    table = read_json(file)
    try:
        regions = []
        for shape in table["shapes"]:
            x, y = np.array(shape["points"], float).T
            x0, x1, y0, y1 = x.min(), x.max(), y.min(), y.max()
            regions.append(Region(str(shape["label"]), ((x0, y0), (x1, y0), (x1, y1), (x0, y1)), (x0, y0, x1, y1)))
        return regions, (int(table["imageWidth"]), int(table["imageHeight"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{file}: expected labelme's shapes (label, points), imageWidth and imageHeight ({error!r})"
        ) from error


def _outlined(file: Path) -> tuple[list[Region], tuple[int, int]]:
    """Of lerf_ovs: the regions, and width and height."""
    table = read_json(file)
    try:
        regions = []
        for entry in table["objects"]:
            x0, y0, x1, y1 = np.array(entry["bbox"], float).reshape(4).tolist()
            polygon = np.array(entry["segmentation"], float).reshape(-1, 2)
            box = min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)
            regions.append(Region(str(entry["category"]), tuple(map(tuple, polygon.tolist())), box))
        return regions, (int(table["info"]["width"]), int(table["info"]["height"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{file}: expected info (width, height) and objects (category, bbox, segmentation) ({error!r})"
        ) from error


def _keyframes(file: Path) -> list:
    """The camera of each keyframe, as a function of the width and height of its image."""
    table = read_json(file)
    try:
        fields = [dict(parse_json(frame["properties"])) for frame in table["keyframes"]]
        angles = [math.radians(float(next(iter(of.values())))) for of in fields]
    except (KeyError, TypeError, ValueError, StopIteration) as error:
        raise InputError(
            f"{file}: expected keyframes with properties [[name, field of view], ...] ({error!r})"
        ) from error
    return [partial(_pinhole, angle) for angle in angles]


def _pinhole(angle: float, width: int, height: int) -> Intrinsics:
    focal = height / 2 / math.tan(angle / 2)
    return Intrinsics(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)


def _camera(*folders: Path) -> Intrinsics:
    for folder in folders:
        if (folder / "k.json").exists():
            return Intrinsics.from_json(folder / "k.json")
        if (file := folder / "transforms.json").exists():
            table = read_json(file)
            try:
                return Intrinsics(
                    *(float(table[key]) for key in ("fl_x", "fl_y", "cx", "cy")), int(table["w"]), int(table["h"])
                )
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(f"{file}: expected nerfstudio's fl_x, fl_y, cx, cy, w, h ({error!r})") from error
    raise InputError(f"{folders[0]}: the camera is not known; put k.json or nerfstudio's transforms.json there")
