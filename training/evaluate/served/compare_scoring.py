# SPDX-License-Identifier: Apache-2.0
"""What limits the answers: stages replaced by truth, one after the other, and choices of inference, one at a time.

`python -m training.evaluate.served.compare_scoring stages --scenes runs/large/scenes --split unseen_instance`

Every row answers the same questions about the same views. "Ranked right": the best instance is mostly one that the
phrase fits. Absent phrases are half outside the catalogue, half just not in view.

stages: each row is calibrated for itself on the validation scenes, with the shipped negatives. choices: of the encoder
alone, with the model's own calibration and without negatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from sklearn.metrics import roc_auc_score

from dropclip_ros.grounding.instances import ObjectConfig, instance_labels, pool_features
from dropclip_ros.grounding.pipeline import EncodedScene, Grounder
from dropclip_ros.networks.model_folder import ModelConfig
from dropclip_ros.vision.geometry import invert_pose
from training.evaluate.metrics import summary
from training.evaluate.questions import areas_of, questions
from training.evaluate.served.calibrate import calibrate_method
from training.evaluate.served.pipeline import (
    SeenInstances,
    ServedMethod,
    TrueFeatures,
    drawn_views,
    encode_with_truth,
    of_encoded,
    single_view,
    true_labels,
    view_frame,
)
from training.evaluate.served.quality import Answers, ask, best, load_grounder, pixel_counts
from training.objects.catalogue import catalogue_of
from training.objects.spec import ObjectSpec
from training.scenes.scene import Scene
from training.scenes.shards import load_scenes


def outcome(answers: list[Answers], config: ModelConfig, rival: float) -> dict[str, float]:
    """mIoU with its interval, refused shares, ranking in percent; AUROC of present against absent phrases."""
    ious, bests, there, right = [], [], [], []
    for view in answers:
        scores, present = view.scores(config), [bool(question.labels) for question in view.questions]
        ious.append(view.ious(scores, rival, config.threshold)[present])
        bests.append(best(scores))
        there += present
        for score, question in zip(scores.T, view.questions, strict=True):
            if question.labels:
                counts = view.counts[:, score.argmax()] if len(score) else np.zeros(256)
                right.append(counts[question.labels].sum() > counts.sum() / 2)
    highest, there = np.concatenate(bests), np.array(there)
    none = highest <= config.threshold
    return {key: value for key, value in summary(ious).items() if key in ("mIoU", "low", "high")} | {
        "wrongly refused": 100 * none[there].mean(),
        "absent refused": 100 * none[~there].mean(),
        "ranked right": 100 * np.mean(right),
        "AUROC": 100 * roc_auc_score(there, highest),
    }


def with_features(method: ServedMethod, truth: TrueFeatures, mean_object: torch.Tensor) -> ServedMethod:
    """The instances of `method` with the true features of what they show; what is no object is an average one."""

    def replaced(scene: Scene, v: int) -> SeenInstances:
        seen, fused = method(scene, v), truth.fused(scene, v)
        counts = pixel_counts(true_labels(scene.view(v)).astype(np.int64), seen.of_pixel, len(seen.features))
        share = torch.from_numpy(counts / np.maximum(counts.sum(0), 1)).float()
        of_label = mean_object.repeat(256, 1)
        of_label[fused.labels] = fused.features
        return SeenInstances(seen.of_pixel, torch.nn.functional.normalize(share.T @ of_label, dim=-1))

    return replaced


def stages(grounder: Grounder, model: Path | None, specs: Sequence[ObjectSpec]) -> dict[str, ServedMethod]:
    """Truth in the place of table removal, instances and features; the last row is the fused upper bound."""
    found, fused = single_view(grounder), TrueFeatures.of_model(model, grounder, specs)

    def true_table(scene: Scene, v: int) -> SeenInstances:
        return of_encoded(encode_with_truth(grounder, scene.view(v), instances=False))

    def true_instances(scene: Scene, v: int) -> SeenInstances:
        return of_encoded(encode_with_truth(grounder, scene.view(v), instances=True))

    return {
        "as shipped": found,
        "true table": true_table,
        "true table and instances": true_instances,
        "true features (fused) of the instances found": with_features(found, fused, grounder.text.mean_object),
        "all true, features of the one view": TrueFeatures.of_model(model, grounder, specs, one_view=True),
        "all true (fused)": fused,
    }


def regrouped(grounder: Grounder, encoded: EncodedScene, name: str, config: ObjectConfig) -> SeenInstances:
    """Other instances than the shipped, named by the mean of their voxels: no head for objects, no image."""
    if name == "every voxel by itself":
        instances = np.arange(1, len(encoded.voxels) + 1)
    else:
        voxels, eye = encoded.voxels, invert_pose(encoded.table.frame)[:3, 3]
        instances = instance_labels(voxels.centers, voxels.feats, encoded.features, eye, config, encoded.middles)
    of_pixel = encoded.image(instances[encoded.voxels.point_to_voxel]).ravel()
    return SeenInstances(of_pixel, pool_features(encoded.features, instances) @ encoded.basis.T)


def choices(grounder: Grounder) -> dict[str, ObjectConfig]:
    """Configurations that differ from the shipped one in one thing; the name tells where it is not in them."""
    base = grounder.objects
    rows = {"as shipped": base, "without mean object": base, "every voxel by itself": base}
    borders = (("concave", 0.0), ("offset", 0.0), ("unlike", 0.0), ("unlike", 6.0), ("recoloured", 0.0))
    rows |= {f"{name} {v}": replace(base, **{name: v}) for name, v in borders}
    rows |= {"without middles": replace(base, apart=0.0, aided=1.0, learnt=False)}
    rows |= {"gap 0.012": replace(base, gap=0.012)}
    rows |= {f"fragment {v}": replace(base, fragment=v) for v in (8, 25)}
    return rows | {f"rival {v}": replace(base, rival=v) for v in (0.0, 0.3, 0.7)}


def main(
    what: Annotated[Literal["stages", "choices"], tyro.conf.Positional],
    scenes: Path,
    split: str = "unseen_instance",
    model: Path | None = None,
    which: Literal["training", "heldout"] = "training",
    image_weight: float = 0.0,
    limit: int | None = None,
    seed: int = 0,
) -> None:
    """Prints a row for each replaced stage or choice. scenes: folder with a folder of scenes for each split."""
    torch.set_grad_enabled(False)
    known, asked_scenes = (load_scenes(scenes / name)[:limit] for name in ("validation", split))
    objects, specs = catalogue_of(scenes / "validation").specs, catalogue_of(scenes / split).by_name
    grounder = load_grounder(model, image_weight if what == "stages" else 0.0, known, objects)

    def answers(s: int, scene: Scene, v: int, seen: SeenInstances, config: ModelConfig) -> Answers:
        view = scene.view(v)
        asked = questions(scene, areas_of(view.mask), specs, which, np.random.default_rng([seed, s]))
        return ask(asked, seen, true_labels(view), grounder.text, config)

    def report(name: str, of_views: list[Answers], config: ModelConfig, rival: float) -> None:
        row = outcome(of_views, config, rival)
        print(f"{name:46} " + "   ".join(f"{key} {value:5.1f}" for key, value in row.items()), flush=True)

    if what == "stages":
        for name, method in stages(grounder, model, objects).items():
            config = calibrate_method(method, grounder.text, grounder.config, known, objects)
            drawn = drawn_views(asked_scenes, seed, name)
            report(
                name,
                [answers(s, scene, v, method(scene, v), config) for s, scene, v in drawn],
                config,
                grounder.objects.rival,
            )
        return
    config, mean = replace(grounder.config, canonical_negatives=()), grounder.text.mean_object
    encoded = [
        (s, scene, v, grounder.encode(view_frame(scene.view(v)))) for s, scene, v in drawn_views(asked_scenes, seed)
    ]
    for name, objects in choices(grounder).items():
        grounder.text.mean_object = None if name == "without mean object" else mean
        rows = [answers(s, scene, v, regrouped(grounder, e, name, objects), config) for s, scene, v, e in encoded]
        report(name, rows, config, objects.rival)


if __name__ == "__main__":
    tyro.cli(main)
