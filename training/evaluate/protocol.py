# SPDX-License-Identifier: Apache-2.0
"""What every method answers in: similarities of a cloud's points with phrases, and what is compared with them.

A method turns a cloud (training.fusion.clouds.Cloud) of a scene into a `Prediction`: K rows, and which row each of the
M points has. Rows are objects for object-wise features and points for point-wise ones; whatever follows (negatives,
thresholds, metrics) is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from dropclip_ros.grounding.scoring import similarities
from dropclip_ros.networks.text import TextEncoder
from training.fusion.clouds import Cloud
from training.scenes.scene import Scene


class WeightsAbsent(Exception):
    """A method's weights or predictions are not to be had here: which, where they were looked for, how to get them."""


class Prediction(Protocol):
    """What a method says of a cloud: `row` (M,) int64, the row 0..K-1 of each point, -1: nothing is said of it."""

    row: np.ndarray

    def similarity(self, phrases: Sequence[str]) -> torch.Tensor:
        """(K,Q) float32 on the CPU: how alike each row and each phrase are."""
        ...


Method = Callable[[Scene, Cloud], Prediction]


@dataclass
class FeatureCloud:
    """Features (K,C), unit rows in the space of `text`, compared by cosine.

    centred: above the average object's cosine, where the text encoder knows one (see `similarities`).
    """

    row: np.ndarray
    features: torch.Tensor
    text: TextEncoder
    centred: bool = False

    def similarity(self, phrases: Sequence[str]) -> torch.Tensor:
        return self.similarity_to(self.text.encode(phrases))

    def similarity_to(self, embeddings: torch.Tensor) -> torch.Tensor:
        """The same with phrases that are embedded already: (Q,C) unit rows. WeightsAbsent where they are of another
        model: an encoder that only tells objects apart names none."""
        if embeddings.shape[1] != self.features.shape[1]:
            widths = f"{self.features.shape[1]} and {embeddings.shape[1]} channels"
            raise WeightsAbsent(
                f"features and phrases are of two models ({widths}): this encoder tells objects apart, and names come "
                "from the image tower alone"
            )
        mean = self.text.mean_object if self.centred else None
        return similarities(self.features, embeddings.to(self.features.device), mean).float().cpu()


@dataclass
class ScoreCloud:
    """Of a method without a feature space: `score` gives (K,Q) for phrases."""

    row: np.ndarray
    score: Callable[[Sequence[str]], torch.Tensor]

    def similarity(self, phrases: Sequence[str]) -> torch.Tensor:
        return self.score(phrases)


@dataclass
class EveryPoint:
    """Of no method: every point answers every phrase and every name, which is what others are to be held against."""

    row: np.ndarray

    def similarity(self, phrases: Sequence[str]) -> torch.Tensor:
        return torch.zeros(1, len(phrases))
