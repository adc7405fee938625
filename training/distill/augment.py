# SPDX-License-Identifier: Apache-2.0
"""Augmentations of section A.2, each a small function of arrays and a seeded generator.

Those of space take points (N,3), those of colour take colours (N,3) in [0, 1] and return such; blobs, bases and
thinning say which points stay. Lengths are in the units of the points. `spatial`, `chromatic` and `remains` apply what
a configuration asks for, in the order of the paper's lineage: space before voxels are cut, the rest on the voxels.
"""

from __future__ import annotations

import numpy as np
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv
from scipy.ndimage import map_coordinates, uniform_filter
from scipy.spatial.transform import Rotation

from training.distill.config import AugmentConfig

Generator = np.random.Generator
KNOT_LIMIT = 3.0  # deviations; so elastic distortion moves no point further than this times its magnitude, on each axis


def elastic(points: np.ndarray, granularity: float, magnitude: float, rng: Generator) -> np.ndarray:
    """Points plus smooth noise: normal at knots `granularity` apart, averaged over 3^3 knots twice, by magnitude."""
    low = points.min(axis=0)
    knots = np.ceil((points.max(axis=0) - low) / granularity).astype(int) + 3
    noise = rng.standard_normal((3, *knots), dtype=np.float32).clip(-KNOT_LIMIT, KNOT_LIMIT)
    smooth = [uniform_filter(uniform_filter(channel, 3), 3) for channel in noise]
    at = ((points - low) / granularity + 1).T
    moved = [map_coordinates(channel, at, order=1, mode="nearest") for channel in smooth]
    return points + magnitude * np.stack(moved, axis=1)


def rotate(points: np.ndarray, low: np.ndarray, high: np.ndarray, random_order: bool, rng: Generator) -> np.ndarray:
    """Points turned about their own origin by angles drawn from [low, high] (3,), rad, of the axes x, y, z."""
    angles, axes = rng.uniform(low, high), np.arange(3)
    order = rng.permutation(axes) if random_order else axes
    turn = Rotation.from_euler("".join("xyz"[axis] for axis in order), angles[order])
    return points @ turn.as_matrix().T


def flip(points: np.ndarray, chance: float, rng: Generator) -> np.ndarray:
    """x mirrored, and y mirrored, each by chance; up stays up."""
    signs = np.where(rng.uniform(size=3) < (chance, chance, 0), -1.0, 1.0)
    return points * signs


def shift(points: np.ndarray, most: float, rng: Generator) -> np.ndarray:
    """All points moved alike, by up to `most` along each axis."""
    return points + rng.uniform(-most, most, 3)


def scale(points: np.ndarray, most: float, rng: Generator) -> np.ndarray:
    """Sizes changed by up to the share `most`, all alike."""
    return points * rng.uniform(1 - most, 1 + most)


def noise(points: np.ndarray, most: float, rng: Generator) -> np.ndarray:
    """Normal noise on every coordinate; its deviation is drawn up to `most`."""
    return points + rng.normal(0, rng.uniform(0, most), points.shape)


def translate_color(colors: np.ndarray, ratio: float, rng: Generator) -> np.ndarray:
    """Each channel shifted by up to `ratio`, alike for all points."""
    return np.clip(colors + rng.uniform(-ratio, ratio, 3), 0, 1)


def jitter_color(colors: np.ndarray, std: float, rng: Generator) -> np.ndarray:
    """Normal noise on every colour."""
    return np.clip(colors + rng.normal(0, std, colors.shape), 0, 1)


def auto_contrast(colors: np.ndarray, rng: Generator) -> np.ndarray:
    """Colours blended, by a random share, with those stretched so that each channel reaches from 0 to 1."""
    low, high = colors.min(axis=0), colors.max(axis=0)
    stretched = (colors - low) / np.where(high > low, high - low, 1)
    stretched = np.where(high > low, stretched, colors)
    share = rng.uniform()
    return (1 - share) * colors + share * stretched


def hue_saturation(colors: np.ndarray, hue: float, saturation: float, rng: Generator) -> np.ndarray:
    """Hue turned by up to `hue` of the circle, saturation changed by up to that share; the brightest channel stays."""
    hsv = rgb_to_hsv(colors)
    hsv[:, 0] = (hsv[:, 0] + rng.uniform(-hue, hue)) % 1
    hsv[:, 1] = np.clip(hsv[:, 1] * rng.uniform(1 - saturation, 1 + saturation), 0, 1)
    return hsv_to_rgb(hsv)


