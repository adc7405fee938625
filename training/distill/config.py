# SPDX-License-Identifier: Apache-2.0
"""Everything that distillation can be told: table 7 of the paper under its own names, and what the paper leaves open.

Names that table 7 has are spelled as there and default to its values. Lengths marked *scaled* are metres times
`world_scale` (10): an elastic granularity of 0.1 is 1 cm of table. Angles are radians, colours lie in [0, 1].
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin, get_type_hints

from dropclip_ros.networks.encoder import EncoderConfig
from dropclip_ros.vision.voxels import VoxelConfig
from training.scenes.sensor import SENSORS


@dataclass(frozen=True)
class AugmentConfig:
    """What is done to a sample (A.2): first table 7, then what the paper names without numbers, and ours."""

    color_trans_ratio: float = 0.01
    """Largest shift of each colour channel, one for the whole cloud."""
    color_jitter_std: float = 0.02
    """Deviation of each voxel's colour noise."""
    hue_max: float = 0.01
    """Largest shift of the hue, in turns of the colour circle."""
    saturation_max: float = 0.1
    """Largest relative change of the saturation."""
    elastic_distortion_granularity_min: float = 0.1
    """Least distance of the knots of elastic distortion, scaled (0.1: 1 cm)."""
    elastic_distortion_granularity_max: float = 0.3
    """Largest distance of the knots, scaled (0.3: 3 cm)."""
    elastic_distortion_magnitude_min: float = 0.4
    """Least deviation of the noise at the knots before it is smoothed, scaled; 0.4 moves points by about 5 mm."""
    elastic_distortion_magnitude_max: float = 0.8
    """Largest deviation of that noise, scaled."""
    n_blob_min: int = 1
    """Fewest blobs that are removed from an object."""
    n_blob_max: int = 2
    """Most blobs that are removed from an object."""
    blob_size_min: int = 50
    """Fewest points (voxels of the training cloud) of a blob."""
    blob_size_max: int = 101
    """Most points (voxels) of a blob."""
    random_euler_order: bool = True
    """Whether the three turns are applied in random order, else x, y, z."""
    random_rot_chance: float = 0.6
    """Chance that a sample is rotated."""
    rotate_min_x: float = -0.1309
    """Range of the turn about x, rad."""
    rotate_max_x: float = 0.1309
    rotate_min_y: float = -0.1309
    """Range of the turn about y, rad."""
    rotate_max_y: float = 0.1309
    rotate_min_z: float = -0.1309
    """Range of the turn about z, the table's normal, rad."""
    rotate_max_z: float = 0.1309

    elastic_chance: float = 0.95
    """Chance of elastic distortion."""
    flip_chance: float = 0.5
    """Chance to mirror x, and again y."""
    shift_max: float = 0.4
    """Largest shift along each axis, scaled; +-4 cm reach every place on the grid of the coarsest voxels."""
    color_chance: float = 0.95
    """Chance of each: translation, jitter."""
    contrast_chance: float = 0.2
    """Chance of chromatic auto-contrast."""
    blob_chance: float = 1.0
    """Chance that a sample loses blobs, in the stage of full clouds."""
    partial_blob_chance: float = 0.0
    """The same in the stage of partial clouds, which lack enough already."""
    scale_max: float = 0.0
    """Largest relative change of size (ours)."""
    base_cut: float = 0.0
    """Most of an object's base, m, that goes with the table, as RANSAC takes it (ours)."""
    thin_chance: float = 0.0
    """Chance that a partial cloud loses up to 70 % of its points at random (ours)."""
    depth_noise: float = 0.0
    """Largest deviation of noise on every coordinate, m, drawn for each sample (ours)."""
    sensor: Literal["none", "kinect", "realsense"] = "none"
    """Whose depth partial clouds are made of, another draw at each step (ours)."""
    gain_max: float = 0.0
    """Largest relative change of brightness (ours)."""
    balance_max: float = 0.0
    """Largest relative change of each colour channel (ours)."""

    def __post_init__(self) -> None:
        for name, value in _numbers(self):
            if name.endswith("_chance") and not 0 <= value <= 1:
                raise ValueError(f"augment.{name} {value}: expected a chance, 0 to 1")
            if not name.startswith("rotate_") and value < 0:
                raise ValueError(f"augment.{name} {value}: expected at least 0")
            if name in ("scale_max", "gain_max", "balance_max", "saturation_max") and value >= 1:
                raise ValueError(f"augment.{name} {value}: expected less than 1")
            if "_min" in name and value > (most := getattr(self, name.replace("_min", "_max"))):
                raise ValueError(f"augment.{name} {value}: expected at most {name.replace('_min', '_max')}, {most}")
        if self.elastic_chance and not self.elastic_distortion_granularity_min > 0:
            raise ValueError("augment.elastic_distortion_granularity_min 0: expected more than 0")
        if self.sensor not in SENSORS:
            raise ValueError(f"augment.sensor {self.sensor!r}: expected one of {', '.join(SENSORS)}")


