# SPDX-License-Identifier: Apache-2.0
"""Rendered rooms with truth: a table whose edges are seen, a floor, walls, a shelf or a second table, flat boxes.

OSD's background is cropped; here it is not. Room `i` depends on (seed, i) alone. Needs MuJoCo and OSMesa.
"""

import os
from collections.abc import Iterator

os.environ.setdefault("MUJOCO_GL", "osmesa")

import mujoco
import numpy as np

from benchmarks.data.osd import LabelledFrame
from dropclip_ros.vision.geometry import Intrinsics, RgbdFrame

_WIDTH, _HEIGHT, _FOCAL = 640, 480, 525.0
_NOISE = 0.0015  # m at 1 m, growing with the square of depth; depth then counts in millimetres
BACKGROUND, TABLE = 0, 1  # objects are 2, 3, ...


def rooms(count: int, seed: int = 0) -> Iterator[LabelledFrame]:
    """Frames with world_from_camera as their pose; `category` says what is beside the table."""
    for i in range(count):
        yield _room(np.random.default_rng([seed, i]), f"room{i}")


def crowded(count: int, seed: int = 0) -> Iterator[LabelledFrame]:
    """As `rooms`, with a table that books and boxes cover for the most part, some of them on others or through them."""
    for i in range(count):
        yield _room(np.random.default_rng([seed, i, 1]), f"crowd{i}", _crowd)


def _room(rng: np.random.Generator, name: str, furnish=None) -> LabelledFrame:
    spec = mujoco.MjSpec()
    spec.visual.global_.offwidth, spec.visual.global_.offheight = _WIDTH, _HEIGHT
    spec.visual.map.znear, spec.visual.map.zfar = 0.05, 20.0
    spec.visual.quality.shadowsize, spec.visual.quality.offsamples = 0, 0
    spec.stat.extent = 1.0
    labels: list[int] = []

    def box(low, high, label, color=None, turn=0.0):
        color = rng.uniform(0.2, 0.9, 3) if color is None else color
        low, high = np.array(low, float), np.array(high, float)
        spec.worldbody.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=(low + high) / 2,
            size=(high - low) / 2,
            quat=[np.cos(turn / 2), 0, 0, np.sin(turn / 2)],
            rgba=[*color, 1],
        )
        labels.append(label)

    half, floor = (rng.uniform(0.3, 0.7), rng.uniform(0.25, 0.4)), -rng.uniform(0.55, 0.8)
    box((-half[0], -half[1], -0.03), (half[0], half[1], 0), TABLE)
    box((-4, -4, floor - 0.1), (4, 4, floor), BACKGROUND)
    beside = _surround(box, rng, half, floor)
    (furnish or _few)(spec, box, labels, rng, half)

    pose = _camera(rng)
    spec.worldbody.add_light(pos=[0.5, -1.0, 1.8], dir=[-0.2, 0.5, -1.0], castshadow=False, diffuse=[0.5] * 3)
    spec.worldbody.add_camera(
        name="eye",
        pos=pose[:3, 3],
        xyaxes=[*pose[:3, 0], *-pose[:3, 1]],
        fovy=float(np.degrees(2 * np.arctan(_HEIGHT / 2 / _FOCAL))),
    )
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, _HEIGHT, _WIDTH) as renderer:
        renderer.update_scene(data, "eye")
        rgb = renderer.render().copy()
        renderer.enable_depth_rendering()
        depth = renderer.render().copy()
        renderer.disable_depth_rendering()
        renderer.enable_segmentation_rendering()
        truth = np.array([*labels, BACKGROUND])[renderer.render()[..., 0]]  # -1, nothing, is the last
    depth = np.round(1e3 * (depth + _NOISE * depth**2 * rng.normal(size=depth.shape))) / 1e3
    intrinsics = Intrinsics(_FOCAL, _FOCAL, _WIDTH / 2 - 0.5, _HEIGHT / 2 - 0.5, _WIDTH, _HEIGHT)
    frame = RgbdFrame(rgb, depth.astype(np.float32), intrinsics, pose)
    return LabelledFrame(f"{name} {beside}", beside, frame, truth.reshape(-1))


def _surround(box, rng: np.random.Generator, half: tuple[float, float], floor: float) -> str:
    """Puts a few things beside the table and says which."""
    gap = rng.choice([0.002, 0.02, 0.06, 0.3])  # of the wall behind the table, which may touch it
    back, names = half[1] + gap, []
    if rng.random() < 0.8:
        box((-4, back, floor), (4, back + 0.1, 2), BACKGROUND, np.full(3, 0.8))
        names.append(f"wall{100 * gap:.0f}cm")
        if rng.random() < 0.4:
            side = half[0] + rng.choice([0.01, 0.3])
            box((-side - 0.1, -4, floor), (-side, back, 2), BACKGROUND, np.full(3, 0.7))
            names.append("corner")
        if rng.random() < 0.4:
            height, depth = rng.uniform(0.25, 0.5), rng.uniform(0.12, 0.25)
            box((-half[0], back - depth, height), (half[0], back, height + 0.02), BACKGROUND)
            names.append("shelf")
    if rng.random() < 0.4:  # lower or higher than the table, beside it
        left, top = half[0] + rng.choice([0.01, 0.1]), rng.choice([-0.25, -0.1, 0.08, 0.15])
        box((left, -half[1], top - 0.03), (left + 0.6, half[1], top), BACKGROUND)
        names.append("second")
    if rng.random() < 0.4:  # the back of a chair at the edge next to the camera's right
        x = half[0] + rng.choice([0.01, 0.1]) if "second" not in names else rng.uniform(-0.1, 0.1)
        y = rng.uniform(-0.1, 0.1) if "second" not in names else -half[1] - 0.05
        box((x, y - 0.03, floor), (x + 0.25, y, rng.uniform(0.05, 0.2)), BACKGROUND)
        names.append("chair")
    return "+".join(names) or "floor"


