# SPDX-License-Identifier: Apache-2.0
"""Depth of one camera as another camera sees it, where it lies beside: what drivers call aligned depth."""

import numpy as np

from dropclip_ros.vision.geometry import Intrinsics, backproject, project, transform_points

_FARTHEST = 16.0  # m; what is nearer is told apart by steps of 0.25 mm
_OVERLAP = 1.1  # of neighbouring pixels, so that slanted surfaces have no holes
_WIDEST = 16  # pixels that one pixel of depth may cover along a side: more is nearer than any sensor measures


def register_depth(depth: np.ndarray, of: Intrinsics, to: Intrinsics, to_from_of: np.ndarray) -> np.ndarray:
    """Depth (h, w) m of the camera `of` as float32 (H, W) m along the axis of the camera `to`; 0 where unknown.

    to_from_of (4, 4): where the one is in the other. Each pixel covers as much of the other image as it sees, and the
    nearest surface counts. BAD_FRAME where no depth is known.
    """
    points, _ = backproject(depth, of, 0.0, np.inf)
    moved = transform_points(to_from_of, np.ascontiguousarray(points))
    pixels, z = project(moved, to)
    turned = np.abs(np.asarray(to_from_of)[:2, :2]) @ (1 / of.fx, 1 / of.fy)  # the box around a pixel that is turned
    with np.errstate(divide="ignore", invalid="ignore"):
        half = _OVERLAP * 0.5 * turned * (to.fx, to.fy) * np.minimum(points[:, 2:] / z[:, None], _WIDEST)
    seen = (z > 0) & (pixels > -1).all(axis=1) & (pixels < (to.width, to.height)).all(axis=1)
    steps = (np.minimum(z[seen], _FARTHEST) / _FARTHEST * 65535).astype(np.uint16)  # whole numbers: quicker to sort
    order = np.flatnonzero(seen)[np.argsort(steps, kind="stable")[::-1]]  # the nearest is written last, and stays
    pixels, half, z = pixels[order], np.minimum(half[order], _WIDEST / 2), z[order].astype(np.float32)
    first = np.ceil(pixels - half).astype(np.int32)
    count = np.ceil(pixels + half).astype(np.int32) - first
    nearest = np.full(to.width * to.height, np.inf, np.float32)
    for right, down in np.ndindex(*(count.max(axis=0) if len(count) else (0, 0))):
        column, row = first[:, 0] + right, first[:, 1] + down
        inside = (count[:, 0] > right) & (count[:, 1] > down)
        inside &= (column >= 0) & (row >= 0) & (column < to.width) & (row < to.height)
        layer = np.full_like(nearest, np.inf)
        layer[row[inside] * to.width + column[inside]] = z[inside]
        np.minimum(nearest, layer, out=nearest)
    nearest[np.isinf(nearest)] = 0.0
    return nearest.reshape(to.height, to.width)