@dataclass(frozen=True)
class DistillConfig:
    """A run: the stage of full clouds, then that of partial ones. The defaults are those of table 7."""

    voxel_size: float = 0.05
    """Edge of a voxel, scaled (0.05: 5 mm)."""
    feat_dim: int = 768
    """Channels of the targets and of the network's output."""
    arch_3d: Literal["MinkUNet14D"] = "MinkUNet14D"
    """The network."""
    batch_size: int = 8
    """Scenes of a step, all processes together: any number of processes walks the same way."""
    batch_size_val: int = 8
    """Scenes of a validation pass that are encoded together."""
    base_lr: float = 3e-4
    """Learning rate that the stage of full clouds starts with."""
    weight_decay: float = 1e-5
    """Of AdamW. Table 7 says 1e-5, the text (A.2) 1e-4: the table is what was run."""
    min_lr: float = 1e-4
    """Learning rate that the stage of full clouds ends with."""
    loss_type: Literal["cosine"] = "cosine"
    """The distance of eq. 6."""
    use_aux_loss: bool = False
    """Whether `aux_loss` is added."""
    use_cls_head: bool = False
    """Whether a head learns the object's category beside."""
    loss_weight_aux: float = 1.0
    """Weight of the auxiliary loss."""
    loss_weight_cls: float = 0.1
    """Weight of the class head's cross-entropy."""
    dropout_rate: float = 0.0
    """Of what the heads work on, in training."""
    epochs: int = 300
    """Passes over the scenes with full clouds."""
    power: float = 0.9
    """Exponent of the schedule `poly`."""
    momentum: float = 0.9
    """AdamW's first beta."""
    max_norm: float = 5.0
    """Gradients are clipped to this norm."""
    sync_bn: bool = True
    """Whether batch norm takes its moments from all processes."""

    world_scale: float = 10.0
    """Scaled units in a metre."""
    stem: int = 32
    """Channels of the first convolution."""
    planes: tuple[int, int, int, int, int, int, int, int] = (32, 64, 128, 256, 384, 384, 384, 384)
    """Channels of the eight blocks (A.2)."""
    steps: int = 0
    """Steps of the stage of full clouds; 0: by `epochs`."""
    partial_epochs: int = 30
    """Passes with partial clouds; the paper does not say how many."""
    partial_steps: int = 0
    """Steps of the stage of partial clouds; 0: by `partial_epochs`."""
    partial_base_lr: float = 1e-4
    """Learning rate that the stage of partial clouds starts with: where the first one ended."""
    partial_min_lr: float = 1e-5
    """Learning rate that the stage of partial clouds ends with."""
    schedule: Literal["cosine", "poly"] = "cosine"
    """How the learning rate falls."""
    warmup: float = 0.0
    """Share of each stage in which the learning rate rises from a 25th first."""
    amp: Literal["auto", "off", "bf16"] = "auto"
    """Convolutions in bf16 with weights kept in fp32; auto: on CUDA."""
    aux_loss: Literal["contrastive", "triplet"] = "contrastive"
    """Supervised contrastive [70] or KL triplet [71]."""
    aux_temperature: float = 0.1
    """Temperature of the auxiliary loss."""
    aux_margin: float = 0.1
    """Margin of the triplet loss, in nats."""
    aux_voxels: int = 512
    """Voxels of a scene that the contrastive loss compares."""
    voxel_weights: Literal["voxel", "root"] = "voxel"
    """voxel: all alike, so big objects rule; root: an object counts by the root of its size (ours)."""
    supervised_share: float = 1.0
    """Share of the voxels that losses look at, drawn anew for each sample; neighbours say the same (ours)."""
    phrase_weight: float = 0.0
    """Weight of the divergence between what student and target say about phrases (ours)."""
    phrase_scale: float = 20.0
    """Logit over cosine of that loss."""
    phrases: int = 512
    """Phrases it compares on, drawn anew at each step."""
    offset_weight: float = 0.0
    """Weight of the distance to the object's middle; above 0 the network has the head for it (ours)."""
    object_weight: float = 0.0
    """Weight of the cosine distance of what a head says of a whole object; above 0 the network has that head (ours)."""
    object_hidden: int = 512
    """Width of that head's hidden layer."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Augmentation of the samples."""
    workers: int = 2
    """Processes that load samples, of each training process; 0: the training process itself."""
    save_every: int = 100
    """Steps between checkpoints."""
    log_every: int = 10
    """Steps between lines of the log."""
    validate_every: int = 1000
    """Steps between validations, where there is one."""
    seed: int = 0
    """Of the first weights and of every sample."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "planes", tuple(self.planes))
        counts = {f.name for f in dataclasses.fields(self) if type(f.default) is int}
        counts -= {"steps", "partial_steps", "epochs", "partial_epochs", "workers", "seed"}
        for name, value in _numbers(self):
            if value < (least := 1 if name in counts else 0):
                raise ValueError(f"{name} {value}: expected at least {least}")
        for name in ("base_lr", "partial_base_lr", "max_norm", "aux_temperature", "power"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} {getattr(self, name)}: expected more than 0")
        for low, high in (("min_lr", "base_lr"), ("partial_min_lr", "partial_base_lr")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} {getattr(self, low)}: expected at most {high}, {getattr(self, high)}")
        for name in ("dropout_rate", "momentum", "warmup"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: expected 0 up to, but not, 1")
        if not 0 < self.supervised_share <= 1:
            raise ValueError(f"supervised_share {self.supervised_share}: expected a share in (0, 1]")
        if not (self.steps or self.epochs or self.partial_steps or self.partial_epochs):
            raise ValueError("epochs, steps, partial_epochs and partial_steps are all 0: expected one of them above")
        for name, choices in _choices(type(self)).items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} {getattr(self, name)!r}: expected one of {', '.join(choices)}")
        _ = self.encoder, self.voxels  # they check the rest

    @property
    def encoder(self) -> EncoderConfig:
        """The network's shape."""
        hidden = self.object_hidden if self.object_weight > 0 else 0
        return EncoderConfig(3, self.feat_dim, self.stem, self.planes, self.offset_weight > 0, hidden)

    @property
    def voxels(self) -> VoxelConfig:
        """How clouds are cut."""
        return VoxelConfig(self.voxel_size, self.world_scale)

    def stage_steps(self, scenes: int) -> tuple[int, int]:
        """Steps with full and with partial clouds, for a data set of so many scenes."""
        full = self.steps or math.ceil(self.epochs * scenes / self.batch_size)
        return full, self.partial_steps or math.ceil(self.partial_epochs * scenes / self.batch_size)


