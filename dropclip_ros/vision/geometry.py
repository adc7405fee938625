# SPDX-License-Identifier: Apache-2.0
"""Pinhole geometry: intrinsics, RGB-D frames, back-projection (section 3.1) and rigid transforms.

Metres everywhere. The camera frame is the optical frame of REP-103: x right, y down, z forward; integer pixel
coordinates are pixel centres. Everything that is wrong with an image or its calibration is a BAD_FRAME.
"""

from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import ArrayLike

from dropclip_ros.base import reading
from dropclip_ros.base.arrays import Array, array_namespace, as_type, is_numpy, like_array, to_numpy, true_indices
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.ranges import is_finite

if TYPE_CHECKING:
    import torch

DEPTH_UNITS = {"mm": 1e-3, "0.1mm": 1e-4, "m": 1.0}  # metres in one count

# Coefficients that each ROS distortion model may have: k1 k2 p1 p2 k3, and k4 k5 k6 of the rational model.
_DISTORTION_LENGTHS = {"": (), "none": (), "plumb_bob": (4, 5), "rational_polynomial": (8,)}
_WIDEST, _NARROWEST = 10.0, 0.01  # tangents to the optical axis, of the outermost pixel: 84 and 0.6 degrees
_ASPECT_TOLERANCE = 0.01  # 1280x720 and 848x480 are the same picture for a camera driver


def _bad_frame(message: str) -> DropclipError:
    return DropclipError(Status.BAD_FRAME, message)


