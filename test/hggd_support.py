# SPDX-License-Identifier: Apache-2.0
"""Weights and inputs that are the same wherever they are made: golden/hggd.npz holds what the published modules made of
them, and the names and shapes of the published tensors."""

import zlib
from math import prod

import numpy as np
import torch

from dropclip_ros.grasping.hggd.config import HggdConfig

SMALL = HggdConfig(
    width=160,
    height=90,
    trunk=4,
    blocks=(1, 1, 1, 1),
    head=8,
    points=20000,
    region_points=64,
    point_channels=(16, 32, 64),
    hidden=(32, 32),
    info_channels=8,
    anchor_width=10.0,
    rotations=3,
)
SIZE = 640, 360  # width and height of what the maps below are for
FOCAL = 463.5  # px
REGIONS, POINTS = 5, 512


def random_tensor(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor that keeps the numbers of a deep network moderate; RandomState's streams never change."""
    rng, kind = np.random.RandomState(zlib.crc32(name.encode())), name.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return torch.tensor(0)
    if kind == "running_var" or (kind == "weight" and len(shape) == 1):
        values = rng.uniform(0.5, 1.5, shape)
    else:
        values = rng.normal(size=shape) * (np.sqrt(1 / prod(shape[1:])) if len(shape) > 1 else 0.1)
    return torch.tensor(values.astype(np.float32))


def random_state(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    return {name: random_tensor(name, shape) for name, shape in shapes.items()}


def network_inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """An image (1, 4, 40, 640), regions (R, P, 35) and what is told of their centres (R, 3)."""
    rng = np.random.RandomState(1)
    arrays = (
        rng.uniform(0, 1, (1, 4, 40, 640)),
        rng.normal(size=(REGIONS, POINTS, 35)) * 0.1,
        rng.normal(size=(REGIONS, 3)) * (1, 40, 15),
    )
    return tuple(torch.tensor(array.astype(np.float32)) for array in arrays)


def anchor_maps() -> list[torch.Tensor]:
    """heat (1, 1, H, W) with a hundred peaks, angle, turn, depth, width (1, 6, H / 8, W / 8)."""
    rng, (width, height) = np.random.RandomState(2), SIZE
    v, u = np.mgrid[:height, :width]
    heat = np.full((height, width), -6.0)
    for x, y, top in rng.uniform((0, 0, 0), (width, height, 8), (100, 3)):
        heat += top * np.exp(-((u - x) ** 2 + (v - y) ** 2) / 60)
    maps = [heat[None, None], *(rng.normal(size=(1, 6, height // 8, width // 8)) for _ in range(4))]
    return [torch.tensor(m.astype(np.float32)) for m in maps]


def scene_depth() -> np.ndarray:
    """Depth (2 H, 2 W) in whole mm."""
    v, u = np.mgrid[: 2 * SIZE[1], : 2 * SIZE[0]]
    return np.round(700 + 80 * np.sin(u / 70) * np.cos(v / 50) + 0.2 * v).astype(np.float32)


def local_outputs(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (count, 49) and offsets (count, 49, 3)."""
    rng = np.random.RandomState(3)
    return tuple(torch.tensor(rng.normal(size=(count, *shape)).astype(np.float32)) for shape in ((49,), (49, 3)))


def anchors() -> tuple[torch.Tensor, torch.Tensor]:
    """gamma and beta (7,)."""
    return torch.linspace(-0.85, 0.85, 7), torch.linspace(-0.8, 0.75, 7)
