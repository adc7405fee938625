# SPDX-License-Identifier: Apache-2.0
"""How scored voxels become answers: the choices behind `ObjectConfig` and the null class, one at a time.

`python -m training.compare_scoring --scenes runs/small/scenes/validation`

Each row changes one thing about the shipped model's inference, over the same encoded views and phrases, without
negatives. "Ranked right" is whether the best instance is mostly one that the phrase fits.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from sklearn.metrics import roc_auc_score

from dropclip_ros.grounding import ObjectConfig, instance_labels, pool_features, rival_threshold, similarities
from dropclip_ros.pipeline import Grounder
from dropclip_ros.pipeline import Scene as EncodedScene
from training.evaluate import Question, encoded_views, questions
from training.objects import catalogue
from training.scenes import load_scenes


def true_instances(encoded: EncodedScene, labels: np.ndarray) -> np.ndarray:
    """Voxels grouped by the object that they show, (M,) in 1..N."""
    of_voxel = np.zeros(len(encoded.voxels), np.int64)
    of_voxel[encoded.voxels.point_to_voxel] = labels[encoded.pixels]
    return np.unique(of_voxel, return_inverse=True)[1] + 1


def outcome(
    grounder: Grounder,
    encoded: EncodedScene,
    labels: np.ndarray,
    instances: np.ndarray,
    rival: float,
    asked: list[Question],
    centre: torch.Tensor | None,
) -> list[tuple[bool, float, bool, bool, float]]:
    """For each question: is it present, IoU, is it refused, is the best instance a right one, its similarity."""
    config = grounder.config
    text = grounder.text.encode([question.phrase for question in asked])
    similarity = similarities(pool_features(encoded.features, instances), text, centre).numpy()
    scores = 1 / (1 + np.exp((config.null_similarity - similarity) / config.temperature))
    counts = np.zeros((256, int(instances.max()) + 1))
    np.add.at(counts, (labels[encoded.pixels], instances[encoded.voxels.point_to_voxel]), 1)
    counts, totals, rows = counts[:, 1:], np.bincount(labels, minlength=256), []
    for score, near, question in zip(scores.T, similarity.T, asked, strict=True):
        on = score > rival_threshold(score, config.threshold, rival)
        right, best = counts[question.labels], near.argmax()
        union = counts[:, on].sum() + totals[question.labels].sum() - right[:, on].sum()
        ranked = right[:, best].sum() > counts[:, best].sum() / 2
        rows.append((bool(question.labels), right[:, on].sum() / max(union, 1), not on.any(), ranked, near[best]))
    return rows


def report(name: str, results: list[tuple]) -> None:
    """One line: referring mIoU, refused shares, ranking in percent; AUROC of present against absent phrases."""
    present, iou, refused, right, best = (np.array(column, float) for column in zip(*results, strict=True))
    there = present > 0
    print(
        f"{name:22} mIoU {100 * iou[there].mean():5.1f}   wrongly refused {100 * refused[there].mean():5.1f}   "
        f"absent refused {100 * refused[~there].mean():5.1f}   ranked right {100 * right[there].mean():5.1f}   "
        f"AUROC {roc_auc_score(there, best):.3f}",
        flush=True,
    )


def main(
    scenes: Path,
    model: Path | None = None,
    which: Literal["training", "heldout"] = "training",
    limit: int | None = None,
    seed: int = 0,
) -> None:
    """Prints a row for each choice; absent phrases are half outside the catalogue, half just not in view."""
    torch.set_grad_enabled(False)
    grounder, specs = Grounder.from_pretrained(model), {spec.name: spec for spec in catalogue()}
    views = []
    for s, (scene, view, encoded) in enumerate(encoded_views(grounder, load_scenes(scenes)[:limit], seed)):
        labels = np.where(view.depth < 3, view.mask, 0).ravel()
        views.append((encoded, labels, questions(scene, view, specs, which, np.random.default_rng([seed, s]))))
    base = ObjectConfig()
    rows = {"as shipped": base, "without mean object": base}
    rows |= {f"same_object {v}": replace(base, same_object=v) for v in (0.9, 0.95, 0.98, 0.99)}
    rows |= {"gap 0.012": replace(base, gap=0.012)}
    rows |= {f"fragment {v}": replace(base, fragment=v) for v in (8, 25)}
    rows |= {f"rival {v}": replace(base, rival=v) for v in (0.0, 0.3, 0.7)}
    rows |= {"every voxel by itself": base, "true instances": base}
    for name, config in rows.items():
        centre, results = None if name == "without mean object" else grounder.text.mean_object, []
        for encoded, labels, asked in views:
            if name == "every voxel by itself":
                instances = np.arange(1, len(encoded.voxels) + 1)
            elif name == "true instances":
                instances = true_instances(encoded, labels)
            else:
                instances = instance_labels(encoded.voxels.centers, encoded.features, config)
            results += outcome(grounder, encoded, labels, instances, config.rival, asked, centre)
        report(name, results)


if __name__ == "__main__":
    tyro.cli(main)
