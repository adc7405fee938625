# SPDX-License-Identifier: Apache-2.0
"""What image models say of the fitted views: patch features and relevancy at each scale, dense features for FDA."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.networks.image import ImageTower
from training.fusion.dense import DenseFeatures, DinoV2, MaskClip, sample
from training.ovs3d.patches import PatchFeatures
from training.ovs3d.relevancy import normalised

DINO_SIDE = 224  # pixels of the image's shorter side
STAND_IN = "the image tower's own dense features, in the place of DINO's"


class Said(NamedTuple):
    """Of n pixels of a view: patch features (n,S,C), unit; relevancy (n,S,K); dense features (n,D)."""

    features: Tensor
    relevancy: Tensor
    dense: Tensor | None


@dataclass(frozen=True, eq=False)
class Guidance:
    """patches: of V views; text: unit embeddings (K,C) of the classes; dense: for each view (D,h,w), None without FDA;
    normalise: whether relevancy is stretched for each class and view; size: (H,W), pixels that are asked for."""

    patches: PatchFeatures
    text: Tensor
    dense: list[Tensor] | None
    normalise: bool
    size: tuple[int, int]

    @cached_property
    def _relevancy(self) -> list[list[Tensor]]:
        maps = [self.patches.relevancy(v, self.text) for v in range(len(self.patches.maps))]
        return [[normalised(m) if self.normalise else m for m in of_view] for of_view in maps]

    def at(self, v: int, pixels: Tensor) -> Said:
        """Of the pixels (n,2), x and y, of view `v`."""
        relevancy = [sample(of_scale[None], pixels[None], self.size)[0] for of_scale in self._relevancy[v]]
        dense = None if self.dense is None else sample(self.dense[v][None].float(), pixels[None], self.size)[0]
        return Said(self.patches.at(v, pixels, self.size), torch.stack(relevancy, dim=1), dense)


def dense_model(name: str, tower: ImageTower) -> tuple[DenseFeatures, str]:
    """The model that FDA compares places by, and what it is called.

    name: of timm, or a folder with its weights; '': the tower's own, which also stand in where those weights cannot be
    had, with a warning. MODEL_ERROR where the tower has none.
    """
    if name:
        try:
            return DinoV2(name, device=tower.device, short_side=DINO_SIDE), name
        except DropclipError as error:
            warnings.warn(f"{error.message}; until then FDA compares {STAND_IN}", stacklevel=2)
    return MaskClip(tower), STAND_IN


def embed_dense(model: DenseFeatures, images: Sequence[np.ndarray]) -> list[Tensor]:
    """Dense features (D,h,w) of images (H,W,3) uint8, fp16, on the CPU."""
    return [model.embed(image[None])[0].half().cpu() for image in images]


def warn_of_absent(patches: PatchFeatures, text: Tensor, phrases: Sequence[str], canonical: Tensor) -> list[str]:
    """The classes that no patch of any view is nearer to than to every canonical phrase (J,C): named in a warning.

    Relevancy is relative: of a class that is not there something is found all the same.
    """
    best = torch.full((len(phrases),), -torch.inf)
    for of_view in patches.maps:
        for of_scale in of_view:
            flat = of_scale.float().flatten(1).T
            margin = flat @ text.T - (flat @ canonical.T).amax(1, keepdim=True)
            best = best.maximum(margin.amax(0))
    absent = [phrase for phrase, margin in zip(phrases, best.tolist(), strict=True) if margin <= 0]
    if absent:
        what = "none of the classes is" if len(absent) == len(phrases) else f"{', '.join(absent)}: seem not to be"
        warnings.warn(
            f"{what} in any view (canonical phrases fit every patch better); what is segmented as such is "
            "only what is least unlike it",
            stacklevel=2,
        )
    return absent
