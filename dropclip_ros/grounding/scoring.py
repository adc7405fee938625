# SPDX-License-Identifier: Apache-2.0
"""From similarities to scores (section 3.4): ours for whole objects, the paper's and its release's for every point.

Everything here works on plain arrays: features (M,C) as unit rows, phrases (K,C) as unit text embeddings.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import expit, logit

SCORINGS = ("instances", "paper", "argmax", "release")
PAPER_THRESHOLD = 0.7  # A.7, where the rule has one and none is asked for


def similarities(features: torch.Tensor, text: torch.Tensor, mean_object: torch.Tensor | None = None) -> torch.Tensor:
    """Cosine of each voxel (M,C) with each phrase (K,C), above that of the average object (C,) with it: (M,K).

    Some phrases are near to everything; what tells is how much nearer than to any odd object.
    """
    cosine = features @ text.T
    return cosine if mean_object is None else cosine - text @ mean_object


def referring_scores(similarity: torch.Tensor, temperature: float, null_similarity: float) -> torch.Tensor:
    """Probability that each voxel is meant: softmax of similarity over temperature (section 3.4), (M,) in [0, 1].

    similarity (M,1+K): of the query and its K negatives. To the paper's classes comes a null class of constant
    similarity: with it all scores of a scene may be low, so that an absent object is answered NOT_FOUND.
    """
    null = similarity.new_full((len(similarity), 1), null_similarity)
    return torch.softmax(torch.cat([similarity, null], dim=1) / temperature, dim=1)[:, 0]


def rival_threshold(scores: np.ndarray, threshold: float, rival: float) -> float:
    """The threshold for objects beside the best one: `rival` of the way from `threshold` to the best, in log-odds.

    A red car answers "the red mug" better than nothing does, but not beside a red mug. Where nothing reaches the
    threshold it stays as it is.
    """
    best = min(float(scores.max(initial=0.0)), 1 - 1e-6)
    if best <= threshold:
        return threshold
    return float(expit(logit(threshold) + rival * (logit(best) - logit(threshold))))


def semantic_labels(similarity: torch.Tensor, null_similarity: float) -> torch.Tensor:
    """Nearest of K classes for each voxel, (M,K) -> (M,) in 1..K; 0 where none is nearer than the null class."""
    best, index = similarity.max(dim=1)
    return torch.where(best > null_similarity, index + 1, 0)


def point_scores(similarity: torch.Tensor, temperature: float, scoring: str) -> torch.Tensor:
    """The paper's score (M,) in [0, 1] of every point: similarity (M,1+K) of the query and its K negatives.

    paper and argmax: rho+ of section 3.4, softmax over all of them. release: as the published code has it, the least
    probability against any single negative, then stretched over the scene: the best point is 1 even where nothing is
    meant. There must be a negative (K > 0): without one there is nothing to tell a query from.
    """
    if scoring != "release":
        return torch.softmax(similarity / temperature, dim=1)[:, 0]
    return stretched(torch.sigmoid((similarity[:, 0] - similarity[:, 1:].amax(1)) / temperature))


def stretched(scores: torch.Tensor) -> torch.Tensor:
    """Scores (M,...) from 0 to 1 over the M points of a scene; 1 where all are alike."""
    if not len(scores):
        return scores
    low, high = scores.amin(0), scores.amax(0)
    return torch.where(high > low, (scores - low) / (high - low), 1.0)


def beats_negatives(similarity: torch.Tensor) -> torch.Tensor:
    """The argmax rule of section 3.4, (M,) bool: which points are nearer to the query than to every negative."""
    return similarity[:, 0] > similarity[:, 1:].amax(1)
