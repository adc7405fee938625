# SPDX-License-Identifier: Apache-2.0
"""HGGD's losses: focal ones for where and which, smooth L1 for how much."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, smooth_l1_loss

from dropclip_ros.grasping.hggd.decode import OFFSET
from dropclip_ros.grasping.hggd.networks import AnchorMaps
from training.hggd.targets import Maps


def focal(logits: Tensor, positive: Tensor, alpha: float = 0.5, spared: Tensor | None = None) -> Tensor:
    """Focal loss (gamma 2) of logits where `positive` (bool, same shape), per positive.

    alpha: weight of the positives, 1 - alpha of the others. spared, same shape, in [0, 1]: how far the others are
    let off for being close to a positive (CornerNet).
    """
    probability = logits.sigmoid()
    hit = alpha * logsigmoid(logits) * (1 - probability) ** 2
    miss = (1 - alpha) * logsigmoid(-logits) * probability**2
    if spared is not None:
        miss = miss * (1 - spared) ** 4
    return -torch.where(positive, hit, miss).sum() / positive.sum().clamp(min=1)


def anchor_losses(said: AnchorMaps, true: Maps) -> dict[str, Tensor]:
    """heat, angle, turn: of the anchor network's maps for a batch."""
    some = true.count > 0
    pairs = (said.turn.clamp(-0.5, 0.5), true.turn), (said.depth.clamp(-0.5, 0.5), true.depth), (said.width, true.width)
    turn = sum(smooth_l1_loss(a[some], b[some], reduction="sum") for a, b in pairs) / (3 * some.sum().clamp(min=1))
    return {
        "heat": focal(said.heat, true.heat > 0.99, spared=true.heat),
        "angle": focal(said.angle, some, alpha=0.25),
        "turn": turn,
    }


def local_losses(logits: Tensor, offsets: Tensor, likeness: Tensor, apart: Tensor, same: float) -> dict[str, Tensor]:
    """score, move: of the local network's logits (R, A) and offsets (R, A, 3), with `local_labels`."""
    right = likeness > same
    move = smooth_l1_loss(offsets[right], apart[right] / OFFSET, reduction="sum") / (3 * right.sum().clamp(min=1))
    return {"score": focal(logits, right), "move": move}
