# SPDX-License-Identifier: Apache-2.0
"""Shows a scene: a contact sheet (PNG) of its views, and a recording for Rerun."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dropclip_ros.vision.geometry import invert_pose
from training.runs.errors import InputError
from training.runs.files import write_atomically
from training.scenes.description import FIRST_OBJECT_ID, TABLE_ID
from training.scenes.scene import SCENE_FILE, Folder, Scene, View
from training.scenes.sensor import SENSORS
from training.scenes.shards import load_scenes

CELL = 480  # pixels, width of a picture on the sheet
MARGIN = 6
AXIS = 0.04  # m, length of the axes drawn at each object's origin
AXIS_COLORS = ("#ff3030", "#30c030", "#4060ff")  # x, y, z
INK, PAPER = "#202020", "#ffffff"


def inspect(
    scenes: Path,
    out: Path = Path("inspect"),
    scene: str = "",
    views: int = 6,
    sensor: Literal["none", "kinect", "realsense"] = "none",
    rerun: bool = False,
) -> None:
    """Shows a scene as OUT/NAME.png: some views with poses and visible fractions, depth, mask; names below.

    Args:
        scenes: folder of scenes or of shards, or one scene's folder.
        out: folder for the pictures; pictures of the same names are replaced.
        scene: its name, such as scene_00007; the first if not given.
        views: how many rows: the first view, and others evenly from the rest.
        sensor: whose depth to show: none (as rendered), kinect or realsense.
        rerun: record all views as OUT/NAME.rrd as well, and open it where there is a screen (needs rerun-sdk).
    """
    if views < 1:
        raise InputError(f"views {views}: expected at least 1")
    chosen = find_scene(scenes, scene)
    if not len(chosen):
        raise InputError(f"{chosen.name} has no views to show; generate it with a renderer (`stats` needs none)")
    rows = sorted({*np.linspace(0, len(chosen) - 1, min(views, len(chosen))).astype(int).tolist()})
    seen = readable_views(chosen, rows, sensor)
    sheet = contact_sheet(chosen, seen)
    with write_atomically(out / f"{chosen.name}.png", replace=True) as part:
        sheet.save(part, format="PNG")
    print(out / f"{chosen.name}.png")
    if rerun:
        record(chosen, readable_views(chosen, range(len(chosen)), sensor), out / f"{chosen.name}.rrd")


def find_scene(scenes: Path, name: str = "") -> Scene:
    """Scene `name` below `scenes`, or the first there, or the one whose folder `scenes` is. Raises InputError."""
    if (scenes / SCENE_FILE).is_file():
        return Scene(Folder(scenes.absolute().parent), scenes.absolute().name)
    found = {scene.name: scene for scene in load_scenes(scenes)}
    if name and name not in found:
        raise InputError(f"{scenes}: no {name} there; expected one of {min(found)} to {max(found)}")
    return found[name] if name else next(iter(found.values()))


def readable_views(scene: Scene, numbers: Iterable[int], sensor: str = "none") -> dict[int, View]:
    """Views by number; a broken one is left out, with a warning. Raises InputError where all are broken."""
    views = dict(scene.views(numbers, SENSORS[sensor]))
    if not views:
        raise InputError(f"{scene.source}: no view of {scene.name} can be read; generate the scene again")
    return views


def contact_sheet(scene: Scene, views: dict[int, View]) -> Image.Image:
    """A row a view: colour with boxes, labels, visible fractions and axes; depth; mask. Below, what the labels are."""
    low, high = _depth_range(views.values())
    rows = [[_colour(scene, v, view), _depth(view, low, high), _mask(scene, view)] for v, view in views.items()]
    heights = [max(picture.height for picture in row) for row in rows]
    legend = _legend(scene)
    title = 34
    width = 3 * CELL + 4 * MARGIN
    sheet = Image.new("RGB", (width, title + sum(heights) + MARGIN * (len(rows) + 1) + legend.height), PAPER)
    info = scene.coco.get("info", {})
    said = [f"{key} {info[key]}" for key in ("split", "clutter", "renderer", "seed") if key in info]
    said += [f"{len(scene)} views", f"{len(scene.objects)} objects", f"depth {low:.2f} to {high:.2f} m, black: none"]
    ImageDraw.Draw(sheet).text((MARGIN, 7), f"{scene.name}:  {',  '.join(said)}", INK, _font(15))
    top = title
    for row, height in zip(rows, heights, strict=True):
        for column, picture in enumerate(row):
            sheet.paste(picture, (MARGIN + column * (CELL + MARGIN), top))
        top += height + MARGIN
    sheet.paste(legend, (0, top))
    return sheet


def _depth_range(views: Iterable[View]) -> tuple[float, float]:
    """Of what lies on the tables, in m."""
    depths = [view.depth[(view.mask >= TABLE_ID) & (view.depth > 0)] for view in views]
    depths = np.concatenate([depth for depth in depths if len(depth)] or [np.array([0.0, 1.0])])
    return float(np.quantile(depths, 0.01)), float(np.quantile(depths, 0.99))


def _colour(scene: Scene, v: int, view: View) -> Image.Image:
    """The image with each object's 2D box, its label with the share that is visible, and the axes of its pose."""
    picture, scale = _fit(Image.fromarray(view.rgb))
    draw = ImageDraw.Draw(picture)
    image = scene.coco["images"][v]
    fractions = image.get("visible_fraction", {})
    camera_from_world = invert_pose(view.world_from_camera)
    notes = [note for note in scene.coco["annotations"] if note["image_id"] == image["id"]]
    for note in notes:
        x, y, width, height = (scale * value for value in note["bbox"])
        draw.rectangle((x, y, x + width, y + height), outline=_color(note["category_id"]))
    for entry in scene.objects.values():
        if "world_from_mesh" in entry:
            _axes(draw, camera_from_world @ np.array(entry["world_from_mesh"]), view.intrinsics, scale)
    for note in notes:
        label = note["category_id"]
        said = f" {100 * fractions[str(label)]:.0f} %" if str(label) in fractions else ""
        _tag(draw, scale * np.array(note["bbox"][:2]), f"{label}{said}", _color(label))
    draw.text((4, picture.height - 20), f"view {v}", "white", _font(14), stroke_width=2, stroke_fill=INK)
    return picture


