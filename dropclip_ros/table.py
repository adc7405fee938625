# SPDX-License-Identifier: Apache-2.0
"""The table plane and what stands on it (paper A.7: RANSAC, then statistical outlier removal).

RANSAC only proposes planes; which of them is the table is decided by what it carries, its edge by what was seen of
it, and how close to it an object begins by the noise of its own points, so that objects keep their base.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull

from dropclip_ros.errors import DropclipError, Status
from dropclip_ros.voxels import VoxelConfig, voxelize

_CELL = 0.02  # m, raster of the table's extent
_GROW_CELL = 0.005  # m, raster in which objects grow down to their base
_NOISE_BINS = 12
_MIN_SIGMA = 0.0005  # m; a depth image counts in millimetres at best, however flat the table looks


@dataclass(frozen=True)
class TableConfig:
    """How the table is found. Lengths in metres, angles in radians."""

    distance: float = 0.01  # RANSAC inlier distance; also the thickness that counts as table when the plane is refined
    ransac_n: int = 3
    iterations: int = 1000
    seed: int = 0
    sample: int = 20000  # points that RANSAC sees, drawn uniformly; the plane is refined on all
    max_planes: int = 4  # planes that are tried, largest first
    min_points: int = 500  # inliers that a table needs at least
    max_tilt: float = 0.35  # from level, when gravity is known
    max_height: float = 0.5  # above the table, of what counts as standing on it
    edge_margin: float = 0.03  # beyond the seen rim of the table, where things still count as on it
    clearance: float = 2.5  # in sigmas of the table's noise: where an object begins
    certainty: float = 5.0  # in sigmas: what is surely not the table; objects grow down from here to `clearance`
    outlier_neighbors: int = 25
    outlier_std: float = 2.0  # 0 switches the outlier removal off

    def __post_init__(self):
        limits = {"distance": (1e-4, 0.2), "ransac_n": (3, 100), "iterations": (1, 10**6), "seed": (0, 2**31 - 1),
                  "sample": (100, 10**7), "max_planes": (1, 20), "min_points": (3, 10**7), "max_tilt": (0.0, np.pi / 2),
                  "max_height": (0.01, 10.0), "edge_margin": (0.0, 1.0), "clearance": (0.0, 20.0),
                  "certainty": (self.clearance, 50.0), "outlier_neighbors": (1, 1000), "outlier_std": (0.0, 20.0)}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:  # false for NaN too
                raise ValueError(f"table: {name} is {value}; it must be within [{low}, {high}]")


@dataclass(frozen=True, eq=False)
class Table:
    """A table plane in the camera frame.

    plane (4,): unit normal n towards the camera's side and offset d, n.p + d = height of p in metres; inliers bool (N,)
    of the points it was found in; noise (2, bins): depths z and the table's standard deviation there, both in metres.
    """

    plane: np.ndarray
    inliers: np.ndarray
    noise: np.ndarray

    def height(self, points: np.ndarray) -> np.ndarray:
        """Signed height (N,) of camera-frame points (N, 3) above the plane, metres."""
        return points @ self.plane[:3].astype(points.dtype) + points.dtype.type(self.plane[3])

    def sigma(self, points: np.ndarray) -> np.ndarray:
        """Standard deviation (N,) of the height of the table's points at the depth of each point, metres."""
        return np.interp(points[:, 2], *self.noise)

    @property
    def frame(self) -> np.ndarray:
        """camera_from_table (4, 4).

        z is the normal, x the image's right along the plane, and the origin where the optical axis meets the plane
        (the foot of the camera's perpendicular when it does not).
        """
        normal, offset = self.plane[:3], self.plane[3]
        looks_at_it = normal[2] < -1e-3
        origin = np.array([0.0, 0.0, -offset / normal[2]]) if looks_at_it else -offset * normal
        right = np.array([1.0, 0.0, 0.0]) if abs(normal[0]) < 0.95 else np.array([0.0, 1.0, 0.0])
        x = right - normal * (right @ normal)
        frame = np.eye(4)
        frame[:3, 0] = x / np.linalg.norm(x)
        frame[:3, 2] = normal
        frame[:3, 1] = np.cross(frame[:3, 2], frame[:3, 0])
        frame[:3, 3] = origin
        return frame


