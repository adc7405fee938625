# SPDX-License-Identifier: Apache-2.0
"""More things of desk, shelf and bathroom: makers as in `makers_kitchen.py`."""

from __future__ import annotations

import numpy as np

from training.objects.procedural.makers_kitchen import FLAVOURS, Attributes, ink_on
from training.objects.procedural.shapes import (
    Part,
    box,
    circle,
    cylinder,
    ellipsoid,
    loft,
    prism,
    revolve,
    rounded,
    sweep,
)
from training.objects.procedural.textures import BODY, DARK, MAIN, METAL, SECOND, Canvas

Rng = np.random.Generator


def pencil(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    length, r = rng.uniform(0.11, 0.17), rng.uniform(0.0038, 0.0048)
    canvas.fill(SECOND, a["color2"], "rubber")
    canvas.fill(BODY, "dough", "wood")
    shaft = cylinder(r, 0, length, MAIN, 6)
    cone = revolve([(r * 0.92, length - 0.001), (r * 0.3, length + 0.014)], BODY, 12)
    lead = revolve([(r * 0.32, length + 0.0135), (0, length + 0.019)], DARK, 8)
    ferrule, rubber = cylinder(r * 1.03, -0.012, 0.001, METAL, 12), cylinder(r * 0.95, -0.02, -0.011, SECOND, 12)
    return [part.turned("y", 90) for part in (shaft, cone, lead, ferrule, rubber)]


def ruler(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    x, y, z = rng.choice([0.155, 0.205, 0.305]), rng.uniform(0.028, 0.036), rng.uniform(0.0032, 0.0042)
    x0, y0, x1, y1 = canvas.box()
    dark = a["color"] in ("red", "green", "blue", "purple", "black", "gray")
    ink, count = canvas.rgb("white" if dark else "ink"), round(x * 100)
    for k in range(count):
        at = x0 + (x1 - x0) * (k + 0.5) / count
        tall = 0.75 if k % 5 == 0 else 0.45
        canvas.draw.rectangle((at - 1, y0, at + 2, y0 + tall * (y1 - y0)), fill=ink)
    plate = np.array([(-x / 2, -y / 2), (x / 2, -y / 2), (x / 2, y / 2), (-x / 2, y / 2)])
    return [prism(plate, 0, z, BODY)]


def toothpaste(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    r, length = rng.uniform(0.017, 0.021), rng.uniform(0.12, 0.155)
    canvas.band(a["color2"], 0.0, 0.16)
    canvas.label(a["brand"], ink_on(a["color"]), *FLAVOURS[a["flavour"]], disc="cream", low=0.2, high=0.9)
    rings = []
    for t, wide, thick in ((0.0, 1.35, 0.07), (0.06, 1.35, 0.09), (0.4, 1.25, 0.55), (0.8, 1.05, 0.95), (0.95, 1, 1)):
        ring = np.zeros((20, 3))
        ring[:, 0], ring[:, 1:] = t * length, circle(20) * r * (wide, thick)
        rings.append(ring)
    neck = np.zeros((20, 3))
    neck[:, 0], neck[:, 1:] = length, circle(20) * 0.009
    cap = cylinder(0.011, length - 0.002, length + 0.019, SECOND, 16, top=0.0095).turned("y", 90)
    return [loft(np.stack([*rings, neck])), cap]


def camera(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    x, y, z = rng.uniform(0.1, 0.125), rng.uniform(0.032, 0.042), rng.uniform(0.062, 0.075)
    canvas.band(a["color2"], 0.0, 0.68, "front")
    canvas.band(a["color2"], 0.0, 0.68, "side")
    canvas.text(canvas.box("front", 0.72, 0.98), "FOTO", ink_on(a["color"]))
    canvas.fill(SECOND, "sky")
    lens = rng.uniform(0.021, 0.027)
    barrel = [(lens, DARK, -y * 0.4, 0.014), (lens * 0.9, METAL, 0.012, 0.02), (lens * 0.84, DARK, 0.018, 0.03)]
    glass = [cylinder(lens * 0.6, 0.028, 0.0308, SECOND, 18)]
    tube = [cylinder(radius, low, high, slot) for radius, slot, low, high in barrel]
    front = [part.turned("x", 90).moved(x * 0.08, -y / 2, z * 0.45) for part in (*tube, *glass)]
    hump = prism(rounded(x * 0.3, y * 0.8, 0.004), z - 0.001, z + 0.011, MAIN, bevel=0.002).moved(x * 0.08)
    button = cylinder(0.006, z, z + 0.005, METAL, 14).moved(-x * 0.34)
    dial = cylinder(0.009, z, z + 0.006, DARK, 16).moved(x * 0.36)
    grip = prism(rounded(0.02, 0.012, 0.005), 0.002, z * 0.92, DARK).moved(-x * 0.4, -y / 2 - 0.003)
    return [box(x, y, z).moved(0, 0, z / 2), *front, hump, button, dial, grip]


def game_controller(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    s = rng.uniform(0.92, 1.1)
    canvas.fill(SECOND, a["color2"])
    body = prism(rounded(0.1, 0.06, 0.022), 0.008, 0.034, MAIN, bevel=0.006)
    bumpers = [box(0.03, 0.012, 0.012, DARK).moved(k * 0.036, 0.03, 0.022) for k in (-1, 1)]
    parts = [body, *bumpers]
    for k in (-1, 1):
        path = np.array([(k * 0.04, 0.012, 0.02), (k * 0.056, -0.015, 0.019), (k * 0.064, -0.05, 0.014)])
        parts.append(sweep(path, [0.022, 0.021, 0.013], MAIN, n=14, flat=0.78, normal=(0, 0, 1)))
        parts.append(cylinder(0.006, 0.03, 0.04, DARK, 12).moved(k * 0.02, -0.012))
        thumb = revolve([(0.009, 0.039), (0.0105, 0.042), (0.0085, 0.044), (0, 0.043)], DARK, 16)
        parts.append(thumb.moved(k * 0.02, -0.012))
    cross = [box(0.022, 0.0075, 0.005, DARK), box(0.0075, 0.022, 0.005, DARK)]
    parts += [part.moved(-0.042, 0.012, 0.036) for part in cross]
    knob = cylinder(0.0048, 0.033, 0.038, SECOND, 12)
    parts += [knob.moved(0.042 + dx, 0.012 + dy) for dx, dy in ((0.011, 0), (-0.011, 0), (0, 0.011), (0, -0.011))]
    return [part.scaled(s, s, s) for part in parts]


def alarm_clock(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    r, deep = rng.uniform(0.036, 0.045), rng.uniform(0.028, 0.038)
    canvas.fill(SECOND, a["color2"])
    canvas.fill(BODY, "white", "plastic")
    x0, y0, x1, y1 = canvas.box()
    middle, ink = np.array([(x0 + x1) / 2, (y0 + y1) / 2]), canvas.rgb("black")
    half = np.array([x1 - x0, y1 - y0]) / 2
    for k in range(12):
        spoke = np.array([np.sin(k * np.pi / 6), np.cos(k * np.pi / 6)]) * half
        canvas.draw.line([*(middle + 0.76 * spoke), *(middle + 0.9 * spoke)], fill=ink, width=7)
    for turn, long, wide in ((rng.uniform(0, 6.3), 0.45, 11), (rng.uniform(0, 6.3), 0.68, 7)):
        canvas.draw.line([*middle, *(middle + long * half * (np.sin(turn), -np.cos(turn)))], fill=ink, width=wide)
    case = cylinder(r, -deep / 2, deep / 2, MAIN, 28).turned("x", 90)
    face = prism(circle(28) * r * 0.88, deep / 2 - 0.002, deep / 2 + 0.0006, BODY).turned("x", 90)
    parts = [case, face]
    for k in (-1, 1):
        bell = revolve([(0.017, 0), (0.0155, 0.007), (0.01, 0.012), (0, 0.014)], SECOND, 18)
        parts.append(bell.moved(0, 0, r + 0.003).turned("y", k * 34))
        parts.append(cylinder(0.004, r * 0.8, r + 0.006, METAL, 8).turned("y", k * 34))
        parts.append(cylinder(0.005, r * 0.85, r * 1.2, DARK, 10).turned("y", 180 + k * 32))
    hammer = [cylinder(0.0022, r * 0.9, r + 0.016, METAL, 8), ellipsoid(0.005, 0.005, 0.005, METAL, 10)]
    return [*parts, hammer[0], hammer[1].moved(0, 0, r + 0.015)]
