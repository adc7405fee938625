# SPDX-License-Identifier: Apache-2.0
"""Object-level features: the image tower's [CLS] of objects, as visual prompts show them (f_cls of section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import normalize

from dropclip_ros.networks.image import ImageTower
from dropclip_ros.networks.model_folder import half_precision
from training.fusion.prompts2d import VisualPrompt
from training.scenes.scene import View


def autocast(device: torch.device, enabled: bool) -> torch.autocast:
    """Autocast to the 16 bits that a device multiplies in; nothing where it has none, or not `enabled`."""
    half = half_precision(device) if enabled else None
    return torch.autocast(device.type, half, enabled=half is not None)


class ObjectFeatures:
    """[CLS] features of objects. Several prompts are an ensemble: the mean of their unit features, unit again.

    images: how many an object takes, of `size` pixels each; channels: of a feature. amp: see `autocast`.
    """

    def __init__(
        self, tower: ImageTower, prompts: Sequence[VisualPrompt] = (VisualPrompt(),), amp: bool = False
    ) -> None:
        if not prompts:
            raise ValueError("no visual prompt; give at least one")
        self.tower, self.prompts, self.amp = tower, tuple(prompts), amp
        self.size, self.device = tower.size, tower.device
        self.images = sum(prompt.crops for prompt in self.prompts)
        mean, std = (torch.tensor(tower.norm.get(key, (0.5,) * 3))[:, None, None] for key in ("mean", "std"))
        self._mean, self._std = mean.to(tower.device), std.to(tower.device)
        self.channels = self._forward(np.zeros((1, self.size, self.size, 3), np.uint8)).shape[1]

    def cut(self, view: View, labels: Sequence[int]) -> np.ndarray:
        """The objects as they are shown, (n,images,S,S,3) uint8. Needs no tower: threads may cut while it runs."""
        if not len(labels):
            return np.zeros((0, self.images, self.size, self.size, 3), np.uint8)
        masks = [view.mask == label for label in labels]
        shown = [np.stack([*prompt.show(view.rgb, masks, self.size)]) for prompt in self.prompts]
        return np.concatenate(shown, axis=1)

    @torch.no_grad()
    def embed(self, images: np.ndarray) -> torch.Tensor:
        """What `cut` gives, (n,images,S,S,3) -> unit features (n,C), float32, on the CPU."""
        if not len(images):
            return torch.zeros(0, self.channels)
        features = normalize(self._forward(images.reshape(-1, *images.shape[2:])), dim=-1)
        of_prompts = features.view(*images.shape[:2], -1).split([prompt.crops for prompt in self.prompts], dim=1)
        mean = torch.stack([normalize(scales.mean(1), dim=-1) for scales in of_prompts]).mean(0)
        return normalize(mean, dim=-1).cpu()

    @torch.no_grad()
    def _forward(self, images: np.ndarray) -> torch.Tensor:
        x = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float().div_(255)
        with autocast(self.device, self.amp):
            return self.tower.network(x.sub_(self._mean).div_(self._std)).float()
