# SPDX-License-Identifier: Apache-2.0
"""What the frame's own pixels say of each instance: the image tower's [CLS] of its crop, in the space of the text.

The encoder sees colours at 5 mm a voxel; print, texture and fine shape are only in the image. As in figure 20 of the
paper, where the scores of DROP-CLIP and of a 2D model are averaged, the two views of an object are averaged here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import binary_closing, find_objects
from torch import Tensor, nn
from torch.nn.functional import normalize

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.files import load_tensors
from dropclip_ros.networks.clip import Clip, ClipSource, load_clip

EXPANSION = 1.2  # side of the square crop over the longer side of the mask's box
BACKGROUND = 0.5  # grey of the masked-out pixels of a crop-mask, in [0, 1]
BATCH = 64  # crops through the tower at once
CLOSING = np.ones((5, 5), bool)  # holes of the depth image up to this many pixels are no holes of the object


@dataclass(frozen=True)
class ImageConfig:
    """Which image tower to use and how much it counts.

    model: "vit", a ViT of the shape below whose weights lie in the model folder, or any name that open_clip knows (see
        `TextConfig.model`), with pretrained: its tag or checkpoint path, and sha256: of that checkpoint.
    size, patch_size: pixels. width, layers, heads: of the transformer. channels: of the text space.
    weight: of the tower's cosine against the encoder's, in [0, 1]; 1: it names alone (`names_alone`).
    crop: what it is shown of an object: "mask", the crop with all else in `background` (crop-mask of A.3), "plain", the
        crop with its surroundings, or "both", averaged. background: "grey", or "mean", the picture's mean colour.
    temperature, null_similarity: as `ModelConfig`'s, for cosines so mixed.
    """

    model: str = "vit"
    pretrained: str | None = None
    sha256: str | None = None
    size: int = 64
    patch_size: int = 8
    width: int = 192
    layers: int = 5
    heads: int = 3
    channels: int = 384
    weight: float = 0.5
    crop: Literal["mask", "plain", "both"] = "mask"
    background: Literal["grey", "mean"] = "grey"
    temperature: float = 0.1
    null_similarity: float = 0.0

    def __post_init__(self) -> None:
        for name in ("size", "patch_size", "width", "layers", "heads", "channels"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 4096:
                raise ValueError(f"{name} must be an integer in [1, 4096]; got {value!r}")
        if self.size % self.patch_size or self.width % self.heads:
            raise ValueError(
                f"size {self.size} must be a multiple of patch_size {self.patch_size}, and width {self.width} one of "
                f"heads {self.heads}"
            )
        for name, low, high in (("weight", 0, 1), ("temperature", 1e-4, 100), ("null_similarity", -1, 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise ValueError(f"{name} must be a number in [{low}, {high}]; got {value!r}")
        for name, known in (("crop", ("mask", "plain", "both")), ("background", ("grey", "mean"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}; got {getattr(self, name)!r}")

    @property
    def names_alone(self) -> bool:
        """Whether names come from this tower alone; the encoder then need not speak the text's language."""
        return self.weight == 1

    @property
    def source(self) -> ClipSource | None:
        """The model of open_clip whose image tower this is; None where the weights lie in the model folder."""
        return None if self.model == "vit" else ClipSource(self.model, self.pretrained, self.sha256)


def make_vit(config: ImageConfig, patch_dropout: float = 0.0) -> nn.Module:
    """open_clip's VisionTransformer in the shape of `config`: images (N,3,S,S) in [-1, 1] -> (N, channels)."""
    from open_clip.transformer import VisionTransformer

    return VisionTransformer(
        image_size=config.size,
        patch_size=config.patch_size,
        width=config.width,
        layers=config.layers,
        heads=config.heads,
        mlp_ratio=4.0,
        patch_dropout=patch_dropout,
        output_dim=config.channels,
    )


def load_vit(path: Path, config: ImageConfig) -> nn.Module:
    """The ViT of a model folder, fp32, eval mode. MODEL_ERROR where the file is not one of this shape."""
    network, tensors = make_vit(config), load_tensors(path)
    try:
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except RuntimeError as error:
        reason = str(error).partition("\n\t")[2].partition("\n")[0] or error
        raise DropclipError(
            Status.MODEL_ERROR, f"{path} is not the image tower of its config.json: {reason}; fetch the model again"
        ) from error
    return network.eval().requires_grad_(False)


