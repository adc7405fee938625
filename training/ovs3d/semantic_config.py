# SPDX-License-Identifier: Apache-2.0
"""What the semantic stage can be told. The defaults are the published system's; `small.yaml` is for two cores."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class SemanticConfig:
    """Patches, what is learnt from them, and by which losses. The four switches are what the paper takes away."""

    selection: bool = True
    """Whether each 3D point chooses among the scales; else all count alike."""
    normalise: bool = True
    """Whether relevancy is stretched to one range for each class and view (for RDA)."""
    rda: bool = True
    """Relevancy-distribution alignment."""
    fda: bool = True
    """Feature-distribution alignment."""
    sides: tuple[float, ...] = (1 / 5, 1 / 7, 1 / 10)
    """Sides of the patches, shares of the image's shorter side."""
    overlap: int = 4
    """Patches lie their side over this apart."""
    dino: str = "vit_base_patch8_224.dino"
    """Model of timm, or its folder, whose features FDA compares; '': the image tower's own."""
    temperature: float = 0.2
    """Of class distributions."""
    rda_weight: float = 1.0
    fda_positive: float = 200.0
    """Weight of what pulls like places together."""
    fda_negative: float = 0.2
    """Weight of what pushes unlike places apart."""
    fda_shift: float = 0.7
    """Cosine of features from which places are alike."""
    resolution: int = 128
    """Knots of both volumes along each axis."""
    selection_ranks: tuple[int, int, int] = (16, 4, 4)
    """Components of the selection volume in the planes xy, xz, yz."""
    feature_ranks: tuple[int, int, int] = (48, 12, 12)
    """Components of the feature volume."""
    feature_channels: int = 64
    """Channels that are rendered before they are mapped to the image tower's space."""
    steps: int = 15000
    joint_at: int = 5000
    """Step from which colour is learnt on along with the features."""
    views: int = 8
    """Views of a step."""
    pixels: int = 512
    """Pixels of each of them; FDA compares all pairs."""
    pool: int = 0
    """Pixels of each view that are drawn from; 0: all. Their rays are marched once: density stays as it is."""
    grid_lr: float = 0.02
    net_lr: float = 0.001
    colour_grid_lr: float = 5e-3
    """Of the colour's planes and lines, once it is learnt on."""
    colour_net_lr: float = 5e-5
    final_lr: float = 0.1
    """What learning rates have fallen to at the end, as a share."""
    save_every: int = 500
    """Steps between checkpoints."""
    seed: int = 0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            for number in value if isinstance(value, tuple) else (value,):
                if isinstance(number, int | float) and not math.isfinite(number):
                    raise ValueError(f"semantic.{field.name} {value}: expected finite numbers")
        if not self.sides or any(not 0 < side <= 1 for side in self.sides):
            raise ValueError(f"semantic.sides {self.sides}: expected one or more shares in (0, 1]")
        for name in ("overlap", "feature_channels", "steps", "views", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"semantic.{name} {getattr(self, name)}: expected at least 1")
        for name in ("rda_weight", "fda_positive", "fda_negative", "joint_at", "pool", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"semantic.{name} {getattr(self, name)}: expected at least 0")
        for name in ("temperature", "grid_lr", "net_lr", "colour_grid_lr", "colour_net_lr", "final_lr"):
            if not getattr(self, name) > 0:
                raise ValueError(f"semantic.{name} {getattr(self, name)}: expected more than 0")
        if not -1 < self.fda_shift < 1:
            raise ValueError(f"semantic.fda_shift {self.fda_shift}: expected a cosine in (-1, 1)")
        if self.pixels < 2 or 0 < self.pool < self.pixels:
            raise ValueError(f"semantic.pixels {self.pixels}: expected at least 2, and at most the pool, {self.pool}")
        if not 8 <= self.resolution <= 2048:
            raise ValueError(f"semantic.resolution {self.resolution}: expected 8 to 2048 knots")
        for name in ("selection_ranks", "feature_ranks"):
            ranks = getattr(self, name)
            if len(ranks) != 3 or min(ranks) < 1:
                raise ValueError(f"semantic.{name} {ranks}: expected three numbers, at least 1 each")
