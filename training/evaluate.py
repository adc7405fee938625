# SPDX-License-Identifier: Apache-2.0
"""Single-view evaluation through the real path (RANSAC, voxels, encoder, phrase): sections 4.1 and 4.2.

`python -m training.evaluate --scenes runs/scenes/unseen_instance --model dropclip_ros/model`

Referring: IoU over all pixels with depth between what was answered and the objects that the phrase truthfully fits,
whatever was lost with the table included; an answer of NOT_FOUND counts 0. Absent: phrases that fit nothing in view.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from dropclip_ros.errors import DropclipError, Status
from dropclip_ros.geometry import Intrinsics, RgbdFrame
from dropclip_ros.pipeline import Grounder
from dropclip_ros.pipeline import Scene as EncodedScene
from training.objects import ObjectSpec, catalogue, matches
from training.phrases import ABSENT_PHRASES, FAMILIES, describe
from training.scenes import Scene, View, load_scenes

MIN_VISIBLE = 300  # pixels: an object that shows less is not asked for


def view_frame(view: View) -> RgbdFrame:
    """A rendered view as a camera would deliver it."""
    height, width = view.mask.shape
    k = view.intrinsics
    intrinsics = Intrinsics(k[0, 0], k[1, 1], k[0, 2], k[1, 2], width, height)
    return RgbdFrame(
        view.rgb,
        np.where(view.depth < 3, view.depth, 0).astype(np.float32),
        intrinsics,
        view.world_from_camera,
    )


@dataclass
class Question:
    """A phrase about a view, its family, and the labels of the objects it fits (empty: absent)."""

    phrase: str
    family: str
    labels: list[int]


def questions(
    scene: Scene,
    view: View,
    specs: dict[str, ObjectSpec],
    which: str,
    rng: np.random.Generator,
    per_object: int = 1,
    absent: int = 4,
) -> list[Question]:
    """For each visible object a phrase of each family, and phrases that fit nothing; `which`: training or heldout.

    Half of the absent phrases name things outside the catalogue ('absent'), half what is just not here ('other').
    """
    areas = np.bincount(view.mask.ravel(), minlength=256)
    present = {label: specs[o["name"]] for label, o in scene.objects.items() if areas[label] > 0}
    visible = {label: spec for label, spec in present.items() if areas[label] >= MIN_VISIBLE}
    asked = []
    for spec in visible.values():
        said = getattr(describe(spec.category, spec.attributes), which)
        for family in FAMILIES:
            for phrase in rng.permutation(said[family])[:per_object]:
                fits = [label for label, other in visible.items() if matches(other, phrase)]
                asked.append(Question(str(phrase), family, fits))
    asked += [Question(str(p), "absent", []) for p in rng.choice(ABSENT_PHRASES["test"], absent, replace=False)]
    others = [s for s in specs.values() if s.category not in {p.category for p in present.values()}]
    for spec in rng.choice(np.array(others, object), absent, replace=False):
        phrase = str(rng.choice(getattr(describe(spec.category, spec.attributes), which)["class"]))
        if not any(matches(p, phrase) for p in present.values()):
            asked.append(Question(phrase, "other", []))
    return asked


def intersection_over_union(predicted: np.ndarray, truth: np.ndarray) -> float:
    """IoU of two boolean arrays; 1 where both are empty."""
    union = (predicted | truth).sum()
    return float((predicted & truth).sum() / union) if union else 1.0


def summary(ious: list[float]) -> dict[str, float]:
    """mIoU and Pr@25/50/75 in percent."""
    values = np.array(ious)
    return {"n": len(values), "mIoU": 100 * values.mean()} | {
        f"Pr@{x}": 100 * (values >= x / 100).mean() for x in (25, 50, 75)
    }


def encoded_views(grounder: Grounder, scenes: list[Scene], seed: int) -> Iterator[tuple[Scene, View, EncodedScene]]:
    """One random view of each scene, encoded; a view without a usable table is told and left out."""
    for s, scene in enumerate(tqdm(scenes, desc="evaluate")):
        view = scene.view(int(np.random.default_rng([seed, s]).integers(1, len(scene))))
        try:
            yield scene, view, grounder.encode(view_frame(view))
        except DropclipError as error:
            tqdm.write(f"{scene.folder.name}: {error.status.name}: {error.message}")


def evaluate(
    grounder: Grounder, scenes: list[Scene], which: str = "training", seed: int = 0, threshold: float = 0.0
) -> dict[str, dict]:
    """Tables by query family, and how often absent phrases are refused and present ones wrongly refused."""
    specs = {spec.name: spec for spec in catalogue()}
    ious, refused, semantic = defaultdict(list), defaultdict(list), []
    for s, (scene, view, encoded) in enumerate(encoded_views(grounder, scenes, seed)):
        rng = np.random.default_rng([seed, s])
        labels = np.where(view.depth < 3, view.mask, 0)
        for question in questions(scene, view, specs, which, rng):
            result = grounder.ground(encoded, question.phrase, threshold=threshold)
            refused[question.family].append(result.status == Status.NOT_FOUND)
            if question.labels:
                answered = np.zeros(labels.size, bool)
                for found in result.objects:
                    answered[encoded.pixels[found.points]] = True
                ious[question.family].append(
                    intersection_over_union(answered, np.isin(labels, question.labels).ravel())
                )
        semantic.append(_semantic_miou(grounder, scene, encoded, labels))
    tables = {family: summary(ious[family]) for family in FAMILIES if ious[family]}
    tables["all"] = summary([iou for family in ious.values() for iou in family])
    tables["refused"] = {family: 100 * float(np.mean(values)) for family, values in refused.items()}
    tables["semantic"] = {"mIoU": 100 * float(np.mean(semantic))}
    return tables


def _semantic_miou(grounder: Grounder, scene: Scene, encoded: EncodedScene, labels: np.ndarray) -> float:
    """Mean IoU of the scene's own categories, by argmax over their names."""
    category = {label: o["category"] for label, o in scene.objects.items()}
    names = sorted({category[label] for label in np.unique(labels) if label in category})
    predicted = np.zeros(labels.size, int)
    predicted[encoded.pixels] = grounder.segment(encoded, names)
    return float(
        np.mean(
            [
                intersection_over_union(
                    predicted == k + 1,
                    np.isin(labels, [label for label, c in category.items() if c == name]).ravel(),
                )
                for k, name in enumerate(names)
            ]
        )
    )


def main(
    scenes: Path,
    model: Path | None = None,
    which: Literal["training", "heldout"] = "training",
    threshold: float = 0.0,
    limit: int | None = None,
    seed: int = 0,
) -> None:
    """Prints the tables of one folder of scenes as JSON. threshold: in (0, 1), 0 for the model's own."""
    tables = evaluate(Grounder.from_pretrained(model), load_scenes(scenes)[:limit], which, seed, threshold)
    for name, row in tables.items():
        print(name, json.dumps({key: round(value, 1) for key, value in row.items()}))


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
