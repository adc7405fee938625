# SPDX-License-Identifier: Apache-2.0
"""What each choice of a recipe is worth: fine-tunes of one model, alike but for one field, on the same held-out views.

    python -m training.distill.ablate --scenes SCENES --fused FUSED --held-out HELD --held-out-fused FEATURES --out OUT

A run that is finished is kept in OUT and not made again; the table is printed after each. SCENES, FUSED, FEATURES as
`dropclip-distill` takes them; HELD holds the splits, FEATURES a folder of dropclip-fuse for each.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from dropclip_ros.pipeline import MODEL_FOLDER
from dropclip_ros.text import TextConfig, TextEncoder
from dropclip_ros.weights import ADAPTER
from training.distill.config import DistillConfig
from training.distill.data import Source
from training.distill.export import start_encoder
from training.distill.judge import Judge, show
from training.distill.recipes import SMALL, read_config
from training.distill.targets import catalogue_of, fuse_views, load_fused
from training.distill.train import distill
from training.distill.vocabulary import Vocabulary, embedded
from training.evaluate.data.mvtod import load_mvtod
from training.fusion.weights import ScenePrompts
from training.language import training_vocabulary
from training.mvtod.files import beside
from training.mvtod.shards import load_scenes

Changes = Mapping[str, Any]  # of a recipe's fields; those of augment as "augment.NAME"

ABLATIONS: dict[str, Changes] = {
    "as it is": {},
    "Kinect's depth": {"augment.sensor": "kinect"},
    "RealSense's depth": {"augment.sensor": "realsense"},
    "no blobs taken away": {"augment.partial_blob_chance": 0.0},
    "no noise on coordinates": {"augment.depth_noise": 0.0},
    "no thinning": {"augment.thin_chance": 0.0},
    "without phrases": {"phrase_weight": 0.0},
    "without middles": {"offset_weight": 0.0},
    "contrastive": {"use_aux_loss": True, "loss_weight_aux": 0.1},
    "voxels weigh alike": {"voxel_weights": "voxel"},
}
COLUMNS = tuple(f"{kind} {measure}" for kind in ("view", "kinect", "full") for measure in ("semantic", "referring"))


def changed(recipe: DistillConfig, changes: Changes) -> DistillConfig:
    """The recipe with other values of some fields."""
    own = {name: value for name, value in changes.items() if "." not in name}
    augment = {name.removeprefix("augment."): value for name, value in changes.items() if "." in name}
    return dataclasses.replace(recipe, **own, augment=dataclasses.replace(recipe.augment, **augment))


def targets_of(fused: Path, folder: Path, scenes, words: Vocabulary):
    """Of a file of fused features, or fused from those of views in a folder."""
    if fused.is_file():
        return load_fused(fused, scenes)
    return fuse_views(fused, scenes, ScenePrompts(catalogue_of(folder).specs, words))


def main(
    scenes: Path,
    fused: Path,
    held_out: Path,
    held_out_fused: Path,
    out: Path,
    model: Path = MODEL_FOLDER,
    only: tuple[str, ...] = (),
    steps: int = 120,
    rate: float = 3e-4,
    seeds: tuple[int, ...] = (0,),
    splits: tuple[str, ...] = ("validation", "unseen_instance"),
    limit: int = 48,
) -> None:
    """Trains what is not there yet, and prints the table.

    model: to start from, with its text adapter; only: some of the ablations; steps, rate: of each; limit: scenes of
    each split.
    """
    torch.set_num_threads(1)
    text, found = TextEncoder(TextConfig(), adapter=model / ADAPTER), load_scenes(scenes)
    words = embedded(text, training_vocabulary(catalogue_of(scenes).specs).phrases, out, model / ADAPTER)
    source = Source(found, targets_of(fused, scenes, found, words))
    recipe = dataclasses.replace(
        read_config(SMALL), epochs=0, partial_steps=steps, partial_base_lr=rate, workers=0, save_every=40
    )
    judges = {}
    for split in splits:
        held = load_mvtod(held_out, split)[:limit]
        targets = targets_of(held_out_fused / split, held_out / split, held, words)
        judges[split] = Judge(held, targets, text, out / "clouds" / split)
    names = [name for name in ABLATIONS if not only or name in only]
    for seed in seeds:
        for name in ("before", *names):
            path = out / f"{name.replace(' ', '_')}-{seed}" / "judged.json"
            if path.exists():
                continue
            encoder = start_encoder(model)
            if name != "before":
                config = changed(dataclasses.replace(recipe, seed=seed), ABLATIONS[name])
                encoder = distill(source, config, path.parent, words.rows, encoder)
            judged = {split: judge(encoder.eval(), recipe.voxels) for split, judge in judges.items()}
            with beside(path) as part:
                part.write_text(json.dumps(judged, indent=1))
            print(table(out, [*names], seeds, splits), flush=True)
    print(table(out, [*names], seeds, splits), flush=True)


def table(out: Path, names: list[str], seeds: tuple[int, ...], splits: tuple[str, ...]) -> str:
    """Markdown of what is there: means over splits and seeds."""
    rows = {}
    for name in ("before", *names):
        paths = [out / f"{name.replace(' ', '_')}-{seed}" / "judged.json" for seed in seeds]
        of_seeds = [json.loads(path.read_text()) for path in paths if path.exists()]
        if of_seeds:
            values = [one[split] for one in of_seeds for split in splits]
            rows[f"{name} ({len(of_seeds)})"] = {c: float(np.mean([v[c] for v in values])) for c in values[0]}
    return show(rows, ("view cosine", "view objects", *COLUMNS), "fine-tuned (seeds)") if rows else ""


if __name__ == "__main__":
    tyro.cli(main)
