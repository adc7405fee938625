# SPDX-License-Identifier: Apache-2.0
"""Trains HGGD on scenes that `dropclip-mvtod grasps` has added grasps to."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from training.hggd.config import HggdTraining
from training.hggd.data import Frames, with_grasps
from training.hggd.export import export
from training.hggd.train import train
from training.runs.checkpoint import CheckpointError
from training.runs.errors import InputError
from training.runs.recipes import read_config
from training.scenes.shards import load_scenes


@dataclass
class Options:
    """What is trained on what, and where it goes."""

    scenes: Path
    """Folder of scenes with grasps; those without are left out."""
    out: Path
    """Folder for checkpoint.pt, losses.jsonl and the folder `model`; a checkpoint in it is gone on from."""
    cache: Path | None = None
    """Folder for prepared views; by default `frames` in `out`."""
    config_file: Annotated[Path | None, tyro.conf.arg(name="config")] = None
    """YAML of the fields below; options on the command line come after it."""
    recipe: Annotated[HggdTraining, tyro.conf.arg(name="")] = field(default_factory=HggdTraining)


def run(options: Options) -> None:
    """Trains and exports."""
    scenes = with_grasps(load_scenes(options.scenes, skip_broken=True))
    frames = Frames(scenes, options.recipe, options.cache or options.out / "frames")
    networks = train(frames, options.out)
    export(
        options.out / "model",
        networks,
        options.recipe,
        f"{len(frames.views)} views of {len(scenes)} scenes of {options.scenes}.",
    )
    print(f"model: {options.out / 'model'}")


def main(args: Sequence[str] | None = None) -> None:
    args = list(sys.argv[1:] if args is None else args)
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path)
    try:
        file = parser.parse_known_args(args)[0].config
        recipe = read_config(file, HggdTraining) if file else HggdTraining()
        default = Options(tyro.MISSING, tyro.MISSING, recipe=recipe)
        run(tyro.cli(Options, prog="python -m training.hggd", description=__doc__, args=args, default=default))
    except (InputError, CheckpointError, ValueError) as error:
        print(f"training.hggd: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("training.hggd: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)
