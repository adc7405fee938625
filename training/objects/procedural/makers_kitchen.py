# SPDX-License-Identifier: Apache-2.0
"""Kitchenware and packaged food: each maker paints the canvas and returns the parts, upright, in metres."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training.objects.procedural.shapes import Part, arc, box, cylinder, loft, prism, revolve, rounded, sweep
from training.objects.procedural.textures import BODY, DARK, MAIN, METAL, SECOND, Canvas

Attributes = dict[str, str]
INK = {"white": "blue", "yellow": "ink", "pink": "purple", "silver": "ink", "orange": "ink"}  # readable on a ground


def ink_on(color: str) -> str:
    return INK.get(color, "white")


def vessel(outer: list, wall: float, floor: float, inside: int = MAIN) -> list[Part]:
    """An open vessel of an outer profile [(r, z)...] from the bottom up: printed outside, a plain floor."""
    inner = [(max(r - wall, 0.0), z) for r, z in outer if z > floor][::-1]
    z_rim = outer[-1][1]
    lip = [outer[-1], (outer[-1][0] - wall / 2, z_rim + wall / 3), (inner[0][0], z_rim)]
    return [
        cylinder(outer[0][0], outer[0][1], floor, MAIN, top=inner[-1][0]),
        revolve(outer, BODY, hollow=True),
        revolve([*lip, *inner[1:], (inner[-1][0], floor)], inside, hollow=True),
    ]


def handle(r: float, low: float, high: float, reach: float, tube: float, slot: int = MAIN, flat: float = 1.4) -> Part:
    """A D-shaped handle in the xz plane, from radius r."""
    t = np.linspace(-np.pi / 2, np.pi / 2, 11)
    z = (low + high) / 2 + (high - low) / 2 * np.sin(t)
    x = r - tube * 0.5 + reach * np.cos(t) ** 0.7
    return sweep(np.stack([x, np.zeros(11), z], axis=1), tube, slot, n=8, flat=flat)


def mug(canvas: Canvas, a: Attributes, rng: np.random.Generator) -> list[Part]:
    r, h = rng.uniform(0.036, 0.046), rng.uniform(0.078, 0.108)
    waist = r * rng.choice([1.0, 1.0, 0.9, 0.8])
    canvas.pattern(a["pattern"], a["color2"])
    if a.get("motif"):
        canvas.label("", a["color2"], a["motif"], a["color2"], low=0.2, high=0.8)
    outer = [(waist, 0.0), (waist * 1.02, 0.004), ((r + waist) / 2, h * 0.35), (r, h * 0.75), (r, h)]
    slot = SECOND if a["pattern"] != "plain" and rng.random() < 0.5 else MAIN
    grip = handle(r * 0.97, h * 0.2, h * 0.82, rng.uniform(0.024, 0.032), 0.0052, slot)
    return [*vessel(outer, 0.004, 0.006, rng.choice([MAIN, SECOND]) if a["pattern"] != "plain" else MAIN), grip]


def bowl(canvas: Canvas, a: Attributes, rng: np.random.Generator) -> list[Part]:
    r, h = rng.uniform(0.06, 0.085), rng.uniform(0.045, 0.07)
    canvas.pattern(a["pattern"], a["color2"], columns=16, rows=3)
    side = [(r * 0.5 + r * 0.5 * np.sin(t), h * (1 - np.cos(t))) for t in np.linspace(0.0, np.pi / 2 * 0.95, 8)]
    return vessel(side, 0.004, 0.005, BODY)


def plate(canvas: Canvas, a: Attributes, rng: np.random.Generator) -> list[Part]:
    r, h = rng.uniform(0.085, 0.115), rng.uniform(0.014, 0.02)
    outer = [(r * 0.6, 0.0), (r * 0.72, h * 0.35), (r, h)]
    inner = [(r, h), (r - 0.003, h + 0.002), (r * 0.7, h * 0.45 + 0.003), (r * 0.62, 0.005)]
    canvas.pattern(a["pattern"], a["color2"])
    base = cylinder(r * 0.6, 0.0, 0.005, MAIN, top=r * 0.62)
    return [base, revolve(outer, MAIN, hollow=True), revolve(inner, BODY, hollow=True)]


def tumbler(canvas: Canvas, a: Attributes, rng: np.random.Generator) -> list[Part]:
    r, h = rng.uniform(0.03, 0.038), rng.uniform(0.1, 0.145)
    foot = r * rng.uniform(0.7, 0.92)
    canvas.pattern(a["pattern"], a["color2"])
    return vessel([(foot, 0.0), (foot + (r - foot) * 0.3, h * 0.3), (r, h)], 0.003, 0.008)


def bottle_body(r: float, h: float, neck: float, shoulder: float) -> list[tuple[float, float]]:
    """Profile of a bottle's plastic: base, wall, shoulder, neck; the neck ends at height h."""
    z = h * (1 - shoulder)
    return [
        (r * 0.9, 0.0),
        (r, 0.006),
        (r, z * 0.5),
        (r, z),
        (r * 0.9, z + (h - z) * 0.3),
        (neck * 1.3, z + (h - z) * 0.68),
        (neck, z + (h - z) * 0.8),
        (neck, h),
    ]