def find_table(points: np.ndarray, config: TableConfig = TableConfig(), up: np.ndarray | None = None) -> Table:
    """Find the table in camera-frame points (N, 3), metres.

    `up` (3,) is the direction against gravity in the camera frame, when known: planes tilted from level by more than
    `max_tilt` are then no table. Of the planes left, the table is the one that carries the most: its own points and those
    standing on it, near ones counting more, so that a floor behind the table or a wall loses. Without gravity, planes that
    look like a table to an upright camera count more. Raises NO_TABLE.
    """
    if up is not None:
        up = _unit_up(up)
    rng = np.random.default_rng(config.seed)
    chosen = rng.choice(len(points), config.sample, replace=False) if len(points) > config.sample else slice(None)
    sample = np.asarray(points[chosen], dtype=np.float64)
    share = len(sample) / max(len(points), 1)
    best, best_score, steepest = None, 0.0, []
    for plane in _planes(sample, config, max(int(config.min_points * share), config.ransac_n)):
        if up is not None:
            tilt = float(np.arccos(np.clip(plane[:3] @ up, -1.0, 1.0)))
            if tilt > config.max_tilt:
                steepest.append(tilt)
                continue
        score = _carried(sample, plane, config) * (1.0 if up is not None else _looks_level(plane[:3]))
        if score > best_score:
            best, best_score = plane, score
    if best is None:
        raise DropclipError(Status.NO_TABLE, _why_none(len(points), steepest, config))
    return _refine(points, best, config)


def crop_above(points: np.ndarray, table: Table, config: TableConfig = TableConfig()) -> np.ndarray:
    """Mask (N,) of the points (N, 3), camera frame, of the things that stand on the table.

    Above the plane on the camera's side, at most `max_height` high, over the table's extent, without statistical outliers
    (taken on 5 mm voxels). What is `certainty` sigmas above the table is kept for sure; what is less, down to `clearance`
    sigmas, only under or beside such points. `points` must be those of `find_table`.
    """
    height = table.height(points)
    near = np.flatnonzero((height > config.clearance * _MIN_SIGMA) & (height < config.max_height))
    sigma = table.sigma(points[near])
    flat = _on_plane(points[near], table.plane)
    level = height[near] / sigma
    above = (level > config.clearance) & _over(flat, _extent(points[table.inliers], table.plane), config.edge_margin)
    near, flat, level = near[above], flat[above], level[above]
    sure = level > config.certainty
    sure[sure] = _without_outliers(points[near[sure]], config)
    kept = sure | (level <= config.certainty) & _beside(flat, sure)
    mask = np.zeros(len(points), dtype=bool)
    mask[near[kept]] = True
    return mask


def _unit_up(up: np.ndarray) -> np.ndarray:
    up = np.asarray(up, dtype=np.float64).reshape(-1)
    length = np.linalg.norm(up)
    if up.shape != (3,) or not np.isfinite(length) or length == 0:
        raise DropclipError(Status.BAD_REQUEST, f"the up direction is {up.tolist()}; expected 3 finite numbers, not all 0.")
    return up / length


def _planes(sample: np.ndarray, config: TableConfig, min_points: int):
    """Planes (4,) of the sample, largest first, facing the camera; each is looked for in what the former left."""
    import open3d as o3d

    rest = sample
    o3d.utility.random.seed(config.seed)
    for _ in range(config.max_planes):
        if len(rest) < min_points:
            return
        cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(rest))
        plane, inliers = cloud.segment_plane(config.distance, config.ransac_n, config.iterations)
        if len(inliers) < min_points:
            return
        plane = np.asarray(plane)
        yield plane if plane[3] >= 0 else -plane
        rest = np.delete(rest, inliers, axis=0)


def _carried(sample: np.ndarray, plane: np.ndarray, config: TableConfig) -> float:
    """How much lies in the plane and stands on it, each point weighted by 1/z^2: near things matter."""
    height = sample @ plane[:3] + plane[3]
    lies = np.abs(height) < config.distance
    stands = (height >= config.distance) & (height < config.max_height)
    weight = 1.0 / np.square(sample[:, 2])
    over = _over(_on_plane(sample[stands], plane), _extent(sample[lies], plane), config.edge_margin)
    return float(weight[lies].sum() + weight[stands][over].sum())


def _looks_level(normal: np.ndarray) -> float:
    """From 0.05 to 1: is this normal an up direction of an upright camera that looks ahead or down?

    Those directions are (0, -cos t, -sin t), 0 <= t <= 90 degrees; a soft preference, for cameras are mounted otherwise too.
    """
    cosine = np.hypot(min(normal[1], 0.0), normal[2]) if normal[2] < 0 else -normal[1]
    return 0.05 + 0.95 * max(float(cosine), 0.0) ** 4


def _why_none(count: int, tilts: list[float], config: TableConfig) -> str:
    if tilts:
        return (f"no level plane: the largest {len(tilts)} planes are tilted by at least {np.degrees(min(tilts)):.0f} degrees, "
                f"allowed are {np.degrees(config.max_tilt):.0f}. Check the camera's pose, or raise max_tilt.")
    return (f"no plane with {config.min_points} points or more among {count} valid depth points. Point the camera at a table, "
            "check the depth unit and the depth limits.")


