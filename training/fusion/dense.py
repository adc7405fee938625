# SPDX-License-Identifier: Apache-2.0
"""Pixel-level features of whole images (f^2D of section 3.1): MaskCLIP's of any ViT of open_clip."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dropclip_ros.errors import DropclipError, Status
from dropclip_ros.image import ImageTower

SHORT_SIDE = 240  # pixels: patches of 8 then cover about an eighth of an object, as in the crops the small tower learnt


class DenseFeatures(Protocol):
    """An image model with a feature for each patch."""

    channels: int

    def embed(self, images: np.ndarray) -> torch.Tensor:
        """Images (n,H,W,3) uint8 -> patch features (n,C,h,w), to be brought to pixels by `sample`."""
        ...


class MaskClip:
    """Text-aligned patch features of a CLIP ViT (MaskCLIP, A.4): in the last attention layer every patch keeps its own
    value instead of attending to others, and goes through the output projection, the last norm and the projection into
    the text space.

    tower: its image tower; short_side: pixels that the image's shorter side is scaled to, to a multiple of the patch.
    Positional embeddings are interpolated, bicubic. MODEL_ERROR where the tower is no ViT of open_clip's own kind.
    """

    def __init__(self, tower: ImageTower, short_side: int = SHORT_SIDE) -> None:
        vit = tower.network
        blocks = getattr(getattr(vit, "transformer", None), "resblocks", None)
        if blocks is None or getattr(vit, "conv1", None) is None or getattr(vit, "attn_pool", None) is not None:
            raise DropclipError(
                Status.MODEL_ERROR,
                f"MaskCLIP needs a ViT of open_clip with a [CLS] token; got {type(vit).__name__}; choose another",
            )
        self.vit, self.device, self.short_side = vit, tower.device, short_side
        self.mean, self.std = (tower.norm.get(key, (0.5,) * 3) for key in ("mean", "std"))
        self.channels = vit.output_dim

    @torch.no_grad()
    def embed(self, images: np.ndarray) -> torch.Tensor:
        vit, patch = self.vit, self.vit.patch_size[0]
        x = network_input(images, self.short_side, patch, self.mean, self.std).to(self.device)
        x = vit.conv1(x)
        n, width, h, w = x.shape
        x = torch.cat([vit.class_embedding.expand(n, 1, width), x.flatten(2).mT], dim=1)
        x = vit.ln_pre(x + self._positions(h, w))
        *blocks, last = vit.transformer.resblocks
        for block in blocks:
            x = block(x)
        x = self._values(last, x[:, 1:])
        x = vit.ln_post(x)
        x = x if vit.proj is None else x @ vit.proj
        return x.mT.reshape(n, -1, h, w)

    @staticmethod
    def _values(block: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """The block's attention where each token (n,t,width) attends to itself alone."""
        attention = block.attn
        width = x.shape[-1]
        weight, bias = attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :]
        return attention.out_proj(F.linear(block.ln_1(x), weight, bias))

    def _positions(self, h: int, w: int) -> torch.Tensor:
        """Positional embeddings (1 + h w, width), the [CLS] token's first."""
        first, grid = self.vit.positional_embedding[:1], self.vit.positional_embedding[1:]
        rows, columns = self.vit.grid_size
        if (rows, columns) == (h, w):
            return self.vit.positional_embedding
        grid = grid.mT.reshape(1, -1, rows, columns)
        grid = F.interpolate(grid, (h, w), mode="bicubic", align_corners=False, antialias=True)
        return torch.cat([first, grid.flatten(2)[0].mT])


def network_input(
    images: np.ndarray, short_side: int, patch: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> torch.Tensor:
    """Images (n,H,W,3) uint8 as (n,3,H',W'): the shorter side at `short_side` pixels, both multiples of `patch`."""
    height, width = images.shape[1:3]
    scale = short_side / min(height, width)
    size = tuple(max(patch, round(side * scale / patch) * patch) for side in (height, width))
    x = torch.tensor(images).permute(0, 3, 1, 2).float().div_(255)
    x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
    return (x - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def sample(features: torch.Tensor, pixels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Patch features (n,C,h,w) of images of `size` (H,W) at pixels (n,m,2), u_x and u_y: (n,m,C), bicubic.

    The same as enlarging the whole map by torch's bicubic interpolation, computed only where it is asked for.
    """
    height, width = size
    grid = (2 * pixels + 1) / pixels.new_tensor([width, height]) - 1  # (0, 0) is the middle of the first pixel
    found = F.grid_sample(features, grid[:, None].to(features), "bicubic", "border", align_corners=False)
    return found[:, :, 0].mT
