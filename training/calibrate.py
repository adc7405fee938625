# SPDX-License-Identifier: Apache-2.0
"""Temperature and null similarity of a trained encoder, fitted on validation scenes.

Cosines of a small distilled encoder do not sit where CLIP's do, so the paper's constants cannot be copied. What
inference needs is the similarity above which the best object in view is more likely meant than not: a logistic
regression of "the phrase fits something in view" on the best similarity gives both numbers, since the softmax of
(similarity, null) at temperature t is the logistic function of (similarity - null) / t.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from dropclip_ros.grounding import similarities
from dropclip_ros.pipeline import Grounder
from dropclip_ros.text import TextEncoder
from dropclip_ros.weights import ModelConfig
from training.evaluate import encoded_views, questions
from training.objects import catalogue
from training.phrases import ABSENT_PHRASES
from training.scenes import Scene


def best_similarities(grounder: Grounder, scenes: list[Scene], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Best similarity in view (n,) of phrases that fit something there and of absent ones; which fit (n,)."""
    specs = {spec.name: spec for spec in catalogue()}
    rng = np.random.default_rng(seed)
    best, fits = [], []
    for scene, view, encoded in encoded_views(grounder, scenes, seed):
        asked = [question.phrase for question in questions(scene, view, specs, "training", rng, absent=0)]
        absent = [str(phrase) for phrase in rng.choice(ABSENT_PHRASES["calibration"], 8, replace=False)]
        text = grounder.text.encode(asked + absent).to(encoded.features.device)
        similarity = similarities(encoded.instance_features, text, grounder.text.mean_object)
        best.append(similarity.max(dim=0).values.cpu().numpy())
        fits.append([True] * len(asked) + [False] * len(absent))
    return np.concatenate(best), np.concatenate(fits)


def calibrate(encoder: torch.nn.Module, text: TextEncoder, config: ModelConfig, scenes: list[Scene]) -> ModelConfig:
    """`config` with temperature and null similarity such that a score of 0.5 means "as likely as not"."""
    best, fits = best_similarities(Grounder(encoder, text, config), scenes)
    fit = LogisticRegression(C=1e6, class_weight="balanced").fit(best[:, None], fits)
    slope, offset = float(fit.coef_[0, 0]), float(fit.intercept_[0])
    print(f"calibration: {len(fits)} phrases; temperature {1 / slope:.4f}, null {-offset / slope:.4f}")
    return replace(config, temperature=round(1 / slope, 5), null_similarity=round(-offset / slope, 5), threshold=0.5)
