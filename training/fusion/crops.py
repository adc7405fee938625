# SPDX-License-Identifier: Apache-2.0
"""Object crops of rendered views, with their masks: what the image tower learns from and what fusion embeds (A.3)."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from dropclip_ros.base.reading import read_array, read_json
from dropclip_ros.networks.image import cut_crop
from training.runs.files import write_atomically
from training.runs.reading import mapped_array
from training.scenes.description import FIRST_OBJECT_ID
from training.scenes.scene import Scene, View

CROP_SIZE = 64
MIN_PIXELS = 120  # a smaller visible part is not embedded


@dataclass
class Crops:
    """N crops: pixels (N,S,S,3) uint8, masks (N,S,S) bool; scene, view, label, visible pixels, object of each."""

    pixels: np.ndarray
    masks: np.ndarray
    scene: np.ndarray
    view: np.ndarray
    label: np.ndarray
    area: np.ndarray
    names: list[str]

    def __len__(self) -> int:
        return len(self.pixels)

    def save(self, folder: Path) -> None:
        """Writes .npy arrays and the names, the names last: their file says that the rest is whole."""
        folder.mkdir(parents=True, exist_ok=True)
        for key in ("pixels", "masks", "scene", "view", "label", "area"):
            with write_atomically(folder / f"{key}.npy", replace=True) as part, part.open("wb") as file:
                np.save(file, getattr(self, key))
        with write_atomically(folder / "names.json", replace=True) as part:
            part.write_text(json.dumps(self.names))

    @staticmethod
    def load(folder: Path) -> Crops:
        """Reads what `save` wrote; pixels and masks stay on disk until used."""
        arrays = {key: mapped_array(folder / f"{key}.npy") for key in ("pixels", "masks")}
        arrays |= {key: read_array(folder / f"{key}.npy") for key in ("scene", "view", "label", "area")}
        return Crops(**arrays, names=read_json(folder / "names.json"))


def shown_objects(view: View, known: Collection[int] | None = None, min_pixels: int = MIN_PIXELS) -> dict[int, int]:
    """Visible pixels of each object, by label, that shows at least `min_pixels`. known: only of these."""
    areas = enumerate(Image.fromarray(view.mask).histogram())  # NumPy's bincount takes three times as long
    return {
        label: area
        for label, area in areas
        if area >= max(1, min_pixels) and label >= FIRST_OBJECT_ID and (known is None or label in known)
    }


def view_crops(view: View, min_pixels: int = MIN_PIXELS) -> list[tuple[int, int, np.ndarray, np.ndarray]]:
    """(label, visible pixels, crop (S,S,3) uint8, mask (S,S) bool) of each object that shows at least `min_pixels`."""
    image = Image.fromarray(view.rgb)
    return [
        (label, area, *cut_crop(image, view.mask == label, CROP_SIZE))
        for label, area in shown_objects(view, min_pixels=min_pixels).items()
    ]


def collect_crops(scenes: list[Scene], cache: Path | None = None, views: int | None = None) -> Crops:
    """All object crops of `scenes` (of the first `views` views of each), read from `cache` where it is whole.

    A view that cannot be read is left out, with a warning.
    """
    if cache is not None and (cache / "names.json").exists():
        return Crops.load(cache)

    def of_scene(s: int) -> list[tuple]:
        scene = scenes[s]
        return [
            (s, v, *crop, scene.objects[crop[0]]["name"])
            for v, view in scene.views(range(min(len(scene), views or len(scene))))
            for crop in view_crops(view)
            if crop[0] in scene.objects
        ]

    with ThreadPoolExecutor(2) as pool:
        rows = [
            row
            for part in tqdm(pool.map(of_scene, range(len(scenes))), total=len(scenes), desc="crops")
            for row in part
        ]
    columns = list(zip(*rows, strict=True))
    crops = Crops(
        np.stack(columns[4]),
        np.stack(columns[5]),
        *(np.array(columns[i]) for i in (0, 1, 2, 3)),
        list(columns[6]),
    )
    if cache is not None:
        crops.save(cache)
    return crops


def joined(parts: Sequence[Crops]) -> Crops:
    """Crops of several data sets, one after the other; `scene` counts on."""
    if len(parts) == 1:
        return parts[0]
    before = np.cumsum([0, *(part.scene.max(initial=-1) + 1 for part in parts[:-1])])
    arrays = {
        key: np.concatenate([getattr(p, key) for p in parts]) for key in ("pixels", "masks", "view", "label", "area")
    }
    scene = np.concatenate([part.scene + first for part, first in zip(parts, before, strict=True)])
    return Crops(**arrays, scene=scene, names=[name for part in parts for name in part.names])
