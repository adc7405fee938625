# SPDX-License-Identifier: Apache-2.0
"""Things of desk and bathroom, tools and toys: makers as in `makers_kitchen.py`."""

from __future__ import annotations

import numpy as np

from training.objects.procedural.makers_kitchen import FLAVOURS, Attributes, ink_on
from training.objects.procedural.shapes import (
    Part,
    arc,
    box,
    circle,
    cylinder,
    ellipsoid,
    loft,
    prism,
    revolve,
    rounded,
    sweep,
    torus,
)
from training.objects.procedural.textures import BODY, DARK, MAIN, METAL, SECOND, Canvas

Rng = np.random.Generator


def ball(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    r = rng.uniform(0.03, 0.05)
    canvas.pattern(a["pattern"], a["color2"])
    return [ellipsoid(r, r, r)]


def tennis_ball(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    x = np.arange(-4, 261, 4)
    y = 96 + 52 * np.sin(x / 256 * 4 * np.pi)
    canvas.draw.line(list(zip(x, y, strict=True)), fill=canvas.rgb("white"), width=9)
    return [ellipsoid(0.033, 0.033, 0.033)]


def toy_car(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    x, y = rng.uniform(0.085, 0.12), rng.uniform(0.042, 0.05)
    h, r = rng.uniform(0.018, 0.024), rng.uniform(0.011, 0.014)
    canvas.fill(SECOND, "sky")
    body = prism(rounded(x, y, 0.012), r, r + h, MAIN, bevel=0.003)
    low, high = rounded(x * 0.55, y * 0.9, 0.008), rounded(x * 0.36, y * 0.76, 0.006)
    rings = [(low, r + h), (high, r + h + 0.016)]
    cabin = loft(np.stack([np.column_stack([ring, np.full(len(ring), z)]) for ring, z in rings]), SECOND).moved(
        -x * 0.05
    )
    roof = prism(high * 1.04, r + h + 0.015, r + h + 0.019, MAIN).moved(-x * 0.05)
    wheel = cylinder(r, -0.005, 0.005, DARK, 16).turned("x", 90)
    wheels = [wheel.moved(sx * x * 0.3, sy * y * 0.5, r) for sx in (-1, 1) for sy in (-1, 1)]
    lamps = [ellipsoid(0.003, 0.005, 0.005, METAL, 8).moved(x / 2, sy * y * 0.3, r + h * 0.5) for sy in (-1, 1)]
    return [body, cabin, roof, *wheels, *lamps]


def building_block(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    pitch, columns = rng.uniform(0.015, 0.019), int(rng.integers(2, 5))
    h = pitch * rng.uniform(1.0, 1.3)
    parts = [box(columns * pitch, 2 * pitch, h, MAIN).moved(0, 0, h / 2)]
    for i in range(columns):
        for j in range(2):
            stud = cylinder(pitch * 0.3, h - 0.001, h + pitch * 0.25, MAIN, 12)
            parts.append(stud.moved((i - (columns - 1) / 2) * pitch, (j - 0.5) * pitch))
    return parts


def hammer(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    length, head = rng.uniform(0.2, 0.26), rng.uniform(0.03, 0.04)
    x = np.linspace(0.0, -length, 6)
    grip = sweep(
        np.stack([x, 0 * x, 0 * x], 1),
        np.array([0.009, 0.009, 0.010, 0.013, 0.014, 0.011]),
        MAIN,
        flat=0.75,
        normal=(0, 0, 1),
    )
    block = cylinder(0.011, -head * 0.6, head, METAL, 14).turned("x", 90)
    face = cylinder(0.015, head, head * 1.45, METAL, 16).turned("x", 90)
    claws = []
    for z in (-0.006, 0.006):
        path = np.array([(0, head * 0.5, z), (-0.004, head * 1.1, z * 1.2), (-0.018, head * 1.6, z * 1.5)])
        claws.append(sweep(path, [0.009, 0.007, 0.003], METAL, n=8, flat=0.6, normal=(0, 0, 1)))
    return [grip, block, face, *claws]


def screwdriver(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    grip, shaft, r = rng.uniform(0.085, 0.11), rng.uniform(0.08, 0.13), rng.uniform(0.013, 0.017)
    canvas.pattern("striped", a["color2"])
    profile = [
        (0, 0),
        (r * 0.8, 0.002),
        (r, grip * 0.2),
        (r, grip * 0.6),
        (r * 0.65, grip * 0.78),
        (r * 0.8, grip),
        (0, grip),
    ]
    blade = loft(
        np.stack(
            [
                np.column_stack([circle(10) * scale, np.full(10, z)])
                for scale, z in ((np.array([0.0035, 0.0035]), shaft * 0.9), (np.array([0.005, 0.0016]), shaft + 0.008))
            ]
        ),
        METAL,
    )
    parts = [
        revolve(profile, BODY, 16),
        cylinder(0.0035, grip - 0.002, grip + shaft * 0.9, METAL, 10),
        blade.moved(0, 0, grip),
    ]
    return [part.turned("y", 90) for part in parts]


def scissors(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    length, spread = rng.uniform(0.08, 0.11), rng.uniform(9, 16)
    parts = [cylinder(0.004, -0.004, 0.004, METAL, 10)]
    outline = np.array(
        [(-0.012, -0.005), (length * 0.8, -0.005), (length, 0.0035), (length * 0.5, 0.006), (-0.012, 0.005)]
    )
    for side in (1, -1):
        z = side * 0.0016
        blade = (
            prism(outline * (1, side), -0.0016, 0.0016, METAL)
            if side > 0
            else prism((outline * (1, side))[::-1], -0.0016, 0.0016, METAL)
        )
        arm = sweep(np.array([(-0.008, 0, 0), (-0.03, 0.002 * side, 0), (-0.05, 0.006 * side, 0)]), 0.0045, MAIN, n=8)
        ring = torus(0.016, 0.0048, MAIN, 20, 8).scaled(1.35, 1.0, 1.0).moved(-0.066, side * 0.012)
        parts += [part.turned("z", -side * spread).moved(0, 0, z) for part in (blade, arm, ring)]
    return parts


def stapler(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    x, y = rng.uniform(0.11, 0.14), rng.uniform(0.028, 0.036)
    base = prism(rounded(x, y, 0.008), 0, 0.01, DARK, bevel=0.002)
    arm = prism(rounded(x * 0.95, y * 0.85, 0.01), 0, 0.022, MAIN, bevel=0.005).turned("y", -9).moved(0, 0, 0.028)
    rail = box(x * 0.9, y * 0.5, 0.008, METAL).turned("y", -6).moved(0.002, 0, 0.021)
    hinge = box(0.022, y * 0.8, 0.026, DARK).moved(-x * 0.42, 0, 0.018)
    return [base, arm, rail, hinge]


def battery(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    r = rng.choice([0.0075, 0.013, 0.0165])
    h = {0.0075: 0.05, 0.013: 0.049, 0.0165: 0.06}[r]
    canvas.band(a["color2"], 0.68, 1.0)
    canvas.label("+", ink_on(a["color2"]), low=0.68, high=1.0)
    canvas.label("VOLT", ink_on(a["color"]), low=0.2, high=0.55)
    side = [(r * 0.94, 0), (r, 0.001), (r, h - 0.001), (r * 0.94, h)]
    return [
        revolve([(0, 0), side[0]], METAL),
        revolve(side),
        revolve([side[-1], (0, h)], METAL),
        cylinder(r * 0.4, h, h + 0.0025, METAL, 14),
    ]


def book(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    x, y, z = rng.uniform(0.11, 0.15), rng.uniform(0.16, 0.21), rng.uniform(0.015, 0.035)
    canvas.fill(SECOND, "cream", "paper")
    canvas.text(canvas.box("top", 0.68, 0.92), a["brand"], ink_on(a["color"]))
    canvas.band(a["color2"], 0.1, 0.25, "top")
    canvas.icon(a["motif"], a["color2"], ((canvas.box("top")[0] + canvas.box("top")[2]) / 2, 85), 24)
    canvas.band(a["color2"], 0.35, 0.65, "side")
    pages = box(x - 0.008, y - 0.008, z - 0.004, SECOND)
    covers = [box(x, y, 0.003).moved(0, 0, side * (z / 2 - 0.0015)) for side in (-1, 1)]
    return [pages, *covers, box(0.004, y, z).moved(-x / 2 + 0.002)]


def buttons(canvas: Canvas, area: tuple[int, int, int, int], rows: int, columns: int, colors: list[str]) -> None:
    """A keypad of rounded keys in pixels `area`."""
    x0, y0, x1, y1 = area
    w, h = (x1 - x0) / columns, (y1 - y0) / rows
    for k in range(rows * columns):
        x, y = x0 + k % columns * w, y0 + k // columns * h
        key = (x + 0.15 * w, y + 0.18 * h, x + 0.85 * w, y + 0.82 * h)
        canvas.draw.rounded_rectangle(key, radius=min(w, h) * 0.2, fill=canvas.rgb(colors[k % len(colors)]))


def _tablet(canvas: Canvas, x: float, y: float, z: float, corner: float) -> list[Part]:
    """A flat case whose top shows the printed area, bottom of the picture towards -y."""
    case = prism(rounded(x, y, corner), 0, z, MAIN, bevel=z * 0.2)
    return [case, prism(rounded(x * 0.98, y * 0.985, corner * 0.9), z * 0.9, z + 0.0006, BODY)]


def mobile_phone(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    x, y = rng.uniform(0.066, 0.076), rng.uniform(0.135, 0.155)
    canvas.draw.rectangle((26, 20, 229, 171), fill=canvas.rgb("ink"))
    buttons(
        canvas,
        (40, 34, 216, 110),
        3,
        4,
        [str(name) for name in rng.permutation(["blue", "green", "orange", "white", "red", "purple"])],
    )
    buttons(canvas, (40, 140, 216, 166), 1, 4, ["white"])
    lens = [cylinder(0.006, -0.0015, 0.001, DARK, 12).moved(-x * 0.28, y * 0.38 - k * 0.016) for k in range(2)]
    return [*_tablet(canvas, x, y, rng.uniform(0.008, 0.011), 0.01), *lens]


def remote_control(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    key = "white" if a["color"] != "white" else "gray"
    canvas.draw.ellipse((30, 8, 90, 26), fill=canvas.rgb("red"))
    buttons(canvas, (20, 34, 236, 100), 4, 3, [key])
    canvas.draw.ellipse((70, 106, 186, 142), fill=canvas.rgb(key))
    buttons(canvas, (20, 148, 236, 186), 2, 3, [key, a["color2"], key])
    return _tablet(canvas, rng.uniform(0.042, 0.05), rng.uniform(0.15, 0.19), rng.uniform(0.018, 0.023), 0.008)


def calculator(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    canvas.draw.rectangle((24, 14, 231, 54), fill=canvas.rgb("lcd"))
    canvas.text((90, 16, 228, 52), "12345", "ink")
    buttons(
        canvas,
        (20, 64, 236, 186),
        5,
        4,
        ["white"] * 3 + ["orange"] if a["color"] not in ("white", "orange") else ["ink"] * 4,
    )
    return _tablet(canvas, rng.uniform(0.07, 0.08), rng.uniform(0.11, 0.135), 0.013, 0.006)


def computer_mouse(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    x, y, z = rng.uniform(0.029, 0.034), rng.uniform(0.05, 0.058), rng.uniform(0.032, 0.04)
    shell = revolve([(0, 0), (0.93, 0), (1, 0.15), *arc(1.0, 12, 90, 8)], MAIN, 28).scaled(x, y, z)
    wheel = cylinder(0.009, -0.004, 0.004, DARK, 14).turned("y", 90).moved(0, y * 0.55, z * 0.82)
    seam = sweep(np.array([(0, y * 0.15, z * 1.0), (0, y * 0.6, z * 0.81), (0, y * 0.93, z * 0.4)]), 0.0012, DARK, n=6)
    t = np.linspace(0, 1, 8)
    cable = np.stack([0.012 * np.sin(5 * t), y * 0.95 + 0.05 * t, 0.004 + 0 * t], axis=1)
    return [shell, wheel, seam, *([sweep(cable, 0.0022, DARK, n=6)] if rng.random() < 0.5 else [])]


def marker_pen(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    length, r = rng.uniform(0.12, 0.145), rng.uniform(0.008, 0.011)
    canvas.band("white", 0.1, 0.55)
    canvas.label("MARK", "ink", low=0.15, high=0.5)
    body = revolve([(0, 0), (r * 0.95, 0), (r, 0.003), (r, length * 0.62), (r * 0.8, length * 0.64)], n=16)
    cap = revolve([(r * 1.08, length * 0.6), (r * 1.08, length * 0.92), (r * 0.7, length), (0, length)], MAIN, 16)
    clip = box(0.003, 0.005, length * 0.28, MAIN).moved(r * 1.2, 0, length * 0.76)
    return [part.turned("y", 90) for part in (body, cap, clip)]


def tape_roll(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    r, h = rng.uniform(0.035, 0.05), rng.uniform(0.018, 0.045)
    hole = r * rng.uniform(0.62, 0.74)
    canvas.fill(SECOND, "dough", "cardboard")
    outside = revolve([(hole + 0.003, 0), (r, 0), (r, h), (hole + 0.003, h)], MAIN, 28, hollow=True)
    return [outside, revolve([(hole + 0.003, h), (hole, h), (hole, 0), (hole + 0.003, 0)], SECOND, 28, hollow=True)]


def candle(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    r, h = rng.uniform(0.015, 0.024), rng.uniform(0.07, 0.13)
    stick = revolve([(0, 0.004), (r, 0.004), (r, h), (r * 0.85, h + 0.003), (r * 0.3, h - 0.001), (0, h - 0.001)])
    dish = revolve([(0, 0), (r * 1.5, 0), (r * 2.1, 0.008), (r * 1.9, 0.008), (r * 1.4, 0.004), (0, 0.004)], METAL)
    return [
        stick,
        dish,
        sweep(np.array([(0, 0, h - 0.002), (0, 0, h + 0.006), (0.002, 0, h + 0.014)]), 0.0016, DARK, n=6),
    ]


def shampoo_bottle(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    r, h, flat = rng.uniform(0.031, 0.037), rng.uniform(0.13, 0.17), rng.uniform(0.6, 0.75)
    canvas.label(a["brand"], "ink", *FLAVOURS[a["flavour"]], ground="cream", low=0.15, high=0.68)
    body = revolve(
        [(0, 0), (r * 0.9, 0), (r, 0.006), (r, h * 0.8), (r * 0.85, h * 0.92), (0.012, h), (0.012, h + 0.004)]
    )
    if rng.random() < 0.6:  # a pump
        top = h + 0.035
        nozzle = sweep(
            np.array([(0.006, 0, top), (-0.02, 0, top), (-0.034, 0, top - 0.006)]), [0.006, 0.005, 0.004], SECOND
        )
        head = [cylinder(0.014, h, h + 0.014, SECOND), cylinder(0.005, h, top, SECOND, 10), nozzle]
    else:
        head = [cylinder(0.02, h - 0.004, h + 0.022, SECOND, top=0.016)]
    return [body.scaled(1, flat, 1), *head]


def soap_bar(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    x, y, z = rng.uniform(0.075, 0.09), rng.uniform(0.048, 0.058), rng.uniform(0.022, 0.03)
    canvas.text((40, 40, 216, 150), "SOAP", "cream" if a["color"] != "white" else "gray")
    return [
        prism(rounded(x, y, y * 0.48, 8), 0, z, MAIN, bevel=z * 0.35),
        prism(rounded(x * 0.68, y * 0.5, 0.01), z * 0.9, z + 0.0008),
    ]


def sponge(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    x, y, z = rng.uniform(0.09, 0.115), rng.uniform(0.06, 0.075), rng.uniform(0.024, 0.034)
    dark = tuple(int(0.6 * channel) for channel in canvas.rgb(a["color"]))
    for _ in range(420):  # pores
        px, py, r = rng.uniform(0, 256), rng.uniform(0, 192), rng.uniform(1, 4)
        canvas.draw.ellipse((px - r, py - r, px + r, py + r), fill=dark)
    foam = box(x, y, z).moved(0, 0, z / 2)
    return (
        [foam, box(x, y, z * 0.35, SECOND).moved(0, 0, z * 1.17)]
        if rng.random() < 0.5
        else [foam.moved(0, 0, z * 0.35), box(x, y, z * 0.35, SECOND).moved(0, 0, z * 0.175)]
    )


def toothbrush(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    length = rng.uniform(0.16, 0.19)
    x = np.array([0, 0.03, 0.055, 0.09, length * 0.75, length])
    stick = sweep(
        np.stack([x, 0 * x, 0.004 * np.cos(x * 22)], 1),
        [0.0065, 0.007, 0.004, 0.0055, 0.0075, 0.006],
        MAIN,
        flat=0.62,
        normal=(0, 0, 1),
    )
    canvas.fill(SECOND, "white")
    tufts = [
        box(0.008, 0.011, 0.013, slot).moved(0.003 + k * 0.009, 0, 0.011)
        for k, slot in enumerate((SECOND, DARK, SECOND))
    ]
    canvas.fill(DARK, a["color2"])
    return [stick, *tufts]


def light_bulb(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    r, base = rng.uniform(0.028, 0.034), 0.013
    z = r * rng.uniform(2.1, 2.4)  # height of the bulb's widest place
    glass = [(base, 0.026), (base * 1.05, 0.032), (r * 0.72, z - r * 0.85), *arc(r, -32, 90, 9, (0, z))]
    rows = [(base * (1 if k % 2 else 0.86), 0.006 + 0.0035 * k) for k in range(6)]
    screw = revolve([(0, 0), (0.005, 0), (base * 0.86, 0.005), *rows, (base, 0.027)], METAL, 20)
    return [revolve(glass, MAIN), screw]


def flower_pot(canvas: Canvas, a: Attributes, rng: Rng) -> list[Part]:
    r, h = rng.uniform(0.036, 0.045), rng.uniform(0.055, 0.075)
    canvas.fill(DARK, "brown", "organic")
    canvas.fill(SECOND, "leaf", "organic")
    canvas.fill(METAL, a["color2"], "organic")
    pot = revolve(
        [(0, 0), (r * 0.65, 0), (r * 0.9, h * 0.75), (r, h * 0.75), (r, h), (r * 0.88, h), (r * 0.86, h * 0.9)]
    )
    soil = revolve([(r * 0.87, h * 0.9), (0, h * 0.95)], DARK)
    parts = [pot, soil]
    for k in range(6):
        leaf = ellipsoid(0.006, 0.012, 0.028, SECOND, 10).moved(0, 0, 0.024).turned("x", 38 - 10 * (k % 2))
        parts.append(leaf.turned("z", k * 60).moved(0, 0, h * 0.9))
    top = h + rng.uniform(0.035, 0.055)
    parts.append(sweep(np.array([(0, 0, h * 0.9), (0.001, 0, (h + top) / 2), (0, 0, top)]), 0.002, SECOND, n=6))
    parts += [
        ellipsoid(0.010, 0.006, 0.004, METAL, 8).moved(0.011).turned("y", -15).turned("z", k * 72).moved(0, 0, top)
        for k in range(5)
    ]
    return [*parts, ellipsoid(0.006, 0.006, 0.005, DARK, 8).moved(0, 0, top + 0.002)]
