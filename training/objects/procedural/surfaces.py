# SPDX-License-Identifier: Apache-2.0
"""Random textures of table tops and floors (A.1.1, data augmentation)."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, zoom


def _noise(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Smooth noise (size, size) in [0, 1] with about `cells` bumps across."""
    coarse = rng.uniform(size=(cells + 1, cells + 1))
    return zoom(coarse, size / (cells + 1), order=1)[:size, :size]


def random_surface(rng: np.random.Generator, size: int = 256) -> np.ndarray:
    """A plain, wooden, speckled, checked or cloth-like texture, (size, size, 3) uint8."""
    kind = rng.choice(["plain", "wood", "speckle", "check", "cloth"], p=[0.35, 0.25, 0.2, 0.1, 0.1])
    value, tint = rng.uniform(70, 225), rng.normal(0, 1, 3) * rng.choice([4, 30], p=[0.6, 0.4])
    base = np.clip(value + tint, 25, 240)
    other = np.clip(base + rng.uniform(-60, 60) + rng.normal(0, 10, 3), 15, 250)
    y, x = np.mgrid[0:size, 0:size] / size
    if kind == "wood":
        base = np.clip(np.array([150, 105, 65]) * rng.uniform(0.5, 1.4), 20, 240)
        other = base * rng.uniform(0.6, 0.85)
        rings = x * rng.uniform(4, 12) + 0.8 * _noise(rng, size, 4) + 0.1 * _noise(rng, size, 40)
        blend = 0.5 + 0.5 * np.sin(2 * np.pi * rings)
    elif kind == "check":
        cells = rng.integers(3, 10)
        blend = ((np.floor(x * cells) + np.floor(y * cells)) % 2).astype(float)
    elif kind == "cloth":
        threads = rng.integers(24, 60)
        blend = 0.5 + 0.25 * (np.sin(2 * np.pi * x * threads) + np.sin(2 * np.pi * y * threads))
    elif kind == "speckle":
        blend = gaussian_filter(rng.uniform(size=(size, size)), rng.uniform(0.6, 2.5), mode="wrap")
        blend = np.clip((blend - blend.mean()) / (4 * blend.std()) + 0.5, 0, 1)
    else:
        blend = 0.3 * _noise(rng, size, 3)
    pixels = base + blend[..., None] * (other - base) + rng.normal(0, 2.0, (size, size, 1))
    return np.clip(pixels, 0, 255).astype(np.uint8)
