# SPDX-License-Identifier: Apache-2.0
"""Planes by RANSAC: hypotheses in batches, local refinement, an early end. Planes are (4,): unit normal, offset (m).

Points may lie on a GPU (see `arrays`), planes are NumPy's: the host waits twice for a batch of hypotheses and once for
each round of refinement.
"""

import numpy as np

from dropclip_ros.base.arrays import Array, absolute, array_namespace, as_type, like_array, to_numpy

_SCORED = 1000  # points that score a hypothesis of RANSAC
_BATCH = 200  # hypotheses that are scored in one product
_MISSED = 1e-6  # RANSAC ends when the largest plane was missed with this probability


def ransac_plane(points: Array, distance: float, iterations: int, rng: np.random.Generator) -> np.ndarray:
    """The plane (4,) that most of the points (N, 3) float64 are within `distance` of, metres; it faces the origin, the
    camera.

    Hypotheses through three points each, at most `iterations`, are scored by the batch on a subset (MSAC: the least
    mean of truncated squares wins); the best of a batch is refined by least squares before it is compared. Ends early
    once a larger plane would have been seen.
    """
    some = at_most(points, _SCORED, rng)
    best, least, most, tried = np.zeros(4), np.inf, 0.0, 0
    while tried < iterations and (1 - most**3) ** tried > _MISSED:
        planes = _through(*points[rng.integers(len(points), size=(3, min(_BATCH, iterations - tried)))])
        tried += len(planes)
        plane = to_numpy(planes[_costs(some, planes, distance).argmin()])
        if not np.isfinite(plane[3]):  # any three of them lie on a line
            continue
        plane = settle(plane, some, distance, rounds=2)
        cost, share = _cost_and_share(some, plane, distance)
        if cost < least:
            best, least, most = plane, cost, share
    return settle(best, points, distance, rounds=4)


def _through(a: Array, b: Array, c: Array) -> Array:
    """The planes (K, 4) through three points (K, 3) each; infinitely far away where these lie on a line."""
    xp = array_namespace(a)
    normals = xp.cross(b - a, c - a, axis=1)
    lengths = xp.sqrt((normals * normals).sum(axis=1))
    normals /= xp.clip(lengths, 1e-9, None)[:, None]
    offsets = -(normals * a).sum(axis=1)
    offsets[lengths <= 1e-9] = np.inf
    return xp.column_stack([normals, offsets])


def _costs(points: Array, planes: Array, distance: float) -> Array:
    """Mean squared distance of the points (N, 3), truncated at `distance`, from each plane (K, 4): (K,)."""
    planes = as_type(planes, "float32")
    squares = as_type(points, "float32") @ planes[:, :3].T
    squares += planes[:, 3]
    squares *= squares
    return array_namespace(squares).clip(squares, None, distance**2, out=squares).mean(axis=0)


def _cost_and_share(points: Array, plane: np.ndarray, distance: float) -> tuple[float, float]:
    """`_costs` of one plane, and the share of the points within the distance."""
    squares = signed_distance(points, plane) ** 2
    xp = array_namespace(squares)
    cost, within = xp.clip(squares, None, distance**2).sum(), (squares < distance**2).sum()
    return tuple(to_numpy(xp.stack([cost, within * 1.0])) / len(points))


def settle(plane: np.ndarray, points: Array, distance: float, rounds: int) -> np.ndarray:
    """The plane after rounds of least squares on its inliers among the points (N, 3) float64, facing the camera."""
    before = 0
    for _ in range(rounds):
        fitted, used = _fit(points, lies_in(points, plane, distance))
        if used < 3:
            break
        plane = fitted
        if used == before:  # as good as always the same points, which make the same plane
            break
        before = used
    return plane if plane[3] >= 0 else -plane


def fit_plane(points: Array, chosen: Array) -> np.ndarray:
    """The plane (4,) of least squares through the `chosen` (N,) of the points (N, 3), facing the camera: the origin."""
    return _fit(points, chosen)[0]


def _fit(points: Array, chosen: Array) -> tuple[np.ndarray, int]:
    """`fit_plane`, and how many were chosen. Weighs instead of gathering, so that the host waits once, at the end."""
    weight, xp = like_array(points, chosen), array_namespace(points)
    count = weight.sum()
    centre = weight @ points / xp.clip(count, 1, None)
    offsets = (points - centre) * weight[:, None]
    found = to_numpy(xp.vstack([offsets.T @ offsets, centre, 0 * centre + count]))
    normal = np.linalg.eigh(found[:3])[1][:, 0]
    normal = -normal if normal @ found[3] > 0 else normal
    return np.append(normal, -normal @ found[3]), int(found[4, 0])


def signed_distance(points: Array, plane: np.ndarray) -> Array:
    """Signed distance (N,) of the points (N, 3) from the plane (4,): normal and offset."""
    distance = points @ like_array(points, plane[:3])
    distance += float(plane[3])
    return distance


def lies_in(points: Array, plane: np.ndarray, distance: float) -> Array:
    """Which of the points (N, 3) are less than `distance` from the plane (4,): bool (N,)."""
    return absolute(signed_distance(points, plane)) < distance


def at_most(points: Array, count: int, rng: np.random.Generator) -> Array:
    """A uniform sample of the rows, each coordinate contiguous: enough for anything statistical, and quick."""
    return points if len(points) <= count else points.T[:, rng.choice(len(points), count, replace=False)].T
