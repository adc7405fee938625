# SPDX-License-Identifier: Apache-2.0
"""Fruit, vegetables and pastry: makers as in `makers_kitchen.py`."""

from __future__ import annotations

import numpy as np

from training.mvtod.procedural.makers_kitchen import Attributes
from training.mvtod.procedural.shapes import Part, arc, ellipsoid, revolve, sweep, torus
from training.mvtod.procedural.textures import DARK, MAIN, SECOND, Canvas

Rng = np.random.Generator


def apple(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    r = rng.uniform(0.034, 0.042)
    phi = np.linspace(np.pi, 0, 15)
    z = (
        r * 0.92 * np.cos(phi)
        - 0.42 * r * np.exp(-((phi / 0.4) ** 2))
        + 0.2 * r * np.exp(-(((np.pi - phi) / 0.35) ** 2))
    )
    width = r * np.sin(phi) * (1 + 0.06 * np.cos(phi))
    canvas.fill(DARK, "brown")
    canvas.fill(SECOND, "leaf")
    stem = sweep(np.array([(0, 0, r * 0.4), (0.001, 0, r * 0.8), (0.004, 0, r * 1.2)]), 0.0022, DARK, n=6)
    leaf = ellipsoid(0.011, 0.006, 0.0018, SECOND, 10).turned("y", -25).moved(0.013, 0, r * 0.98)
    return [revolve(list(zip(np.maximum(width, 0), z, strict=True))), stem, *([leaf] if rng.random() < 0.7 else [])]


def orange(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    r = rng.uniform(0.034, 0.043)
    canvas.fill(SECOND, "leaf")
    return [ellipsoid(r, r, r * 0.94), ellipsoid(0.006, 0.006, 0.0025, SECOND, 8).moved(0, 0, r * 0.935)]


def lemon(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    r, half = rng.uniform(0.024, 0.029), rng.uniform(0.036, 0.042)
    t = np.linspace(-1, 1, 15)
    radius = r * np.sqrt(np.clip(1 - np.abs(t / 0.93) ** 2.4, 0, 1)) + 0.006 * np.sqrt(np.clip(1 - t**2, 0, 1))
    return [revolve(list(zip(radius, half * 1.12 * t, strict=True))).turned("y", 90)]


def pear(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    r = rng.uniform(0.031, 0.037)
    h = r * rng.uniform(2.5, 2.9)
    profile = [
        (0, 0.004),
        (r * 0.5, 0.0),
        (r * 0.9, h * 0.12),
        (r, h * 0.28),
        (r * 0.9, h * 0.46),
        (r * 0.6, h * 0.66),
        (r * 0.45, h * 0.82),
        (r * 0.33, h * 0.95),
        (0, h),
    ]
    canvas.fill(DARK, "brown")
    stem = sweep(np.array([(0, 0, h * 0.95), (0.001, 0, h * 1.08), (0.005, 0, h * 1.2)]), 0.0022, DARK, n=6)
    return [revolve(profile), stem]


def banana(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    radius, thick = rng.uniform(0.075, 0.1), rng.uniform(0.015, 0.019)
    angle = np.linspace(-0.95, 0.95, 13)
    path = np.stack([radius * np.sin(angle), radius * (1 - np.cos(angle)), np.zeros(13)], axis=1)
    radii = thick * np.array([0.42, 0.7, 0.88, 0.96, 1, 1, 1, 1, 0.98, 0.92, 0.8, 0.55, 0.3])
    canvas.fill(DARK, "brown")
    ahead = np.array([np.cos(0.95), np.sin(0.95), 0.0])
    stem = sweep(path[-1] + np.array([[0.0], [0.5], [1.0]]) * ahead * 0.022, thick * 0.28, DARK, n=7)
    back = path[0] + np.array([[0.0], [0.5], [1.0]]) * ahead * (-0.006, 0.006, 0)
    return [sweep(path, radii, n=8), stem, sweep(back, thick * 0.36, DARK, n=7)]


def donut(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    radius, tube = rng.uniform(0.027, 0.032), rng.uniform(0.014, 0.018)
    canvas.fill(SECOND, "dough", "organic")
    for _ in range(110):  # sprinkles
        x, y = rng.uniform(0, 256), rng.uniform(0, 192)
        canvas.draw.rectangle((x, y, x + 7, y + 4), fill=canvas.rgb(a["color2"]))
    icing = revolve(arc(tube * 1.06, -12, 192, 12, (radius, 0.001)), n=28, hollow=True)
    return [torus(radius, tube, SECOND), icing]


def carrot(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    length, r = rng.uniform(0.12, 0.17), rng.uniform(0.013, 0.018)
    x = np.linspace(0, length, 9)
    radii = r * np.array([0.55, 1, 0.97, 0.88, 0.76, 0.62, 0.46, 0.28, 0.08])
    canvas.fill(SECOND, "leaf", "organic")
    leaves = []
    for yaw, pitch in ((0, 12), (28, 4), (-28, 6), (14, 30)):
        leaf = ellipsoid(0.024, 0.0065, 0.003, SECOND, 10).moved(-0.024)
        leaves.append(leaf.turned("y", pitch).turned("z", yaw))
    return [sweep(np.stack([x, 0.004 * np.sin(x * 25), 0 * x], axis=1), radii, MAIN), *leaves]


def cucumber(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    length, r = rng.uniform(0.15, 0.2), rng.uniform(0.018, 0.023)
    x = np.linspace(-length / 2, length / 2, 11)
    radii = r * np.array([0.3, 0.75, 0.93, 1, 1, 1, 1, 1, 0.93, 0.75, 0.3])
    return [sweep(np.stack([x, 0.008 * np.cos(x * 14), 0 * x], axis=1), radii, MAIN)]
