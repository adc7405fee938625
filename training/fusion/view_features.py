# SPDX-License-Identifier: Apache-2.0
"""Features of the objects in each view of a scene, as `dropclip-fuse` keeps them: one file a scene (section 3.2)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from dropclip_ros.base.reading import read_tensors
from training.runs.errors import InputError
from training.runs.files import write_atomically
from training.scenes.scene import Scene


def view_order(scene: Scene, seed: int = 0) -> list[int]:
    """The order in which views are taken where not all are (figure 5), the same for every method."""
    return np.random.default_rng([seed, len(scene)]).permutation(len(scene)).tolist()


@dataclass(frozen=True, eq=False)
class ViewFeatures:
    """Of n pairs of an object and a view of one scene: features (n,C) unit rows, views (n,), labels (n,), and pixels
    (n,), how many show the object (Lambda of eq. 5); all int64, features fp16 as on disk."""

    features: torch.Tensor
    views: torch.Tensor
    labels: torch.Tensor
    pixels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def of_views(self, numbers: Collection[int]) -> ViewFeatures:
        """Those of some views."""
        chosen = torch.isin(self.views, torch.tensor(sorted(numbers), dtype=torch.int64))
        return ViewFeatures(self.features[chosen], self.views[chosen], self.labels[chosen], self.pixels[chosen])


def features_path(folder: Path, scene: str) -> Path:
    """Where the features of a scene of that name are."""
    return folder / f"{scene}.safetensors"


def save_view_features(path: Path, seen: ViewFeatures) -> None:
    tensors = {name: tensor.contiguous() for name, tensor in vars(seen).items()}
    tensors["features"] = tensors["features"].half()
    with write_atomically(path) as part:
        save_file(tensors, part)


def load_view_features(folder: Path, scene: Scene | str) -> ViewFeatures:
    """What `dropclip-fuse` wrote for a scene. InputError where it did not, or the file is damaged."""
    path = features_path(folder, scene if isinstance(scene, str) else scene.name)
    try:
        found = read_tensors(path)
        return ViewFeatures(**{name: found[name] for name in ("features", "views", "labels", "pixels")})
    except (OSError, KeyError) as error:
        raise InputError(
            f"{path}: no features of that scene ({error}); run dropclip-fuse, or remove the file and run it again"
        ) from error
