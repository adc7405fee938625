# SPDX-License-Identifier: Apache-2.0
"""A trained encoder as a model folder: safetensors, config.json with SHA-256s, the recipe, and a model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from dropclip_ros.networks.encoder import MinkUNet14D
from dropclip_ros.networks.minkowski_checkpoint import read_minkowski
from dropclip_ros.networks.model_card import calibration_text
from dropclip_ros.networks.model_folder import ModelConfig, load_model, save_model
from training.distill.config import DistillConfig
from training.runs.files import write_atomically
from training.runs.recipes import write_config

RECIPE = "distill.yaml"
CARD = "README.md"


def export(
    folder: Path,
    encoder: MinkUNet14D,
    model: ModelConfig,
    recipe: DistillConfig,
    data: str,
    metrics: Mapping[str, float | str] | None = None,
    text_adapter: Tensor | None = None,
    mean_object: Tensor | None = None,
    image_tower: Mapping[str, Tensor] | None = None,
) -> ModelConfig:
    """Writes a model folder that `dropclip_ros.networks.model_folder.load_model` reads; each file beside its place,
    then renamed.

    data: a sentence on what it was trained on; metrics: numbers for the card, by name. Returns the configuration with
    its digests. ValueError as `save_model`.
    """
    model = save_model(folder, encoder, model, text_adapter, mean_object, image_tower)
    with write_atomically(folder / RECIPE, replace=True) as part:
        write_config(part, recipe)
    with write_atomically(folder / CARD, replace=True) as part:
        part.write_text(card(encoder, model, recipe, data, metrics or {}), encoding="utf-8")
    return model


def start_encoder(path: Path) -> MinkUNet14D:
    """Of a model folder, or of a checkpoint in MinkowskiEngine's layout: an encoder to begin with."""
    return load_model(path, fuse=False)[0] if path.is_dir() else read_minkowski(path)


def card(
    encoder: MinkUNet14D, model: ModelConfig, recipe: DistillConfig, data: str, metrics: Mapping[str, float | str]
) -> str:
    """The model card, Markdown."""
    shape = model.encoder
    millions = sum(p.numel() for p in encoder.parameters()) / 1e6
    edge = 1000 * model.voxels.edge
    lines = [
        f"# Model card: {model.name}",
        "",
        f"A MinkUNet14D ({millions:.1f} M parameters, stem {shape.stem}, planes {', '.join(map(str, shape.planes))}, "
        f"{shape.out_channels} channels out, fp16 on disk) that maps the coloured voxels ({edge:g} mm) of one RGB-D "
        f"view to the space of the text encoder `{model.text.model}`"
        + ("; a second head points to the middle of each voxel's object" if shape.offsets else "")
        + ("; a third one says what a whole object is" if shape.objects else "")
        + ".",
        "",
        f"**Data.** {data}",
        "",
        f"**Training.** {_stages(recipe)} {_losses(recipe)} Every field is in `{RECIPE}`.",
        "",
        calibration_text(model),
        "",
        "| file | SHA-256 |",
        "| --- | --- |",
        *(f"| `{name}` | `{digest}` |" for name, digest in model.sha256.items()),
    ]
    if metrics:
        rows = (
            f"| {name} | {value:.4g} |" if isinstance(value, float) else f"| {name} | {value} |"
            for name, value in metrics.items()
        )
        lines += ["", "| measured | |", "| --- | --- |", *rows]
    return "\n".join(lines) + "\n"


def _stages(recipe: DistillConfig) -> str:
    full = f"{recipe.steps} steps" if recipe.steps else f"{recipe.epochs} passes" if recipe.epochs else ""
    partial = f"{recipe.partial_steps} steps" if recipe.partial_steps else f"{recipe.partial_epochs} passes"
    said = [f"{full} on full clouds (learning rate {recipe.base_lr:g} to {recipe.min_lr:g})"] if full else []
    if recipe.partial_steps or recipe.partial_epochs:
        rates = f"{recipe.partial_base_lr:g} to {recipe.partial_min_lr:g}"
        said.append(f"{partial} on single views (learning rate {rates})")
    return f"{', then '.join(said).capitalize()}, {recipe.batch_size} scenes a step, AdamW."


def _losses(recipe: DistillConfig) -> str:
    """The losses that were on."""
    named = {
        "cosine distance (eq. 6)": True,
        recipe.aux_loss: recipe.use_aux_loss,
        "category": recipe.use_cls_head,
        "phrases": recipe.phrase_weight > 0,
        "object middles": recipe.offset_weight > 0,
        "whole objects": recipe.object_weight > 0,
    }
    return f"Losses: {', '.join(name for name, on in named.items() if on)}."
