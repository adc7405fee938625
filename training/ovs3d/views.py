# SPDX-License-Identifier: Apache-2.0
"""Posed images of one scene, and what is checked of them. Readers of each layout: `training.ovs3d.layouts`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dropclip_ros.vision.geometry import Intrinsics, backproject, is_rigid
from training.runs.errors import InputError

FEWEST = 3  # views, of which one may be held out


@dataclass(frozen=True, eq=False)
class PosedViews:
    """V views of one scene, all of one size.

    names: as their files are called. images: (V,H,W,3) uint8. intrinsics: of each view, at that size.
    world_from_camera: (V,4,4), optical frames (x right, y down, z forward), m. depth: (V,H,W) float32 m along z, 0
    where unknown; None where there is none. held_out: (V,) bool, views that nothing is fitted to. points: (N,3) m of
    the world that lie on surfaces, where the layout tells some (COLMAP). range: least and greatest distance from the
    cameras, m, where it tells them (LLFF).
    """

    names: tuple[str, ...]
    images: np.ndarray
    intrinsics: tuple[Intrinsics, ...]
    world_from_camera: np.ndarray
    held_out: np.ndarray
    depth: np.ndarray | None = None
    points: np.ndarray | None = None
    range: tuple[float, float] | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.images.shape[2], self.images.shape[1]

    @cached_property
    def _directions(self) -> dict[Intrinsics, np.ndarray]:
        """Of each camera: (H W, 3) at z = 1, optical frame, undistorted."""
        ones = np.ones(self.images.shape[1:3], np.float32)
        return {camera: np.ascontiguousarray(backproject(ones, camera)[0]) for camera in set(self.intrinsics)}

    def rays(self, v: int, pixels: Tensor | np.ndarray | None = None) -> tuple[Tensor, Tensor]:
        """Origins (n,3) m and unit directions (n,3), world, float32, through pixels (n,) row-major; all by default."""
        directions = self._directions[self.intrinsics[v]]
        directions = directions if pixels is None else directions[np.asarray(pixels)]
        return rays_through(directions, self.world_from_camera[v])

    def along(self, v: int) -> np.ndarray:
        """Metres along the ray of each metre of depth: (H W,)."""
        return np.linalg.norm(self._directions[self.intrinsics[v]], axis=1)

    def surface(self, v: int, farthest: float = np.inf) -> np.ndarray:
        """What the depth of view `v` shows up to `farthest` m: points (n,3) of the world."""
        depth = self.depth[v].ravel()
        seen = (depth > 0) & (depth < farthest)
        points = self._directions[self.intrinsics[v]][seen] * depth[seen, None]
        return points @ self.world_from_camera[v, :3, :3].T + self.world_from_camera[v, :3, 3]


def rays_through(directions: np.ndarray, world_from_camera: np.ndarray) -> tuple[Tensor, Tensor]:
    """Origins and unit directions (n,3), world, of directions (n,3) in the optical frame of a pose (4,4)."""
    turned = directions @ world_from_camera[:3, :3].T
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    origins = np.broadcast_to(world_from_camera[:3, 3], turned.shape)
    return torch.tensor(origins, dtype=torch.float32), torch.tensor(turned, dtype=torch.float32)


def gather(
    views: list[tuple[str, np.ndarray, Intrinsics, np.ndarray, np.ndarray | None]], hold_out: int, **more
) -> PosedViews:
    """Of views (name, image, intrinsics, pose, depth); every `hold_out`-th is held out, none with 0.

    Raises InputError where there are too few, where sizes differ, or where poses are not rigid or all the same.
    """
    if len(views) < FEWEST:
        raise InputError(
            f"{len(views)} view{'s' * (len(views) != 1)}: a field needs at least {FEWEST}, from different "
            "places; give more images with their poses"
        )
    names, images, intrinsics, poses, depths = zip(*views, strict=True)
    for name, image, camera, pose in zip(names, images, intrinsics, poses, strict=True):
        if image.shape != images[0].shape:
            raise InputError(
                f"{name} is {image.shape[1]}x{image.shape[0]}, {names[0]} {images[0].shape[1]}x"
                f"{images[0].shape[0]}; expected images of one size: resize or leave out"
            )
        if (camera.width, camera.height) != (image.shape[1], image.shape[0]):
            raise InputError(
                f"{name} is {image.shape[1]}x{image.shape[0]} and its camera {camera.width}x"
                f"{camera.height}; give the intrinsics of the images as they are"
            )
        if not is_rigid(pose, 1e-3):
            raise InputError(f"the pose of {name} is no finite rotation and translation; check the file of poses")
    poses = np.stack(poses).astype(np.float64)
    spread = float(np.ptp(poses[:, :3, 3], axis=0).max())
    if spread < 1e-6:
        raise InputError(
            f"all {len(views)} views are from one place; depth shows only from different ones: move the camera"
        )
    images = np.stack(images)
    if (images == images[0]).all():
        raise InputError(f"all {len(views)} images are the same, though their poses differ; check how they were saved")
    held_out = np.zeros(len(views), bool)
    if hold_out:
        held_out[hold_out // 2 :: hold_out] = True
    depth = None if any(d is None for d in depths) else np.stack(depths).astype(np.float32)
    return PosedViews(tuple(names), images, tuple(intrinsics), poses, held_out, depth, **more)


def shrunk(image: np.ndarray, width: int | None) -> np.ndarray:
    """An image (H,W,3) uint8 `width` pixels wide, by means of areas; as it is where it is no wider, or without."""
    if not width or width >= image.shape[1]:
        return image
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))


def shrunk_depth(depth: np.ndarray, width: int, height: int) -> np.ndarray:
    """Depth (H,W) of the pixel nearest to each new one's middle: means across edges lie where nothing is."""
    rows = ((np.arange(height) + 0.5) * depth.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * depth.shape[1] / width).astype(int)
    return depth[np.ix_(rows, columns)]


def subset(views: PosedViews, kept: np.ndarray) -> PosedViews:
    """The views (n,) int of these numbers."""
    return dataclasses.replace(
        views,
        names=tuple(views.names[v] for v in kept),
        images=views.images[kept],
        intrinsics=tuple(views.intrinsics[v] for v in kept),
        world_from_camera=views.world_from_camera[kept],
        held_out=views.held_out[kept],
        depth=None if views.depth is None else views.depth[kept],
    )
