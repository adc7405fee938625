# SPDX-License-Identifier: Apache-2.0
"""Volume rendering over packed samples: only what is in occupied cells, and not hidden, is ever looked at."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from training.ovs3d.field import Field

FINE = 0.75  # of a cell: the spacing of samples up to the far side of the box
CONE = 0.05  # growth of the spacing beyond, as a share of the way from there: contracted cells grow as well
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
    far: float | Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Samples:
    """Samples of the rays (R,3) world metres, (R,3) unit vectors; near and far: m, the field's own by default. far
    may be one for each ray (R,), no farther than the field's own.

    generator: shifts each ray's samples at random, for training; without it the same samples each time. Gradients reach
    the density through the weights.
    """
    with torch.no_grad():
        points, distance, lengths, ray = candidates(field, origins, directions, near, far, generator)
        seen = transmittance(field.density(points) * lengths, ray) > HIDDEN
        points, distance, lengths, ray = (value[seen] for value in (points, distance, lengths, ray))
    optical = field.density(points) * lengths
    weights = transmittance(optical, ray) * -torch.expm1(-optical)
    kept = (weights.detach() > FAINT).nonzero()[:, 0]
    return Samples(points[kept], weights[kept], ray[kept], distance[kept])


def candidates(
    field: Field,
    origins: Tensor,
    directions: Tensor,
    near: float | None = None,
    far: float | Tensor | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Samples in occupied cells, n of them: points (n,3), distances (n,) and lengths (n,) m, rays (n,). See `march`."""
    near = float(field.range[0]) if near is None else near
    end = field.range[1] if far is None or torch.is_tensor(far) else far
    reach = (origins - field.bounds.mean(0)).norm(dim=1).max() + (field.bounds[1] - field.bounds[0]).norm() / 2
    starts = spacing(near, float(end), float(reach), FINE * field.cell).to(origins.device)
    steps = starts.diff()
    if generator is None:
        shift = torch.full((len(origins),), 0.5, device=origins.device)
    else:
        shift = torch.rand(len(origins), generator=generator).to(origins.device)
    distance = starts[:-1] + shift[:, None] * steps
    kept = distance < (far[:, None] if torch.is_tensor(far) else end)
    ray, k = kept.nonzero(as_tuple=True)
    distance = distance[ray, k]
    points = origins[ray] + directions[ray] * distance[:, None]
    kept = field.is_occupied(points).nonzero()[:, 0]
    return points[kept], distance[kept], steps[k[kept]], ray[kept]


def spacing(near: float, far: float, reach: float, fine: float) -> Tensor:
    """Distances (n+1,) m at which intervals of samples begin and end: `fine` long up to `reach`, then growing."""
    ends = [near]
    while ends[-1] < far:
        ends.append(ends[-1] + fine + CONE * max(0.0, ends[-1] - reach))
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
