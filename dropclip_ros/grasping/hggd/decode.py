# SPDX-License-Identifier: Apache-2.0
"""From the networks' maps to grasps. Camera optical frame, metres, radians; pixels are (row, column) of the input.

A grasp's turn is given by three angles: theta, in the image's plane, and gamma and beta, about the grasp's own z and
then y. At 0 all, the approach is the camera's view and the fingers close along the image's -x.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d
from torchvision.transforms.functional import gaussian_blur

from dropclip_ros.grasping.grasps import ROW_LENGTH
from dropclip_ros.grasping.hggd.config import CELL, HggdConfig
from dropclip_ros.grasping.hggd.networks import AnchorMaps
from dropclip_ros.vision.geometry import Intrinsics

BLUR = 9, 10.0  # of the heatmap: kernel (px) and sigma (px)
GRID = 8  # px: one candidate for each such square of the heatmap
CANDIDATES = 10  # looked at for each centre that is wanted
SAME_ANGLE = math.pi / 6  # centres within GRID px of each other and turned by less are the same
WINDOW = 2  # px about a centre of unknown depth, where another is looked for
OFFSET = 0.02  # m: the most that the local network moves a centre, along each axis
MAX_GAMMA = math.pi / 3
HEIGHT = 0.02  # m: the fingers' width, as GraspNet's rows have it


class Centers(NamedTuple):
    """R centres, best first.

    pixel (R, 2) long; score (R,) of the heatmap; theta (R,) in [-pi/2, pi/2); width (R,) px; depth (R,) m beyond the
    surface that the pixel shows.
    """

    pixel: Tensor
    score: Tensor
    theta: Tensor
    width: Tensor
    depth: Tensor

    def of(self, index: Tensor) -> Centers:
        """Some of them: by indices, or by a mask (R,)."""
        return Centers(*(value[index] for value in self._asdict().values()))

    def info(self) -> Tensor:
        """What the local network is told of each, (R, 3)."""
        return torch.stack([self.theta, self.width, self.depth * 1e3], 1)


def find_centers(
    maps: AnchorMaps, config: HggdConfig, limit: int, threshold: float = 0.01, allowed: Tensor | None = None
) -> Centers:
    """At most `limit` centres in the maps of one image, above `threshold` and where `allowed` (H, W) bool.

    The heatmap's best squares of GRID px give one candidate each; of candidates that are the same the best stays.
    """
    heat = gaussian_blur(maps.heat.sigmoid()[0], [BLUR[0]] * 2, [BLUR[1]] * 2)[0]
    heat = heat if allowed is None else heat * allowed
    height, width = heat.shape
    squares = max_pool2d(heat[None], GRID)[0]
    best = squares.flatten().topk(min(squares.numel(), CANDIDATES * limit)).indices
    span = torch.arange(-1, GRID + 1, device=heat.device)  # a pixel over, so that a peak on the rim is met from both
    rows = (best // squares.shape[1] * GRID)[:, None] + span
    columns = (best % squares.shape[1] * GRID)[:, None] + span
    rows, columns = rows.clamp(0, height - 2), columns.clamp(0, width - 2)  # but not the outermost, as published
    peak = heat[rows[:, :, None], columns[:, None, :]].flatten(1).argmax(1)
    each = torch.arange(len(best), device=heat.device)
    pixel = torch.stack([rows[each, peak // len(span)], columns[each, peak % len(span)]], 1)
    score = heat[pixel[:, 0], pixel[:, 1]]
    pixel, score = pixel[score > threshold], score[score > threshold]

    row, column = (pixel // CELL).T
    kind = maps.angle[0, :, row, column].argmax(0)
    turn, depth, log_width = (m[0, kind, row, column] for m in (maps.turn, maps.depth, maps.width))
    theta = (kind + turn.clamp(-0.5, 0.5) + 0.5) * (math.pi / config.angles) - math.pi / 2
    centers = Centers(
        pixel,
        score,
        theta,
        config.anchor_width * log_width.clamp(-1, 1).exp(),
        2 * config.anchor_depth * depth.clamp(-0.5, 0.5),
    )
    return centers.of(_distinct(pixel, theta, limit))


def _distinct(pixel: Tensor, theta: Tensor, limit: int) -> Tensor:
    """Indices of the first `limit` centres that are not the same as one before them."""
    turned = (theta[:, None] - theta).abs()
    same = (torch.cdist(pixel.double(), pixel.double()) < GRID) & (torch.minimum(turned, math.pi - turned) < SAME_ANGLE)
    repeats, left = same.cpu().numpy(), torch.ones(len(pixel), dtype=torch.bool).numpy()
    kept: list[int] = []
    while left.any() and len(kept) < limit:
        kept.append(int(left.argmax()))
        left &= ~repeats[kept[-1]]
    return torch.tensor(kept, dtype=torch.long, device=pixel.device)


def lift(centers: Centers, points: Tensor) -> tuple[Tensor, Tensor]:
    """Where the centres (R, 3) lie in space, given what the pixels show, (h, w, 3); and for which that is known (R,).

    Where a pixel's depth is unknown, the nearby pixel of median depth stands in.
    """
    height, width = points.shape[:2]
    span = torch.arange(-WINDOW, WINDOW + 1, device=points.device)
    rows = (centers.pixel[:, :1] + span).clamp(0, height - 1)
    columns = (centers.pixel[:, 1:] + span).clamp(0, width - 1)
    around = points[rows[:, :, None], columns[:, None, :]].flatten(1, 2)
    depth = torch.where(around[..., 2] > 0, around[..., 2], torch.nan)
    index = torch.where(depth[:, depth.shape[1] // 2].isnan(), depth.nanmedian(1).indices, depth.shape[1] // 2)
    surface = around[torch.arange(len(around), device=points.device), index]
    known = surface[:, 2] > 0
    stretch = 1 + centers.depth / torch.where(known, surface[:, 2], 1)  # further along the pixel's ray
    return surface * stretch[:, None], known


def metric_width(width: Tensor, theta: Tensor, z: Tensor, intrinsics: Intrinsics) -> Tensor:
    """Metres that `width` px at the angle theta are at depth z, (...)."""
    return width * z * torch.hypot(theta.cos() / intrinsics.fx, theta.sin() / intrinsics.fy)


def pixel_width(width: Tensor, theta: Tensor, z: Tensor, intrinsics: Intrinsics) -> Tensor:
    """The inverse of `metric_width`."""
    return width / (z * torch.hypot(theta.cos() / intrinsics.fx, theta.sin() / intrinsics.fy))


def rotation_of(theta: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Rotations (..., 3, 3) with columns approach, closing axis and their cross product."""
    ct, st, cg, sg, cb, sb = (f(angle) for angle in (theta, gamma, beta) for f in (torch.cos, torch.sin))
    zero, one = torch.zeros_like(ct), torch.ones_like(ct)
    flat = _matrix((zero, -ct, -st), (zero, st, -ct), (one, zero, zero))
    about_z = _matrix((cg, -sg, zero), (sg, cg, zero), (zero, zero, one))
    about_y = _matrix((cb, zero, sb), (zero, one, zero), (-sb, zero, cb))
    return flat @ about_z @ about_y


