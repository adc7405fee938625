# SPDX-License-Identifier: Apache-2.0
"""What `benchmarks.trust.files` spoils: a good file of each kind, written by us, and the reader that takes it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SHIPPED = Path(__file__).resolve().parents[2] / "dropclip_ros" / "model"


@dataclass(frozen=True)
class Kind:
    """make: writes a good folder; spoilt: pattern of the files in it of which one is changed; read: of the folder."""

    make: Callable[[Path], object]
    spoilt: str
    read: Callable[[Path], object]


def picture() -> np.ndarray:
    """(48,64,3) uint8."""
    return np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)


def depth() -> np.ndarray:
    """(48,64) uint16, mm."""
    return np.random.default_rng(1).integers(500, 1500, (48, 64)).astype(np.uint16)


CAMERA = {"fx": 60.0, "fy": 60.0, "cx": 31.5, "cy": 23.5, "width": 64, "height": 48}


def _frame(folder: Path, color: str = "PNG") -> None:
    Image.fromarray(picture()).save(folder / "color.png", format=color)
    Image.fromarray(depth()).save(folder / "depth.png")
    np.save(folder / "depth.npy", depth().astype(np.float32) / 1000)
    (folder / "k.json").write_text(json.dumps(CAMERA | {"distortion": [0.01, 0.0, 0.0, 0.0, 0.0]}))
    (folder / "p.json").write_text(json.dumps(np.eye(4).tolist()))


def _read_frame(folder: Path, depth: str = "depth.png") -> object:
    from dropclip_ros.vision.geometry import backproject, load_frame

    unit = "m" if depth.endswith("npy") else "mm"
    frame = load_frame(folder / "color.png", folder / depth, unit, folder / "k.json", folder / "p.json")
    return backproject(frame.depth, frame.intrinsics)


def _rows(folder: Path) -> None:
    row = [0.9, 0.05, 0.02, 0.02, *np.eye(3).ravel(), 0.0, 0.0, 0.5, -1.0]
    np.save(folder / "rows.npy", np.array([row, row]))
    (folder / "rows.txt").write_text("\n".join(" ".join(map(str, row)) for _ in range(3)))


def _read_rows(folder: Path, name: str) -> object:
    from dropclip_ros.grasping.grasps import load_rows

    return load_rows(folder / name)


def _gripper(folder: Path) -> None:
    from dropclip_ros.grasping.grippers import FOLDER

    shutil.copy(FOLDER / "robotiq_2f_85.yaml", folder / "mine.yaml")


def _read_gripper(folder: Path) -> object:
    from dropclip_ros.grasping.grippers import load_gripper

    return load_gripper(folder / "mine.yaml")


def _recipe(folder: Path) -> None:
    from training.ovs3d.config import Ovs3dConfig
    from training.runs.recipes import write_config

    write_config(folder / "config.yaml", Ovs3dConfig())


def _read_recipe(folder: Path) -> object:
    from training.ovs3d.config import Ovs3dConfig
    from training.runs.recipes import read_config

    return read_config(folder / "config.yaml", Ovs3dConfig)


def _model(folder: Path) -> None:
    shutil.copy(SHIPPED / "config.json", folder)


def _read_model(folder: Path) -> object:
    from dropclip_ros.networks.model_folder import load_config

    return load_config(folder)


def _names(folder: Path) -> None:
    shutil.copy(SHIPPED / "names.safetensors", folder)


def _read_names(folder: Path) -> object:
    from dropclip_ros.networks.names import NameBank

    try:
        return NameBank.load(folder / "names.safetensors")
    except ValueError:  # which `load_model` makes a MODEL_ERROR of
        return None


def _static(folder: Path) -> None:
    from dropclip_ros.grounding.static_scene import StaticScene

    rng = np.random.default_rng(0)
    StaticScene(
        rng.normal(size=(50, 3)),
        rng.integers(0, 255, (50, 3), np.uint8),
        rng.normal(size=(50, 8)),
        rng.normal(size=8),
        ("mug",),
        rng.random((50, 1)),
        0.02,
        0.6,
    ).save(folder / "scene.safetensors")


def _read_static(folder: Path) -> object:
    from dropclip_ros.grounding.static_scene import StaticScene

    return StaticScene.load(folder / "scene.safetensors")


def _small_hggd():
    from dropclip_ros.grasping.hggd.config import HggdConfig
    from dropclip_ros.grasping.hggd.networks import HggdNetworks

    small = HggdConfig(64, 48, 2, (1, 1, 1, 1), 4, points=100, region_points=8, rotations=3)
    return HggdNetworks(dataclasses.replace(small, point_channels=(4, 4, 8), hidden=(8, 8), info_channels=4))


def _checkpoint(folder: Path) -> None:
    from dropclip_ros.grasping.hggd.checkpoint import save_networks, save_tensors

    save_networks(folder / "hggd.pt", _small_hggd())
    save_tensors(folder / "hggd.safetensors", _small_hggd())


def _minkowski(folder: Path) -> None:
    from dropclip_ros.networks.encoder import EncoderConfig, MinkUNet14D
    from dropclip_ros.networks.minkowski_checkpoint import write_minkowski

    write_minkowski(folder / "a.pth", MinkUNet14D(EncoderConfig(3, 8, 4, (4,) * 8)))


def _read_checkpoint(folder: Path, name: str) -> object:
    from dropclip_ros.grasping.hggd.checkpoint import load_networks

    return load_networks(folder / name)


def _read_minkowski(folder: Path) -> object:
    from dropclip_ros.networks.minkowski_checkpoint import read_minkowski

    return read_minkowski(folder / "a.pth")


def _meshes(folder: Path) -> None:
    import trimesh

    box = trimesh.creation.box((0.05, 0.06, 0.07))
    for name in ("a.ply", "a.stl", "a.glb"):
        box.export(folder / name)
    Image.fromarray(picture()).save(folder / "texture.png")
    (folder / "a.mtl").write_text("newmtl m\nKd 0.5 0.5 0.5\nmap_Kd texture.png\n")
    lines = [f"v {x} {y} {z}" for x, y, z in box.vertices] + ["vt 0 0", "vt 1 0", "vt 0 1"]
    lines += [f"f {a + 1}/1 {b + 1}/2 {c + 1}/3" for a, b, c in box.faces]
    (folder / "a.obj").write_text("mtllib a.mtl\nusemtl m\n" + "\n".join(lines) + "\n")
    np.savez_compressed(folder / "a.npz", v=box.vertices, f=box.faces, uv=np.zeros((len(box.vertices), 2)))


def _read_mesh(folder: Path, name: str) -> object:
    from training.objects.meshes import read_mesh

    return read_mesh(folder / name)


def _read_surface(folder: Path, name: str) -> object:
    from dropclip_ros.grasping.seen_hand import mesh_surface

    return mesh_surface(str(folder / name))


def _clouds(folder: Path) -> None:
    import open3d as o3d

    points = np.random.default_rng(0).normal((0, 0, 0.7), 0.1, (500, 3))
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points))
    for name in ("a.ply", "a.pcd"):
        o3d.io.write_point_cloud(str(folder / name), cloud)


def _read_cloud(folder: Path, name: str) -> object:
    from dropclip_ros.vision.clouds import load_cloud_frame

    return load_cloud_frame(folder / name)


def _grasps(folder: Path) -> None:
    from dropclip_ros.grasping.grasps import Grasps
    from training.scenes.grasps.acronym import write_grasps

    row = [0.9, 0.05, 0.02, 0.02, *np.eye(3).ravel(), 0.0, 0.0, 0.5, -1.0]
    write_grasps(folder / "a.h5", Grasps.from_rows(np.array([row] * 4)), "mesh.obj", 0.1)


def _read_grasps(folder: Path) -> object:
    from training.scenes.grasps.acronym import read_grasps

    return read_grasps(folder / "a.h5", scale=1.0)


def _views(folder: Path, count: int = 2) -> None:
    from training.scenes.scene import View, write_view

    scene = folder / "scene_00000"
    scene.mkdir()
    mask = np.ones((48, 64), np.uint8)
    mask[10:20, 10:30] = 2
    k = np.array([[60.0, 0, 31.5], [0, 60.0, 23.5], [0, 0, 1]])
    coco: dict = {"images": [], "annotations": [], "objects": [{"id": 2, "name": "mug_0", "category": "mug"}]}
    for v in range(count):
        write_view(scene, v, View(picture(), depth() / np.float32(1000), mask, k, np.eye(4)), coco, {2: 1.0})
    (scene / "scene.json").write_text(json.dumps(coco))


def _shard(folder: Path) -> None:
    from training.scenes.shards import pack

    (folder / "scenes").mkdir()
    _views(folder / "scenes")
    pack(folder / "scenes", folder)
    shutil.rmtree(folder / "scenes")


def _read_scenes(folder: Path) -> object:
    from training.scenes.shards import load_scenes

    return [scene.view(v) for scene in load_scenes(folder) for v in range(len(scene))]


def _read_recording(folder: Path) -> object:
    from dropclip_ros.vision.recordings import SceneFrames

    frames = SceneFrames(folder / "scene_00000")
    return [frames[i] for i in range(min(len(frames), 3))]


def _bag(folder: Path) -> None:
    from training.scenes.export.bag import write_bag
    from training.scenes.shards import load_scenes

    _views(folder)
    write_bag(folder / "bag", [scene.view(v) for scene in load_scenes(folder) for v in range(len(scene))], 5.0)
    shutil.rmtree(folder / "scene_00000")


def _read_bag(folder: Path) -> object:
    from dropclip_ros.vision.bags import BagFrames

    return list(map(BagFrames(folder / "bag").__getitem__, range(1)))


def _catalogue(folder: Path) -> None:
    (folder / "catalogue").mkdir()
    _meshes(folder / "catalogue")
    one = {"name": "mug_0", "category": "mug", "split": "train", "mesh": "a.obj", "scale": 1.0, "up": [0, 0, 1]}
    (folder / "catalogue" / "catalogue.json").write_text(json.dumps({"objects": [one]}))


def _read_catalogue(folder: Path) -> object:
    from training.objects.catalogue import Catalogue

    return Catalogue.load(folder / "catalogue")


def _posed(folder: Path) -> None:
    (folder / "images").mkdir()
    for v in range(3):
        Image.fromarray(np.roll(picture(), v, axis=1)).save(folder / "images" / f"{v}.png")


def _moved(v: int) -> np.ndarray:
    pose = np.eye(4)
    pose[0, 3] = 0.1 * v
    return pose


def _nerfstudio(folder: Path) -> None:
    _posed(folder)
    frames = [{"file_path": f"images/{v}.png", "transform_matrix": _moved(v).tolist()} for v in range(3)]
    camera = {"fl_x": 60, "fl_y": 60, "cx": 32, "cy": 24, "w": 64, "h": 48}
    (folder / "transforms.json").write_text(json.dumps(camera | {"frames": frames}))


def _colmap(folder: Path) -> None:
    _posed(folder)
    (folder / "cameras.txt").write_text("1 PINHOLE 64 48 60 60 32 24\n")
    (folder / "images.txt").write_text("".join(f"{v + 1} 1 0 0 0 0.{v} 0 1 1 {v}.png\n\n" for v in range(3)))


def _llff(folder: Path) -> None:
    _posed(folder)
    axes = np.column_stack([[0, -1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1], [48, 64, 60]]).ravel()
    rows = np.tile(np.concatenate([axes, [0.5, 3]]), (3, 1))
    rows[:, 3] = (0, 0.1, 0.2)  # x of the place
    np.save(folder / "poses_bounds.npy", rows)


def _read_views(folder: Path) -> object:
    from training.ovs3d.layouts import load_views

    return load_views(folder)


def _losses(folder: Path) -> None:
    (folder / "losses.jsonl").write_text("".join(json.dumps({"step": k, "loss": 0.5}) + "\n" for k in range(20)))


def _read_losses(folder: Path) -> object:
    from training.runs.log import Log

    Log(folder, 10).close()


def _with(read: Callable, name: str) -> Callable[[Path], object]:
    return lambda folder: read(folder, name)


KINDS = {
    "json camera": Kind(_frame, "[kp].json", _read_frame),
    "json model": Kind(_model, "config.json", _read_model),
    "json scene": Kind(_views, "scene_00000/scene.json", _read_scenes),
    "json recording": Kind(_views, "scene_00000/*", _read_recording),
    "json catalogue": Kind(_catalogue, "catalogue/catalogue.json", _read_catalogue),
    "json poses": Kind(_nerfstudio, "transforms.json", _read_views),
    "jsonl losses": Kind(_losses, "losses.jsonl", _read_losses),
    "yaml gripper": Kind(_gripper, "mine.yaml", _read_gripper),
    "yaml recipe": Kind(_recipe, "config.yaml", _read_recipe),
    "text rows": Kind(_rows, "rows.txt", _with(_read_rows, "rows.txt")),
    "text colmap": Kind(_colmap, "*.txt", _read_views),
    **{
        f"image {kind.lower()}": Kind(lambda folder, kind=kind: _frame(folder, kind), "color.png", _read_frame)
        for kind in ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM")
    },
    "image depth": Kind(_frame, "depth.png", _read_frame),
    "npy depth": Kind(_frame, "depth.npy", _with(_read_frame, "depth.npy")),
    "npy rows": Kind(_rows, "rows.npy", _with(_read_rows, "rows.npy")),
    "npy poses": Kind(_llff, "poses_bounds.npy", _read_views),
    "npz mesh": Kind(_meshes, "a.npz", _with(_read_mesh, "a.npz")),
    "h5 grasps": Kind(_grasps, "a.h5", _read_grasps),
    "safetensors scene": Kind(_static, "scene.safetensors", _read_static),
    "safetensors names": Kind(_names, "names.safetensors", _read_names),
    "safetensors hggd": Kind(_checkpoint, "hggd.safetensors", _with(_read_checkpoint, "hggd.safetensors")),
    "torch hggd": Kind(_checkpoint, "hggd.pt", _with(_read_checkpoint, "hggd.pt")),
    "torch minkowski": Kind(_minkowski, "a.pth", _read_minkowski),
    "mesh obj": Kind(_meshes, "a.[om][bt][jl]", _with(_read_mesh, "a.obj")),
    **{f"mesh {name}": Kind(_meshes, f"a.{name}", _with(_read_mesh, f"a.{name}")) for name in ("ply", "stl", "glb")},
    **{f"hand {name}": Kind(_meshes, f"a.{name}", _with(_read_surface, f"a.{name}")) for name in ("ply", "stl", "obj")},
    **{f"cloud {name}": Kind(_clouds, f"a.{name}", _with(_read_cloud, f"a.{name}")) for name in ("ply", "pcd")},
    "shard": Kind(_shard, "shard_00000.*", _read_scenes),
    "bag": Kind(_bag, "bag/*", _read_bag),
}
