# SPDX-License-Identifier: Apache-2.0
"""What people call colours, as a table: of the 949 names of the XKCD colour survey (CC0), which matplotlib carries."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.colors import XKCD_COLORS, to_rgb
from scipy.spatial import cKDTree
from torch import Tensor

from dropclip_ros.networks.colours import BINS, CALLED, TERMS

# Words of the survey that are kinds of our terms; as words of a phrase they may be things.
KINDS_OF = {
    "turquoise": "aqua aquamarine",
    "red": "crimson scarlet burgundy",
    "brown": "tan chocolate rust sienna khaki sand coffee",
    "pink": "salmon rose fuchsia",
    "purple": "lavender lilac plum mauve indigo eggplant",
    "yellow": "mustard lemon",
    "green": "olive lime mint forest",
    "blue": "azure cerulean cobalt",
    "gray": "charcoal slate",
    "white": "cream ivory",
    "orange": "peach tangerine pumpkin",
}
NEAREST, SPREAD = 12, 4.0  # named colours that have a say, and how far they reach, in CIELAB
PLAIN = 3.0  # what a name that is only the term counts: "very light blue" is nearly white


def colour_table() -> Tensor:
    """How likely each of TERMS is for the colours at the middles of bins, (16,16,16,12) in [0, 1]."""
    points, terms = _named()
    middle = (np.arange(BINS) + 0.5) / BINS
    grid = np.stack(np.meshgrid(middle, middle, middle, indexing="ij"), -1).reshape(-1, 3)
    distance, nearest = cKDTree(points).query(cielab(grid), k=NEAREST)
    weight = np.exp(-(distance**2) / (2 * (SPREAD + distance[:, :1]) ** 2))
    likely = (weight[..., None] * terms[nearest]).sum(1)
    likely /= likely.sum(1, keepdims=True)
    return torch.tensor(likely.reshape(BINS, BINS, BINS, len(TERMS)), dtype=torch.float32)


def _named() -> tuple[np.ndarray, np.ndarray]:
    """Named colours (n,3) in CIELAB, and what they say of the terms (n,12). The last word counts twice: "bluish green"
    is green."""
    called = CALLED | {word: term for term, words in KINDS_OF.items() for word in words.split()}
    called |= {f"{term}ish": term for term in TERMS} | {"reddish": "red", "purply": "purple"}
    points, rows = [], []
    for name, colour in XKCD_COLORS.items():
        words = name.removeprefix("xkcd:").replace("/", " ").split()
        said = [called[word] for word in words if word in called]
        if said:
            points.append(to_rgb(colour))
            row = np.array([said[:-1].count(term) + 2 * (said[-1] == term) for term in TERMS], float)
            rows.append(row / row.sum() * (PLAIN if len(words) == 1 else 1))
    return cielab(np.array(points)), np.array(rows)


def cielab(rgb: np.ndarray) -> np.ndarray:
    """sRGB (...,3) in [0, 1] to CIELAB under D65."""
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    to_xyz = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])
    xyz = linear @ to_xyz.T / (0.9505, 1.0, 1.0888)
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)
