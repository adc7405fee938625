# SPDX-License-Identifier: Apache-2.0
"""Temperature and null similarity of a trained encoder, fitted on validation scenes.

Cosines of a small distilled encoder do not sit where CLIP's do, so the paper's constants cannot be copied. What
inference needs is the similarity above which the best object in view is more likely meant than not: a logistic
regression of "the phrase fits something in view" on the best similarity gives both numbers, since the softmax of
(similarity, null) at temperature t is the logistic function of (similarity - null) / t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from dropclip_ros.grounding.instances import similarities
from dropclip_ros.grounding.pipeline import Grounder
from dropclip_ros.networks.image import ImageTower
from dropclip_ros.networks.model_folder import ModelConfig
from dropclip_ros.networks.text import TextEncoder
from training.evaluate.questions import areas_of, fits_any, questions
from training.evaluate.served.pipeline import ServedMethod, drawn_views, single_view
from training.objects.spec import ObjectSpec
from training.objects.words.phrases import ABSENT_PHRASES
from training.scenes.scene import Scene
from training.scenes.sensor import SensorConfig


def best_similarities(
    method: ServedMethod,
    text: TextEncoder,
    scenes: list[Scene],
    specs: Sequence[ObjectSpec],
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Best similarity in view (n,) of phrases that fit something there and of absent ones; which fit (n,).

    specs: the objects of the scenes' catalogues.
    """
    of_name = {spec.name: spec for spec in specs}
    rng = np.random.default_rng(seed)
    best, fits = [], []
    for _, scene, v in drawn_views(scenes, seed, "calibrate"):
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
    return np.concatenate(best), np.concatenate(fits)


def calibrate_method(
    method: ServedMethod,
    text: TextEncoder,
    config: ModelConfig,
    scenes: list[Scene],
    specs: Sequence[ObjectSpec],
) -> ModelConfig:
    """`config` with temperature and null similarity such that a score of 0.5 means "as likely as not"."""
    best, fits = best_similarities(method, text, scenes, specs)
    fit = LogisticRegression(C=1e6, class_weight="balanced").fit(best[:, None], fits)
    slope, offset = float(fit.coef_[0, 0]), float(fit.intercept_[0])
    return replace(config, temperature=round(1 / slope, 5), null_similarity=round(-offset / slope, 5), threshold=0.5)


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
