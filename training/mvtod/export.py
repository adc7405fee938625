# SPDX-License-Identifier: Apache-2.0
"""Scenes for other tools: one COCO data set, the BOP layout, a ROS 2 bag a scene, or WebDataset shards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import trimesh
from PIL import Image
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist
from tqdm import tqdm

from training.mvtod.catalogue import ObjectModel
from training.mvtod.errors import MvtodError
from training.mvtod.generate import PROCEDURAL, open_catalogue
from training.mvtod.scenes import Scene
from training.mvtod.sensor import SENSORS, SensorConfig
from training.mvtod.shards import load_scenes, pack

BOP_DEPTH_UNIT = 1e-4  # metres per count of the depth images


def export(
    scenes: Path,
    out: Path,
    to: Literal["coco", "bop", "bag", "webdataset"],
    catalogue: str = PROCEDURAL,
    sensor: Literal["none", "kinect", "realsense"] = "none",
    rate: float = 2.0,
    per_shard: int = 20,
) -> None:
    """Writes scenes in a format of other tools, into a new folder.

    Args:
        scenes: folder of scenes or shards.
        out: a folder that is not there yet (webdataset: whose shards are kept).
        to: the format.
        catalogue: of the scenes' objects: BOP holds their meshes.
        sensor: whose depth BOP and bags get: none (as rendered), kinect or realsense.
        rate: frames a second in a bag.
        per_shard: scenes in a shard.
    """
    if to == "webdataset":
        pack(scenes, out, per_shard)
        return
    found = load_scenes(scenes)
    if not any(len(scene) for scene in found):
        raise MvtodError(f"{scenes}: none of {len(found)} scenes has views; generate with a renderer")
    writers: dict[str, Callable[[Path], None]] = {
        "coco": lambda part: _write_coco(found, part),
        "bop": lambda part: _write_bop(found, part, catalogue, SENSORS[sensor]),
        "bag": lambda part: _write_bags(found, part, SENSORS[sensor], rate),
    }
    _write_beside(out, writers[to])


def _write_beside(out: Path, write: Callable[[Path], None]) -> None:
    """Writes a folder whole or not at all."""
    if out.exists():
        raise MvtodError(f"{out} is there already; remove it, or choose another folder")
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        write(part)
        part.rename(out)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise MvtodError(f"{out} cannot be written: {error.strerror or error}; nothing was left there") from error


def _write_coco(scenes: list[Scene], out: Path) -> None:
    """images/ and annotations.json: classes as categories; `instance` names the object of an annotation."""
    names = sorted({o["category"] for scene in scenes for o in scene.objects.values()})
    category = {name: number for number, name in enumerate(names, 1)}
    images, annotations = [], []
    for scene in tqdm(scenes, desc="scenes", unit="scene"):
        (out / "images" / scene.name).mkdir(parents=True)
        number = {}
        for image in scene.coco["images"]:
            file, number[image["id"]] = f"{scene.name}/{image['file_name']}", len(images) + 1
            (out / "images" / file).write_bytes(scene.source.read(file))
            size = {key: image[key] for key in ("width", "height")}
            images.append({"id": len(images) + 1, "file_name": file, **size, "K": image["K"],
                           "world_from_camera": image["world_from_camera"]})  # fmt: skip
        for note in scene.coco["annotations"]:
            o = scene.objects[note["category_id"]]
            own = {"id": len(annotations) + 1, "image_id": number[note["image_id"]],
                   "category_id": category[o["category"]], "instance": o["name"]}  # fmt: skip
            annotations.append(note | own)
    categories = [{"id": number, "name": name} for name, number in category.items()]
    tables = {"images": images, "annotations": annotations, "categories": categories}
    (out / "annotations.json").write_text(json.dumps(tables))


def _write_bags(scenes: list[Scene], out: Path, sensor: SensorConfig | None, rate: float) -> None:
    """A bag for each scene: its views as the frames of a camera that moves."""
    from training.mvtod.bag import write_bag  # needs rosbags

    for scene in tqdm(scenes, desc="bags", unit="bag"):
        write_bag(out / scene.name, (scene.view(v, sensor) for v in range(len(scene))), rate)


def _write_bop(scenes: list[Scene], out: Path, catalogue: str, sensor: SensorConfig | None) -> None:
    """BOP (github.com/thodan/bop_toolkit, docs/bop_datasets_format.md): lengths in mm; sizes differ, so an object in
    another size is another model."""
    from training.mvtod.visibility import Visibility  # after the check of arguments: it loads open3d

    objects, specs = open_catalogue(catalogue), {spec.name: spec for spec in open_catalogue(catalogue).specs}
    numbers: dict[tuple[str, float], int] = {}
    extents: dict[str, dict] = {}
    (out / "models").mkdir()
    for index, scene in enumerate(tqdm(scenes, desc="scenes", unit="scene")):
        if scene.description is None:
            raise MvtodError(f"{scene.source}: {scene.name} has no description of its objects; generate it anew")
        if missing := {one.name for one in scene.description.objects} - specs.keys():
            raise MvtodError(f"{scene.name}: {', '.join(sorted(missing))} not in catalogue {catalogue}; name theirs")
        models = {one.name: objects.build(specs[one.name]) for one in scene.description.objects}
        for one in scene.description.objects:
            key = (one.name, one.scale)
            if key not in numbers:
                numbers[key] = len(numbers) + 1
                mesh = _mesh(models[one.name], one.scale)
                (out / f"models/obj_{numbers[key]:06d}.ply").write_bytes(mesh.export(file_type="ply"))
                extents[str(numbers[key])] = _extent(mesh) | {"name": one.name, "scale": one.scale}
        _write_bop_scene(scene, out / "train" / f"{index:06d}", numbers, Visibility(scene.description, models), sensor)
    (out / "models/models_info.json").write_text(json.dumps(extents, indent=1))
    image = scenes[0].coco["images"][0]
    camera = {"cx": image["K"][0][2], "cy": image["K"][1][2], "fx": image["K"][0][0], "fy": image["K"][1][1],
              "width": image["width"], "height": image["height"], "depth_scale": BOP_DEPTH_UNIT * 1000}  # fmt: skip
    (out / "camera.json").write_text(json.dumps(camera))


def _mesh(model: ObjectModel, scale: float) -> trimesh.Trimesh:
    """In mm, with the texture's colour at each vertex."""
    height, width = model.texture.shape[:2]
    columns = np.clip(model.uv[:, 0] % 1 * width, 0, width - 1).astype(int)
    rows = np.clip((1 - model.uv[:, 1] % 1) * height, 0, height - 1).astype(int)
    return trimesh.Trimesh(1000 * scale * model.vertices, model.faces, process=False,
                           vertex_colors=model.texture[rows, columns])  # fmt: skip


