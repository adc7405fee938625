# SPDX-License-Identifier: Apache-2.0
"""Features of an object from its views (section 3.2, eq. 3 to 5): each by what it shows, or by what it tells."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from dropclip_ros.networks.names import Seen

_CLEAN = 2.0  # power of purity and completeness: a view that mixes two objects says little of either


def informativeness(features: Tensor, positive: Tensor, negatives: Tensor, operator: str = "max") -> Tensor:
    """G (of points: eq. 3, of objects: eq. 4): how much nearer a view's feature is to the object's own prompt than to
    others', clipped at 0.

    features (...,C), positive (C,), negatives (K,C), all unit rows; returns (...). Without negatives nothing can be
    confused and every view weighs its similarity.
    """
    gain = features @ positive
    if len(negatives):
        others = features @ negatives.T
        gain = gain - (others.amax(-1) if operator == "max" else others.mean(-1))
    return gain.clamp(min=0)


def fuse(features: Tensor, visible: Tensor, phrases: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Eq. 5: the mean of an object's views (V,C) by their weights, unit (C,); and the weights (V,), which sum to 1.

    visible (V,): Lambda, how much of the object each view shows. phrases (P,C): unit embeddings of what may be on the
    table, where that is known: views then weigh by their informativeness (eq. 4), the object's own phrase being the one
    that is nearest to it; where no view is informative, and without phrases, by what they show.
    """
    weight = visible / visible.sum().clamp(min=1e-9)
    fused = normalize((weight[:, None] * features).sum(0), dim=0)
    if phrases is None or not len(phrases):
        return fused, weight
    own = int((phrases @ fused).argmax())
    others = torch.cat([phrases[:own], phrases[own + 1 :]])
    gain = informativeness(normalize(features, dim=-1), phrases[own], others)
    if gain.sum() <= 0:
        return fused, weight
    weight = gain / gain.sum()
    return normalize((weight[:, None] * features).sum(0), dim=0), weight


@dataclass(frozen=True, eq=False)
class ObjectView:
    """One view of an object. feature (C,); visible: voxels shown, less where the view mixes it with others; direction
    (3,), unit, from the object to the camera; keyframe: number of the picture, instance: of the object in it, 1.."""

    feature: Tensor
    visible: float
    direction: np.ndarray
    stamp: float
    keyframe: int
    instance: int


@dataclass(eq=False)
class MapObject:
    """An object of the map. id lasts; confidence in [0, 1]; first, last: s, when it was seen; centre (3,) m, colour
    (3,) in [0, 1] and count of its voxels; gone: frames in a row that saw through it."""

    id: int
    confidence: float
    first: float
    last: float
    views: list[ObjectView] = field(default_factory=list)
    centre: np.ndarray = field(default_factory=lambda: np.zeros(3))
    color: np.ndarray = field(default_factory=lambda: np.zeros(3))
    count: int = 0
    gone: int = 0

    @property
    def feature(self) -> Tensor | None:
        """Of all its views by what they show (C,), unit; None before the first."""
        return self.fused()[0] if self.views else None

    def fused(self, phrases: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`fuse` of its views."""
        return fuse(
            torch.stack([view.feature for view in self.views]),
            torch.tensor([view.visible for view in self.views]),
            phrases,
        )

    def looked_at(self, view: ObjectView, apart: float, most: int) -> bool:
        """Keeps a view where none from about there (`apart` degrees) shows more; at most `most`. Whether it did."""
        near = [old for old in self.views if old.direction @ view.direction > np.cos(np.radians(apart))]
        if any(old.visible > 0.9 * view.visible for old in near):
            return False
        self.views = [old for old in self.views if not any(old is other for other in near)] + [view]
        if len(self.views) > most:
            self.views.remove(min(self.views, key=lambda one: one.visible))
        return any(one is view for one in self.views)


def shown_share(count: float, purity: float, completeness: float) -> float:
    """Lambda of a view: the voxels it shows of an object, less where its instance is not just that object."""
    return float(count * (purity * completeness) ** _CLEAN)


@dataclass(eq=False)
class Keyframe:
    """A picture that views point to. rgb (H,W,3) uint8; shown (H,W) uint16, the instances; seen, words: once looked
    at and read."""

    rgb: np.ndarray
    shown: np.ndarray
    seen: Seen | None = None
    words: list | None = None
