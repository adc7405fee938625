# SPDX-License-Identifier: Apache-2.0
"""Temperature, null similarity and threshold of a trained encoder, fitted on validation scenes.

Cosines of a small distilled encoder do not sit where CLIP's do, so the paper's constants cannot be copied. What the
inference needs is the cosine above which a voxel is more likely meant than not: a logistic regression of "is this
voxel one of the objects that the phrase fits" on its cosine gives both numbers, since softmax over (cosine, null) at
temperature t is the logistic function of (cosine - null) / t.
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


def object_cosines(grounder: Grounder, scenes: list[Scene], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Mean cosine of each (visible object, phrase) pair, and whether the phrase fits the object."""
    specs = {spec.name: spec for spec in catalogue()}
    rng = np.random.default_rng(seed)
    cosines, fits = [], []
    for scene, view, encoded in encoded_views(grounder, scenes, seed):
        labels = view.mask.ravel()[encoded.pixels]
        asked = questions(scene, view, specs, "training", rng, absent=0)
        absent = list(rng.choice(ABSENT_PHRASES["calibration"], 8, replace=False))
        text = grounder.text.encode([q.phrase for q in asked] + absent).to(encoded.features.device)
        similarity = similarities(encoded.instance_features, text, grounder.text.mean_object).cpu().numpy()
        similarity = similarity[grounder.instances(encoded) - 1]
        for label in np.intersect1d(labels, list(scene.objects)):
            cosines.append(similarity[labels == label].mean(0))
            fits.append([label in q.labels for q in asked] + [False] * len(absent))
    return np.concatenate(cosines), np.concatenate(fits)


def calibrate(encoder: torch.nn.Module, text: TextEncoder, config: ModelConfig, scenes: list[Scene]) -> ModelConfig:
    """`config` with temperature and null similarity such that a score of 0.5 means "as likely as not"."""
    cosines, fits = object_cosines(Grounder(encoder, text, config), scenes)
    fit = LogisticRegression(C=1e6, class_weight="balanced").fit(cosines[:, None], fits)
    slope, offset = float(fit.coef_[0, 0]), float(fit.intercept_[0])
    print(f"calibration: {len(fits)} pairs; temperature {1 / slope:.4f}, null {-offset / slope:.4f}")
    return replace(config, temperature=round(1 / slope, 5), null_similarity=round(-offset / slope, 5), threshold=0.5)
