# SPDX-License-Identifier: Apache-2.0
"""Collision shapes of procedural objects: convex pieces known by construction, no search at run time.

A solid loft is cut across where a hull over its rings would bridge more than TOLERANCE. A wall (the hollow parts of a
vessel, a ring) is cut around its axis into sectors, and along its profile by `convex_pieces`. Every face of the mesh
lies inside one piece, so what is seen never sinks into something else; between the pieces and the mesh may be air.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from training.objects.procedural.shapes import Part

TOLERANCE = 0.002  # m that a piece may bridge across a hollow


def convex_parts(parts: Sequence[Part]) -> list[ConvexHull]:
    """Hulls of convex pieces that cover all parts, m, in the parts' frame; flat and hidden ones left out."""
    pieces = [piece for part in parts if not part.hollow for piece in _solid(part)]
    for wall in _walls([part for part in parts if part.hollow]):
        pieces += _sectors(wall)
    return _without_hidden([hull for hull in map(_hull, pieces) if hull is not None])


def _hull(points: np.ndarray) -> ConvexHull | None:
    """None where the points are flat."""
    if min(np.ptp(points, axis=0)) < 1e-5:
        return None
    try:
        hull = ConvexHull(points)
    except QhullError:
        return None
    return hull if hull.volume > 1e-11 else None


def _without_hidden(hulls: list[ConvexHull]) -> list[ConvexHull]:
    """Leaves out pieces that lie inside another one: decals, studs' roots, layers."""
    low, high = (np.array([getattr(hull, side) for hull in hulls]) for side in ("min_bound", "max_bound"))
    kept: list[ConvexHull] = []
    for i in sorted(range(len(hulls)), key=lambda i: -hulls[i].volume):
        around = [k for k in kept if (low[k] < low[i] + 1e-4).all() and (high[k] > high[i] - 1e-4).all()]
        points = hulls[i].points[hulls[i].vertices]
        if not any((points @ hulls[k].equations[:, :3].T + hulls[k].equations[:, 3]).max() < 3e-4 for k in around):
            kept.append(i)
    return [hulls[i] for i in kept]


def _solid(part: Part) -> list[np.ndarray]:
    """Vertices of the convex pieces of a closed part."""
    if part.grid is None:
        return [part.vertices]
    rings = part.rings()
    count = len(rings)
    middle = rings.mean(axis=1, keepdims=True)
    axis = np.cross(rings - middle, np.roll(rings, -1, axis=1) - middle).sum(axis=1, keepdims=True)
    outward = np.cross(np.roll(rings, -1, axis=1) - np.roll(rings, 1, axis=1), axis)
    outward /= np.maximum(np.linalg.norm(outward, axis=2, keepdims=True), 1e-12)
    widest = rings[np.argmax(np.linalg.norm(rings - middle, axis=2).max(axis=1))]
    sections = [np.arange(rings.shape[1])]
    if not _is_convex(_in_plane(widest)):
        sections = convex_pieces(_in_plane(widest), TOLERANCE)
    bridged = np.zeros((count, count))  # [a, b]: how far a chord between rings a and b stands off a ring between them
    for a, b in combinations(range(count), 2):
        if b - a > 1:
            chord = rings[b] - rings[a]
            between = rings[a + 1 : b] - rings[a]
            t = (between * chord).sum(2) / np.maximum((chord**2).sum(1), 1e-12)
            off = np.clip(t, 0, 1)[..., None] * chord - between
            bridged[a, b] = max(0.0, (off * outward[a + 1 : b]).sum(2).max())
    pieces, start = [], 0
    while start < count - 1:
        stop = start + 1
        while stop + 1 < count and bridged[start : stop + 2, start : stop + 2].max() <= TOLERANCE:
            stop += 1
        pieces += [rings[start : stop + 1][:, section].reshape(-1, 3) for section in sections]
        start = stop
    return pieces


def _walls(hollow: Sequence[Part]) -> list[np.ndarray]:
    """Profiles (P,N,3), P points along a closed polygon in each of N columns: parts that follow each other are one."""
    walls: list[np.ndarray] = []
    for part in hollow:
        rings = part.rings()
        if walls and walls[-1].shape[1] == rings.shape[1] and np.abs(walls[-1][-1] - rings[0]).max() < 1e-3:
            walls[-1] = np.concatenate([walls[-1], rings])
        else:
            walls.append(rings)
    return walls


