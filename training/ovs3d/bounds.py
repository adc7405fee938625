# SPDX-License-Identifier: Apache-2.0
"""Where a scene is, and which of its space depth images show to be empty."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from scipy.ndimage import minimum_filter
from torch import Tensor

from dropclip_ros.vision.geometry import invert_pose, project, transform_points
from training.ovs3d.field import Field
from training.ovs3d.views import PosedViews
from training.runs.errors import InputError

MARGIN = 1.1  # of the box around what was found in it
SPREAD = (1.0, 99.0)  # percentiles of the points that the box holds
FARTHEST = 20.0  # how far a ray goes without depth, in distances of the cameras from what they look at
WINDOW = 5  # pixels around a cell's middle whose depths all must lie behind it


def find_bounds(views: PosedViews) -> np.ndarray:
    """A cube (2,3), m, around what the cameras look at: of depth, of points, of LLFF's ranges, else of the cameras.

    Points farther from the cameras' focus than the cameras are (1.2 times their median distance) count as background.
    """
    focus, distance = _focus(views)
    points = _surface(views)
    if points is not None:
        near = points[np.linalg.norm(points - focus, axis=1) < 1.2 * distance]
        points = near if len(near) >= 100 else points
        low, high = np.percentile(points, SPREAD, axis=0)
    elif views.range is not None:
        corners = [o + t * d for o, d in _corners(views) for t in views.range]
        low, high = np.min(corners, axis=(0, 1)), np.max(corners, axis=(0, 1))
    else:
        low, high = focus - 0.6 * distance, focus + 0.6 * distance
    half = MARGIN * float((high - low).max()) / 2
    return np.stack([(low + high) / 2 - half, (low + high) / 2 + half])


def find_range(views: PosedViews) -> tuple[float, float]:
    """Least and greatest distance along rays at which anything is, m."""
    if views.range is not None:
        return 0.9 * views.range[0], 1.2 * views.range[1]
    _, distance = _focus(views)
    if views.depth is not None and (views.depth > 0).any():
        known = views.depth[views.depth > 0]
        return 0.8 * float(np.percentile(known, 0.1)), max(4 * float(known.max()), 4 * distance)
    if views.points is not None:
        reach = np.linalg.norm(views.points[None, ::10] - views.world_from_camera[:, None, :3, 3], axis=2)
        return 0.5 * float(np.percentile(reach, 0.1)), FARTHEST * distance
    return 0.05 * distance, FARTHEST * distance


def check_overlap(views: PosedViews) -> None:
    """Raises InputError where no view looks at what another one sees; warns of single ones that do not."""
    near, far = find_range(views)
    _, distance = _focus(views)
    width, height = views.size
    places = np.stack(np.meshgrid(np.linspace(0, width - 1, 5), np.linspace(0, height - 1, 5)), -1).reshape(-1, 2)
    pixels = (places.round() @ (1, width)).astype(int)
    alone = np.zeros(len(views), bool)
    for v in range(len(views)):
        origins, directions = (rays.numpy() for rays in views.rays(v, pixels))
        if views.depth is not None:
            depth = (views.depth[v].ravel() * views.along(v))[pixels]
            points = (origins + depth[:, None] * directions)[depth > 0]
        else:
            steps = np.geomspace(max(near, 0.3 * distance), min(far, 3 * distance), 6)
            points = (origins[:, None] + steps[:, None] * directions[:, None]).reshape(-1, 3)
        alone[v] = not any(_shows(views, other, points) for other in range(len(views)) if other != v)
    if alone.sum() > len(views) / 2:
        raise InputError(
            f"{alone.sum()} of {len(views)} views see nothing that another one looks at; depth shows only "
            "where views overlap: check the poses, or take more views"
        )
    if alone.any():
        names = ", ".join(np.array(views.names)[alone][:3])
        warnings.warn(
            f"{alone.sum()} views see nothing that another one looks at ({names}); check their poses", stacklevel=2
        )


def _shows(views: PosedViews, v: int, points: np.ndarray) -> bool:
    """Whether more than a few of the world points (N,3) lie in view `v`."""
    if not len(points):
        return False
    u, z = projected(views, v, points)
    return bool(((z > 0) & (u >= 0).all(1) & (u < views.size).all(1)).mean() > 0.05)


def carve(field: Field, views: PosedViews) -> None:
    """Marks the cells that a fitted view's depth looks through, as far as they go, as impossible (`field.possible`)."""
    size = field.possible.shape[0]
    knots = torch.linspace(-1, 1, size + 1).clamp(-1 + 1e-4, 1 - 1e-4)
    axes = torch.stack([knots] * 3, 1)
    edges = field.unnormalise(axes.to(field.bounds)).cpu().numpy()  # (size+1,3): each axis on its own
    middles, halves = (edges[1:] + edges[:-1]) / 2, np.diff(edges, axis=0) / 2
    points = np.stack(np.meshgrid(*middles.T, indexing="ij"), -1).reshape(-1, 3).astype(np.float32)
    radius = np.linalg.norm(np.stack(np.meshgrid(*halves.T, indexing="ij"), -1).reshape(-1, 3), axis=1)
    width, height = views.size
    possible = np.ones(len(points), bool)
    for v in np.flatnonzero(~views.held_out):
        left = np.flatnonzero(possible)
        depth = minimum_filter(views.depth[v], WINDOW)  # 0, which is unknown, carves nothing
        u, z = projected(views, v, points[left])
        u = np.rint(np.nan_to_num(u, nan=-1)).astype(np.int64)
        inside = (z > 0) & (u >= 0).all(1) & (u[:, 0] < width) & (u[:, 1] < height)
        free = inside.copy()
        free[inside] = z[inside] + radius[left[inside]] < depth[u[inside, 1], u[inside, 0]]
        possible[left[free]] = False
    field.possible = torch.from_numpy(possible).view((size,) * 3).to(field.possible.device)


