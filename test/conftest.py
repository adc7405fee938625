# SPDX-License-Identifier: Apache-2.0
"""Shared fixtures: the folder of real data, and synthetic tabletops cast ray by ray."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when Triton is imported; nothing else here needs Triton

with suppress(ImportError):
    import triton  # noqa: F401 (its LLVM and OSMesa's live in one process only if it comes first)

with suppress(ImportError):  # a ROS install has the core alone
    import training  # noqa: F401 (chooses how MuJoCo draws, before anything imports it)

from dropclip_ros.vision.geometry import Intrinsics, RgbdFrame, invert_pose

COLORS = np.array([[90, 90, 90], [150, 110, 70], [200, 40, 40], [40, 160, 60], [50, 70, 200], [220, 200, 40]], np.uint8)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """<repository>/../shared/data, or the folder in DROPCLIP_SHARED; skips the test where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DROPCLIP_SHARED", default))
    if not folder.is_dir():
        pytest.skip(f"real data is not at {folder} (set DROPCLIP_SHARED)")
    return folder


@pytest.fixture(scope="session")
def off_screen() -> None:
    """Skips the test where MuJoCo cannot draw."""
    mujoco = pytest.importorskip("mujoco", reason="mujoco is not installed (make setup)")
    try:
        mujoco.GLContext(8, 8).free()
    except Exception as error:
        pytest.skip(f"no off-screen OpenGL (apt-get install libosmesa6): {error}")


@dataclass
class Tabletop:
    """A synthetic frame and the truth: labels int (H, W), 0 nothing, floor or wall, 1 table, 2.. objects (boxes, then
    spheres); up (3,) in the camera frame; frame.camera_pose is world_from_camera, z up from the table's middle."""

    frame: RgbdFrame
    labels: np.ndarray
    up: np.ndarray


@pytest.fixture(scope="session")
def make_tabletop() -> Callable[..., Tabletop]:
    """The function `cast_tabletop`, for tests that want a frame with known truth."""
    return cast_tabletop


def cast_tabletop(
    boxes: Sequence = ((-0.12, 0.0, 0.08, 0.06, 0.12), (0.12, 0.1, 0.1, 0.1, 0.05)),
    spheres: Sequence = ((0.05, -0.12, 0.04),),
    table: tuple[float, float] = (0.5, 0.4),
    floor: float | None = None,
    wall: float | None = None,
    pitch: float = 0.8,
    distance: float = 0.9,
    noise: float = 0.0,
    holes: float = 0.0,
    size: tuple[int, int] = (320, 240),
    seed: int = 0,
    azimuth: float = 0.0,
) -> Tabletop:
    """Ray-cast a table top, a rectangle of half extents `table` at z = 0, seen from -y at `distance` and `pitch`, or
    from `azimuth` rad further around it.

    boxes (x, y, size x, size y, size z) and spheres (x, y, radius) stand on it (one more number puts the bottom at that
    z); floor: z of a floor; wall: y of a wall; noise: standard deviation of depth in metres at 1 m, growing with the
    square of depth; holes: share of pixels without depth.
    """
    width, height = size
    focal = 0.85 * width
    intrinsics = Intrinsics(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)
    cosine, sine = np.cos(azimuth), np.sin(azimuth)
    eye = distance * np.array([np.cos(pitch) * sine, -np.cos(pitch) * cosine, np.sin(pitch)])
    forward = -eye / distance
    right = np.array([cosine, sine, 0.0])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = eye
    v, u = np.mgrid[:height, :width]
    rays = np.stack([(u - intrinsics.cx) / focal, (v - intrinsics.cy) / focal, np.ones_like(u, float)], -1)
    rays = rays.reshape(-1, 3) @ pose[:3, :3].T

    with np.errstate(divide="ignore", invalid="ignore"):
        hits = [(_at_plane(eye, rays, 2, 0.0, table), 1)]
        hits += [(_at_plane(eye, rays, 2, floor), 0)] if floor is not None else []
        hits += [(_at_plane(eye, rays, 1, wall), 0)] if wall is not None else []
        hits += [(_at_box(eye, rays, box), 2 + i) for i, box in enumerate(boxes)]
        hits += [(_at_sphere(eye, rays, ball), 2 + len(boxes) + i) for i, ball in enumerate(spheres)]
    along = np.stack([t for t, _ in hits])
    depth = along.min(axis=0)
    labels = np.array([label for _, label in hits])[along.argmin(axis=0)]
    rng = np.random.default_rng(seed)
    unseen = ~np.isfinite(depth) | (rng.random(depth.shape) < holes)
    depth[unseen], labels[unseen] = 0.0, 0
    depth += noise * depth**2 * rng.normal(size=depth.shape)
    rgb = COLORS[np.minimum(labels, 1 + (labels - 1) % (len(COLORS) - 1))]
    frame = RgbdFrame(rgb.reshape(height, width, 3), depth.reshape(height, width).astype(np.float32), intrinsics, pose)
    return Tabletop(frame, labels.reshape(height, width), invert_pose(pose)[:3, 2])


def _at_plane(eye, rays, axis, value, half=(np.inf, np.inf)):
    t = (value - eye[axis]) / rays[:, axis]
    hit = eye + t[:, None] * rays
    inside = (np.abs(hit[:, 0]) <= half[0]) & (np.abs(hit[:, 1]) <= half[1]) if axis == 2 else True
    return np.where((t > 0) & inside, t, np.inf)


def _at_box(eye, rays, box):
    x, y, sx, sy, sz, bottom = (*box, 0.0)[:6]
    low, high = np.array([x - sx / 2, y - sy / 2, bottom]), np.array([x + sx / 2, y + sy / 2, bottom + sz])
    ends = np.stack([(low - eye) / rays, (high - eye) / rays])
    enter, leave = ends.min(axis=0).max(axis=1), ends.max(axis=0).min(axis=1)
    return np.where((enter < leave) & (enter > 0), enter, np.inf)


def _at_sphere(eye, rays, ball):
    x, y, radius, bottom = (*ball, 0.0)[:4]
    offset = eye - (x, y, bottom + radius)
    a, b, c = (rays**2).sum(1), rays @ offset, offset @ offset - radius**2
    t = (-b - np.sqrt(b * b - a * c)) / a
    return np.where(t > 0, t, np.inf)  # false for NaN: no hit
