# SPDX-License-Identifier: Apache-2.0
"""Convex parts for collision: of any mesh, by V-HACD; and how well parts fit a mesh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull, KDTree, QhullError

AIR = 0.004  # m
METHOD = "V-HACD 4, 2"  # another number when parts of the same mesh come out otherwise: kept ones are then made anew


def decompose(vertices: np.ndarray, faces: np.ndarray, most: int = 32, voxels: int = 200_000) -> list[np.ndarray]:
    """Vertices (v,3) float32 of at most `most` convex parts that cover a mesh (m), open ones too; always the same.

    V-HACD 4 cuts a grid of `voxels` around the mesh. What its parts miss of the mesh goes to the nearest part. Where
    the convex hull stands off the mesh by less than AIR, it is the only part.
    """
    import vhacdx  # only meshes from files need it

    whole, rng = ConvexHull(vertices.astype(float)), np.random.default_rng(0)
    skin = KDTree(sample_surface(vertices[faces], 20_000, rng)[0])
    if skin.query(sample_surface(whole.points[whole.simplices], 2000, rng)[0])[0].max() < AIR:
        return [vertices[whole.vertices].astype(np.float32)]
    corners = np.column_stack([np.full(len(faces), 3), faces]).ravel().astype(np.uint32)
    parts = vhacdx.compute_vhacd(
        np.ascontiguousarray(vertices, float),
        corners,
        maxConvexHulls=most,
        resolution=voxels,
        minimumVolumePercentErrorAllowed=1.0,
        maxNumVerticesPerCH=64,
        asyncACD=False,
    )
    hulls = [hull for hull in (_solid(points) for points, _ in parts) if hull is not None] or [whole]
    out = np.stack([_beyond(vertices, hull) for hull in hulls])
    nearest, missed = out.argmin(axis=0), out.min(axis=0) > 0
    grown = [np.concatenate([hull.points, vertices[missed & (nearest == k)]]) for k, hull in enumerate(hulls)]
    return [points[ConvexHull(points).vertices].astype(np.float32) for points in grown]


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
    air = scene.compute_distance(o3d.core.Tensor(np.float32(exposed))).numpy()
    far = np.argsort(-air)[:400]  # cracks between parts, deep inside the mesh, are no air
    air = air[far][winding(vertices[faces], exposed[far]) < 0.5].max(initial=0.0)
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
    return np.min([_beyond(points, hull) for hull in hulls], axis=0)


def _solid(points: np.ndarray) -> ConvexHull | None:
    """V-HACD makes flat parts now and then."""
    try:
        return ConvexHull(points)
    except QhullError:
        return None


def _beyond(points: np.ndarray, hull: ConvexHull) -> np.ndarray:
    return (points @ hull.equations[:, :3].T + hull.equations[:, 3]).max(axis=1)


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
