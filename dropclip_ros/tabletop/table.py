# SPDX-License-Identifier: Apache-2.0
"""The table plane (paper A.7: RANSAC); `crop` has what stands on it.

RANSAC only proposes planes. Which of them is the table is decided by what it carries, its edge by what was seen
of it, and how close to it an object begins by the noise of the table's own points, so that objects keep their base.

Points may lie on a GPU (see `arrays`): what concerns all of them or the sample that planes are searched in is computed
there; hulls, connected things and the statistics of 20000 points of the table are the host's.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from dropclip_ros.base.arrays import Array, absolute, array_namespace, as_type, falses, to_numpy
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.ranges import check_fields, ranged
from dropclip_ros.tabletop.footprint import (
    CELL,
    FIT_POINTS,
    outline_of,
    plane_axes,
    plane_coordinates,
    thin_mask,
    thin_points,
    within,
)
from dropclip_ros.tabletop.plane import at_most, fit_plane, lies_in, ransac_plane, settle, signed_distance

_NOISE_BINS = 12
_FEWEST = 3 * _NOISE_BINS  # points that tell of a table's noise
_MIN_SIGMA = 0.0005  # m; a depth image counts in millimetres at best, however flat the table looks
_STAYS = 0.8  # share of a known table's points that must still lie in it
_LEGS = 0.15  # m, least height of a table over what it stands on
_TILTED = 0.08  # rad from level, at which a plane counts half
_THROUGH = 5.0  # how much counts what is seen through a plane, by what it carries
_PARALLEL = 0.98  # cosine between the normals of a floor and of a table over it
_NEW = 0.1  # share of all points that may newly lie in none of the known planes


@dataclass(frozen=True)
class TableConfig:
    """How the table is found. Lengths in metres, angles in radians."""

    distance: float = ranged(0.01, 1e-4, 0.2, doc="RANSAC inlier distance, m")
    iterations: int = ranged(1000, 1, 100_000, doc="RANSAC iterations")
    seed: int = ranged(0, 0, 2**31 - 1, doc="Seed of RANSAC")
    sample: int = ranged(4000, 100, 10**7)  # points that RANSAC sees, drawn uniformly; the plane is then refined on all
    max_planes: int = ranged(6, 1, 20)  # planes that are tried, largest first
    min_points: int = ranged(500, 3, 10**7, doc="Fewest points of a table")
    max_tilt: float = ranged(0.35, 0.0, 1.57, doc="Largest tilt from level where gravity is known (world_frame), rad")
    max_height: float = ranged(0.5, 0.01, 10.0, doc="Greatest height of things on the table, m")
    edge_margin: float = ranged(0.03, 0.0, 1.0)  # beyond the seen rim of the table, where things still count as on it
    clearance: float = ranged(2.5, 0.0, 20.0)  # in sigmas of the table's noise: where an object begins
    certainty: float = ranged(5.0, 0.0, 50.0)  # in sigmas: what surely is an object; objects grow down to `clearance`
    outlier_neighbors: int = ranged(25, 1, 1000, doc="Neighbours in the outlier removal")
    outlier_std: float = ranged(2.0, 0.0, 20.0, doc="Standard deviations in the outlier removal; 0 switches it off")

    def __post_init__(self) -> None:
        check_fields(self, "table: ")
        if self.certainty < self.clearance:
            raise ValueError(f"table: certainty {self.certainty}: expected at least clearance, {self.clearance}")


@dataclass(frozen=True, eq=False)
class Table:
    """A table plane in the camera frame, and how its points stray from it.

    plane (4,): unit normal n towards the camera's side and offset d, so that n.p + d is the height of p in metres.
    inliers bool (N,) of the points it was found in, on their device. bow (6,): the surface as the camera sees it, as
    height over the coordinates x, y along the plane: 1, x, y, xx, xy, yy; depth cameras bend planes by some
    millimetres. noise (2, bins): depths z and the standard deviation of the table's points about that surface, metres.
    others (K, 4): the planes that were found beside it, walls perhaps. shares: of the points, in [0, 1], that lay in
    it, and in any of the planes, when it was searched for.
    """

    plane: np.ndarray
    inliers: Array
    bow: np.ndarray
    noise: np.ndarray
    others: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    shares: tuple[float, float] = (1.0, 1.0)
    seen: bool = True

    def height(self, points: Array) -> Array:
        """Signed height (N,) of camera-frame points (N, 3) above the plane, metres."""
        return signed_distance(points, self.plane)

    def over_surface(self, x: Array, y: Array, height: Array) -> Array:
        """Height (N,) above the table as the camera sees it, of points at x, y along the plane and above it, metres."""
        one, a, b, aa, ab, bb = self.bow.tolist()  # `_parabola` without its table of terms
        return height - (one + x * (a + aa * x + ab * y) + y * (b + bb * y))

    @property
    def frame(self) -> np.ndarray:
        """camera_from_table (4, 4), see `table_frame`."""
        return table_frame(self.plane)


def table_frame(plane: np.ndarray) -> np.ndarray:
    """camera_from_table (4, 4) of a plane (4,) in the camera frame, its normal towards the camera.

    z is the normal, x the image's right along the plane, and the origin where the optical axis meets the plane (the
    foot of the camera's perpendicular when it does not).
    """
    normal, offset = plane[:3], plane[3]
    frame = np.eye(4)
    frame[:3, :3] = plane_axes(normal)
    frame[:3, 3] = (0.0, 0.0, -offset / normal[2]) if normal[2] < -1e-3 else -offset * normal
    return frame


def find_table(
    points: Array, config: TableConfig = TableConfig(), up: np.ndarray | None = None, last: Table | None = None
) -> Table:
    """Find the table in camera-frame points (N, 3), metres: the first of `tables`. Raises NO_TABLE."""
    return next(tables(points, config, up, last))


def tables(
    points: Array, config: TableConfig = TableConfig(), up: np.ndarray | None = None, last: Table | None = None
) -> Iterator[Table]:
    """Planes of camera-frame points (N, 3), metres, that may be the table, likely ones first; the next are for whom
    nothing stands on the first. Quickest with each coordinate contiguous in memory.

    `up` (3,) is the direction against gravity in the camera frame, when known: planes tilted from level by more
    than `max_tilt` are then no table. Without gravity, planes that look like a table to an upright camera count more.
    Of the planes left, the table is the one that carries the most (`_carried`); a floor under it is none (`_raised`).

    `last`: the table in an earlier frame of the same camera. Where its points still lie in it, and no more than before
    lie in none of the planes known then, it is fitted anew and not searched for. Raises NO_TABLE, at once.
    """
    up = None if up is None else _unit(up)
    rng = np.random.default_rng(config.seed)
    sample = as_type(at_most(points, config.sample, rng), "float64")
    min_points = max(config.min_points * len(sample) // max(len(points), 1), 3)
    if last is not None and (known := _still_there(sample, last, up, config, min_points)) is not None:
        yield _refine(points, sample, known, last.shares, config)
    planes, count = _search(sample, len(points), up, config, min_points, rng)
    lies = _lie(sample, planes, config)
    for i in range(count):
        first_is_it = np.concatenate([planes[i : i + 1], np.delete(planes, i, axis=0)])
        yield _refine(
            points, sample, first_is_it, (_share(lies[i]), _share(array_namespace(lies).any(lies, 0))), config
        )


def known_table(points: Array, plane: np.ndarray, config: TableConfig = TableConfig()) -> Table:
    """The table where a plane (4,), camera frame, is known: fitted to the points (N, 3) m in it where there are enough,
    else as it was given, for a table may be black or covered."""
    sample = as_type(thin_points(points, config.sample), "float64")
    lies = lies_in(sample, plane, 2 * config.distance)
    if _count(lies) * len(points) >= config.min_points * len(sample):
        shares = (_share(lies), _share(lies))
        return _refine(points, sample, fit_plane(sample, lies)[None], shares, config)
    return unseen_table(points, plane, config)


def unseen_table(points: Array, plane: np.ndarray, config: TableConfig = TableConfig()) -> Table:
    """A table of which little or nothing is seen, as it is given: plane (4,), camera frame."""
    inliers = lies_in(points, plane, config.distance)
    noise = np.array([[0.0], [config.distance / config.certainty]])
    return Table(plane, inliers, np.zeros(6), noise, seen=False)


def largest_plane(points: Array, config: TableConfig) -> Table:
    """The plane that open3d's segment_plane finds in all points (N, 3), metres, as the paper has it (A.7): `distance`,
    three points a hypothesis, `iterations` of them. Raises NO_TABLE."""
    from dropclip_ros.base.light_open3d import o3d  # slow to import

    if len(points) < max(config.min_points, 3):
        raise DropclipError(Status.NO_TABLE, _why_none(len(points), [], config))
    o3d.utility.random.seed(config.seed)
    host = np.ascontiguousarray(to_numpy(points), dtype=np.float64)
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(host))
    plane, inliers = cloud.segment_plane(config.distance, 3, config.iterations)
    if len(inliers) < config.min_points:
        raise DropclipError(Status.NO_TABLE, _why_none(len(points), [], config))
    lies = falses(points)
    lies[inliers] = True
    plane = plane / np.linalg.norm(plane[:3])
    share = _share(lies)
    noise = np.array([[0.0], [_MIN_SIGMA]])
    return Table(plane if plane[3] >= 0 else -plane, lies, np.zeros(6), noise, shares=(share, share))


def _lie(sample: Array, planes, config: TableConfig) -> Array:
    """Which points (N, 3) lie in each of the planes: bool (K, N)."""
    return array_namespace(sample).stack([lies_in(sample, plane, config.distance) for plane in planes])


def _count(mask: Array) -> int:
    return int(array_namespace(mask).count_nonzero(mask))


def _share(mask: Array) -> float:
    return _count(mask) / max(len(mask), 1)


def _search(
    sample: Array, count: int, up: np.ndarray | None, config: TableConfig, min_points: int, rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """The planes (K, 4) of the sample, likely tables first, and how many may be one. `count`: of all points."""
    found = list(_planes(sample, config, min_points, rng))
    level = [plane for plane in found if up is None or _tilt(plane, up) <= config.max_tilt]
    if not level:
        tilts = [] if up is None else [_tilt(plane, up) for plane in found]
        raise DropclipError(Status.NO_TABLE, _why_none(count, tilts, config))
    likely = [_looks_level(plane[:3]) if up is None else 1 / (1 + (_tilt(plane, up) / _TILTED) ** 2) for plane in level]
    scores = [_carried(sample, plane, config) * weight for plane, weight in zip(level, likely, strict=True)]
    order = np.argsort(-np.array(scores), kind="stable").tolist()
    first = _raised(sample, [level[i] for i in order], config)
    order.insert(0, order.pop(first))
    steep = [plane for plane in found if not any(plane is other for other in level)]
    return np.array([*(level[i] for i in order), *steep]), len(level)


def _still_there(
    sample: Array, last: Table, up: np.ndarray | None, config: TableConfig, min_points: int
) -> np.ndarray | None:
    """The planes (K, 4) of an earlier frame where they are in this one, the table's first."""
    planes = [settle(plane, sample, config.distance, rounds=2) for plane in (last.plane, *last.others)]
    lies = _lie(sample, planes, config)
    counts = to_numpy(lies.sum(1))
    own, known = last.shares
    if (
        counts[0] < max(min_points, _STAYS * own * len(sample))
        or _share(array_namespace(lies).any(lies, 0)) < known - _NEW
        or (up is not None and _tilt(planes[0], up) > config.max_tilt)
    ):
        return None
    return np.array([plane for plane, of in zip(planes, counts, strict=True) if of >= min_points])


