# SPDX-License-Identifier: Apache-2.0
"""All stages from nothing to a model folder: scenes, image tower, fusion, distillation, calibration, export.

`python -m training.make --out runs/large` runs what is missing; a stage that was killed resumes. `--stage NAME` runs
one. docs/decisions.md says how the numbers of `Recipe` were derived and how long each stage takes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file

from dropclip_ros.encoder import MinkUNet14D
from dropclip_ros.image import ImageTower
from dropclip_ros.pipeline import MODEL_FOLDER
from dropclip_ros.text import TextConfig, TextEncoder
from dropclip_ros.weights import ModelConfig
from training.calibrate import calibrate
from training.crops import collect_crops
from training.distill import DistillConfig, Source, distill, read_config
from training.distill.export import export, start_encoder
from training.distill.recipes import SMALL
from training.distill.targets import load_fused, save_fused
from training.fusion.fuse import fuse_objects
from training.fusion.run import Recipe as FeatureRecipe
from training.fusion.run import digest, extract, load_view_features
from training.fusion.weights import ScenePrompts
from training.image_tower import FrozenText, TowerConfig, save_tower, train_tower
from training.language import prompts, training_vocabulary
from training.mvtod.procedural.objects import catalogue
from training.mvtod.shards import load_scenes


@dataclass(frozen=True)
class Recipe:
    """Scenes of each split (validation: known instances, other scenes), views of a scene, and the two trainings."""

    scenes: int = 1400
    views: int = 8
    heldout_scenes: int = 200
    seed: int = 0
    tower: TowerConfig = field(default_factory=TowerConfig)
    distill: DistillConfig = field(default_factory=lambda: read_config(SMALL))
    adapt_text: bool = True


SPLITS = {
    "train": "train",
    "validation": "train",
    "unseen_instance": "unseen_instance",
    "unseen_category": "unseen_category",
}


def make_scenes(out: Path, recipe: Recipe) -> None:
    """Renders every split, in processes of their own: the LLVMs of OSMesa and of Triton do not share one."""
    for folder, split in SPLITS.items():
        train = folder == "train"
        count = recipe.scenes if train else recipe.heldout_scenes
        seed = recipe.seed + (1 if folder == "validation" else 0)
        subprocess.run(
            [
                sys.executable,
                "-m",
                "training.mvtod.cli",
                "generate",
                "--out",
                str(out / "scenes" / folder),
                "--split",
                split,
                "--scenes",
                str(count),
                "--views",
                str(recipe.views),
                "--seed",
                str(seed),
            ],
            check=True,
        )


def make_tower(out: Path, recipe: Recipe) -> None:
    """Trains the image tower (and the text adapter) on the crops of the training scenes."""
    crops = collect_crops(load_scenes(out / "scenes" / "train"), out / "crops" / "train")
    vocabulary, encoder = training_vocabulary(catalogue()), TextEncoder(TextConfig(), "cpu")
    text = FrozenText(torch.stack([encoder.encode(texts) for texts in prompts(vocabulary.phrases)]), recipe.adapt_text)
    tower = train_tower(crops, vocabulary, text, recipe.tower, out / "tower.ckpt")
    save_file({"adapter": text.adapter.detach().half().contiguous()}, out / "text_adapter.safetensors")
    save_tower(out / "image_tower.safetensors", tower)


def make_fused(out: Path, recipe: Recipe, workers: int = 1) -> None:
    """Fused object features (eq. 4 and 5) of the training scenes, and their mean beside the text adapter."""
    folder, weights = out / "scenes" / "train", out / "image_tower.safetensors"
    text = TextEncoder(TextConfig(), "cpu", adapter=out / "text_adapter.safetensors")
    wanted = ScenePrompts(catalogue(), text)
    scenes, sha256 = load_scenes(folder), digest(recipe.tower.image, weights)
    features = out / "features" / "train" / str(sha256)[:8]
    made_of = FeatureRecipe(str(folder.resolve()), recipe.tower.image, sha256)
    extract(scenes, features, made_of, weights, workers=workers)
    fused = []
    for scene in scenes:
        seen = load_view_features(features, scene)
        fused.append(fuse_objects(seen.features.float(), seen.labels, wanted.of(scene)))
    lost, count = sum(f.uninformative for f in fused), sum(len(f.labels) for f in fused)
    print(f"{lost} of {count} objects had no informative view")
    save_fused(out / "fused" / "train.safetensors", scenes, fused)
    mean = torch.cat([f.features for f in fused]).mean(0)
    adapter = load_file(out / "text_adapter.safetensors")["adapter"]
    save_file({"adapter": adapter, "mean_object": mean}, out / "text_adapter.safetensors")


def make_encoder(out: Path, recipe: Recipe, start_from: Path | None = None) -> None:
    """Distils the fused features into the sparse encoder; the first of torchrun's processes writes it.

    start_from: what `start_encoder` reads: an encoder, as wide or narrower, to begin with.
    """
    scenes = load_scenes(out / "scenes" / "train")
    fused = load_fused(out / "fused" / "train.safetensors", scenes)
    text = TextEncoder(TextConfig(), "cpu", adapter=out / "text_adapter.safetensors")
    phrases = text.encode(training_vocabulary(catalogue()).phrases)
    start = start_encoder(start_from) if start_from else None
    encoder = distill(Source(scenes, fused, out / "clouds"), recipe.distill, out / "distill", phrases, start)
    if int(os.environ.get("RANK", 0)) == 0:
        part = out / "encoder.part"
        save_file({k: v.contiguous() for k, v in encoder.state_dict().items()}, part)
        part.replace(out / "encoder.safetensors")


def make_encoder_by(processes: int) -> None:
    """`make_encoder` under torchrun, with the arguments of this command."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    stage = ["-m", "training.make", *sys.argv[1:], "--stage", "distill"]
    subprocess.run([sys.executable, *torchrun, *stage], check=True, env={"OMP_NUM_THREADS": "1"} | os.environ)


