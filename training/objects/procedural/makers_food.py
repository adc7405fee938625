# SPDX-License-Identifier: Apache-2.0
"""Fruit, vegetables and pastry: makers as in `makers_kitchen.py`."""

from __future__ import annotations

import numpy as np

from training.objects.procedural.makers_kitchen import Attributes
from training.objects.procedural.shapes import Part, arc, circle, ellipsoid, loft, revolve, sweep, torus
from training.objects.procedural.textures import DARK, MAIN, SECOND, Canvas

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


def egg(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    r, half = rng.uniform(0.021, 0.0245), rng.uniform(0.027, 0.031)
    t = -np.cos(np.linspace(0, np.pi, 15))
    radius = r * np.sqrt(np.clip(1 - t**2, 0, 1)) * (1 - 0.17 * t)
    return [revolve(list(zip(radius, half * t, strict=True))).turned("y", 90)]


def mushroom(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    r, h = rng.uniform(0.024, 0.034), rng.uniform(0.034, 0.046)
    canvas.fill(SECOND, "cream", "organic")
    canvas.fill(DARK, "brown", "organic")
    stem = revolve([(0, 0), (r * 0.4, 0), (r * 0.34, h * 0.4), (r * 0.45, h * 0.62), (0, h * 0.62)], SECOND, 16)
    low = h * 0.52
    gills = revolve([(r * 0.4, low + 0.004), (r * 0.9, low + 0.001)], DARK)
    cap = revolve([(r * 0.9, low), (r, low + 0.006), *[(x * r, low + 0.006 + z * r) for x, z in arc(0.98, 8, 90, 8)]])
    return [stem, gills, cap.scaled(z=0.95)]


def eggplant(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    length, r = rng.uniform(0.13, 0.17), rng.uniform(0.027, 0.034)
    x = np.linspace(0, length, 11)
    radii = r * np.array([0.36, 0.55, 0.62, 0.7, 0.8, 0.91, 0.98, 1.0, 0.94, 0.75, 0.3])
    canvas.fill(SECOND, "leaf", "organic")
    bend = np.stack([x, 0.012 * np.sin(x / length * np.pi), 0 * x], axis=1)
    crown = sweep(bend[:3] - (0.003, 0, 0), r * np.array([0.5, 0.63, 0.5]), SECOND, n=12)
    bent = np.array([(0.002, 0, 0), (-0.014, 0.002, 0), (-0.026, 0.008, 0)])
    stalk = sweep(bent, [0.006, 0.0045, 0.005], SECOND, n=8)
    return [sweep(bend, radii, MAIN, n=18), crown, stalk]


def cupcake(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    r, h = rng.uniform(0.03, 0.036), rng.uniform(0.034, 0.042)
    canvas.fill(SECOND, a["color2"], "paper")
    canvas.fill(DARK, "red", "organic")
    for _ in range(50):  # sprinkles
        x, y = rng.uniform(0, 250), rng.uniform(0, 188)
        color = str(rng.choice(["red", "blue", "yellow", "green"]))
        canvas.draw.rectangle((x, y, x + 5, y + 3), fill=canvas.rgb(color))
    ribs = 1 + 0.035 * np.cos(np.arange(32) * np.pi)
    flutes = np.zeros((2, 32, 3))
    for k, (radius, z) in enumerate(((r * 0.7, 0.0), (r, h))):
        flutes[k, :, :2], flutes[k, :, 2] = circle(32) * (radius * ribs)[:, None], z
    swirl = [(r * 1.0, h - 0.002)]
    for k in range(3):
        swirl += arc(0.007, -50, 60, 4, (r * (0.88 - 0.28 * k), h + 0.006 + 0.0095 * k))
    cherry = ellipsoid(0.0075, 0.0075, 0.0075, DARK, 12).moved(0, 0, h + 0.037)
    return [loft(flutes, SECOND), revolve([*swirl, (0, h + 0.034)]), *([cherry] if rng.random() < 0.6 else [])]
