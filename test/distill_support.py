# SPDX-License-Identifier: Apache-2.0
"""Tiny scenes on disk, targets for their objects and a network that learns them in seconds."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import torch
from mvtod_support import write_scenes

from training.distill import DistillConfig, TrainingSet
from training.distill.config import AugmentConfig
from training.fusion.targets import ObjectTargets, save_fused
from training.scenes.description import FIRST_OBJECT_ID
from training.scenes.scene import Scene
from training.scenes.shards import load_scenes

LABELS = [FIRST_OBJECT_ID, FIRST_OBJECT_ID + 1, FIRST_OBJECT_ID + 2]
STILL = AugmentConfig(
    elastic_chance=0,
    random_rot_chance=0,
    flip_chance=0,
    shift_max=0,
    color_chance=0,
    contrast_chance=0,
    hue_max=0,
    saturation_max=0,
    blob_chance=0,
)


def tiny(**changes) -> DistillConfig:
    """A network of a few thousand numbers, two steps on full clouds, four on single views; all losses on."""
    fields = {
        "feat_dim": 4,
        "stem": 4,
        "planes": (4, 4, 8, 8, 8, 8, 4, 8),
        "batch_size": 2,
        "steps": 2,
        "partial_steps": 4,
        "base_lr": 1e-2,
        "partial_base_lr": 1e-2,
        "min_lr": 1e-3,
        "workers": 0,
        "save_every": 1,
        "log_every": 1,
        "use_aux_loss": True,
        "use_cls_head": True,
        "offset_weight": 1.0,
        "supervised_share": 0.5,
        "object_weight": 1.0,
        "object_hidden": 8,
    }
    return DistillConfig(**fields | changes)


def write_data(root: Path, count: int = 3) -> tuple[Path, Path]:
    """Scenes of three boxes and their targets: the folder and the file."""
    write_scenes(root / "scenes", count, views=3, shape=(72, 96))
    scenes = load_scenes(root / "scenes")
    save_fused(root / "fused.safetensors", scenes, targets(count))
    return root / "scenes", root / "fused.safetensors"


def targets(count: int, width: int = 4) -> list[ObjectTargets]:
    """The same three directions for the same three boxes in each scene."""
    return [ObjectTargets(LABELS, torch.eye(3, width)) for _ in range(count)]


def source(root: Path, count: int = 3) -> TrainingSet:
    scenes, _ = write_data(root, count)
    return TrainingSet(load_scenes(scenes), targets(count), root / "clouds")


class Killing(Scene):
    """A scene at whose `reads`-th view the process is killed, as an OOM killer would."""

    reads = 0

    def view(self, v, sensor=None):
        Killing.reads -= 1
        if Killing.reads == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().view(v, sensor)
