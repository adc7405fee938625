# SPDX-License-Identifier: Apache-2.0
"""Renders a scene description with Blender's Cycles (`bpy`, extra `blender`): light that bounces, soft shadows (A.1.1).

Depth and masks come from a pass of their own with one sample through the middle of each pixel, so that they are as
exact as MuJoCo's; the picture has many samples and is denoised.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dropclip_ros.base.ranges import check_fields, ranged
from training.objects.procedural.surfaces import random_surface
from training.objects.spec import ObjectModel
from training.runs.errors import InputError
from training.scenes.description import SPOT, TABLE_ID, Camera, SceneDescription, Surface
from training.scenes.render_mujoco import FAR, FLIP, NEAR, TABLE_THICKNESS
from training.scenes.scene import View

SENSOR_WIDTH = 36.0  # mm; any: only its ratio to the lens counts
LIGHT_RADIUS = 0.05  # m
SHARP = 0.7  # rad, between faces: gentler edges are shaded smooth


@dataclass(frozen=True)
class BlenderConfig:
    """samples: of a pixel; bounces: of light; threads: of the processor, as a worker of `generate` takes one core; gpu:
    use OptiX or CUDA where there is one."""

    samples: int = ranged(16, 1)
    bounces: int = ranged(3, 0)
    threads: int = ranged(1, 1)
    gpu: bool = True

    def __post_init__(self) -> None:
        check_fields(self)


def render(
    description: SceneDescription, models: Mapping[str, ObjectModel], config: BlenderConfig | None = None
) -> Iterator[View]:
    """Views of the scene from each of its cameras in turn. models: of the scene's objects, by name."""
    try:
        import bpy
    except ImportError as error:
        raise InputError("the renderer blender needs bpy: pip install 'dropclip_ros[blender]' (Python 3.11)") from error
    config = config or BlenderConfig()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    _set_up(bpy, scene, config)
    _light(bpy, scene, description)
    _add_surface(bpy, scene, "table", description.table, -TABLE_THICKNESS, TABLE_ID)
    _add_surface(bpy, scene, "floor", description.floor, 0.0, 0)
    for placed in description.objects:
        model, name = models[placed.name], f"object{placed.label}"
        pixels = np.clip(model.texture * placed.brightness, 0, 255).astype(np.uint8)
        material = _material(bpy, name, pixels, placed.specular, placed.shininess)
        thing = _mesh(bpy, scene, name, placed.scale * model.vertices, model.faces, model.uv, material)
        thing.matrix_world, thing.pass_index = placed.pose.T.tolist(), placed.label  # Blender's matrices by columns
    with tempfile.TemporaryDirectory() as folder:
        outputs = _Passes(bpy, scene, Path(folder))
        for camera in description.cameras:
            _aim(bpy, scene, camera)
            depth, mask = outputs.geometry()
            rgb = outputs.picture(config.samples)
            yield View(rgb, np.where(depth < 0.99 * FAR, depth, 0), mask, camera.intrinsics, camera.pose)


def _set_up(bpy, scene, config: BlenderConfig) -> None:
    scene.render.engine = "CYCLES"
    scene.render.use_persistent_data = True  # meshes and textures stay from view to view
    scene.render.threads_mode, scene.render.threads = "FIXED", config.threads
    scene.cycles.seed, scene.cycles.max_bounces = 0, config.bounces
    scene.view_settings.view_transform = "Standard"
    preferences = bpy.context.preferences.addons["cycles"].preferences
    if config.gpu:
        for kind in ("OPTIX", "CUDA"):
            preferences.compute_device_type = "NONE"
            devices = preferences.get_devices_for_type(kind)
            if devices:
                preferences.compute_device_type = kind
                for device in devices:
                    device.use = True
                scene.cycles.device = "GPU"
                break