def water_bottle(canvas: Canvas, a: Attributes, rng: np.random.Generator) -> list[Part]:
    r, h = rng.uniform(0.03, 0.038), rng.uniform(0.17, 0.22)
    canvas.band(a["color2"], 0.25, 0.55)
    canvas.label(
        a["brand"], ink_on(a["color2"]), "drop", "white" if a["color2"] != "white" else "blue", low=0.25, high=0.55
    )
    neck = 0.013
    cap = cylinder(0.016, h - 0.004, h + 0.016, SECOND)
    return [revolve([(0, 0), (r * 0.9, 0)], MAIN), revolve(bottle_body(r, h, neck, 0.35)), cap]


def soda_can(canvas: Canvas, a: Attributes, rng: np.random.Generator) -> list[Part]:
    r, h = rng.uniform(0.028, 0.034), rng.uniform(0.105, 0.14)
    style = a["pattern"]
    if style == "banded":
        canvas.band(a["color2"], 0.06, 0.26)
    elif style != "plain":
        canvas.pattern(style, a["color2"])
    canvas.label(
        a["brand"], ink_on(a["color"]), *FLAVOURS[a["flavour"]], ground=a["color"], disc="cream", low=0.26, high=0.94
    )
    side = [(r * 0.86, 0.0), (r, 0.007), (r, h - 0.010), (r * 0.84, h - 0.001)]
    lid = [(r * 0.84, h - 0.001), (r * 0.84, h), (r * 0.76, h - 0.004), (0, h - 0.004)]
    tab = box(0.012, 0.02, 0.0025, METAL).moved(0.004, 0, h - 0.002)
    return [revolve([(0, 0.003), (r * 0.7, 0.003), (r * 0.86, 0)], METAL), revolve(side), revolve(lid, METAL), tab]


FLAVOURS = {  # what is drawn for a flavour, and in which colour
    "strawberry": ("strawberry", "red"),
    "orange": ("round", "orange"),
    "apple": ("round", "green"),
    "grape": ("bunch", "purple"),
    "mango": ("round", "yellow"),
    "cherry": ("cherries", "red"),
    "lemon": ("citrus", "yellow"),
    "lime": ("citrus", "green"),
    "blueberry": ("bunch", "blue"),
    "cola": ("star", "red"),
    "peach": ("round", "orange"),
    "tomatoes": ("round", "red"),
    "peaches": ("round", "orange"),
    "corn": ("grains", "yellow"),
    "peas": ("grains", "green"),
    "beans": ("grains", "brown"),
    "tuna": ("fish", "blue"),
    "honey": ("drop", "orange"),
    "chocolate": ("grains", "brown"),
    "fruit ring": ("rings", "red"),
    "oat": ("sprig", "brown"),
    "whole": ("drop", "blue"),
    "chicken": ("drop", "yellow"),
    "beef": ("star", "brown"),
    "shrimp": ("rings", "pink"),
    "vegetable": ("sprig", "green"),
    "lavender": ("sprig", "purple"),
    "mint": ("sprig", "green"),
    "rose": ("flower", "red"),
    "coconut": ("round", "brown"),
}


