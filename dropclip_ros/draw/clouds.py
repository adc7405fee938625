# SPDX-License-Identifier: Apache-2.0
"""Coloured clouds as files."""

import os
from pathlib import Path

import numpy as np


def write_ply(path: str | Path, points: np.ndarray, colors: np.ndarray, scores: np.ndarray) -> None:
    """Binary PLY with x y z (metres, float), red green blue (uint8) and score (float) at each point.

    points (N, 3), colors uint8 (N, 3), scores (N,). Written beside and renamed, so that nobody reads half a file.
    """
    points, colors, scores = np.asarray(points), np.asarray(colors), np.asarray(scores)
    if points.shape != (len(points), 3) or colors.shape != points.shape or scores.shape != (len(points),):
        raise ValueError(
            f"points {points.shape}, colors {colors.shape}, scores {scores.shape}; expected (N, 3) twice and (N,)"
        )
    if colors.dtype != np.uint8:
        raise ValueError(f"colors are {colors.dtype}; expected uint8")
    from dropclip_ros.base.light_open3d import o3d  # slow to import

    cloud = o3d.t.geometry.PointCloud()
    cloud.point.positions = o3d.core.Tensor.from_numpy(np.ascontiguousarray(points, dtype=np.float32))
    cloud.point.colors = o3d.core.Tensor.from_numpy(np.ascontiguousarray(colors))
    cloud.point.score = o3d.core.Tensor.from_numpy(np.ascontiguousarray(scores, dtype=np.float32)[:, None])
    path = Path(path)
    beside = path.with_name(f".{path.stem}.{os.getpid()}.ply")  # open3d chooses the format by the suffix
    try:
        if not o3d.t.io.write_point_cloud(beside, cloud):
            raise OSError(f"cannot write {beside}")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
