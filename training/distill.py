# SPDX-License-Identifier: Apache-2.0
"""Distillation of fused object features into the sparse 3D encoder, from single views (section 3.3, A.2)."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.distributed
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from dropclip_ros.encoder import EncoderConfig, MinkUNet14D
from dropclip_ros.geometry import Intrinsics, backproject, transform_points
from dropclip_ros.table import table_frame
from dropclip_ros.voxels import VoxelConfig, voxelize
from training.checkpoint import load_checkpoint, save_checkpoint
from training.fusion import FusedScene
from training.scenes import FIRST_OBJECT_ID, Scene, View


@dataclass(frozen=True)
class DistillConfig:
    """Schedule and augmentation. Angles in radians, lengths in metres; the paper's value where none is named."""

    encoder: EncoderConfig = field(
        default_factory=lambda: EncoderConfig(
            in_channels=3, out_channels=384, stem=24, planes=(24, 32, 48, 64, 96, 64, 48, 48)
        )
    )
    voxels: VoxelConfig = field(default_factory=VoxelConfig)
    batch_size: int = 4
    steps: int = 2600
    base_lr: float = 1.5e-3  # the paper's 3e-4 is for 43.6 M parameters and 300 epochs
    min_lr: float = 1e-5
    weight_decay: float = 1e-5
    max_norm: float = 5.0
    rotate_z: float = 0.5
    tilt: float = 0.03
    scale: float = 0.08
    color_jitter: float = 0.02
    depth_noise: float = 0.0012
    base_cut: float = 0.010  # RANSAC takes up to this much of an object's base with the table
    blob_chance: float = 0.5
    save_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.steps < 1:
            raise ValueError(f"batch_size {self.batch_size}, steps {self.steps}: expected at least 1 each")


@dataclass
class ObjectCloud:
    """Object points of one view: points (N,3) m in the table frame, colors (N,3) in [0,1], labels (N,) mask ids."""

    points: np.ndarray
    colors: np.ndarray
    labels: np.ndarray


def object_cloud(view: View) -> ObjectCloud:
    """Points of a view's objects, the table removed by its mask (A.2), in the table frame that inference uses too."""
    height, width = view.mask.shape
    k = view.intrinsics
    intrinsics = Intrinsics(k[0, 0], k[1, 1], k[0, 2], k[1, 2], width, height)
    depth = np.where(view.mask >= FIRST_OBJECT_ID, view.depth, 0).astype(np.float32)
    points, pixels = backproject(depth, intrinsics)
    camera_from_table = table_frame(view.world_from_camera[2])  # the plane z = 0 of the world, seen by the camera
    return ObjectCloud(
        transform_points(np.linalg.inv(camera_from_table), points).astype(np.float32),
        view.rgb.reshape(-1, 3)[pixels].astype(np.float32) / 255,
        view.mask.ravel()[pixels].astype(np.int64),
    )


def augment_cloud(cloud: ObjectCloud, config: DistillConfig, rng: np.random.Generator) -> ObjectCloud:
    """Turns about the table's normal, slight tilt, scale, noise, colour changes, removed blobs and bases, thinning."""
    points, colors, labels = cloud.points, cloud.colors, cloud.labels
    keep = points[:, 2] > rng.uniform(0, config.base_cut)
    if rng.uniform() < 0.5:
        keep &= rng.uniform(size=len(points)) < rng.uniform(0.3, 1.0)
    if rng.uniform() < config.blob_chance:
        for label in np.unique(labels):
            of_label = np.flatnonzero(labels == label)
            centre = points[rng.choice(of_label)]
            radius = rng.uniform(0.01, 0.03)
            blob = of_label[np.linalg.norm(points[of_label] - centre, axis=1) < radius]
            if len(blob) < 0.5 * len(of_label):
                keep[blob] = False
    points, colors, labels = points[keep], colors[keep], labels[keep]
    a, (tx, ty) = rng.uniform(-config.rotate_z, config.rotate_z), rng.uniform(-config.tilt, config.tilt, 2)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    lean = np.array([[1, 0, ty], [0, 1, -tx], [-ty, tx, 1]])
    scale = rng.uniform(1 - config.scale, 1 + config.scale)
    points = points @ (scale * turn @ lean).T + rng.uniform(-0.1, 0.1, 3)
    points = points + rng.normal(0, rng.uniform(0, config.depth_noise), points.shape)
    colors = colors * rng.uniform(0.8, 1.2) * rng.uniform(0.94, 1.06, 3) + rng.uniform(-0.05, 0.05)
    colors = colors + rng.normal(0, config.color_jitter, colors.shape)
    return ObjectCloud(points.astype(np.float32), np.clip(colors, 0, 1).astype(np.float32), labels)