def food_tin(canvas: Canvas, a: Attributes, rng: np.random.Generator) -> list[Part]:
    r, h = rng.uniform(0.035, 0.045), rng.uniform(0.06, 0.095)
    canvas.fill(BODY, "silver", "metal")
    canvas.band(a["color"], 0.07, 0.93)
    canvas.band("cream", 0.14, 0.6)
    title = a["flavour"].upper()
    canvas.label(title, "white" if a["color"] not in INK else "ink", low=0.62, high=0.9)
    canvas.label("", "ink", *FLAVOURS[a["flavour"]], low=0.02, high=0.8)
    wall = [(r, 0.0), (r, 0.002), (r * 0.985, 0.004), (r * 0.985, h - 0.004), (r, h - 0.002), (r, h)]
    lid = [(r, h), (r * 0.94, h), (r * 0.93, h - 0.003), (r * 0.6, h - 0.003), (r * 0.58, h - 0.002), (0, h - 0.002)]
    return [revolve([(0, 0.0), (r, 0)], METAL), revolve(wall), revolve(lid, METAL)]


def cereal_box(canvas: Canvas, a: Attributes, rng: np.random.Generator) -> list[Part]:
    x, y, z = rng.uniform(0.12, 0.16), rng.uniform(0.04, 0.06), rng.uniform(0.18, 0.24)
    canvas.label(a["brand"], ink_on(a["color"]), panel="front", low=0.72, high=0.96)
    x0, y0, x1, y1 = canvas.box("front", 0.12, 0.68)
    canvas.draw.ellipse((x0 + 8, y0, x1 - 8, y1), fill=canvas.rgb("cream"))
    canvas.icon(*FLAVOURS[a["flavour"]], ((x0 + x1) / 2, (y0 + y1) / 2), 30)
    canvas.text(canvas.box("front", 0.0, 0.12), a["flavour"], ink_on(a["color"]))
    canvas.band(a["color2"], 0.3, 0.7, "side")
    return [box(x, y, z)]


def carton(canvas: Canvas, a: Attributes, rng: np.random.Generator, title: str) -> list[Part]:
    """A brick with the label on four sides."""
    for panel in ("front", "side"):
        canvas.band(a["color2"], 0.0, 0.2, panel)
        canvas.label(title, ink_on(a["color"]), panel=panel, low=0.72, high=0.98)
        x0, y0, x1, y1 = canvas.box(panel, 0.24, 0.7)
        canvas.draw.rectangle((x0, y0, x1, y1), fill=canvas.rgb("cream"))
        size = min(x1 - x0, y1 - y0) * 0.46
        canvas.icon(*FLAVOURS[a["flavour"]], ((x0 + x1) / 2, (y0 + y1) / 2), size)
        canvas.text(canvas.box(panel, 0.03, 0.17), a["flavour"], ink_on(a["color2"]))
    return []


def milk_carton(canvas: Canvas, a: Attributes, rng: np.random.Generator) -> list[Part]:
    w, h = rng.uniform(0.065, 0.075), rng.uniform(0.13, 0.18)
    carton(canvas, a, rng, "MILK")
    base = box(w, w, h).moved(0, 0, h / 2)
    roof = 0.45 * w
    square = np.array([(-w / 2, -w / 2), (w / 2, -w / 2), (w / 2, w / 2), (-w / 2, w / 2)])
    ridge = square * (1.0, 0.04)
    gable = loft(np.stack([np.column_stack([ring, [z] * 4]) for ring, z in ((square, h), (ridge, h + roof))]), SECOND)
    fin = box(w, 0.004, 0.016, SECOND).moved(0, 0, h + roof + 0.006)
    return [base, gable, fin]


def juice_carton(canvas: Canvas, a: Attributes, rng: np.random.Generator) -> list[Part]:
    x, y, h = rng.uniform(0.055, 0.085), rng.uniform(0.04, 0.06), rng.uniform(0.11, 0.19)
    carton(canvas, a, rng, a["brand"])
    if h < 0.14:  # a small drink pack has a straw
        bend = np.array([(0, 0, 0), (0, 0, 0.03), (0.002, 0, 0.036), (0.022, 0, 0.05)], float)
        extra = sweep(bend, 0.0028, SECOND, n=8).moved(x * 0.25, 0, h)
    else:
        extra = cylinder(0.012, h, h + 0.014, SECOND).moved(x * 0.15)
    return [box(x, y, h).moved(0, 0, h / 2), extra]


