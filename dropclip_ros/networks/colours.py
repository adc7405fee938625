# SPDX-License-Identifier: Apache-2.0
"""Colours by what people call them: how much of an instance's pixels bears the colour that a phrase says.

The encoder sees colours of voxels and mixes them with what things are; a pixel says its colour by itself. A table tells
how likely each of twelve terms is for a colour (`training.names.colours` makes it of the names that people gave).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import binary_erosion, find_objects
from torch import Tensor

TERMS = (
    "black",
    "white",
    "red",
    "green",
    "blue",
    "yellow",
    "orange",
    "purple",
    "pink",
    "brown",
    "gray",
    "turquoise",
)
CALLED = {  # other words for them; what is also a thing ("gold" is none, "lemon" is one) is left out
    **{term: term for term in TERMS},
    "grey": "gray",
    "silver": "gray",
    "gold": "yellow",
    "golden": "yellow",
    "violet": "purple",
    "beige": "brown",
    "teal": "turquoise",
    "cyan": "turquoise",
    "magenta": "pink",
    "navy": "blue",
    "maroon": "red",
}
COLOURS = frozenset(CALLED)
BINS = 16  # of each channel in the table
RIM = 2  # px at the border of an instance that may show what is behind it
FEWEST = 30  # px that are enough without the rim
LEAST = 0.01  # share that is counted where a colour is not seen


def meant(phrase: str) -> list[int]:
    """The terms that a phrase says, as numbers in TERMS."""
    words = (word.strip(",.!?") for word in phrase.casefold().split())
    return [TERMS.index(CALLED[word]) for word in words if word in CALLED]


def shares(rgb: np.ndarray, labels: np.ndarray, table: Tensor) -> Tensor:
    """Share (K,12) of each term in the pixels of the instances 1..K of `labels` (H,W), in the image (H,W,3) uint8.

    table (16,16,16,12): how likely each term is for a colour. Each term is as likely where an instance does not show.
    """
    found = torch.full((int(labels.max(initial=0)), len(TERMS)), 1 / len(TERMS))
    for k, box in enumerate(find_objects(labels)):
        if box is None:
            continue
        mask = labels[box] == k + 1
        inner = binary_erosion(mask, iterations=RIM)
        pixels = torch.as_tensor(rgb[box][inner if inner.sum() >= FEWEST else mask].astype(np.int64) * BINS // 256)
        found[k] = table[tuple(pixels.T)].mean(0)
    return found


def colour_evidence(phrase: str, seen: Tensor) -> Tensor:
    """How much likelier the colours of a phrase are for each instance than for any thing, (K,) in log, from `shares`;
    0 where it says none."""
    terms = meant(phrase)
    if not terms:
        return seen.new_zeros(len(seen))
    return ((seen[:, terms] + LEAST) / (1 / len(TERMS) + LEAST)).log().mean(1)
