# SPDX-License-Identifier: Apache-2.0
"""Points of the scene with the image's features, and the regions of them around centres."""

from __future__ import annotations

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from dropclip_ros.base.arrays import Array, array_namespace, like_array, zeros
from dropclip_ros.grasping.hggd.config import CELL

NEIGHBORS = 8  # cells whose features a point takes the greatest of
CANDIDATES = 4  # points looked at for each that a region takes: finding those furthest apart is what takes time


def sample_points(points: Tensor, known: Tensor, count: int, seed: int = 0) -> Tensor:
    """At most `count` of the points (h, w, 3) where `known` (h, w), at random: (N, 3)."""
    points = points[known]
    generator = torch.Generator().manual_seed(seed)  # on the CPU, so that every device draws the same
    return points[torch.randperm(len(points), generator=generator)[:count].to(points.device)]


def fuse(points: Tensor, view_points: Tensor, features: Tensor) -> Tensor:
    """Points (N, 3) with the features of the cells nearest to each, (N, 3 + C).

    view_points (h, w, 3) are the pixels' points, zeros where unknown, features (C, ceil(h / CELL), ceil(w / CELL)).
    """
    cells = view_points[::CELL, ::CELL].reshape(-1, 3)
    rows = features.flatten(1).T
    return torch.cat([points, rows[nearest(points, cells, min(NEIGHBORS, len(cells)))].amax(1)], 1)


def nearest(points: Tensor, cloud: Tensor, count: int) -> Tensor:
    """Indices (N, count) of the nearest of `cloud` (M, 3) to each of `points` (N, 3)."""
    if points.device.type == "cpu":
        found = cKDTree(cloud.numpy()).query(points.numpy(), k=list(range(1, count + 1)))[1]
        return torch.from_numpy(found)
    parts = [torch.cdist(part, cloud).topk(count, largest=False).indices for part in points.split(4096)]
    return torch.cat(parts) if parts else torch.zeros(0, count, dtype=torch.long, device=points.device)


def regions(points: Tensor, centers: Tensor, radii: Tensor, count: int, min_points: int) -> tuple[Tensor, Tensor]:
    """The points around each centre: regions (V, count, 3 + C), positions relative to the centre, and who has one.

    points (N, 3 + C); centers (R, 3) and radii (R,) in m. Centres with `min_points` or fewer have none: the mask (R,)
    bool says which V have. Of more than `count` points the furthest apart are taken, of fewer some more than once,
    which the network does not notice. Of more than CANDIDATES times as many only the first are looked at: give the
    points in random order.
    """
    inside = torch.cdist(centers, points[:, :3], compute_mode="donot_use_mm_for_euclid_dist") < radii[:, None]
    totals = inside.sum(1)
    kept = totals > min_points
    inside, totals = inside[kept], totals[kept]
    if not len(totals):
        return points.new_zeros(0, count, points.shape[1]), kept
    owner, member = inside.nonzero(as_tuple=True)
    place = torch.arange(len(owner), device=points.device) - (totals.cumsum(0) - totals)[owner]
    first = place < CANDIDATES * count
    owner, member, place, totals = owner[first], member[first], place[first], totals.clamp(max=CANDIDATES * count)
    members = torch.zeros(len(totals), int(totals.max()), dtype=torch.long, device=points.device)
    members[owner, place] = member
    places = points[:, :3][members]
    if points.device.type == "cpu":  # where NumPy is twice as fast
        chosen = torch.from_numpy(spread(places.numpy(), totals.numpy(), count))
    else:
        chosen = torch.as_tensor(spread(places, totals, count))
    chosen = members.gather(1, chosen)
    groups = points[chosen]
    groups[..., :3] -= centers[kept][:, None]
    return groups, kept


def spread(points: Array, totals: Array, count: int) -> Array:
    """Farthest-point sampling of sets (R, P, 3), of which the first `totals` (R,) points count: indices (R, count).

    Begins with the first point; a set of fewer points is repeated.
    """
    xp = array_namespace(points)
    sets = like_array(totals, range(len(points)))
    columns = xp.stack([points[..., axis] for axis in range(3)])  # each contiguous
    chosen = zeros(points, (len(points), count), "int64")
    distance = zeros(points, points.shape[:2], "float32") + xp.inf
    distance[like_array(totals, range(points.shape[1])) >= totals[:, None]] = -xp.inf
    for i in range(1, count):
        last = chosen[:, i - 1]
        x, y, z = (column - column[sets, last][:, None] for column in columns)
        distance = xp.minimum(distance, x * x + y * y + z * z)
        chosen[:, i] = distance.argmax(1)
    return chosen
