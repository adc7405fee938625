# SPDX-License-Identifier: Apache-2.0
"""Everything that training of HGGD can be told. The defaults are for a core or two and the small network shipped."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from dropclip_ros.base.ranges import check_fields, ranged
from dropclip_ros.grasping.hggd.config import DetectionConfig, HggdConfig
from training.scenes.sensor import SENSORS

SMALL = HggdConfig(
    width=240,
    height=180,
    blocks=(1, 1, 2, 1),
    head=16,
    anchor_width=15.0,
    points=16000,
    region_points=96,
    point_channels=(32, 64, 256),
    hidden=(128, 96),
)


@dataclass(frozen=True)
class HggdTraining:
    """A run. Lengths in metres, angles in radians, pixels of the networks' input.

    network: its shape and anchors. steps of batch_size frames; the rate rises over the share warmup and falls to 0 as a
    cosine. clip: norm of the gradient. turn_weight: of the regressed maps, move_weight: of the local offsets (the
    heatmap, the classes of angles and the local scores weigh 1).
    views: of each scene that are used, 0 all. sensor: whose depth is learnt from.
    found, given: regions of a frame that the local network learns from: those that the anchor network finds, and true
    centres, moved by about `jitter` (px; a tenth of it in rad and in the logarithm of the width). near: a true grasp so
    close to a region's centre is one of its; same: an anchor is right where |<q, q'>| with one of them is above.
    tips: depth of the fingertips beyond a grasp's centre, as published. hidden: true centres so far above or
    below the surface that their pixel shows are not to be seen there.
    mirror: frames are mirrored by chance, half of them. gain: largest relative change of brightness and of each colour.
    """

    network: HggdConfig = field(default_factory=lambda: SMALL)
    batch_size: int = ranged(4, 1)
    steps: int = ranged(1200, 1)
    rate: float = ranged(3e-3, above=0)
    weight_decay: float = ranged(1e-2, 0)
    warmup: float = ranged(0.05, 0, below=1)
    clip: float = ranged(5.0, above=0)
    turn_weight: float = ranged(5.0, 0)
    move_weight: float = ranged(1.0, 0)
    views: int = ranged(0, 0)
    sensor: str = "kinect"
    found: int = ranged(10, 0)
    given: int = ranged(6, 1)
    jitter: float = ranged(1.5, 0)
    near: float = ranged(0.02, above=0)
    same: float = ranged(0.99, 0, below=1)
    min_points: int = ranged(DetectionConfig.min_points, 1)
    tips: float = ranged(0.02, above=0)
    hidden: float = ranged(0.035, above=0)
    mirror: bool = True
    gain: float = ranged(0.2, 0, below=1)
    save_every: int = ranged(50, 1)
    log_every: int = ranged(10, 1)
    seed: int = ranged(0, 0)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.sensor not in SENSORS:
            raise ValueError(f"sensor {self.sensor!r}: expected one of {', '.join(SENSORS)}")

    def rate_at(self, step: int) -> float:
        """Learning rate of step number `step`."""
        done = step / self.steps
        if done < self.warmup:
            return self.rate * (0.04 + 0.96 * done / self.warmup)
        return self.rate * 0.5 * (1 + math.cos(math.pi * (done - self.warmup) / (1 - self.warmup)))
