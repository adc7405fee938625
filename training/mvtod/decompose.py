# SPDX-License-Identifier: Apache-2.0
"""Convex parts for collision: of any mesh, by CoACD; and how well parts fit a mesh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull


def decompose(vertices: np.ndarray, faces: np.ndarray, concavity: float = 0.03, most: int = 32) -> list[np.ndarray]:
    """Vertices (v,3) float32 of convex parts of a mesh, open ones too; the same every time.

    concavity: CoACD's threshold, relative to the mesh's size: smaller gives more parts, at most about `most`.
    """
    import coacd  # only meshes from files need it

    coacd.set_log_level("error")
    parts = coacd.run_coacd(
        coacd.Mesh(vertices.astype(np.float64), faces), threshold=concavity, max_convex_hull=most,
        preprocess_resolution=40, resolution=1000, mcts_iterations=60, seed=0,
    )  # fmt: skip
    return [np.asarray(part, np.float32) for part, _ in parts]


@dataclass(frozen=True)
class Fit:
    """iou: of the volumes. uncovered: m, the farthest that the mesh stands out of the parts, which lets things sink
    into each other. air: m, the farthest that the parts stand off the mesh, which keeps things apart."""

    parts: int
    iou: float
    uncovered: float
    air: float


def fit(vertices: np.ndarray, faces: np.ndarray, parts: Sequence[np.ndarray], samples: int = 4000) -> Fit:
    """Measured at random points of both surfaces and of the box around them; seeded."""
    import open3d as o3d  # seconds to import

    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.core.Tensor(np.float32(vertices)), o3d.core.Tensor(np.uint32(faces)))
    hulls = [ConvexHull(np.asarray(part, float)) for part in parts]
    rng = np.random.default_rng(0)
    on_mesh, _ = sample_surface(vertices[faces], samples, rng)
    exposed = []
    for k, hull in enumerate(hulls):
        points, face = sample_surface(hull.points[hull.simplices], max(60, samples // len(hulls)), rng)
        others = hulls[:k] + hulls[k + 1 :]
        outward = points + 2e-4 * hull.equations[face, :3]
        exposed.append(points[outside(outward, others) > 0] if others else points)
    exposed = np.concatenate(exposed)
    inside = rng.uniform(vertices.min(0), vertices.max(0), (samples, 3))
    solid, filled = winding(vertices[faces], inside) > 0.5, outside(inside, hulls) <= 0
    iou = (solid & filled).sum() / max((solid | filled).sum(), 1)
    air = scene.compute_distance(o3d.core.Tensor(np.float32(exposed))).numpy().max(initial=0.0)
    return Fit(len(hulls), float(iou), float(max(outside(on_mesh, hulls).max(), 0.0)), float(air))


def sample_surface(triangles: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """`count` points (N,3) uniform on triangles (F,3,3), and the triangle (N,) of each."""
    a, b, c = (triangles[:, k].astype(float) for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    face = rng.choice(len(triangles), count, p=area / area.sum())
    u, v = rng.uniform(size=(2, count, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    return a[face] + u * (b - a)[face] + v * (c - a)[face], face


def outside(points: np.ndarray, hulls: Sequence[ConvexHull]) -> np.ndarray:
    """(N,) how far points (N,3) stand out of the union of hulls; negative inside."""
    return np.min([(points @ hull.equations[:, :3].T + hull.equations[:, 3]).max(axis=1) for hull in hulls], axis=0)


def winding(triangles: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N,) how often triangles (F,3,3) wind around points (N,3): about 1 inside a mesh, also where parts overlap or
    small holes are left (Jacobson 2013)."""
    total = np.empty(len(points))
    for start in range(0, len(points), 500):
        corners = triangles[None] - points[start : start + 500, None, None]
        a, b, c = (corners[:, :, k] for k in range(3))
        la, lb, lc = (np.linalg.norm(corner, axis=2) for corner in (a, b, c))
        above = np.einsum("nfi,nfi->nf", a, np.cross(b, c))
        dots = [np.einsum("nfi,nfi->nf", p, q) for p, q in ((a, b), (b, c), (c, a))]
        below = la * lb * lc + dots[0] * lc + dots[1] * la + dots[2] * lb
        total[start : start + 500] = np.arctan2(above, below).sum(axis=1) / (2 * np.pi)
    return total