@dataclass(frozen=True)
class Intrinsics:
    """Pinhole camera, in pixels. `distortion`: () or k1 k2 p1 p2 [k3 [k4 k5 k6]] as in ROS and OpenCV."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    distortion: tuple[float, ...] = ()

    def __post_init__(self):
        for name in ("fx", "fy", "width", "height"):
            value = getattr(self, name)
            if not (is_finite(value) and value > 0):
                raise _bad_frame(
                    f"camera intrinsics: {name} is {value}; it must be finite and above 0. "
                    "Check the camera's calibration."
                )
        for name in ("cx", "cy"):
            if not is_finite(getattr(self, name)):
                raise _bad_frame(f"camera intrinsics: {name} is {getattr(self, name)}; it must be finite.")
        for focal, centre, size in ((self.fx, self.cx, self.width), (self.fy, self.cy, self.height)):
            widest = max(abs(centre), abs(size - centre)) / focal
            if not _NARROWEST < widest < _WIDEST:
                raise _bad_frame(
                    f"camera intrinsics: a focal length of {focal:g} px and a centre at {centre:g} px in "
                    f"an image of {size} px say that it looks {np.degrees(np.arctan(widest)):.3g} degrees "
                    "to the side, which no pinhole camera does. All are in pixels; check the calibration."
                )
        if len(self.distortion) not in (0, 4, 5, 8) or not np.all(np.isfinite(self.distortion)):
            raise _bad_frame(
                f"camera intrinsics: distortion is {self.distortion}; expected 0, 4, 5 or 8 finite numbers."
            )
        if not any(self.distortion):  # so that a camera without distortion has one spelling
            object.__setattr__(self, "distortion", ())

    @classmethod
    def from_matrix(cls, matrix: np.ndarray, width: int, height: int) -> "Intrinsics":
        """Of K (3, 3) and the image's size, px."""
        (fx, _, cx), (_, fy, cy), _ = np.asarray(matrix, float)
        return cls(fx, fy, cx, cy, width, height)

    @property
    def matrix(self) -> np.ndarray:
        """K, (3, 3)."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def scaled_to(self, width: int, height: int) -> "Intrinsics":
        """The same camera seen at another resolution of the same aspect ratio (BAD_FRAME otherwise)."""
        if (width, height) == (self.width, self.height):
            return self
        if not same_aspect((self.width, self.height), (width, height)):
            raise _bad_frame(
                f"the image is {width}x{height}, intrinsics {self.width}x{self.height}: "
                "another aspect ratio. Give the intrinsics of the image as it is."
            )
        sx, sy = width / self.width, height / self.height
        # Pixel centres are integers, so a resize maps u + 0.5 to s (u + 0.5).
        return replace(
            self,
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=(self.cx + 0.5) * sx - 0.5,
            cy=(self.cy + 0.5) * sy - 0.5,
            width=int(width),
            height=int(height),
        )

    @classmethod
    def from_json(cls, path: str | Path) -> "Intrinsics":
        """Read `{"fx":, "fy":, "cx":, "cy":, "width":, "height":[, "distortion": [...]]}`."""
        values = _read_json(path)
        names = [f.name for f in fields(cls) if f.name != "distortion"]
        if not isinstance(values, dict) or not set(names) <= set(values):
            raise _bad_frame(f"{path}: expected an object with {', '.join(names)} in pixels.")
        try:
            fx, fy, cx, cy, width, height = (float(values[name]) for name in names)
            distortion = tuple(float(d) for d in values.get("distortion", ()))
            return cls(fx, fy, cx, cy, int(width), int(height), distortion)
        except (TypeError, ValueError, OverflowError) as error:
            raise _bad_frame(f"{path}: intrinsics must be finite numbers ({error}).") from error

    def to_dict(self) -> dict:
        """What `from_json` reads."""
        return asdict(self) | {"distortion": list(self.distortion)}

    @classmethod
    def from_camera_info_arrays(
        cls, k9: ArrayLike, d: ArrayLike, width: int, height: int, distortion_model: str = "plumb_bob"
    ) -> "Intrinsics":
        """From the fields of sensor_msgs/CameraInfo: k (9,), d, width, height, distortion_model.

        plumb_bob and rational_polynomial distortion is undone ray by ray in `backproject`. Other models
        (fisheye) with nonzero coefficients, and skew, are refused with BAD_FRAME: rectify those images first.
        """
        k = np.asarray(k9, dtype=np.float64).reshape(-1)
        d = tuple(float(v) for v in np.asarray(d, dtype=np.float64).reshape(-1))
        if k.size != 9:
            raise _bad_frame(f"CameraInfo.k has {k.size} numbers; expected 9.")
        if k[0] == 0.0:
            raise _bad_frame("CameraInfo.k is all zeros: the camera is not calibrated. Calibrate it.")
        if abs(k[1]) > 1e-9 * abs(k[0]):
            raise _bad_frame(f"CameraInfo.k has skew {k[1]}, not supported. Use the rectified image.")
        if any(d) and len(d) not in _DISTORTION_LENGTHS.get(distortion_model, ()):
            raise _bad_frame(
                f"distortion model '{distortion_model}' with {len(d)} coefficients unsupported "
                "(plumb_bob: 4 or 5; rational_polynomial: 8). Use the rectified image."
            )
        fx, cx, fy, cy = (float(k[i]) for i in (0, 2, 4, 5))
        return cls(fx, fy, cx, cy, int(width), int(height), d if any(d) else ())


@dataclass(eq=False)
class RgbdFrame:
    """Colour and depth registered to it.

    rgb uint8 (H, W, 3); depth float32 (H, W) metres along the optical axis, 0 where unknown; camera_pose:
    world_from_camera (4, 4) or None when unknown; stamp in seconds; picture: False where the
    colours are drawn points, which are not to be looked at as a photograph. Depth of another size but the same aspect
    ratio is resized (nearest) to the colour's, and so are the intrinsics; anything else raises BAD_FRAME.
    """

    rgb: np.ndarray
    depth: np.ndarray
    intrinsics: Intrinsics
    camera_pose: np.ndarray | None = None
    stamp: float = 0.0
    picture: bool = True

    def __post_init__(self):
        if self.rgb.dtype != np.uint8 or self.rgb.ndim != 3 or self.rgb.shape[2] != 3:
            raise _bad_frame(f"colour is {self.rgb.dtype} {self.rgb.shape}; expected uint8 (H, W, 3).")
        if self.depth.ndim != 2 or not np.issubdtype(self.depth.dtype, np.floating):
            raise _bad_frame(
                f"depth is {self.depth.dtype} {self.depth.shape}; expected float32 (H, W) in metres (see decode_depth)."
            )
        height, width = self.rgb.shape[:2]
        self.depth = _resize_nearest(self.depth.astype(np.float32, copy=False), width, height)
        self.intrinsics = self.intrinsics.scaled_to(width, height)
        if self.camera_pose is not None:
            self.camera_pose = np.asarray(self.camera_pose, dtype=np.float64)
            if not is_rigid(self.camera_pose):
                raise _bad_frame(
                    "camera_pose is not rigid; expected 4x4 world_from_camera in metres with an "
                    f"orthonormal rotation, got {self.camera_pose.tolist()}."
                )


def decode_depth(image: np.ndarray, unit: str) -> np.ndarray:
    """Depth image (H, W) in `unit` ('mm', '0.1mm' or 'm') to float32 metres; NaN, inf and <= 0 become 0."""
    if unit not in DEPTH_UNITS:
        raise _bad_frame(f"depth unit is '{unit}'; expected one of {', '.join(DEPTH_UNITS)}.")
    if image.ndim != 2 or image.dtype.kind not in "iuf":
        raise _bad_frame(f"the depth image is {image.dtype} {image.shape}; expected one channel (H, W).")
    if image.dtype.itemsize == 1:
        raise _bad_frame(
            "the depth image has 8 bits a pixel: a picture of depth, not depth. Use the 16-bit image, or "
            "a .npy of metres."
        )
    if unit == "m" and image.dtype.kind != "f":
        raise _bad_frame(
            f"the depth image holds whole numbers ({image.dtype}) but its unit is said to be m; "
            "it is surely in mm or 0.1mm."
        )
    depth = np.multiply(image, np.float32(DEPTH_UNITS[unit]), dtype=np.float32)
    if image.dtype.kind == "i":
        np.maximum(depth, 0, out=depth)
    elif image.dtype.kind == "f":
        depth[~((depth > 0) & (depth < np.inf))] = 0.0
    return depth


def load_frame(
    rgb_path: str | Path,
    depth_path: str | Path,
    depth_unit: str,
    intrinsics_path: str | Path,
    camera_pose_path: str | Path | None = None,
) -> RgbdFrame:
    """Read a frame from files: colour image, depth (16-bit PNG or .npy), k.json, and perhaps p.json.

    p.json holds world_from_camera as a 4x4 list of rows in metres.
    """
    rgb = read_color(rgb_path)
    raw = _read_npy(depth_path) if Path(depth_path).suffix == ".npy" else read_image(depth_path)
    pose = None if camera_pose_path is None else _read_matrix(camera_pose_path)
    return RgbdFrame(rgb, decode_depth(raw, depth_unit), Intrinsics.from_json(intrinsics_path), pose)


def load_pose(path: str | Path) -> np.ndarray:
    """Reads a rigid 4x4 in metres from JSON, a list of rows. BAD_FRAME where it is none."""
    pose = _read_matrix(path)
    if pose.shape != (4, 4) or not is_rigid(pose):
        raise _bad_frame(f"{path} is not rigid; expected 4x4 rows in metres with an orthonormal rotation.")
    return pose


def _read_matrix(path: str | Path) -> np.ndarray:
    try:
        return np.array(_read_json(path), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise _bad_frame(f"{path}: expected a 4x4 list of rows ({error}).") from error


def backproject(depth: Array, intrinsics: Intrinsics, near: float = 0.1, far: float = 3.0) -> tuple[Array, Array]:
    """Depth (H, W) metres to camera-frame points (N, 3) float32 and their pixels (N,) int64 (row-major).

    Only depths within [near, far] metres are kept; 0, NaN and inf never are. BAD_FRAME where none is left. On a GPU
    where the depth is; the host waits once, for N.
    """
    if tuple(depth.shape) != (intrinsics.height, intrinsics.width):
        raise _bad_frame(
            f"depth is {tuple(depth.shape)[::-1]} (width, height) but the intrinsics are for "
            f"{intrinsics.width}x{intrinsics.height}. Use Intrinsics.scaled_to."
        )
    flat = as_type(depth, "float32").reshape(-1)
    pixels = true_indices((flat >= max(near, float(np.finfo(np.float32).tiny))) & (flat <= far))
    if len(pixels) == 0:
        why = f"{_why_no_depth(to_numpy(flat))}. {out_of_range(flat, 0, near, far)}".rstrip()
        raise _bad_frame(f"no pixel has a depth between {near:g} and {far:g} m: {why}")
    if not is_numpy(flat):
        rays = array_namespace(flat).index_select(_rays_on(intrinsics, flat.device), 1, pixels)
        return rays.mul_(flat[pixels]).T, pixels
    points = np.empty((3, len(pixels)), dtype=np.float32)  # each coordinate contiguous: twice as fast, here and after
    np.take(flat, pixels, out=points[2], mode="clip")  # a mode without checks
    for row, ray in zip(points, _rays(intrinsics), strict=False):
        np.take(ray, pixels, out=row, mode="clip")
        row *= points[2]
    return points.T, pixels


def _why_no_depth(depth: np.ndarray) -> str:
    valid = depth[np.isfinite(depth) & (depth > 0)]
    if len(valid) == 0:
        return "all are unknown (0, NaN or inf). Is the sensor covered, or its emitter off?"
    return f"their median is {np.median(valid):.3g} m (32FC1 is in metres, 16UC1 in mm or 0.1mm)"


def out_of_range(depth: Array, kept: int, near: float, far: float) -> str:
    """A sentence where most of the known depths (H, W) m are not within [near, far], of which `kept` are; else ''."""
    known = int(((depth > 0) & (depth < np.inf)).sum())
    if 2 * kept >= known:
        return ""
    under = int(((depth > 0) & (depth < near)).sum())
    if 2 * under >= known - kept:
        return f"{100 * under / known:.0f} % of the depths are under {near:g} m: is the unit right?"
    over = 100 * (known - kept - under) / known
    return f"{over:.0f} % of the depths are over {far:g} m: raise `far`, or is the unit right?"


def project(points: np.ndarray, intrinsics: Intrinsics) -> tuple[np.ndarray, np.ndarray]:
    """Camera-frame points (N, 3) to pixel coordinates (N, 2), u right and v down, and depths z (N,).

    Points at or behind the camera (z <= 0) get NaN coordinates.
    """
    points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    z = points[:, 2]
    xy = points[:, :2] / np.where(z > 0, z, np.nan)[:, None]
    xy = _distort(xy, intrinsics.distortion)
    return xy * (intrinsics.fx, intrinsics.fy) + (intrinsics.cx, intrinsics.cy), z


@overload
def transform_points(transform: np.ndarray, points: np.ndarray) -> np.ndarray: ...
@overload
def transform_points(transform: np.ndarray, points: "torch.Tensor") -> "torch.Tensor": ...
def transform_points(transform: np.ndarray, points: Array) -> Array:
    """Apply a rigid 4x4 a_from_b to points (..., 3) in b; keeps float32 as float32."""
    transform = np.asarray(transform)
    if array_namespace(points) is np:
        points = np.asarray(points)
        points = points if points.dtype.kind == "f" else points.astype(np.float64)
    return points @ like_array(points, transform[:3, :3].T) + like_array(points, transform[:3, 3])


def invert_pose(transform: np.ndarray) -> np.ndarray:
    """Inverse of a rigid 4x4."""
    inverse = np.eye(4)
    inverse[:3, :3] = transform[:3, :3].T
    inverse[:3, 3] = -transform[:3, :3].T @ transform[:3, 3]
    return inverse


def is_rigid(transform: np.ndarray, tol: float = 1e-4) -> bool:
    """Whether a 4x4 is a finite rotation and translation, up to `tol` in every element of R R^T."""
    transform = np.asarray(transform, dtype=np.float64)
    if transform.shape != (4, 4) or not np.all(np.isfinite(transform)):
        return False
    rotation = transform[:3, :3]
    return bool(
        np.allclose(rotation @ rotation.T, np.eye(3), atol=tol)
        and np.linalg.det(rotation) > 0
        and np.allclose(transform[3], (0, 0, 0, 1), atol=tol)
    )


def _distort(xy: np.ndarray, distortion: tuple[float, ...]) -> np.ndarray:
    """Ideal to observed image coordinates on the plane z = 1, (N, 2); the model of OpenCV's calib3d."""
    if not distortion:
        return xy
    k1, k2, p1, p2, k3, k4, k5, k6 = (*distortion, *[0.0] * (8 - len(distortion)))
    x, y = xy[:, 0], xy[:, 1]
    r2 = x * x + y * y
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    return np.stack(
        [x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y],
        axis=1,
    )


