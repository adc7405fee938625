# SPDX-License-Identifier: Apache-2.0
"""Fused features on disk: what the student is to say of each object of each scene."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from training.distill.data import Targets
from training.distill.errors import DistillError
from training.mvtod.files import beside
from training.mvtod.scenes import Scene


@dataclass
class ObjectTargets:
    """Mask labels and unit rows (K,C) of a scene's objects."""

    labels: list[int]
    features: torch.Tensor


def save_fused(path: Path, scenes: Sequence[Scene], fused: Sequence[Targets]) -> None:
    """Features of each scene under its folder's name; labels in the metadata."""
    labels = {scene.name: f.labels for scene, f in zip(scenes, fused, strict=True)}
    tensors = {scene.name: f.features.contiguous() for scene, f in zip(scenes, fused, strict=True)}
    with beside(path, replace=True) as part:
        save_file(tensors, part, metadata={"labels": json.dumps(labels)})


def load_fused(path: Path, scenes: Sequence[Scene]) -> list[ObjectTargets]:
    """What `save_fused` wrote, for `scenes`. DistillError where it cannot be read or lacks one of them."""
    try:
        with safe_open(path, "pt") as file:
            labels = json.loads((file.metadata() or {})["labels"])
            there = set(file.keys())
            missing = [scene.name for scene in scenes if scene.name not in there or scene.name not in labels]
            if missing:
                raise DistillError(
                    f"{path} lacks {len(missing)} of the scenes, {missing[0]} first; fuse the features of all of them"
                )
            return [ObjectTargets(labels[scene.name], file.get_tensor(scene.name).float()) for scene in scenes]
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise DistillError(f"{path} holds no fused features ({error}); fuse them again") from error
