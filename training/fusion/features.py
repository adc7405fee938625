# SPDX-License-Identifier: Apache-2.0
"""Object-level features: how an object is shown to the image tower (table 8), and its [CLS] feature (section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch.nn.functional import normalize

from dropclip_ros.image import EXPANSION, ImageTower, square_box
from training.mvtod.scenes import View

KINDS = ("crop", "crop-mask", "mask-out", "mask-gray", "mask-blur")
BACKGROUNDS = {"black": 0, "gray": 128, "white": 255}
BLUR = 4  # by how much the image is reduced before the median over 5 of its pixels


@dataclass(frozen=True)
class VisualPrompt:
    """What the image tower is shown of an object (A.3).

    kind: "crop", a square around it; "crop-mask", the same with nothing but the object; or the whole image with all
    else taken out ("mask-out"), made gray ("mask-gray") or blurred by a median ("mask-blur"). background: of crop-mask
    and mask-out, black, gray, white, or "mean": that of the three which is furthest from the object's mean colour.
    crops: how many scales, their features averaged; ratio: by how much of its side each is larger than the one before.
    expansion: side of the smallest square over the longer side of the object's box.
    """

    kind: Literal["crop", "crop-mask", "mask-out", "mask-gray", "mask-blur"] = "crop-mask"
    background: Literal["black", "gray", "white", "mean"] = "gray"
    crops: int = 1
    ratio: float = 0.1
    expansion: float = EXPANSION

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r}: expected one of {', '.join(KINDS)}")
        if self.background not in (*BACKGROUNDS, "mean"):
            raise ValueError(f"background {self.background!r}: expected one of {', '.join(BACKGROUNDS)} or mean")
        if self.crops < 1 or (self.crops > 1 and not self.kind.startswith("crop")):
            raise ValueError(f"crops {self.crops}: expected at least 1, and 1 for prompts of the whole image")
        if self.ratio < 0 or self.expansion < 1:
            raise ValueError(f"ratio {self.ratio}, expansion {self.expansion}: expected 0 or more and 1 or more")

    def images(self, rgb: np.ndarray, mask: np.ndarray, size: int) -> np.ndarray:
        """The object of `mask` (H,W) bool in `rgb` (H,W,3) uint8 as it is shown: (crops,S,S,3) uint8."""
        image = Image.fromarray(rgb)
        if not self.kind.startswith("crop"):
            shown = np.where(mask[..., None], rgb, self._surroundings(image, mask))
            return np.asarray(Image.fromarray(shown).resize((size, size), Image.Resampling.BILINEAR))[None]
        found = []
        for scale in range(self.crops):
            box = square_box(mask, self.expansion * (1 + scale * self.ratio))
            crop = np.asarray(image.crop(box).resize((size, size), Image.Resampling.BILINEAR))
            if self.kind == "crop-mask":
                inside = Image.fromarray(mask).crop(box).resize((size, size), Image.Resampling.NEAREST)
                crop = np.where(np.asarray(inside)[..., None], crop, self._plain(rgb, mask))
            found.append(crop)
        return np.stack(found)

    def _plain(self, rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The background's grey, () uint8."""
        if self.background != "mean":
            return np.uint8(BACKGROUNDS[self.background])
        mean = rgb[mask].mean()
        return np.uint8(max(BACKGROUNDS.values(), key=lambda grey: abs(grey - mean)))

    def _surroundings(self, image: Image.Image, mask: np.ndarray) -> np.ndarray:
        if self.kind == "mask-out":
            return self._plain(np.asarray(image), mask)
        if self.kind == "mask-gray":
            return np.asarray(image.convert("L"))[..., None]
        small = image.reduce(BLUR).filter(ImageFilter.MedianFilter(5))  # a median over 20 pixels takes seconds
        return np.asarray(small.resize(image.size, Image.Resampling.BILINEAR))


class ObjectFeatures:
    """[CLS] features of objects. Several prompts are an ensemble: the mean of their unit features, unit again.

    images: how many an object takes, of `size` pixels each; channels: of a feature. amp: autocast to bf16 (CPU) or
    fp16 (CUDA).
    """

    def __init__(
        self, tower: ImageTower, prompts: Sequence[VisualPrompt] = (VisualPrompt(),), amp: bool = False
    ) -> None:
        if not prompts:
            raise ValueError("no visual prompt; give at least one")
        self.tower, self.prompts, self.amp = tower, tuple(prompts), amp
        self.channels, self.size, self.device = tower.config.channels, tower.size, tower.device
        self.images = sum(prompt.crops for prompt in self.prompts)
        mean, std = (torch.tensor(tower.norm.get(key, (0.5,) * 3))[:, None, None] for key in ("mean", "std"))
        self._mean, self._std = mean.to(tower.device), std.to(tower.device)

    def cut(self, view: View, labels: Sequence[int]) -> np.ndarray:
        """The objects as they are shown, (n,images,S,S,3) uint8. Needs no tower: threads may cut while it runs."""
        cut = [
            np.concatenate([prompt.images(view.rgb, view.mask == label, self.size) for prompt in self.prompts])
            for label in labels
        ]
        return np.stack(cut) if cut else np.zeros((0, self.images, self.size, self.size, 3), np.uint8)

    @torch.inference_mode()
    def embed(self, images: np.ndarray) -> torch.Tensor:
        """What `cut` gives, (n,images,S,S,3) -> unit features (n,C), float32, on the CPU."""
        n, count = images.shape[:2]
        if not n:
            return torch.zeros(0, self.channels)
        device = self.device
        x = torch.from_numpy(images).to(device).flatten(0, 1).permute(0, 3, 1, 2).float().div_(255)
        x = x.sub_(self._mean).div_(self._std)
        kind = torch.float16 if device.type == "cuda" else torch.bfloat16
        with torch.autocast(device.type, kind, enabled=self.amp):
            features = normalize(self.tower.network(x).float(), dim=-1)
        return normalize(features.view(n, count, -1).mean(1), dim=-1).cpu()

