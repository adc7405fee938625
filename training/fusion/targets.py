# SPDX-License-Identifier: Apache-2.0
"""What the student is to say of each object of each scene: fused features from disk, or fused from those of views."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import save_file
from tqdm import tqdm

from dropclip_ros.base.reading import parse_json, read_about, read_tensors
from dropclip_ros.networks.image import ImageConfig
from training.fusion.fuse import Weighting, fuse_objects
from training.fusion.phrase_features import Vocabulary
from training.fusion.view_features import load_view_features
from training.fusion.weights import PromptConfig, ScenePrompts
from training.objects.catalogue import catalogue_of
from training.runs.errors import InputError
from training.runs.files import write_atomically
from training.runs.jobs import RECIPE_FILE, read_recipe
from training.scenes.scene import Scene


class Targets(Protocol):
    """What a scene's objects are to be mapped to: mask labels and, in the same order, unit rows (K,C)."""

    labels: list[int]
    features: torch.Tensor


@dataclass
class ObjectTargets:
    """Mask labels and unit rows (K,C) of a scene's objects."""

    labels: list[int]
    features: torch.Tensor


def save_fused(path: Path, scenes: Sequence[Scene], fused: Sequence[Targets], tower: ImageConfig | None = None) -> None:
    """Features of each scene under its folder's name; labels in the metadata, and the tower that they are of, so that
    what is trained on them is exported with its text tower."""
    labels = {scene.name: f.labels for scene, f in zip(scenes, fused, strict=True)}
    tensors = {scene.name: f.features.contiguous() for scene, f in zip(scenes, fused, strict=True)}
    with write_atomically(path, replace=True) as part:
        made_by = {"tower": json.dumps(asdict(tower))} if tower else {}
        save_file(tensors, part, metadata={"labels": json.dumps(labels)} | made_by)


def load_fused(path: Path, scenes: Sequence[Scene]) -> list[ObjectTargets]:
    """What `save_fused` wrote, for `scenes`. InputError where it cannot be read or lacks one of them."""
    try:
        labels, found = dict(parse_json(read_about(path)["labels"])), read_tensors(path)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} holds no fused features ({error}); fuse them again") from error
    missing = [scene.name for scene in scenes if scene.name not in found or scene.name not in labels]
    if missing:
        raise InputError(
            f"{path} lacks {len(missing)} of the scenes, {missing[0]} first; fuse the features of all of them"
        )
    return [ObjectTargets(labels[scene.name], found[scene.name].float()) for scene in scenes]


def tower_of_features(fused: Path) -> ImageConfig | None:
    """The image tower whose features `dropclip-fuse` wrote into a folder, or that a file of fused ones was made with,
    None where the file does not say. InputError where it is neither."""
    if not fused.is_dir():
        return _tower_of_file(fused)
    folder, recipe = fused, read_recipe(fused)
    try:
        return ImageConfig(**recipe["tower"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / RECIPE_FILE} is none of dropclip-fuse ({error}); run dropclip-fuse") from error


def _tower_of_file(path: Path) -> ImageConfig | None:
    try:
        said = read_about(path).get("tower")
        return ImageConfig(**parse_json(said)) if said else None
    except (OSError, TypeError, ValueError) as error:
        raise InputError(f"{path} holds no fused features ({error}); fuse them again") from error


def fuse_views(
    folder: Path,
    scenes: Sequence[Scene],
    prompts: ScenePrompts,
    weighting: Weighting = Weighting(),
    config: PromptConfig = PromptConfig(),
) -> list[ObjectTargets]:
    """Equation 5 for `scenes`, of the features of their views in a folder of `dropclip-fuse`; by default weighted by
    informativeness alone, as the paper's best (table 2). InputError where one lacks or they are of other scenes."""
    found = []
    for scene in tqdm(scenes, "fusion", unit="scene", mininterval=1):
        seen = load_view_features(folder, scene)
        if strange := sorted(set(seen.labels.tolist()) - set(scene.objects)):
            raise InputError(
                f"{folder} has features of an object {strange[0]} that {scene.name} does not have: they "
                "are of other scenes; run dropclip-fuse on these"
            )
        try:
            asked = prompts.of(scene, config)
            fused = fuse_objects(seen.features.float(), seen.labels, asked, seen.pixels, weighting, config.operator)
        except KeyError as error:
            raise InputError(
                f"{scene.name} shows {error}, which its catalogue lacks; give the catalogue it was made "
                "of, or fused features"
            ) from error
        found.append(ObjectTargets(fused.labels, fused.features))
    return found


def targets_of(fused: Path, folder: Path, scenes: Sequence[Scene], words: Vocabulary | None) -> list[ObjectTargets]:
    """Of a file of fused features, or fused from those of views in a folder; the scenes are those of `folder`."""
    if not fused.is_dir():
        return load_fused(fused, scenes)
    if words is None:
        raise InputError(f"{fused} is a folder: expected a file, as --fused is; or give a folder there too")
    return fuse_views(fused, scenes, ScenePrompts(catalogue_of(folder).specs, words))