def _sectors(wall: np.ndarray) -> list[np.ndarray]:
    columns = wall.shape[1]
    radius = np.linalg.norm(wall - wall.mean(axis=1, keepdims=True), axis=2).max()
    counts = [count for count in range(8, columns + 1) if columns % count == 0]
    wide = [count for count in counts if radius * (1 - np.cos(np.pi / count)) <= TOLERANCE]
    step = columns // (wide or counts)[0 if wide else -1]
    profile = _in_plane(wall[:, 0])
    sections = convex_pieces(profile, TOLERANCE)
    return [
        wall[section][:, np.arange(start, start + step + 1) % columns].reshape(-1, 3)
        for section in sections
        for start in range(0, columns, step)
    ]


def _in_plane(points: np.ndarray) -> np.ndarray:
    """(N,2) coordinates of flat points (N,3) in their own plane, counter-clockwise."""
    centred = points - points.mean(axis=0)
    flat = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    return flat if _area(flat) > 0 else flat * (1, -1)


def _area(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _turns(polygon: np.ndarray) -> np.ndarray:
    """(N,) cross product of the edges before and after each point; negative at reflex ones."""
    before, after = polygon - np.roll(polygon, 1, axis=0), np.roll(polygon, -1, axis=0) - polygon
    return before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]


def _is_convex(polygon: np.ndarray) -> bool:
    return bool(_turns(polygon).min() > -1e-9)


def convex_pieces(polygon: np.ndarray, tolerance: float) -> list[np.ndarray]:
    """Indices of nearly convex pieces of a simple polygon (N,2), counter-clockwise.

    Triangles (ear clipping) are merged, the flattest dent first, as long as no point of the outline lies more than
    `tolerance` below the hull of the merged piece.
    """
    pieces = _triangles(polygon)
    depth = {pair: _depth(polygon, pieces[pair[0]], pieces[pair[1]]) for pair in combinations(range(len(pieces)), 2)}
    alive = set(range(len(pieces)))
    while depth:
        (i, j), dent = min(depth.items(), key=lambda item: item[1])
        if dent > tolerance:
            break
        pieces.append(pieces[i] | pieces[j])
        alive -= {i, j}
        depth = {pair: value for pair, value in depth.items() if not {i, j} & set(pair)}
        new = len(pieces) - 1
        depth |= {(k, new): _depth(polygon, pieces[k], pieces[new]) for k in alive}
        alive.add(new)
    return [np.array(sorted(pieces[k])) for k in sorted(alive)]


def _depth(polygon: np.ndarray, one: set[int], other: set[int]) -> float:
    """How far the outline of two neighbours stays below the edges of their hull; infinite where they share no edge."""
    if len(one & other) < 2:
        return np.inf
    outline = polygon[sorted(one | other)]
    corners = np.sort(ConvexHull(outline, qhull_options="QJ Pp").vertices)
    deepest = 0.0
    for start, stop in zip(corners, [*corners[1:], corners[0] + len(outline)], strict=True):
        a, b = outline[start], outline[stop % len(outline)]
        edge = (b - a) / max(np.linalg.norm(b - a), 1e-9)
        below = outline[np.arange(start + 1, stop) % len(outline)] - a
        deepest = max(deepest, (edge[0] * below[:, 1] - edge[1] * below[:, 0]).max(initial=0.0))
    return float(deepest)


def _triangles(polygon: np.ndarray) -> list[set[int]]:
    """Ear clipping; points that repeat the one before are left out."""
    left = [k for k in range(len(polygon)) if np.linalg.norm(polygon[k] - polygon[k - 1]) > 1e-6]
    triangles = []
    while len(left) > 3:
        corners = polygon[left]
        turns = _turns(corners)
        for k in np.argsort(-turns):  # fat ears first
            a, b, c = corners[k - 1], corners[k], corners[(k + 1) % len(left)]
            others = np.delete(corners, [(k - 1) % len(left), k, (k + 1) % len(left)], axis=0)
            inside = np.ones(len(others), bool)
            for p, q in ((a, b), (b, c), (c, a)):
                inside &= (q[0] - p[0]) * (others[:, 1] - p[1]) - (q[1] - p[1]) * (others[:, 0] - p[0]) > 1e-12
            if turns[k] <= 1e-12 or not inside.any():
                break
        triangles.append({left[k - 1], left[k], left[(k + 1) % len(left)]})
        left.pop(int(k))
    return [*triangles, set(left)]
