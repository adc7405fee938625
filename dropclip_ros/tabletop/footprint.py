# SPDX-License-Identifier: Apache-2.0
"""Points over a plane: coordinates along it, and the outline of what lies in it. For NumPy and torch (see `arrays`)."""

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull

from dropclip_ros.base.arrays import Array, array_namespace, as_type, like_array, to_numpy, true_indices

CELL = 0.02  # m, raster of a table's extent
FIT_POINTS = 20000  # enough for anything statistical


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
    seen = ndimage.binary_opening(counts > 0)  # where the plane cuts a wall or a chair is a thin line
    seen = seen if seen.any() else counts > 0
    labels, _ = ndimage.label(ndimage.binary_closing(seen, iterations=3))  # bridges the shadows of objects
    sizes = np.bincount(labels.ravel(), weights=(counts * seen).ravel())
    patch = (labels == 1 + np.argmax(sizes[1:])) & seen
    rows = np.flatnonzero(patch.any(axis=1))  # a row's first and last cell are all that the hull can touch
    ends = patch[rows].argmax(axis=1), shape[1] - 1 - patch[rows, ::-1].argmax(axis=1)
    patch = np.concatenate([np.column_stack([rows, end]) for end in ends]) + origin
    corners = (patch[:, None] + np.array([[0, 0], [0, 1], [1, 0], [1, 1]])).reshape(-1, 2) * cell
    return ConvexHull(corners).equations


def within(local: Array, outline: np.ndarray, margin: float) -> Array:
    """Which plane coordinates (2 or more, N) are inside the outline, or outside by less than the margin: bool (N,)."""
    outline = like_array(local, outline)
    beyond = outline[:, :2] @ local[:2]
    beyond += outline[:, 2:]
    return array_namespace(local).amax(beyond, axis=0) <= margin
