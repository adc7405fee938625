# SPDX-License-Identifier: Apache-2.0
"""What names are learned from: crops of rendered objects and of photographs, each under a light and camera of its own.

A sample is a square crop with its surroundings, as `dropclip_ros.networks.names` cuts one. Rendered pictures are
dull: exposure, white balance, contrast, blur, noise and JPEG are drawn anew for every sample, and half of the rendered
objects are put before a piece of a photograph.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from scipy.ndimage import uniform_filter

from dropclip_ros.base.reading import decode_image, read_image, read_text
from dropclip_ros.networks.names import CROP, cut_plain
from training.fusion.crops import shown_objects
from training.names.vocabulary import grocery_name, own_name
from training.objects.catalogue import open_catalogue
from training.scenes.shards import load_scenes

MIN_PIXELS = 300


@dataclass(frozen=True)
class Sample:
    """A crop (S,S,3) uint8, our own name of what it shows, and the source it comes from."""

    pixels: np.ndarray
    name: str
    source: str


def rendered(
    folder: Path,
    catalogue: str,
    source: str,
    seed: int,
    backgrounds: list[np.ndarray],
    prefix: str = "",
) -> Iterator[Sample]:
    """Two samples of every object in every view of the scenes in `folder`, by its own name. catalogue: theirs.

    prefix: of the names of the objects that are used.
    """
    called = {spec.name: own_name(spec) for spec in open_catalogue(catalogue).specs}
    for s, scene in enumerate(load_scenes(folder)):
        for v, view in scene.views(range(len(scene))):
            rng = np.random.default_rng([seed, s, v])
            for label in shown_objects(view, scene.objects, MIN_PIXELS):
                if not scene.objects[label]["name"].startswith(prefix):
                    continue
                for _ in range(2):
                    mask = view.mask == label
                    rgb = before(view.rgb, mask, backgrounds, rng) if backgrounds and rng.uniform() < 0.5 else view.rgb
                    crop = cut_plain(rgb, mask, CROP, rng.uniform(1.0, 1.5))
                    yield Sample(photographed(crop, rng), called[scene.objects[label]["name"]], source)


def groceries(folder: Path, seed: int, listed: str = "train.txt") -> Iterator[Sample]:
    """Two samples of every photograph of a checkout of GroceryStoreDataset, by the own name of its class."""
    coarse = {row[0]: row[2] for row in csv.reader(io.StringIO(read_text(folder / "dataset" / "classes.csv")))}
    for i, line in enumerate(read_text(folder / "dataset" / listed).splitlines()):
        path = line.split(",")[0]
        rng, image = np.random.default_rng([seed, i]), read_image(folder / "dataset" / path).convert("RGB")
        fine = Path(path).parent.name
        name = grocery_name(coarse[fine], fine)
        for _ in range(2):
            side = rng.uniform(0.6, 1.0) * min(image.size)
            left, top = rng.uniform(0, image.width - side), rng.uniform(0, image.height - side)
            crop = image.resize((CROP, CROP), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
            yield Sample(photographed(np.asarray(crop), rng), name, "groceries")


def photo_backgrounds(folder: Path, count: int, seed: int) -> list[np.ndarray]:
    """Photographs to put rendered objects before."""
    lines = read_text(folder / "dataset" / "train.txt").splitlines()
    chosen = np.random.default_rng(seed).choice(len(lines), count, replace=False)
    paths = [folder / "dataset" / lines[i].split(",")[0] for i in chosen]
    return [np.asarray(read_image(path).convert("RGB")) for path in paths]


def before(rgb: np.ndarray, mask: np.ndarray, backgrounds: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """The object `mask` (H,W) of `rgb` (H,W,3) before a blown-up piece of a photograph, or before one colour."""
    if rng.uniform() < 0.4:
        behind = np.full_like(rgb, rng.integers(0, 256, 3))
    else:
        image = Image.fromarray(backgrounds[rng.integers(len(backgrounds))])
        side = rng.uniform(0.2, 0.6) * min(image.size)
        left, top = rng.uniform(0, image.width - side), rng.uniform(0, image.height - side)
        size = rgb.shape[1], rgb.shape[0]
        behind = np.asarray(image.resize(size, Image.Resampling.BICUBIC, (left, top, left + side, top + side)))
    soft = uniform_filter(mask.astype(np.float32), 3)[..., None]
    return (soft * rgb + (1 - soft) * behind).astype(np.uint8)


def photographed(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The crop (S,S,3) uint8 as another camera would give it: light, white balance, contrast, blur, noise, JPEG."""
    image = Image.fromarray(crop)
    if rng.uniform() < 0.7:  # what is far away has few pixels
        small = int(CROP * rng.uniform(0.2, 0.8))
        image = image.resize((small, small), Image.Resampling.BOX).resize((CROP, CROP), Image.Resampling.BILINEAR)
    if rng.uniform() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 2.0)))
    pixels = np.asarray(image).astype(np.float32) / 255
    pixels = pixels ** np.exp(rng.normal(0, 0.3)) * np.exp(rng.normal(0.1, 0.3))
    pixels = pixels * np.exp(rng.normal(0, 0.1, 3))
    pixels = (pixels - pixels.mean()) * rng.uniform(0.7, 1.3) + pixels.mean()
    pixels += rng.normal(0, rng.uniform(0, 0.05), pixels.shape)
    if rng.uniform() < 0.5:
        pixels = pixels[:, ::-1]
    image = Image.fromarray((255 * pixels.clip(0, 1)).astype(np.uint8))
    if rng.uniform() < 0.5:
        kept = io.BytesIO()
        image.save(kept, "jpeg", quality=int(rng.integers(30, 90)))
        image = decode_image(kept.getvalue())
    return np.asarray(image)
