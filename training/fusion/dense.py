# SPDX-License-Identifier: Apache-2.0
"""Pixel-level features of whole images (f^2D of section 3.1): MaskCLIP's of any ViT of open_clip, DINOv2's of timm."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.networks.image import ImageTower
from training.fusion.features import autocast
from training.runs.factories import Factories

SHORT_SIDE = 160  # pixels; the small tower tells objects no better apart in larger images, which take longer
DINO_V2 = "vit_base_patch14_reg4_dinov2.lvd142m"  # as timm calls it
DINO_SIDE = 448  # pixels; 32 patches of 14


EXTRACTORS: Factories = {  # of an image tower; what `dropclip-eval --extractor` may name
    "maskclip": ("training.fusion.dense", "MaskClip"),
}


class DenseFeatures(Protocol):
    """An image model with a feature for each patch. short_side: pixels that an image's shorter side is scaled to."""

    channels: int
    short_side: int

    def embed(self, images: np.ndarray) -> torch.Tensor:
        """Images (n,H,W,3) uint8 -> patch features (n,C,h,w), to be brought to pixels by `sample`."""
        ...


class MaskClip:
    """Text-aligned patch features of a CLIP ViT (MaskCLIP, A.4): in the last attention layer every patch keeps its own
    value instead of attending to others, and goes, without the residual and the MLP, through the output projection, the
    last norm and the projection into the text space.

    tower: its image tower; short_side: pixels that the image's shorter side is scaled to, to a multiple of the patch;
    None: the tower's own size, as the paper has it (336 x 448 for ViT-L/14@336px), and SHORT_SIDE for a small one.
    Positional embeddings are interpolated, bicubic. amp: see `autocast`. MODEL_ERROR where the tower is no ViT of
    open_clip's own kind: ResNets have no patches, the ViTs of timm and those with a pooling head no value path into the
    text space.
    """

    def __init__(self, tower: ImageTower, short_side: int | None = None, amp: bool = False) -> None:
        vit = tower.network
        blocks = getattr(getattr(vit, "transformer", None), "resblocks", None)
        if blocks is None or getattr(vit, "attn_pool", None) is not None or not _has_plain_values(blocks[-1].attn):
            raise DropclipError(
                Status.MODEL_ERROR,
                f"MaskCLIP needs a ViT of open_clip's own with a [CLS] token, such as ViT-B-16; the image tower of "
                f"{tower.config.model!r} ({type(vit).__name__}) is none; choose another",
            )
        self.vit, self.device, self.short_side, self.amp = (
            vit,
            tower.device,
            short_side or max(SHORT_SIDE, tower.size),
            amp,
        )
        self.norm = {key: tower.norm.get(key, (0.5,) * 3) for key in ("mean", "std")}
        self.channels = vit.output_dim

    @torch.no_grad()
    def embed(self, images: np.ndarray) -> torch.Tensor:
        """Images (n,H,W,3) uint8 -> patch features (n,C,h,w), float32, on the tower's device; not of unit length."""
        vit = self.vit
        x = network_input(torch.tensor(images, device=self.device), self.short_side, vit.patch_size[0], **self.norm)
        with autocast(self.device, self.amp):
            x = vit.conv1(x)
            n, width, h, w = x.shape
            x = torch.cat([vit.class_embedding.expand(n, 1, width).to(x), x.flatten(2).mT], dim=1)
            x = vit.ln_pre(x + self._positions(h, w).to(x))
            *blocks, last = vit.transformer.resblocks
            for block in blocks:
                x = block(x)
            x = vit.ln_post(_values(last, x[:, 1:]))
            x = x if vit.proj is None else x @ vit.proj
        return x.float().mT.reshape(n, -1, h, w)

    def _positions(self, h: int, w: int) -> torch.Tensor:
        """Positional embeddings (1 + h w, width), the [CLS] token's first."""
        first, grid = self.vit.positional_embedding[:1], self.vit.positional_embedding[1:]
        rows, columns = self.vit.grid_size
        if (rows, columns) == (h, w):
            return self.vit.positional_embedding
        grid = grid.mT.reshape(1, -1, rows, columns)
        grid = F.interpolate(grid, (h, w), mode="bicubic", align_corners=False, antialias=True)
        return torch.cat([first, grid.flatten(2)[0].mT])


def _has_plain_values(attention: nn.Module) -> bool:
    """Whether the way of a value through an attention layer is its two projections."""
    plain = getattr(attention, "head_scale", None) is None
    plain = plain and isinstance(getattr(attention, "ln_inner", nn.Identity()), nn.Identity)
    return plain and getattr(attention, "in_proj_weight", None) is not None