def cup_noodles(canvas: Canvas, a: Attributes, rng: np.random.Generator) -> list[Part]:
    r, h = rng.uniform(0.042, 0.05), rng.uniform(0.09, 0.11)
    canvas.fill(BODY, "white", "paper")
    canvas.band(a["color"], 0.12, 0.55)
    canvas.band(a["color"], 0.86, 1.0)
    canvas.label("NOODLES", "red" if a["color"] != "red" else "ink", low=0.58, high=0.84)
    canvas.label("", "ink", *FLAVOURS[a["flavour"]], low=0.0, high=0.7)
    foot = r * 0.72
    rim = [(r, h - 0.004), (r + 0.003, h - 0.002), (r + 0.003, h), (r, h + 0.001), (0, h + 0.001)]
    return [revolve([(0, 0), (foot, 0)], SECOND), revolve([(foot, 0), (r, h - 0.004)]), revolve(rim, MAIN)]


def pan(canvas: Canvas, a: Attributes, rng: np.random.Generator) -> list[Part]:
    r, h, grip = rng.uniform(0.075, 0.095), rng.uniform(0.03, 0.042), rng.uniform(0.11, 0.14)
    canvas.fill(SECOND, a["color2"])
    path = np.array([(r - 0.004, 0, h * 0.6), (r + 0.03, 0, h * 0.75), (r + grip, 0, h * 1.0)])
    stick = sweep(path, [0.007, 0.010, 0.012], SECOND, n=10, flat=0.6, normal=(0, 0, 1))
    return [*vessel([(r * 0.82, 0), (r * 0.9, 0.006), (r, h)], 0.0035, 0.004), stick]


def _cutlery_handle(length: float, width: float, slot: int, thick: float = 0.0035) -> Part:
    """From x = 0 to x = -length, wider at the far end."""
    x = -np.linspace(0, length, 6)
    path = np.column_stack([x, np.zeros(6), 0.004 * np.sin(np.pi * x / length) ** 2])
    radii = width * np.array([0.42, 0.40, 0.55, 0.8, 1.0, 0.7])
    return sweep(path, radii, slot, n=10, flat=thick / radii / 2 * 1.15, normal=(0, 0, 1))


def spoon(canvas: Canvas, a: Attributes, rng: np.random.Generator) -> list[Part]:
    length, w = rng.uniform(0.09, 0.13), rng.uniform(0.019, 0.025)
    t = np.linspace(0.0, 1.0, 9)
    radii = w * np.sqrt(np.clip(1 - (2 * t - 1) ** 2, 0.02, None))
    path = np.column_stack([-0.003 + t * w * 3.0, np.zeros(9), -0.007 * np.sin(np.pi * t)])
    head = sweep(path, radii, BODY, n=14, flat=0.0022 / radii, normal=(0, 0, 1))
    # a spoon's head is dished: the rim lies higher than the middle
    v = head.vertices.copy()
    v[:, 2] += 0.006 * (np.abs(v[:, 1]) / w) ** 2
    return [_cutlery_handle(length, 0.0075, MAIN), replace(head, vertices=v)]


def fork(canvas: Canvas, a: Attributes, rng: np.random.Generator) -> list[Part]:
    length, w = rng.uniform(0.1, 0.13), rng.uniform(0.024, 0.029)
    palm = np.array(
        [(-0.002, -0.004), (0.012, -w * 0.45), (0.026, -w * 0.5), (0.026, w * 0.5), (0.012, w * 0.45), (-0.002, 0.004)]
    )
    parts = [_cutlery_handle(length, 0.0075, MAIN), prism(palm, -0.002, 0.0016, MAIN)]
    for y in np.linspace(-w / 2 + 0.0022, w / 2 - 0.0022, 4):
        path = np.array([(0.024, y, 0), (0.045, y, -0.004), (0.062, y, 0.001), (0.066, y, 0.003)])
        parts.append(sweep(path, [0.0024, 0.0024, 0.0019, 0.0012], MAIN, n=6, normal=(0, 0, 1)))
    return parts


