# SPDX-License-Identifier: Apache-2.0
"""A trial as a GIF: pictures of the overview camera, with the phrase above."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from training.runs.files import write_atomically

MOST = 60  # pictures
HEIGHT, BAND = 240, 22  # pixels


def write_gif(pictures: Sequence[np.ndarray], title: str, path: Path, milliseconds: int = 120) -> None:
    """Pictures uint8 (H,W,3), at most MOST of them, evenly; the last one stays for a second and a half."""
    chosen = [pictures[i] for i in np.unique(np.linspace(0, len(pictures) - 1, min(MOST, len(pictures))).astype(int))]
    frames = [_frame(picture, title) for picture in chosen]
    with write_atomically(path, replace=True) as part:
        frames[0].save(
            part,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            loop=0,
            duration=[milliseconds] * (len(frames) - 1) + [1500],
        )


def _frame(picture: np.ndarray, title: str) -> Image.Image:
    image = Image.fromarray(picture)
    image = image.resize((round(image.width * HEIGHT / image.height), HEIGHT))
    frame = Image.new("RGB", (image.width, HEIGHT + BAND), "white")
    frame.paste(image, (0, BAND))
    ImageDraw.Draw(frame).text((5, 4), title, "black", ImageFont.load_default(12))
    return frame.quantize(256, dither=Image.Dither.NONE)
