# SPDX-License-Identifier: Apache-2.0
"""Multi-view fusion with object-centric priors (section 3.2): one feature an object and scene."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass
class FusedScene:
    """Fused features of a scene's N objects: mask labels, unit rows (N,C), how many had no informative view."""

    labels: list[int]
    features: torch.Tensor
    uninformative: int


def informativeness(features: torch.Tensor, positive: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
    """Equation 4: how much nearer each view's feature is to the object's own prompt than to any other's, clipped at 0.

    features (V,C), positive (C,), negatives (K,C), all unit rows; returns (V,). Without negatives nothing can be
    confused and every view weighs its similarity.
    """
    gain = features @ positive
    if len(negatives):
        gain = gain - (features @ negatives.T).max(dim=1).values
    return gain.clamp(min=0)


def fuse_objects(features: torch.Tensor, labels: torch.Tensor, prompts: dict[int, torch.Tensor]) -> FusedScene:
    """Equation 5 without the visibility term (table 2: informativeness alone is best).

    features (V,C) unit rows of all object crops of a scene, labels (V,) the object each shows, prompts: label -> (C,)
    unit mean prompt. An object that no view shows informatively falls back to the mean of its views, and is counted:
    leaving it without a target would teach the student nothing about the objects that are hard to tell apart.
    """
    fused, found, uninformative = [], [], 0
    for label, positive in prompts.items():
        views = features[labels == label]
        if not len(views):
            continue
        others = [q for other, q in prompts.items() if other != label and not torch.allclose(q, positive)]
        negatives = torch.stack(others) if others else positive.new_zeros(0, len(positive))
        weights = informativeness(views, positive, negatives)
        if weights.sum() <= 0:
            weights, uninformative = torch.ones(len(views)), uninformative + 1
        fused.append(F.normalize((weights[:, None] * views).sum(0) / weights.sum(), dim=0))
        found.append(label)
    return FusedScene(found, torch.stack(fused) if fused else features.new_zeros(0, features.shape[1]), uninformative)
