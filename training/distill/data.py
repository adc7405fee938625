# SPDX-License-Identifier: Apache-2.0
"""Samples and batches: a scene, whole or from one view, augmented, cut into voxels, with each object's target (3.3).

Every sample is a function of the seed and its number in the run alone: which process or worker makes it, and whether
the run was ever interrupted, does not show in it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dropclip_ros.base.reading import read_arrays
from dropclip_ros.networks.encoder import OFFSET_UNIT
from dropclip_ros.tabletop.table import table_frame
from dropclip_ros.vision.geometry import invert_pose, transform_points
from dropclip_ros.vision.voxels import voxelize
from training.distill.augment import chromatic, keep_above_base, keep_thinned, remains, spatial
from training.distill.config import DistillConfig
from training.fusion.clouds import Cloud, full_cloud, view_cloud
from training.fusion.targets import Targets
from training.runs.errors import InputError
from training.runs.files import write_atomically
from training.scenes.scene import Scene
from training.scenes.sensor import SENSORS

FEWEST_POINTS = 200  # of a cloud that is worth learning from
TRIES = 20  # other draws where a scene cannot be read or shows nothing


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Scenes with their targets, the same for every view.

    clouds: a folder to keep full clouds in, which are made when first asked for. categories: the classes of the class
    head, in order, empty without one.
    """

    scenes: Sequence[Scene]
    targets: Sequence[Targets]
    clouds: Path | None = None
    categories: tuple[str, ...] = ()

    def check(self, config: DistillConfig) -> None:
        """InputError where the targets are not what the network puts out."""
        if not self.scenes:
            raise InputError("no scenes to train on; expected at least one")
        if len(self.scenes) != len(self.targets):
            raise InputError(f"{len(self.scenes)} scenes but targets of {len(self.targets)}; fuse them again")
        for scene, target in zip(self.scenes, self.targets, strict=True):
            width = target.features.shape[-1]
            if width != config.feat_dim:
                raise InputError(
                    f"the targets of {scene.name} have {width} channels, the network {config.feat_dim}; "
                    f"set feat_dim to {width}, or fuse the features of another image tower"
                )


class Sample(NamedTuple):
    """A cloud of M voxels: coords (M,3) int32, colors (M,3), row (M,) of each voxel's object in the targets or -1;
    chosen (m,): those that losses look at; targets (K,C) and classes (K,) of the objects."""

    coords: np.ndarray
    colors: np.ndarray
    row: np.ndarray
    chosen: np.ndarray
    targets: Tensor
    classes: np.ndarray


class Batch(NamedTuple):
    """Some samples: coords (M,4) b, x, y, z, feats (M,3), owners (M,): index of the object, -1 for none; of the m
    supervised voxels: row in coords, weight and the offset to the object's middle (m,3); targets (K,C) and classes (K,)
    of the objects."""

    coords: Tensor
    feats: Tensor
    owners: Tensor
    rows: Tensor
    weights: Tensor
    offsets: Tensor
    targets: Tensor
    classes: Tensor

    @property
    def objects(self) -> Tensor:
        """Index of the object of each supervised voxel, (m,)."""
        return self.owners[self.rows]

    def to(self, device: torch.device) -> Batch:
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self))


def table_points(cloud: Cloud, world_from_camera: np.ndarray) -> np.ndarray:
    """Points (N,3) m of a cloud in the table's frame as this camera defines it, the one that inference uses too."""
    camera_from_table = table_frame(world_from_camera[2])  # the plane z = 0 of the world, seen by the camera
    table_from_world = invert_pose(camera_from_table) @ invert_pose(world_from_camera)
    return transform_points(table_from_world, cloud.points)


