# SPDX-License-Identifier: Apache-2.0
"""Colours that stay apart: from each other, from what they mark, and from amber, which says doubt."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

AMBER = (0.749, 0.435, 0.0)  # of what should be confirmed before a hand moves
_FROM_AMBER = 0.12  # in OKLab, which goes from 0 to 1
_OWN = 0.5  # what is marked counts more than other marks: it is always beside its own

_CONES = np.array(
    [
        [0.4122214708, 0.2119034982, 0.0883024619],
        [0.5363325363, 0.6806995451, 0.2817188376],
        [0.0514459929, 0.1073969566, 0.6299787005],
    ]
)
_LAB = np.array(
    [
        [0.2104542553, 1.9779984951, 0.0259040371],
        [0.7936177850, -2.4285922050, 0.7827717662],
        [-0.0040720468, 0.4505937099, -0.8086757660],
    ]
)


def oklab(rgb: np.ndarray) -> np.ndarray:
    """sRGB (..., 3) in [0, 1] in OKLab (Ottosson 2020), where distances are those that people see."""
    rgb = np.asarray(rgb, dtype=np.float64)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ _CONES) @ _LAB


@cache
def _candidates() -> np.ndarray:
    """(n, 3) vivid colours, none of them like amber."""
    from matplotlib.colors import hsv_to_rgb

    grid = [(hue / 24, s, v) for hue in range(24) for s, v in ((0.9, 1.0), (0.5, 1.0), (0.9, 0.6))]
    colours = hsv_to_rgb(np.array(grid))
    return colours[np.linalg.norm(oklab(colours) - oklab(np.array(AMBER)), axis=1) > _FROM_AMBER]


def distinct_colours(count: int, avoid: Sequence[np.ndarray] = ()) -> np.ndarray:
    """(count, 3) sRGB in [0, 1], each as far as can be from those before it and from avoid[i] (n, 3), the colours of
    what it marks. The same for the same arguments."""
    candidates = _candidates()
    places = oklab(candidates)
    chosen = np.zeros(count, dtype=np.int64)
    apart = np.full(len(places), np.inf)  # of each candidate, from the colours that are taken
    for i in range(count):
        own = np.full(len(places), np.inf)
        if i < len(avoid) and len(avoid[i]):
            own = _OWN * np.linalg.norm(places[:, None] - oklab(avoid[i])[None], axis=-1).min(1)
        chosen[i] = np.minimum(apart, own).argmax()
        apart = np.minimum(apart, np.linalg.norm(places - places[chosen[i]], axis=1))
        if not apart.max() > 0:
            apart[:] = np.inf  # all are taken: begin again
    return candidates[chosen]


def main_colours(rgb: np.ndarray, mask: np.ndarray, count: int = 4) -> np.ndarray:
    """Up to `count` colours (n, 3) in [0, 1] that stand for what an image (H, W, 3) uint8 shows within mask (H, W): the
    means of its most frequent coarse colours."""
    seen = rgb[mask]
    coarse, which, counts = np.unique(seen // 64, axis=0, return_inverse=True, return_counts=True)
    which = which.reshape(-1)
    means = np.stack([np.bincount(which, seen[:, k], len(coarse)) for k in range(3)], 1) / counts[:, None]
    return means[np.argsort(-counts, kind="stable")[:count]] / 255
