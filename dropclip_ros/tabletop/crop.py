# SPDX-License-Identifier: Apache-2.0
"""What stands on the table: above it, over its extent, without walls, neighbours and outliers (A.7)."""

import numpy as np
from scipy import ndimage

from dropclip_ros.base.arrays import (
    Array,
    absolute,
    array_namespace,
    as_type,
    falses,
    is_numpy,
    like_array,
    to_numpy,
    true_indices,
    zeros,
)
from dropclip_ros.tabletop.footprint import (
    CELL,
    FIT_POINTS,
    Extent,
    extent_of,
    outside,
    plane_coordinates,
    raster,
    thin_points,
    within,
)
from dropclip_ros.tabletop.outliers import mean_distance
from dropclip_ros.tabletop.plane import signed_distance
from dropclip_ros.tabletop.table import Table, TableConfig
from dropclip_ros.vision.voxels import VoxelConfig, voxelize

_GROW_CELL = 0.005  # m, raster in which objects grow down to their base
_THING_CELL = 0.01  # m, raster in which things beside the table hang together
_BESIDE = 0.15  # m, how far beyond the table's rim such things are looked at
_THING_POINTS = 8000  # that tell where things stand
_OUTLINE_POINTS = 40000  # so that no 2 cm of a far rim are left out
_STEEP = 0.5  # cosine of a wall's normal with the table's, at most
_FLOATS = 0.1  # m, lowest point of what may float above the table
_GAP = 0.06  # m, between that point and what is seen below it
_HIDDEN = 0.12  # m, under a thing, in which it may hide what carries it
_COMES_DOWN = 0.03  # m, lowest point of what is seen to stand on the table
_RIM = 0.15  # m inside the outline, within which what goes on below the table may stand beside it
_PART = 0.3  # share of a thing that tells of all of it


def crop_above(points: Array, table: Table, config: TableConfig = TableConfig()) -> Array:
    """Mask (N,) of the points (N, 3), camera frame, of the things that stand on the table.

    Above the plane on the camera's side, at most `max_height` high, over the table's extent, without statistical
    outliers (taken on 5 mm voxels). What is `certainty` sigmas above the table and no outlier surely is an object;
    what is less, down to `clearance` sigmas, or an outlier is kept only where it is under or beside such points: that
    is the base of an object, or its rim. Walls behind the table, and things that are mostly beside it (a chair, another
    table), are none. `points` must be those of `find_table`.
    """
    x, y, height = plane_coordinates(points, table.plane)
    over = table.over_surface(x, y, height)
    # the seen surface may lie below the plane; most points lie on the table and are gone after this line
    mask = (height > -config.distance) & (height < config.max_height) & (over > config.clearance * table.noise[1].min())
    if not table.seen:  # nothing tells how far it reaches
        return mask
    if table.plane[3] <= config.distance:  # a plane through the camera, which sees nothing on it
        mask[:] = False
        return mask
    near = true_indices(mask)
    local, depth = array_namespace(points).stack([x[near], y[near], height[near]]), points[near, 2]
    level = over[near] / _interpolate(depth, table.noise)
    extent = table_extent(points, table, config)
    outline = extent.outline
    candidate = (level > config.clearance) & within(local, outline, config.edge_margin + _BESIDE)
    for wall in _walls(points, table, outline, config):
        candidate &= signed_distance(points[near], wall) > 2 * config.distance  # nothing is seen behind a wall
    near, level, local = near[candidate], level[candidate], local[:, candidate]
    on_it = _on_the_table(local, extent, config)
    near, level, local = near[on_it], level[on_it], local[:, on_it]
    sure = level > config.certainty
    high = true_indices(sure)
    sure[high[~without_outliers(points[near[high]], config)]] = False
    mask[:] = False
    mask[near[_beside(local[:2], sure)]] = True
    return mask


def _interpolate(values: Array, table: np.ndarray) -> Array:
    """What a table (2, K), its first row rising, gives for the values (N,): the nearest end beyond its ends."""
    if is_numpy(values):
        return np.interp(values, *table)
    at, of = (as_type(like_array(values, row), "float64") for row in table)
    values, step = as_type(values, "float64"), at.diff()
    right = array_namespace(values).searchsorted(at, values).clamp(1, max(len(at) - 1, 1))
    if not len(step):
        return of.expand(len(values))
    share = ((values - at[right - 1]) / step[right - 1].clamp(1e-30)).clamp(0, 1)
    return of[right - 1] + share * (of[right] - of[right - 1])


def table_extent(points: Array, table: Table, config: TableConfig = TableConfig()) -> Extent:
    """How far the table reaches, by what is seen of it, before it and past it."""
    local = to_numpy(plane_coordinates(thin_points(points, _OUTLINE_POINTS), table.plane))
    return extent_of(local, float(table.plane[3]), config.distance)


