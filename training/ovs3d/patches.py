# SPDX-License-Identifier: Apache-2.0
"""Features of patches of an image at several scales (3D-OVS): the [CLS] of square cut-outs that cover all of it.

An image model says what an image is of, not where; shown a patch, it says what is there. Large patches show whole
objects, small ones follow edges: which is right for a place is left to the selection volume (`semantic.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from dropclip_ros.base.reading import read_about, read_tensors
from dropclip_ros.networks.image import BATCH
from training.fusion.dense import sample
from training.fusion.features import ObjectFeatures
from training.runs.files import write_atomically


def patches_of(image: np.ndarray, side: float, size: int, steps: int) -> np.ndarray:
    """Square patches of `image` (H,W,3) uint8, `side` of its shorter side long: (h,w,size,size,3) uint8.

    Neighbours lie a patch over `steps` apart, and the image is h x w such cells: patch (i,j) has its middle where cell
    (i,j) has it. Beyond the image its mirror image is shown. size: pixels that patches are scaled to.
    """
    height, width = image.shape[:2]
    stride = size // steps
    scale = size / (side * min(height, width))
    shape = [max(1, round(length * scale / stride)) * stride for length in (height, width)]
    x = torch.tensor(image).permute(2, 0, 1)[None].float()
    x = F.interpolate(x, shape, mode="bilinear", align_corners=False, antialias=True)
    beyond = size - stride
    x = _mirrored(x, beyond // 2, beyond - beyond // 2).round().clamp(0, 255).byte()
    return x[0].unfold(1, size, stride).unfold(2, size, stride).permute(1, 2, 3, 4, 0).numpy()


def _mirrored(x: Tensor, before: int, after: int) -> Tensor:
    """(1,C,H,W) with its mirror image on all sides, however small it is."""
    for dim in (2, 3):
        length = x.shape[dim]
        index = torch.arange(-before, length + after) % max(2 * length - 2, 1)
        x = x.index_select(dim, torch.minimum(index, 2 * length - 2 - index) if length > 1 else index * 0)
    return x


def embed_patches(image: np.ndarray, tower: ObjectFeatures, sides: Sequence[float], steps: int) -> list[Tensor]:
    """Unit features of the patches of an image (H,W,3) uint8 at each scale: (C,h,w), float32, on the CPU."""
    found = []
    for side in sides:
        patches = patches_of(image, side, tower.size, steps)
        h, w = patches.shape[:2]
        flat = patches.reshape(h * w, 1, *patches.shape[2:])
        features = torch.cat([tower.embed(flat[i : i + BATCH]) for i in range(0, h * w, BATCH)])
        found.append(features.T.reshape(-1, h, w))
    return found


@dataclass(frozen=True, eq=False)
class PatchFeatures:
    """Of V views at S scales: maps[v][s] (C,h,w), unit features of the patches, as `sample` takes them."""

    maps: list[list[Tensor]]

    @property
    def scales(self) -> int:
        return len(self.maps[0])

    @property
    def channels(self) -> int:
        return self.maps[0][0].shape[0]

    def at(self, v: int, pixels: Tensor, size: tuple[int, int]) -> Tensor:
        """Features at pixels (n,2), x and y, of view `v` as an image of `size` (H,W): unit, (n,S,C)."""
        found = [sample(of_scale[None].float(), pixels[None], size)[0] for of_scale in self.maps[v]]
        return F.normalize(torch.stack(found, dim=1), dim=-1)

    def relevancy(self, v: int, text: Tensor) -> list[Tensor]:
        """Cosine of the patches of view `v` with the classes (K,C), a map (K,h,w) for each scale."""
        return [torch.einsum("kc,chw->khw", text, of_scale.float()) for of_scale in self.maps[v]]


def load_or_embed(
    path: Path | None,
    names: Sequence[str],
    images: Sequence[np.ndarray],
    tower: ObjectFeatures,
    digest: str | None,
    sides: Sequence[float],
    steps: int,
) -> PatchFeatures:
    """The features of views, from the file `path` where it holds those of these images, else embedded and kept there.

    digest: SHA-256 of the tower's weights. None for `path`: kept nowhere.
    """
    about = {
        "tower": digest or "",
        "sides": json.dumps([*sides]),
        "steps": str(steps),
        "images": hashlib.sha256(b"".join(np.ascontiguousarray(image) for image in images)).hexdigest(),
        "names": json.dumps([*names]),
    }
    if path is not None and (found := _kept(path, about, len(images), len(sides))) is not None:
        return found
    maps = [
        [scale.half() for scale in embed_patches(image, tower, sides, steps)]
        for image in tqdm(images, "patches", unit="view", mininterval=5)
    ]
    if path is not None:
        with write_atomically(path, replace=True) as part:
            save_file({name: maps[v][s].contiguous() for v, s, name in _places(len(images), len(sides))}, part, about)
    return PatchFeatures(maps)


def _places(views: int, scales: int) -> Iterator[tuple[int, int, str]]:
    return ((v, s, f"{v}.{s}") for v in range(views) for s in range(scales))


def _kept(path: Path, about: dict[str, str], views: int, scales: int) -> PatchFeatures | None:
    try:
        if read_about(path) != about:
            return None
        maps: list[list[Tensor]] = [[] for _ in range(views)]
        found = read_tensors(path)
        for v, _, name in _places(views, scales):
            maps[v].append(found[name])
        return PatchFeatures(maps)
    except (OSError, KeyError):
        return None
