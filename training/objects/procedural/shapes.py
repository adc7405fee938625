# SPDX-License-Identifier: Apache-2.0
"""Mesh primitives with texture coordinates: lofts, revolutions, sweeps, prisms and boxes.

Every primitive returns a `Part`: metres, z up, faces wound outward, uv in the unit square of one slot of the
texture atlas (`textures.SLOTS`). An object is a list of parts; `join` makes one mesh of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from training.objects.procedural.textures import BODY, PANELS, to_atlas


@dataclass(frozen=True)
class Part:
    """vertices (V,3) m, faces (F,3), uv (V,2) in the unit square of `slot` (OpenGL: v up)."""

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    slot: int
    hollow: bool = False  # the wall of a vessel or a ring: collision must not close its mouth
    grid: tuple[int, int] | None = None  # of a loft: how many rings, and points in each; None: convex

    def rings(self) -> np.ndarray:
        """(R,N,3) rings of a loft, without the seam."""
        count, n = self.grid
        return self.vertices[: count * (n + 1)].reshape(count, n + 1, 3)[:, :-1]

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Part:
        return replace(self, vertices=self.vertices + np.array((x, y, z)))

    def turned(self, axis: str, degrees: float) -> Part:
        rotation = Rotation.from_euler(axis, degrees, degrees=True)
        return replace(self, vertices=rotation.apply(self.vertices))

    def scaled(self, x: float = 1.0, y: float = 1.0, z: float = 1.0) -> Part:
        return replace(self, vertices=self.vertices * np.array((x, y, z)))


def loft(rings: np.ndarray, slot: int = BODY, caps: bool = True, hollow: bool = False) -> Part:
    """A skin over closed rings (R,N,3), each counter-clockwise seen from the direction in which they follow each other.

    u runs around a ring, v along the rings (by their mean distance); `caps` closes both ends with fans.
    """
    rings = np.asarray(rings, float)
    count, n = rings.shape[:2]
    closed = np.concatenate([rings, rings[:, :1]], axis=1)  # the seam's vertices twice: u = 0 and u = 1
    step = np.linalg.norm(np.diff(rings, axis=0), axis=2).mean(axis=1)
    v = np.concatenate([[0.0], np.cumsum(step)])
    v = v / max(v[-1], 1e-9)
    u = np.linspace(0.0, 1.0, n + 1)
    uv = np.stack(np.broadcast_arrays(u[None, :], v[:, None]), axis=2)
    index = np.arange(count * (n + 1)).reshape(count, n + 1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = [np.stack([a, b, c], 2).reshape(-1, 3), np.stack([a, c, d], 2).reshape(-1, 3)]
    vertices, uvs = [closed.reshape(-1, 3)], [uv.reshape(-1, 2)]
    if caps:
        start = count * (n + 1)
        for ring, flip in ((rings[0], True), (rings[-1], False)):
            vertices += [ring.mean(axis=0, keepdims=True), ring]
            uvs.append(_fan_uv(n))
            around = np.arange(n)
            fan = np.stack([np.zeros(n, int), 1 + around, 1 + (around + 1) % n], axis=1) + start
            faces.append(fan[:, ::-1] if flip else fan)
            start += n + 1
    part = _clean(np.concatenate(vertices), np.concatenate(faces), np.concatenate(uvs), slot)
    return replace(part, hollow=hollow, grid=(count, n))


def _fan_uv(n: int) -> np.ndarray:
    angle = np.arange(n) * 2 * np.pi / n
    return np.concatenate([[[0.5, 0.5]], 0.5 + 0.5 * np.stack([np.cos(angle), np.sin(angle)], axis=1)])


def _clean(vertices: np.ndarray, faces: np.ndarray, uv: np.ndarray, slot: int) -> Part:
    """Drop faces without area: poles of revolutions, rings that shrink to a point."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    return Part(vertices, faces[area > 1e-10], uv, slot)


def circle(n: int) -> np.ndarray:
    """(n,2) unit circle, counter-clockwise."""
    angle = np.arange(n) * 2 * np.pi / n
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def rounded(x: float, y: float, radius: float, n: int = 6) -> np.ndarray:
    """(4n,2) rectangle of size x by y with round corners, counter-clockwise."""
    radius = min(radius, 0.499 * x, 0.499 * y)
    quarter = np.linspace(0, np.pi / 2, n)
    corners = []
    for k, (sx, sy) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        angle = quarter + k * np.pi / 2
        centre = np.array([sx * (x / 2 - radius), sy * (y / 2 - radius)])
        corners.append(centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1))
    return np.concatenate(corners)


def revolve(profile: Sequence[tuple[float, float]], slot: int = BODY, n: int = 24, hollow: bool = False) -> Part:
    """Turn a profile of (radius, z) around z. It runs up the outside (and, for a vessel, down its inside)."""
    profile = np.asarray(profile, float)
    rings = np.empty((len(profile), n, 3))
    rings[:, :, :2] = profile[:, :1, None] * circle(n)[None]
    rings[:, :, 2] = profile[:, 1:]
    return loft(rings, slot, caps=False, hollow=hollow)


