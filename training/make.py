# SPDX-License-Identifier: Apache-2.0
"""All stages from nothing to a model folder: scenes, image tower, fusion, distillation, calibration, export.

`python -m training.make --out runs/large` runs what is missing; a stage that was killed resumes. `--stage NAME` runs
one. docs/decisions.md says how the numbers of `MakeRecipe` were derived and how long each stage takes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file

from dropclip_ros.base.files import load_tensors
from dropclip_ros.base.reading import read_json
from dropclip_ros.grounding.pipeline import MODEL_FOLDER
from dropclip_ros.networks.encoder import MinkUNet14D
from dropclip_ros.networks.image import ImageTower
from dropclip_ros.networks.model_folder import ModelConfig
from dropclip_ros.networks.text import TextConfig, TextEncoder
from training.distill import DistillConfig, TrainingSet, distill, read_config
from training.distill.export import export, start_encoder
from training.distill.recipes import REAL, SMALL
from training.evaluate.served.calibrate import calibrate
from training.fusion.crops import collect_crops, joined
from training.fusion.fuse import fuse_objects
from training.fusion.image_tower import FrozenText, TowerConfig, save_tower, train_tower
from training.fusion.phrase_features import embedded
from training.fusion.run import FeatureRecipe, digest, extract
from training.fusion.targets import load_fused, save_fused
from training.fusion.view_features import load_view_features
from training.fusion.weights import PromptConfig, ScenePrompts
from training.objects.catalogue import PROCEDURAL, Catalogue, open_catalogue
from training.objects.spec import ObjectSpec
from training.objects.words.language import prompts, training_vocabulary
from training.runs.errors import in_a_line
from training.runs.files import lock_place, write_atomically
from training.scenes.sensor import SENSORS
from training.scenes.shards import load_scenes


@dataclass(frozen=True)
class MakeRecipe:
    """Scenes of each split (validation: known instances, other scenes), views of a scene, and the two trainings."""

    scenes: int = 1400
    views: int = 8
    heldout_scenes: int = 200
    seed: int = 0
    catalogue: str = (
        PROCEDURAL  # what scenes are made of: "procedural", or a folder of your own objects, and these only
    )
    tower: TowerConfig = field(default_factory=TowerConfig)
    distill: DistillConfig = field(default_factory=lambda: read_config(SMALL))
    adapt_text: bool = True
    adapter: Path | None = None  # a text_adapter.safetensors to keep: the tower alone is learned, under it
    meshes: Path | None = None  # a catalogue that `dropclip-mvtod collect` made, to learn from beside the procedural
    mesh_scenes: int = 250
    mesh_passes: int = 5  # of the weights for real frames, in one over the procedural scenes
    real: DistillConfig = field(default_factory=lambda: read_config(REAL))  # of the weights for real frames

    @property
    def objects(self) -> list[ObjectSpec]:
        """What is learnt from."""
        specs = open_catalogue(self.catalogue).specs
        return [*specs, *(Catalogue.load(self.meshes).specs if self.meshes else ())]

    @property
    def training_folders(self) -> tuple[str, ...]:
        """Folders of training scenes."""
        return ("train", "meshes") if self.meshes else ("train",)


SPLITS = {
    "train": "train",
    "validation": "train",
    "unseen_instance": "unseen_instance",
    "unseen_category": "unseen_category",
    "meshes": "train",
}


def make_scenes(out: Path, recipe: MakeRecipe) -> None:
    """Renders every split, in processes of their own: the LLVMs of OSMesa and of Triton do not share one."""
    counts = {"train": recipe.scenes, "meshes": recipe.mesh_scenes}
    for folder, split in SPLITS.items():
        source = recipe.meshes if folder == "meshes" else recipe.catalogue
        if source is None:
            continue
        if split not in {spec.split for spec in open_catalogue(str(source)).specs}:
            print(f"{folder}: {source} has no object of split {split}; left out")
            continue
        options = {
            "out": out / "scenes" / folder,
            "split": split,
            "scenes": counts.get(folder, recipe.heldout_scenes),
            "views": recipe.views,
            "seed": recipe.seed + (folder == "validation"),
            "catalogue": source,
        }
        said = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
        subprocess.run([sys.executable, "-m", "training.mvtod", "generate", *said], check=True)


def make_tower(out: Path, recipe: MakeRecipe, start_from: Path | None = None) -> None:
    """Trains the image tower (and the text adapter) on the crops of the training scenes.

    start_from: tower.ckpt of another run, to begin with.
    """
    folders = recipe.training_folders
    crops = joined([collect_crops(load_scenes(out / "scenes" / name), out / "crops" / name) for name in folders])
    vocabulary, encoder = training_vocabulary(recipe.objects), TextEncoder(TextConfig(), "cpu", adapter=recipe.adapter)
    adapt = recipe.adapt_text and recipe.adapter is None
    text = FrozenText(torch.stack([encoder.encode(texts) for texts in prompts(vocabulary.phrases)]), adapt)
    tower = train_tower(crops, vocabulary, text, recipe.tower, out / "tower.ckpt", start_from)
    adapter = load_tensors(recipe.adapter)["adapter"] if recipe.adapter else text.adapter.detach().half().contiguous()
    _keep({"adapter": adapter}, out / "text_adapter.safetensors")
    save_tower(out / "image_tower.safetensors", tower)


def make_fused(out: Path, recipe: MakeRecipe, workers: int = 1) -> None:
    """Fused object features (eq. 4 and 5) of the training scenes, and their mean beside the text adapter."""
    weights = out / "image_tower.safetensors"
    text = TextEncoder(TextConfig(), "cpu", adapter=out / "text_adapter.safetensors")
    wanted, sha256 = ScenePrompts(recipe.objects, text), digest(recipe.tower.image, weights)
    for name in recipe.training_folders:
        folder = out / "scenes" / name
        scenes, features = load_scenes(folder), out / "features" / name / str(sha256)[:8]
        made_of = FeatureRecipe(str(folder.resolve()), recipe.tower.image, sha256)
        extract(scenes, features, made_of, weights, workers=workers)
        fused = []
        for scene in scenes:
            seen = load_view_features(features, scene)
            fused.append(fuse_objects(seen.features.float(), seen.labels, wanted.of(scene, PromptConfig("families"))))
        lost, count = sum(f.uninformative for f in fused), sum(len(f.labels) for f in fused)
        print(f"{name}: {lost} of {count} objects had no informative view")
        save_fused(out / "fused" / f"{name}.safetensors", scenes, fused)
        if name == "train":
            mean = torch.cat([f.features for f in fused]).mean(0)
    adapter = load_tensors(out / "text_adapter.safetensors")["adapter"]
    _keep({"adapter": adapter, "mean_object": mean}, out / "text_adapter.safetensors")


def make_encoder(out: Path, recipe: MakeRecipe, start_from: Path | None = None) -> None:
    """Distils the fused features into the sparse encoder; the first of torchrun's processes writes it.

    start_from: what `start_encoder` reads: an encoder, as wide or narrower, to begin with.
    """
    start = start_encoder(start_from) if start_from else None
    _distil(out, recipe, recipe.distill, ("train",), start, "distill", "encoder")


def make_real_encoder(out: Path, recipe: MakeRecipe) -> None:
    """The weights for real frames: goes on from the encoder with scenes of meshes and a depth sensor's noise."""
    start = MinkUNet14D(recipe.distill.encoder)
    start.load_state_dict(load_tensors(out / "encoder.safetensors"))
    _distil(out, recipe, recipe.real, recipe.training_folders, start, "distill_real", "encoder_real")


