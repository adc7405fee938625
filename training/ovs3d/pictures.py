# SPDX-License-Identifier: Apache-2.0
"""What a fitted scene looks like: colours, depth, relevancy, classes, and a camera that goes around it.

As all of this package, it must not import MuJoCo: OSMesa's LLVM and Triton's, which optimizers load, crash together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from dropclip_ros.draw import draw_segments
from dropclip_ros.vision.geometry import Intrinsics
from training.ovs3d.field import Field
from training.ovs3d.fit import render_rays
from training.ovs3d.segment import class_map
from training.ovs3d.semantic import Segmentation
from training.ovs3d.views import PosedViews
from training.runs.errors import InputError
from training.runs.files import write_atomically

UPRIGHT = 0.9  # cosine from which a world's axis is taken for up


def render_colours(field: Field, views: PosedViews, v: int) -> tuple[np.ndarray, np.ndarray]:
    """Of view `v`: colours (H,W,3) uint8 and depth along the rays (H,W) m."""
    width, height = views.size
    colours, distance = render_rays(field, *(part.to(field.bounds.device) for part in views.rays(v)))
    image = (255 * colours).round().to(torch.uint8).view(height, width, 3)
    return image.cpu().numpy(), distance.view(height, width).cpu().numpy()


def write_pictures(out: Path, name: str, field: Field, found: Segmentation | None, views: PosedViews, v: int) -> None:
    """Writes OUT/NAME.rgb.png and .depth.png; with classes, .classes.png and for each class .relevancy.CLASS.png."""
    colours, distance = render_colours(field, views, v)
    _save(out / f"{name}.rgb.png", colours)
    near, far = float(distance.min()), float(np.percentile(distance, 95))
    _save(out / f"{name}.depth.png", _heat((distance - near) / max(far - near, 1e-6), "viridis"))
    if found is None:
        return
    classes, shown = class_map(found, views, v)
    labels = np.where(shown, classes.argmax(-1) + 1, 0)
    legend = {str(k + 1): phrase for k, phrase in enumerate(found.phrases)}
    _save(out / f"{name}.classes.png", draw_segments(colours, labels, legend))
    for k, phrase in enumerate(found.phrases):
        heat = _heat(classes[..., k] * shown, "inferno")
        plain = "".join(letter if letter.isalnum() else "_" for letter in phrase)
        _save(out / f"{name}.relevancy.{plain}.png", (0.7 * heat + 0.3 * colours).astype(np.uint8))


def write_turntable(path: Path, field: Field, found: Segmentation | None, views: PosedViews, frames: int) -> None:
    """A GIF of a camera that goes around the scene once; with classes, what they are beside the colours."""
    turned = seen_from(views, around(field, views, frames))
    palette = (255 * matplotlib.colormaps["tab20"](np.arange(20) % 20)[:, :3]).astype(np.uint8)
    pictures = []
    for v in range(frames):
        picture, _ = render_colours(field, turned, v)
        if found is not None:
            classes, shown = class_map(found, turned, v)
            tinted = 0.4 * picture + 0.6 * palette[classes.argmax(-1) % 20]
            picture = np.concatenate([picture, np.where(shown[..., None], tinted, picture).astype(np.uint8)], axis=1)
        pictures.append(Image.fromarray(picture))
    with write_atomically(path, replace=True) as part:
        pictures[0].save(part, "GIF", save_all=True, append_images=pictures[1:], duration=80, loop=0)


def around(field: Field, views: PosedViews, frames: int) -> list[np.ndarray]:
    """Poses (4,4) on a circle around the middle of the field's box, as high and as far as the views are on average."""
    centre, upright = field.bounds.mean(0).cpu().numpy(), _upright(views)
    places = (views.world_from_camera[:, :3, 3] - centre) @ upright
    distance = float(np.median(np.linalg.norm(places, axis=1)))
    elevation = float(np.median(np.arctan2(places[:, 2], np.linalg.norm(places[:, :2], axis=1))))
    turns = 2 * np.pi * np.arange(frames) / frames
    ring = np.stack(
        [np.cos(elevation) * np.cos(turns), np.cos(elevation) * np.sin(turns), np.full(frames, np.sin(elevation))],
        axis=1,
    )
    return [from_place(field, views, place) for place in centre + distance * ring @ upright.T]


def from_place(field: Field, views: PosedViews, place: Sequence[float]) -> np.ndarray:
    """The pose (4,4) of a camera at `place` (3,), m, that looks at the middle of the field's box."""
    ahead = field.bounds.mean(0).cpu().numpy() - place
    if np.linalg.norm(ahead) < 1e-6:
        raise InputError(f"place {tuple(place)} is the middle of the scene, at which it is to look; choose another one")
    ahead /= np.linalg.norm(ahead)
    up = _upright(views)[:, 2]
    right = np.cross(ahead, up)
    if np.linalg.norm(right) < 1e-6:  # straight down
        right = np.cross(ahead, np.roll(up, 1))
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.stack([right, np.cross(ahead, right), ahead, place], axis=1)
    return pose


def seen_from(views: PosedViews, poses: list[np.ndarray]) -> PosedViews:
    """Views from other poses with the first one's camera; their images are black."""
    width, height = views.size
    lens: tuple[Intrinsics, ...] = (views.intrinsics[0],) * len(poses)
    return dataclasses.replace(
        views,
        names=tuple(f"pose_{k}" for k in range(len(poses))),
        intrinsics=lens,
        depth=None,
        images=np.zeros((len(poses), height, width, 3), np.uint8),
        world_from_camera=np.stack(poses),
        held_out=np.zeros(len(poses), bool),
    )


def _upright(views: PosedViews) -> np.ndarray:
    """A rotation (3,3) that brings z to what the cameras hold for up: an axis of the world, where one is near that."""
    up = -views.world_from_camera[:, :3, 1].mean(0)
    up /= max(float(np.linalg.norm(up)), 1e-9)
    nearest = np.zeros(3)
    nearest[abs(up).argmax()] = np.sign(up[abs(up).argmax()])
    up = nearest if abs(up).max() > UPRIGHT else up
    return Rotation.align_vectors([up], [(0, 0, 1.0)])[0].as_matrix()


def _heat(values: np.ndarray, colours: str) -> np.ndarray:
    """Values (H,W) in [0, 1] as colours (H,W,3) uint8."""
    return (255 * matplotlib.colormaps[colours](np.clip(values, 0, 1))[..., :3]).astype(np.uint8)


def _save(path: Path, image: np.ndarray) -> None:
    with write_atomically(path, replace=True) as part:
        Image.fromarray(image).save(part, "PNG")