def exposure(colors: np.ndarray, gain: float, balance: float, rng: Generator) -> np.ndarray:
    """Brightness, and each channel, changed by up to these shares, alike for all points."""
    factor = rng.uniform(1 - gain, 1 + gain) * rng.uniform(1 - balance, 1 + balance, 3)
    return np.clip(colors * factor, 0, 1)


def keep_without_blobs(
    points: np.ndarray, labels: np.ndarray, count: tuple[int, int], size: tuple[int, int], rng: Generator
) -> np.ndarray:
    """Which points stay (N,), when `count` blobs (least, most) of `size` points are taken from each object.

    A blob is a point of the object and those of the object that are nearest to it. Half of every object stays.
    """
    keep = np.ones(len(points), bool)
    for label in np.unique(labels):
        of_label = np.flatnonzero(labels == label)
        left = len(of_label) // 2  # that may go
        for _ in range(rng.integers(count[0], count[1], endpoint=True)):
            wanted = min(int(rng.integers(size[0], size[1], endpoint=True)), left)
            rest = of_label[keep[of_label]]
            centre = points[rng.choice(rest)]
            if wanted:
                distance = ((points[rest] - centre) ** 2).sum(axis=1)
                keep[rest[np.argpartition(distance, wanted - 1)[:wanted]]] = False
            left -= wanted
    return keep


def keep_above_base(heights: np.ndarray, most: float, rng: Generator) -> np.ndarray:
    """Which points stay (N,), when all up to a height drawn from [0, most] go with the table."""
    return heights > rng.uniform(0, most)


def keep_thinned(count: int, rng: Generator) -> np.ndarray:
    """Which of `count` points stay (N,), when a share of 30 to 100 % does."""
    return rng.uniform(size=count) < rng.uniform(0.3, 1.0)


def spatial(points: np.ndarray, config: AugmentConfig, world_scale: float, rng: Generator) -> np.ndarray:
    """Points (N,3) m of a cloud in the table's frame, changed as `config` says; float32. Turned about their middle."""
    middle = points.mean(axis=0)
    points = points.astype(np.float64) - middle
    if rng.uniform() < config.elastic_chance:
        granularity = rng.uniform(config.elastic_distortion_granularity_min, config.elastic_distortion_granularity_max)
        magnitude = rng.uniform(config.elastic_distortion_magnitude_min, config.elastic_distortion_magnitude_max)
        points = elastic(points, granularity / world_scale, magnitude / world_scale, rng)
    if rng.uniform() < config.random_rot_chance:
        low = np.array([config.rotate_min_x, config.rotate_min_y, config.rotate_min_z])
        high = np.array([config.rotate_max_x, config.rotate_max_y, config.rotate_max_z])
        points = rotate(points, low, high, config.random_euler_order, rng)
    points = scale(flip(points, config.flip_chance, rng), config.scale_max, rng)
    points = shift(points, config.shift_max / world_scale, rng) + middle
    return noise(points, config.depth_noise, rng).astype(np.float32)


def chromatic(colors: np.ndarray, config: AugmentConfig, rng: Generator) -> np.ndarray:
    """Colours (N,3) in [0, 1] changed as `config` says; float32."""
    if rng.uniform() < config.contrast_chance:
        colors = auto_contrast(colors, rng)
    if config.gain_max or config.balance_max:
        colors = exposure(colors, config.gain_max, config.balance_max, rng)
    if rng.uniform() < config.color_chance:
        colors = translate_color(colors, config.color_trans_ratio, rng)
    if rng.uniform() < config.color_chance:
        colors = jitter_color(colors, config.color_jitter_std, rng)
    if config.hue_max or config.saturation_max:
        colors = hue_saturation(colors, config.hue_max, config.saturation_max, rng)
    return np.asarray(colors, np.float32)


def remains(points: np.ndarray, labels: np.ndarray, config: AugmentConfig, full: bool, rng: Generator) -> np.ndarray:
    """Which voxels (N,) stay of a full or a partial cloud."""
    if rng.uniform() >= (config.blob_chance if full else config.partial_blob_chance):
        return np.ones(len(points), bool)
    count, size = (config.n_blob_min, config.n_blob_max), (config.blob_size_min, config.blob_size_max)
    return keep_without_blobs(points, labels, count, size, rng)
