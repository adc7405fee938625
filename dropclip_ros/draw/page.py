# SPDX-License-Identifier: Apache-2.0
"""The page that pictures stand on: a band with a title, panels from left to right, captions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dropclip_ros.draw.letters import families, writable

INK, PAPER = "#1b1f24", "#ffffff"
WIDTH, TITLE, MARGIN = 1400, 52, 16  # pixels
DPI = 100


def make_panels(aspect: float, widths: Sequence[float]) -> tuple[Any, ...]:
    """A figure and axes from left to right for images of height/width `aspect`; widths are shares of the figure's.

    Made without pyplot, so that threads and notebooks are left alone.
    """
    from matplotlib.figure import Figure

    tall = widths[0] * WIDTH * aspect
    height = round(tall) + TITLE + 2 * MARGIN
    figure = Figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI, facecolor=PAPER)
    axes, x = [], MARGIN / WIDTH
    for width in widths:
        axes.append(figure.add_axes((x, MARGIN / height, width, tall / height)))
        axes[-1].set_axis_off()
        x += width + 0.6 * MARGIN / WIDTH
    return figure, *axes


def words(text: str, most: int) -> dict[str, Any]:
    """How matplotlib writes a text of up to `most` letters: in fonts that have them, numbers in place of the others."""
    text = text if len(text) <= most else text[: most - 1] + "…"
    return {"fontfamily": families(text), "parse_math": False, "s": writable(text)}


def add_caption(axis: Any, text: str) -> None:
    """A line along the lower edge of a picture."""
    axis.text(
        0.01,
        0.015,
        transform=axis.transAxes,
        fontsize=min(13, 1000 / max(len(text), 1)),
        color=INK,
        bbox={"boxstyle": "round,pad=0.3", "facecolor": PAPER, "edgecolor": "none", "alpha": 0.85},
        **words(text, 110),
    )


def add_title(figure: Any, title: str, colour: Any) -> None:
    """A band across the top; long titles get smaller letters, then lose their end."""
    from matplotlib.patches import Rectangle

    share = TITLE / (figure.get_size_inches()[1] * DPI)
    figure.add_artist(Rectangle((0, 1 - share), 1, share, facecolor=colour, linewidth=0, transform=figure.transFigure))
    figure.text(
        MARGIN / WIDTH,
        1 - share / 2,
        fontsize=min(20, 1400 / max(len(writable(title)), 1)),
        weight="bold" if len(families(title)) == 1 else "normal",  # few fonts of other scripts have a bold face
        color="white",
        va="center_baseline",
        **words(title, 130),
    )


def render(figure: Any) -> np.ndarray:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
