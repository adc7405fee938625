# SPDX-License-Identifier: Apache-2.0
"""Metrics against scikit-learn and the COCO tools."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from pycocotools.mask import frPyObjects
from sklearn.metrics import jaccard_score, recall_score

from training.evaluate.metrics import (
    Overlaps,
    average_precision,
    class_overlaps,
    instance_summary,
    localised,
    overlap_over,
    row_counts,
    semantic_summary,
)
from training.scenes.scene import run_lengths


def cloud(rng, points=600, rows=50):
    """Labels 2..7 of points, and rows that are mostly of one label; some points have none."""
    row = rng.integers(-1, rows, points)
    labels = np.where(rng.random(points) < 0.7, 2 + row % 6, rng.integers(2, 8, points))
    return labels, row


def test_iou_over_thresholds_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels, row = cloud(rng)
    counts, totals = row_counts(labels, row, 50, 9), np.bincount(labels, minlength=9)
    assert counts.sum() == (row >= 0).sum() and counts.shape == (9, 50)
    scores = rng.integers(0, 8, 50) / 8  # with ties, and thresholds that are scores
    thresholds = np.array([-1.0, 0.0, 0.125, 0.3, 0.5, 0.875, 2.0])
    for asked in ([3], [2, 5, 7]):
        found = overlap_over(counts, totals, asked, scores, thresholds)
        for iou, threshold in zip(found, thresholds, strict=True):
            answered = (row >= 0) & (scores[row] > threshold)
            assert iou == pytest.approx(jaccard_score(np.isin(labels, asked), answered))


def test_class_ious_and_accuracies_are_those_of_scikit_learn():
    rng = np.random.default_rng(1)
    ious, accuracies, classes = [], [], {"mug": [2, 3], "bowl": [4], "spoon": [5, 6, 7]}
    for _ in range(3):
        labels, row = cloud(rng)
        names = np.array(["mug", "bowl", "spoon", "giraffe"])
        answer = names[np.where(rng.random(50) < 0.8, np.array([0, 0, 1, 2, 2, 2])[np.arange(50) % 6], 3)]
        counts, totals = row_counts(labels, row, 50), np.bincount(labels, minlength=256)
        of_scene = class_overlaps(counts, totals, classes, answer)
        truth = np.array(["", "", "mug", "mug", "bowl", "spoon", "spoon", "spoon"])[labels]
        predicted = np.where(row >= 0, answer[row], "none")
        asked = {"labels": list(classes), "average": None}
        np.testing.assert_allclose(of_scene[0], jaccard_score(truth, predicted, **asked))
        np.testing.assert_allclose(of_scene[1], recall_score(truth, predicted, **asked))
        ious.append(of_scene[0])
        accuracies.append(of_scene[1])
    table, every = semantic_summary(ious, accuracies), np.concatenate(ious)
    assert table["n"] == 9 and table["mIoU"] == pytest.approx(100 * every.mean())
    assert table["mAcc"] == pytest.approx(100 * np.mean(accuracies)) and table["mAcc"] > table["mIoU"]
    for x in (25, 50, 75):
        assert table[f"mAcc{x}"] == pytest.approx(100 * (every >= x / 100).mean())


def segmented(rng, size=900):
    """True instances 1..8 of points, and found ones: shifted, some broken up, some merged, some missed."""
    truth = np.repeat(rng.permutation(9), size // 9)
    found = np.roll(truth, rng.integers(0, 30))
    found = np.where(rng.random(size) < 0.05, rng.integers(0, 14, size), found)
    found[found == rng.integers(1, 9)] = rng.integers(0, 9)
    return truth, np.where((found == 2) & (np.arange(size) % 2 == 0), 20, found)


def annotation(image, mask):
    """A mask (n,) as COCO has it."""
    run = frPyObjects(run_lengths(mask[None]), 1, len(mask))
    return {"image_id": image, "category_id": 1, "iscrowd": 0, "area": int(mask.sum()), "segmentation": run}


def coco_precision(scenes, confidences, least):
    """AP of the COCO tools, each scene being an image of one row."""
    images = [{"id": i, "height": 1, "width": len(truth)} for i, (truth, _) in enumerate(scenes, 1)]
    true, detected = [], []
    for i, ((truth, found), confidence) in enumerate(zip(scenes, confidences, strict=True), 1):
        for label in np.unique(truth[truth > 0]):
            true.append(annotation(i, truth == label) | {"id": len(true) + 1})
        for number, score in zip(np.unique(found[found > 0]), confidence, strict=True):
            detected.append(annotation(i, found == number) | {"score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"images": images, "annotations": true, "categories": [{"id": 1, "name": "object"}]}
        coco.createIndex()
        found = coco.loadRes(detected)
        evaluation = COCOeval(coco, found, "segm")
        evaluation.params.iouThrs = np.array([least])
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return float(evaluation.eval["precision"][0, :, 0, 0, -1].mean())


@pytest.mark.parametrize("by_size", [True, False])
def test_average_precision_is_that_of_the_coco_tools(by_size):
    rng = np.random.default_rng(3)
    scenes = [segmented(rng) for _ in range(6)]
    sizes = [np.unique(found[found > 0], return_counts=True)[1] for _, found in scenes]
    confidences = sizes if by_size else [rng.random(len(size)) for size in sizes]
    overlaps = [
        Overlaps.of(truth, found, None if by_size else confidence)
        for (truth, found), confidence in zip(scenes, confidences, strict=True)
    ]
    aps = []
    for least in (0.25, 0.5, 0.75):
        aps.append(coco_precision(scenes, confidences, least))
        assert average_precision(overlaps, least)[0] == pytest.approx(aps[-1])
    assert 1 > aps[0] > aps[1] > aps[2] > 0
    drawn = np.array([[0, 0, 2, 5, 5, 5]])
    again = coco_precision([scenes[i] for i in drawn[0]], [confidences[i] for i in drawn[0]], 0.5)
    assert average_precision(overlaps, 0.5, drawn)[0] == pytest.approx(again, abs=0.01)  # but for the order of ties


def test_instances_are_matched_with_the_best_and_summed_up():
    rng = np.random.default_rng(4)
    scenes = [segmented(rng) for _ in range(5)]
    best = [
        max(
            ((truth == label) & (found == number)).sum() / ((truth == label) | (found == number)).sum()
            for number in np.unique(found[found > 0])
        )
        for truth, found in scenes
        for label in np.unique(truth[truth > 0])
    ]
    row = instance_summary([Overlaps.of(*scene) for scene in scenes])
    assert row["n"] == len(best) == 40 and row["mIoU"] == pytest.approx(100 * np.mean(best))
    assert row["AP50 low"] <= row["AP50"] <= row["AP50 high"] and row["AP25"] >= row["AP50"]
    nothing = instance_summary([Overlaps.of(truth, np.zeros_like(truth)) for truth, _ in scenes])
    assert nothing["mIoU"] == nothing["AP25"] == nothing["AP50"] == 0
    perfect = instance_summary([Overlaps.of(truth, truth + 3 * (truth > 0)) for truth, _ in scenes])
    assert perfect["mIoU"] == perfect["AP25"] == perfect["AP50"] == 100


def test_a_confidence_is_expected_for_each_instance():
    with pytest.raises(ValueError, match="2 instances"):
        Overlaps.of(np.array([1, 1, 2]), np.array([1, 5, 0]), [0.5])


def test_localised_where_the_best_pixel_lies_in_a_box():
    pixels = np.array([[10, 20], [30, 40], [50, 60]])
    boxes = np.array([[0, 0, 5, 5], [25, 35, 30, 45]])
    assert localised(np.array([0.1, 0.9, 0.5]), pixels, boxes)
    assert not localised(np.array([0.1, 0.3, 0.5]), pixels, boxes)
    assert not localised(np.array([0.9, 0.3, 0.5]), pixels, boxes[:, [1, 0, 3, 2]])
    assert not localised(np.zeros(0), np.zeros((0, 2)), boxes)
