# SPDX-License-Identifier: Apache-2.0
"""The command `dropclip-ovs3d`: reconstructs one scene from posed images, segments it by class phrases (3D-OVS, A.6.3).

    dropclip-ovs3d fit --scene SCENE --out OUT --classes mug "red box" table
    dropclip-ovs3d render --out OUT --turntable
    dropclip-ovs3d export --out OUT

A fit that was stopped goes on from its checkpoints when the same command is given again.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, Union

import numpy as np
import torch
import tyro

from dropclip_ros.base.reading import read_json
from training.ovs3d.config import PAPER, SMALL, Ovs3dConfig, read_config
from training.ovs3d.export import export_cloud
from training.ovs3d.field import Field
from training.ovs3d.fit import empty_field, reconstruct
from training.ovs3d.layouts import load_views
from training.ovs3d.learn import learn_semantics
from training.ovs3d.pictures import from_place, seen_from, write_pictures, write_turntable
from training.ovs3d.relevancy import class_phrases
from training.ovs3d.segment import guide, load_towers
from training.ovs3d.semantic import Segmentation, load_segmentation
from training.ovs3d.views import PosedViews
from training.runs.checkpoint import CheckpointError, load_checkpoint
from training.runs.errors import InputError, in_a_line
from training.runs.files import lock_place, write_atomically
from training.runs.recipes import write_config

RECIPES = {"small": SMALL, "paper": PAPER}


@dataclass
class Fit:
    """Reconstructs a scene and, with classes, segments it."""

    scene: Path
    """Folder with scene.json, transforms.json (nerfstudio), poses_bounds.npy (LLFF), or COLMAP's text."""
    out: Path
    """Folder for checkpoints, logs and what is made of them; checkpoints in it are gone on from."""
    classes: tuple[str, ...] = ()
    """Phrases of all that is there, also of what all stands on; none: colours only."""
    config_file: Annotated[str, tyro.conf.arg(name="config")] = "small"
    """small, paper, or a YAML file of the fields below; options on the command line come after it."""
    model: Path | None = None
    """Model folder with the towers; by default the shipped one."""
    tower: str | None = None
    """Any model of open_clip instead, by name."""
    pretrained: str | None = None
    """Its weights: a tag of open_clip or a file."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    recipe: Annotated[Ovs3dConfig, tyro.conf.arg(name="")] = field(default_factory=Ovs3dConfig)


@dataclass
class Render:
    """Draws views of a fitted scene: colours, depth and, where it has classes, relevancy and segmentation."""

    out: Path
    """Folder of the fit; pictures go to its folder `pictures`."""
    views: tuple[int, ...] = ()
    """Numbers of views; by default those that were held out."""
    place: tuple[float, float, float] | None = None
    """A camera there instead, in metres of the world, that looks at the middle of the scene."""
    turntable: bool = False
    """Only a GIF of a camera that goes around the scene."""
    frames: int = 36
    """Its pictures."""
    device: Literal["auto", "cpu", "cuda"] = "auto"


@dataclass
class Export:
    """Writes the segmented scene as a point cloud with features, which `dropclip ground --field` answers from."""

    out: Path
    """Folder of the fit; the cloud is its cloud.safetensors and cloud.ply."""
    device: Literal["auto", "cpu", "cuda"] = "auto"


def run_fit(options: Fit) -> None:
    config, device = options.recipe, _device(options.device)
    phrases = class_phrases(options.classes) if options.classes else []
    views = load_views(options.scene, config.width, config.every, config.hold_out)
    start = time.perf_counter()
    made = reconstruct(views, config, options.out, device)
    write_config(options.out / "config.yaml", config)
    about = {
        "scene": str(options.scene.absolute()),
        "classes": phrases,
        "tower": options.tower,
        "model": str(options.model.absolute()) if options.model else None,
        "pretrained": options.pretrained,
    }
    with write_atomically(options.out / "fit.json", replace=True) as part:
        part.write_text(json.dumps(about, indent=1) + "\n")
    print(f"field: {options.out / 'field.pt'}, {_spent(start, device)}")
    if not phrases:
        return
    start = time.perf_counter()
    towers = load_towers(options.model, options.tower, options.pretrained, str(device))
    sharp = load_views(options.scene, 0, config.every, config.hold_out)
    width, height = views.size
    guidance = guide(towers, sharp, phrases, config.semantic, (height, width), options.out / "patches.safetensors")
    learn_semantics(made, views, guidance, phrases, config.semantic, options.out / "semantic")
    print(f"segmentation: {options.out / 'semantic'}, {_spent(start, device)}")


def run_render(options: Render) -> None:
    made, found, views = _fitted(options.out, _device(options.device))[:3]
    folder = options.out / "pictures"
    if options.turntable:
        if options.frames < 2:
            raise InputError(f"frames {options.frames}: expected at least 2")
        write_turntable(folder / "turntable.gif", made, found, views, options.frames)
    elif options.place is not None:
        posed = seen_from(views, [from_place(made, views, options.place)])
        write_pictures(folder, "place", made, found, posed, 0)
    else:
        for v in options.views or np.flatnonzero(views.held_out).tolist() or [0]:
            if not 0 <= v < len(views):
                raise InputError(f"view {v}: there are {len(views)}, numbered from 0")
            write_pictures(folder, f"view_{v:02d}", made, found, views, v)
    print(f"pictures: {folder}")


def run_export(options: Export) -> None:
    device = _device(options.device)
    _, found, views, about = _fitted(options.out, device)
    if found is None:
        raise InputError(f"{options.out} has colours only; fit it with --classes, then export it")
    model = Path(about["model"]) if about["model"] else None
    towers = load_towers(model, about["tower"], about["pretrained"], str(device))
    export_cloud(found, views, options.out / "cloud", towers)
    print(f"cloud: {options.out / 'cloud.safetensors'}, {options.out / 'cloud.ply'}")


def _fitted(out: Path, device: torch.device) -> tuple[Field, Segmentation | None, PosedViews, dict]:
    """The field, the segmentation where there is one, the views, and what the fit was told."""
    try:
        about = read_json(out / "fit.json")
        scene = Path(about["scene"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{out} holds no fit that was finished ({error}); make one with `dropclip-ovs3d fit --out {out}`"
        ) from error
    config = read_config(out / "config.yaml")
    made = empty_field(config)
    if load_checkpoint(out / "field.pt", field=made) < config.steps:
        raise InputError(
            f"{out / 'field.pt'} is missing, or not of {config.steps} steps; give the command of fit again"
        )
    made = made.to(device).eval()
    views = load_views(scene, config.width, config.every, config.hold_out)
    file = out / "semantic/segmentation.pt"
    return made, load_segmentation(file, made) if about["classes"] and file.exists() else None, views, about


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no CUDA device; use --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _spent(start: float, device: torch.device) -> str:
    peak = (
        torch.cuda.max_memory_allocated()
        if device.type == "cuda"
        else (1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    )
    return f"{(time.perf_counter() - start) / 60:.1f} min, peak {peak / 1e6:.0f} MB"


RUN = {Fit: run_fit, Render: run_render, Export: run_export}


def _options(args: Sequence[str]) -> Fit | Render | Export:
    """Of the fields of --config, changed by the command line. InputError where a value makes no sense."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", default="small")
    name = parser.parse_known_args(args)[0].config
    recipe = read_config(RECIPES.get(name, Path(name)))
    fit = Fit(tyro.MISSING, tyro.MISSING, recipe=recipe)
    commands = Union[  # noqa: UP007 (of values that are made here)
        Annotated[Fit, tyro.conf.subcommand("fit", default=fit)],
        Annotated[Render, tyro.conf.subcommand("render")],
        Annotated[Export, tyro.conf.subcommand("export")],
    ]
    try:
        return tyro.cli(commands, prog="dropclip-ovs3d", description=__doc__, args=args)
    except ValueError as error:  # of the configurations' own checks
        raise InputError(str(error)) from error


def main(args: Sequence[str] | None = None) -> None:
    with in_a_line("dropclip-ovs3d", CheckpointError):
        options = _options(list(sys.argv[1:] if args is None else args))
        with lock_place(options.out):
            RUN[type(options)](options)


if __name__ == "__main__":
    main()
