# SPDX-License-Identifier: Apache-2.0
"""Class-agnostic instances of methods that know no phrases (table 5): masks that may overlap, each with a score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from training.fusion.clouds import Cloud
from training.scenes.scene import Scene


@dataclass(frozen=True, eq=False)
class Proposals:
    """K masks of a cloud's M points: masks (K,M) bool, scores (K,) float32, the higher the surer."""

    masks: np.ndarray
    scores: np.ndarray

    def disjoint(self) -> tuple[np.ndarray, np.ndarray]:
        """Instance (M,) int64 of each point, 0..K'-1 or -1, and its confidence (M,) float32, 0 where there is none.

        A point belongs to the surest mask that holds it; masks that keep no point are no instances.
        """
        order = np.argsort(self.scores, kind="stable")
        owner = np.full(self.masks.shape[1], -1)
        for k in order:  # the surest is painted last
            owner[self.masks[k]] = k
        found = owner >= 0
        labels, confidence = np.full(len(owner), -1), np.zeros(len(owner), np.float32)
        labels[found] = np.unique(owner[found], return_inverse=True)[1]
        confidence[found] = self.scores[owner[found]]
        return labels, confidence


Proposer = Callable[[Scene, Cloud], Proposals]
