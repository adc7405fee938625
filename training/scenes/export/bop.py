# SPDX-License-Identifier: Apache-2.0
"""Scenes in the layout of the BOP benchmark (github.com/thodan/bop_toolkit, docs/bop_datasets_format.md): lengths in
mm, models as PLY, one folder a scene. Sizes of our objects differ from scene to scene: an object in another size is
another model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist
from tqdm import tqdm

from dropclip_ros.vision.geometry import invert_pose
from training.objects.catalogue import Catalogue
from training.objects.spec import TRAIN, ObjectModel
from training.runs.errors import InputError
from training.scenes.scene import Scene, View
from training.scenes.visibility import Visibility

DEPTH_SCALE = 0.1  # mm per count of the depth images
Model = tuple[str, float]  # name of an object, and the factor on its size


def write_bop(
    scenes: list[Scene], out: Path, catalogue: Catalogue, views: Callable[[Scene], Iterator[tuple[int, View]]]
) -> None:
    """models/, camera.json, and train/ or test/ (by the objects' split) with a folder for each scene.

    views: of a scene, with their numbers. Raises InputError where an object of a scene is not in the catalogue.
    """
    specs = {spec.name: spec for spec in catalogue.specs}
    numbers: dict[Model, int] = {}
    extents: dict[int, dict] = {}
    (out / "models").mkdir()
    for index, scene in enumerate(tqdm(scenes, desc="scenes", unit="scene")):
        if scene.description is None:
            raise InputError(f"{scene.source}: {scene.name} has no description of its objects; generate it anew")
        placed = scene.description.objects
        if missing := {one.name for one in placed} - specs.keys():
            raise InputError(f"{scene.name}: {', '.join(sorted(missing))} not in the catalogue; name the right one")
        models = {one.name: catalogue.build(specs[one.name]) for one in placed}
        for one in placed:
            if (one.name, one.scale) not in numbers:
                number = numbers[one.name, one.scale] = len(numbers) + 1
                mesh = _mesh(models[one.name], one.scale)
                (out / f"models/obj_{number:06d}.ply").write_bytes(mesh.export(file_type="ply", vertex_normal=True))
                extents[number] = {**_extent(mesh), "name": one.name, "scale": one.scale}
        split = "train" if specs[placed[0].name].split == TRAIN else "test"
        folder = out / split / f"{index:06d}"
        _write_scene(scene, folder, numbers, Visibility(scene.description, models), views(scene))
    (out / "models/models_info.json").write_text(json.dumps(extents, indent=1))
    image = next(image for scene in scenes for image in scene.coco["images"])
    (fx, _, cx), (_, fy, cy), _ = image["K"]
    camera = {
        "cx": cx,
        "cy": cy,
        "depth_scale": DEPTH_SCALE,
        "fx": fx,
        "fy": fy,
        "height": image["height"],
        "width": image["width"],
    }
    (out / "camera.json").write_text(json.dumps(camera, indent=1))


def _mesh(model: ObjectModel, scale: float) -> trimesh.Trimesh:
    """In mm, with the texture's colour at each vertex."""
    height, width = model.texture.shape[:2]
    columns = np.clip(model.uv[:, 0] % 1 * width, 0, width - 1).astype(int)
    rows = np.clip((1 - model.uv[:, 1] % 1) * height, 0, height - 1).astype(int)
    return trimesh.Trimesh(
        1000 * scale * model.vertices, model.faces, process=False, vertex_colors=model.texture[rows, columns]
    )


def _extent(mesh: trimesh.Trimesh) -> dict[str, float]:
    """The bounding box, and the largest distance between two vertices, mm."""
    hull = mesh.vertices[ConvexHull(mesh.vertices, qhull_options="QJ").vertices]  # QJ: flat ones too
    box = {
        f"{name}_{axis}": float(values[k])
        for name, values in (("min", mesh.bounds[0]), ("size", mesh.extents))
        for k, axis in enumerate("xyz")
    }
    return {"diameter": float(pdist(hull).max()), **box}


def _write_scene(
    scene: Scene,
    folder: Path,
    numbers: dict[Model, int],
    visibility: Visibility,
    views: Iterator[tuple[int, View]],
) -> None:
    for name in ("rgb", "depth", "mask", "mask_visib"):
        (folder / name).mkdir(parents=True)
    cameras, truth, infos = {}, {}, {}
    for v, view in views:
        image = scene.coco["images"][v]
        (folder / f"rgb/{v:06d}.jpg").write_bytes(scene.read(image["file_name"]))
        depth = np.rint(1000 * view.depth / DEPTH_SCALE).astype(np.uint16)
        Image.fromarray(depth).save(folder / f"depth/{v:06d}.png")
        camera_from_world = invert_pose(view.world_from_camera)
        cameras[v] = {
            "cam_K": view.intrinsics.ravel().tolist(),
            "depth_scale": DEPTH_SCALE,
            "cam_R_w2c": camera_from_world[:3, :3].ravel().tolist(),
            "cam_t_w2c": (1000 * camera_from_world[:3, 3]).tolist(),
        }
        truth[v], infos[v] = [], []
        wide = _wide(view)
        for k, one in enumerate(scene.description.objects):
            pose = camera_from_world @ one.pose
            truth[v].append(
                {
                    "cam_R_m2c": pose[:3, :3].ravel().tolist(),
                    "cam_t_m2c": (1000 * pose[:3, 3]).tolist(),
                    "obj_id": numbers[one.name, one.scale],
                }
            )
            shown = view.mask == one.label
            whole = visibility.silhouette(wide, one.label)
            inside = _middle(whole)
            inside |= shown  # in `whole` as well: a ray may miss the edge of what was rendered
            for name, mask in (("mask", inside), ("mask_visib", shown)):
                Image.fromarray(255 * mask.astype(np.uint8)).save(folder / f"{name}/{v:06d}_{k:06d}.png")
            infos[v].append(_info(whole, inside, shown, view.depth))
    for name, table in (("scene_camera", cameras), ("scene_gt", truth), ("scene_gt_info", infos)):
        (folder / f"{name}.json").write_text(json.dumps(table))


def _wide(view: View) -> View:
    """A view three times as wide and high: BOP counts what the image cuts off as well."""
    height, width = view.mask.shape
    intrinsics = view.intrinsics + np.array([[0, 0, width], [0, 0, height], [0, 0, 0]])
    mask = np.zeros((3 * height, 3 * width), np.uint8)
    return View(view.rgb, view.depth, mask, intrinsics, view.world_from_camera)


def _middle(wide: np.ndarray) -> np.ndarray:
    height, width = np.array(wide.shape) // 3
    return wide[height : 2 * height, width : 2 * width]


def _info(whole: np.ndarray, inside: np.ndarray, shown: np.ndarray, depth: np.ndarray) -> dict:
    """As the toolkit's calc_gt_info. whole (3H,3W): silhouette; inside, shown (H,W): in the image, and visible."""
    seen, pixels = int(shown.sum()), int(whole.sum())
    height, width = shown.shape
    none = [-1] * 4
    return {
        "bbox_obj": _box(whole, (width, height)) if seen else none,
        "bbox_visib": _box(shown) if seen else none,
        "px_count_all": pixels,
        "px_count_valid": int((inside & (depth > 0)).sum()),
        "px_count_visib": seen,
        "visib_fract": seen / pixels if pixels else 0.0,
    }


def _box(mask: np.ndarray, corner: tuple[int, int] = (0, 0)) -> list[int]:
    """x, y, and to the last column and row, as the toolkit has it; from `corner` of the mask."""
    rows, columns = np.nonzero(mask)
    x, y = int(columns.min()), int(rows.min())
    return [x - corner[0], y - corner[1], int(columns.max()) - x, int(rows.max()) - y]
