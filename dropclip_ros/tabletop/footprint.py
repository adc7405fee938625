# SPDX-License-Identifier: Apache-2.0
"""Points over a plane: coordinates along it, and the outline of what lies in it. For NumPy and torch (see `arrays`)."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from dropclip_ros.base.arrays import Array, array_namespace, as_type, like_array, to_numpy, true_indices

CELL = 0.02  # m, raster of a table's extent
FIT_POINTS = 20000  # enough for anything statistical
_SINKS = 0.15  # m below a table, within which what goes down beside it is looked for
_AROUND = 0.3  # m around all that lies in the plane, where things are looked at


def plane_axes(normal: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) camera_from_table with this z axis and x along the image's right."""
    right = np.array([1.0, 0.0, 0.0]) if abs(normal[0]) < 0.95 else np.array([0.0, 1.0, 0.0])
    x = right - normal * (right @ normal)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(normal, x), normal], axis=1)


def plane_coordinates(points: Array, plane: np.ndarray) -> Array:
    """Coordinates (3, N), m: x, y along the plane about the camera's foot, on the table frame's axes, and height."""
    local = like_array(points, plane_axes(plane[:3]).T) @ points.T
    local[2] += float(plane[3])
    return local


def thin_points(points: Array, count: int) -> Array:
    """About `count` of the rows, evenly spread, each column contiguous."""
    some = points[:: max(len(points) // count, 1)]
    return np.asfortranarray(some) if array_namespace(some) is np else some.T.contiguous().T


def thin_mask(mask: Array, count: int) -> Array:
    """About `count` of the rows where a mask is true, evenly spread: their indices."""
    rows = true_indices(mask)
    return rows[:: max(len(rows) // count, 1)]


def raster(local: Array, cell: float, border: int) -> tuple[tuple, np.ndarray, tuple[int, ...]]:
    """Cells of coordinates (D, N) in a raster that just holds them and a border: index along each axis, the cell
    number of its corner (D,), and its shape."""
    xp = array_namespace(local)
    cells = as_type(xp.floor(local / cell), "int32")
    least, most = to_numpy(xp.stack([xp.amin(cells, axis=1), xp.amax(cells, axis=1)]))
    origin = least - border
    cells -= like_array(cells, origin)[:, None]
    return tuple(cells), origin, tuple(int(n) + 1 + border for n in most - origin)


def outline_of(lying: Array, cell: float) -> np.ndarray:
    """Convex outline of the largest connected patch of plane coordinates (2, N): a x + b y + c <= 0 inside, (L, 3).

    The largest patch only: another desk, or a chair at the same height, is not this table.
    """
    cells, origin, shape = raster(lying, cell, border=4)
    counts = to_numpy(
        array_namespace(lying).bincount(cells[0] * shape[1] + cells[1], minlength=shape[0] * shape[1])
    ).reshape(shape)
    seen = _opened(counts)
    labels, _ = ndimage.label(ndimage.binary_closing(seen, iterations=3))  # bridges the shadows of objects
    sizes = np.bincount(labels.ravel(), weights=(counts * seen).ravel())
    return _hull((labels == 1 + np.argmax(sizes[1:])) & seen, origin, cell)


@dataclass(frozen=True, eq=False)
class Grid:
    """Cells over a plane: `cell` metres wide, from `origin` (2,), in cells, on; shape (R, C). Nothing is in its rim."""

    origin: np.ndarray
    shape: tuple[int, int]
    cell: float

    @classmethod
    def around(cls, flat: np.ndarray, margin: float, cell: float) -> "Grid":
        """Over all the plane coordinates (2, N) and a margin, metres."""
        low = np.floor((flat.min(axis=1) - margin) / cell).astype(np.int64) - 4
        high = np.floor((flat.max(axis=1) + margin) / cell).astype(np.int64) + 5
        return cls(low, tuple((high - low).tolist()), cell)

    def place(self, flat: np.ndarray) -> np.ndarray:
        """Flat cell of plane coordinates (2, N); one of the rim for those beyond it."""
        row, column = ((flat[i] * (1 / self.cell) - self.origin[i]).clip(0, self.shape[i] - 1) for i in range(2))
        return row.astype(np.int32) * self.shape[1] + column.astype(np.int32)

    def count(self, place: np.ndarray, of: np.ndarray) -> np.ndarray:
        """How many of the flat cells `place[of]` are each cell: (R, C)."""
        return _without_rim(np.bincount(place[of], minlength=np.prod(self.shape)).reshape(self.shape), 0)

    def lowest(self, place: np.ndarray, height: np.ndarray) -> np.ndarray:
        """Least height in each cell, infinite where there is none: (R, C)."""
        found = np.full(np.prod(self.shape), np.inf)
        np.minimum.at(found, place, height)
        return _without_rim(found.reshape(self.shape), np.inf)


def _without_rim(cells: np.ndarray, empty: float) -> np.ndarray:
    cells[[0, -1]] = cells[:, [0, -1]] = empty
    return cells


@dataclass(frozen=True, eq=False)
class Extent:
    """How far a table reaches. outline (L, 3): convex, as of `outline_of`. Cells of the grid, bool (R, C): reach, the
    table and where it may go on behind things; sunk, where something is seen that goes down below the table."""

    outline: np.ndarray
    reach: np.ndarray
    sunk: np.ndarray
    grid: Grid
    local: np.ndarray  # what it was made of

    @cached_property
    def bottom(self) -> np.ndarray:
        """Height of the lowest that is seen in a cell and all around it, infinite where that is nothing: (R, C)."""
        lowest = self.grid.lowest(self.grid.place(self.local[:2]), self.local[2])
        return ndimage.maximum_filter(lowest, footprint=ndimage.generate_binary_structure(2, 1))


def extent_of(local: np.ndarray, eye: float, distance: float, cell: float = CELL) -> Extent:
    """How far the table reaches of which these are the plane coordinates (3, N) and heights of all that is seen.

    eye: height of the camera, over the origin of the coordinates. What a ray ends on tells of the cell in which it
    meets the plane: the table itself, something that hides it, or something lower that is seen past it. Patches of the
    table between which it is only hidden are one table: books part it into many.
    """
    local = local[:, local[2] < max(0.95 * eye, distance)]
    height = local[2]
    on = np.abs(height) <= distance
    grid = Grid.around(local[:2, on], _AROUND, cell)
    place, met = grid.place(local[:2]), grid.place(local[:2] * (eye / np.maximum(eye - height, 1e-6)))
    # what lies in the plane is where it is; along its ray the lowest line of a wall would be a broad one
    lies, hides, lower = grid.count(place, on), grid.count(met, height > distance), grid.count(met, height < -distance)
    sunk = grid.count(place, (height < -2 * distance) & (height > -_SINKS)) > 0
    seen, past = _opened(lies), lower > lies + hides
    whole = ndimage.binary_closing(seen, iterations=3)
    labels, _ = ndimage.label((whole | ndimage.binary_closing(hides > 0)) & ~past | seen)
    sizes = np.bincount(labels.ravel(), weights=(lies * seen).ravel())
    reach = labels == 1 + np.argmax(sizes[1:])
    return Extent(_hull(reach & seen, grid.origin, cell), reach, sunk, grid, local)


def _opened(counts: np.ndarray) -> np.ndarray:
    """The cells that hold something, without thin lines: there the plane cuts a wall or a chair."""
    seen = ndimage.binary_opening(counts > 0)
    return seen if seen.any() else counts > 0


def _hull(patch: np.ndarray, origin: np.ndarray, cell: float) -> np.ndarray:
    """Convex outline (L, 3) of the cells of a patch, metres."""
    rows = np.flatnonzero(patch.any(axis=1))  # a row's first and last cell are all that the hull can touch
    ends = patch[rows].argmax(axis=1), patch.shape[1] - 1 - patch[rows, ::-1].argmax(axis=1)
    patch = np.concatenate([np.column_stack([rows, end]) for end in ends]) + origin
    corners = (patch[:, None] + np.array([[0, 0], [0, 1], [1, 0], [1, 1]])).reshape(-1, 2) * cell
    return ConvexHull(corners).equations


def corners(points: np.ndarray, plane: np.ndarray, distance: float) -> np.ndarray:
    """Corners (L, 3), m, of the convex outline of what lies in a plane: the largest patch of the points (N, 3) within
    `distance` of it. None (0, 3) where too little does."""
    local = plane_coordinates(points, plane)
    lying = local[:2, np.abs(local[2]) < distance]
    if lying.shape[1] < 3:
        return np.zeros((0, 3))
    lying = lying[:, within(lying, outline_of(lying, CELL), 0.0)]
    try:
        flat = lying[:, ConvexHull(lying.T).vertices]
    except QhullError:  # all on one line
        return np.zeros((0, 3))
    return np.vstack([flat, np.full(flat.shape[1], -plane[3])]).T @ plane_axes(plane[:3]).T


def within(local: Array, outline: np.ndarray, margin: float) -> Array:
    """Which plane coordinates (2 or more, N) are inside the outline, or outside by less than the margin: bool (N,)."""
    return outside(local, outline) <= margin


def outside(local: Array, outline: np.ndarray) -> Array:
    """How far plane coordinates (2 or more, N) are outside the outline, m, negative inside: (N,)."""
    edges = like_array(local, outline)
    beyond = edges[:, :2] @ local[:2]
    beyond += edges[:, 2:]
    return array_namespace(local).amax(beyond, axis=0)
