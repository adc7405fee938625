# SPDX-License-Identifier: Apache-2.0
"""What pulls class distributions into place (3D-OVS): RDA towards the relevancy maps, FDA along what looks alike.

Distributions are given as logarithms, (...,K) over K classes; divergences are in nats, at most log 2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

SHIFT = 0.7  # of the correlation of DINO's features: what is more alike than that is pulled together
LOG_2 = math.log(2)


def js_divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Jensen-Shannon divergence of distributions (...,K) and (...,K), which broadcast: (...)."""
    log_mean = torch.logaddexp(log_p, log_q) - LOG_2
    return 0.5 * (log_p.exp() * (log_p - log_mean) + log_q.exp() * (log_q - log_mean)).sum(-1)


def pairwise_js(log_p: Tensor) -> Tensor:
    """Of each of the distributions (...,n,K) with each: (...,n,n)."""
    return js_divergence(log_p[..., :, None, :], log_p[..., None, :, :])


def rda_loss(rendered: Tensor, selected: Tensor) -> Tensor:
    """Relevancy-distribution alignment: mean divergence of rendered and selected class distributions, (n,K) each."""
    return js_divergence(rendered, selected).mean()


def fda_loss(log_classes: Tensor, features: Tensor, shift: float = SHIFT) -> tuple[Tensor, Tensor]:
    """Feature-distribution alignment of places of one image, or of several: the positive and the negative part.

    log_classes (...,n,K): class distributions of the n places; features (...,n,D): of the image there, any length,
    through which no gradient goes. The cosine of each pair less `shift` weighs the pair's divergence. Each part is
    divided by how many pairs it has (not by all), and is 0 where it has none; the negative one is 0 or less.
    """
    with torch.no_grad():
        unit = normalize(features, dim=-1)
        alike = unit @ unit.mT - shift
    divergence = pairwise_js(log_classes)
    parts = [
        (weight * divergence).sum() / weight.count_nonzero().clamp(min=1)
        for weight in (alike.clamp(min=0), alike.clamp(max=0))
    ]
    return parts[0], parts[1]