def _light(bpy, scene, description: SceneDescription) -> None:
    """Lights give a dull surface in the middle of the table their colour, as MuJoCo's do; the backdrop is only seen."""
    from mathutils import Vector  # comes with bpy

    for index, light in enumerate(description.lights):
        lamp = bpy.data.lights.new(f"light{index}", "SPOT")
        lamp.spot_size, lamp.spot_blend = 2 * SPOT, 0.5
        brightest = max(light.color)
        squared = float(np.square(light.position).sum())
        lamp.energy, lamp.color = 4 * np.pi**2 * squared * brightest, [c / brightest for c in light.color]
        lamp.shadow_soft_size = LIGHT_RADIUS
        thing = bpy.data.objects.new(f"light{index}", lamp)
        thing.location = light.position
        thing.rotation_mode = "QUATERNION"
        thing.rotation_quaternion = (-Vector(light.position)).to_track_quat("-Z", "Y")
        scene.collection.objects.link(thing)
    scene.world = bpy.data.worlds.new("world")
    scene.world.use_nodes = True
    nodes, links = scene.world.node_tree.nodes, scene.world.node_tree.links
    around, behind = nodes["Background"], nodes.new("ShaderNodeBackground")
    around.inputs["Color"].default_value = (*[description.ambient] * 3, 1)
    behind.inputs["Color"].default_value = (*_linear(np.array(description.backdrop)), 1)
    path, mix = nodes.new("ShaderNodeLightPath"), nodes.new("ShaderNodeMixShader")
    links.new(path.outputs["Is Camera Ray"], mix.inputs[0])
    links.new(around.outputs[0], mix.inputs[1])
    links.new(behind.outputs[0], mix.inputs[2])
    links.new(mix.outputs[0], nodes["World Output"].inputs["Surface"])