def make_model(out: Path, recipe: Recipe, model: Path) -> None:
    """Calibrates on the validation scenes and writes the model folder."""
    encoder = MinkUNet14D(recipe.distill.encoder)
    encoder.load_state_dict(load_file(out / "encoder.safetensors"))
    encoder.eval()
    config = ModelConfig(
        name="dropclip-small", encoder=recipe.distill.encoder, voxels=recipe.distill.voxels, text=TextConfig()
    )
    text = TextEncoder(config.text, "cpu", adapter=out / "text_adapter.safetensors")
    tower = out / "image_tower.safetensors"
    image = ImageTower(recipe.tower.image, tower)
    config = calibrate(encoder, text, config, load_scenes(out / "scenes" / "validation"), image)
    extras = load_file(out / "text_adapter.safetensors")
    data = f"{recipe.scenes} procedural scenes of {recipe.views} views (`python -m training.make`)."
    metrics = json.loads((out / "distill" / "summary.json").read_text())
    adapter, mean = extras["adapter"], extras["mean_object"]
    export(model, encoder, config, recipe.distill, data, metrics, adapter, mean, load_file(tower))


def main(
    out: Path = Path("runs/large"),
    stage: Literal["all", "scenes", "tower", "fuse", "distill", "export"] = "all",
    model: Path = MODEL_FOLDER,
    recipe: Recipe = Recipe(),
    threads: int = 0,
    processes: int = 2,
    start_from: Path | None = None,
) -> None:
    """Runs one stage, or all that have not left their result yet.

    threads: of each process, 0 for all cores. processes: that embed crops and distil. start_from: a model folder to
    distil on from.
    """
    if threads:
        torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    steps = {
        "scenes": lambda: make_scenes(out, recipe),
        "tower": lambda: make_tower(out, recipe),
        "fuse": lambda: make_fused(out, recipe, processes),
        "distill": lambda: (
            make_encoder(out, recipe, start_from)
            if processes == 1 or "RANK" in os.environ
            else make_encoder_by(processes)
        ),
        "export": lambda: make_model(out, recipe, model),
    }
    results = {
        "tower": out / "image_tower.safetensors",
        "fuse": out / "fused" / "train.safetensors",
        "distill": out / "encoder.safetensors",
    }
    for name in steps if stage == "all" else (stage,):
        if stage == "all" and name in results and results[name].exists():
            print(f"{name}: {results[name]} is there")
            continue
        steps[name]()


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