def _few(spec, box, labels: list[int], rng: np.random.Generator, half: tuple) -> None:
    """Three objects or more, apart from each other."""
    placed: list[tuple[float, float, float]] = []
    while len(placed) < rng.integers(3, 8):
        _put_object(spec, box, labels, rng, half, placed)


def _crowd(spec, box, labels: list[int], rng: np.random.Generator, half: tuple) -> None:
    """Books over most of the table; boxes on them or beside. What is only touched is cut through."""
    tops: list[tuple[float, float, float, float, float]] = []  # x, y, half sides, height
    for layer, count in enumerate((rng.integers(8, 16), rng.integers(3, 8))):
        for _ in range(count):
            size = rng.uniform((0.13, 0.1, 0.01), (0.3, 0.22, 0.06)) if layer == 0 or rng.random() < 0.3 else None
            size = rng.uniform(0.04, (0.14, 0.1, 0.25)) if size is None else size
            x, y = rng.uniform(-1, 1, 2) * np.maximum(np.minimum(half, (0.5, 0.4)) - size[:2] / 2, 0)
            under = [top for a, b, r, s, top in tops if np.hypot(x - a, y - b) < min(r, s)]
            low = max(under, default=0.0)
            if low > 0.15:
                continue
            tops.append((x, y, size[0] / 2, size[1] / 2, low + size[2]))
            low_corner, high_corner = (
                (x - size[0] / 2, y - size[1] / 2, low),
                (x + size[0] / 2, y + size[1] / 2, tops[-1][4]),
            )
            box(low_corner, high_corner, max(*labels, TABLE) + 1, turn=rng.uniform(0, np.pi))


def _put_object(spec, box, labels: list[int], rng: np.random.Generator, half: tuple, placed: list) -> None:
    """A box, often a large flat one, a can or a ball where nothing stands yet; `placed` gets (x, y, radius)."""
    kind = rng.choice(["flat", "box", "can", "ball"], p=[0.3, 0.35, 0.2, 0.15])
    size = {
        "flat": rng.uniform((0.15, 0.12, 0.03), (0.34, 0.26, 0.12)),
        "box": rng.uniform(0.03, (0.12, 0.1, 0.25)),
        "can": rng.uniform((0.05, 0.05, 0.06), (0.1, 0.1, 0.2)),
        "ball": rng.uniform(0.04, 0.1) * np.ones(3),
    }[kind]
    radius = np.hypot(*size[:2]) / 2
    for _ in range(50):
        x, y = rng.uniform(-1, 1, 2) * np.maximum(np.minimum(half, (0.45, 0.4)) - radius, 0)
        if all(np.hypot(x - a, y - b) > radius + r for a, b, r in placed):
            break
    else:
        placed.append((9.0, 9.0, 0.0))  # no room for it
        return
    placed.append((x, y, radius))
    if kind in ("flat", "box"):
        box(
            (x - size[0] / 2, y - size[1] / 2, 0),
            (x + size[0] / 2, y + size[1] / 2, size[2]),
            max(*labels, TABLE) + 1,
            turn=rng.uniform(0, np.pi),
        )
        return
    shape = mujoco.mjtGeom.mjGEOM_CYLINDER if kind == "can" else mujoco.mjtGeom.mjGEOM_SPHERE
    spec.worldbody.add_geom(
        type=shape, pos=[x, y, size[2] / 2], size=[size[0] / 2, size[2] / 2, 0], rgba=[*rng.uniform(0.2, 0.9, 3), 1]
    )
    labels.append(max(*labels, TABLE) + 1)


def _camera(rng: np.random.Generator) -> np.ndarray:
    """world_from_camera (4, 4) of a camera that looks at the table from the front, rolled by up to 20 degrees."""
    azimuth, elevation, roll = rng.uniform(-0.9, 0.9), rng.uniform(0.35, 1.1), rng.uniform(-0.35, 0.35)
    back = np.array([np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)])
    right = np.cross([0, 0, 1], back) / np.cos(elevation)
    down = -np.cross(back, right)
    turned = np.cos(roll) * right + np.sin(roll) * down
    pose = np.eye(4)
    pose[:3, :3] = np.stack([turned, np.cross(-back, turned), -back], axis=1)
    pose[:3, 3] = rng.uniform(0.7, 1.5) * back + rng.uniform(-0.08, 0.08, 3) * (1, 1, 0)
    return pose
