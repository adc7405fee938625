# SPDX-License-Identifier: Apache-2.0
"""Trained networks as a folder: the published layout, safetensors with a config and SHA-256, the recipe, a card."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from dropclip_ros.base.files import sha256_of
from dropclip_ros.grasping.hggd.checkpoint import save_networks, save_tensors
from dropclip_ros.grasping.hggd.networks import HggdNetworks
from training.hggd.config import HggdTraining
from training.runs.files import write_atomically

CHECKPOINT, TENSORS, CONFIG, RECIPE, CARD = "hggd.pt", "hggd.safetensors", "config.json", "hggd.yaml", "README.md"


def export(
    folder: Path, networks: HggdNetworks, recipe: HggdTraining, data: str, metrics: Mapping[str, float] | None = None
) -> None:
    """Writes the folder, kernels in fp16; each file beside its place, then renamed, config.json last.

    data: a sentence on what it was trained on; metrics: numbers for the card, by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    half = copy.deepcopy(networks).cpu()
    for value in half.state_dict().values():  # the small vectors of batch norm keep their precision
        if value.is_floating_point() and value.ndim >= 2:
            value.copy_(value.half())
    save_networks(folder / CHECKPOINT, half)
    save_tensors(folder / TENSORS, half)
    with write_atomically(folder / RECIPE, replace=True) as part:
        part.write_text(yaml.safe_dump(plain(recipe), sort_keys=False), encoding="utf-8")
    digests = {name: sha256_of(folder / name) for name in (CHECKPOINT, TENSORS)}
    with write_atomically(folder / CARD, replace=True) as part:
        part.write_text(card(networks, recipe, data, metrics or {}, digests), encoding="utf-8")
    with write_atomically(folder / CONFIG, replace=True) as part:
        part.write_text(json.dumps({"network": plain(networks.config), "sha256": digests}, indent=2) + "\n")


def plain(config: object) -> dict:
    """A configuration as YAML and JSON have it: lists for tuples."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def card(
    networks: HggdNetworks, recipe: HggdTraining, data: str, metrics: Mapping[str, float], digests: Mapping[str, str]
) -> str:
    """The model card, Markdown."""
    shape = networks.config
    millions = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (networks.anchor, networks.local)]
    lines = [
        "# Model card: HGGD on MV-TOD",
        "",
        f"HGGD's anchor network ({millions[0]:.2f} M parameters) and local network ({millions[1]:.2f} M) for an RGB-D "
        f"view of a tabletop, scaled to {shape.width}x{shape.height}; 6-DoF grasps of a parallel gripper.",
        "",
        f"**Data.** {data}",
        "",
        f"**Training.** {recipe.steps} steps of {recipe.batch_size} frames, both networks together, AdamW, learning "
        f"rate up to {recipe.rate:g}, depth as a {recipe.sensor} gives it. Every field is in `{RECIPE}`.",
        "",
        "| file | SHA-256 |",
        "| --- | --- |",
        *(f"| `{name}` | `{digest}` |" for name, digest in digests.items()),
    ]
    if metrics:
        rows = (f"| {name} | {value:.4g} |" for name, value in metrics.items())
        lines += ["", "| measured | |", "| --- | --- |", *rows]
    return "\n".join(lines) + "\n"
