# SPDX-License-Identifier: Apache-2.0
"""Distillation of fused object features into the sparse 3D encoder, from single views (section 3.3, A.2)."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from dropclip_ros.encoder import OFFSET_UNIT, EncoderConfig, MinkUNet14D
from dropclip_ros.geometry import Intrinsics, backproject, transform_points
from dropclip_ros.table import table_frame
from dropclip_ros.voxels import VoxelConfig, voxelize
from training.checkpoint import load_checkpoint, save_checkpoint
from training.fusion.fuse import FusedScene
from training.mvtod.errors import MvtodError
from training.mvtod.scene import FIRST_OBJECT_ID
from training.mvtod.scenes import Scene, View
from training.mvtod.sensor import SENSORS
from training.widen import widen


@dataclass(frozen=True)
class DistillConfig:
    """Schedule and augmentation. Angles in radians, lengths in metres; the paper's value where none is named."""

    encoder: EncoderConfig = field(
        default_factory=lambda: EncoderConfig(
            in_channels=3, out_channels=384, stem=24, planes=(24, 64, 128, 192, 192, 128, 64, 48), offsets=True
        )
    )
    voxels: VoxelConfig = field(default_factory=VoxelConfig)
    batch_size: int = 4
    steps: int = 1800  # of each process
    base_lr: float = 1e-3  # the paper's 3e-4 is for 43.6 M parameters and 300 epochs
    min_lr: float = 1e-5
    weight_decay: float = 1e-5
    max_norm: float = 5.0
    rotate_z: float = 0.5
    tilt: float = 0.03
    scale: float = 0.08
    color_jitter: float = 0.02
    depth_noise: float = 0.0012
    sensor: str = "none"  # whose depth the student sees, another draw at each step: none, kinect or realsense
    base_cut: float = 0.010  # RANSAC takes up to this much of an object's base with the table
    blob_chance: float = 0.5
    supervised_share: float = 0.4  # of the voxels, drawn anew at each step: neighbours say the same
    phrase_weight: float = 0.5
    phrase_scale: float = 20.0  # logit over cosine, about what the image tower learns
    phrases: int = 512  # of the vocabulary, drawn anew at each step
    offset_weight: float = 1.0
    save_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.steps < 1:
            raise ValueError(f"batch_size {self.batch_size}, steps {self.steps}: expected at least 1 each")
        if not 0 < self.supervised_share <= 1:
            raise ValueError(f"supervised_share {self.supervised_share}: expected a share in (0, 1]")
        if self.sensor not in SENSORS:
            raise ValueError(f"sensor {self.sensor!r}: expected one of {', '.join(SENSORS)}")


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


class Batch(NamedTuple):
    """Some views: coords (M,4), feats (M,3); of the m supervised voxels: row in coords, index of the object, its weight
    and the offset to the object's middle (m,3); targets (K,C) of the objects."""

    coords: torch.Tensor
    feats: torch.Tensor
    rows: torch.Tensor
    objects: torch.Tensor
    weights: torch.Tensor
    offsets: torch.Tensor
    targets: torch.Tensor


def random_view(scene: Scene, config: DistillConfig, rng: np.random.Generator) -> View | None:
    """A view as the sensor gives it; None, with a warning, where it cannot be read."""
    v, sensor = rng.integers(len(scene)), SENSORS[config.sensor]
    if sensor is not None:
        sensor = replace(sensor, seed=int(rng.integers(2**31)))
    try:
        return scene.view(v, sensor)
    except MvtodError as error:
        warnings.warn(f"left out: {error}", stacklevel=2)
        return None


def make_batch(scenes: list[Scene], fused: list[FusedScene], config: DistillConfig, step: int, rank: int = 0) -> Batch:
    """`batch_size` augmented views, seeded by step and rank."""
    rng = np.random.default_rng([config.seed, step, rank])
    coords, feats, objects, offsets, weights, targets = [], [], [], [], [], []
    count = 0
    while len(coords) < config.batch_size:
        s = rng.integers(len(scenes))
        view = random_view(scenes[s], config, rng)
        sample = training_sample(view, fused[s], config, rng) if view else None
        if sample is None:
            continue
        xyz, rgb, row = sample
        coords.append(np.concatenate([np.full((len(xyz), 1), len(coords), np.int32), xyz], 1))
        feats.append(rgb)
        size = np.bincount(row[row >= 0], minlength=len(fused[s].labels))
        middle = np.stack([np.bincount(row[row >= 0], xyz[row >= 0, k], len(size)) for k in range(3)], 1)
        middle /= np.maximum(size, 1)[:, None]
        offsets.append((middle[row.clip(0)] - xyz) / OFFSET_UNIT)
        # Between "every voxel alike" (big objects rule) and "every object alike" (specks rule): by root of the size.
        weights.append(1 / np.sqrt(np.maximum(size, 20))[row.clip(0)])
        objects.append(np.where(row >= 0, row + count, -1))
        targets.append(fused[s].features)
        count += len(size)
    objects = np.concatenate(objects)
    rows = np.flatnonzero(objects >= 0)
    rows = np.sort(rng.permutation(rows)[: max(1, round(config.supervised_share * len(rows)))])
    return Batch(
        torch.from_numpy(np.concatenate(coords)),
        torch.from_numpy(np.concatenate(feats)),
        torch.from_numpy(rows),
        torch.from_numpy(objects[rows]),
        torch.from_numpy(np.concatenate(weights)[rows]).float(),
        torch.from_numpy(np.concatenate(offsets)[rows]).float(),
        torch.cat(targets),
    )


