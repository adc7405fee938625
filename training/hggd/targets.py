# SPDX-License-Identifier: Apache-2.0
"""What the networks should say: true grasps as HGGD's maps and as labels of the local network's anchors."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.hggd.config import CELL, HggdConfig
from dropclip_ros.grasping.hggd.decode import MAX_GAMMA, Centers, angles_of, lift, pixel_width, rotation_of
from dropclip_ros.grasping.hggd.inputs import PreparedView
from training.hggd.config import HggdTraining


class Labels(NamedTuple):
    """N true grasps of a view: centre (N, 3) m, pixel (N, 2) long (row, column) that it projects to, angles theta,
    gamma, beta (N,) as `decode` has them, width (N,) px, depth (N,) m beyond the surface that the pixel shows."""

    center: Tensor
    pixel: Tensor
    theta: Tensor
    gamma: Tensor
    beta: Tensor
    width: Tensor
    depth: Tensor

    def __getitem__(self, index: Tensor) -> Labels:
        return Labels(*(value[index] for value in self._asdict().values()))


class Maps(NamedTuple):
    """Targets of B views, shaped as the networks' maps: heat (B, 1, H, W) in [0, 1]; of each angle class and cell
    (B, K, h, w): count of grasps, and the means of their turn, depth and logarithm of the width."""

    heat: Tensor
    count: Tensor
    turn: Tensor
    depth: Tensor
    width: Tensor


def labels_of(grasps: Grasps, view: PreparedView, config: HggdTraining) -> Labels:
    """The grasps, in the view's camera frame, that HGGD can tell from it: in the image, on what it shows, reached
    from the camera's side and not rolled too far."""
    rotation = torch.from_numpy(grasps.rotation).float()
    # Depth is a constant to HGGD; the tips stay where they are, to neither miss the object nor hit the table.
    center = torch.from_numpy(grasps.tips() - config.tips * grasps.approach).float()
    k, z = view.intrinsics, center[:, 2].clamp(min=1e-3)
    pixel = torch.stack([k.fy * center[:, 1] / z + k.cy, k.fx * center[:, 0] / z + k.cx], 1).round().long()
    height, width = view.points.shape[:2]
    seen = (pixel >= 0).all(1) & (pixel < torch.tensor([height, width])).all(1) & (center[:, 2] > 0)
    center, pixel, rotation = center[seen], pixel[seen], rotation[seen]
    opening = torch.from_numpy(grasps.width).float()[seen]
    theta, gamma, beta = angles_of(rotation)
    none = torch.zeros(len(pixel))
    surface, known = lift(Centers(pixel, none, theta, none, none), view.points)
    depth = center[:, 2] - surface[:, 2]
    labels = Labels(center, pixel, theta, gamma, beta, pixel_width(opening, theta, center[:, 2], k), depth)
    return labels[known & (depth.abs() < config.hidden) & (rotation[:, 2, 0] > 0) & (gamma.abs() < MAX_GAMMA)]


def maps_of(labels: Labels, size: tuple[int, int], config: HggdConfig) -> Maps:
    """Targets of one view, of size (H, W) px, B = 1."""
    heat = torch.zeros(size)
    span = torch.arange(-CELL, CELL + 1)
    blob = torch.exp(-(span**2).float() / (2 * ((2 * CELL + 1) / 6) ** 2))
    blob = blob[:, None] * blob
    for row, column in _apart(labels.pixel):
        rows, columns = row + span, column + span
        rows, columns = rows[(rows >= 0) & (rows < size[0])], columns[(columns >= 0) & (columns < size[1])]
        part = blob[rows[0] - row + CELL :, columns[0] - column + CELL :][: len(rows), : len(columns)]
        place = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
        heat[place] = torch.maximum(heat[place], part)

    step = math.pi / config.angles
    turned = (labels.theta + math.pi / 2) / step
    kind = turned.long().clamp(0, config.angles - 1)
    row, column = (labels.pixel // CELL).T
    values = (
        torch.ones(len(kind)),
        turned - kind - 0.5,
        (labels.depth / (2 * config.anchor_depth)).clamp(-0.5, 0.5),
        (labels.width / config.anchor_width).log().clamp(-1, 1),
    )
    shape = config.angles, math.ceil(size[0] / CELL), math.ceil(size[1] / CELL)
    count, *sums = (torch.zeros(shape).index_put((kind, row, column), value, accumulate=True) for value in values)
    return Maps(heat[None, None], count[None], *((total / count.clamp(min=1))[None] for total in sums))


def _apart(pixel: Tensor) -> list[tuple[int, int]]:
    """Those of the pixels (N, 2) that lie at least CELL from every one before them that was taken."""
    taken: list[tuple[int, int]] = []
    for row, column in pixel.tolist():
        if all((row - r) ** 2 + (column - c) ** 2 >= CELL**2 for r, c in taken):
            taken.append((row, column))
    return taken


def local_labels(
    positions: Tensor, theta: Tensor, labels: Labels, gamma: Tensor, beta: Tensor, near: float
) -> tuple[Tensor, Tensor]:
    """For R regions at positions (R, 3), m, turned by theta (R,), and the A anchors of gamma and beta (quarter turns):
    likeness (R, A) of each to the most similar grasp within `near` of the centre, |<q, q'>| in [0, 1], 0 where there is
    none; and where that grasp's centre lies, (R, A, 3) m from the region's."""
    anchors = gamma.repeat(len(beta)), beta.repeat_interleave(len(gamma))
    angles = torch.broadcast_tensors(theta[:, None], *(angle[None] * (math.pi / 2) for angle in anchors))
    turned = rotation_of(*angles)  # (R, A, 3, 3)
    if not len(labels.center):
        return positions.new_zeros(turned.shape[:2]), positions.new_zeros(*turned.shape[:2], 3)
    true = rotation_of(labels.theta, labels.gamma, labels.beta)  # (N, 3, 3)
    xx, yy, zz = (turned[..., axis] @ true[..., axis].T for axis in range(3))  # (R, A, N)
    # Half a turn about the approach is the same grasp; |<q, q'>| is the cosine of half the angle between them.
    likeness = ((1 + xx + (yy + zz).abs()).clamp(0, 4) / 4).sqrt()
    apart = labels.center - positions[:, None]  # (R, N, 3)
    likeness = likeness * (apart.norm(dim=2) < near)[:, None]
    best, which = likeness.max(2)
    return best, apart.gather(1, which[..., None].expand(-1, -1, 3))


def spread_anchors(angles: Tensor, count: int) -> Tensor:
    """`count` anchors (count,) in quarter turns, ascending, in the middles of where the angles (N,), rad, lie."""
    angles = (angles / (math.pi / 2)).clamp(-1, 1).sort().values
    anchors = (torch.arange(count) + 0.5) * 2 / count - 1
    for _ in range(30):  # Lloyd's
        own = torch.bucketize(angles, (anchors[1:] + anchors[:-1]) / 2)
        total = torch.zeros(count).index_add(0, own, angles)
        held = torch.bincount(own, minlength=count)
        anchors = torch.where(held > 0, total / held.clamp(min=1), anchors)
    return anchors
