# SPDX-License-Identifier: Apache-2.0
"""What stands on the table: above it, over its extent, without walls, neighbours and outliers (A.7)."""

import numpy as np
from scipy import ndimage

from dropclip_ros.base.arrays import Array, array_namespace, as_type, like_array, to_numpy, true_indices, zeros
from dropclip_ros.tabletop.footprint import (
    CELL,
    FIT_POINTS,
    outline_of,
    plane_coordinates,
    raster,
    thin_mask,
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
_OUTLINE_POINTS = 40000  # so that no 2 cm of a far rim are left out


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
    near = true_indices(mask)
    local, depth = array_namespace(points).stack([x[near], y[near], height[near]]), points[near, 2]
    level = over[near] / _interpolate(depth, table.noise)
    outline = _extent(table, points)
    candidate = (level > config.clearance) & within(local, outline, config.edge_margin + _BESIDE)
    for wall in _walls(points, table, outline, config):
        candidate &= signed_distance(points[near], wall) > 2 * config.distance  # nothing is seen behind a wall
    near, level, local = near[candidate], level[candidate], local[:, candidate]
    on_it = within(local, outline, config.edge_margin)
    on_it &= _mostly(on_it, local)
    near, level, local = near[on_it], level[on_it], local[:, on_it]
    sure = level > config.certainty
    high = true_indices(sure)
    sure[high] = _without_outliers(points[near[high]], config)
    mask[:] = False
    mask[near[_beside(local[:2], sure)]] = True
    return mask


def _interpolate(values: Array, table: np.ndarray) -> Array:
    """What a table (2, K), its first row rising, gives for the values (N,): the nearest end beyond its ends."""
    if array_namespace(values) is np:
        return np.interp(values, *table)
    at, of = (as_type(like_array(values, row), "float64") for row in table)
    values, step = as_type(values, "float64"), at.diff()
    right = array_namespace(values).searchsorted(at, values).clamp(1, max(len(at) - 1, 1))
    if not len(step):
        return of.expand(len(values))
    share = ((values - at[right - 1]) / step[right - 1].clamp(1e-30)).clamp(0, 1)
    return of[right - 1] + share * (of[right] - of[right - 1])


def _extent(table: Table, points: Array) -> np.ndarray:
    """`outline_of` of the table's own points."""
    lying = points[thin_mask(table.inliers, _OUTLINE_POINTS)]
    return outline_of(plane_coordinates(lying, table.plane)[:2], CELL)


def _walls(points: Array, table: Table, outline: np.ndarray, config: TableConfig) -> list[np.ndarray]:
    """The other planes (4,) that the whole table is before, and that are mostly beside it or below, or at its rim."""
    if len(table.others) == 0:
        return []
    some = thin_points(points, FIT_POINTS)
    local = plane_coordinates(some, table.plane)
    lying = within(local, outline, 0.0) & (abs(local[2]) < config.distance)
    inside = within(local, outline, -2 * CELL) & (local[2] > -config.distance)
    walls = []
    for plane in table.others:
        before = signed_distance(some, plane)
        of_plane = abs(before) < config.distance
        masks = lying & (before > -config.distance), lying, inside & of_plane, of_plane
        ahead, all_lying, on_table, everywhere = to_numpy(array_namespace(before).stack(masks).sum(axis=1))
        if ahead > 0.98 * all_lying and on_table < 0.5 * everywhere:
            walls.append(plane)
    return walls


def _mostly(over: Array, local: Array) -> Array:
    """Which of the points (3, N), metres, hang together with more that are `over` the table (N,) than are not."""
    if over.all():
        return over
    cells, _, shape = raster(local, _THING_CELL, border=1)
    occupied = zeros(over, shape, "bool")
    occupied[cells] = True
    labels = ndimage.label(to_numpy(occupied), np.ones((3, 3, 3)))[0]
    thing, xp = like_array(cells[0], labels)[cells], array_namespace(over)
    return (xp.bincount(thing, as_type(over, "float64")) > 0.5 * xp.bincount(thing))[as_type(thing, "int64")]


def _without_outliers(points: Array, config: TableConfig) -> Array:
    """Mask (N,) of the points whose voxel is not a statistical outlier: not further from its nearest voxels, on
    average, than the mean of all by `outlier_std` standard deviations. As open3d's remove_statistical_outlier."""
    if config.outlier_std == 0 or len(points) <= config.outlier_neighbors:
        return points[:, 0] == points[:, 0]
    voxels = voxelize(points, points, VoxelConfig())
    apart = mean_distance(voxels.coords, config.outlier_neighbors)
    if len(voxels) == 1:
        return apart[voxels.point_to_voxel] == 0
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
