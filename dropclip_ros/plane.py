# SPDX-License-Identifier: Apache-2.0
"""Planes by RANSAC: hypotheses in batches, local refinement, an early end. Planes are (4,): unit normal, offset (m)."""

import numpy as np

_SCORED = 1000  # points that score a hypothesis of RANSAC
_BATCH = 200  # hypotheses that are scored in one product
_MISSED = 1e-6  # RANSAC ends when the largest plane was missed with this probability


def ransac_plane(points: np.ndarray, distance: float, iterations: int, rng: np.random.Generator) -> np.ndarray:
    """The plane (4,) that most of the points (N, 3) are within `distance` of, metres; it faces the origin, the camera.

    Hypotheses through three points each, at most `iterations`, are scored by the batch on a subset (MSAC: the least
    mean of truncated squares wins); the best of a batch is refined by least squares before it is compared. Ends early
    once a larger plane would have been seen.
    """
    some = at_most(points, _SCORED, rng)
    best, least, tried, missed = np.zeros(4), np.inf, 0, 1.0
    while tried < iterations and missed > _MISSED:
        a, b, c = points[rng.integers(len(points), size=(3, min(_BATCH, iterations - tried)))]
        tried += len(a)
        normals = np.cross(b - a, c - a)
        lengths = np.linalg.norm(normals, axis=1)
        spread = lengths > 1e-9  # the others are three points on a line
        if not spread.any():
            continue
        normals = normals[spread] / lengths[spread, None]
        planes = np.column_stack([normals, -(normals * a[spread]).sum(axis=1)])
        plane = settle(planes[np.argmin(_costs(some, planes, distance))], some, distance, rounds=2)
        cost = _costs(some, plane[None], distance)[0]
        if cost < least:
            best, least = plane, cost
        share = np.mean(np.abs(signed_distance(some, best)) < distance)
        missed = (1 - share**3) ** tried
    return settle(best, points, distance, rounds=4)


def _costs(points: np.ndarray, planes: np.ndarray, distance: float) -> np.ndarray:
    """Mean squared distance of the points (N, 3), truncated at `distance`, from each plane (K, 4): (K,)."""
    squares = points.astype(np.float32) @ planes[:, :3].T.astype(np.float32)
    squares += planes[:, 3].astype(np.float32)
    squares *= squares
    return np.minimum(squares, np.float32(distance**2), out=squares).mean(axis=0)


def settle(plane: np.ndarray, points: np.ndarray, distance: float, rounds: int) -> np.ndarray:
    """The plane after rounds of least squares on its inliers, facing the camera."""
    before = None
    for _ in range(rounds):
        lies = np.abs(signed_distance(points, plane)) < distance
        if np.count_nonzero(lies) < 3 or np.array_equal(lies, before):  # the same points make the same plane
            break
        plane, before = fit_plane(points[lies]), lies
    return plane if plane[3] >= 0 else -plane


def fit_plane(slab: np.ndarray) -> np.ndarray:
    """The plane (4,) of least squares through points (N, 3), facing the camera, which is the origin."""
    centre = np.array([column.mean(dtype=np.float64) for column in slab.T])
    offsets = slab - centre.astype(slab.dtype)
    normal = np.linalg.eigh((offsets.T @ offsets).astype(np.float64))[1][:, 0]
    normal = -normal if normal @ centre > 0 else normal
    return np.append(normal, -normal @ centre)


def signed_distance(points: np.ndarray, plane: np.ndarray) -> np.ndarray:
    """Signed distance (N,) of the points (N, 3) from the plane (4,): normal and offset."""
    return points @ plane[:3].astype(points.dtype) + points.dtype.type(plane[3])


def at_most(points: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """A uniform sample of the rows: enough for anything statistical, and quick."""
    return points if len(points) <= count else points[rng.choice(len(points), count, replace=False)]