def _unit(up: np.ndarray) -> np.ndarray:
    up = np.asarray(up, dtype=np.float64).reshape(-1)
    length = np.linalg.norm(up)
    if up.shape != (3,) or not np.isfinite(length) or length == 0:
        raise DropclipError(
            Status.BAD_REQUEST, f"the up direction is {up.tolist()}; expected 3 finite numbers, not all 0."
        )
    return up / length


def _tilt(plane: np.ndarray, up: np.ndarray) -> float:
    """Angle between the normal of a plane (4,) and up, radians."""
    return float(np.arccos(np.clip(plane[:3] @ up, -1.0, 1.0)))


def _planes(sample: Array, config: TableConfig, min_points: int, rng: np.random.Generator):
    """Planes (4,) of the sample, largest first, facing the camera; each is looked for in what the former left."""
    rest = sample
    for _ in range(config.max_planes):
        if len(rest) < min_points:
            return
        plane = ransac_plane(rest, config.distance, config.iterations, rng)
        lies = lies_in(rest, plane, config.distance)
        if _count(lies) < min_points:
            return
        yield plane
        rest = rest.T[:, ~lies].T  # each coordinate contiguous


def _carried(sample: Array, plane: np.ndarray, config: TableConfig) -> float:
    """How much of a table a plane is: half of what surely lies in it, all that stands on it, less for what is below it.

    What stands on a box also stands on the table under it, so the table wins. Nothing is seen through a table (though
    the cupboard under it, past its edge), but through a plane that slants through table and books there is; it also has
    fewer points in its middle. A point weighs z^-4, for near things matter most: a large floor behind a small table
    must lose.
    """
    local, depth = to_numpy(plane_coordinates(sample, plane)), to_numpy(sample[:, 2])
    height, weight, cell = local[2], depth**-4.0, 2 * CELL
    lies = np.abs(height) < config.distance
    outline = outline_of(local[:2, lies], cell)
    # Well inside the outline: what lies before a wall or a box projects onto its lower rim.
    inside, over = within(local, outline, -config.edge_margin - cell), within(local, outline, 0.0)
    surely = np.abs(height) < config.distance / 3
    stands = inside & (height >= config.distance) & (height < config.max_height)
    met = local[:2] * (plane[3] / np.maximum(plane[3] - height, 1e-6))  # where its ray meets the plane
    below = over & within(met, outline, 0.0) & (height <= -config.distance) & (height > -config.max_height)
    carried = (weight * (0.5 * surely + 1.0 * stands)).sum()
    seen_through = (weight * (1.0 * below + 3.0 * (below & inside))).sum()
    return float(carried / (1 + _THROUGH * seen_through / max(carried, 1e-9)))


