# SPDX-License-Identifier: Apache-2.0
"""The depth-sensor model: noise and steps that grow with the square of the distance, holes where cameras have them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.scenes.sensor import KINECT, REALSENSE, SensorConfig, sense

K = np.array([[570.0, 0, 159.5], [0, 570.0, 119.5], [0, 0, 1]])
SHAPE = (240, 320)
CALM = SensorConfig(disparity_noise=0, lateral_noise=0)


def wall(z: float) -> np.ndarray:
    return np.full(SHAPE, z)


def seen(depth: np.ndarray, config: SensorConfig = KINECT, seed: int = 0, **more) -> np.ndarray:
    return sense(depth, K, config, np.random.default_rng(seed), **more)


@pytest.mark.parametrize(("config", "at_1_m"), [(KINECT, 0.00143), (REALSENSE, 0.0036)])
def test_noise_grows_with_the_square_of_the_distance(config, at_1_m):
    spread = {z: seen(wall(z), config).std() for z in (0.7, 1.4, 2.8)}
    assert spread[0.7] == pytest.approx(0.7**2 * at_1_m, rel=0.3)  # and a bit for the steps
    assert spread[1.4] / spread[0.7] == pytest.approx(4, rel=0.25)
    assert spread[2.8] / spread[1.4] == pytest.approx(4, rel=0.25)


def test_steps_are_those_of_disparity_and_of_the_unit():
    ramp = np.tile(np.linspace(1.0, 1.02, SHAPE[1]), (SHAPE[0], 1))
    levels = np.unique(seen(ramp, CALM))
    assert np.allclose(levels * 1000, np.rint(levels * 1000), atol=1e-3)
    step = CALM.disparity_step * 1.01**2 / (CALM.focal * CALM.baseline)  # 3 mm at 1 m: coarser than the unit
    assert np.diff(levels).mean() == pytest.approx(step, rel=0.2)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.5, 1.2), st.floats(0.05, 0.3), st.integers(20, 120))
def test_a_shadow_lies_left_of_what_stands_before_a_wall(near, behind, width):
    """Its width is the difference of disparities, at most that of the thing itself."""
    depth = wall(near + behind)
    left = 150
    depth[60:180, left : left + width] = near
    holes = seen(depth, CALM)[120] == 0
    shift = K[0, 0] * CALM.baseline * (1 / near - 1 / (near + behind))
    expected = min(shift, width)
    assert holes[: left - 2].sum() == pytest.approx(expected, abs=3.5)
    assert not holes[left + 2 : left + width - 2].any() and not holes[left + width + 2 :].any()


def test_what_is_too_near_too_far_unknown_or_steep_is_lost():
    assert not seen(wall(0.3)).any() and not seen(wall(5.0)).any() and not seen(wall(0.0)).any()
    rows = np.arange(SHAPE[0])[:, None]
    floor = np.where(rows > 125, 0.05 * K[1, 1] / np.maximum(rows - 119.5, 1e-3), 0) * np.ones(SHAPE)
    assert (seen(floor)[(floor > 1.5) & (floor < 3.5)] == 0).mean() > 0.5  # a plane 5 cm under the eye: 88 degrees


def test_shiny_things_lose_patches_and_dull_ones_do_not():
    shine = np.zeros(SHAPE)
    shine[:, 160:] = 1.0
    holes = seen(wall(0.8), shininess=shine) == 0
    assert holes[:, 160:].mean() == pytest.approx(KINECT.shine, abs=0.05) and holes[:, :160].mean() < 0.01
    runs = np.diff(np.flatnonzero(np.diff(holes[:, 160:].ravel().astype(int))))
    assert runs.mean() > 3


def test_the_same_seed_gives_the_same_image():
    assert np.array_equal(seen(wall(1.0)), seen(wall(1.0)))
    assert not np.array_equal(seen(wall(1.0)), seen(wall(1.0), seed=1))


@pytest.mark.parametrize(
    "fields",
    [
        {"baseline": 0.0},
        {"disparity_noise": -1.0},
        {"near": 4.0, "far": 1.0},
        {"steep": 2.0},
        {"shine": 1.5},
        {"edge_loss": -0.1},
        {"focal": 0.0},
        {"unit": float("nan")},
    ],
)
def test_a_sensor_that_makes_no_sense_is_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        SensorConfig(**fields)
