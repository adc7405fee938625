# SPDX-License-Identifier: Apache-2.0
"""More toys: makers as in `makers_kitchen.py`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training.objects.procedural.makers_kitchen import Attributes
from training.objects.procedural.shapes import Part, box, cylinder, ellipsoid, revolve, torus
from training.objects.procedural.textures import DARK, MAIN, METAL, SECOND, Canvas

Rng = np.random.Generator
PIPS = {
    "front": ((0, 0),),
    "side": ((-1, -1), (0, 0), (1, 1)),
    "top": tuple((x, y) for x in (-1, 1) for y in (-1, 0, 1)),
}


def die(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    size = rng.uniform(0.022, 0.038)
    for panel, pips in PIPS.items():
        x0, y0, x1, y1 = canvas.box(panel)
        w, h = x1 - x0, y1 - y0
        for x, y in pips:
            at, r = ((x0 + x1) / 2 + 0.27 * w * x, (y0 + y1) / 2 + 0.27 * h * y), 0.11 if len(pips) > 1 else 0.17
            ends = (at[0] - r * w, at[1] - r * h, at[0] + r * w, at[1] + r * h)
            canvas.draw.ellipse(ends, fill=canvas.rgb(a["color2"]))
    return [box(size, size, size)]


def puzzle_cube(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    size = rng.uniform(0.05, 0.058)
    ink = "black" if a["color"] != "black" else "gray"
    for panel in ("front", "side", "top"):
        x0, y0, x1, y1 = canvas.box(panel)
        w, h = (x1 - x0) / 3, (y1 - y0) / 3
        for k in range(9):
            name = str(rng.choice(["red", "orange", "yellow", "green", "blue", "white"]))
            x, y = x0 + k % 3 * w, y0 + k // 3 * h
            field = (x + 0.08 * w, y + 0.08 * h, x + 0.92 * w, y + 0.92 * h)
            canvas.draw.rectangle(field, fill=canvas.rgb(name), outline=canvas.rgb(ink))
    return [box(size, size, size)]


def rubber_duck(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    s = rng.uniform(0.85, 1.15)
    canvas.fill(SECOND, a["color2"])
    body = ellipsoid(0.038, 0.028, 0.024, MAIN).moved(0, 0, 0.022)
    tail = ellipsoid(0.018, 0.014, 0.009, MAIN, 14).turned("y", 35).moved(-0.034, 0, 0.034)
    head = ellipsoid(0.021, 0.02, 0.02, MAIN).moved(0.018, 0, 0.056)
    beak = ellipsoid(0.013, 0.011, 0.0045, SECOND, 14).moved(0.04, 0, 0.053)
    wings = [ellipsoid(0.02, 0.005, 0.012, MAIN, 14).turned("y", 12).moved(-0.006, k * 0.026, 0.026) for k in (-1, 1)]
    eyes = [ellipsoid(0.0032, 0.0022, 0.0036, DARK, 8).moved(0.032, k * 0.0135, 0.062) for k in (-1, 1)]
    return [part.scaled(s, s, s) for part in (body, tail, head, beak, *wings, *eyes)]


def stacking_rings(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    r, tube, count = rng.uniform(0.03, 0.036), rng.uniform(0.009, 0.011), int(rng.integers(3, 6))
    canvas.fill(SECOND, a["color2"], a["material"])
    others = rng.permutation(
        [
            name
            for name in ("red", "yellow", "green", "blue", "orange", "purple")
            if name not in (a["color"], a["color2"])
        ]
    )
    canvas.fill(DARK, str(others[0]), a["material"])
    canvas.fill(METAL, str(others[1]), a["material"])
    parts, z = [cylinder(r * 1.25, 0, 0.009, MAIN)], 0.009
    for k, slot in enumerate((SECOND, DARK, METAL, SECOND, DARK)[:count]):
        ring = torus(r * (1 - 0.14 * k), tube, slot, 24).moved(0, 0, z + tube)
        parts.append(replace(ring, hollow=False))  # the pole fills its hole
        z += 2 * tube * 0.97
    pole = revolve([(0.012, 0.005), (0.009, z + 0.004)], MAIN, 16)
    return [*parts, pole, ellipsoid(0.013, 0.013, 0.013, MAIN).moved(0, 0, z + 0.01)]