def _axes(draw: ImageDraw.ImageDraw, camera_from_mesh: np.ndarray, intrinsics: np.ndarray, scale: float) -> None:
    ends = camera_from_mesh[:3, 3] + np.vstack([np.zeros(3), AXIS * camera_from_mesh[:3, :3].T])
    if (ends[:, 2] <= 0).any():
        return
    pixels = ends @ intrinsics.T
    pixels = scale * (pixels[:, :2] / pixels[:, 2:] + 0.5)
    for end, color in zip(pixels[1:], AXIS_COLORS, strict=True):
        draw.line((*pixels[0], *end), color, 2)


def _depth(view: View, low: float, high: float) -> Image.Image:
    """Near red, far blue, none black."""
    shade = (high - view.depth) / max(high - low, 1e-6)
    pixels = (255 * matplotlib.colormaps["turbo"](shade.clip(0, 1))[..., :3]).astype(np.uint8)
    pixels[view.depth <= 0] = 0
    return _fit(Image.fromarray(pixels))[0]


def _mask(scene: Scene, view: View) -> Image.Image:
    colors = np.zeros((256, 3), np.uint8)
    colors[TABLE_ID] = 70
    for label in range(FIRST_OBJECT_ID, 256):
        colors[label] = _rgb(label)
    picture, scale = _fit(Image.fromarray(colors[view.mask]), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(picture)
    for label in scene.objects:
        rows, columns = np.nonzero(view.mask == label)
        if len(rows):
            _tag(draw, scale * np.array([np.median(columns), np.median(rows)]) - 6, str(label), "white")
    return picture


def _legend(scene: Scene) -> Image.Image:
    """Label, name, category and attributes of each object."""
    line = 19
    picture = Image.new("RGB", (3 * CELL + 4 * MARGIN, line * len(scene.objects) + MARGIN), PAPER)
    draw = ImageDraw.Draw(picture)
    for row, (label, entry) in enumerate(scene.objects.items()):
        attributes = ", ".join(f"{key} {value}" for key, value in entry.get("attributes", {}).items())
        draw.rectangle((MARGIN, row * line + 3, MARGIN + 14, row * line + 15), _color(label))
        draw.text(
            (MARGIN + 22, row * line), f"{label}  {entry['name']}  ({entry['category']})  {attributes}", INK, _font(13)
        )
    return picture


def _fit(picture: Image.Image, how: Image.Resampling = Image.Resampling.BILINEAR) -> tuple[Image.Image, float]:
    scale = CELL / picture.width
    return picture.resize((CELL, round(scale * picture.height)), how), scale


def _tag(draw: ImageDraw.ImageDraw, place: Sequence[float], text: str, color: str) -> None:
    font = _font(12)
    size = draw.textbbox((0, 0), text, font)[2:]
    x = min(max(place[0], 0), CELL - size[0] - 2)
    y = max(place[1] - size[1] - 2, 0)
    draw.rectangle((x, y, x + size[0] + 2, y + size[1] + 2), INK)
    draw.text((x + 1, y), text, color, font)


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def _rgb(label: int) -> tuple[int, int, int]:
    red, green, blue, _ = matplotlib.colormaps["tab20"]((label - FIRST_OBJECT_ID) % 20)
    return int(255 * red), int(255 * green), int(255 * blue)


def _color(label: int) -> str:
    return "#{:02x}{:02x}{:02x}".format(*_rgb(label))


def record(scene: Scene, views: dict[int, View], path: Path) -> None:
    """A Rerun recording: cameras with colour, depth and mask over the timeline `view`, and the objects' poses."""
    try:
        import rerun
    except ImportError as error:
        raise InputError("--rerun needs Rerun: pip install 'dropclip_ros[rerun]'") from error
    names = {TABLE_ID: "table"} | {label: entry["name"] for label, entry in scene.objects.items()}
    with (
        write_atomically(path, replace=True) as part,
        rerun.RecordingStream("dropclip-mvtod", recording_id=scene.name) as stream,
    ):
        stream.save(part)
        stream.log("world", rerun.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        classes = [
            (label, name, _rgb(label) if label >= FIRST_OBJECT_ID else (70, 70, 70)) for label, name in names.items()
        ]
        stream.log("world", rerun.AnnotationContext(classes), static=True)
        for label, entry in scene.objects.items():
            pose = np.array(entry["world_from_mesh"])
            place = f"world/objects/{label}_{entry['name']}"
            stream.log(place, rerun.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]), static=True)
            arrows = rerun.Arrows3D(vectors=AXIS * np.eye(3), colors=[(255, 48, 48), (48, 192, 48), (64, 96, 255)])
            stream.log(f"{place}/axes", arrows, static=True)
        for v, view in views.items():
            stream.set_time("view", sequence=v)
            pose, (height, width) = view.world_from_camera, view.mask.shape
            stream.log("world/camera", rerun.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]))
            stream.log("world/camera", rerun.Pinhole(image_from_camera=view.intrinsics, resolution=[width, height]))
            stream.log("world/camera/rgb", rerun.Image(view.rgb).compress())
            stream.log("world/camera/depth", rerun.DepthImage(view.depth.astype(np.float32), meter=1.0))
            stream.log("world/camera/mask", rerun.SegmentationImage(view.mask))
    print(path)
    viewer = shutil.which("rerun")
    if viewer and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        subprocess.Popen([viewer, str(path)])
