# SPDX-License-Identifier: Apache-2.0
"""Renders a scene description with MuJoCo: OSMesa on a CPU, EGL on a GPU (MUJOCO_GL=egl); A.1.1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from training.objects.procedural.surfaces import random_surface
from training.objects.spec import ObjectModel
from training.scenes.description import SPOT, TABLE_ID, Camera, PlacedObject, SceneDescription, Surface
from training.scenes.scene import View

NEAR, FAR = 0.02, 20.0  # m, clipping planes
TABLE_THICKNESS = 0.04  # m
FLIP = np.diag([1.0, -1.0, -1.0])  # MuJoCo's cameras look along -z, y up; optical frames along z, y down


def render(description: SceneDescription, models: Mapping[str, ObjectModel]) -> Iterator[View]:
    """Views of the scene from each of its cameras in turn. models: of the scene's objects, by name."""
    model, label_of_geom = compile_scene(description, models)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    sizes = {(camera.height, camera.width) for camera in description.cameras}
    renderers = {size: mujoco.Renderer(model, *size) for size in sizes}
    try:
        for index, camera in enumerate(description.cameras):
            renderer = renderers[camera.height, camera.width]
            renderer.update_scene(data, f"camera{index}")
            rgb = renderer.render().copy()
            renderer.enable_depth_rendering()
            depth = renderer.render().copy()
            renderer.disable_depth_rendering()
            renderer.enable_segmentation_rendering()
            mask = label_of_geom[renderer.render()[..., 0]]  # -1 (nothing) hits the spare last entry
            renderer.disable_segmentation_rendering()
            yield View(rgb, np.where(depth < 0.99 * FAR, depth, 0), mask, camera.intrinsics, camera.pose)
    finally:
        for renderer in renderers.values():
            renderer.close()


def compile_scene(
    description: SceneDescription, models: Mapping[str, ObjectModel]
) -> tuple[mujoco.MjModel, np.ndarray]:
    """The scene without physics, and the label of each geom."""
    spec = mujoco.MjSpec()
    furnish(spec, description)
    for placed in description.objects:
        pose = placed.pose
        add_object(
            spec,
            spec.worldbody,
            placed,
            models[placed.name],
            pos=pose[:3, 3],
            quat=Rotation.from_matrix(pose[:3, :3]).as_quat(scalar_first=True),
        )
    model = spec.compile()
    return model, labels_of_geoms(model, description)


def furnish(spec: mujoco.MjSpec, description: SceneDescription) -> None:
    """Lights, table, floor and cameras ("camera0" ...) of a scene."""
    spec.visual.global_.offwidth = max(camera.width for camera in description.cameras)
    spec.visual.global_.offheight = max(camera.height for camera in description.cameras)
    # Small shadow maps and no multisampling: five times faster in software rendering.
    spec.visual.quality.shadowsize, spec.visual.quality.offsamples = 1024, 0
    spec.stat.extent, spec.stat.center = 1.0, [0, 0, 0]
    spec.visual.map.znear, spec.visual.map.zfar = NEAR, FAR
    spec.visual.headlight.ambient = [description.ambient] * 3
    spec.visual.headlight.diffuse = spec.visual.headlight.specular = [0, 0, 0]
    spec.add_texture(
        name="backdrop",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
        rgb1=description.backdrop,
        rgb2=description.backdrop,
        width=8,
        height=48,
    )
    for light in description.lights:
        direction = -np.array(light.position) / np.linalg.norm(light.position)
        spec.worldbody.add_light(
            pos=light.position,
            dir=direction,
            diffuse=light.color,
            specular=[0.2] * 3,
            castshadow=True,
            cutoff=float(np.degrees(SPOT)),
            exponent=1,
        )
    table, floor = description.table, description.floor
    _add_surface(spec, "table", table)
    _add_surface(spec, "floor", floor)
    spec.worldbody.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        material="table",
        size=[*table.half, TABLE_THICKNESS / 2],
        pos=[0, 0, table.height - TABLE_THICKNESS / 2],
    )
    spec.worldbody.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        material="floor",
        size=[*floor.half, 0.1],
        pos=[0, 0, floor.height],
    )
    for index, camera in enumerate(description.cameras):
        _add_camera(spec, f"camera{index}", camera)


def labels_of_geoms(model: mujoco.MjModel, description: SceneDescription) -> np.ndarray:
    """The label of each geom, and a spare last 0 for what lies behind all."""
    label_of_geom = np.zeros(model.ngeom + 1, np.uint8)
    label_of_geom[model.geom("table").id] = TABLE_ID
    for placed in description.objects:
        label_of_geom[model.geom(f"object{placed.label}").id] = placed.label
    return label_of_geom


def _add_texture(
    spec: mujoco.MjSpec, name: str, pixels: np.ndarray, specular: float, shininess: float, repeat: float = 1.0
) -> None:
    """Material `name` with a 2D texture (H,W,3) uint8; MuJoCo reads rows bottom up."""
    texture = spec.add_texture(
        name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, width=pixels.shape[1], height=pixels.shape[0], nchannel=3
    )
    texture.data = np.ascontiguousarray(pixels[::-1]).tobytes()
    material = spec.add_material(name=name, shininess=shininess, specular=specular, texrepeat=[repeat, repeat])
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name


def _add_surface(spec: mujoco.MjSpec, name: str, surface: Surface) -> None:
    pixels = random_surface(np.random.default_rng(surface.seed))
    _add_texture(spec, name, pixels, surface.specular, surface.shininess, surface.repeat)


def add_object(
    spec: mujoco.MjSpec, body: mujoco.MjsBody, placed: PlacedObject, model: ObjectModel, **geom: object
) -> None:
    """The object's look, as a geom "object<label>" of `body`, at its origin unless `geom` says otherwise."""
    name = f"object{placed.label}"
    pixels = np.clip(model.texture * placed.brightness, 0, 255).astype(np.uint8)
    _add_texture(spec, name, pixels, placed.specular, placed.shininess)
    mesh = spec.add_mesh(name=name)
    mesh.uservert, mesh.userface = (placed.scale * model.vertices).ravel().astype(float), model.faces.ravel()
    mesh.usertexcoord, mesh.userfacetexcoord = model.uv.ravel().astype(float), model.faces.ravel()
    mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL  # takes any mesh, open ones too
    body.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, material=name, **geom)


def _add_camera(spec: mujoco.MjSpec, name: str, camera: Camera) -> None:
    spec.worldbody.add_camera(
        name=name,
        pos=camera.pose[:3, 3],
        quat=Rotation.from_matrix(camera.pose[:3, :3] @ FLIP).as_quat(scalar_first=True),
        fovy=float(np.degrees(2 * np.arctan(camera.height / 2 / camera.focal))),
    )
