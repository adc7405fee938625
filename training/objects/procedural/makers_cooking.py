# SPDX-License-Identifier: Apache-2.0
"""More kitchenware, for cooking: makers as in `makers_kitchen.py`."""

from __future__ import annotations

import numpy as np

from training.objects.procedural.makers_kitchen import Attributes, handle, vessel
from training.objects.procedural.shapes import Part, cylinder, prism, revolve, rounded, sweep
from training.objects.procedural.textures import BODY, DARK, MAIN, METAL, SECOND, Canvas

Rng = np.random.Generator


def rolling_pin(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    half, r, grip = rng.uniform(0.085, 0.105), rng.uniform(0.02, 0.027), rng.uniform(0.045, 0.055)
    canvas.fill(SECOND, a["color2"], a["material"])
    barrel = [(0, -half), (r * 0.94, -half), (r, -half + 0.003), (r, half - 0.003), (r * 0.94, half), (0, half)]
    end = half + grip
    knob = [(0.007, half - 0.002), (0.007, half + 0.006), (0.0115, half + 0.018), (0.012, end - 0.01), (0.008, end)]
    grips = [revolve([*knob, (0, end)], SECOND, 16).turned("y", side) for side in (0, 180)]
    return [part.turned("y", 90) for part in (revolve(barrel, MAIN), *grips)]


def ladle(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    r, length = rng.uniform(0.031, 0.039), rng.uniform(0.17, 0.21)
    shape = np.array([(0.55, 0.0), (0.7, 0.09), (0.87, 0.28), (0.97, 0.52), (1.0, 0.78)])
    side = [(float(x), float(z)) for x, z in shape * r]
    canvas.fill(SECOND, a["color2"])
    lean = np.array([(0.0, 0.0), (0.008, 0.03), (0.03, 0.5), (0.052, 0.94), (0.054, 1.0)]) * (length / 0.2, length)
    path = np.column_stack([r * 0.96 + lean[:, 0], np.zeros(5), r * 0.6 + lean[:, 1]])
    stick = sweep(path[:3], [0.0045, 0.0045, 0.005], MAIN, n=8, normal=(0, 1, 0), flat=1.5)
    grip = sweep(path[2:], [0.006, 0.007, 0.005], SECOND, n=8, normal=(0, 1, 0), flat=1.5)
    return [*vessel(side, 0.0025, r * 0.085), stick, grip]


def whisk(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    length, wide, grip = rng.uniform(0.11, 0.14), rng.uniform(0.026, 0.034), rng.uniform(0.09, 0.11)
    canvas.fill(SECOND, a["color"], a["material"])
    profile = [(0, 0), (0.009, 0.002), (0.011, 0.02), (0.009, grip * 0.6), (0.0075, grip), (0, grip)]
    t = np.linspace(0, np.pi, 15)
    loop = np.column_stack([grip - 0.004 + length * np.sin(t) ** 0.8, -wide * np.cos(t) * np.sin(t) ** 0.5, 0 * t])
    wires = [sweep(loop, 0.0015, METAL, n=6, normal=(0, 0, 1)).turned("x", 45 * k) for k in range(4)]
    return [revolve(profile, SECOND, 14).turned("y", 90), *wires]


def cutting_board(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    x, y, z = rng.uniform(0.19, 0.25), rng.uniform(0.125, 0.165), rng.uniform(0.011, 0.016)
    groove = tuple(int(0.72 * channel) for channel in canvas.rgb(a["color"]))
    x0, y0, x1, y1 = canvas.box()
    canvas.draw.rounded_rectangle((x0 + 14, y0 + 14, x1 - 14, y1 - 14), radius=14, outline=groove, width=4)
    plank = prism(rounded(x, y, 0.02), 0, z, MAIN, bevel=0.003)
    face = prism(rounded(x * 0.96, y * 0.94, 0.018), z * 0.85, z + 0.0004, BODY)
    if rng.random() < 0.5:  # a handle with a hole
        tab = prism(rounded(0.07, 0.034, 0.015), 0, z, MAIN, bevel=0.003).moved(x / 2 + 0.02)
        return [plank, face, tab, cylinder(0.007, -0.0004, z + 0.0004, DARK, 14).moved(x / 2 + 0.038)]
    return [plank, face, prism(rounded(0.05, 0.012, 0.006), -0.0004, z + 0.0006, DARK).moved(x * 0.36)]


def jug(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    r, h = rng.uniform(0.044, 0.054), rng.uniform(0.13, 0.175)
    neck = r * rng.uniform(0.68, 0.85)
    canvas.pattern(a["pattern"], a["color2"])
    outer = [
        (r * 0.75, 0.0),
        (r * 0.8, 0.0065),
        (r * 0.95, h * 0.15),
        (r, h * 0.35),
        (r * 0.85, h * 0.65),
        (neck, h * 0.85),
    ]
    outer.append((neck * 1.06, h))
    lip = np.array([(-neck * 0.86, 0, h * 0.82), (-neck * 1.05, 0, h * 0.9), (-neck * 1.32, 0, h * 0.985)])
    spout = sweep(lip, [0.004, 0.009, 0.007], MAIN, n=10, normal=(0, 1, 0), flat=1.7)
    return [*vessel(outer, 0.004, 0.006), spout, handle(r * 0.92, h * 0.3, h * 0.92, r * 0.62, 0.0065)]