def _walls(points: Array, table: Table, outline: np.ndarray, config: TableConfig) -> list[np.ndarray]:
    """The other planes (4,) that the whole table is before, and that are mostly beside it or below, or at its rim."""
    if len(table.others) == 0:
        return []
    some = thin_points(points, FIT_POINTS)
    local = plane_coordinates(some, table.plane)
    lying = within(local, outline, 0.0) & (absolute(local[2]) < config.distance)
    inside = within(local, outline, -2 * CELL) & (local[2] > -config.distance)
    walls = []
    for plane in table.others:
        if abs(table.plane[:3] @ plane[:3]) > _STEEP:
            continue
        before = signed_distance(some, plane)
        of_plane = absolute(before) < config.distance
        masks = lying & (before > -config.distance), lying, inside & of_plane, of_plane
        ahead, all_lying, on_table, everywhere = to_numpy(array_namespace(before).stack(masks).sum(axis=1))
        if ahead > 0.98 * all_lying and on_table < 0.5 * everywhere:
            walls.append(plane)
    return walls


def _on_the_table(local: Array, extent: Extent, config: TableConfig) -> Array:
    """Which of the points (3, N), plane coordinates and height, are of things on the table: bool (N,).

    A thing is what hangs together. It is on the table as a whole where more of it is over the table than not, or over
    where the table may go on behind things and it comes down to it. It is not where it floats: its lowest point is high
    above the table, something lower is seen right below it, and nothing that may carry it (a shelf on the wall, a lamp,
    an arm). What stands behind another thing does not float, for what is below it is hidden. What goes on below the
    table stands beside it.
    """
    if not local.shape[1]:
        return local[2] > 0
    cells, _, shape = raster(local, _THING_CELL, border=1)
    occupied = zeros(local, shape, "bool")
    occupied[cells] = True
    labels, count = ndimage.label(to_numpy(occupied), np.ones((3, 3, 3)))
    thing, xp = like_array(as_type(cells[0], "int64"), labels)[cells], array_namespace(local)
    step = max(local.shape[1] // _THING_POINTS, 1)
    some, of = to_numpy(local[:, ::step]), to_numpy(thing[::step])
    on_it, low = _whole_things(some, of, count + 1, extent, config.edge_margin)
    if (low[on_it] > _FLOATS).any():
        on_it &= ~_floating(some, of, low, extent)
    return (on_it if xp is np else xp.as_tensor(on_it, device=thing.device))[thing]


def _whole_things(
    local: np.ndarray, thing: np.ndarray, count: int, extent: Extent, margin: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which of `count` things are over the table and not beside it, bool (count,), and their lowest points, metres.

    local (3, N): some points, plane coordinates and height; thing (N,): which of the things each is of.
    """
    low = np.full(count, np.inf)
    np.minimum.at(low, thing, local[2])
    beyond, place = outside(local, extent.outline), extent.grid.place(local[:2])
    # a mirror image in a glossy thing lies below the table too, but not at its rim
    sunken = extent.sunk.ravel()[place] & (beyond > -_RIM)
    flags = beyond <= margin, beyond <= 0, extent.reach.ravel()[place], sunken
    over, well, reach, sunk = (_share(to_numpy(flag), thing, count) for flag in flags)
    return np.where(low < _COMES_DOWN, (over > 0.5) | (reach > 0.5), well > 0.5) & (sunk < _PART), low


def _floating(local: np.ndarray, thing: np.ndarray, low: np.ndarray, extent: Extent) -> np.ndarray:
    """Which things are high above what is seen right below them, and have nothing under them that may carry them and
    ends not far below: bool (count,)."""
    place = extent.grid.place(local[:2])
    free = _share(extent.bottom.ravel()[place] < low[thing] - _GAP, thing, len(low))
    floats = (low > _FLOATS) & (free > _PART)
    for k in np.flatnonzero(floats):
        under = np.zeros(np.prod(extent.grid.shape), bool)
        under[place[thing == k]] = True
        under = ndimage.binary_dilation(under.reshape(extent.grid.shape)).ravel()
        lower = (thing != k) & under[place] & (local[2] < low[k])
        floats[k] = local[2][lower].max(initial=0.0) < low[k] - _HIDDEN
    return floats


def _share(flag: np.ndarray, thing: np.ndarray, count: int) -> np.ndarray:
    """Share of each thing's points (N,) that have the flag: (count,)."""
    return np.bincount(thing, flag, count) / np.maximum(np.bincount(thing, minlength=count), 1)


def without_outliers(points: Array, config: TableConfig) -> Array:
    """Mask (N,) of the points whose voxel is not a statistical outlier: not further from its nearest voxels, on
    average, than the mean of all by `outlier_std` standard deviations. As open3d's remove_statistical_outlier."""
    if config.outlier_std == 0 or len(points) <= config.outlier_neighbors:
        return ~falses(points)
    voxels = voxelize(points, points, VoxelConfig())
    apart = mean_distance(voxels.coords, config.outlier_neighbors)
    if len(voxels) == 1:
        return apart[voxels.point_to_voxel] <= 0
    strays = apart - apart.mean()
    deviation = ((strays**2).sum() / (len(voxels) - 1)) ** 0.5
    return (strays <= config.outlier_std * deviation)[voxels.point_to_voxel]


def _beside(flat: Array, sure: Array) -> Array:
    """Which plane coordinates (2, N) share a 5 mm cell, or touch one, with those marked sure: bool (N,)."""
    if not sure.any():
        return sure
    (row, column), _, shape = raster(flat, _GROW_CELL, border=1)
    occupied = zeros(sure, shape, "bool")
    for rows, columns in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)):  # the border is as wide
        occupied[row[sure] + rows, column[sure] + columns] = True
    return occupied[row, column]
