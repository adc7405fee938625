# SPDX-License-Identifier: Apache-2.0
"""The texture of an object: one 256 px atlas with a printed area and four patches of plain material.

The upper three quarters are the printed area (`BODY`): wrapped around revolved parts, or split in the `PANELS` of a
box. The lower quarter holds four squares, by habit: the main colour, the second colour, dark plastic, bare metal.
"""

from __future__ import annotations

import colorsys
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZE = 256
BODY, MAIN, SECOND, DARK, METAL = range(5)
PANELS = {"front": (0.0, 0.5), "side": (0.5, 0.75), "top": (0.75, 1.0)}  # u ranges inside BODY
BODY_PIXELS = (SIZE, 3 * SIZE // 4)
COLORS = {
    "red": (205, 28, 30),
    "orange": (242, 125, 18),
    "yellow": (246, 212, 30),
    "green": (40, 150, 55),
    "blue": (32, 78, 196),
    "purple": (122, 46, 160),
    "pink": (244, 130, 175),
    "brown": (120, 72, 36),
    "black": (28, 28, 31),
    "white": (240, 240, 236),
    "gray": (128, 130, 134),
    "silver": (182, 186, 192),
}
PRINT = {
    "cream": (250, 240, 214),
    "leaf": (52, 128, 44),
    "ink": (20, 20, 24),
    "dough": (206, 152, 92),
    "sky": (150, 200, 228),
    "lcd": (168, 186, 160),
}  # for drawings, never an attribute


def to_atlas(uv: np.ndarray, slot: int) -> np.ndarray:
    """uv (V,2) of a slot's unit square to uv of the atlas, inset so that mipmaps do not bleed between slots."""
    if slot == BODY:
        low, size, inset = np.array([0.0, 0.25]), np.array([1.0, 0.75]), np.array([0.0, 0.012])
    else:
        low, size, inset = np.array([(slot - 1) * 0.25, 0.0]), np.array([0.25, 0.25]), np.array([0.2, 0.2])
    return low + size * (inset + (1 - 2 * inset) * uv)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # matplotlib carries the font inside its wheel, so a texture has the same bytes on every machine
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans-Bold.ttf"), size)


class Canvas:
    """The atlas being painted. `rgb` jitters a named colour once per object, so that all its parts agree."""

    def __init__(self, attributes: dict[str, str], rng: np.random.Generator):
        self.rng = rng
        self._seen: dict[str, tuple[int, int, int]] = {}
        self.image = Image.new("RGB", (SIZE, SIZE))
        self.draw = ImageDraw.Draw(self.image)
        color, material = attributes["color"], attributes["material"]
        self.fill(BODY, color, material)
        self.fill(MAIN, color, material)
        self.fill(SECOND, attributes.get("color2", "white"))
        self.fill(DARK, "black")
        self.fill(METAL, "silver", "metal")

    def rgb(self, name: str) -> tuple[int, int, int]:
        if name in PRINT:
            return PRINT[name]
        if name not in self._seen:
            h, s, v = colorsys.rgb_to_hsv(*(channel / 255 for channel in COLORS[name]))
            dh, ds, dv = self.rng.uniform(-1, 1, 3) * (0.012, 0.08, 0.07)
            if name in ("black", "white", "gray", "silver"):
                dh, ds = 0.0, abs(ds) * 0.3
            jittered = colorsys.hsv_to_rgb((h + dh) % 1.0, np.clip(s + ds, 0, 1), np.clip(v + dv, 0, 1))
            self._seen[name] = tuple(int(255 * channel) for channel in jittered)
        return self._seen[name]

    def fill(self, slot: int, color: str, material: str = "plastic") -> None:
        """Paint a whole slot with a colour and the material's grain."""
        x0, y0, w, h = (0, 0, *BODY_PIXELS) if slot == BODY else ((slot - 1) * 64, 192, 64, 64)
        base = np.asarray(self.rgb(color), float) * np.ones((h, w, 1))
        base = np.clip(base * _grain(material, h, w, self.rng)[..., None], 0, 255)
        self.image.paste(Image.fromarray(base.astype(np.uint8)), (x0, y0))

    def box(self, panel: str | None = None, low: float = 0.0, high: float = 1.0) -> tuple[int, int, int, int]:
        """Pixels (x0, y0, x1, y1) of a panel (None: the whole printed area) between heights `low` and `high`."""
        u0, u1 = PANELS[panel] if panel else (0.0, 1.0)
        w, h = BODY_PIXELS
        return int(u0 * w), int((1 - high) * h), int(u1 * w) - 1, int((1 - low) * h) - 1

    def band(self, color: str, low: float, high: float, panel: str | None = None) -> None:
        self.draw.rectangle(self.box(panel, low, high), fill=self.rgb(color))

    def pattern(self, name: str, color: str, columns: int = 8, rows: int = 6) -> None:
        """'plain', 'striped', 'dotted', 'checked' or 'banded' over the printed area; the ground stays dominant."""
        rgb, (w, h) = self.rgb(color), BODY_PIXELS
        if name == "striped":
            for x in range(0, w, 32):
                self.draw.rectangle((x, 0, x + 9, h - 1), fill=rgb)
        elif name == "banded":
            self.band(color, 0.38, 0.66)
        elif name == "checked":
            for x, y, dx, dy in _cells(w, h, columns, rows):
                self.draw.rectangle((x, y, x + 0.8 * dx, y + 0.8 * dy), fill=rgb)
        elif name == "dotted":
            for x, y, dx, dy in _cells(w, h, columns, rows):
                self.draw.ellipse((x, y, x + 0.85 * dx, y + 0.85 * dy), fill=rgb)

    def text(self, box: tuple[int, int, int, int], words: str, color: str) -> None:
        """Words as large as they fit, centred in pixels (x0, y0, x1, y1)."""
        x0, y0, x1, y1 = box
        size = 44
        while size > 7 and (_font(size).getlength(words) > x1 - x0 - 4 or size > y1 - y0):
            size -= 1
        middle = ((x0 + x1) // 2, (y0 + y1) // 2)
        self.draw.text(middle, words, font=_font(size), fill=self.rgb(color), anchor="mm")

    def label(
        self,
        title: str,
        ink: str,
        icon: str = "",
        icon_color: str = "red",
        panel: str | None = None,
        ground: str | None = None,
        disc: str | None = None,
        low: float = 0.15,
        high: float = 0.85,
    ) -> None:
        """A label: title above, icon below. Three copies go around a revolved part: one is always seen."""
        x0, y0, x1, y1 = self.box(panel, low, high)
        if ground:
            self.draw.rectangle((x0, y0, x1, y1), fill=self.rgb(ground))
        copies = 1 if panel else 3
        width = (x1 - x0 + 1) // copies
        for k in range(copies):
            left, right = x0 + k * width + 3, x0 + (k + 1) * width - 4
            split = y0 + (y1 - y0) * (4 if icon else 10) // 10
            self.text((left, y0, right, split), title, ink)
            if icon:
                at, r = ((left + right) // 2, (split + y1) // 2), min(right - left, y1 - split) * 0.45
                if disc:
                    _disc(self.draw, *at, r * 1.15, self.rgb(disc))
                self.icon(icon, icon_color, at, r * (0.85 if disc else 1.0))

    def icon(self, name: str, color: str, at: tuple[float, float], r: float) -> None:
        """Draw one of ICONS in a square of half size r around a pixel."""
        ICONS[name](self.draw, at[0], at[1], r, self.rgb(color), PRINT["leaf"])

    def pixels(self) -> np.ndarray:
        """(256,256,3) uint8, first row on top (v = 1)."""
        return np.asarray(self.image).copy()


def _cells(w: int, h: int, columns: int, rows: int) -> list[tuple[float, float, float, float]]:
    """Every other field (x, y, width, height) of a chess board over w by h pixels."""
    dx, dy = w / columns, h / rows
    return [(i * dx, j * dy, dx, dy) for i in range(columns) for j in range(rows) if (i + j) % 2 == 0]


def _grain(material: str, h: int, w: int, rng: np.random.Generator) -> np.ndarray:
    """(h,w) brightness around 1 that hints at the material."""
    if material == "wood":
        y = np.arange(h)[:, None] / h
        x = np.arange(w)[None, :] / w
        return 1 + 0.16 * np.sin(46 * x + 3 * np.sin(5 * y + rng.uniform(0, 6))) + 0.03 * rng.standard_normal((h, w))
    if material == "metal":
        return 1 + 0.07 * rng.standard_normal((1, w)) * np.ones((h, 1))
    if material == "glass":
        streak = np.exp(-(((np.arange(w) / w * 4) % 1 - 0.4) ** 2) / 0.006)
        return 1 + 0.35 * streak[None, :] * np.ones((h, 1))
    amount = {"cardboard": 0.05, "rubber": 0.09, "organic": 0.035, "foam": 0.10, "paper": 0.02}.get(material, 0.01)
    return 1 + amount * rng.standard_normal((h, w))


def _disc(draw, x, y, r, fill):
    draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)


def _leaf(draw, x, y, r, leaf):
    draw.polygon([(x, y), (x + 0.5 * r, y - 0.45 * r), (x + 0.75 * r, y - 0.1 * r)], fill=leaf)


def _round_fruit(draw, x, y, r, color, leaf):
    _disc(draw, x, y + 0.1 * r, 0.8 * r, color)
    _leaf(draw, x, y - 0.6 * r, r, leaf)


def _strawberry(draw, x, y, r, color, leaf):
    draw.polygon([(x - 0.8 * r, y - 0.4 * r), (x + 0.8 * r, y - 0.4 * r), (x, y + r)], fill=color)
    draw.ellipse((x - 0.8 * r, y - 0.75 * r, x + 0.05 * r, y + 0.2 * r), fill=color)
    draw.ellipse((x - 0.05 * r, y - 0.75 * r, x + 0.8 * r, y + 0.2 * r), fill=color)
    draw.polygon([(x - 0.6 * r, y - 0.95 * r), (x + 0.6 * r, y - 0.95 * r), (x, y - 0.3 * r)], fill=leaf)
    for dx, dy in ((-0.35, -0.2), (0.35, -0.2), (0, 0.15), (-0.15, 0.5), (0.2, 0.45)):
        _disc(draw, x + dx * r, y + dy * r, 0.07 * r, PRINT["cream"])


def _bunch(draw, x, y, r, color, leaf):
    for row, n in enumerate((3, 2, 1)):
        for k in range(n):
            _disc(draw, x + (k - (n - 1) / 2) * 0.6 * r, y + (-0.35 + 0.5 * row) * r, 0.33 * r, color)
    _leaf(draw, x, y - 0.6 * r, r, leaf)


def _cherries(draw, x, y, r, color, leaf):
    for dx in (-0.45, 0.45):
        draw.line((x, y - 0.9 * r, x + dx * r, y + 0.2 * r), fill=leaf, width=3)
        _disc(draw, x + dx * r, y + 0.4 * r, 0.42 * r, color)


def _citrus(draw, x, y, r, color, leaf):
    draw.ellipse((x - r, y - 0.65 * r, x + r, y + 0.65 * r), fill=color)
    _leaf(draw, x + 0.2 * r, y - 0.5 * r, r, leaf)


def _star(draw, x, y, r, color, leaf):
    angle = np.arange(10) * np.pi / 5 - np.pi / 2
    radius = np.where(np.arange(10) % 2 == 0, r, 0.45 * r)
    draw.polygon(list(zip(x + radius * np.cos(angle), y + radius * np.sin(angle), strict=True)), fill=color)


def _drop(draw, x, y, r, color, leaf):
    draw.polygon([(x, y - r), (x + 0.6 * r, y + 0.2 * r), (x - 0.6 * r, y + 0.2 * r)], fill=color)
    _disc(draw, x, y + 0.35 * r, 0.62 * r, color)


def _fish(draw, x, y, r, color, leaf):
    draw.ellipse((x - r, y - 0.45 * r, x + 0.55 * r, y + 0.45 * r), fill=color)
    draw.polygon([(x + 0.4 * r, y), (x + r, y - 0.5 * r), (x + r, y + 0.5 * r)], fill=color)


def _grains(draw, x, y, r, color, leaf):
    for dx, dy in ((-0.6, -0.4), (0, -0.5), (0.6, -0.4), (-0.35, 0.1), (0.35, 0.1), (-0.6, 0.6), (0, 0.6), (0.6, 0.6)):
        _disc(draw, x + dx * r, y + dy * r, 0.26 * r, color)


def _rings(draw, x, y, r, color, leaf):
    for dx, dy in ((-0.5, -0.4), (0.5, -0.4), (0, 0.45)):
        box = (x + dx * r - 0.45 * r, y + dy * r - 0.45 * r, x + dx * r + 0.45 * r, y + dy * r + 0.45 * r)
        draw.ellipse(box, outline=color, width=max(2, int(0.2 * r)))


def _flower(draw, x, y, r, color, leaf):
    draw.rectangle((x - 0.06 * r, y, x + 0.06 * r, y + r), fill=leaf)
    for k in range(5):
        _disc(draw, x + 0.42 * r * np.cos(k * 1.257), y - 0.3 * r + 0.42 * r * np.sin(k * 1.257), 0.34 * r, color)
    _disc(draw, x, y - 0.3 * r, 0.22 * r, COLORS["yellow"])


def _sprig(draw, x, y, r, color, leaf):
    for dx, dy in ((-0.5, 0.1), (0.5, 0.1), (0, -0.5), (-0.4, 0.7), (0.4, 0.7)):
        draw.ellipse((x + (dx - 0.32) * r, y + (dy - 0.2) * r, x + (dx + 0.32) * r, y + (dy + 0.2) * r), fill=color)


ICONS = {
    "round": _round_fruit,
    "strawberry": _strawberry,
    "bunch": _bunch,
    "cherries": _cherries,
    "citrus": _citrus,
    "star": _star,
    "drop": _drop,
    "fish": _fish,
    "grains": _grains,
    "rings": _rings,
    "flower": _flower,
    "sprig": _sprig,
}
