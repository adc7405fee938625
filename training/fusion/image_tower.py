# SPDX-License-Identifier: Apache-2.0
"""A small ViT image tower, trained through open_clip against a frozen text tower.

The stand-in for CLIP ViT-L/14 where no model hub is in reach: same interface ([CLS] of a crop -> text space), sized for
minutes on two cores. Every training phrase is scored against every crop of a batch at each step: the sigmoid loss of
SigLIP (arXiv 2303.15343) over the whole vocabulary, with all phrases that truthfully describe an object as positives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from dropclip_ros.base.ranges import check_fields, ranged
from dropclip_ros.networks.image import ImageConfig, make_vit, to_images
from training.fusion.crops import Crops
from training.objects.words.language import Vocabulary
from training.runs.checkpoint import load_checkpoint
from training.runs.files import write_atomically
from training.runs.loop import Schedule, training_loop

NEGATIVE_SHARE = 20.0
RANKING = 0.5


@dataclass(frozen=True)
class TowerConfig:
    """Shape and schedule of the image tower."""

    image: ImageConfig = field(default_factory=ImageConfig)
    patch_dropout: float = ranged(0.5, 0, below=1)
    batch_size: int = 128
    steps: int = ranged(2600, 1)
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup: int = 100
    phrases: int = 2048  # of the vocabulary, drawn anew for each step
    masked_share: float = 0.6  # the rest are plain crops with their surroundings
    save_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)


class FrozenText(nn.Module):
    """Text side of the training: embeddings (T,P,C) of P phrases in T templates, under a linear adapter."""

    def __init__(self, text: torch.Tensor, adapt: bool) -> None:
        super().__init__()
        self.register_buffer("text", text, persistent=False)
        self.adapter = nn.Parameter(torch.eye(text.shape[-1]), requires_grad=adapt)

    def forward(self, columns: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Unit rows (n,C) of the phrases `columns`, each in a template drawn at random."""
        template = torch.randint(len(self.text), (len(columns),), generator=generator)
        return F.normalize(self.text[template, columns] @ self.adapter.T, dim=-1)


class TowerHead(nn.Module):
    """Scale and bias of the sigmoid loss."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(3.0))
        self.bias = nn.Parameter(torch.tensor(-9.0))

    def forward(self, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Logits (N,P) that phrase p describes image n."""
        return self.log_scale.exp() * F.normalize(image, dim=-1) @ text.T + self.bias


