# SPDX-License-Identifier: Apache-2.0
"""Everything that training of HGGD can be told. The defaults are for a core or two and the small network shipped."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

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
    batch_size: int = 4
    steps: int = 1200
    rate: float = 3e-3
    weight_decay: float = 1e-2
    warmup: float = 0.05
    clip: float = 5.0
    turn_weight: float = 5.0
    move_weight: float = 1.0
    views: int = 0
    sensor: str = "kinect"
    found: int = 10
    given: int = 6
    jitter: float = 1.5
    near: float = 0.02
    same: float = 0.99
    min_points: int = DetectionConfig.min_points
    tips: float = 0.02
    hidden: float = 0.035
    mirror: bool = True
    gain: float = 0.2
    save_every: int = 50
    log_every: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps", "given", "min_points", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: expected at least 1")
        for name in ("views", "found", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} {getattr(self, name)}: expected at least 0")
        for name in ("rate", "clip", "near", "tips", "hidden"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} {getattr(self, name)}: expected a number above 0")
        for name in ("weight_decay", "turn_weight", "move_weight", "jitter"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} {getattr(self, name)}: expected a number of at least 0")
        for name in ("warmup", "same", "gain"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: expected 0 up to, but not, 1")
        if self.sensor not in SENSORS:
            raise ValueError(f"sensor {self.sensor!r}: expected one of {', '.join(SENSORS)}")

    def rate_at(self, step: int) -> float:
        """Learning rate of step number `step`."""
        done = step / self.steps
        if done < self.warmup:
            return self.rate * (0.04 + 0.96 * done / self.warmup)
        return self.rate * 0.5 * (1 + math.cos(math.pi * (done - self.warmup) / (1 - self.warmup)))