def voxel_labels(point_to_voxel: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """The label most points of each voxel have, (M,)."""
    values, index = np.unique(labels, return_inverse=True)
    votes = np.zeros((count, len(values)), np.int32)
    np.add.at(votes, (point_to_voxel, index), 1)
    return values[votes.argmax(1)]


def training_sample(
    view: View, fused: FusedScene, config: DistillConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """coords (M,3) int32, feats (M,3), target row in `fused` (M,) or -1; None where nothing of the objects is seen."""
    cloud = augment_cloud(object_cloud(view), config, rng)
    if len(cloud.points) < 200:
        return None
    voxels = voxelize(cloud.points, cloud.colors, config.voxels)
    labels = voxel_labels(voxels.point_to_voxel, cloud.labels, len(voxels.coords))
    row_of_label = np.full(256, -1)
    row_of_label[fused.labels] = np.arange(len(fused.labels))
    return voxels.coords, voxels.feats, row_of_label[labels]


def _batch(scenes: list[Scene], fused: list[FusedScene], config: DistillConfig, step: int, rank: int) -> tuple:
    """Seeded by step and rank: coords (M,4), feats (M,3), targets (M,C), weights (M,) by the object's size."""
    rng = np.random.default_rng([config.seed, step, rank])
    coords, feats, targets, weights = [], [], [], []
    while len(coords) < config.batch_size:
        s = rng.integers(len(scenes))
        sample = training_sample(scenes[s].view(rng.integers(len(scenes[s]))), fused[s], config, rng)
        if sample is None:
            continue
        xyz, rgb, row = sample
        coords.append(np.concatenate([np.full((len(xyz), 1), len(coords), np.int32), xyz], 1))
        feats.append(rgb)
        targets.append(fused[s].features[row.clip(0)])
        count = np.bincount(row[row >= 0], minlength=len(fused[s].labels))
        # Between "every voxel alike" (big objects rule) and "every object alike" (specks rule): by root of the size.
        weights.append(torch.from_numpy(np.where(row >= 0, 1 / np.sqrt(np.maximum(count[row.clip(0)], 20)), 0)).float())
    return (
        torch.from_numpy(np.concatenate(coords)),
        torch.from_numpy(np.concatenate(feats)),
        torch.cat(targets),
        torch.cat(weights),
    )


def _join_processes() -> int | None:
    """Rank under torchrun, else None."""
    if "RANK" not in os.environ:
        return None
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")
    return torch.distributed.get_rank()


def distill(
    scenes: list[Scene], fused: list[FusedScene], config: DistillConfig, checkpoint: Path | None = None
) -> MinkUNet14D:
    """Trains the encoder (eq. 6); goes on from `checkpoint` where it exists, and saves there as it goes.

    Under torchrun every process takes batches of its own and gradients are averaged (gloo): one thread each is faster
    than many threads in one process, since most of a sparse network's products are small.
    """
    rank = _join_processes()
    torch.manual_seed(config.seed)
    encoder = MinkUNet14D(config.encoder)
    network = DistributedDataParallel(encoder) if rank is not None else encoder
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=config.base_lr, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        config.base_lr,
        total_steps=config.steps + 1,
        pct_start=0.05,
        final_div_factor=config.base_lr / 25 / config.min_lr,
    )
    state = {"encoder": encoder, "optimizer": optimizer, "schedule": schedule}
    start, running = load_checkpoint(checkpoint, **state), None
    encoder.train()
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(_batch, scenes, fused, config, start, rank or 0)
        steps = range(start, config.steps)
        bar = tqdm(steps, "distill", initial=start, total=config.steps, mininterval=5, disable=bool(rank))
        for step in bar:
            coords, feats, targets, weights = ahead.result()
            ahead = pool.submit(_batch, scenes, fused, config, step + 1, rank or 0)
            distance = 1 - F.cosine_similarity(network(coords, feats), targets, dim=-1)
            loss = (distance * weights).sum() / weights.sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(encoder.parameters(), config.max_norm)
            optimizer.step()
            schedule.step()
            running = loss.item() if running is None else 0.98 * running + 0.02 * loss.item()
            bar.set_postfix(loss=f"{running:.4f}", voxels=len(coords), refresh=False)
            if checkpoint is not None and not rank and (step + 1) % config.save_every == 0:
                save_checkpoint(checkpoint, step + 1, **state)
    return encoder.eval()