def _values(block: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The attention of a block where each token (n,t,width) attends to itself alone."""
    attention, width = block.attn, x.shape[-1]
    bias = None if attention.in_proj_bias is None else attention.in_proj_bias[2 * width :]
    x = attention.out_proj(F.linear(block.ln_1(x), attention.in_proj_weight[2 * width :], bias))
    return block.ls_1(block.ln_attn(x) if hasattr(block, "ln_attn") else x)


class DinoV2:
    """Patch features of a ViT of timm after its last norm: DINOv2's by default. They know no text.

    name: timm's name of it, with the weights' tag, or a folder as timm saves it (config.json, model.safetensors).
    weights: a file of weights for that name, safetensors or torch's (read without unpickling code), else timm fetches
    them. short_side: as `MaskClip`'s. MODEL_ERROR where the weights cannot be had: there are no features without them.
    """

    def __init__(
        self,
        name: str = DINO_V2,
        weights: Path | None = None,
        device: str | torch.device = "cpu",
        short_side: int = DINO_SIDE,
        amp: bool = False,
    ) -> None:
        import timm

        local = {} if weights is None else {"pretrained_cfg_overlay": {"file": str(weights)}}
        source = f"local-dir:{name}" if Path(name).is_dir() else name
        try:
            # With its own number of classes: with another, timm loads what there is and leaves the rest random.
            vit = timm.create_model(source, pretrained=True, dynamic_img_size=True, **local)
        except Exception as error:  # the library raises many kinds; to the caller they mean one thing
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise DropclipError(
                Status.MODEL_ERROR,
                f"cannot load {name!r} of timm with weights from {weights or 'the hub'} ({reason}); give the file of "
                "its weights, or its folder as timm saves it",
            ) from error
        self.vit = vit.eval().requires_grad_(False).to(device)
        self.device, self.short_side, self.amp = torch.device(device), short_side, amp
        self.norm = {key: vit.pretrained_cfg[key] for key in ("mean", "std")}
        self.channels = vit.embed_dim

    @torch.no_grad()
    def embed(self, images: np.ndarray) -> torch.Tensor:
        """Images (n,H,W,3) uint8 -> patch features (n,C,h,w), float32, on the model's device; not of unit length."""
        patch = self.vit.patch_embed.patch_size[0]
        x = network_input(torch.tensor(images, device=self.device), self.short_side, patch, **self.norm)
        with autocast(self.device, self.amp):
            return self.vit.forward_intermediates(x, indices=1, norm=True, intermediates_only=True)[0].float()


def network_input(
    images: torch.Tensor, short_side: int, patch: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> torch.Tensor:
    """Images (n,H,W,3) uint8 as (n,3,H',W'): the shorter side at `short_side` pixels, both multiples of `patch`."""
    height, width = images.shape[1:3]
    scale = short_side / min(height, width)
    size = tuple(max(patch, round(side * scale / patch) * patch) for side in (height, width))
    x = images.permute(0, 3, 1, 2).float().div_(255)
    x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
    return (x - x.new_tensor(mean)[:, None, None]) / x.new_tensor(std)[:, None, None]


def sample(features: torch.Tensor, pixels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Patch features (n,C,h,w) of images of `size` (H,W) at pixels (n,m,2), u_x and u_y: (n,m,C), bicubic.

    The same as enlarging the whole map by torch's bicubic interpolation, computed only where it is asked for: a
    weighted sum of 16 patches, several times as fast as `grid_sample`, which walks through channels one by one.
    """
    n, channels, h, w = features.shape
    height, width = size
    place = (pixels + 0.5) * pixels.new_tensor([w / width, h / height]) - 0.5  # (0, 0) is the middle of the first patch
    taps = torch.arange(-1, 3, device=pixels.device)
    first = place.floor()
    weights = _cubic((place - first)[..., None] - taps)  # (n,m,2,4)
    last = torch.tensor([[w - 1], [h - 1]], device=pixels.device)
    x, y = (first.long()[..., None] + taps).clamp(min=0).minimum(last).unbind(-2)
    patch = (y[..., :, None] * w + x[..., None, :]).flatten(2)
    patch = patch + (torch.arange(n, device=pixels.device) * h * w)[:, None, None]
    weight = (weights[:, :, 1, :, None] * weights[:, :, 0, None, :]).flatten(2)
    table = features.permute(0, 2, 3, 1).reshape(-1, channels)
    found = F.embedding_bag(patch.flatten(0, 1), table, per_sample_weights=weight.flatten(0, 1).to(table), mode="sum")
    return found.view(n, -1, channels)


def _cubic(t: torch.Tensor, a: float = -0.75) -> torch.Tensor:
    """Weight of what lies `t` from a place, by Keys' cubic with the slope of torch."""
    t = t.abs()
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((t - 5) * t + 8) * a * t - 4 * a
    return torch.where(t <= 1, near, torch.where(t < 2, far, torch.zeros_like(t)))