def _extent(mesh: trimesh.Trimesh) -> dict:
    low, size = mesh.bounds[0], mesh.extents
    hull = mesh.vertices[ConvexHull(mesh.vertices).vertices]
    return {"diameter": float(pdist(hull).max())} | {
        f"{name}_{axis}": float(values[k])
        for name, values in (("min", low), ("size", size)) for k, axis in enumerate("xyz")}  # fmt: skip


def _write_bop_scene(
    scene: Scene, folder: Path, numbers: dict, visibility, sensor: SensorConfig | None
) -> None:
    for name in ("rgb", "depth", "mask", "mask_visib"):
        (folder / name).mkdir(parents=True)
    cameras, truth, infos = {}, {}, {}
    for v, image in enumerate(scene.coco["images"]):
        view = scene.view(v, sensor)
        (folder / f"rgb/{v:06d}.jpg").write_bytes(scene.source.read(f"{scene.name}/{image['file_name']}"))
        Image.fromarray(np.rint(view.depth / BOP_DEPTH_UNIT).astype(np.uint16)).save(folder / f"depth/{v:06d}.png")
        camera_from_world = np.linalg.inv(view.world_from_camera)
        cameras[str(v)] = {"cam_K": view.intrinsics.ravel().tolist(), "depth_scale": BOP_DEPTH_UNIT * 1000,
                           "cam_R_w2c": camera_from_world[:3, :3].ravel().tolist(),
                           "cam_t_w2c": (1000 * camera_from_world[:3, 3]).tolist()}  # fmt: skip
        truth[str(v)], infos[str(v)] = [], []
        for k, one in enumerate(scene.description.objects):
            pose = camera_from_world @ one.pose
            truth[str(v)].append({"cam_R_m2c": pose[:3, :3].ravel().tolist(),
                                  "cam_t_m2c": (1000 * pose[:3, 3]).tolist(),
                                  "obj_id": numbers[one.name, one.scale]})  # fmt: skip
            shown = view.mask == one.label
            whole = visibility.silhouette(view, one.label) | shown
            for name, mask in (("mask", whole), ("mask_visib", shown)):
                Image.fromarray(255 * mask.astype(np.uint8)).save(folder / f"{name}/{v:06d}_{k:06d}.png")
            infos[str(v)].append({"bbox_obj": _box(whole), "bbox_visib": _box(shown),
                                  "px_count_all": int(whole.sum()), "px_count_visib": int(shown.sum()),
                                  "px_count_valid": int((whole & (view.depth > 0)).sum()),
                                  "visib_fract": float(shown.sum() / max(whole.sum(), 1))})  # fmt: skip
    for name, table in (("scene_camera", cameras), ("scene_gt", truth), ("scene_gt_info", infos)):
        (folder / f"{name}.json").write_text(json.dumps(table))


def _box(mask: np.ndarray) -> list[int]:
    """x, y, width, height; -1 where there is nothing."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return [-1] * 4
    return [int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