@lru_cache(maxsize=8)
def _rays(intrinsics: Intrinsics) -> np.ndarray:
    """Undistorted ray (x, y, 1) of every pixel, float32 (2, H W). Cached: a stream has one camera."""
    v, u = np.mgrid[: intrinsics.height, : intrinsics.width]
    focal = np.array([intrinsics.fx, intrinsics.fy])
    observed = (np.stack([u.ravel(), v.ravel()], axis=1) - (intrinsics.cx, intrinsics.cy)) / focal
    ideal = observed
    if intrinsics.distortion:
        with np.errstate(over="ignore", invalid="ignore"):  # where it does not converge, which the error tells
            for _ in range(20):  # the fixed-point iteration of OpenCV's undistortPoints
                ideal = ideal + (observed - _distort(ideal, intrinsics.distortion))
            error = np.abs((_distort(ideal, intrinsics.distortion) - observed) * focal).max()
        if not (error < 0.1 and np.abs(ideal).max() < 2 * _WIDEST):
            raise _bad_frame(
                "the lens distortion of this camera cannot be undone over the whole image "
                f"(off by {error:.2g} px at worst; coefficients {intrinsics.distortion}). "
                "Use the rectified image (image_proc)."
            )
    rays = np.ascontiguousarray(ideal.T, dtype=np.float32)
    rays.setflags(write=False)
    return rays