def _refine(points: np.ndarray, plane: np.ndarray, config: TableConfig) -> Table:
    """Least squares on the inliers among all points; the second and third pass take a thinner slab, with less of objects."""
    for distance in (config.distance, 0.6 * config.distance, 0.6 * config.distance):
        slab = points[np.abs(points @ plane[:3].astype(points.dtype) + points.dtype.type(plane[3])) < distance]
        centre = slab.mean(axis=0, dtype=np.float64)
        offsets = slab - centre.astype(slab.dtype)
        normal = np.linalg.eigh((offsets.T @ offsets).astype(np.float64))[1][:, 0]
        normal *= -np.sign(normal @ centre)  # the camera is at the origin
        plane = np.append(normal, -normal @ centre)
    table = Table(plane, np.zeros(0, dtype=bool), np.zeros((2, 1)))
    height = table.height(points)
    inliers = np.abs(height) < config.distance
    return Table(plane, inliers, _noise(points[inliers, 2], height[inliers]))


def _noise(depth: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Robust standard deviation of the table's height by depth, (2, bins): a depth camera's noise grows with distance."""
    order = np.argsort(depth[::max(len(depth) // 20000, 1)])
    depth, height = depth[::max(len(depth) // 20000, 1)][order], height[::max(len(height) // 20000, 1)][order]
    bins = [b for b in zip(np.array_split(depth, _NOISE_BINS), np.array_split(height, _NOISE_BINS), strict=True) if len(b[0])]
    spread = [1.4826 * np.median(np.abs(h - np.median(h))) for _, h in bins]
    return np.array([[np.median(z) for z, _ in bins], np.maximum(spread, _MIN_SIGMA)])


def _on_plane(points: np.ndarray, plane: np.ndarray) -> np.ndarray:
    """Coordinates (N, 2) of points along the plane, metres, in the table frame's x and y about the camera's foot."""
    frame = Table(plane, np.zeros(0, dtype=bool), np.zeros((2, 1))).frame
    return points @ frame[:3, :2].astype(points.dtype)


def _extent(lying: np.ndarray, plane: np.ndarray) -> np.ndarray:
    """Convex outline of the largest connected patch of a plane's points: lines (L, 3), a x + b y + c <= 0 inside.

    The largest patch only: another desk, or a chair back at the same height, is another plane to us.
    """
    flat = _on_plane(lying, plane)
    cells = np.floor(flat / _CELL).astype(np.int64)
    origin = cells.min(axis=0) - 4
    shape = tuple(cells.max(axis=0) - origin + 5)
    counts = np.bincount(np.ravel_multi_index(tuple((cells - origin).T), shape), minlength=np.prod(shape)).reshape(shape)
    joined = ndimage.binary_closing(counts > 0, iterations=3)  # bridges the shadows of objects
    labels, _ = ndimage.label(joined)
    largest = 1 + np.argmax(np.bincount(labels[counts > 0], weights=counts[counts > 0])[1:])
    inside = np.argwhere((labels == largest) & (counts > 0)) + origin
    corners = (inside[:, None] + np.array([[0, 0], [0, 1], [1, 0], [1, 1]])).reshape(-1, 2) * _CELL
    return ConvexHull(corners).equations


def _over(flat: np.ndarray, outline: np.ndarray, margin: float) -> np.ndarray:
    """Which plane coordinates (N, 2) are inside the outline, or outside by less than the margin: bool (N,)."""
    inside = np.ones(len(flat), dtype=bool)
    for a, b, c in outline:
        inside &= flat[:, 0] * flat.dtype.type(a) + flat[:, 1] * flat.dtype.type(b) <= margin - c
    return inside


def _without_outliers(points: np.ndarray, config: TableConfig) -> np.ndarray:
    """Mask (N,) of the points whose voxel is not a statistical outlier."""
    if config.outlier_std == 0 or len(points) <= config.outlier_neighbors:
        return np.ones(len(points), dtype=bool)
    import open3d as o3d

    voxels = voxelize(points, points, VoxelConfig())
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(voxels.centers.astype(np.float64)))
    _, kept = cloud.remove_statistical_outlier(config.outlier_neighbors, config.outlier_std)
    clean = np.zeros(len(voxels), dtype=bool)
    clean[np.asarray(kept, dtype=np.int64)] = True
    return clean[voxels.point_to_voxel]


def _beside(flat: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """Which plane coordinates (N, 2) share a 5 mm cell, or touch one, with those marked sure: bool (N,)."""
    if not sure.any():
        return np.zeros(len(flat), dtype=bool)
    cells = np.floor(flat / _GROW_CELL).astype(np.int64)
    cells -= cells.min(axis=0) - 1
    occupied = np.zeros(cells.max(axis=0) + 2, dtype=bool)
    occupied[tuple(cells[sure].T)] = True
    return ndimage.binary_dilation(occupied)[tuple(cells.T)]
