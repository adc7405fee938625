# SPDX-License-Identifier: Apache-2.0
"""Where a printed marker (ArUco, AprilTag) is, by its corners in the colour image and the depth within it.

Detection is OpenCV's; it is imported here alone, and is an extra: pip install "opencv-python>=4.7".
"""

import numpy as np

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.vision.geometry import RgbdFrame, backproject

_FEWEST = 30  # depths within the marker


def find_marker(frame: RgbdFrame, number: int, size: float, dictionary: str = "DICT_APRILTAG_36h11") -> np.ndarray:
    """camera_from_marker (4, 4) of the marker `number` with sides of `size` m: x right and y up on it, z out of it.

    dictionary: its name in cv2.aruco. TARGET_UNSEEN where it is not in the image, or has no depth; BAD_REQUEST.
    """
    corners = _corners(frame.rgb, number, dictionary)
    points, pixels = (np.asarray(one) for one in backproject(frame.depth, frame.intrinsics))
    v, u = np.divmod(pixels, frame.intrinsics.width)
    inside = points[_within(np.stack([u, v], axis=1).astype(float), corners)].astype(np.float64)
    if len(inside) < _FEWEST:
        raise DropclipError(
            Status.TARGET_UNSEEN, f"only {len(inside)} depths lie in marker {number}; {_FEWEST} are needed: come nearer"
        )
    centre, normal = _plane(inside)
    rays = _rays(corners, frame)
    seen = rays * (centre @ normal / (rays @ normal))[:, None]  # the corners on the plane
    side = np.linalg.norm(seen - np.roll(seen, -1, axis=0), axis=1)
    if not np.allclose(side, size, rtol=0.1):
        raise DropclipError(
            Status.BAD_REQUEST,
            f"marker {number} has sides of {', '.join(f'{1000 * s:.0f}' for s in side)} mm by the depth, and "
            f"{1000 * size:.0f} mm were said: measure the black square, and check the depth's unit",
        )
    square = 0.5 * size * np.array([[-1, 1, 0], [1, 1, 0], [1, -1, 0], [-1, -1, 0]], float)  # in OpenCV's order
    return _fit(square, seen)


def _corners(rgb: np.ndarray, number: int, dictionary: str) -> np.ndarray:
    """(4, 2) pixels: top left, top right, bottom right, bottom left of the marker as printed."""
    try:
        import cv2
    except ImportError as error:
        raise DropclipError(
            Status.UNSUPPORTED, "markers need OpenCV: pip install 'opencv-python>=4.7', or compare the gripper"
        ) from error
    if not dictionary.startswith("DICT_") or not hasattr(cv2.aruco, dictionary):
        raise DropclipError(
            Status.BAD_REQUEST, f"marker dictionary {dictionary!r:.40}: expected one of cv2.aruco, as DICT_4X4_50"
        )
    options = cv2.aruco.DetectorParameters()
    options.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, dictionary)), options)
    found, numbers, _ = detector.detectMarkers(rgb[..., ::-1].copy())
    seen = [] if numbers is None else numbers.ravel().tolist()
    if number not in seen:
        others = f"; seen are {', '.join(map(str, seen))}" if seen else ""
        raise DropclipError(Status.TARGET_UNSEEN, f"marker {number} of {dictionary} is not in the image{others}")
    return np.asarray(found[seen.index(number)], dtype=np.float64).reshape(4, 2)


def _within(pixels: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Which pixels (N, 2) lie in a convex quadrangle (4, 2), clockwise in the image."""
    inside = np.ones(len(pixels), dtype=bool)
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        along = b - a
        inside &= along[0] * (pixels[:, 1] - a[1]) - along[1] * (pixels[:, 0] - a[0]) > 0
    return inside


def _plane(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and unit normal of the plane through most of the points (N, 3): those far from it are left out."""
    for _ in range(3):
        centre = points.mean(axis=0)
        normal = np.linalg.svd(points - centre, full_matrices=False)[2][2]
        off = np.abs((points - centre) @ normal)
        points = points[off <= max(2.5 * np.median(off), 1e-4)]
    return centre, normal


def _rays(corners: np.ndarray, frame: RgbdFrame) -> np.ndarray:
    """Rays (4, 3), z = 1, through places in the image, with the lens's distortion undone between the nearest pixels."""
    k, low = frame.intrinsics, np.floor(corners).astype(int)
    rays = []
    for (u, v), (column, row) in zip(corners, low, strict=True):
        column, row = np.clip((column, row), 0, (k.width - 2, k.height - 2))
        near = np.zeros((k.height, k.width), np.float32)
        near[row : row + 2, column : column + 2] = 1.0
        (a, b, c, d), _ = backproject(near, k)  # of the four pixels around, at 1 m
        right, down = u - column, v - row
        rays.append((1 - down) * ((1 - right) * a + right * b) + down * ((1 - right) * c + right * d))
    return np.array(rays, dtype=np.float64)


def _fit(model: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The rigid seen_from_model (4, 4) with the least squares between points (N, 3)."""
    u, _, vt = np.linalg.svd((model - model.mean(axis=0)).T @ (seen - seen.mean(axis=0)))
    turn = vt.T @ np.diag([1.0, 1.0, np.linalg.det(vt.T @ u.T)]) @ u.T
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn, seen.mean(axis=0) - turn @ model.mean(axis=0)
    return pose
