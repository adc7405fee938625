# SPDX-License-Identifier: Apache-2.0
"""What answers are worth: the metrics of section 4, with intervals, and the curve between refusing too much and too
little.

Everything is counted in points (or pixels). IoU of a question: of the points answered with those of all objects that
the phrase fits; mIoU and Pr@X, the share of questions with an IoU of X percent or more, are over questions. Semantic
segmentation asks each scene for each of its classes and averages over those cases (section 4.3 counts queries as well):
mIoU, mAcc, the share of a case's points that are found, and mAcc_X. The paper does not define mAcc_X; it falls with X
in table 4, so it is a share of cases over X. We take their IoU, the stricter reading and that of ScanRefer's Acc@X.
mAcc without X is of points: in table 9 it lies 0.8 to 3.2 over the mIoU in every row, as accuracies do.
Instances: mIoU of each object with what fits it best, and AP as COCO has it, of one class.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score

PRECISIONS = (25, 50, 75)  # percent IoU
AP_IOUS = (25, 50)  # percent IoU from which an instance is found
RECALLS = np.linspace(0, 1, 101)  # where COCO reads the precision
RESAMPLES = 2000


def row_counts(labels: np.ndarray, row: np.ndarray, rows: int, size: int = 256) -> np.ndarray:
    """Points (L,K) of each label 0..L-1 (`size`) in each of K rows; labels, row (M,) of each point; row -1: in none."""
    has = row >= 0
    flat = labels[has].astype(np.int64) * rows + row[has]
    return np.bincount(flat, minlength=size * rows).reshape(size, rows).astype(np.int32)


def overlap(counts: np.ndarray, totals: np.ndarray, labels: list[int], chosen: np.ndarray) -> np.ndarray:
    """IoU of the objects `labels` with the union of some instances, from pixel counts alone.

    counts (L,K): pixels of label l in instance k; totals (L,): all pixels of l, in an instance or not; chosen bool
    (...,K): which instances answer. Returns (...,); 1 where both sides are empty.
    """
    return _iou(chosen @ counts[labels].sum(0), chosen @ counts.sum(0), totals[labels].sum())


def overlap_over(
    counts: np.ndarray, totals: np.ndarray, labels: list[int], scores: np.ndarray, thresholds: np.ndarray
) -> np.ndarray:
    """The same (T,) for the rows whose score (K,) is over each of T thresholds; one sort, however many they are."""
    order = np.argsort(-scores)
    taken = np.searchsorted(-scores[order], -np.asarray(thresholds, float))
    right, size = (np.r_[0, np.cumsum(points[order])][taken] for points in (counts[labels].sum(0), counts.sum(0)))
    return _iou(right, size, totals[labels].sum())


def _iou(right: np.ndarray, answered: np.ndarray, asked: int) -> np.ndarray:
    union = answered + asked - right
    return np.where(union > 0, right / np.maximum(union, 1), 1.0)


def class_overlaps(
    counts: np.ndarray, totals: np.ndarray, named: Mapping[str, list[int]], answer: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """IoU and accuracy (C,) of the classes `named` of a scene, name -> labels, each of which has points.

    counts, totals: as in `overlap`; answer (K,): the name each row is given; any that is not in `named` is wrong.
    """
    chosen = np.array(list(named))[:, None] == np.asarray(answer, object)[None]
    labels = list(named.values())
    ious = [overlap(counts, totals, asked, on) for asked, on in zip(labels, chosen, strict=True)]
    right = [(counts[asked].sum(0) @ on) / totals[asked].sum() for asked, on in zip(labels, chosen, strict=True)]
    return np.array(ious), np.array(right)


def summary(ious: list[np.ndarray], seed: int = 0) -> dict[str, float]:
    """n, mIoU and Pr@25/50/75 in percent, over the IoUs of each scene, and the 95 % interval of the mIoU.

    The interval is bootstrapped over scenes: the questions of one scene share its difficulties.
    """
    values = np.concatenate(ious)
    if not len(values):
        raise ValueError("no question was asked: there is nothing to average")
    sums = np.array([[scene.sum(), len(scene)] for scene in ious])
    total, count = sums[resampled(len(sums), seed)].sum(1).T
    row = {"n": len(values), "mIoU": 100 * float(values.mean())} | _interval(total[count > 0] / count[count > 0])
    return row | {f"Pr@{x}": 100 * float((values >= x / 100).mean()) for x in PRECISIONS}


def semantic_summary(ious: list[np.ndarray], accuracies: list[np.ndarray], seed: int = 0) -> dict[str, float]:
    """n, mIoU with its interval, mAcc and mAcc_25/50/75 in percent, over the classes of each scene."""
    row = summary(ious, seed)
    precise = {f"mAcc{x}": row.pop(f"Pr@{x}") for x in PRECISIONS}
    return row | {"mAcc": 100 * float(np.concatenate(accuracies).mean())} | precise


def resampled(scenes: int, seed: int) -> np.ndarray:
    """Scenes (RESAMPLES,scenes) drawn with replacement."""
    return np.random.default_rng(seed).integers(scenes, size=(RESAMPLES, scenes))


def _interval(values: np.ndarray, name: str = "") -> dict[str, float]:
    """The middle 95 % of shares, in percent."""
    low, high = np.percentile(100 * values, (2.5, 97.5))
    return {f"{name}low": float(low), f"{name}high": float(high)}


@dataclass(frozen=True)
class Overlaps:
    """IoU (G,D) of the G true and D predicted instances of a scene; confidence (D,)."""

    ious: np.ndarray
    confidence: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray, found: np.ndarray, confidence: Collection[float] | None = None) -> Overlaps:
        """labels, found (M,): true and predicted instance of each point, 0: none. confidence: of the predicted ones, in
        the order of their numbers; without, an instance counts by its points: clusters have no other, and what a
        clustering breaks up comes last."""
        truth, label = np.unique(labels, return_inverse=True)
        numbers, number = np.unique(found, return_inverse=True)
        both = np.zeros((len(truth), len(numbers)), np.int64)
        np.add.at(both, (label, number), 1)
        points, sizes = both.sum(1), both.sum(0)
        ious = both / (points[:, None] + sizes - both)
        confidence = sizes[numbers > 0] if confidence is None else np.asarray(confidence, float)
        ious = ious[truth > 0][:, numbers > 0]
        if confidence.shape != (ious.shape[1],):
            raise ValueError(f"{ious.shape[1]} instances with {confidence.shape} confidences; expected one for each")
        return cls(ious, confidence)

    def best(self) -> np.ndarray:
        """IoU (G,) of each object with the instance that fits it best."""
        return self.ious.max(axis=1, initial=0.0)

    def found(self, least: float) -> np.ndarray:
        """Which predicted ones (D,) find an object: the most confident first, each the best that is left to it."""
        free, hit = np.ones(len(self.ious), bool), np.zeros(len(self.confidence), bool)
        for d in np.argsort(-self.confidence, kind="stable"):
            fits = np.where(free, self.ious[:, d], -1.0)
            if len(fits) and fits.max() >= least:
                free[fits.argmax()], hit[d] = False, True
        return hit


def average_precision(scenes: Sequence[Overlaps], least: float, drawn: np.ndarray | None = None) -> np.ndarray:
    """AP (R,), 0 to 1, of instances with an IoU of `least` or more over a data set: COCO's, at 101 recalls.

    drawn (R,S): scenes drawn, with replacement; without, all of them once (R = 1).
    """
    count = len(scenes)
    times = np.ones((1, count)) if drawn is None else np.stack([np.bincount(row, minlength=count) for row in drawn])
    order = np.argsort(-np.concatenate([scene.confidence for scene in scenes]), kind="stable")
    hit = np.concatenate([scene.found(least) for scene in scenes])[order]
    scene_of = np.repeat(np.arange(count), [len(scene.confidence) for scene in scenes])[order]
    # Precision matters where something is found: what each scene has predicted (H,S) and found until there.
    step = np.cumsum(hit) - hit
    right, said = (
        times
        @ np.bincount(step[some] * count + scene_of[some], minlength=hit.sum() * count).reshape(-1, count).cumsum(0).T
        for some in (hit, step < hit.sum())
    )
    precision = np.maximum.accumulate((right / np.maximum(said, 1))[:, ::-1], axis=1)[:, ::-1]
    precision = np.pad(precision, ((0, 0), (0, 1)))  # 0 beyond the highest recall
    objects = times @ [len(scene.ious) for scene in scenes]
    return np.array(
        [
            row[np.searchsorted(found / n, RECALLS)].mean() if n else np.nan
            for row, found, n in zip(precision, right, objects, strict=True)
        ]
    )


def instance_summary(scenes: Sequence[Overlaps], seed: int = 0) -> dict[str, float]:
    """n objects, mIoU of the best match, AP25 and AP50 in percent, each with the 95 % interval over scenes."""
    row = {key: value for key, value in summary([scene.best() for scene in scenes], seed).items() if "Pr" not in key}
    drawn = resampled(len(scenes), seed)
    for x in AP_IOUS:
        row[f"AP{x}"] = 100 * float(average_precision(scenes, x / 100)[0])
        again = average_precision(scenes, x / 100, drawn)
        row |= _interval(again[~np.isnan(again)], f"AP{x} ")
    return row


def localised(scores: np.ndarray, pixels: np.ndarray, boxes: np.ndarray) -> float:
    """Whether the pixel (x,y) of `pixels` (M,2) with the best of the scores (M,) lies in one of the boxes (n,4); of
    several best ones the share that does.

    Boxes are x0, y0, x1, y1, in pixels, edges included. LERF's localisation accuracy (table 12) is the share of
    questions where it does; without points there is no answer, which is wrong.
    """
    if not len(scores):
        return 0.0
    x, y = pixels[scores == scores.max()].T[..., None]
    x0, y0, x1, y1 = np.asarray(boxes).reshape(-1, 4).T
    return float(((x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1)).any(axis=1).mean())


def refused(best: np.ndarray, threshold: float) -> float:
    """Share, in percent, of questions whose best score (n,) is not over the threshold; NaN where there are none."""
    return 100 * float((best <= threshold).mean()) if len(best) else math.nan


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
