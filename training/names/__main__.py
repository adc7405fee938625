# SPDX-License-Identifier: Apache-2.0
"""Makes the names of a model folder: learns our own, weighs all evidence, and writes both.

    python -m training.names --features OUT/*.npz --frames ../named --more MORE --scenes SCENES ...

--features: of `training.names.features`; --frames: the named real frames (../shared/named/rebuild.py); --more:
those of `training.names.more`; --scenes: rendered ones of the procedural catalogue. Seeded: the same files give the
same weights.
"""

from __future__ import annotations

from pathlib import Path

import torch
import tyro

from dropclip_ros import Grounder
from dropclip_ros.grounding.pipeline import MODEL_FOLDER
from dropclip_ros.networks.backbone import Backbone
from dropclip_ros.networks.model_folder import save_names
from dropclip_ros.networks.names import WORDINGS, NamesConfig, Say
from dropclip_ros.networks.text import TextEncoder
from training.names.learn import LearnConfig, learn, load_features
from training.names.sources import provenance
from training.names.weigh import real_rows, rendered_rows, weigh


def main(
    features: tuple[Path, ...],
    frames: Path,
    more: Path,
    scenes: tuple[Path, ...],
    model: Path = MODEL_FOLDER,
    learning: LearnConfig = LearnConfig(),
    seed: int = 0,
    keep: Path | None = None,
) -> None:
    """model: the folder that gets them. keep: a file for the evidence that was gathered."""
    torch.set_num_threads(1)
    samples, names, sources = load_features(features)
    bank = learn(samples, names, sources, Backbone(), TextEncoder(), learning)
    start = NamesConfig(dict.fromkeys(WORDINGS, Say(1.0, 1.0, 1.0, 1.0, 0.0)))
    save_names(model, start, bank)
    grounder = Grounder.from_pretrained(model, labels=True)
    rows = [*real_rows(grounder, frames), *real_rows(grounder, more, "more")]
    for folder in scenes:
        rows += rendered_rows(grounder, folder, seed)
    if keep:
        torch.save([vars(row) for row in rows], keep)
    config = weigh(rows, start)
    save_names(model, config, bank)
    print(config)
    print(provenance(bank.samples))


if __name__ == "__main__":
    tyro.cli(main)