def angles_of(rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """theta in [-pi/2, pi/2), gamma and beta of rotations (..., 3, 3) whose approach leads away from the camera.

    Half a turn about the approach is the same grasp: of the two, the one with such a theta is told.
    """
    gamma = rotation[..., 2, 1].neg().clamp(-1, 1).asin()
    beta = torch.atan2(rotation[..., 2, 2], rotation[..., 2, 0])
    theta = torch.atan2(rotation[..., 1, 1], -rotation[..., 0, 1])
    over = (theta < -math.pi / 2) | (theta >= math.pi / 2)
    theta = torch.where(over, torch.remainder(theta + math.pi / 2, math.pi) - math.pi / 2, theta)
    sign = torch.where(over, -1.0, 1.0)
    return theta, sign * gamma, sign * beta


def _matrix(*rows: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def decode_regions(
    logits: Tensor,
    offsets: Tensor,
    centers: Centers,
    positions: Tensor,
    gamma: Tensor,
    beta: Tensor,
    intrinsics: Intrinsics,
    count: int,
    depth: float,
) -> Tensor:
    """GraspNet rows (N, 17) of the best `count` anchors of each of R regions.

    logits (R, A), offsets (R, A, 3) of the local network; positions (R, 3) of the centres, m; gamma, beta: its anchors,
    quarter turns; depth: of the tips beyond a grasp's centre, m. Grasps that roll by MAX_GAMMA or more are left out.
    """
    scores, anchor = logits.sigmoid().topk(min(count, logits.shape[1]), 1)
    moved = offsets.gather(1, anchor[..., None].expand(-1, -1, 3)).clamp(-1, 1)
    place = positions[:, None] + OFFSET * moved
    gamma = gamma.to(logits)[anchor % len(gamma)] * (math.pi / 2)
    beta = beta.to(logits)[anchor // len(beta)] * (math.pi / 2)
    theta = centers.theta[:, None].expand_as(gamma)
    width = metric_width(centers.width[:, None], theta, place[..., 2], intrinsics)
    in_space = torch.atan2(theta.sin() / intrinsics.fy, theta.cos() / intrinsics.fx)
    rows = logits.new_zeros(*scores.shape, ROW_LENGTH)
    rows[..., 0], rows[..., 1], rows[..., 2], rows[..., 3], rows[..., 16] = scores, width, HEIGHT, depth, -1
    rows[..., 4:13] = rotation_of(in_space, gamma, beta).flatten(-2)
    rows[..., 13:16] = place
    return rows[gamma.abs() < MAX_GAMMA]
