# SPDX-License-Identifier: Apache-2.0
"""Volume rendering over packed samples: only what is in occupied cells, and not hidden, is ever looked at."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from training.ovs3d.field import Field

FINE = 0.75  # of a cell: the spacing of samples inside the box
CONE = 0.015  # far away it is this share of the distance, as the contracted cells are bigger there
HIDDEN = 1e-3  # transmittance below which samples are not looked at
FAINT = 1e-4  # weight below which they are left out


class Samples(NamedTuple):
    """n samples that matter, sorted by ray and then by distance."""

    points: Tensor  # (n,3) m, world
    weights: Tensor  # (n,) transmittance times opacity; of a ray they sum to 1 less what reaches the background
    ray: Tensor  # (n,) int64, index of the ray
    distance: Tensor  # (n,) m along the ray


def march(
    field: Field,
    origins: Tensor,
    directions: Tensor,
    near: float | None = None,
    far: float | None = None,
    generator: torch.Generator | None = None,
) -> Samples:
    """Samples of the rays (R,3) world metres, (R,3) unit vectors; near and far: m, the field's own by default.

    generator: shifts each ray's samples at random, for training; without it the same samples each time. Gradients reach
    the density through the weights.
    """
    near, far = (float(own) if given is None else given for own, given in zip(field.range, (near, far), strict=True))
    starts = spacing(near, far, FINE * field.cell).to(origins.device)
    steps = starts.diff()
    if generator is None:
        shift = torch.full((len(origins),), 0.5, device=origins.device)
    else:
        shift = torch.rand(len(origins), generator=generator).to(origins.device)
    with torch.no_grad():
        distance = starts[:-1] + shift[:, None] * steps
        points = origins[:, None] + directions[:, None] * distance[..., None]
        ray, k = field.is_occupied(points.view(-1, 3)).view(distance.shape).nonzero(as_tuple=True)
        points, distance, lengths = points[ray, k], distance[ray, k], steps[k]
        seen = transmittance(field.density(points) * lengths, ray) > HIDDEN
        points, distance, lengths, ray = (value[seen] for value in (points, distance, lengths, ray))
    optical = field.density(points) * lengths
    weights = transmittance(optical, ray) * -torch.expm1(-optical)
    kept = (weights.detach() > FAINT).nonzero()[:, 0]
    return Samples(points[kept], weights[kept], ray[kept], distance[kept])


def spacing(near: float, far: float, fine: float) -> Tensor:
    """Distances (n+1,) m at which intervals of samples begin and end."""
    ends = [near]
    while ends[-1] < far:
        ends.append(ends[-1] + max(fine, CONE * ends[-1]))
    return torch.tensor(ends)


def transmittance(optical: Tensor, ray: Tensor) -> Tensor:
    """What reaches each of the samples (n,), from the optical depths (n,) of those sorted by ray (n,)."""
    if len(ray) == 0:
        return optical
    total = optical.double().cumsum(0)  # over all rays; in single precision the last ones would be off
    before = total - optical
    first = torch.ones_like(ray, dtype=torch.bool)
    first[1:] = ray[1:] != ray[:-1]
    start = before[first][first.cumsum(0) - 1]
    return torch.exp(start - before).to(optical.dtype)


def composite(samples: Samples, values: Tensor, rays: int) -> Tensor:
    """Sums of values (n,C) by weight along each ray: (rays, C)."""
    weighted = samples.weights[:, None] * values
    return weighted.new_zeros(rays, values.shape[1]).index_add(0, samples.ray, weighted)


def render_colour(field: Field, samples: Samples, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Colours (R,3) in [0, 1] of the rays with the unit directions (R,3), and their opacity (R,1)."""
    colours = field.colour(samples.points, directions[samples.ray])
    both = composite(samples, torch.cat([colours, torch.ones_like(colours[:, :1])], 1), len(directions))
    return both[:, :3] + (1 - both[:, 3:]) * torch.sigmoid(field.background), both[:, 3:]
