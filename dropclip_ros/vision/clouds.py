# SPDX-License-Identifier: Apache-2.0
"""Point clouds as frames: organised ones keep their pixels, others are seen by a camera that stands in for theirs."""

from pathlib import Path

import numpy as np

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.reading import opened
from dropclip_ros.base.shapes import read_cloud
from dropclip_ros.vision.geometry import Intrinsics, RgbdFrame, invert_pose, project, transform_points

FRAMES = ("camera", "world")
WIDTH, HEIGHT = 640, 480  # pixels of the view from above
ROOM = 1.15  # by how much it shows more than the points
_FIT = 0.5  # px, by which an organised cloud may stray from a pinhole camera's picture
_DENSE = 0.6  # points to a pixel, in the picture of a cloud that is not organised
_LEAST, _MOST = 64, 1600  # pixels of a side of that


def load_cloud_frame(path: str | Path, unit: str = "m", frame: str = "camera") -> RgbdFrame:
    """A PLY or PCD file as a frame; unit: m or mm; frame: see `cloud_frame`. Raises BAD_FRAME."""
    try:
        cloud = read_cloud(path)
    except OSError as error:
        raise _bad_frame(f"{path}: expected a file of a point cloud, .ply or .pcd ({error.strerror}).") from error
    points = np.asarray(cloud.points, np.float32) * np.float32({"m": 1.0, "mm": 1e-3}[unit])
    if not len(points):
        raise _bad_frame(f"{path}: holds no points that can be read.")
    colors = np.round(255 * np.asarray(cloud.colors)).astype(np.uint8) if cloud.has_colors() else None
    return cloud_frame(points, colors, _organised(Path(path), len(points)), frame)


def cloud_frame(
    points: np.ndarray,
    colors: np.ndarray | None = None,
    size: tuple[int, int] | None = None,
    frame: str = "camera",
) -> RgbdFrame:
    """Points (N, 3) m with colours (N, 3) uint8, grey without, as a frame.

    frame: `camera`, where they are in a camera's optical frame, or `world`, with z up; they are then seen from above,
    and the frame's pose is that of this view. size (H, W): of an organised cloud, N = H W, row by row; what is not
    finite has no depth. Raises BAD_FRAME.
    """
    if frame not in FRAMES:
        raise DropclipError(Status.BAD_REQUEST, f"frame {frame!r} of the cloud: expected one of {', '.join(FRAMES)}.")
    colors = np.full(points.shape, 128, np.uint8) if colors is None else colors
    known = np.isfinite(points).all(axis=1) & ((points[:, 2] > 0) | (frame == "world"))
    if not known.any():
        raise _bad_frame(f"of {len(points)} points none is finite and before the camera (z > 0): is the cloud z up?")
    if frame == "world":
        return seen_from_above(points[known], colors[known])[0]
    if size is not None and (camera := _pinhole(points, known, size)) is not None:
        depth = np.where(known, points[:, 2], 0).astype(np.float32).reshape(size)
        return RgbdFrame(colors.reshape(*size, 3), depth, camera)
    points, colors = points[known], colors[known]
    camera = _stand_in(points)
    column, row = np.round(project(points, camera)[0]).astype(int).T
    return _drawn(
        points, colors, row.clip(0, camera.height - 1) * camera.width + column.clip(0, camera.width - 1), camera
    )


def seen_from_above(points: np.ndarray, colors: np.ndarray) -> tuple[RgbdFrame, np.ndarray, np.ndarray]:
    """A frame of a camera over world points (N,3), looking down on all of them; the points in it, and their pixels."""
    low, high = points.min(0).astype(np.float64), points.max(0).astype(np.float64)
    middle, extent = (low + high) / 2, np.maximum(high - low, 1e-3)
    focal = float(WIDTH)
    above = ROOM * focal * max(extent[0] / WIDTH, extent[1] / HEIGHT)
    pose = np.diag([1.0, -1.0, -1.0, 1.0])
    pose[:3, 3] = middle[0], middle[1], high[2] + max(above, 0.3)
    camera = Intrinsics(focal, focal, WIDTH / 2 - 0.5, HEIGHT / 2 - 0.5, WIDTH, HEIGHT)
    local = transform_points(invert_pose(pose), points).astype(np.float32)
    column, row = np.round(project(local, camera)[0]).astype(int).T
    pixels = row.clip(0, HEIGHT - 1) * WIDTH + column.clip(0, WIDTH - 1)
    return _drawn(local, colors, pixels, camera, pose), local, pixels


def _drawn(
    points: np.ndarray, colors: np.ndarray, pixels: np.ndarray, camera: Intrinsics, pose: np.ndarray | None = None
) -> RgbdFrame:
    """The frame in which points (N, 3), camera frame, are at flat pixels (N,): the nearest of each."""
    rgb, depth = (
        np.zeros((camera.height * camera.width, 3), np.uint8),
        np.zeros(camera.height * camera.width, np.float32),
    )
    far_first = np.argsort(-points[:, 2], kind="stable")
    rgb[pixels[far_first]], depth[pixels[far_first]] = colors[far_first], points[far_first, 2]
    size = camera.height, camera.width
    return RgbdFrame(rgb.reshape(*size, 3), depth.reshape(size), camera, pose, picture=False)


def _pinhole(points: np.ndarray, known: np.ndarray, size: tuple[int, int]) -> Intrinsics | None:
    """The camera whose pixels the points of an organised cloud are, None where they are no camera's."""
    index = np.flatnonzero(known)
    rows, columns = np.divmod(index, size[1])
    fits = []
    for place, axis in ((columns, 0), (rows, 1)):
        slope = points[index, axis].astype(np.float64) / points[index, 2]
        if np.ptp(slope) < 1e-6:
            return None
        focal, centre = np.polyfit(slope, place, 1)
        if np.percentile(np.abs(focal * slope + centre - place), 95) > _FIT or focal <= 0:
            return None
        fits.append((float(focal), float(centre)))
    (fx, cx), (fy, cy) = fits
    try:
        return Intrinsics(fx, fy, cx, cy, size[1], size[0])
    except DropclipError:
        return None


def _stand_in(points: np.ndarray) -> Intrinsics:
    """A camera where the points' own was, with about as many pixels as there are points."""
    slopes = points[:, :2].astype(np.float64) / points[:, 2:]
    low, high = np.percentile(slopes, (0.1, 99.9), axis=0)
    extent = np.maximum(high - low, 1e-3)
    focal = np.sqrt(len(points) / (_DENSE * extent[0] * extent[1]))
    focal = float(np.clip(focal, _LEAST / extent.max(), _MOST / extent.max()))
    width, height = (max(round(float(side)), 8) for side in focal * extent + 1)
    return Intrinsics(focal, focal, float(-focal * low[0]), float(-focal * low[1]), width, height)


def _organised(path: Path, count: int) -> tuple[int, int] | None:
    """Size (H, W) that the header of a PCD file tells, where it is an image's."""
    if path.suffix.lower() != ".pcd":
        return None
    with opened(path) as file:
        words = dict(line.split(maxsplit=1) for line in file.read(2048).splitlines()[:11] if b" " in line)
    try:
        height, width = int(words[b"HEIGHT"]), int(words[b"WIDTH"])
    except (KeyError, ValueError):
        return None
    return (height, width) if height > 1 and height * width == count else None


def _bad_frame(message: str) -> DropclipError:
    return DropclipError(Status.BAD_FRAME, message)