def _raised(sample: Array, planes: list[np.ndarray], config: TableConfig) -> int:
    """Which of the planes (4,), likely tables first, is the table: the first, or one over it that floats.

    A table over a floor stands on legs, a box on a table has sides: between the first plane and a top over it that is
    at least `_LEGS` high, little is seen of the one and much of the other. From straight above, where sides are not
    seen, what is as high is a table too.
    """
    first = 0
    for k, plane in enumerate(planes):
        local = plane_coordinates(sample, planes[first])
        top = lies_in(sample, plane, config.distance)
        if k == first or planes[first][:3] @ plane[:3] < _PARALLEL or _count(top) == 0:
            continue
        height = float(np.median(to_numpy(local[2][top])))
        lies = absolute(local[2]) < config.distance
        if height < _LEGS or not _count(lies):
            continue
        of_top = plane_coordinates(sample, plane)
        outline = outline_of(of_top[:2, top], 2 * CELL)
        over = within(of_top, outline, config.edge_margin)
        sides = over & (local[2] > 0.2 * height) & (local[2] < 0.8 * height)
        on_it = over & (of_top[2] >= config.distance) & (of_top[2] < config.max_height)
        on_floor = within(local, outline_of(local[:2, lies], 2 * CELL), 0.0)
        if (
            _count(on_it) > 0.02 * _count(top)
            and _count(sides) < 0.1 * _count(top & over)
            and _count(on_floor & top) > 0.5 * _count(top)
        ):
            first = k
    return first


