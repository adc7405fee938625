# SPDX-License-Identifier: Apache-2.0
"""What a depth camera makes of a rendered depth image, applied when scenes are read.

A camera that finds depth by triangulation (structured light or active stereo) measures disparities d = f b / z: their
noise and steps grow with z^2 in depth (Khoshelham and Elberink, Sensors 2012, eq. 10). What only one of its two eyes
sees has no depth: the shadow on one side of every object. Edges wander sideways, steep and shiny surfaces drop out
(Nguyen, Izadi and Lovell, 3DIMPVT 2012; Mallick, Das and Majumdar, IEEE Sensors 2014).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, minimum_filter
from scipy.special import ndtr

from dropclip_ros.base.ranges import check_fields, ranged


@dataclass(frozen=True)
class SensorConfig:
    """A depth camera. The default is of the class of a Kinect v1; `REALSENSE` of a D435.

    baseline: between its eyes, m; focal: of its own depth image, its pixels. disparity_noise: standard deviation, its
    pixels; disparity_step: quantisation, its pixels. Together: depth's deviation is z^2 noise / (focal baseline).
    lateral_noise: standard deviation of where a pixel looks, pixels. steep: incidence, rad, from which more and more is
    lost, all at pi / 2. edge: how far, m, behind a neighbour a pixel lies at which `edge_loss` of them are lost. shine:
    share that is lost of a mirror, in patches of a few pixels; of others by the square of shininess. near, far: range,
    m. unit: of the image that it publishes, m. seed: of views that `Scene.view` reads.
    """

    baseline: float = ranged(0.075, above=0)
    focal: float = ranged(580.0, above=0)
    disparity_noise: float = ranged(0.06, 0)
    disparity_step: float = ranged(0.125, above=0)
    lateral_noise: float = ranged(0.4, 0)
    steep: float = ranged(1.2, above=0, below=np.pi / 2)
    edge: float = ranged(0.02, above=0)
    edge_loss: float = ranged(0.5, 0, 1)
    shine: float = ranged(0.6, 0, 1)
    near: float = ranged(0.4, above=0)
    far: float = ranged(4.0, above=0)
    unit: float = ranged(0.001, above=0)
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.near < self.far:
            raise ValueError(f"near {self.near}, far {self.far}: expected near < far")


# Kinect v1: 7.5 cm, 580 pixels, steps of 1/8 pixel; 0.06 pixels give the 1.4 mm at 1 m that Khoshelham and Elberink
# measured (1.43e-5 z^2, cm). RealSense D435: 5 cm, 848 x 480 at 87 degrees (its data sheet), steps of 1/32 pixel, and
# the 0.08 pixels that Intel names as typical ("Best-Known-Methods for Tuning Intel RealSense D400 Depth Cameras").
KINECT = SensorConfig()
REALSENSE = SensorConfig(
    baseline=0.05, focal=447.0, disparity_noise=0.08, disparity_step=1 / 32, lateral_noise=0.6, near=0.28
)
SENSORS: dict[str, SensorConfig | None] = {"none": None, "kinect": KINECT, "realsense": REALSENSE}  # none: as rendered


def sense(
    depth: np.ndarray,
    intrinsics: np.ndarray,
    config: SensorConfig,
    rng: np.random.Generator,
    shininess: np.ndarray | None = None,
) -> np.ndarray:
    """Depth (H,W) m as the camera would give it: float32 m in steps of its unit, 0 where it gives none.

    depth: true, along the optical axis, 0 where there is nothing. intrinsics: K (3,3), pixels. shininess (H,W): of the
    surface at each pixel, 0 dull to 1 a mirror.
    """
    height, width = depth.shape
    rows, columns = np.mgrid[:height, :width]
    jitter = np.rint(rng.normal(0, config.lateral_noise, (2, height, width))).astype(int)
    looked = (rows + jitter[0]).clip(0, height - 1), (columns + jitter[1]).clip(0, width - 1)
    known = depth[looked] > 0
    scale = config.focal * config.baseline  # pixels m: disparity times depth
    disparity = scale / np.where(known, depth[looked], np.inf) + rng.normal(0, config.disparity_noise, depth.shape)
    disparity = np.rint(disparity / config.disparity_step) * config.disparity_step
    found = scale / np.where(disparity > 0, disparity, np.inf)

    lost = ~known | (found < config.near) | (found > config.far)
    lost |= _shadow(depth, intrinsics[0, 0] * config.baseline, config.edge)
    chance = config.edge_loss * _jumps(depth, config.edge)
    incidence = _incidence(depth, intrinsics)
    chance = np.maximum(chance, ((incidence - config.steep) / (np.pi / 2 - config.steep)).clip(0, 1))
    if shininess is not None:  # highlights come in patches
        patches = gaussian_filter(rng.normal(size=depth.shape), 2.0)
        lost |= ndtr(patches / patches.std()) < config.shine * shininess**2
    lost |= rng.uniform(size=depth.shape) < chance
    return np.where(lost, 0, np.rint(found / config.unit) * config.unit).astype(np.float32)


def _shadow(depth: np.ndarray, scale: float, edge: float) -> np.ndarray:
    """What the eye to the right (`scale` = f b) does not see, because something before it is in its way."""
    height, width = depth.shape
    far = np.where(depth > 0, depth, np.inf)
    column = np.rint(np.arange(width) - scale / far).astype(int) + width
    place = np.arange(height)[:, None] * 2 * width + column
    nearest = np.full(height * 2 * width, np.inf)
    np.minimum.at(nearest, place, far)
    nearest = minimum_filter(nearest.reshape(height, 2 * width), (1, 3)).ravel()  # slanted surfaces leave gaps
    return far > nearest[place] + edge


def _jumps(depth: np.ndarray, edge: float) -> np.ndarray:
    """Where something nearer begins beside; what is in front keeps its edges."""
    return depth - minimum_filter(depth, 3) > edge


def _incidence(depth: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Angle (H,W) rad between the ray and the surface's normal, from differences of neighbours."""
    rows, columns = np.mgrid[: depth.shape[0], : depth.shape[1]]
    rays = np.stack([columns, rows, np.ones(depth.shape)], axis=2) @ np.linalg.inv(intrinsics).T
    points = (rays * depth[..., None]).astype(np.float32)
    normal = np.cross(np.gradient(points, axis=1), np.gradient(points, axis=0))
    cosine = np.abs(np.einsum("ijk,ijk->ij", normal, rays))
    length = np.sqrt(np.einsum("ijk,ijk->ij", normal, normal) * np.einsum("ijk,ijk->ij", rays, rays))
    return np.arccos(np.clip(cosine / np.maximum(length, 1e-12), 0, 1))