def learning_rate(config: DistillConfig, step: int, stages: tuple[int, int]) -> float:
    """Of step number `step`, in stages of so many steps: each falls from its base to its least."""
    first, most, least = 0, config.base_lr, config.min_lr
    if step >= stages[0]:
        first, most, least = stages[0], config.partial_base_lr, config.partial_min_lr
    done = (step - first) / max(1, stages[step >= stages[0]])
    if done < config.warmup:
        return most * (0.04 + 0.96 * done / config.warmup)
    done = (done - config.warmup) / (1 - config.warmup)
    falling = 0.5 * (1 + math.cos(math.pi * done)) if config.schedule == "cosine" else (1 - done) ** config.power
    return least + (most - least) * falling


def _numbers(config: Any) -> list[tuple[str, float]]:
    """Names and values of the numeric fields. ValueError where one is not finite."""
    values = [(f.name, getattr(config, f.name)) for f in dataclasses.fields(config)]
    numbers = [(name, v) for name, v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    for name, value in numbers:
        if not math.isfinite(value):
            raise ValueError(f"{name} {value}: expected a finite number")
    return numbers


def _choices(cls: type) -> dict[str, tuple[str, ...]]:
    """Of the fields that are one of some words: which."""
    return {name: get_args(kind) for name, kind in get_type_hints(cls).items() if get_origin(kind) is Literal}