def _distil(
    out: Path,
    recipe: MakeRecipe,
    config: DistillConfig,
    folders: Sequence[str],
    start: MinkUNet14D | None,
    run: str,
    result: str,
) -> None:
    """The run in the folder `run`, on the scenes of some folders; its encoder goes to `result`.safetensors."""
    scenes, fused = [], []
    for name in folders:
        of_folder, passes = load_scenes(out / "scenes" / name), recipe.mesh_passes if name == "meshes" else 1
        scenes += passes * of_folder
        fused += passes * load_fused(out / "fused" / f"{name}.safetensors", of_folder)
    text = TextEncoder(TextConfig(), "cpu", adapter=out / "text_adapter.safetensors")
    phrases = training_vocabulary(recipe.objects).phrases
    phrases = embedded(text, phrases, out, out / "text_adapter.safetensors").rows
    clouds = out / "clouds" if len(folders) == 1 else None  # they are kept by name, which folders share
    encoder = distill(TrainingSet(scenes, fused, clouds), config, out / run, phrases, start)
    if int(os.environ.get("RANK", 0)) == 0:
        _keep(encoder.state_dict(), out / f"{result}.safetensors")


def _keep(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    with write_atomically(path, replace=True) as part:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part)


def make_by(processes: int, stage: str) -> None:
    """A stage under torchrun, with the arguments of this command."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = ["-m", "training.make", *sys.argv[1:], "--stage", stage]
    subprocess.run([sys.executable, *torchrun, *command], check=True, env={"OMP_NUM_THREADS": "1"} | os.environ)


def make_model(out: Path, recipe: MakeRecipe, model: Path, real: bool = False) -> None:
    """Calibrates on the validation scenes and writes the model folder; real: of the weights for real frames."""
    suffix, made_by = ("_real", recipe.real) if real else ("", recipe.distill)
    encoder = MinkUNet14D(made_by.encoder)
    encoder.load_state_dict(load_tensors(out / f"encoder{suffix}.safetensors"))
    encoder.eval()
    name = "dropclip-small" + suffix.replace("_", "-")
    config = ModelConfig(name=name, encoder=made_by.encoder, voxels=made_by.voxels, text=TextConfig())
    text = TextEncoder(config.text, "cpu", adapter=out / "text_adapter.safetensors")
    tower = out / "image_tower.safetensors"
    image, sensor = ImageTower(recipe.tower.image, tower), SENSORS[made_by.augment.sensor]
    scenes = load_scenes(out / "scenes" / "validation")
    config = calibrate(encoder, text, config, scenes, recipe.objects, image, sensor)
    extras = load_tensors(out / "text_adapter.safetensors")
    made_of = "procedural scenes" if recipe.catalogue == PROCEDURAL else f"scenes of {recipe.catalogue}"
    data = f"{len(load_scenes(out / 'scenes' / 'train'))} {made_of}"
    data += f", {recipe.mesh_scenes} of meshes" if real else ""
    metrics = read_json(out / f"distill{suffix}" / "summary.json")
    adapter, mean = extras["adapter"], extras["mean_object"]
    export(
        model,
        encoder,
        config,
        made_by,
        f"{data} (`python -m training.make`).",
        metrics,
        adapter,
        mean,
        load_tensors(tower),
    )


def main(
    out: Path = Path("runs/large"),
    stage: Literal["all", "scenes", "tower", "fuse", "distill", "export", "distill_real", "export_real"] = "all",
    model: Path = MODEL_FOLDER,
    model_real: Path = Path("runs/model_real"),
    recipe: MakeRecipe = MakeRecipe(),
    threads: int = 0,
    processes: int = 2,
    start_from: Path | None = None,
    tower_from: Path | None = None,
) -> None:
    """Runs one stage, or all that have not left their result yet; those of the weights for real frames where
    recipe.meshes is given.

    threads: of each process, 0 for all cores. processes: that embed crops and distil. start_from: a model folder to
    distil on from. tower_from: tower.ckpt of another run, for the tower to begin with.
    """
    with nullcontext() if "RANK" in os.environ else lock_place(out):
        _make(out, model, model_real, stage, recipe, threads, processes, start_from, tower_from)


def _make(
    out: Path,
    model: Path,
    model_real: Path,
    stage: str,
    recipe: MakeRecipe,
    threads: int,
    processes: int,
    start_from: Path | None,
    tower_from: Path | None,
) -> None:
    if threads:
        torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    alone = processes == 1 or "RANK" in os.environ
    steps = {
        "scenes": lambda: make_scenes(out, recipe),
        "tower": lambda: make_tower(out, recipe, tower_from),
        "fuse": lambda: make_fused(out, recipe, processes),
        "distill": lambda: make_encoder(out, recipe, start_from) if alone else make_by(processes, "distill"),
        "export": lambda: make_model(out, recipe, model),
        "distill_real": lambda: make_real_encoder(out, recipe) if alone else make_by(processes, "distill_real"),
        "export_real": lambda: make_model(out, recipe, model_real, real=True),
    }
    results = {
        "tower": out / "image_tower.safetensors",
        "fuse": out / "fused" / "train.safetensors",
        "distill": out / "encoder.safetensors",
        "distill_real": out / "encoder_real.safetensors",
    }
    every = [name for name in steps if recipe.meshes or not name.endswith("_real")]
    for name in every if stage == "all" else (stage,):
        if stage == "all" and name in results and results[name].exists():
            print(f"{name}: {results[name]} is there")
            continue
        steps[name]()


if __name__ == "__main__":
    import tyro

    with in_a_line("training.make"):
        tyro.cli(main)
