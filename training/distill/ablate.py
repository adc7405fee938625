# SPDX-License-Identifier: Apache-2.0
"""What each choice of a recipe is worth: fine-tunes of one model, alike but for one field, on the same held-out views.

    python -m training.distill.ablate --bench.scenes SCENES --bench.fused FUSED --bench.held-out SPLITS \\
        --bench.held-out-fused FEATURES --bench.out OUT

A run that is finished is kept in OUT and not made again; the table is printed after each.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from dropclip_ros.base.reading import read_json
from dropclip_ros.grounding.pipeline import MODEL_FOLDER
from dropclip_ros.networks.model_folder import ADAPTER
from dropclip_ros.networks.text import TextConfig, TextEncoder
from training.distill.config import DistillConfig
from training.distill.data import TrainingSet
from training.distill.export import start_encoder
from training.distill.judge import KINDS, Judge, show
from training.distill.recipes import SMALL, read_config
from training.distill.train import distill
from training.evaluate.data.mvtod import load_mvtod
from training.fusion.phrase_features import Vocabulary, embedded
from training.fusion.targets import targets_of
from training.objects.catalogue import catalogue_of
from training.objects.words.language import training_vocabulary
from training.runs.files import write_atomically
from training.scenes.shards import load_scenes

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
    "without whole objects": {"object_weight": 0.0},
    "not contrastive": {"use_aux_loss": False},
    "voxels weigh alike": {"voxel_weights": "voxel"},
}
COLUMNS = (
    "view cosine",
    "view objects",
    "view by instances",
    *(f"{kind} {measure}" for kind in KINDS for measure in ("semantic", "referring")),
)


def changed(recipe: DistillConfig, changes: Changes) -> DistillConfig:
    """The recipe with other values of some fields."""
    own = {name: value for name, value in changes.items() if "." not in name}
    augment = {name.removeprefix("augment."): value for name, value in changes.items() if "." in name}
    return dataclasses.replace(recipe, **own, augment=dataclasses.replace(recipe.augment, **augment))


@dataclass(frozen=True)
class Bench:
    """Training scenes and held-out ones with what their objects are to be mapped to.

    scenes, fused: as `dropclip-distill` takes them. held_out: folder of the splits; held_out_fused: a folder of
    dropclip-fuse for each. out: where runs are kept. limit: scenes of each split.
    """

    scenes: Path
    fused: Path
    held_out: Path
    held_out_fused: Path
    out: Path
    splits: tuple[str, ...] = ("validation", "unseen_instance")
    limit: int = 48

    def load(self, model: Path, kinds: Sequence[str] = KINDS) -> tuple[TrainingSet, Vocabulary, dict[str, Judge]]:
        """What is learned from, phrases in the space of the model's text adapter, and a judge for each split."""
        text, scenes = TextEncoder(TextConfig(), adapter=model / ADAPTER), load_scenes(self.scenes)
        phrases = training_vocabulary(catalogue_of(self.scenes).specs).phrases
        words = embedded(text, phrases, self.out, model / ADAPTER)
        judges = {}
        for split in self.splits:
            held = load_mvtod(self.held_out, split)[: self.limit]
            targets = targets_of(self.held_out_fused / split, self.held_out / split, held, words)
            judges[split] = Judge(held, targets, text, self.out / "clouds" / split, kinds)
        return TrainingSet(scenes, targets_of(self.fused, self.scenes, scenes, words)), words, judges


def main(
    bench: Bench,
    model: Path = MODEL_FOLDER,
    only: tuple[str, ...] = (),
    steps: int = 120,
    rate: float = 3e-4,
    seeds: tuple[int, ...] = (0,),
) -> None:
    """Trains what is not there yet, and prints the table.

    model: to start from, with its text adapter; only: some of the ablations; steps, rate: of each.
    """
    source, words, judges = bench.load(model)
    recipe = dataclasses.replace(
        read_config(SMALL), epochs=0, steps=0, partial_steps=steps, partial_base_lr=rate, workers=0, save_every=40
    )
    names = [name for name in ABLATIONS if not only or name in only]
    for seed, name in itertools.product(seeds, ("before", *names)):
        path = place(bench.out, name, seed)
        if path.exists():
            continue
        encoder = start_encoder(model)
        if name != "before":
            config = changed(dataclasses.replace(recipe, seed=seed), ABLATIONS[name])
            encoder = distill(source, config, path.parent, words.rows, encoder)
        judged = {split: judge(encoder.eval(), recipe.voxels) for split, judge in judges.items()}
        with write_atomically(path) as part:
            part.write_text(json.dumps(judged, indent=1))
        print(table(bench, names, seeds), flush=True)
    print(table(bench, names, seeds), flush=True)


def place(out: Path, name: str, seed: int) -> Path:
    """Where the judgement of a run is, beside its checkpoint. What came before any training has no seed."""
    return out / (name.replace(" ", "_") + f"-{seed}" * (name != "before")) / "judged.json"


def table(bench: Bench, names: Sequence[str], seeds: Sequence[int]) -> str:
    """Markdown of what is there: means over splits and seeds."""
    rows = {}
    for name in ("before", *names):
        paths = {place(bench.out, name, seed) for seed in seeds}
        values = [read_json(path)[split] for path in paths if path.exists() for split in bench.splits]
        if values:
            rows[name] = {column: float(np.mean([one[column] for one in values])) for column in values[0]}
    return show(rows, COLUMNS, "fine-tuned") if rows else ""


if __name__ == "__main__":
    tyro.cli(main)