def voxel_labels(point_to_voxel: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """The label most points of each voxel have, (M,)."""
    values, index = np.unique(labels, return_inverse=True)
    votes = np.zeros((count, len(values)), np.int32)
    np.add.at(votes, (point_to_voxel, index), 1)
    return values[votes.argmax(1)]


def whole_cloud(scene: Scene, folder: Path | None) -> Cloud:
    """All views of a scene in voxels of 2 mm; from `folder` where it is kept there, and kept there otherwise."""
    path = None if folder is None else folder / f"{scene.name}.npz"
    if path is not None and path.exists():
        try:
            kept = read_arrays(path)
            return _cloud(kept["points"], kept["colors"], kept["labels"])
        except (OSError, KeyError) as error:
            warnings.warn(f"{path} cannot be read ({error}); it is made again", stacklevel=2)
    cloud = full_cloud(scene)
    colors, labels = np.rint(cloud.colors * 255).astype(np.uint8), cloud.labels.astype(np.uint8)
    if path is not None:
        part = path.with_name(f"{scene.name}.{np.random.default_rng().integers(2**62)}.npz")  # workers may meet here
        try:
            with write_atomically(part) as file, file.open("wb") as out:
                np.savez(out, points=cloud.points, colors=colors, labels=labels)
            part.replace(path)
        except InputError as error:
            warnings.warn(f"{scene.name}: its cloud is not kept: {error}", stacklevel=2)
    return _cloud(cloud.points, colors, labels)  # as it will be read, so that a run does not depend on what was kept


def _cloud(points: np.ndarray, colors: np.ndarray, labels: np.ndarray) -> Cloud:
    return Cloud(points, colors.astype(np.float32) / 255, labels.astype(np.int64), ())


def random_cloud(
    scene: Scene, full: bool, config: DistillConfig, clouds: Path | None, rng: np.random.Generator
) -> Cloud | None:
    """The whole scene or one view of it as the sensor gives it, in the table's frame of a random view; None, with a
    warning, where it cannot be read."""
    v, sensor = int(rng.integers(len(scene))), SENSORS[config.augment.sensor]
    try:
        if full:
            cloud, pose = whole_cloud(scene, clouds), np.array(scene.coco["images"][v]["world_from_camera"], float)
        else:
            if sensor is not None:
                sensor = replace(sensor, seed=int(rng.integers(2**31)))
            view = scene.view(v, sensor)
            cloud, pose = view_cloud(view, v), view.world_from_camera
    except InputError as error:
        warnings.warn(f"left out: {error}", stacklevel=2)
        return None
    return replace(cloud, points=table_points(cloud, pose))


def training_sample(
    cloud: Cloud, target: Targets, full: bool, config: DistillConfig, rng: np.random.Generator
) -> Sample | None:
    """A cloud in the table's frame, augmented and cut; None where too little of the objects is seen."""
    keep = keep_above_base(cloud.points[:, 2], config.augment.base_cut, rng)
    if not full and rng.uniform() < config.augment.thin_chance:
        keep &= keep_thinned(len(keep), rng)
    if keep.sum() < FEWEST_POINTS:
        return None
    points = spatial(cloud.points[keep], config.augment, config.world_scale, rng)
    voxels = voxelize(points, cloud.colors[keep], config.voxels)
    labels = voxel_labels(voxels.point_to_voxel, cloud.labels[keep], len(voxels))
    stays = remains(voxels.centers, labels, config.augment, full, rng)
    row_of_label = np.full(256, -1)
    row_of_label[target.labels] = np.arange(len(target.labels))
    row = row_of_label[labels[stays]]
    known = np.flatnonzero(row >= 0)
    if not len(known):
        return None
    chosen = np.sort(rng.permutation(known)[: max(1, round(config.supervised_share * len(known)))])
    colors = chromatic(voxels.feats[stays], config.augment, rng)
    return Sample(voxels.coords[stays], colors, row, chosen, target.features, np.zeros(len(target.labels), int))


def sample_number(source: TrainingSet, config: DistillConfig, number: int, full: bool) -> Sample:
    """Sample `number` of the run: every scene once in each pass, in an order drawn anew. InputError where none can be
    read."""
    count = len(source.scenes)
    order = np.random.default_rng([config.seed, number // count]).permutation(count)
    rng = np.random.default_rng([config.seed, number, 1])
    s = int(order[number % count])
    for _ in range(TRIES):
        cloud = random_cloud(source.scenes[s], full, config, source.clouds, rng)
        sample = cloud and training_sample(cloud, source.targets[s], full, config, rng)
        if sample:
            return sample._replace(classes=_classes(source, s)) if source.categories else sample
        s = int(rng.integers(count))
    raise InputError(f"{TRIES} scenes in turn could not be read or show no known object; check the data set")


def _classes(source: TrainingSet, s: int) -> np.ndarray:
    objects = source.scenes[s].objects
    return np.array([source.categories.index(objects[label]["category"]) for label in source.targets[s].labels])


def collate(samples: Sequence[Sample], config: DistillConfig) -> Batch:
    """Samples as one batch."""
    coords, owners, rows, weights, offsets, first, before = [], [], [], [], [], 0, 0
    for b, sample in enumerate(samples):
        row, chosen, xyz = sample.row, sample.chosen, sample.coords
        coords.append(np.concatenate([np.full((len(xyz), 1), b, np.int32), xyz], axis=1))
        known = row >= 0
        size = np.bincount(row[known], minlength=len(sample.targets))
        middle = np.stack([np.bincount(row[known], xyz[known, k], len(size)) for k in range(3)], axis=1)
        middle /= np.maximum(size, 1)[:, None]
        of = row[chosen]
        offsets.append((middle[of] - xyz[chosen]) / OFFSET_UNIT)
        # "root" is between "every voxel alike" (big objects rule) and "every object alike" (specks rule)
        weights.append(1 / np.sqrt(np.maximum(size, 20))[of] if config.voxel_weights == "root" else np.ones(len(of)))
        rows.append(chosen + before)
        owners.append(np.where(known, row + first, -1))
        first, before = first + len(size), before + len(xyz)
    feats = np.concatenate([sample.colors for sample in samples])
    of_voxels = [torch.from_numpy(np.concatenate(parts)) for parts in (coords, owners, rows, weights, offsets)]
    coords, owners, rows, weights, offsets = of_voxels
    classes = torch.from_numpy(np.concatenate([sample.classes for sample in samples]))
    targets = torch.cat([sample.targets for sample in samples]).float()
    return Batch(
        coords, torch.from_numpy(feats), owners, rows, weights.float(), offsets.float(), targets, classes.long()
    )


class Batches(Dataset):
    """The share of process `rank` of `world` in the batch of each step; steps below `full_steps` see full clouds."""

    def __init__(
        self, source: TrainingSet, config: DistillConfig, full_steps: int, rank: int = 0, world: int = 1
    ) -> None:
        if config.batch_size % world:
            raise InputError(
                f"batch_size {config.batch_size} is that of all {world} processes: expected a multiple of {world}"
            )
        self.source, self.config, self.full_steps, self.rank, self.world = source, config, full_steps, rank, world

    def __getitem__(self, step: int) -> Batch | InputError:
        """The batch of a step; an error is returned, since workers that raise one bury it in a traceback."""
        first = step * self.config.batch_size
        numbers = range(first + self.rank, first + self.config.batch_size, self.world)
        full = step < self.full_steps
        try:
            return collate([sample_number(self.source, self.config, number, full) for number in numbers], self.config)
        except InputError as error:
            return error

    def loader(self, start: int, stop: int, device: torch.device) -> DataLoader:
        """The batches of steps [start, stop), in turn, made ahead by the configured number of processes."""
        return DataLoader(
            self,
            batch_size=None,
            sampler=range(start, stop),
            num_workers=self.config.workers,
            pin_memory=device.type == "cuda",
        )
