# SPDX-License-Identifier: Apache-2.0
"""Views of scenes with their true grasps. What a view looks like to the networks is kept on disk: it costs 0.2 s."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from dropclip_ros.base.reading import read_tensors
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.hggd.inputs import PreparedView, prepare
from dropclip_ros.vision.geometry import Intrinsics, invert_pose
from training.evaluate.served.pipeline import view_frame
from training.hggd.config import HggdTraining
from training.hggd.targets import Labels, labels_of, spread_anchors
from training.runs.errors import InputError
from training.runs.files import write_atomically
from training.scenes.grasps.scene_grasps import load_grasps
from training.scenes.scene import Scene
from training.scenes.sensor import SENSORS


@dataclass(frozen=True)
class Frames:
    """Views of scenes that have grasps. cache: folder for prepared views, of one size and sensor."""

    scenes: list[Scene]
    config: HggdTraining
    cache: Path

    @property
    def views(self) -> list[tuple[int, int]]:
        """Scene and view of every frame."""
        limit = self.config.views or max(len(scene) for scene in self.scenes)
        return [(s, v) for s, scene in enumerate(self.scenes) for v in range(min(limit, len(scene)))]

    def frame(self, s: int, v: int) -> tuple[PreparedView, Labels]:
        """A view as the networks get it, and the grasps that it shows. Raises InputError."""
        scene = self.scenes[s]
        view, world_from_camera = self._view(scene, v)
        found, collides, _ = load_grasps(scene)
        return view, labels_of(found[~collides].transformed(invert_pose(world_from_camera)), view, self.config)

    def _view(self, scene: Scene, v: int) -> tuple[PreparedView, np.ndarray]:
        size = self.config.network
        path = self.cache / f"{scene.name}_{v:02d}_{size.width}x{size.height}_{self.config.sensor}.safetensors"
        pose = np.array(scene.coco["images"][v]["world_from_camera"], float)
        if path.exists():
            kept = read_tensors(path)
            fx, fy, cx, cy = kept["intrinsics"].tolist()
            h, w = kept["points"].shape[:2]
            intrinsics = Intrinsics(fx, fy, cx, cy, w, h)
            return PreparedView(kept["image"].float(), kept["points"].float(), intrinsics), pose
        frame = view_frame(scene.view(v, SENSORS[self.config.sensor]))
        view = prepare(frame.rgb, frame.depth, frame.intrinsics, size)
        k = view.intrinsics
        self.cache.mkdir(parents=True, exist_ok=True)
        with write_atomically(path, replace=True) as part:
            save_file(
                {
                    "image": view.image.half(),
                    "points": view.points.half(),  # half a millimetre at 1 m
                    "intrinsics": torch.tensor([k.fx, k.fy, k.cx, k.cy], dtype=torch.float64),
                },
                part,
            )
        return view, pose


def with_grasps(scenes: list[Scene]) -> list[Scene]:
    """Those that `dropclip-mvtod grasps` has been at. Raises InputError where there are none."""
    found = [scene for scene in scenes if _has_grasps(scene)]
    if not found:
        raise InputError(f"{scenes[0].source}: no scene has grasps; run `dropclip-mvtod grasps`")
    return found


def _has_grasps(scene: Scene) -> bool:
    try:
        load_grasps(scene)
    except InputError:
        return False
    return True


def anchors_of(frames: Frames, most: int = 100) -> tuple[Tensor, Tensor]:
    """Anchors of gamma and of beta, in the middles of what at most so many frames hold."""
    views = frames.views
    picks = np.random.default_rng(frames.config.seed).permutation(len(views))[:most]
    labels = [frames.frame(*views[i])[1] for i in tqdm(picks, desc="anchors", mininterval=5)]
    count = frames.config.network.rotations
    return tuple(spread_anchors(torch.cat([getattr(one, name) for one in labels]), count) for name in ("gamma", "beta"))


def augmented(
    view: PreparedView, labels: Labels, config: HggdTraining, rng: np.random.Generator
) -> tuple[PreparedView, Labels]:
    """Mirrored by chance, and in another light."""
    image = view.image.clone()
    light = 1 + rng.uniform(-config.gain, config.gain, 3) * (1, 0.3, 0.3)
    image[1:] = (
        image[1:] * torch.from_numpy(light.prod() ** (1 / 3) * light / light[0]).float()[:, None, None] * light[0]
    ).clamp(0, 1)
    view = replace(view, image=image)
    return mirrored(view, labels) if config.mirror and rng.uniform() < 0.5 else (view, labels)


def mirrored(view: PreparedView, labels: Labels) -> tuple[PreparedView, Labels]:
    """Left and right exchanged. A mirrored parallel gripper is one again, with its z turned round."""
    k, width = view.intrinsics, view.points.shape[1]
    flip = torch.tensor([-1.0, 1, 1])
    pixel = labels.pixel.clone()
    pixel[:, 1] = width - 1 - pixel[:, 1]
    center = labels.center * flip
    theta = -labels.theta
    over = theta >= torch.pi / 2
    theta = torch.where(over, theta - torch.pi, theta)
    sign = torch.where(over, -1.0, 1.0)
    labels = labels._replace(
        center=center, pixel=pixel, theta=theta, gamma=-sign * labels.gamma, beta=sign * labels.beta
    )
    view = PreparedView(view.image.flip(2), view.points.flip(1) * flip, replace(k, cx=width - 1 - k.cx))
    return view, labels


def camera_grasps(scene: Scene, v: int) -> Grasps:
    """The true grasps of a scene that are free, in the camera frame of view `v`."""
    found, collides, _ = load_grasps(scene)
    pose = np.array(scene.coco["images"][v]["world_from_camera"], float)
    return found[~collides].transformed(invert_pose(pose))