def square_box(mask: np.ndarray, expansion: float = EXPANSION) -> tuple[int, int, int, int]:
    """Square box (left, top, right, bottom) around the true pixels of `mask` (H,W), possibly beyond the image."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    half = max(bottom - top, right - left) * expansion / 2
    cy, cx = (top + bottom) / 2, (left + right) / 2
    return round(cx - half), round(cy - half), round(cx + half), round(cy + half)


def cut_crop(
    image: Image.Image, mask: np.ndarray, size: int, expansion: float = EXPANSION
) -> tuple[np.ndarray, np.ndarray]:
    """Crop of what `mask` (H,W) shows: pixels (S,S,3) uint8 and the mask in it (S,S) bool; black beyond the image."""
    box = square_box(mask, expansion)
    crop = image.crop(box).resize((size, size), Image.Resampling.BILINEAR)
    inside = Image.fromarray(mask).crop(box).resize((size, size), Image.Resampling.NEAREST)
    return np.asarray(crop), np.asarray(inside)


def to_images(
    pixels: np.ndarray,
    masks: np.ndarray | None,
    mean: tuple = (0.5, 0.5, 0.5),
    std: tuple = (0.5, 0.5, 0.5),
    background: float | np.ndarray = BACKGROUND,
) -> Tensor:
    """Crops (N,S,S,3) uint8 as network input (N,3,S,S); with `masks` all but the object is `background`, a grey or a
    colour (3,) in [0, 1] (crop-mask, A.3)."""
    images = torch.tensor(pixels).permute(0, 3, 1, 2).float().div_(255)
    if masks is not None:
        keep = torch.tensor(masks).unsqueeze(1)
        images = torch.where(keep, images, torch.as_tensor(background, dtype=torch.float32).view(-1, 1, 1))
    return images.sub_(torch.tensor(mean)[:, None, None]).div_(torch.tensor(std)[:, None, None])


class ImageTower:
    """Embeds the crops of a frame's instances. Raises MODEL_ERROR where the tower of `config` cannot be had.

    path: the weights of a "vit". clip: the config's model of open_clip, where it is loaded already.
    """

    def __init__(
        self, config: ImageConfig, path: Path, device: str | torch.device = "cpu", clip: Clip | None = None
    ) -> None:
        self.config, self.device = config, torch.device(device)
        if config.source is None:
            network, self.size, self.norm = load_vit(path, config), config.size, {}
        else:
            network = (clip or load_clip(config.source)).model.visual
            size = network.image_size
            self.size = size[0] if isinstance(size, tuple) else size
            self.norm = {"mean": network.image_mean, "std": network.image_std}
        self.network = network.to(self.device)

    @torch.inference_mode()
    def embed(self, rgb: np.ndarray, labels: np.ndarray) -> Tensor:
        """Unit features (K,C) of the instances 1..K in `labels` (H,W) int of the image `rgb` (H,W,3) uint8."""
        image = Image.fromarray(rgb)
        crops = []
        for label, box in enumerate(find_objects(labels), start=1):
            mask = np.zeros(labels.shape, bool)
            mask[box] = labels[box] == label
            wide = tuple(slice(max(s.start - 2, 0), s.stop + 2) for s in box)  # room for the closing
            mask[wide] = binary_closing(mask[wide], CLOSING) | mask[wide]
            crops.append(cut_crop(image, mask, self.size))
        pixels, masks = (np.stack(part) for part in zip(*crops, strict=True))
        background = rgb.mean((0, 1)) / 255 if self.config.background == "mean" else BACKGROUND
        shown = {"mask": (masks,), "plain": (None,), "both": (masks, None)}[self.config.crop]
        return normalize(torch.stack([self._embed(pixels, inside, background) for inside in shown]).mean(0), dim=-1)

    def _embed(self, pixels: np.ndarray, masks: np.ndarray | None, background: float | np.ndarray) -> Tensor:
        """Unit features (K,C) of crops (K,S,S,3), by the batch."""
        parts = []
        for batch in (slice(start, start + BATCH) for start in range(0, len(pixels), BATCH)):
            inside = None if masks is None else masks[batch]
            images = to_images(pixels[batch], inside, **self.norm, background=background)
            parts.append(self.network(images.to(self.device)))
        return normalize(torch.cat(parts).float(), dim=-1)
