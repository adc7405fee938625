# SPDX-License-Identifier: Apache-2.0
"""A small world whose pictures are known: a ball with colours over a floor with waves, seen from around."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from dropclip_ros.vision.geometry import Intrinsics, invert_pose
from training.ovs3d.config import Ovs3dConfig
from training.ovs3d.views import PosedViews, gather

FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


def look_from(place, target=(0.0, 0.0, 0.0)) -> np.ndarray:
    """world_from_camera (4,4), optical, of a camera at `place` that looks at `target`; z is up."""
    z = np.subtract(target, place) / np.linalg.norm(np.subtract(target, place))
    x = np.cross(z, (0, 0, 1.0))
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3] = np.stack([x, np.cross(z, x), z, place], 1)
    return pose


def around(count: int, distance: float = 1.0) -> list[np.ndarray]:
    """Poses on two rings above the floor."""
    turns = np.arange(count) * 2.4  # golden angle
    heights = np.where(np.arange(count) % 2, 0.45, 0.8)
    return [look_from((distance * np.cos(a), distance * np.sin(a), h)) for a, h in zip(turns, heights, strict=True)]


def picture(camera: Intrinsics, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colours (H,W,3) uint8 and depth along z (H,W) m of the world."""
    v, u = np.mgrid[: camera.height, : camera.width]
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)], -1)
    d, o = rays @ pose[:3, :3].T, pose[:3, 3]
    floor = np.where(d[..., 2] < 0, -o[2] / np.minimum(d[..., 2], -1e-9), np.inf)
    centre, radius = np.array([0.2, 0.1, 0.15]), 0.15
    a, b, c = (d * d).sum(-1), (d * (o - centre)).sum(-1), ((o - centre) ** 2).sum() - radius**2
    ball = np.where(b * b > a * c, (-b - np.sqrt(np.maximum(b * b - a * c, 0))) / a, np.inf)
    t = np.minimum(ball, floor)
    there = o + np.where(np.isfinite(t), t, 0)[..., None] * d
    waves = 0.5 + 0.5 * np.sin(there[..., 0] * 8) * np.sin(there[..., 1] * 8)
    waves[np.linalg.norm(there[..., :2], axis=-1) > 0.8] = 0.5
    colours = waves[..., None] * (0.85, 0.8, 0.7) + (1 - waves[..., None]) * (0.2, 0.3, 0.5)
    colours = np.where((ball < floor)[..., None], 0.5 + 0.45 * (there - centre) / radius, colours)
    colours = np.where(np.isfinite(t)[..., None], colours, (0.7, 0.8, 0.95))
    return np.rint(255 * np.clip(colours, 0, 1)).astype(np.uint8), np.where(t < 20, t, 0).astype(np.float32)


def camera(width: int = 40, height: int = 30) -> Intrinsics:
    return Intrinsics(width * 0.9, width * 0.9, (width - 1) / 2, (height - 1) / 2, width, height)


def world(count: int = 12, hold_out: int = 4, depth: bool = True, poses: list[np.ndarray] | None = None) -> PosedViews:
    """`count` views of 40x30."""
    seen = []
    for k, pose in enumerate(poses or around(count)):
        colours, metres = picture(camera(), pose)
        seen.append((f"{k}.png", colours, camera(), pose, metres if depth else None))
    return gather(seen, hold_out)


def tiny(**changes) -> Ovs3dConfig:
    """A fit of a second or a few."""
    fields = {
        "bounds": (-0.6, -0.6, -0.3, 0.6, 0.6, 0.9),
        "resolution": 24,
        "final_resolution": 32,
        "grow_at": (30,),
        "density_ranks": (6, 3, 3),
        "colour_ranks": (6, 3, 3),
        "colour_features": 8,
        "hidden": 16,
        "shift": -4.0,
        "steps": 60,
        "rays": 256,
        "budget": 12000,
        "grid_lr": 0.06,
        "net_lr": 0.01,
        "depth_weight": 0.1,
        "occupied_every": 10,
        "occupied_threshold": 0.01,
        "save_every": 20,
        "log_every": 5,
        "validate_every": 1000,
        "hold_out": 4,
    }
    return Ovs3dConfig(**fields | changes)


def write_images(folder: Path, views: PosedViews) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in zip(views.names, views.images, strict=True):
        Image.fromarray(image).save(folder / name)


def write_llff(folder: Path, views: PosedViews) -> None:
    write_images(folder / "images", views)
    width, height = views.size
    rows = []
    for pose in views.world_from_camera:
        right, down, forward, place = pose[:3].T
        rows.append(
            np.r_[
                np.stack([down, right, -forward, place, (height, width, views.intrinsics[0].fx)], 1).ravel(), 0.5, 3.0
            ]
        )
    np.save(folder / "poses_bounds.npy", np.array(rows))


def write_nerfstudio(folder: Path, views: PosedViews, **more) -> None:
    write_images(folder / "images", views)
    lens, (width, height) = views.intrinsics[0], views.size
    frames = [
        {"file_path": f"images/{name}", "transform_matrix": (pose @ FLIP).tolist()}
        for name, pose in zip(views.names, views.world_from_camera, strict=True)
    ]
    table = {
        "camera_model": "OPENCV",
        "fl_x": lens.fx,
        "fl_y": lens.fy,
        "cx": lens.cx + 0.5,
        "cy": lens.cy + 0.5,
        "w": width,
        "h": height,
        "frames": frames,
    } | more
    (folder / "transforms.json").write_text(json.dumps(table))


def write_colmap(folder: Path, views: PosedViews) -> None:
    write_images(folder / "images", views)
    model = folder / "sparse/0"
    model.mkdir(parents=True, exist_ok=True)
    lens, (width, height) = views.intrinsics[0], views.size
    (model / "cameras.txt").write_text(
        f"# cameras\n7 PINHOLE {width} {height} {lens.fx} {lens.fy} {lens.cx + 0.5} {lens.cy + 0.5}\n"
    )
    lines = ["# images"]
    for k, (name, pose) in enumerate(zip(views.names, views.world_from_camera, strict=True)):
        there = invert_pose(pose)
        x, y, z, w = Rotation.from_matrix(there[:3, :3]).as_quat()
        numbers = " ".join(repr(float(value)) for value in (w, x, y, z, *there[:3, 3]))
        lines += [f"{k + 1} {numbers} 7 {name}", "1.5 2.5 -1" if k % 2 else ""]
    (model / "images.txt").write_text("\n".join(lines) + "\n")
