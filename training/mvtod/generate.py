# SPDX-License-Identifier: Apache-2.0
"""Cluttered tabletop scenes (MV-TOD, section 2 and A.1): spawn, settle in MuJoCo, render many views, write COCO JSON.

`python -m training.mvtod.generate --out runs/scenes/train --split train --scenes 600 --views 12`

A scene folder (see `training.mvtod.scenes`) is written beside and renamed when whole: a killed run resumes
without half scenes; scene `i` depends on (seed, split, i) alone.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("MUJOCO_GL", "osmesa")

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from training.mvtod.catalogue import SPLITS, ObjectModel
from training.mvtod.procedural.objects import build, catalogue
from training.mvtod.procedural.surfaces import random_surface
from training.mvtod.scene import FIRST_OBJECT_ID, TABLE_ID
from training.mvtod.scenes import View, write_view


@dataclass(frozen=True)
class SceneConfig:
    """What a scene may look like. Lengths in metres, angles in radians."""

    min_objects: int = 4
    max_objects: int = 10
    views: int = 12
    width: int = 640
    height: int = 480
    radius: tuple[float, float] = (0.6, 0.95)
    elevation: tuple[float, float] = (0.5, 1.35)
    focal: tuple[float, float] = (520.0, 620.0)
    area: tuple[float, float] = (0.22, 0.17)
    settle_time: float = 2.5

    def __post_init__(self) -> None:
        if not 1 <= self.min_objects <= self.max_objects:
            raise ValueError(f"min_objects {self.min_objects}: expected 1 <= min_objects <= max_objects")
        if self.views < 1:
            raise ValueError(f"views {self.views}: expected at least 1")


def _add_texture(
    spec: mujoco.MjSpec,
    name: str,
    pixels: np.ndarray,
    shininess: float = 0.2,
    specular: float = 0.2,
    repeat: float = 1.0,
) -> None:
    """Material `name` with a 2D texture (H,W,3) uint8; MuJoCo reads rows bottom up."""
    texture = spec.add_texture(
        name=name,
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        width=pixels.shape[1],
        height=pixels.shape[0],
        nchannel=3,
    )
    texture.data = np.ascontiguousarray(pixels[::-1]).tobytes()
    material = spec.add_material(name=name, shininess=shininess, specular=specular, texrepeat=[repeat, repeat])
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name


class World:
    """A table, a floor and `models` as free bodies, settled by physics; renders views of itself."""

    def __init__(self, models: list[ObjectModel], config: SceneConfig, rng: np.random.Generator) -> None:
        self.config, self.models = config, models
        self.focal = rng.uniform(*config.focal)
        spec = self._specify(rng)
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        self.body_ids = [self.model.body(f"object{k}").id for k in range(len(models))]
        self._label_of_geom = np.zeros(self.model.ngeom + 1, np.uint8)
        self._label_of_geom[self.model.geom("table").id] = TABLE_ID
        for k, body in enumerate(self.body_ids):
            self._label_of_geom[:-1][self.model.geom_bodyid == body] = FIRST_OBJECT_ID + k
        self.kept: list[int] = []

    def _specify(self, rng: np.random.Generator) -> mujoco.MjSpec:
        config, spec = self.config, mujoco.MjSpec()
        spec.visual.global_.offwidth, spec.visual.global_.offheight = config.width, config.height
        spec.visual.global_.fovy = float(np.degrees(2 * np.arctan(config.height / 2 / self.focal)))
        # Small shadow maps and no multisampling: five times faster in software rendering.
        spec.visual.quality.shadowsize, spec.visual.quality.offsamples = 1024, 0
        spec.visual.map.znear, spec.visual.map.zfar = 0.05, 20.0
        spec.stat.extent, spec.stat.center = 1.0, [0, 0, 0]
        spec.visual.headlight.ambient = [rng.uniform(0.25, 0.4)] * 3
        spec.visual.headlight.diffuse = [rng.uniform(0.1, 0.3)] * 3
        spec.visual.headlight.specular = [0.1] * 3
        for _ in range(rng.integers(1, 3)):
            position = np.array([rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(1.2, 2.2)])
            tint = rng.uniform(0.25, 0.5) * (1 + rng.uniform(-0.08, 0.08, 3))
            spec.worldbody.add_light(
                pos=position,
                dir=-position / np.linalg.norm(position),
                diffuse=tint,
                specular=[0.2] * 3,
                castshadow=True,
            )
        _add_texture(spec, "table", random_surface(rng), shininess=rng.uniform(0, 0.3), specular=rng.uniform(0, 0.2))
        _add_texture(spec, "floor", random_surface(rng), repeat=4.0)
        half = [rng.uniform(0.45, 0.9), rng.uniform(0.4, 0.7), 0.02]
        spec.worldbody.add_geom(
            name="table",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=half,
            pos=[0, 0, -half[2]],
            material="table",
            friction=[0.9, 0.01, 0.002],
        )
        spec.worldbody.add_geom(
            name="floor",
            type=mujoco.mjtGeom.mjGEOM_PLANE,
            size=[6, 6, 0.1],
            pos=[0, 0, -rng.uniform(0.5, 0.8)],
            material="floor",
        )
        for k, (model, pose) in enumerate(zip(self.models, _drop_poses(self.models, config, rng), strict=True)):
            self._add_object(spec, k, model, pose)
        return spec

    @staticmethod
    def _add_object(spec: mujoco.MjSpec, k: int, model: ObjectModel, pose: tuple[np.ndarray, np.ndarray]) -> None:
        _add_texture(spec, f"object{k}", model.texture, model.shininess, model.specular)
        mesh = spec.add_mesh(name=f"object{k}", inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX)
        mesh.uservert, mesh.userface = model.vertices.ravel().astype(float), model.faces.ravel()
        mesh.usertexcoord, mesh.userfacetexcoord = model.uv.ravel().astype(float), model.faces.ravel()
        body = spec.worldbody.add_body(name=f"object{k}", pos=pose[0], quat=pose[1])
        body.add_freejoint()
        contact = {"friction": [model.friction, 0.01, 0.003], "condim": 6, "solref": [0.01, 1.0]}
        if model.hull_parts is None:  # the mesh's convex hull collides
            body.add_geom(
                type=mujoco.mjtGeom.mjGEOM_MESH,
                meshname=f"object{k}",
                material=f"object{k}",
                mass=model.mass,
                **contact,
            )
            return
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_MESH,
            meshname=f"object{k}",
            material=f"object{k}",
            mass=0,
            contype=0,
            conaffinity=0,
        )
        for part, hull in enumerate(model.hull_parts):  # a vessel stays open; group 3 is not drawn
            spec.add_mesh(
                name=f"object{k}_{part}",
                inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX,
                uservert=hull.ravel().astype(float),
            )
            body.add_geom(
                type=mujoco.mjtGeom.mjGEOM_MESH,
                meshname=f"object{k}_{part}",
                group=3,
                mass=model.mass / len(model.hull_parts),
                **contact,
            )

    def settle(self) -> int:
        """Steps until all rest, at most `settle_time`; returns how many objects fell off or never rested: dropped."""
        steps = int(self.config.settle_time / self.model.opt.timestep)
        speed = np.full(len(self.models), np.inf)
        for step in range(steps):
            mujoco.mj_step(self.model, self.data)
            self.data.qvel *= 0.998  # light damping: rolling things come to rest on a real table too
            if step > 400 and step % 50 == 0:
                speed = np.linalg.norm(self.data.qvel.reshape(-1, 6)[:, :3], axis=1)
                if speed.max() < 0.005:
                    break
        position = self.data.xpos[self.body_ids]
        reach = np.array(self.config.area) + 0.12
        on_table = (position[:, 2] > -0.01) & (np.abs(position[:, :2]) < reach).all(1) & (speed < 0.03)
        self.kept = np.flatnonzero(on_table).tolist()
        for k in np.flatnonzero(~on_table):
            self.data.qpos[7 * k : 7 * k + 3] = (0, 0, 50 + k)  # above every camera and light
        mujoco.mj_forward(self.model, self.data)
        return len(self.models) - len(self.kept)

    def object_poses(self) -> dict[int, np.ndarray]:
        """world_from_mesh 4x4 of each kept object. MuJoCo re-centres meshes on their inertia: undone here."""
        poses = {}
        for k in self.kept:
            geom = self.model.body_geomadr[self.body_ids[k]]
            mesh = self.model.geom_dataid[geom]
            world_from_geom, geom_from_mesh = np.eye(4), np.eye(4)
            world_from_geom[:3, :3] = self.data.geom_xmat[geom].reshape(3, 3)
            world_from_geom[:3, 3] = self.data.geom_xpos[geom]
            geom_from_mesh[:3, :3] = Rotation.from_quat(self.model.mesh_quat[mesh], scalar_first=True).as_matrix()
            geom_from_mesh[:3, 3] = self.model.mesh_pos[mesh]
            poses[k] = world_from_geom @ np.linalg.inv(geom_from_mesh)
        return poses

    def cameras(self, rng: np.random.Generator) -> list[mujoco.MjvCamera]:
        """One view from above, the rest spread over the upper hemisphere (golden angle), jittered radially."""
        config, cameras = self.config, []
        low, high = np.sin(config.elevation[0]), np.sin(config.elevation[1])
        start = rng.uniform(0, 360)
        for v in range(config.views):
            lookat = (*rng.uniform(-0.04, 0.04, 2), 0.03)
            distance = rng.uniform(*config.radius)
            height = 1.0 if v == 0 and config.views > 1 else low + (high - low) * rng.uniform()
            elevation = -np.degrees(np.arcsin(height))
            cameras.append(free_camera(lookat, distance, (start + 137.508 * v) % 360, elevation))
        return cameras

    def render(self, cameras: list[mujoco.MjvCamera]) -> Iterator[View]:
        """Views of the settled scene: colour, depth along the optical axis and instance labels."""
        config = self.config
        intrinsics = np.array(
            [[self.focal, 0, config.width / 2 - 0.5], [0, self.focal, config.height / 2 - 0.5], [0, 0, 1]]
        )
        with mujoco.Renderer(self.model, config.height, config.width) as renderer:
            for camera in cameras:
                renderer.update_scene(self.data, camera)
                rgb = renderer.render().copy()
                renderer.enable_depth_rendering()
                depth = renderer.render().copy()
                renderer.disable_depth_rendering()
                renderer.enable_segmentation_rendering()
                mask = self._label_of_geom[renderer.render()[..., 0]]  # -1 (nothing) hits the spare last entry
                renderer.disable_segmentation_rendering()
                yield View(rgb, depth, mask, intrinsics, camera_pose(camera))


def free_camera(
    lookat: tuple[float, float, float], distance: float, azimuth: float, elevation: float
) -> mujoco.MjvCamera:
    """A camera `distance` m from `lookat`; angles in degrees as MuJoCo has them, elevation below zero looks down."""
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FREE
    camera.lookat[:], camera.distance, camera.azimuth, camera.elevation = lookat, distance, azimuth, elevation
    return camera


def camera_pose(camera: mujoco.MjvCamera) -> np.ndarray:
    """world_from_camera 4x4 (optical frame: x right, y down, z forward) of a free camera."""
    azimuth, elevation = np.radians(camera.azimuth), np.radians(camera.elevation)
    ca, sa, ce, se = np.cos(azimuth), np.sin(azimuth), np.cos(elevation), np.sin(elevation)
    forward, up = np.array([ca * ce, sa * ce, se]), np.array([-ca * se, -sa * se, ce])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([np.cross(forward, up), -up, forward], axis=1)
    pose[:3, 3] = np.asarray(camera.lookat) - camera.distance * forward
    return pose


def _drop_poses(
    models: list[ObjectModel], config: SceneConfig, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Random start poses whose bounding boxes do not overlap: position (3,) m and quaternion (w, x, y, z).

    Clutter is scattered (whole area), packed (a third of it) or mixed. A box that would overlap an earlier one is
    lifted above it, which stacks things as A.1.1's collision check by box IoU allows.
    """
    spread = {"scattered": 1.0, "packed": 0.4, "mixed": None}[
        rng.choice(["scattered", "packed", "mixed"], p=[0.5, 0.2, 0.3])
    ]
    boxes: list[tuple[np.ndarray, np.ndarray]] = []
    poses = []
    for model in models:
        upright = rng.uniform() < 0.65
        rotation = Rotation.from_euler("z", rng.uniform(0, 2 * np.pi)) if upright else Rotation.random(random_state=rng)
        corners = rotation.apply(model.vertices)
        half = (corners.max(0) - corners.min(0)) / 2 + 0.004
        share = spread if spread is not None else rng.choice([0.35, 1.0])
        best = None
        for _ in range(30):
            centre = np.array([*(rng.uniform(-1, 1, 2) * np.array(config.area) * share), half[2]])
            for low, high in sorted(boxes, key=lambda box: box[1][2]):
                if (np.abs(centre[:2] - (low + high)[:2] / 2) < half[:2] + (high - low)[:2] / 2).all():
                    centre[2] = max(centre[2], high[2] + half[2])
            if best is None or centre[2] < best[2]:
                best = centre
            if best[2] <= half[2]:
                break
        boxes.append((best - half, best + half))
        poses.append((best - (corners.max(0) + corners.min(0)) / 2, rotation.as_quat(scalar_first=True)))
    return poses


