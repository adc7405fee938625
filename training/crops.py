# SPDX-License-Identifier: Apache-2.0
"""Object crops of rendered views, with their masks: what the image tower learns from and what fusion embeds (A.3)."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from training.scenes import FIRST_OBJECT_ID, Scene, View

CROP_SIZE = 64
EXPANSION = 1.2  # side of the square crop over the longer side of the mask's box
MIN_PIXELS = 120  # a smaller visible part is not embedded
BACKGROUND = 0.5  # grey of the masked-out pixels of a crop-mask, in [0, 1]


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
            np.save(folder / f"{key}.npy", getattr(self, key))
        (folder / "names.json").write_text(json.dumps(self.names))

    @staticmethod
    def load(folder: Path) -> Crops:
        """Reads what `save` wrote; pixels and masks stay on disk until used."""
        arrays = {key: np.load(folder / f"{key}.npy", mmap_mode="r") for key in ("pixels", "masks")}
        arrays |= {key: np.load(folder / f"{key}.npy") for key in ("scene", "view", "label", "area")}
        return Crops(**arrays, names=json.loads((folder / "names.json").read_text()))


def square_box(mask: np.ndarray, expansion: float = EXPANSION) -> tuple[int, int, int, int]:
    """Square box (left, top, right, bottom) around the true pixels of `mask` (H,W), possibly beyond the image."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    half = max(bottom - top, right - left) * expansion / 2
    cy, cx = (top + bottom) / 2, (left + right) / 2
    return round(cx - half), round(cy - half), round(cx + half), round(cy + half)


def view_crops(view: View, min_pixels: int = MIN_PIXELS) -> list[tuple[int, int, np.ndarray, np.ndarray]]:
    """(label, visible pixels, crop (S,S,3) uint8, mask (S,S) bool) of each object that shows at least `min_pixels`."""
    image, found = Image.fromarray(view.rgb), []
    areas = np.bincount(view.mask.ravel(), minlength=FIRST_OBJECT_ID)
    for label in range(FIRST_OBJECT_ID, len(areas)):
        if areas[label] < min_pixels:
            continue
        mask = view.mask == label
        box = square_box(mask)
        crop = image.crop(box).resize((CROP_SIZE, CROP_SIZE), Image.Resampling.BILINEAR)
        small = Image.fromarray(mask).crop(box).resize((CROP_SIZE, CROP_SIZE), Image.Resampling.NEAREST)
        found.append((label, int(areas[label]), np.asarray(crop), np.asarray(small)))
    return found


def collect_crops(scenes: list[Scene], cache: Path | None = None, views: int | None = None) -> Crops:
    """All object crops of `scenes` (of the first `views` views of each), read from `cache` where it is whole."""
    if cache is not None and (cache / "names.json").exists():
        return Crops.load(cache)

    def of_scene(s: int) -> list[tuple]:
        scene = scenes[s]
        count = min(len(scene), views or len(scene))
        return [
            (s, v, *crop, scene.objects[crop[0]]["name"])
            for v in range(count)
            for crop in view_crops(scene.view(v))
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


def to_images(pixels: np.ndarray, masks: np.ndarray | None) -> torch.Tensor:
    """Crops as network input (N,3,S,S) in [-1, 1]; with `masks` everything but the object is grey (crop-mask, A.3)."""
    images = torch.tensor(pixels).permute(0, 3, 1, 2).float().div_(255)
    if masks is not None:
        keep = torch.tensor(masks).unsqueeze(1)
        images = torch.where(keep, images, torch.tensor(BACKGROUND))
    return images.mul_(2).sub_(1)
