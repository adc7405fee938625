# SPDX-License-Identifier: Apache-2.0
"""Open-vocabulary inference on a feature cloud (section 3.4): referring, semantic and instance segmentation.

Everything here works on plain arrays: features (M,C) of M voxels as unit rows, phrases as unit text embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.special import expit, logit


@dataclass(frozen=True)
class ObjectConfig:
    """How scored voxels become objects. Lengths in metres."""

    gap: float = 0.009  # voxels further apart are not one object
    min_voxels: int = 8  # of an object
    fragment: int = 50  # voxels: a smaller piece belongs to what is near it
    near: float = 0.02
    same_object: float = 0.97  # least cosine between neighbouring voxels of one instance
    rival: float = 0.5  # see `rival_threshold`

    def __post_init__(self) -> None:
        if not 0 <= self.rival <= 1:
            raise ValueError(f"rival {self.rival}: expected a share in [0, 1]")
        if self.gap <= 0:
            raise ValueError(f"gap {self.gap}: expected a length over 0 m")
        for name in ("min_voxels", "fragment"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: expected at least 1")
        if self.near < 0:
            raise ValueError(f"near {self.near}: expected a length of 0 m or more")
        if not -1 <= self.same_object <= 1:
            raise ValueError(f"same_object {self.same_object}: expected a cosine in [-1, 1]")


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


def _neighbours(centers: np.ndarray, gap: float) -> np.ndarray:
    """Pairs (E,2) of voxels at most `gap` apart."""
    return cKDTree(centers).query_pairs(gap, output_type="ndarray")


def _components(count: int, edges: np.ndarray) -> np.ndarray:
    """Connected component of each of `count` nodes, (count,) int."""
    graph = coo_matrix((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def group_voxels(centers: np.ndarray, scores: np.ndarray, threshold: float, config: ObjectConfig) -> list[np.ndarray]:
    """Voxels scored over the threshold, as connected objects, best mean score first; each (n,) voxel indices."""
    chosen = np.flatnonzero(scores > threshold)
    if len(chosen) < config.min_voxels:
        return []
    part = _components(len(chosen), _neighbours(centers[chosen], config.gap))
    groups = [chosen[part == p] for p in range(part.max() + 1)]
    groups = [group for group in groups if len(group) >= config.min_voxels]
    return sorted(groups, key=lambda group: -scores[group].mean())


def instance_labels(centers: np.ndarray, features: torch.Tensor, config: ObjectConfig) -> np.ndarray:
    """Instance of each voxel, (M,) in 1..N, largest first: neighbours whose features agree are one object.

    Pieces under `fragment` voxels join the nearest large one where it is `near`; the others are objects of their own,
    but 0, no object, under `min_voxels`.
    """
    edges = _neighbours(centers, config.gap)
    agree = (features[edges[:, 0]] * features[edges[:, 1]]).sum(dim=1) > config.same_object
    part = _components(len(centers), edges[agree.cpu().numpy()])
    sizes = np.bincount(part)
    large, small = np.flatnonzero(sizes[part] >= config.fragment), np.flatnonzero(sizes[part] < config.fragment)
    if len(large) and len(small):
        distance, nearest = cKDTree(centers[large]).query(centers[small])
        near = distance <= config.near
        part[small[near]] = part[large[nearest[near]]]
    part = np.unique(part, return_inverse=True)[1]
    sizes = np.bincount(part)
    order = np.argsort(-sizes, kind="stable")
    rank = np.empty(len(sizes), np.int64)
    rank[order] = np.arange(1, len(sizes) + 1)
    return np.where(sizes >= config.min_voxels, rank, 0)[part]


def pool_features(features: torch.Tensor, labels: np.ndarray) -> torch.Tensor:
    """Mean feature, unit, of each instance 1..N of `labels` (M,), 0 being none: (M,C) -> (N,C).

    What a phrase means is an object, so objects are compared with it: the noise of single voxels averages out and
    borders are those of the instances.
    """
    index = torch.from_numpy(labels).to(features.device)
    sums = features.new_zeros(int(labels.max(initial=0)) + 1, features.shape[1]).index_add_(0, index, features)
    return torch.nn.functional.normalize(sums[1:], dim=1)


def oriented_box(points: np.ndarray, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Upright box of points (n,3), m: pose 4x4 in their frame, size (3,); `frame` is points_from_table 4x4.

    The box stands on the table (its z is the table's normal) and is turned about it along the points' principal axis.
    """
    local = (points - frame[:3, 3]) @ frame[:3, :3]
    flat = local[:, :2] - local[:, :2].mean(0)
    (x, y) = np.linalg.eigh(flat.T @ flat)[1][:, -1]
    turn = np.array([[x, -y, 0], [y, x, 0], [0, 0, 1]])
    turned = local @ turn
    low, high = turned.min(0), turned.max(0)
    pose = np.eye(4)
    pose[:3, :3] = frame[:3, :3] @ turn
    pose[:3, 3] = pose[:3, :3] @ ((low + high) / 2) + frame[:3, 3]
    return pose, high - low