def phrase_loss(logits: torch.Tensor, true: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Sigmoid loss of N crops against P phrases: logits, true (bool) and weights of the true phrases, all (N,P).

    Families of phrases count by their weights however many phrases they have; untrue phrases, hundreds of times more,
    count by their sum over NEGATIVE_SHARE. A softmax term over the vocabulary sharpens the ranking.
    """
    positive = -(weights * F.logsigmoid(logits)).sum(1)
    negative = -(F.logsigmoid(-logits) * ~true).sum(1) / NEGATIVE_SHARE
    # A true phrase competes with the untrue ones only, not with the other true ones.
    untrue = logits.masked_fill(true, -torch.inf).logsumexp(1, keepdim=True)
    ranking = (weights * F.softplus(untrue - logits)).sum(1)
    return (positive + negative + RANKING * ranking).mean()


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shift and zoom by up to 10 %, brightness, contrast, white balance and noise; images (N,3,S,S) in [-1, 1]."""
    n = len(images)

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(*shape, generator=generator)

    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = uniform(0.88, 1.12, n)
    theta[:, :, 2] = uniform(-0.1, 0.1, n, 2)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    gain = uniform(0.8, 1.2, n, 1, 1, 1) * uniform(0.94, 1.06, n, 3, 1, 1)
    images = (images + 1) * gain - 1 + uniform(-0.1, 0.1, n, 1, 1, 1)
    images = images + 0.04 * torch.randn(images.shape, generator=generator)
    return images.clamp(-1, 1)


def ragged(masks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Masks (N,S,S) bool as a segmentation would give them: half grown or shrunk, a third with a piece off."""
    n, size, _ = masks.shape
    soft = torch.from_numpy(masks).float()[:, None]
    change, missing = rng.integers(-1, 3, n) * (rng.uniform(size=n) < 0.5), rng.uniform(size=n) < 0.33
    for pixels in (-1, 1, 2):
        chosen = torch.from_numpy(change == pixels)
        window, sign = 2 * abs(pixels) + 1, 1 if pixels > 0 else -1
        soft[chosen] = sign * F.max_pool2d(sign * soft[chosen], window, stride=1, padding=window // 2)
    found = soft[:, 0].numpy() > 0
    for k in np.flatnonzero(missing):
        (top, left), (height, width) = rng.integers(0, size, 2), rng.integers(size // 8, size // 2, 2)
        cut = found[k].copy()
        cut[top : top + height, left : left + width] = False
        if cut.sum() > 0.5 * found[k].sum():
            found[k] = cut
    return found


class CropBatches:
    """What each step trains on, drawn by the seed and the number of the step alone."""

    def __init__(self, crops: Crops, vocabulary: Vocabulary, config: TowerConfig) -> None:
        self.crops, self.config, self.vocabulary = crops, config, vocabulary
        names = sorted(set(crops.names))
        self.object_of_crop = np.searchsorted(names, crops.names)
        self.true = torch.from_numpy(np.stack([vocabulary.true[name] for name in names]))
        self.weights = torch.from_numpy(np.stack([vocabulary.weights[name] for name in names]))

    def at(self, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Images (N,3,S,S), numbers of phrases (P,), and of these which are true (N,P) bool, with their weights."""
        config, rng = self.config, np.random.default_rng([self.config.seed, step])
        pick = np.sort(rng.integers(0, len(self.crops), config.batch_size))
        pixels, masks = self.crops.pixels[pick], np.array(self.crops.masks[pick])
        masks = ragged(masks, rng)
        masks[rng.uniform(size=len(pick)) > config.masked_share] = True
        columns = torch.from_numpy(np.sort(rng.permutation(len(self.vocabulary.phrases))[: config.phrases]))
        row = self.object_of_crop[pick]
        return to_images(pixels, masks), columns, self.true[row][:, columns], self.weights[row][:, columns]


def _optimizer(tower: nn.Module, text: nn.Module, head: nn.Module, config: TowerConfig) -> tuple:
    adapter = getattr(text, "adapter", None)  # decay would pull the identity to zero
    parameters = [p for module in (tower, text) for p in module.parameters() if p.requires_grad]
    decayed = [p for p in parameters if p.ndim > 1 and p is not adapter]
    plain = [p for p in parameters if p.ndim <= 1 or p is adapter]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
        {"params": list(head.parameters()), "weight_decay": 0.0, "lr": 5 * config.lr},
    ]
    optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.98))

    def rate(step: int) -> float:
        return min(1.0, (step + 1) / config.warmup) * (
            0.02 + 0.49 * (1 + math.cos(math.pi * min(step / config.steps, 1)))
        )

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, rate)


def train_tower(
    crops: Crops,
    vocabulary: Vocabulary,
    text: nn.Module,
    config: TowerConfig,
    checkpoint: Path | None = None,
    start_from: Path | None = None,
) -> nn.Module:
    """Trains tower and text side (in place); goes on from `checkpoint` where it exists.

    start_from: the checkpoint of another run, whose weights this one begins with.
    """
    torch.manual_seed(config.seed)
    parts = nn.ModuleDict({"tower": make_vit(config.image, config.patch_dropout), "text": text, "head": TowerHead()})
    tower, head = parts["tower"], parts["head"]
    load_checkpoint(start_from, parts=parts)
    optimizer, schedule = _optimizer(tower, text, head, config)
    batches = CropBatches(crops, vocabulary, config)
    state = {"parts": parts, "optimizer": optimizer, "schedule": schedule}
    plan = Schedule(save_every=config.save_every, log_every=0)
    with training_loop("image tower", config.steps, state, checkpoint, schedule=plan) as loop:
        parts.train()
        for step in loop:
            torch.manual_seed(step)  # of dropout: a resumed run sees what an uninterrupted one would have
            generator = torch.Generator().manual_seed(step)
            images, columns, true, weights = batches.at(step)
            logits = head(tower(augment(images, generator)), text(columns, generator))
            loss = phrase_loss(logits, true, weights)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(parts.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            loop.finish(step, {"loss": loss.item()})
    return tower.eval()


@torch.no_grad()
def embed_crops(tower: nn.Module, crops: Crops, masked: bool = True, batch: int = 512) -> torch.Tensor:
    """Unit [CLS] features (N,C) of crop-masked (or plain) crops."""
    parts = []
    for a in range(0, len(crops), batch):
        masks = np.array(crops.masks[a : a + batch]) if masked else None
        parts.append(F.normalize(tower(to_images(np.array(crops.pixels[a : a + batch]), masks)), dim=-1))
    return torch.cat(parts)


def save_tower(path: Path, tower: nn.Module) -> None:
    """fp16 safetensors, written beside and renamed; `dropclip_ros.networks.image.load_vit` reads them."""
    with write_atomically(path, replace=True) as part:
        save_file({k: v.half().contiguous() for k, v in tower.state_dict().items()}, part)
