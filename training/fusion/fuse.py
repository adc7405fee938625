# SPDX-License-Identifier: Apache-2.0
"""Multi-view fusion: features of objects (eq. 5) or of points (eq. 2), weighted by visibility and informativeness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import normalize

from training.fusion.clouds import Cloud
from training.fusion.correspond import C_THR, correspond
from training.fusion.dense import sample
from training.fusion.weights import PromptConfig, Queries, informativeness
from training.scenes.scene import View


@dataclass(frozen=True)
class Weighting:
    """Which factors omega has (table 2).

    visibility: Lambda, of an object the pixels that show it, of a point whether it is seen; without it a point counts
    in every view whose image it lies in. informative: G of eq. 3 and 4.
    """

    visibility: bool = False
    informative: bool = True


@dataclass
class FusedScene:
    """Fused features of a scene's N objects: mask labels, unit rows (N,C), how many had no informative view."""

    labels: list[int]
    features: torch.Tensor
    uninformative: int


def fuse_objects(
    features: torch.Tensor,
    labels: torch.Tensor,
    queries: Mapping[int, Queries],
    pixels: torch.Tensor | None = None,
    weighting: Weighting = Weighting(),
    operator: str = PromptConfig.operator,
    fallback: bool = True,
) -> FusedScene:
    """Fusion of objects (eq. 5): the mean of an object's views by their weights.

    features (V,C) unit rows of all object crops of a scene, labels (V,) the object each shows, pixels (V,) how many
    show it (for visibility), queries by label. An object that no view shows informatively falls back to the mean of its
    views by the other factor, and is counted: leaving it without a target would teach the student nothing about the
    objects that are hard to tell apart. Without `fallback` it is left out, as an object without any view is.
    """
    if weighting.visibility and pixels is None:
        raise ValueError("visibility needs the visible pixels of each crop; pass pixels")
    fused, found, uninformative = [], [], 0
    for label, query in queries.items():
        chosen = labels == label
        views = features[chosen]
        if not len(views):
            continue
        seen = pixels[chosen].to(views) if weighting.visibility else views.new_ones(len(views))
        weights = seen
        if weighting.informative:
            weights = seen * informativeness(views, query.positive, query.negatives, operator)
            if weights.sum() <= 0:
                weights, uninformative = seen, uninformative + 1
                if not fallback:
                    continue
        fused.append(normalize((weights[:, None] * views).sum(0) / weights.sum(), dim=0))
        found.append(label)
    return FusedScene(found, torch.stack(fused) if fused else features.new_zeros(0, features.shape[1]), uninformative)


@dataclass
class FusedPoints:
    """Fused features of a cloud's M points: row (M,) int64 of each in features (K,C), unit; -1 where no view shows it.

    uninformative: points that some view shows, none informatively."""

    row: np.ndarray
    features: torch.Tensor
    uninformative: int


class PointFusion:
    """Fusion of points (eq. 2), view by view, for several weightings at once: M x C numbers for each of them.

    queries: by label of the cloud's objects; c_thr: m, of occlusion (see `correspond`). A point that no view shows
    informatively falls back to the mean of the views by the other factor.
    """

    def __init__(
        self,
        cloud: Cloud,
        queries: Mapping[int, Queries],
        weightings: Sequence[Weighting] = (Weighting(visibility=True),),
        operator: str = PromptConfig.operator,
        c_thr: float = C_THR,
        device: str | torch.device = "cpu",
    ) -> None:
        self.cloud, self.queries, self.operator, self.c_thr = cloud, queries, operator, c_thr
        self.device = torch.device(device)
        plain = [Weighting(w.visibility, informative=False) for w in weightings]
        self._sums: dict[Weighting, torch.Tensor | None] = dict.fromkeys((*weightings, *plain))
        self._totals = {weighting: torch.zeros(len(cloud), device=self.device) for weighting in self._sums}

    @torch.no_grad()
    def add(self, view: View, features: torch.Tensor) -> None:
        """Adds a view with its patch features (C,h,w)."""
        seen = correspond(self.cloud.points, [view], self.c_thr, self.device)
        rows = seen.inside[0].nonzero()[:, 0]
        z = sample(features[None], seen.pixels[:, rows], view.mask.shape)[0]
        z = normalize(z.contiguous(), dim=-1)  # row by row: what follows takes a fifth of the time
        visible = seen.visible[0, rows].float()
        gain = self._informativeness(z, rows)
        for weighting, total in self._totals.items():
            weight = visible if weighting.visibility else torch.ones_like(visible)
            weight = weight * gain if weighting.informative else weight
            if self._sums[weighting] is None:
                self._sums[weighting] = z.new_zeros(len(total), z.shape[1])
            self._sums[weighting].index_add_(0, rows, weight[:, None] * z)
            total.index_add_(0, rows, weight.to(total))

    def _informativeness(self, z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """G (m,) of eq. 3 for features (m,C) of the points `rows`."""
        gain = z.new_zeros(len(z))
        if not any(weighting.informative for weighting in self._totals):
            return gain
        labels = torch.from_numpy(self.cloud.labels).to(self.device)[rows]
        for label, query in self.queries.items():
            of_label = labels == label
            gain[of_label] = informativeness(z[of_label], query.positive, query.negatives, self.operator)
        return gain

    def result(self, weighting: Weighting) -> FusedPoints:
        """What the views so far amount to."""
        plain = Weighting(weighting.visibility, informative=False)
        if self._sums[plain] is None:
            raise ValueError("no view was added yet; add one")
        sums, none = self._sums[weighting], self._totals[weighting] <= 0
        seen = self._totals[plain] > 0
        sums = torch.where(none[:, None], self._sums[plain], sums)[seen]
        row = torch.where(seen, seen.cumsum(0) - 1, -1).cpu().numpy()
        return FusedPoints(row, normalize(sums, dim=-1), int((none & seen).sum()))
