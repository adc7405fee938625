# SPDX-License-Identifier: Apache-2.0
"""What the fit of one scene and its semantic stage can be told. The defaults are the published system's; `small.yaml`
is for two cores."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dropclip_ros.base.ranges import check_fields, ranged
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
    sides: tuple[float, ...] = ranged((1 / 5, 1 / 7, 1 / 10), above=0, high=1)
    """Sides of the patches, shares of the image's shorter side."""
    overlap: int = ranged(4, 1)
    """Patches lie their side over this apart."""
    dino: str = "vit_base_patch8_224.dino"
    """Model of timm, or its folder, whose features FDA compares; '': the image tower's own."""
    temperature: float = ranged(0.2, above=0)
    """Of class distributions."""
    rda_weight: float = ranged(1.0, 0)
    fda_positive: float = ranged(200.0, 0)
    """Weight of what pulls like places together."""
    fda_negative: float = ranged(0.2, 0)
    """Weight of what pushes unlike places apart."""
    fda_shift: float = ranged(0.7, above=-1, below=1)
    """Cosine of features from which places are alike."""
    resolution: int = ranged(128, 8, 2048)
    """Knots of both volumes along each axis."""
    selection_ranks: tuple[int, int, int] = ranged((16, 4, 4), 1)
    """Components of the selection volume in the planes xy, xz, yz."""
    feature_ranks: tuple[int, int, int] = ranged((48, 12, 12), 1)
    """Components of the feature volume."""
    feature_channels: int = ranged(64, 1)
    """Channels that are rendered before they are mapped to the image tower's space."""
    steps: int = ranged(15000, 1)
    joint_at: int = ranged(5000, 0)
    """Step from which colour is learnt on along with the features."""
    views: int = ranged(8, 1)
    """Views of a step."""
    pixels: int = ranged(512, 2)
    """Pixels of each of them; FDA compares all pairs."""
    pool: int = ranged(0, 0)
    """Pixels of each view that are drawn from; 0: all. Their rays are marched once: density stays as it is."""
    grid_lr: float = ranged(0.02, above=0)
    net_lr: float = ranged(0.001, above=0)
    colour_grid_lr: float = ranged(5e-3, above=0)
    """Of the colour's planes and lines, once it is learnt on."""
    colour_net_lr: float = ranged(5e-5, above=0)
    final_lr: float = ranged(0.1, above=0)
    """What learning rates have fallen to at the end, as a share."""
    save_every: int = ranged(500, 1)
    """Steps between checkpoints."""
    seed: int = ranged(0, 0)

    def __post_init__(self) -> None:
        check_fields(self, "semantic.")
        if not self.sides:
            raise ValueError("semantic.sides is empty: expected one or more shares in (0, 1]")
        if 0 < self.pool < self.pixels:
            raise ValueError(f"semantic.pixels {self.pixels}: expected at most the pool, {self.pool}")
        for name in ("selection_ranks", "feature_ranks"):
            if len(getattr(self, name)) != 3:
                raise ValueError(f"semantic.{name} {getattr(self, name)}: expected three numbers")


@dataclass(frozen=True)
class Ovs3dConfig:
    """Reconstruction: images, grid, optimisation. Lengths are metres of the world's frame."""

    width: int = ranged(0, 0)
    """Width that images are shrunk to, pixels; 0: as they are."""
    every: int = ranged(1, 1)
    """Take every so-manieth view."""
    hold_out: int = ranged(8, 0)
    """Hold out every so-manieth of these, for PSNR and metrics; 0: none."""
    bounds: tuple[float, ...] = ()
    """Box of interest x0 y0 z0 x1 y1 z1; none: from depth, points or the cameras."""
    inside: float = ranged(0.75, 0.1, 0.95)
    """Share of the grid, along each axis, that the box takes; the rest is for all that lies farther, contracted."""
    resolution: int = ranged(128, 8, 2048)
    """Knots of the grid along each axis at first."""
    final_resolution: int = ranged(640, 8, 2048)
    """Knots at last."""
    grow_at: tuple[int, ...] = ranged((2000, 3000, 4000, 5500), 1)
    """Steps at which it grows, by equal factors."""
    density_ranks: tuple[int, int, int] = ranged((16, 4, 4), 1)
    """Components of density in the planes xy, xz, yz."""
    colour_ranks: tuple[int, int, int] = ranged((48, 12, 12), 1)
    """Components of colour."""
    colour_features: int = ranged(27, 1)
    """Channels that colour is made of."""
    hidden: int = ranged(128, 1)
    """Width of the network that makes it."""
    shift: float = -7.0
    """Of density before its softplus: how thin the fog is that all begins with."""
    steps: int = ranged(15000, 1)
    """Steps of the reconstruction."""
    rays: int = ranged(4096, 1)
    """Rays of a step, at most."""
    budget: int = ranged(1_000_000, 1)
    """Samples in occupied cells of a step, at most: a step takes fewer rays while little is known to be empty."""
    grid_lr: float = ranged(0.02, above=0)
    """Learning rate of planes and lines at first."""
    net_lr: float = ranged(0.001, above=0)
    """Learning rate of the matrices and the network at first."""
    final_lr: float = ranged(0.1, above=0)
    """What learning rates have fallen to at the end, as a share."""
    sparsity: float = ranged(8e-5, 0)
    """Weight of the mean density component (L1), which keeps empty space empty."""
    smoothness: float = ranged(0.0, 0)
    """Weight of the squared differences between neighbouring knots (total variation)."""
    depth_weight: float = ranged(0.0, 0)
    """Weight of depth where views have it: of what a ray meets elsewhere than at its depth. 0: depth is not used."""
    occupied_every: int = ranged(250, 1)
    """Steps between looks at which cells hold anything."""
    occupied_threshold: float = ranged(0.001, above=0)
    """Cells that take less than this share of a ray hold nothing."""
    save_every: int = ranged(500, 1)
    """Steps between checkpoints."""
    log_every: int = ranged(20, 1)
    """Steps between lines of the log."""
    validate_every: int = ranged(2500, 1)
    """Steps between looks at held-out views."""
    seed: int = ranged(0, 0)
    """Of the first values and the rays of every step."""
    semantic: SemanticConfig = field(default_factory=SemanticConfig)
    """The stage that learns what everything is."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.resolution > self.final_resolution:
            raise ValueError(
                f"resolution {self.resolution}: expected at most final_resolution, {self.final_resolution}"
            )
        if list(self.grow_at) != sorted(set(self.grow_at)):
            raise ValueError(f"grow_at {self.grow_at}: expected rising steps")
        if self.hold_out == 1:
            raise ValueError("hold_out 1: expected 0 for none, or 2 and above; with 1 nothing is left to fit to")
        for name in ("density_ranks", "colour_ranks"):
            if len(getattr(self, name)) != 3:
                raise ValueError(f"{name} {getattr(self, name)}: expected three numbers")
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