def generate_scene(folder: Path, split: str, index: int, seed: int, config: SceneConfig) -> int:
    """Writes scene `index` of `split` into `folder`; returns how many objects were dropped."""
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    specs = [spec for spec in catalogue() if spec.split == split]
    chosen = rng.choice(
        len(specs), min(rng.integers(config.min_objects, config.max_objects + 1), len(specs)), replace=False
    )
    models = [build(specs[i]) for i in chosen]
    world = World(models, config, rng)
    dropped = world.settle()
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    coco: dict = {
        "info": {"split": split, "index": index, "seed": seed, "config": asdict(config), "dropped": dropped},
        "images": [],
        "annotations": [],
        "categories": [
            {"id": FIRST_OBJECT_ID + k, "name": models[k].name, "supercategory": models[k].category} for k in world.kept
        ],
        "objects": [
            {
                "id": FIRST_OBJECT_ID + k,
                "name": models[k].name,
                "category": models[k].category,
                "split": models[k].split,
                "world_from_mesh": pose.tolist(),
            }
            for k, pose in world.object_poses().items()
        ],
    }
    for v, view in enumerate(world.render(world.cameras(rng))):
        write_view(part, v, view, coco)
    (part / "scene.json").write_text(json.dumps(coco))
    part.rename(folder)
    return dropped


def _generate(job: tuple) -> int:
    return generate_scene(*job)


def main(out: Path, split: str = "train", scenes: int = 600, views: int = 12, seed: int = 0, workers: int = 2) -> None:
    """Generates `scenes` scenes of `split` into `out`; scenes already there are kept."""
    config = SceneConfig(views=views)
    out.mkdir(parents=True, exist_ok=True)
    jobs = [(out / f"scene_{i:05d}", split, i, seed, config) for i in range(scenes)]
    jobs = [job for job in jobs if not job[0].exists()]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        dropped = sum(tqdm(pool.imap_unordered(_generate, jobs), total=len(jobs), desc=f"scenes {split}"))
    print(f"{scenes} scenes in {out}; {dropped} objects fell off or never rested and were dropped in this run")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
