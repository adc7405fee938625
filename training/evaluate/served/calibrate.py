# SPDX-License-Identifier: Apache-2.0
"""Temperature and null similarity of a model, fitted on rendered validation scenes: `dropclip calibrate --scenes`.

Cosines of a small distilled encoder do not sit where CLIP's do, so the paper's constants cannot be copied. What
inference needs is the similarity above which the best object in view is more likely meant than not
(`dropclip_ros.grounding.calibration`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import tyro

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.commands.calibrate import write_calibration
from dropclip_ros.grounding.calibration import fit, fit_frames
from dropclip_ros.grounding.pipeline import Grounder
from dropclip_ros.grounding.scoring import similarities
from dropclip_ros.networks.image import ImageTower
from dropclip_ros.networks.model_folder import ModelConfig
from dropclip_ros.networks.text import TextEncoder
from training.evaluate.questions import areas_of, fits_any, questions
from training.evaluate.served.pipeline import ServedMethod, drawn_views, single_view
from training.objects.catalogue import catalogue_of
from training.objects.spec import ObjectSpec
from training.objects.words.phrases import ABSENT_PHRASES
from training.runs.errors import InputError
from training.scenes.scene import Scene
from training.scenes.sensor import SensorConfig
from training.scenes.shards import load_scenes


def best_similarities(
    method: ServedMethod,
    text: TextEncoder,
    scenes: list[Scene],
    specs: Sequence[ObjectSpec],
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best similarity in view (n,) of phrases that fit something there and of absent ones; which fit (n,) and the
    number of the scene (n,) of each.

    specs: the objects of the scenes' catalogues.
    """
    of_name = {spec.name: spec for spec in specs}
    rng = np.random.default_rng(seed)
    best, fits, owner = [], [], []
    for s, scene, v in drawn_views(scenes, seed, "calibrate"):
        features = method(scene, v).features
        if not len(features):
            continue
        areas = areas_of(scene.view(v).mask)
        asked = [question.phrase for question in questions(scene, areas, of_name, "training", rng, absent=0)]
        here = [of_name[entry["name"]] for entry in scene.objects.values()]
        drawn = rng.choice(ABSENT_PHRASES["calibration"], 8, replace=False)
        absent = [str(phrase) for phrase in drawn if not fits_any(phrase, here)]  # another catalogue may have it
        similarity = similarities(features, text.encode(asked + absent).to(features.device), text.mean_object)
        best.append(similarity.max(dim=0).values.cpu().numpy())
        fits.append([True] * len(asked) + [False] * len(absent))
        owner.append([s] * len(fits[-1]))
    if not best:
        raise InputError("no scene shows anything that the model finds; give others to calibrate on")
    return np.concatenate(best), np.concatenate(fits), np.concatenate(owner)


def calibrate_method(
    method: ServedMethod,
    text: TextEncoder,
    config: ModelConfig,
    scenes: list[Scene],
    specs: Sequence[ObjectSpec],
) -> ModelConfig:
    """`config` with temperature and null similarity such that a score of 0.5 means "as likely as not"."""
    best, fits, _ = best_similarities(method, text, scenes, specs)
    temperature, null = fit(best, fits)
    return replace(config, temperature=round(temperature, 5), null_similarity=round(null, 5), threshold=0.5)


def calibrate(
    encoder: torch.nn.Module,
    text: TextEncoder,
    config: ModelConfig,
    scenes: list[Scene],
    specs: Sequence[ObjectSpec],
    image: ImageTower | None = None,
    sensor: SensorConfig | None = None,
) -> ModelConfig:
    """The same for the whole path with a trained encoder; with `image`, for its mixed cosines too. sensor: whose depth
    the views have."""
    config = calibrate_method(single_view(Grounder(encoder, text, config), sensor), text, config, scenes, specs)
    print(f"calibration: temperature {config.temperature:.4f}, null {config.null_similarity:.4f}")
    if image is not None:
        seen = single_view(Grounder(encoder, text, config, image=image), sensor)
        mixed = calibrate_method(seen, text, config, scenes, specs)
        print(f"with the image: temperature {mixed.temperature:.4f}, null {mixed.null_similarity:.4f}")
        tuned = replace(image.config, temperature=mixed.temperature, null_similarity=mixed.null_similarity)
        config = replace(config, image=tuned)
    return config


def calibrate_folder(
    model: Path,
    scenes: Path,
    refuse: float | None = None,
    image: bool = False,
    device: str = "auto",
    limit: int | None = None,
) -> None:
    """Measures what a model folder's scores are worth, and writes it into its config.json and card.

    Args:
        model: the folder.
        scenes: rendered scenes that it did not learn from, of dropclip-mvtod.
        refuse: share of absent phrases that the threshold refuses; default: a threshold of 0.5.
        image: of encoder and image tower together.
        device: auto, cpu, cuda or cuda:N.
        limit: scenes that are used; all by default.
    """
    grounder = Grounder.from_pretrained(model, device, image=image)
    found, specs = load_scenes(scenes)[:limit], catalogue_of(scenes).specs
    answers = best_similarities(single_view(grounder), grounder.text, found, specs=specs)
    write_calibration(model, fit_frames(*answers, refuse), image)


def main() -> None:
    try:
        tyro.cli(calibrate_folder, prog="dropclip calibrate", description=__doc__)
    except (InputError, DropclipError) as error:
        print(f"dropclip calibrate: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
