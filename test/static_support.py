# SPDX-License-Identifier: Apache-2.0
"""A scene that does not change: a red box and a blue one on a table, with the features of their names."""

import numpy as np
import pytest

from dropclip_ros.grounding.pipeline import Grounder
from dropclip_ros.grounding.static_scene import PROBE, StaticScene

RED, BLUE = "a battery", "a sponge"


@pytest.fixture(scope="module")
def grounder():
    return Grounder.from_pretrained(device="cpu")


def surface(low, high, step=0.004):
    """Points of the sides and the top of a box, m."""
    axes = [np.arange(a, b + step / 2, step) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    at_rim = (np.isclose(grid, low) | np.isclose(grid, [a[-1] for a in axes]))[:, [0, 1, 2]]
    at_rim[:, 2] &= ~np.isclose(grid[:, 2], low[2])
    return grid[at_rim.any(1)]


@pytest.fixture(scope="module")
def static(grounder):
    table = np.stack(np.meshgrid(np.arange(-0.4, 0.4, 0.005), np.arange(-0.3, 0.3, 0.005)), -1).reshape(-1, 2)
    table = np.column_stack([table, np.random.default_rng(0).normal(0, 0.0005, len(table))])
    boxes = [surface((-0.2, -0.05, 0), (-0.1, 0.05, 0.08)), surface((0.1, -0.04, 0), (0.18, 0.06, 0.06))]
    points = np.concatenate([table, *boxes]) + np.array([1.0, 2.0, 0.7])
    part = np.repeat([0, 1, 2], [len(table), len(boxes[0]), len(boxes[1])])
    colors = np.array([[120, 100, 80], [200, 20, 20], [20, 20, 200]], np.uint8)[part]
    text = grounder.text.encode([PROBE, RED, BLUE]).numpy()
    scores = np.eye(3, dtype=np.float32)[part]
    calibration = 0.02, 0.6  # features that are phrases themselves are nearer to other phrases than objects are
    return StaticScene(
        points.astype(np.float32), colors, text[part], text[0], ("table", RED, BLUE), scores, *calibration
    )
