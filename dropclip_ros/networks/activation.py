# SPDX-License-Identifier: Apache-2.0
"""With which activation a CLIP tells ten drawn pictures apart: for weights that do not say how they were trained."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import nn
from torch.nn.functional import normalize

from dropclip_ros.networks.clip import ACTIVATIONS, Clip
from dropclip_ros.networks.image import to_images

HUES = {"red": 0.0, "yellow": 0.16, "green": 0.33, "blue": 0.62, "purple": 0.78}
SHAPES = ("circle", "square")
MARGIN = 0.1  # deviations that are no chance: random weights differ by a twentieth of one


def drawn_pictures(size: int) -> tuple[np.ndarray, list[str]]:
    """Ten pictures (10,S,S,3) uint8, five colours of two shapes on grey, and what they show."""
    pictures, captions = [], []
    for color, hue in HUES.items():
        for shape in SHAPES:
            image = Image.new("RGB", (size, size), (200, 200, 200))
            fill = tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, 1, 0.85))
            draw, box = ImageDraw.Draw(image), (size // 5, size // 5, size - size // 5, size - size // 5)
            (draw.ellipse if shape == "circle" else draw.rectangle)(box, fill=fill)
            pictures.append(np.asarray(image))
            captions.append(f"a photo of a {color} {shape}")
    return np.stack(pictures), captions


@torch.inference_mode()
def separation(clip: Clip) -> float:
    """How far a picture's own caption stands out of the ten, in deviations of their cosines; 0 is chance."""
    visual = clip.model.visual
    size = visual.image_size[0] if isinstance(visual.image_size, tuple) else visual.image_size
    pictures, captions = drawn_pictures(size)
    device = next(clip.model.parameters()).device
    images = to_images(pictures, None, visual.image_mean, visual.image_std).to(device)
    said = normalize(clip.model.encode_text(clip.tokenizer(captions).to(device)), dim=-1)
    cosine = normalize(visual(images), dim=-1) @ said.T
    own = (cosine.diagonal() - cosine.mean(1)) / cosine.std(1).clamp(min=1e-9)
    return float(own.mean())


@contextmanager
def other_activation(model: nn.Module) -> Iterator[None]:
    """The model with every GELU a QuickGELU and the other way round, meanwhile."""
    from open_clip.transformer import QuickGELU

    places = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.GELU | QuickGELU)
    ]
    for parent, name, child in places:
        setattr(parent, name, QuickGELU() if isinstance(child, nn.GELU) else nn.GELU())
    try:
        yield
    finally:
        for parent, name, child in places:
            setattr(parent, name, child)


def doubt(clip: Clip, computes: str) -> str | None:
    """A warning where the other activation than the one it `computes` with separates the ten pictures better."""
    own = separation(clip)
    with other_activation(clip.model):
        other = separation(clip)
    if other <= own + MARGIN:
        return None
    better = ACTIVATIONS[1 - ACTIVATIONS.index(computes)]
    return (
        f"with {better} this model tells ten drawn pictures apart better ({other:.2f} deviations) than with {computes} "
        f"({own:.2f}); check what its weights were trained with"
    )