class Student(nn.Module):
    """The encoder with its losses, in one `forward`, as DistributedDataParallel wants it.

    text (P,C): the training phrases, unit rows.
    """

    def __init__(self, encoder: MinkUNet14D, text: torch.Tensor, config: DistillConfig) -> None:
        super().__init__()
        self.encoder, self.text, self.config = encoder, text, config

    def forward(self, batch: Batch, columns: torch.Tensor) -> dict[str, torch.Tensor]:
        """Mean losses of a batch; columns (p,): which phrases to compare on.

        cosine: distance of each voxel from its object's target (eq. 6). phrases: KL divergence from what the target
        says about the phrases to what the object's mean feature says: directions that phrases do not tell apart
        count for little. offset: distance of the predicted middle of the object, in 16 voxels.
        """
        config, decoded = self.config, self.encoder.decode(batch.coords, batch.feats)[batch.rows]
        total = batch.weights.sum()
        features = F.normalize(self.encoder.head(decoded), dim=-1)
        distance = 1 - (features * batch.targets[batch.objects]).sum(-1)
        losses = {"cosine": (distance * batch.weights).sum() / total}
        if config.offset_weight and self.encoder.offset is not None:
            error = (self.encoder.offset(decoded) - batch.offsets).norm(dim=-1)
            losses["offset"] = config.offset_weight * (error * batch.weights).sum() / total
        if config.phrase_weight:
            pooled = features.new_zeros(len(batch.targets), features.shape[1]).index_add(0, batch.objects, features)
            seen = torch.bincount(batch.objects, minlength=len(batch.targets)) > 0
            text = self.text[columns].T * config.phrase_scale
            said = F.log_softmax(F.normalize(pooled[seen], dim=-1) @ text, dim=-1)
            wanted = F.log_softmax(batch.targets[seen] @ text, dim=-1)
            losses["phrases"] = config.phrase_weight * F.kl_div(said, wanted, reduction="batchmean", log_target=True)
        return losses


def _join_processes() -> int | None:
    """Rank under torchrun, else None."""
    if "RANK" not in os.environ:
        return None
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")
    return torch.distributed.get_rank()


def distill(
    scenes: list[Scene],
    fused: list[FusedScene],
    text: torch.Tensor,
    config: DistillConfig,
    checkpoint: Path | None = None,
    start_from: MinkUNet14D | None = None,
) -> MinkUNet14D:
    """Trains the encoder (eq. 6 and more, see `Student`); goes on from `checkpoint` where it exists, and saves there.

    text (P,C): unit rows of the training phrases. start_from: a trained encoder, as wide or narrower, to begin with.
    Under torchrun every process takes batches of its own and gradients are averaged (gloo): one thread each is faster
    than many threads in one process, since most of a sparse network's products are small.
    """
    rank = _join_processes()
    torch.manual_seed(config.seed)
    encoder = MinkUNet14D(config.encoder)
    if start_from is not None:
        widen(encoder, start_from)
    student = Student(encoder, text, config)
    network = DistributedDataParallel(student) if rank is not None else student
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=config.base_lr, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        config.base_lr,
        total_steps=config.steps + 1,
        pct_start=0.05,
        final_div_factor=config.base_lr / 25 / config.min_lr,
    )
    state = {"encoder": encoder, "optimizer": optimizer, "schedule": schedule}
    start, running = load_checkpoint(checkpoint, **state), {}
    encoder.train()
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(make_batch, scenes, fused, config, start, rank or 0)
        steps = range(start, config.steps)
        bar = tqdm(steps, "distill", initial=start, total=config.steps, mininterval=5, disable=bool(rank))
        for step in bar:
            batch = ahead.result()
            ahead = pool.submit(make_batch, scenes, fused, config, step + 1, rank or 0)
            columns = np.random.default_rng([config.seed, step]).permutation(len(text))[: config.phrases]
            losses = network(batch, torch.from_numpy(columns))
            optimizer.zero_grad(set_to_none=True)
            sum(losses.values()).backward()
            nn.utils.clip_grad_norm_(encoder.parameters(), config.max_norm)
            optimizer.step()
            schedule.step()
            for name, loss in losses.items():
                running[name] = 0.98 * running.get(name, loss.item()) + 0.02 * loss.item()
            bar.set_postfix({name: f"{loss:.4f}" for name, loss in running.items()}, refresh=False)
            if checkpoint is not None and not rank and (step + 1) % config.save_every == 0:
                save_checkpoint(checkpoint, step + 1, **state)
    return encoder.eval()
