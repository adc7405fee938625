# SPDX-License-Identifier: Apache-2.0
"""Does a small image tower ground phrases, and against which text tower? (docs/decisions.md, the first question.)

`python -m training.evaluate.served.compare_text --scenes runs/large/scenes --steps 300`

Trains the same image tower against three text sides: all-MiniLM-L6-v2 frozen, the same with a trained linear adapter,
and a small transformer of our own (open_clip's, BPE tokens). Then, on crops of held-out scenes: is the best of the
objects in view one that the phrase fits (phrases that fit none or all are not asked), and how well does the best
similarity in view tell present phrases from absent ones (AUROC)?
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import nn

from dropclip_ros.networks.image import load_vit
from dropclip_ros.networks.text import TextConfig, TextEncoder
from training.fusion.crops import Crops, collect_crops
from training.fusion.image_tower import FrozenText, TowerConfig, embed_crops, train_tower
from training.objects.catalogue import catalogue_of, matches
from training.objects.spec import ObjectSpec
from training.objects.words.language import Embed, prompts, training_vocabulary
from training.objects.words.phrases import ABSENT_PHRASES, FAMILIES
from training.objects.words.wording import describe_object
from training.scenes.shards import load_scenes


class OwnText(nn.Module):
    """A small CLIP text transformer trained from scratch with the image tower."""

    def __init__(self, texts: list[list[str]], embed_dim: int) -> None:
        super().__init__()
        self.tokenizer = open_clip.get_tokenizer("ViT-B-32", context_length=24)
        self.tower = open_clip.transformer.TextTransformer(
            context_length=24, width=192, heads=3, layers=3, output_dim=embed_dim
        )
        self.tokens = torch.stack([self.tokenizer(column) for column in texts])

    def forward(self, columns: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        template = torch.randint(len(self.tokens), (len(columns),), generator=generator)
        return F.normalize(self.tower(self.tokens[template, columns]), dim=-1)

    @torch.no_grad()
    def embed(self, phrases: list[str]) -> torch.Tensor:
        return F.normalize(self.tower(self.tokenizer(list(phrases))), dim=-1)


def retrieval(
    features: torch.Tensor, crops: Crops, specs: dict[str, ObjectSpec], which: str, embed: Embed
) -> dict[str, float]:
    """Share of phrases whose best object in view is a right one, by family, beside chance; AUROC of absent phrases."""
    groups = defaultdict(list)
    for i, key in enumerate(zip(crops.scene.tolist(), crops.view.tolist(), strict=True)):
        groups[key].append(i)
    names = sorted(set(crops.names))
    of_crop = np.searchsorted(names, crops.names)
    row: dict[str, float] = {}
    scores: dict[str, list[float]] = {"present": [], "other": [], "absent": []}
    absent = embed(list(ABSENT_PHRASES["test"]))
    for family in FAMILIES:
        phrases = sorted({p for name in names for p in getattr(describe_object(specs[name]), which)[family]})
        true = np.array([[matches(specs[name], phrase) for phrase in phrases] for name in names])
        text = embed(phrases)
        right, chance = [], []
        for index in groups.values():
            here, similarity = true[of_crop[index]], (features[index] @ text.T).numpy()
            asked = here.any(0) & ~here.all(0)
            right += here[similarity.argmax(0), np.arange(len(phrases))][asked].tolist()
            chance += here.mean(0)[asked].tolist()
            best = similarity.max(0)
            scores["present"] += best[here.any(0)].tolist()
            scores["other"] += best[~here.any(0)][::10].tolist()
        row[family], row[f"{family} chance"] = float(np.mean(right)), float(np.mean(chance))
    for index in groups.values():
        scores["absent"] += (features[index] @ absent.T).max(0).values.tolist()
    for kind in ("absent", "other"):
        truth = [1] * len(scores["present"]) + [0] * len(scores[kind])
        row[f"AUROC {kind}"] = float(roc_auc_score(truth, scores["present"] + scores[kind]))
    return row


def report(name: str, tower: nn.Module, embed: Embed, heldout: dict[str, Crops], specs: dict[str, ObjectSpec]) -> None:
    """Prints a row for each split, for phrases that training knew and for those it never saw."""
    for split, crops in heldout.items():
        features = embed_crops(tower, crops)
        for which in ("training", "heldout"):
            row = retrieval(features, crops, specs, which, embed)
            values = "  ".join(f"{key} {value:.3f}" for key, value in row.items())
            print(f"{name:8} {split:16} {which:9} {values}", flush=True)


def main(
    scenes: Path, steps: int = 300, limit: int = 200, only: str = "", seed: int = 0, trained: Path | None = None
) -> None:
    """Prints a table row for each text side, split and kind of phrase, or those of the tower in `trained`."""
    specs = catalogue_of(scenes / "train").by_name
    heldout = {split: collect_crops(load_scenes(scenes / split)) for split in ("unseen_instance", "unseen_category")}
    if trained is not None:
        encoder = TextEncoder(TextConfig(), "cpu", adapter=trained / "text_adapter.safetensors", cache_size=20000)
        tower = load_vit(trained / "image_tower.safetensors", TowerConfig().image)
        report("trained", tower, encoder.encode, heldout, specs)
        return
    train = collect_crops(load_scenes(scenes / "train")[:limit])
    encoder = TextEncoder(TextConfig(), "cpu", cache_size=20000)
    vocabulary = training_vocabulary(list(specs.values()))
    texts = prompts(vocabulary.phrases)
    embedded = torch.stack([encoder.encode(column) for column in texts])
    sides: dict[str, Callable[[], nn.Module]] = {
        "frozen": lambda: FrozenText(embedded, adapt=False),
        "adapter": lambda: FrozenText(embedded, adapt=True),
        "own": lambda: OwnText(texts, TowerConfig().image.channels),
    }
    for name, make in sides.items():
        if only and name not in only.split(","):
            continue
        text, start = make(), time.monotonic()
        # Our own tower pays for every phrase of a step; fewer of them keep the time of a step alike.
        config = TowerConfig(steps=steps, seed=seed, phrases=384 if name == "own" else TowerConfig().phrases)
        tower = train_tower(train, vocabulary, text, config)
        print(f"{name}: {(time.monotonic() - start) / steps:.2f} s a step", flush=True)

        def adapted(phrases: list[str], side: nn.Module = text) -> torch.Tensor:
            return F.normalize(encoder.encode(phrases) @ side.adapter.detach().T, dim=-1)

        report(name, tower, text.embed if name == "own" else adapted, heldout, specs)


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
