# SPDX-License-Identifier: Apache-2.0
"""What the fit of one scene and its semantic stage can be told. The defaults are the published system's; `small.yaml`
is for two cores."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path

from training.runs.recipes import read_config as read_fields

SMALL = Path(__file__).with_name("small.yaml")  # a scene in minutes on a CPU
PAPER = Path(__file__).with_name("paper.yaml")


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
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            for number in value if isinstance(value, tuple) else (value,):
                if isinstance(number, int | float) and not math.isfinite(number):
                    raise ValueError(f"semantic.{one.name} {value}: expected finite numbers")
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


@dataclass(frozen=True)
class Ovs3dConfig:
    """Reconstruction: images, grid, optimisation. Lengths are metres of the world's frame."""

    width: int = 0
    """Width that images are shrunk to, pixels; 0: as they are."""
    every: int = 1
    """Take every so-manieth view."""
    hold_out: int = 8
    """Hold out every so-manieth of these, for PSNR and metrics; 0: none."""
    bounds: tuple[float, ...] = ()
    """Box of interest x0 y0 z0 x1 y1 z1; none: from depth, points or the cameras."""
    inside: float = 0.75
    """Share of the grid, along each axis, that the box takes; the rest is for all that lies farther, contracted."""
    resolution: int = 128
    """Knots of the grid along each axis at first."""
    final_resolution: int = 640
    """Knots at last."""
    grow_at: tuple[int, ...] = (2000, 3000, 4000, 5500)
    """Steps at which it grows, by equal factors."""
    density_ranks: tuple[int, int, int] = (16, 4, 4)
    """Components of density in the planes xy, xz, yz."""
    colour_ranks: tuple[int, int, int] = (48, 12, 12)
    """Components of colour."""
    colour_features: int = 27
    """Channels that colour is made of."""
    hidden: int = 128
    """Width of the network that makes it."""
    shift: float = -7.0
    """Of density before its softplus: how thin the fog is that all begins with."""
    steps: int = 15000
    """Steps of the reconstruction."""
    rays: int = 4096
    """Rays of a step, at most."""
    budget: int = 1_000_000
    """Samples in occupied cells of a step, at most: a step takes fewer rays while little is known to be empty."""
    grid_lr: float = 0.02
    """Learning rate of planes and lines at first."""
    net_lr: float = 0.001
    """Learning rate of the matrices and the network at first."""
    final_lr: float = 0.1
    """What learning rates have fallen to at the end, as a share."""
    sparsity: float = 8e-5
    """Weight of the mean density component (L1), which keeps empty space empty."""
    smoothness: float = 0.0
    """Weight of the squared differences between neighbouring knots (total variation)."""
    depth_weight: float = 0.0
    """Weight of depth where views have it: of what a ray meets elsewhere than at its depth. 0: depth is not used."""
    occupied_every: int = 250
    """Steps between looks at which cells hold anything."""
    occupied_threshold: float = 0.001
    """Cells that take less than this share of a ray hold nothing."""
    save_every: int = 500
    """Steps between checkpoints."""
    log_every: int = 20
    """Steps between lines of the log."""
    validate_every: int = 2500
    """Steps between looks at held-out views."""
    seed: int = 0
    """Of the first values and the rays of every step."""
    semantic: SemanticConfig = field(default_factory=SemanticConfig)
    """The stage that learns what everything is."""

    def __post_init__(self) -> None:
        for name in (each.name for each in dataclasses.fields(self)):
            value = getattr(self, name)
            for number in value if isinstance(value, tuple) else (value,):
                if isinstance(number, int | float) and not math.isfinite(number):
                    raise ValueError(f"{name} {value}: expected finite numbers")
        for name in (
            "every",
            "steps",
            "rays",
            "budget",
            "colour_features",
            "hidden",
            "occupied_every",
            "save_every",
            "log_every",
            "validate_every",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: expected at least 1")
        for name in ("width", "hold_out", "sparsity", "smoothness", "depth_weight", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} {getattr(self, name)}: expected at least 0")
        for name in ("grid_lr", "net_lr", "final_lr", "occupied_threshold"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} {getattr(self, name)}: expected more than 0")
        if not 0.1 <= self.inside <= 0.95:
            raise ValueError(f"inside {self.inside}: expected a share in [0.1, 0.95]")
        if not 8 <= self.resolution <= self.final_resolution <= 2048:
            raise ValueError(
                f"resolution {self.resolution}, final_resolution {self.final_resolution}: expected 8 to "
                "2048 knots, the first no more than the last"
            )
        if list(self.grow_at) != sorted(set(self.grow_at)) or any(step < 1 for step in self.grow_at):
            raise ValueError(f"grow_at {self.grow_at}: expected steps above 0, rising")
        if self.hold_out == 1:
            raise ValueError("hold_out 1: expected 0 for none, or 2 and above; with 1 nothing is left to fit to")
        for name in ("density_ranks", "colour_ranks"):
            ranks = getattr(self, name)
            if len(ranks) != 3 or min(ranks) < 1:
                raise ValueError(f"{name} {ranks}: expected three numbers, at least 1 each")
        box = self.bounds
        if box and (len(box) != 6 or any(low >= high for low, high in zip(box[:3], box[3:], strict=True))):
            raise ValueError(f"bounds {box}: expected x0 y0 z0 x1 y1 z1, m, each of the first below its other")

    def resolution_at(self, step: int) -> int:
        """Knots along each axis in step number `step`."""
        grown = sum(step >= at for at in self.grow_at)
        if not self.grow_at:
            return self.resolution
        return round(self.resolution * (self.final_resolution / self.resolution) ** (grown / len(self.grow_at)))


def read_config(path: Path) -> Ovs3dConfig:
    """A YAML file of fields; what it does not name has its default. Raises InputError where it is not one."""
    return read_fields(path, Ovs3dConfig)