def projected(views: PosedViews, v: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """World points (N,3) in view `v`: pixels (N,2), NaN behind the camera, and depths (N,) m."""
    return project(transform_points(invert_pose(views.world_from_camera[v]), points), views.intrinsics[v])


def _focus(views: PosedViews) -> tuple[np.ndarray, float]:
    """The point (3,) nearest to all optical axes, in front of the cameras, and their median distance from it, m."""
    origins, axes = views.world_from_camera[:, :3, 3], views.world_from_camera[:, :3, 2]
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    focus = np.linalg.lstsq(across.sum(0), (across @ origins[:, :, None]).sum(0)[:, 0], rcond=1e-4)[0]
    ahead = ((focus - origins) * axes).sum(1)
    if np.median(ahead) <= 0:  # parallel or outward: as far ahead as they are apart
        distance = float(np.linalg.norm(np.ptp(origins, axis=0)))
        return origins.mean(0) + distance * axes.mean(0), distance
    return focus, float(np.median(np.linalg.norm(focus - origins, axis=1)))


def _surface(views: PosedViews) -> np.ndarray | None:
    """Points (N,3) m on surfaces, where anything tells them."""
    if views.depth is not None and (views.depth > 0).any():
        return np.concatenate([views.surface(v)[::7] for v in range(len(views))])
    return views.points


def _corners(views: PosedViews) -> list[tuple[np.ndarray, np.ndarray]]:
    """Origins and directions (4,3) of the rays through each view's corners."""
    width, height = views.size
    pixels = np.array([0, width - 1, width * (height - 1), width * height - 1])
    return [tuple(rays.numpy() for rays in views.rays(v, pixels)) for v in range(len(views))]


def bounds_tensor(views: PosedViews, given: tuple[float, ...]) -> Tensor:
    """The box that was asked for, else the one that is found: (2,3) m."""
    return torch.tensor(np.reshape(given, (2, 3)) if given else find_bounds(views), dtype=torch.float32)