def _looks_level(normal: np.ndarray) -> float:
    """From 0.01 to 1: is this normal an up direction of an upright camera that looks ahead or down?

    Those directions are (0, -cos t, -sin t), 0 <= t <= 90 degrees. Only a preference: some cameras hang otherwise.
    """
    cosine = np.hypot(min(normal[1], 0.0), normal[2]) if normal[2] < 0 else -normal[1]
    return 0.01 + 0.99 * max(float(cosine), 0.0) ** 16


def _why_none(count: int, tilts: list[float], config: TableConfig) -> str:
    if tilts:
        return (
            f"no level plane: all {len(tilts)} planes found are tilted by {np.degrees(min(tilts)):.0f} degrees "
            f"or more, allowed are {np.degrees(config.max_tilt):.0f}. Check the camera's pose, or raise max_tilt."
        )
    return (
        f"no plane of {config.min_points} points or more among {count} points with valid depth. Point the camera "
        "at a table, and check the depth unit and the depth limits."
    )


def _refine(
    points: Array, sample: Array, planes: np.ndarray, shares: tuple[float, float], config: TableConfig
) -> Table:
    """Least squares on the inliers, in thinner and thinner slabs, which hold less of the objects' bases."""
    plane, some = planes[0], as_type(thin_points(points, FIT_POINTS), "float64")
    for cloud, share in ((sample, 1.0), (sample, 0.6), (some, 0.6)):
        plane = settle(plane, cloud, share * config.distance, rounds=1)
    inliers = lies_in(points, plane, config.distance)
    lying = to_numpy(points[thin_mask(inliers, FIT_POINTS)]).astype(np.float64)
    x, y, height = plane_coordinates(lying, plane)
    terms = _parabola(x, y)
    close, residual = np.ones(len(lying), dtype=bool), height
    for _ in range(4):  # without the bases of objects, which are on one side only
        used = terms * close
        bow = np.linalg.lstsq(used @ terms.T, used @ height, rcond=1e-14)[0]
        residual = height - bow @ terms
        within_noise = np.abs(residual) <= 2.5 * _deviation(residual)
        if np.count_nonzero(within_noise) < _FEWEST:  # a rival that slants through things: half of it is not on the fit
            break
        close = within_noise
    along = np.maximum(plane[3] - height, 1e-6)  # 0 only where the plane goes through the camera
    meant = lying[:, 2] * plane[3] / along  # where the rays meet the plane: free of the noise itself
    return Table(plane, inliers, bow, _noise(meant[close], residual[close]), planes[1:], shares)


def _noise(depth: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Deviation of the table's points by depth, (2, bins): a depth camera's noise grows with distance."""
    bins = np.array_split(np.argsort(depth), min(_NOISE_BINS, len(depth)))
    return np.array([[_median(depth[b]) for b in bins], [_deviation(residual[b]) for b in bins]])


def _deviation(residual: np.ndarray) -> float:
    """Standard deviation by the median, metres; not less than a depth image can tell."""
    return max(1.4826 * _median(np.abs(residual - _median(residual))), _MIN_SIGMA)


def _median(values: np.ndarray) -> float:
    """The upper median, in half the time of `np.median`, which looks for NaN as well."""
    return float(np.partition(values, len(values) // 2)[len(values) // 2])


def _parabola(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Terms (6, N) of `Table.bow`."""
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y])
