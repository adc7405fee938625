# SPDX-License-Identifier: Apache-2.0
"""Looks at held-out scenes during training; any other function of the encoder may take their place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from dropclip_ros.grounding.pipeline import Grounder
from dropclip_ros.networks.encoder import MinkUNet14D
from dropclip_ros.networks.model_folder import ModelConfig
from dropclip_ros.networks.text import TextEncoder
from dropclip_ros.vision.voxels import voxelize
from training.distill.config import DistillConfig
from training.distill.data import Sample, TrainingSet, collate, table_points, voxel_labels
from training.distill.train import Validate
from training.evaluate.bench import classes
from training.evaluate.methods.methods import Student
from training.evaluate.metrics import semantic_summary
from training.fusion.clouds import view_cloud
from training.scenes.scene import Scene

SCENES = 64  # of a validation split that are looked at


def cosine_validation(source: TrainingSet, config: DistillConfig) -> Validate:
    """One view of each of some scenes, as it is: `cosine`, the mean distance of eq. 6 over voxels, and `objects`, the
    share of objects whose own target is the nearest of the scene's to their mean feature."""
    source.check(config)

    def validate(encoder: MinkUNet14D) -> dict[str, float]:
        device, samples = encoder.final.kernel.device, list(_samples(source, config))
        distances, right = [], []
        for first in range(0, len(samples), config.batch_size_val):
            batch = collate(samples[first : first + config.batch_size_val], config).to(device)
            said = F.normalize(encoder(batch.coords, batch.feats)[batch.rows], dim=-1)
            distances.append(1 - (said * batch.targets[batch.objects]).sum(-1))
            pooled = torch.zeros_like(batch.targets).index_add(0, batch.objects, said)
            scene = torch.full((len(batch.targets),), -1, device=device)
            scene[batch.objects] = batch.coords[batch.rows, 0].long()
            for b in scene.unique()[scene.unique() >= 0]:
                of = scene == b
                right.append((pooled[of] @ batch.targets[of].T).argmax(1) == torch.arange(int(of.sum()), device=device))
        return {"cosine": torch.cat(distances).mean().item(), "objects": torch.cat(right).float().mean().item()}

    return validate


def evaluation(scenes: Sequence[Scene], text: TextEncoder, config: DistillConfig) -> Validate:
    """Semantic segmentation of one view of each of some scenes, by the evaluation's own metrics (section 4): `mIoU` and
    `mAcc` in percent, every point given the nearest of the names of the categories in view."""

    def validate(encoder: MinkUNet14D) -> dict[str, float]:
        model, device = ModelConfig("validation", config.encoder, config.voxels), encoder.final.kernel.device
        student = Student(Grounder(encoder, text, model, str(device)))
        rng, found = np.random.default_rng(config.seed), []
        for scene in scenes[:SCENES]:
            for v, view in scene.views([int(rng.integers(len(scene)))]):
                cloud = view_cloud(view, v)
                if len(cloud):
                    found.append(classes(student(scene, cloud), scene, cloud))
        row = semantic_summary(*(list(part) for part in zip(*found, strict=True)))
        return {name: row[name] for name in ("mIoU", "mAcc")}

    return validate


def together(validations: Sequence[Validate]) -> Validate:
    """What all of them find."""
    return lambda encoder: {name: value for validate in validations for name, value in validate(encoder).items()}


def _samples(source: TrainingSet, config: DistillConfig) -> Iterator[Sample]:
    """The same view of each scene each time."""
    rng = np.random.default_rng(config.seed)
    for scene, target in list(zip(source.scenes, source.targets, strict=True))[:SCENES]:
        for v, view in scene.views([int(rng.integers(len(scene)))]):
            cloud = view_cloud(view, v)
            voxels = voxelize(table_points(cloud, view.world_from_camera), cloud.colors, config.voxels)
            row_of_label = np.full(256, -1)
            row_of_label[target.labels] = np.arange(len(target.labels))
            row = row_of_label[voxel_labels(voxels.point_to_voxel, cloud.labels, len(voxels))]
            chosen = np.flatnonzero(row >= 0)
            if len(chosen):
                classes = np.zeros(len(target.labels), int)
                yield Sample(voxels.coords, voxels.feats, row, chosen, target.features, classes)