@lru_cache(maxsize=8)
def _rays_on(intrinsics: Intrinsics, device: "torch.device") -> "torch.Tensor":
    """`_rays` and their z, (3, H W), on a device."""
    import torch  # here, since most nodes need none

    rays = torch.tensor(_rays(intrinsics), device=device)
    return torch.cat([rays, torch.ones_like(rays[:1])])


def same_aspect(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether two sizes (width, height) are of one picture, to the pixels that drivers round away."""
    return abs(a[0] * b[1] - a[1] * b[0]) <= _ASPECT_TOLERANCE * a[0] * b[1]


def _resize_nearest(depth: np.ndarray, width: int, height: int) -> np.ndarray:
    """Nearest, because a mean of depths across an edge is a point where nothing is."""
    if depth.shape == (height, width):
        return depth
    if not same_aspect((depth.shape[1], depth.shape[0]), (width, height)):
        raise _bad_frame(
            f"depth is {depth.shape[1]}x{depth.shape[0]} and colour {width}x{height}, another "
            "aspect ratio, so they are not registered. Use the depth aligned to colour."
        )
    rows = ((np.arange(height) + 0.5) * depth.shape[0] / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * depth.shape[1] / width).astype(np.int64)
    return depth[np.ix_(rows, columns)]


def read_color(path: str | Path) -> np.ndarray:
    """uint8 (H, W, 3). BAD_FRAME for what has more than 8 bits a channel, which Pillow would clip to white."""
    pixels = read_image(path, "RGB")
    if pixels.ndim == 3:
        return pixels
    raise _bad_frame(
        f"the colour image {path} has {8 * pixels.itemsize} bits a channel: is it the depth image? Give one of 8 bits."
    )


def read_image(path: str | Path, mode: str | None = None) -> np.ndarray:
    """The pixels, turned as the file says that they are to be seen, and in `mode` where they have 8 bits a channel."""
    try:
        image = reading.read_image(path)
        return np.array(image.convert(mode) if mode and image.mode[:1] not in ("I", "F") else image)
    except OSError as error:
        raise _bad_frame(f"cannot read the image {path}: {error}.") from error


def _read_npy(path: str | Path) -> np.ndarray:
    try:
        return reading.read_array(path)
    except OSError as error:
        raise _bad_frame(f"cannot read the depth array {path}: {error}.") from error


def _read_json(path: str | Path):
    try:
        return reading.read_json(path)
    except OSError as error:
        raise _bad_frame(f"cannot read {path}: {error}.") from error
