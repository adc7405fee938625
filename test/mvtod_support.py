# SPDX-License-Identifier: Apache-2.0
"""Scenes of boxes, cast ray by ray and written as `generate` writes them: for tests that need neither catalogue nor
renderer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import open3d as o3d
import trimesh

from training.objects.catalogue import Catalogue
from training.objects.spec import ObjectModel, ObjectSpec
from training.scenes.description import (
    FIRST_OBJECT_ID,
    TABLE_ID,
    Camera,
    Light,
    PlacedObject,
    SceneDescription,
    Surface,
    rows,
)
from training.scenes.scene import View, write_view

SIZES = {"red_box": (0.10, 0.06, 0.12), "blue_box": (0.05, 0.05, 0.08), "tin": (0.07, 0.07, 0.05)}  # m
NAMED = ("mug", "bowl", "banana")  # what the boxes are called in `write_splits`
SHAPE = (48, 64)


class BoxCatalogue(Catalogue):
    """Three boxes, of two categories; the tin is shiny."""

    def build(self, spec: ObjectSpec) -> ObjectModel:
        mesh = trimesh.creation.box(SIZES[spec.name])
        texture = np.full((2, 2, 3), (200, 40, 40), np.uint8)
        vertices = mesh.vertices.astype(np.float32)
        return ObjectModel(
            name=spec.name,
            category=spec.category,
            split=spec.split,
            attributes=spec.attributes,
            vertices=vertices,
            faces=mesh.faces.astype(np.int32),
            uv=np.full((8, 2), 0.5, np.float32),
            texture=texture,
            specular=0.2,
            shininess=0.2,
            mass=0.1,
            density=200.0,
            friction=0.5,
            hull_parts=[vertices],
            phrases={},
            heldout_phrases={},
        )


CATALOGUE = BoxCatalogue(
    tuple(ObjectSpec(name, "tin" if name == "tin" else "box", "train", {"color": name[:3]}) for name in SIZES)
)


def write_scenes(root: Path, count: int = 2, views: int = 3, shape: tuple[int, int] = SHAPE) -> Path:
    """`count` scenes below `root`, each of another seed."""
    for index in range(count):
        write_scene(root / f"scene_{index:05d}", describe(np.random.default_rng(index), views, shape))
    return root


def write_splits(root: Path, splits: Sequence[str]) -> Path:
    """Two scenes of three views in a folder for each split: boxes under the names of procedural objects, of a catalogue
    with one object of each category."""
    specs = {spec.category: spec for spec in reversed(Catalogue.procedural().specs)}
    Catalogue(tuple(specs.values())).save(root / "catalogue")
    for split in splits:
        for file in write_scenes(root / split, 2, 3, (120, 160)).glob("*/scene.json"):
            coco = json.loads(file.read_text())
            for entry, category in zip(coco["objects"], NAMED, strict=True):
                entry |= {"name": specs[category].name, "category": category}
            file.write_text(json.dumps(coco))
        (root / split / "recipe.json").write_text(json.dumps({"catalogue": str(root / "catalogue")}))
    return root


def describe(rng: np.random.Generator, views: int = 3, shape: tuple[int, int] = SHAPE) -> SceneDescription:
    """The three boxes side by side, turned at random; cameras around them, one from above."""
    objects = []
    for k, (name, size) in enumerate(SIZES.items()):
        scale, turn, pose = float(rng.uniform(0.9, 1.1)), rng.uniform(0, 2 * np.pi), np.eye(4)
        pose[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
        pose[:3, 3] = 0.11 * (k - 1), rng.uniform(-0.04, 0.04), scale * size[2] / 2
        shine = 0.9 if name == "tin" else 0.1
        objects.append(PlacedObject(FIRST_OBJECT_ID + k, name, scale, 1.0, shine, shine, rows(pose)))
    cameras = [Camera(shape[1], shape[0], 0.9 * shape[1], rows(look_down(0.7, np.pi / 2 - 0.01, 0.0)))]
    cameras += [
        replace(cameras[0], world_from_camera=rows(look_down(0.7, rng.uniform(0.5, 1.2), rng.uniform(0, 6.28))))
        for _ in range(views - 1)
    ]
    table = Surface(0, 0.0, (0.5, 0.5), 0.1, 0.1)
    light = Light((0.3, 0.2, 1.0), (0.5, 0.5, 0.5))
    return SceneDescription(
        "scattered", tuple(objects), table, replace(table, height=-0.7), 0.3, (0.5, 0.5, 0.5), (light,), tuple(cameras)
    )


def look_down(distance: float, elevation: float, azimuth: float) -> np.ndarray:
    """world_from_camera 4x4 of a camera that looks at the origin."""
    forward = -np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    right = np.cross(forward, (0, 0, 1))
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.column_stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -distance * forward
    return pose


def write_scene(folder: Path, description: SceneDescription) -> None:
    """Views, tables and description."""
    folder.mkdir(parents=True)
    specs = {spec.name: spec for spec in CATALOGUE.specs}
    entries = [
        {
            "id": o.label,
            "name": o.name,
            "category": specs[o.name].category,
            "split": "train",
            "scale": o.scale,
            "attributes": specs[o.name].attributes,
            "world_from_mesh": o.world_from_mesh,
        }
        for o in description.objects
    ]
    coco: dict = {
        "info": {"split": "train"},
        "images": [],
        "annotations": [],
        "objects": entries,
        "categories": [{"id": o["id"], "name": o["name"], "supercategory": o["category"]} for o in entries],
        "queries": {"class": {"a tin": [4], "a box": [2, 3]}},
        "description": description.to_json(),
    }
    for v, camera in enumerate(description.cameras):
        write_view(folder, v, cast(description, camera), coco, {o.label: 1.0 for o in description.objects})
    (folder / "scene.json").write_text(json.dumps(coco))


def cast(description: SceneDescription, camera: Camera) -> View:
    """What the camera sees, by casting rays."""
    scene, labels = o3d.t.geometry.RaycastingScene(), {}
    table = trimesh.creation.box((1, 1, 0.04), trimesh.transformations.translation_matrix((0, 0, -0.02)))
    meshes = [(TABLE_ID, table)]
    for o in description.objects:
        meshes.append((o.label, trimesh.creation.box(o.scale * np.array(SIZES[o.name])).apply_transform(o.pose)))
    for label, mesh in meshes:
        number = scene.add_triangles(mesh.vertices.astype(np.float32), mesh.faces.astype(np.uint32))
        labels[number] = label
    v, u = np.mgrid[: camera.height, : camera.width]
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(camera.intrinsics).T @ camera.pose[:3, :3].T
    rays = np.concatenate([np.broadcast_to(camera.pose[:3, 3], rays.shape), rays], -1).astype(np.float32)
    hit = scene.cast_rays(rays)
    depth = hit["t_hit"].numpy()
    found = np.isfinite(depth)
    of_number = np.zeros(len(labels) + 1, np.uint8)
    of_number[list(labels)] = list(labels.values())
    mask = of_number[np.where(found, hit["geometry_ids"].numpy(), len(labels))]
    rgb = np.repeat((60 * mask)[..., None], 3, axis=2)
    return View(rgb, np.where(found, depth, 0), mask, camera.intrinsics, camera.pose)