def knife(canvas: Canvas, a: Attributes, rng: np.random.Generator) -> list[Part]:
    length, w = rng.uniform(0.11, 0.17), rng.uniform(0.02, 0.032)
    blade = np.array(
        [(0, 0), (length * 0.75, 0.0), (length * 0.93, w * 0.35), (length, w * 0.85), (length * 0.96, w), (0, w)]
    )
    canvas.fill(SECOND, a["color"], a["material"])
    grip = box(0.1, w * 0.8, 0.015, SECOND)
    outline = rounded(0.1, w * 0.85, w * 0.3)
    grip = prism(outline, -0.0075, 0.0075, SECOND, bevel=0.003).moved(-0.045, w * 0.55, 0)
    return [prism(blade, -0.0016, 0.0016, METAL), grip]


def teapot(canvas: Canvas, a: Attributes, rng: np.random.Generator) -> list[Part]:
    r = rng.uniform(0.05, 0.062)
    h = r * rng.uniform(1.25, 1.6)
    canvas.pattern(a["pattern"], a["color2"])
    body = [(r * 0.55, 0), *[(r * np.cos(t), h / 2 + h / 2 * np.sin(t)) for t in np.linspace(-0.9, 1.15, 9)]]
    top_r, top = body[-1]
    lid = [
        (top_r + 0.003, top),
        (top_r * 0.8, top + 0.008),
        (0.006, top + 0.012),
        *arc(0.009, -60, 90, 6, (0, top + 0.02)),
    ]
    spout = np.array(
        [(-r * 0.85, 0, h * 0.35), (-r * 1.25, 0, h * 0.5), (-r * 1.5, 0, h * 0.8), (-r * 1.7, 0, h * 0.98)]
    )
    return [
        revolve([(0, 0), body[0]], MAIN),
        revolve(body),
        revolve(lid, SECOND if rng.random() < 0.5 else MAIN),
        sweep(spout, [0.016, 0.012, 0.009, 0.008], MAIN),
        handle(r * 0.95, h * 0.2, h * 0.85, r * 0.6, 0.006),
    ]


def wine_glass(canvas: Canvas, a: Attributes, rng: np.random.Generator) -> list[Part]:
    r, h, stem = rng.uniform(0.034, 0.042), rng.uniform(0.07, 0.09), rng.uniform(0.06, 0.085)
    foot = [(0, 0), (r * 0.95, 0), (r * 0.95, 0.003), (0.006, 0.008), (0.004, 0.02), (0.004, stem)]
    bowl_ = [
        (0.004 + (r - 0.004) * np.sin(t), stem + h * 0.55 * (1 - np.cos(t))) for t in np.linspace(0.05, np.pi / 2, 7)
    ]
    bowl_.append((r * rng.uniform(0.75, 0.95), stem + h))
    inner = [(x - 0.002, z + 0.002) for x, z in bowl_[::-1]] + [(0, stem + 0.004)]
    return [revolve(foot, MAIN), revolve(bowl_, hollow=True), revolve([bowl_[-1], *inner], MAIN, hollow=True)]


def spatula(canvas: Canvas, a: Attributes, rng: np.random.Generator) -> list[Part]:
    length, w = rng.uniform(0.13, 0.17), rng.uniform(0.055, 0.07)
    blade = prism(rounded(0.085, w, 0.012), -0.002, 0.002, MAIN).turned("y", 12).moved(0.04, 0, -0.008)
    stick = sweep(
        np.array([(0.01, 0, 0), (-0.05, 0, 0.016), (-length, 0, 0.024)]),
        [0.005, 0.006, 0.009],
        SECOND,
        normal=(0, 0, 1),
    )
    canvas.fill(SECOND, a["color2"])
    slits = [box(0.05, 0.004, 0.006, DARK).turned("y", 12).moved(0.04, y, -0.008) for y in (-w / 4, 0, w / 4)]
    return [blade, stick, *(slits if rng.random() < 0.6 else [])]


def jam_jar(canvas: Canvas, a: Attributes, rng: np.random.Generator) -> list[Part]:
    r, h = rng.uniform(0.032, 0.04), rng.uniform(0.075, 0.1)
    canvas.label("JAM", "ink", *FLAVOURS[a["flavour"]], ground="cream", low=0.15, high=0.62)
    side = [(r * 0.92, 0), (r, 0.006), (r, h * 0.78), (r * 0.88, h * 0.86)]
    return [revolve([(0, 0), (r * 0.92, 0)], MAIN), revolve(side), cylinder(r * 0.93, h * 0.85, h, SECOND)]
