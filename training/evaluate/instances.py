# SPDX-License-Identifier: Apache-2.0
"""Instances by clustering features (sections 3.4, A.6.2, table 5): DBSCAN as the paper has it, and HDBSCAN.

The package's own instances, patches without a border between them, need no clustering: they are the rows of
`training.evaluate.methods.methods.Instances` (`dropclip_ros.grounding.instances.instance_labels`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from sklearn.cluster import DBSCAN, HDBSCAN

from dropclip_ros.base.ranges import check_fields, ranged
from training.evaluate.protocol import FeatureCloud
from training.fusion.clouds import Cloud

EXACT = 1 - 1e-9  # share of variance that DBSCAN sees: the encoder's features lie in few of their dimensions
KEPT = 0.995  # share of variance that HDBSCAN sees,
MOST = 32  # in at most so many dimensions: its trees are slow in more


@dataclass(frozen=True)
class Clustering:
    """How features become instances.

    eps, min_samples: of DBSCAN, the paper's for DROP-CLIP; it takes 276 samples for OpenScene. metric: what eps is of,
    between unit features: 0.01 of the "cosine" distance (1 - cosine) is 0.14 of the Euclidean. The paper does not say;
    scikit-learn's own is Euclidean, but there our encoder's voxels are 0.13 from the nearest other (median), so that
    0.01 finds nothing. metres: points so far apart are as far as features eps apart, the squares of both add
    up; None: coordinates do not count. min_cluster_size: of HDBSCAN, which uses eps only for the scale of coordinates.
    """

    method: Literal["dbscan", "hdbscan"] = "dbscan"
    eps: float = ranged(0.01, above=0, below=2)
    min_samples: int = ranged(2, 1)
    metric: Literal["euclidean", "cosine"] = "cosine"
    metres: float | None = ranged(None, above=0)
    min_cluster_size: int = ranged(20, 2)

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def reach(self) -> float:
        """eps as a Euclidean distance."""
        return self.eps if self.metric == "euclidean" else float(np.sqrt(2 * self.eps))


def cluster(
    points: np.ndarray, features: np.ndarray, config: Clustering = Clustering(), weights: np.ndarray | None = None
) -> np.ndarray:
    """Instance (M,) int64, 1.., of each point, 0: none; the largest number is that of the last one found.

    points (M,3) m, features (M,C) unit rows, weights (M,): as how many points each counts (DBSCAN only).
    """
    described = np.asarray(features, np.float32)
    if config.metres is not None:
        centred = points - points.mean(0) if len(points) else points
        described = np.column_stack([described, (centred * (config.reach / config.metres)).astype(np.float32)])
    if config.method == "dbscan":
        return _dbscan(described, np.ones(len(described)) if weights is None else weights, config)
    if len(described) < config.min_cluster_size:
        return np.zeros(len(described), np.int64)
    found = HDBSCAN(min_cluster_size=config.min_cluster_size, min_samples=config.min_samples, copy=True)
    return found.fit_predict(_principal(described, KEPT, MOST)).astype(np.int64) + 1


def _dbscan(described: np.ndarray, weights: np.ndarray, config: Clustering) -> np.ndarray:
    """DBSCAN of distinct rows: the same as of all, and many times faster where objects or voxels share theirs."""
    if not len(described):
        return np.zeros(0, np.int64)
    distinct, index = np.unique(described, axis=0, return_inverse=True)
    index = index.ravel()
    found = DBSCAN(eps=config.reach, min_samples=config.min_samples).fit_predict(
        _principal(distinct, EXACT), sample_weight=np.bincount(index, weights)
    )
    return found.astype(np.int64)[index] + 1


def _principal(described: np.ndarray, kept: float, most: int | None = None) -> np.ndarray:
    """The rows (M,C) along their principal axes, as few as keep a share of the variance, at most so many: (M,c)."""
    centred = described - described.mean(0)
    variance, axes = np.linalg.eigh(centred.T @ centred)
    variance, axes = variance[::-1].clip(min=0), axes[:, ::-1]
    share = np.cumsum(variance) / max(variance.sum(), 1e-30)
    return centred @ axes[:, : min(int(np.searchsorted(share, kept)) + 1, most or len(share))]


def instances_of(said: FeatureCloud, cloud: Cloud, config: Clustering = Clustering()) -> np.ndarray:
    """Instance (M,), 0: none, of each point of a cloud, by the features that a method gives it.

    Rows are clustered at the mean of their points. HDBSCAN counts rows: give it points or voxels, not objects.
    """
    rows = len(said.features)
    has = said.row >= 0
    weights = np.bincount(said.row[has], minlength=rows)
    sums = np.stack([np.bincount(said.row[has], column[has], rows) for column in cloud.points.T], axis=1)
    used = weights > 0
    unit = torch.nn.functional.normalize(said.features, dim=-1).cpu().numpy()
    found = np.zeros(rows + 1, np.int64)  # the last is of row -1
    found[:-1][used] = cluster(sums[used] / weights[used, None], unit[used], config, weights[used])
    return found[said.row]