def arc(radius: float, start: float, stop: float, n: int = 9, centre: tuple[float, float] = (0.0, 0.0)) -> list:
    """Points on a circle for profiles: angles in degrees from the +r axis."""
    angle = np.radians(np.linspace(start, stop, n))
    points = np.stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)], axis=1)
    return [(float(max(r, 0.0)), float(z)) for r, z in points]


def cylinder(radius: float, z0: float, z1: float, slot: int = BODY, n: int = 24, top: float | None = None) -> Part:
    """A capped cylinder, or a cone frustum where `top` gives another upper radius."""
    ring = np.zeros((2, n, 3))
    ring[0, :, :2], ring[1, :, :2] = circle(n) * radius, circle(n) * (radius if top is None else top)
    ring[0, :, 2], ring[1, :, 2] = z0, z1
    return loft(ring, slot)


def ellipsoid(x: float, y: float, z: float, slot: int = BODY, n: int = 24) -> Part:
    """Semi-axes x, y, z."""
    return revolve(arc(1.0, -90, 90, 13), slot, n).scaled(x, y, z)


def torus(radius: float, tube: float, slot: int = BODY, n: int = 28, m: int = 12) -> Part:
    return revolve(arc(tube, -180, 180, m + 1, (radius, 0.0)), slot, n, hollow=True)


def prism(outline: np.ndarray, z0: float, z1: float, slot: int = BODY, bevel: float = 0.0) -> Part:
    """Extrude an outline (N,2), star-shaped around its centre; the caps show the slot's picture seen from above."""
    outline = np.asarray(outline, float)
    flat = outline - outline.mean(axis=0)
    size = np.ptp(outline, axis=0).max()
    inner = outline.mean(axis=0) + flat * (1 - 2 * bevel / size)
    layers = [(outline, z0), (outline, z1)]
    if bevel:
        layers = [(inner, z0), (outline, z0 + bevel), (outline, z1 - bevel), (inner, z1)]
    rings = np.stack([np.column_stack([ring, np.full(len(ring), z)]) for ring, z in layers])
    part = loft(rings, slot)
    low = outline.min(axis=0)
    planar = (part.vertices[:, :2] - low) / np.maximum(np.ptp(outline, axis=0), 1e-9)
    return replace(part, uv=np.clip(planar, 0, 1))


def box(x: float, y: float, z: float, slot: int = BODY) -> Part:
    """A box around the origin. In the printed slot its faces show the panels front (-y, +y), side (x) and top (z)."""
    vertices, faces, uv = [], [], []
    half = np.array([x, y, z]) / 2
    sides = (  # outward normal, right and up of somebody who looks at that face
        ("front", (0, -1, 0), (1, 0, 0), (0, 0, 1)),
        ("front", (0, 1, 0), (-1, 0, 0), (0, 0, 1)),
        ("side", (1, 0, 0), (0, 1, 0), (0, 0, 1)),
        ("side", (-1, 0, 0), (0, -1, 0), (0, 0, 1)),
        ("top", (0, 0, 1), (1, 0, 0), (0, 1, 0)),
        ("top", (0, 0, -1), (1, 0, 0), (0, -1, 0)),
    )
    for panel, *axes in sides:
        normal, right, up = (np.array(axis) * half for axis in axes)
        u0, u1 = PANELS[panel] if slot == BODY else (0.0, 1.0)
        base = len(vertices)
        for s, t in ((0, 0), (1, 0), (1, 1), (0, 1)):
            vertices.append(normal + (2 * s - 1) * right + (2 * t - 1) * up)
            uv.append((u0 + s * (u1 - u0), t))
        faces += [(base, base + 1, base + 2), (base, base + 2, base + 3)]
    return Part(np.array(vertices), np.array(faces), np.array(uv, float), slot)


def sweep(
    path: np.ndarray,
    radii: float | np.ndarray,
    slot: int = BODY,
    n: int = 10,
    flat: float | np.ndarray = 1.0,
    normal: tuple[float, float, float] | None = None,
) -> Part:
    """A capped tube along a path (K,3) with a radius per point, squeezed by `flat` along `normal` (default: the
    direction across the plane in which the path bends)."""
    path = np.asarray(path, float)
    radii, flat = (np.broadcast_to(np.asarray(value, float), len(path)) for value in (radii, flat))
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    across = np.linalg.svd(path - path.mean(axis=0))[2][2] if normal is None else np.asarray(normal, float)
    second = across - tangent * (tangent @ across)[:, None]
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    first = np.cross(second, tangent)
    c, s = circle(n).T
    offset = first[:, None] * c[None, :, None] + (flat[:, None] * second)[:, None] * s[None, :, None]
    return loft(path[:, None] + radii[:, None, None] * offset, slot)


def join(parts: Sequence[Part]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """vertices (V,3) float32 centred on the bounding box, faces (F,3) int32, atlas uv (V,2) float32."""
    starts = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    vertices = np.concatenate([part.vertices for part in parts])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=True)])
    uv = np.concatenate([to_atlas(part.uv, part.slot) for part in parts])
    return (vertices - centre(vertices)).astype(np.float32), faces.astype(np.int32), uv.astype(np.float32)


def centre(vertices: np.ndarray) -> np.ndarray:
    """(3,) middle of the bounding box."""
    return (vertices.min(axis=0) + vertices.max(axis=0)) / 2
