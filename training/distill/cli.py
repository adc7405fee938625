# SPDX-License-Identifier: Apache-2.0
"""The command `dropclip-distill`: trains the sparse encoder on fused features and exports it (section 3.3, A.2).

With torchrun, on any number of GPUs and machines:

    torchrun --nproc-per-node 4 -m training.distill --scenes SCENES --fused FUSED --out OUT

A run that was stopped goes on from its checkpoint when the same command is given again.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
import tyro

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.base.files import load_tensors
from dropclip_ros.base.reading import read_json
from dropclip_ros.networks.clip import width_of
from dropclip_ros.networks.model_folder import ModelConfig
from dropclip_ros.networks.text import TextConfig, TextEncoder
from training.distill.config import DistillConfig
from training.distill.data import TrainingSet
from training.distill.export import export, start_encoder
from training.distill.processes import leave
from training.distill.recipes import read_config
from training.distill.train import Validate, distill
from training.distill.validate import cosine_validation, evaluation, together
from training.fusion.phrase_features import Vocabulary, embedded
from training.fusion.targets import targets_of, tower_of_features
from training.objects.catalogue import catalogue_of
from training.objects.words.language import training_vocabulary
from training.runs.checkpoint import CheckpointError
from training.runs.errors import InputError
from training.runs.files import alone
from training.runs.reading import read_lines
from training.scenes.shards import load_scenes


@dataclass
class Options:
    """What is trained on what, and where it goes."""

    scenes: Path
    """Folder of scenes or shards, as dropclip-mvtod writes them; what is broken is left out with a warning."""
    fused: Path
    """Fused features of these scenes (safetensors), or the folder of features of their views from dropclip-fuse."""
    out: Path
    """Folder for checkpoints, log and the model folder `model`; a checkpoint in it is gone on from."""
    config_file: Annotated[Path | None, tyro.conf.arg(name="config")] = None
    """YAML of the fields below; options on the command line come after it."""
    text_adapter: Path | None = None
    """Adapter of the text encoder (safetensors), for phrases and for the model folder."""
    start_from: Path | None = None
    """A model folder, or a checkpoint in MinkowskiEngine's layout (.pth, .pt, .safetensors), to begin with."""
    validation: Path | None = None
    """Scenes of a validation split: with --text-adapter, the evaluation's semantic mIoU of them goes to the log."""
    validation_fused: Path | None = None
    """Their fused features, as `fused`: the student's cosine distance from them goes to the log."""
    name: str = "dropclip"
    """Of the model, in its card."""
    tensorboard: bool = False
    """Scalars for TensorBoard too (pip install tensorboard)."""
    profile: bool = False
    """Trace of steps 3 to 5: profile.json in the folder."""
    recipe: Annotated[DistillConfig, tyro.conf.arg(name="")] = field(default_factory=DistillConfig)


def run(options: Options) -> None:
    """Trains and exports. Raises InputError, CheckpointError or DropclipError."""
    config = options.recipe
    _check_width(options.fused, config)
    scenes = load_scenes(options.scenes, skip_broken=True)
    words = _words(options)
    source = TrainingSet(scenes, targets_of(options.fused, options.scenes, scenes, words), options.out / "clouds")
    validate = _validation(options, words) if options.validation else None
    start = start_encoder(options.start_from) if options.start_from else None
    phrases = words.rows if words and config.phrase_weight else None
    trained = distill(source, config, options.out, phrases, start, validate, options.tensorboard, options.profile)
    if int(os.environ.get("RANK", 0)) == 0:
        text = words.text.config if words else TextConfig()
        tower = tower_of_features(options.fused)
        image = tower if tower and tower.source else None  # the weights of others would have to lie in the folder
        model = ModelConfig(options.name, config.encoder, config.voxels, text=text, image=image)
        data = f"{len(scenes)} scenes of {options.scenes}, targets {options.fused}."
        metrics = last_validation(options.out) | _summary(options.out)
        adapter = load_tensors(options.text_adapter) if options.text_adapter else {}
        extras = adapter.get("adapter"), adapter.get("mean_object")
        export(options.out / "model", trained, model, config, data, metrics, *extras)
        model = options.out / "model"
        print(f"model: {model}; what it refuses means nothing yet: dropclip calibrate {model} --scenes SCENES")


