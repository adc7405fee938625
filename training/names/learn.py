# SPDX-License-Identifier: Apache-2.0
"""Learns our own names: a layer over the frozen features, beside ImageNet's.

ImageNet's scores stay as they are and compete in the softmax, except for names that mean what is shown ("coffee mug"
for a mug): a laptop is not to become a calculator because only the latter was rendered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
from torch import Tensor
from torch.nn.functional import cross_entropy

from dropclip_ros.base.reading import read_array
from dropclip_ros.networks.backbone import CLASSES, Backbone
from dropclip_ros.networks.names import NameBank
from dropclip_ros.networks.text import TextEncoder
from training.names.colours import colour_table
from training.names.uses import USES
from training.names.vocabulary import is_category, said_of

SAME = 0.5  # cosine from which a name of ImageNet's may mean one of our own


@dataclass(frozen=True)
class LearnConfig:
    """Schedule of the layer."""

    steps: int = 400
    batch: int = 512
    lr: float = 3e-3
    weight_decay: float = 1.0
    seed: int = 0


def learn(
    features: Tensor,
    names: Sequence[str],
    sources: Sequence[str],
    backbone: Backbone,
    text: TextEncoder,
    config: LearnConfig,
) -> NameBank:
    """The bank learned from features (n,1280), the own name of each, and its source."""
    torch.manual_seed(config.seed)
    known = sorted(set(names))
    target = torch.tensor(np.searchsorted(known, names))
    imagenet = text.encode(IMAGENET_CLASSNAMES, adapted=False)
    same = text.encode(known, adapted=False) @ imagenet.T > SAME
    given = backbone.logits(features).masked_fill(same[target], -torch.inf)
    weight, bias = torch.zeros(len(known), features.shape[1]), torch.zeros(len(known))
    groups = [{"params": [weight], "weight_decay": config.weight_decay}, {"params": [bias], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=config.lr)
    often = torch.bincount(target).sqrt().reciprocal()[target]  # what is seen seldom is drawn more often
    with torch.enable_grad():
        weight.requires_grad_(), bias.requires_grad_()
        for _ in range(config.steps):
            pick = torch.multinomial(often, config.batch)
            scores = torch.cat([given[pick], features[pick] @ weight.T + bias], dim=1)
            loss = cross_entropy(scores, CLASSES + target[pick])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    names_of_all = (*IMAGENET_CLASSNAMES, *known)
    said, of = say_of_all(names_of_all)
    rows = text.encode(said, adapted=False)
    words = {word for name in known if is_category(name) for word in name.split()}
    print(f"{len(features)} samples of {len(known)} names, loss {loss.item():.3f}")
    samples = dict(sorted(Counter(sources).items()))
    learned = weight.detach(), bias.detach()
    return NameBank(imagenet, rows, of, *learned, names_of_all, colour_table(), frozenset(words), samples)


def say_of_all(names: Sequence[str]) -> tuple[list[str], Tensor]:
    """All that is said of names, ImageNet's first, each phrase once, and which is said of which name, (R,2)."""
    phrases: dict[str, int] = {}
    of = []
    for k, name in enumerate(names):
        said = USES.get(name, ()) if k < CLASSES else said_of(name)
        of += [(phrases.setdefault(phrase, len(phrases)), k) for phrase in said]
    return list(phrases), torch.tensor(of)


def load_features(paths: Sequence[Path]) -> tuple[Tensor, list[str], list[str]]:
    """Features (n,1280) of the files that `training.names.features` wrote, the names and the sources."""
    parts = [read_array(path) for path in paths]
    features = torch.tensor(np.concatenate([part["features"] for part in parts]).astype(np.float32))
    names, sources = (np.concatenate([part[key] for part in parts]).tolist() for key in ("names", "sources"))
    return features, names, sources
