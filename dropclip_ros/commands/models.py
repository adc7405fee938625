# SPDX-License-Identifier: Apache-2.0
"""`dropclip model create` and `dropclip model import`: model folders without training."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from dropclip_ros.base.devices import usable_device
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grounding.pipeline import MODEL_FOLDER
from dropclip_ros.networks.activation import doubt
from dropclip_ros.networks.clip import (
    ACTIVATIONS,
    Clip,
    ClipSource,
    activation_of,
    check_said_activation,
    load_clip,
    trained_activation,
)
from dropclip_ros.networks.encoder import MinkUNet14D
from dropclip_ros.networks.image import ImageConfig, ImageTower
from dropclip_ros.networks.minkowski_checkpoint import read_minkowski
from dropclip_ros.networks.model_card import write_card
from dropclip_ros.networks.model_folder import AXES, CONFIG, FrameConfig, ModelConfig, load_model, save_model
from dropclip_ros.networks.text import TextConfig, TextEncoder
from dropclip_ros.vision.voxels import VoxelConfig

TEMPLATES = ("{}", "a photo of {}")


def add_parser(commands: argparse._SubParsersAction, about: str) -> None:
    model = commands.add_parser("model", help=about)
    kinds = model.add_subparsers(dest="kind", required=True)
    create = kinds.add_parser("create", help="names of any open_clip model, objects of the shipped encoder")
    create.add_argument("out", type=Path, help="the folder to write")
    create.add_argument("--encoder", type=Path, default=MODEL_FOLDER, help="model folder whose encoder finds objects")
    create.add_argument("--crop", choices=("mask", "plain", "both"), default="mask", help="what the tower is shown")
    create.add_argument(
        "--background", choices=("mean", "grey"), default="mean", help="of masked crops: the picture's mean"
    )
    create.set_defaults(run=run_create)
    found = kinds.add_parser("import", help="a checkpoint of MinkowskiEngine's MinkUNet14D")
    found.add_argument("checkpoint", type=Path, help=".pth, .pt or .safetensors")
    found.add_argument("out", type=Path, help="the folder to write")
    found.add_argument("--axes", choices=AXES, default="world", help="the frame it was trained in (default world)")
    centred = argparse.BooleanOptionalAction
    found.add_argument("--centred", action=centred, default=True, help="whether points were centred there (default)")
    found.add_argument("--voxel-size", type=float, default=VoxelConfig.voxel_size, help="in scaled units")
    found.add_argument("--world-scale", type=float, default=VoxelConfig.world_scale, help="scaled units in a metre")
    found.set_defaults(run=run_import)
    for parser in (create, found):
        _add_tower(parser)


def _add_tower(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tower", required=True, help="a name of open_clip, hf-hub:REPOSITORY, or a local folder")
    parser.add_argument("--pretrained", help="for a name: a tag, or a checkpoint file")
    parser.add_argument("--sha256", help="of the weights, where they are a local file")
    parser.add_argument(
        "--activation", choices=ACTIVATIONS, help="what the weights were trained with, where they do not say"
    )
    parser.add_argument("--template", action="append", help=f"of phrases, with {{}}; default {', '.join(TEMPLATES)}")
    parser.add_argument("--name", help="of the model (default: the folder's)")


def open_tower(args: argparse.Namespace) -> tuple[ClipSource, Clip, TextConfig]:
    """The tower that the arguments name; where it does not say how it was trained, with a warning if ten pictures speak
    against what the caller said."""
    source = ClipSource(args.tower, args.pretrained, args.sha256)
    check_said_activation(source, args.activation)
    clip = load_clip(source)
    computes = activation_of(source) if trained_activation(source) is None else None
    clip.model.to(usable_device("auto"))
    if computes and (warning := doubt(clip, computes)):
        print(f"dropclip: warning: {warning}", file=sys.stderr)
    source = source.settled
    return source, clip, TextConfig(source.model, source.pretrained, source.sha256, tuple(args.template or TEMPLATES))


def run_create(args: argparse.Namespace) -> int:
    _check_free(args.out)
    source, clip, text = open_tower(args)
    channels = TextEncoder(text, clip=clip).channels
    tower = (source.model, source.pretrained, source.sha256)
    # the tower's own temperature; what is nobody's is told by the negatives until the model is calibrated
    temperature = float(np.clip(1 / clip.model.logit_scale.detach().exp().item(), 1e-4, 100))
    image = ImageConfig(
        *tower, channels=channels, weight=1.0, crop=args.crop, background=args.background, temperature=temperature
    )
    seen = ImageTower(image, args.out, clip=clip).embed(np.zeros((32, 32, 3), np.uint8), np.ones((32, 32), int))
    if seen.shape[1] != channels:
        raise DropclipError(
            Status.MODEL_ERROR,
            f"{source.model}: pictures have {seen.shape[1]} channels, phrases {channels}; expected one",
        )
    encoder, base = load_model(args.encoder, fuse=False)
    config = replace(base, name=args.name or args.out.name, text=text, image=image, sha256={})
    config = save_model(args.out, encoder, config)
    about = (
        f"Objects are told apart by the encoder of `{base.name}`; what they are called comes from the two towers of "
        f"`{source.model}` (pretrained `{source.pretrained}`, {channels} channels), on the picture's crops "
        f"({args.crop}, background {args.background}). Nothing was trained. The tower has a licence of its own."
    )
    write_card(args.out, config, [about])
    print(f"{args.out}: names of {source.model}, not calibrated (dropclip calibrate {args.out} --frames FRAMES.json)")
    return 0


def run_import(args: argparse.Namespace) -> int:
    _check_free(args.out)
    encoder = read_minkowski(args.checkpoint)
    if encoder.config.in_channels != 3:
        raise DropclipError(
            Status.MODEL_ERROR,
            f"{args.checkpoint} takes {encoder.config.in_channels} channels a voxel; served are 3, rgb in [0, 1]",
        )
    source, clip, text = open_tower(args)
    channels = TextEncoder(text, clip=clip).channels
    if channels != encoder.config.out_channels:
        raise DropclipError(
            Status.MODEL_ERROR,
            f"{args.checkpoint} has {encoder.config.out_channels} channels and {source.model} has {channels}: they are "
            "not of one training; name the tower that it was distilled from",
        )
    config = _imported(args, encoder, text)
    config = save_model(args.out, encoder, config)
    about = (
        f"Imported from `{args.checkpoint.name}`, a MinkUNet14D in MinkowskiEngine's layout, trained in "
        f"{args.axes} axes{', centred' if args.centred else ''}, to the space of `{source.model}`."
    )
    write_card(args.out, config, [about])
    print(f"{args.out}: {encoder.config.out_channels} channels, {args.axes} axes, not calibrated")
    return 0


def _imported(args: argparse.Namespace, encoder: MinkUNet14D, text: TextConfig) -> ModelConfig:
    try:
        voxels = VoxelConfig(args.voxel_size, args.world_scale)
    except ValueError as error:
        raise DropclipError(Status.BAD_REQUEST, str(error)) from error
    return ModelConfig(args.name or args.out.name, encoder.config, voxels, FrameConfig(args.axes, args.centred), text)


def _check_free(out: Path) -> None:
    """BAD_REQUEST where the folder is taken by something that is no model."""
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / CONFIG).exists())):
        raise DropclipError(Status.BAD_REQUEST, f"{out} exists and is no model folder; name another")
