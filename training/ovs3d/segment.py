# SPDX-License-Identifier: Apache-2.0
"""From views and class phrases to what guides the semantic stage, and from its result to classes of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dropclip_ros.grounding.pipeline import MODEL_FOLDER
from dropclip_ros.networks.image import ImageConfig, ImageTower
from dropclip_ros.networks.model_folder import ADAPTER, load_config
from dropclip_ros.networks.text import TextConfig, TextEncoder
from training.fusion.features import ObjectFeatures
from training.fusion.run import digest, tower_of
from training.objects.words.phrases import CANONICAL_NEGATIVES
from training.ovs3d.config import SemanticConfig
from training.ovs3d.guidance import Guidance, dense_model, embed_dense, warn_of_absent
from training.ovs3d.patches import load_or_embed
from training.ovs3d.relevancy import class_phrases
from training.ovs3d.semantic import Segmentation
from training.ovs3d.views import PosedViews, subset

SEEN = 0.5  # opacity under which a ray has no class


@dataclass(frozen=True)
class Towers:
    """An image tower, the text tower of the same space, and the digest of the image tower's weights."""

    image: ImageTower
    text: TextEncoder
    digest: str | None


def load_towers(
    model: Path | None = None, tower: str | None = None, pretrained: str | None = None, device: str = "cpu"
) -> Towers:
    """Those of a model folder (the shipped one by default), or of `tower`, any model of open_clip with `pretrained`
    weights (a tag or a file). MODEL_ERROR where they cannot be had."""
    if tower is not None:
        image = ImageConfig(model=tower, pretrained=pretrained)
        text = TextEncoder(TextConfig(model=tower, pretrained=pretrained), device)
        return Towers(ImageTower(image, Path(), device), text, digest(image, Path()))
    folder = model or MODEL_FOLDER
    config, weights = tower_of(folder)
    text = TextEncoder(load_config(folder).text, device, adapter=folder / ADAPTER)
    return Towers(ImageTower(config, weights, device), text, digest(config, weights))


def guide(
    towers: Towers,
    sharp: PosedViews,
    phrases: list[str],
    config: SemanticConfig,
    size: tuple[int, int],
    cache: Path | None = None,
) -> Guidance:
    """What the towers say of the views that are not held out; classes that no patch shows are named in a warning.

    sharp: the views as wide as they are had: patches of shrunk ones are blurred. size: (H,W) of those that the field
    was fitted to. cache: file for the patches' features. Raises BAD_REQUEST or MODEL_ERROR.
    """
    phrases = class_phrases(phrases)
    fitted = subset(sharp, np.flatnonzero(~sharp.held_out))
    names, images = fitted.names, fitted.images
    extractor = ObjectFeatures(towers.image)
    patches = load_or_embed(cache, names, images, extractor, towers.digest, config.sides, config.overlap)
    text = towers.text.encode(phrases).cpu()
    warn_of_absent(patches, text, phrases, towers.text.encode(CANONICAL_NEGATIVES).cpu())
    dense = None
    if config.fda:
        model, called = dense_model(config.dino, towers.image)
        print(f"FDA compares {called}")
        dense = embed_dense(model, images)
    return Guidance(patches, text, dense, config.normalise, size)


@torch.no_grad()
def class_map(found: Segmentation, views: PosedViews, v: int) -> tuple[np.ndarray, np.ndarray]:
    """Of view `v` the class distribution of each pixel, (H,W,K), and whether it shows anything, (H,W) bool."""
    device = found.field.bounds.device
    features, opacity = found.rendered(*(part.to(device) for part in views.rays(v)))
    width, height = views.size
    distribution = found.probabilities(features).view(height, width, -1)
    return distribution.cpu().numpy(), (opacity > SEEN).view(height, width).cpu().numpy()
