# SPDX-License-Identifier: Apache-2.0
"""What answers are worth: IoU, mIoU and Pr@X with intervals, and the curve between refusing too much and too little."""

from __future__ import annotations

import math

import numpy as np
from sklearn.metrics import roc_auc_score

PRECISIONS = (25, 50, 75)  # percent IoU
RESAMPLES = 2000


def overlap(counts: np.ndarray, totals: np.ndarray, labels: list[int], chosen: np.ndarray) -> np.ndarray:
    """IoU of the objects `labels` with the union of some instances, from pixel counts alone.

    counts (L,K): pixels of label l in instance k; totals (L,): all pixels of l, in an instance or not; chosen bool
    (...,K): which instances answer. Returns (...,); 1 where both sides are empty.
    """
    right = chosen @ counts[labels].sum(0)
    union = chosen @ counts.sum(0) + totals[labels].sum() - right
    return np.where(union > 0, right / np.maximum(union, 1), 1.0)


def summary(ious: list[np.ndarray], seed: int = 0) -> dict[str, float]:
    """n, mIoU and Pr@25/50/75 in percent, over the IoUs of each scene, and the 95 % interval of the mIoU.

    The interval is bootstrapped over scenes: the questions of one scene share its difficulties.
    """
    values = np.concatenate(ious)
    if not len(values):
        raise ValueError("no question was asked: there is nothing to average")
    sums = np.array([[scene.sum(), len(scene)] for scene in ious])
    drawn = np.random.default_rng(seed).integers(len(sums), size=(RESAMPLES, len(sums)))
    total, count = sums[drawn].sum(1).T
    low, high = np.percentile(100 * total[count > 0] / count[count > 0], (2.5, 97.5))
    row = {"n": len(values), "mIoU": 100 * float(values.mean()), "low": float(low), "high": float(high)}
    return row | {f"Pr@{x}": 100 * float((values >= x / 100).mean()) for x in PRECISIONS}


def refused(best: np.ndarray, threshold: float) -> float:
    """Share, in percent, of questions whose best score (n,) is not over the threshold."""
    return 100 * float((best <= threshold).mean())


def refusal(present: np.ndarray, absent: np.ndarray) -> dict[str, float]:
    """How well the best score tells phrases that fit something in view, (n,), from those that do not, (m,).

    In percent: present ones refused at the least threshold that refuses 90 % of the absent ones, absent ones refused
    at the greatest that refuses at most 5 % of the present ones; both thresholds; AUROC (not in percent).
    """
    truth = np.r_[np.ones(len(present)), np.zeros(len(absent))]
    strict = float(np.sort(absent)[math.ceil(0.9 * len(absent)) - 1])
    kept = np.sort(present)[int(0.05 * len(present)) :]  # 5 % lie below; the threshold is just under the next one
    lenient = float(np.nextafter(kept[0], -np.inf))
    return {
        "AUROC": float(roc_auc_score(truth, np.r_[present, absent])),
        "present refused at 90 % of absent": refused(present, strict),
        "threshold at 90 %": strict,
        "absent refused at 5 % of present": refused(absent, lenient),
        "threshold at 5 %": lenient,
    }