def _linear(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _material(bpy, name: str, pixels: np.ndarray, specular: float, shininess: float, repeat: float = 1.0):
    """A textured material; MuJoCo's shininess is a Phong exponent over 128, which a roughness answers to."""
    height, width = pixels.shape[:2]
    image = bpy.data.images.new(name, width, height)
    opaque = np.concatenate([pixels[::-1] / np.float32(255), np.ones((height, width, 1), np.float32)], axis=2)
    image.pixels.foreach_set(opaque.astype(np.float32).ravel())  # rows bottom up
    image.pack()
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    surface, texture = nodes["Principled BSDF"], nodes.new("ShaderNodeTexImage")
    texture.image = image
    surface.inputs["Specular IOR Level"].default_value = 0.5 * specular
    surface.inputs["Roughness"].default_value = (2 / (128 * shininess + 2)) ** 0.25
    scale, where = nodes.new("ShaderNodeMapping"), nodes.new("ShaderNodeTexCoord")
    scale.inputs["Scale"].default_value = (repeat, repeat, 1)
    links.new(where.outputs["UV"], scale.inputs["Vector"])
    links.new(scale.outputs["Vector"], texture.inputs["Vector"])
    links.new(texture.outputs["Color"], surface.inputs["Base Color"])
    return material


def _mesh(bpy, scene, name: str, vertices: np.ndarray, faces: np.ndarray, uv: np.ndarray, material):
    """An object of triangles; uv (V,2) of the vertices."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(np.asarray(vertices, float).tolist(), [], faces.tolist())
    mesh.polygons.foreach_set("use_smooth", np.ones(len(faces), bool))
    mesh.set_sharp_from_angle(angle=SHARP)
    layer = mesh.uv_layers.new()
    layer.uv.foreach_set("vector", uv[faces.ravel()].astype(np.float32).ravel())
    mesh.materials.append(material)
    thing = bpy.data.objects.new(name, mesh)
    scene.collection.objects.link(thing)
    return thing


def _add_surface(bpy, scene, name: str, surface: Surface, below: float, label: int) -> None:
    """A slab whose top lies at the surface's height, `below` m thick; 0: a sheet."""
    pixels = random_surface(np.random.default_rng(surface.seed))
    material = _material(bpy, name, pixels, surface.specular, surface.shininess, surface.repeat)
    (x, y), top = surface.half, surface.height
    corners = np.array([(-x, -y), (x, -y), (x, y), (-x, y)])
    vertices = np.column_stack([np.tile(corners, (2, 1)), np.repeat([top + below, top], 4)])
    faces, uv = np.array([[4, 5, 6], [4, 6, 7]]), np.tile([[0, 0], [1, 0], [1, 1], [0, 1]], (2, 1))
    if below:
        sides = [
            (a, b, c) for k in range(4) for a, b, c in ((k, (k + 1) % 4, 4 + (k + 1) % 4), (k, 4 + (k + 1) % 4, 4 + k))
        ]
        faces = np.concatenate([faces, sides, [[2, 1, 0], [3, 2, 0]]])
    _mesh(bpy, scene, name, vertices, faces, uv, material).pass_index = label


def _aim(bpy, scene, camera: Camera) -> None:
    if scene.camera is None:
        scene.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
        scene.collection.objects.link(scene.camera)
    lens = scene.camera.data
    lens.sensor_fit, lens.sensor_width = "HORIZONTAL", SENSOR_WIDTH
    lens.lens = camera.focal * SENSOR_WIDTH / camera.width
    lens.clip_start, lens.clip_end = NEAR, FAR
    pose = camera.pose.copy()
    pose[:3, :3] = pose[:3, :3] @ FLIP
    scene.camera.matrix_world = pose.T.tolist()
    scene.render.resolution_x, scene.render.resolution_y = camera.width, camera.height
    scene.render.resolution_percentage = 100


class _Passes:
    """Renders, and reads back what Blender writes: it hands out no pixels of a render otherwise."""

    def __init__(self, bpy, scene, folder: Path) -> None:
        self._bpy, self._scene, self._folder = bpy, scene, folder
        layer = scene.view_layers[0]
        layer.use_pass_z = layer.use_pass_object_index = True
        scene.use_nodes = True
        nodes, links = scene.node_tree.nodes, scene.node_tree.links
        nodes.clear()
        rendered = nodes.new("CompositorNodeRLayers")
        self._files = nodes.new("CompositorNodeOutputFile")
        self._files.base_path = str(folder)
        self._files.format.file_format, self._files.format.color_depth = "OPEN_EXR", "32"
        self._files.file_slots.clear()
        for name, output in (("depth", "Depth"), ("label", "IndexOB")):
            self._files.file_slots.new(name)
            links.new(rendered.outputs[output], self._files.inputs[name])

    def geometry(self) -> tuple[np.ndarray, np.ndarray]:
        """Depth (H,W) m along the axis and labels (H,W) uint8, through the middle of each pixel."""
        cycles = self._scene.cycles
        cycles.samples, cycles.use_denoising, bounces = 1, False, cycles.max_bounces
        cycles.pixel_filter_type, cycles.filter_width, cycles.max_bounces = "BOX", 0.01, 0
        self._files.mute = False
        self._bpy.ops.render.render()
        cycles.max_bounces = bounces
        depth, label = (self._read(f"{name}{self._scene.frame_current:04d}.exr")[..., 0] for name in ("depth", "label"))
        return depth, np.rint(label).astype(np.uint8)

    def picture(self, samples: int) -> np.ndarray:
        """Colours (H,W,3) uint8."""
        cycles, file = self._scene.cycles, self._folder / "picture.png"
        cycles.samples, cycles.use_denoising = samples, True
        cycles.pixel_filter_type, cycles.filter_width = "BLACKMAN_HARRIS", 1.5
        self._files.mute = True
        self._scene.render.filepath = str(file)
        self._bpy.ops.render.render(write_still=True)
        return np.rint(255 * self._read(file.name)[..., :3]).astype(np.uint8)

    def _read(self, name: str) -> np.ndarray:
        """An image (H,W,4) float32, top row first."""
        image = self._bpy.data.images.load(str(self._folder / name))
        width, height = image.size
        pixels = np.empty(width * height * 4, np.float32)
        image.pixels.foreach_get(pixels)
        self._bpy.data.images.remove(image)
        return pixels.reshape(height, width, 4)[::-1].copy()