def _check_width(fused: Path, config: DistillConfig) -> None:
    """InputError, before anything is read, where the tower of the features has another width than the network."""
    tower = tower_of_features(fused)
    width = width_of(tower.source) if tower and tower.source else None
    if width not in (None, config.feat_dim):
        raise InputError(
            f"{fused} has features of {tower.model}, {width} channels, and the network {config.feat_dim}; set feat_dim "
            f"to {width}, or fuse the features of another image tower"
        )


def _words(options: Options) -> Vocabulary | None:
    """The text tower that goes with the targets, and the phrases of the scenes' catalogue; None without either."""
    config, tower = TextConfig(), tower_of_features(options.fused)
    if tower and tower.source:
        config = TextConfig(tower.model, tower.pretrained, tower.sha256)
    elif options.fused.is_dir():
        if options.text_adapter is None:
            raise InputError(
                f"{options.fused} holds features of a tower of our own: expected the adapter that maps "
                "text to them; give --text-adapter"
            )
    elif options.text_adapter is None:
        return None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    text = TextEncoder(config, device, adapter=options.text_adapter)
    if not (options.fused.is_dir() or options.recipe.phrase_weight):
        return Vocabulary(text, (), text.encode(()))
    phrases = training_vocabulary(catalogue_of(options.scenes).specs).phrases
    return embedded(text, phrases, options.out, options.text_adapter)


def _validation(options: Options, words: Vocabulary | None) -> Validate:
    """What is looked at during training."""
    scenes, validations = load_scenes(options.validation, skip_broken=True), []
    if options.validation_fused:
        source = TrainingSet(scenes, targets_of(options.validation_fused, options.validation, scenes, words))
        validations.append(cosine_validation(source, options.recipe))
    if words:
        validations.append(evaluation(scenes, words.text, options.recipe))
    if not validations:
        raise InputError("--validation needs --validation-fused, --text-adapter or both, to compare with")
    return together(validations)


def last_validation(out: Path) -> dict[str, float]:
    """What the log's last validation says, by name."""
    lines = read_lines(out / "losses.jsonl")
    found = [line for line in lines if any(name.startswith("val/") for name in line)]
    return {name: value for name, value in found[-1].items() if name.startswith("val/")} if found else {}


def _summary(out: Path) -> dict[str, float]:
    path = out / "summary.json"
    return read_json(path) if path.exists() else {}


def _options(args: Sequence[str]) -> Options:
    """Of the fields of --config, changed by the command line. InputError where a value makes no sense."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path)
    file = parser.parse_known_args(args)[0].config
    recipe = read_config(file) if file else DistillConfig()
    default = Options(tyro.MISSING, tyro.MISSING, tyro.MISSING, recipe=recipe)
    try:
        return tyro.cli(Options, prog="dropclip-distill", description=__doc__, args=args, default=default)
    except ValueError as error:  # of the configurations' own checks
        raise InputError(str(error)) from error


def main(args: Sequence[str] | None = None) -> None:
    args = list(sys.argv[1:] if args is None else args)
    try:
        first = int(os.environ.get("RANK", 0)) == 0
        (alone(run) if first else run)(_options(args))
    except (InputError, CheckpointError, DropclipError) as error:
        if int(os.environ.get("RANK", 0)) == 0:
            print(f"dropclip-distill: {error}", file=sys.stderr)
        sys.exit(2)
    except torch.OutOfMemoryError as error:
        print(f"dropclip-distill: {error}; lower batch_size, or use more processes", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # of the log, since checkpoints have their own
        print(f"dropclip-distill: {error.filename or 'the log'}: {error.strerror}; run it again", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("dropclip-distill: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)
    finally:
        leave()
