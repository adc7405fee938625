# SPDX-License-Identifier: Apache-2.0
"""More hand tools: makers as in `makers_kitchen.py`."""

from __future__ import annotations

import numpy as np

from training.objects.procedural.makers_kitchen import Attributes
from training.objects.procedural.shapes import Part, box, circle, cylinder, loft, prism, revolve, rounded, sweep
from training.objects.procedural.textures import BODY, MAIN, METAL, SECOND, Canvas

Rng = np.random.Generator


def wrench(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    """A combination wrench: open jaws at one end, a ring at the other."""
    length, r, z = rng.uniform(0.13, 0.18), rng.uniform(0.014, 0.018), rng.uniform(0.006, 0.008)
    shank = prism(rounded(length, r * 0.75, 0.004), -z * 0.35, z * 0.35, MAIN, bevel=0.001)
    neck = prism(rounded(r * 1.1, r * 1.7, r * 0.5), -z / 2, z / 2, MAIN, bevel=0.001).moved(length / 2 + r * 0.1)
    gap = r * 0.52
    jaw = np.array([(0, gap), (r * 1.5, gap), (r * 1.55, gap + r * 0.35), (r * 0.6, r * 1.3), (0, r * 0.95)])
    jaws = [prism(jaw, -z / 2, z / 2, MAIN), prism((jaw * (1, -1))[::-1], -z / 2, z / 2, MAIN)]
    jaws = [part.moved(length / 2 + r * 0.1) for part in jaws]
    ring = [(r * 1.05, -z / 2), (r * 1.05, z / 2), (r * 0.62, z / 2), (r * 0.62, -z / 2), (r * 1.05, -z / 2)]
    end = revolve(ring, MAIN, 24, hollow=True).moved(-length / 2 - r * 0.75)
    return [shank, neck, *(part.turned("z", -12).moved(0, length * 0.1) for part in jaws), end]


def pliers(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    length, spread, thick = rng.uniform(0.1, 0.13), rng.uniform(5, 11), 0.009
    canvas.fill(SECOND, a["color"], a["material"])
    jaw = np.array([(-0.012, -0.009), (0.012, -0.002), (0.05, -0.0005), (0.052, 0.004), (0.02, 0.013), (-0.008, 0.012)])
    parts = [cylinder(0.008, -0.0065, 0.0065, METAL, 14)]
    for side in (1, -1):
        outline = jaw if side > 0 else (jaw * (1, -1))[::-1]
        path = np.array([(-0.006, 0, 0), (-0.03, -0.011, 0), (-0.07, -0.016, 0), (-length, -0.011, 0)]) * (1, side, 1)
        arm = sweep(path[:2], 0.006, METAL, n=8, normal=(0, 0, 1))
        grip = sweep(path[1:], [0.0065, 0.0085, 0.006], SECOND, n=10, normal=(0, 0, 1), flat=0.8)
        parts += [part.turned("z", side * spread) for part in (prism(outline, -thick / 2, thick / 2, METAL), arm, grip)]
    return parts


def paint_brush(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    wide, length, hair = rng.uniform(0.02, 0.032), rng.uniform(0.11, 0.14), rng.uniform(0.035, 0.045)
    canvas.fill(SECOND, a["color2"], "organic")
    canvas.fill(BODY, a["color"], a["material"])
    x = -np.array([0.0, 0.02, 0.04, 0.08, 0.12, 0.14]) * length / 0.14
    radii = wide * np.array([0.9, 0.75, 0.35, 0.3, 0.42, 0.3])
    stick = sweep(np.column_stack([x, 0 * x, 0 * x]), radii, MAIN, n=12, flat=0.012 / wide, normal=(0, 0, 1))
    ferrule = box(0.024, wide * 2, 0.016, METAL).moved(0.011)
    tip = [(0.0, 0.92, 0.0075), (0.6, 1.0, 0.008), (0.92, 0.97, 0.005), (1.0, 0.9, 0.0015)]
    rings = [np.column_stack([np.full(16, 0.02 + hair * t), circle(16) * (wide * w, z)]) for t, w, z in tip]
    return [stick, ferrule, loft(np.stack(rings), SECOND)]


def flashlight(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    r, length, head = rng.uniform(0.0125, 0.016), rng.uniform(0.09, 0.12), rng.uniform(0.021, 0.027)
    canvas.fill(SECOND, a["color2"])
    for y in range(70, 130, 12):  # the knurled grip
        canvas.draw.rectangle((0, y, 255, y + 4), fill=tuple(int(0.6 * channel) for channel in canvas.rgb(a["color"])))
    canvas.fill(METAL, "cream")
    body = revolve([(0, 0), (r * 0.9, 0), (r, 0.004), (r, length), (r * 0.9, length + 0.002)], BODY, 20)
    bell = revolve([(r, length), (head, length + 0.028), (head, length + 0.036)], MAIN)
    rim = revolve([(head * 1.05, length + 0.033), (head * 1.05, length + 0.043), (head * 0.9, length + 0.043)], SECOND)
    lens = cylinder(head * 0.9, length + 0.03, length + 0.0425, METAL)
    button = box(0.004, 0.009, 0.016, SECOND).moved(r, 0, length * 0.72)
    return [part.turned("y", 90) for part in (body, bell, rim, lens, button)]
