# SPDX-License-Identifier: Apache-2.0
"""Relevancy maps of 3D-OVS: how near each place of an image is to each class, normalised per class and view.

A CLIP-like model prefers some phrases everywhere; stretched to one range, a class is compared with itself elsewhere in
the view before it is compared with other classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.networks.text import clean_phrase

LEAST_CLASSES = 2


def class_phrases(names: Sequence[str]) -> list[str]:
    """The phrases of a scene's classes, cleaned. BAD_REQUEST where there are fewer than two, or two are the same."""
    phrases = [clean_phrase(name, "name of a class") for name in names]
    if len(phrases) < LEAST_CLASSES:
        what = "no class" if not phrases else f"only one class, {phrases[0]!r}"
        raise DropclipError(
            Status.BAD_REQUEST,
            f"{what}: expected at least {LEAST_CLASSES}, for a place is given the class that fits it better than the "
            "others; name what is in the scene, the table among it",
        )
    seen: dict[str, str] = {}
    for phrase in phrases:
        if (other := seen.setdefault(phrase.casefold(), phrase)) is not phrase:
            raise DropclipError(Status.BAD_REQUEST, f"the class {other!r} is given twice; give each class once")
    return phrases


def normalised(relevancy: Tensor) -> Tensor:
    """Relevancy (...,K,h,w) of K classes in views, stretched to [0, 1] for each class of each view (and scale).

    A class that is equally near to all of a view says nothing there: 0.
    """
    low, high = relevancy.amin((-2, -1), keepdim=True), relevancy.amax((-2, -1), keepdim=True)
    return torch.where(high > low, (relevancy - low) / (high - low).clamp(min=1e-12), 0.0)


def class_distribution(relevancy: Tensor, temperature: float) -> Tensor:
    """Logarithm of the class distribution (...,K): softmax of relevancy (...,K) over `temperature`."""
    return torch.log_softmax(relevancy / temperature, dim=-1)
