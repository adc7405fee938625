# SPDX-License-Identifier: Apache-2.0
"""From a depth image to what stands on the table: the one place where every node, command and training do it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from dropclip_ros.base.arrays import Array, absolute, array_namespace, as_type, falses, to_numpy, true_indices
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.tabletop.crop import crop_above, without_outliers
from dropclip_ros.tabletop.footprint import FIT_POINTS, plane_coordinates, thin_points
from dropclip_ros.tabletop.plane import fit_plane, lies_in, ransac_plane, signed_distance
from dropclip_ros.tabletop.table import Table, TableConfig, known_table, largest_plane, tables, unseen_table
from dropclip_ros.tabletop.workspace import Workspace
from dropclip_ros.vision.geometry import Intrinsics, backproject, out_of_range

MIN_POINTS = 20  # fewer are not a scene
_ENCLOSING = 0.98  # share of what is seen that is before a wall or a floor
_HEAP = 0.1  # share of the points below a plane on which nothing stands that is no table's
_LONG = 0.3  # m, diagonal of the smallest wall or floor
_PLANES = 6


@dataclass(frozen=True, eq=False)
class Tabletop:
    """What a depth image shows, camera frame.

    points (N, 3) m and pixels (N,), flat, of all that is in range and in the region; table; standing: which of the
    points are on it, indices. note: what a user must know about the depths, '' where they are fine.
    """

    points: Array
    pixels: Array
    table: Table
    standing: Array
    note: str = ""


def look(
    depth: Array,
    intrinsics: Intrinsics,
    workspace: Workspace = Workspace(),
    pose: np.ndarray | None = None,
    up: np.ndarray | None = None,
    last: Table | None = None,
) -> Tabletop:
    """The table that a depth image (H, W), metres, shows and what stands on it.

    pose: world_from_camera (4, 4) where it is known, of a world with z up; up (3,): against gravity in the camera frame
    where only that is. last: the table of an earlier frame of the same camera. Raises BAD_FRAME, NO_TABLE or
    EMPTY_SCENE.
    """
    points, pixels, note = seen(depth, intrinsics, workspace, pose)
    with noted(note):
        return Tabletop(points, pixels, *things(points, workspace, pose, up, last), note)


def seen(
    depth: Array, intrinsics: Intrinsics, workspace: Workspace, pose: np.ndarray | None
) -> tuple[Array, Array, str]:
    """Points, pixels and note of `Tabletop`. Raises BAD_FRAME."""
    points, pixels = backproject(depth, intrinsics, workspace.near, workspace.far)
    note = out_of_range(depth, len(points), workspace.near, workspace.far)
    if workspace.bounded:
        inside = workspace.region(points, pixels, tuple(depth.shape), pose)
        points, pixels = points[inside], pixels[inside]
    return points, pixels, note


@contextmanager
def noted(note: str) -> Iterator[None]:
    """Adds the note to whatever error is raised meanwhile."""
    try:
        yield
    except DropclipError as error:
        if not note:
            raise
        raise DropclipError(error.status, f"{error.message} {note}") from error


def things(
    points: Array,
    workspace: Workspace = Workspace(),
    pose: np.ndarray | None = None,
    up: np.ndarray | None = None,
    last: Table | None = None,
) -> tuple[Table, Array]:
    """The table among camera-frame points (N, 3), metres, and the indices of those that stand on it.

    Where nothing stands on the likeliest plane the next is tried. Arguments and errors are those of `look`.
    """
    up = pose[2, :3] if up is None and pose is not None else up
    config = workspace.search
    if workspace.table == "none":
        return _by_themselves(points, config, up)
    if workspace.table == "ransac":
        table = largest_plane(points, config)
        return table, true_indices(~table.inliers)
    tried: list[tuple[Table, int]] = []
    try:
        for table in _likely(points, workspace, pose, up, last):
            standing = true_indices(crop_above(points, table, config))
            if len(standing) >= MIN_POINTS:
                return table, standing
            tried.append((table, len(standing)))
        raise DropclipError(Status.EMPTY_SCENE, _nothing(tried))
    except DropclipError as error:
        # a plane that is tilted where gravity is known means a wrong pose more often than a heap without a table
        heap = up is None and all(_share_below(points, table, config) > _HEAP for table, _ in tried)
        if workspace.table == "plane" or not (workspace.bounded or heap):
            raise
        try:
            return _by_themselves(points, config, up)
        except DropclipError:
            raise error from None


def _share_below(points: Array, table: Table, config: TableConfig) -> float:
    """Share of the points that are below a plane: where there are any, it is no table."""
    return float(to_numpy(table.height(thin_points(points, FIT_POINTS)) < -config.distance).mean())


def _likely(points: Array, workspace: Workspace, pose, up, last) -> Iterator[Table]:
    """Planes to try: the one that is known, or those that are found."""
    known = workspace.known_plane(pose)
    if known is not None:
        yield known_table(points, known, workspace.search)
    else:
        yield from tables(points, workspace.search, up, last)


def _nothing(tried: list[tuple[Table, int]]) -> str:
    """What was tried, for EMPTY_SCENE."""
    found = max(count for _, count in tried)
    planes = ", ".join(f"{table.plane[3]:.2f} m ({count})" for table, count in tried)
    return (
        f"only {found} points stand on the table, expected at least {MIN_POINTS}: is something on it, within the "
        f"camera's view and range? Planes tried, by their distance from the camera: {planes}."
    )


def _by_themselves(points: Array, config: TableConfig, up: np.ndarray | None) -> tuple[Table, Array]:
    """What is there without what encloses it (floors, walls of bins and rooms), on a plane under all of it."""
    if len(points) < MIN_POINTS:
        raise DropclipError(Status.EMPTY_SCENE, f"only {len(points)} points are there, expected at least {MIN_POINTS}.")
    sample = as_type(thin_points(points, FIT_POINTS), "float64")
    keep, floor = ~falses(points), None
    for plane in _enclosing(sample, config):
        keep &= absolute(signed_distance(points, plane)) > 1.5 * config.distance
        floor = plane if floor is None and plane[2] < -0.5 else floor
    chosen = true_indices(keep)
    if len(chosen):
        chosen = chosen[true_indices(without_outliers(points[chosen], config))]
    if len(chosen) < MIN_POINTS:
        raise DropclipError(
            Status.EMPTY_SCENE,
            f"only {len(chosen)} points are left without floor and walls, expected {MIN_POINTS}: is something there?",
        )
    normal = np.array([0.0, 0.0, -1.0]) if floor is None else floor[:3]
    normal = np.asarray(up, float) / np.linalg.norm(up) if up is not None else normal
    lowest = float(
        to_numpy(array_namespace(points).amin(signed_distance(points[chosen], np.append(normal, 0.0)), axis=0))
    )
    return unseen_table(points, np.append(normal, -lowest), config), chosen


def _enclosing(sample: Array, config: TableConfig) -> Iterator[np.ndarray]:
    """Large planes (4,) of the sample (N, 3) that all else is before."""
    rng, rest = np.random.default_rng(config.seed), sample
    for _ in range(_PLANES):
        if len(rest) < max(config.min_points * len(sample) // FIT_POINTS, 3 * MIN_POINTS):
            return
        plane = ransac_plane(rest, config.distance, config.iterations, rng)
        lies = lies_in(rest, plane, config.distance)
        before = to_numpy(signed_distance(sample, plane) > -config.distance).mean()
        flat = to_numpy(plane_coordinates(rest[lies], plane)[:2])
        if flat.size and before > _ENCLOSING and np.linalg.norm(np.ptp(np.percentile(flat, (2, 98), 1), 0)) > _LONG:
            yield fit_plane(rest, lies)
        rest = rest.T[:, ~lies].T
