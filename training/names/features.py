# SPDX-License-Identifier: Apache-2.0
"""Frozen features of all samples, computed once and kept on disk: training on them takes seconds.

python -m training.names.features --out OUT --meshes SCENES --procedural SCENES --groceries CHECKOUT
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import tyro
from tqdm import tqdm

from dropclip_ros.networks.backbone import Backbone
from dropclip_ros.networks.model_folder import half_precision
from training.names.samples import Sample, groceries, photo_backgrounds, rendered
from training.names.sources import SCANS
from training.objects.catalogue import PROCEDURAL
from training.runs.files import write_atomically


def extract(samples: Iterable[Sample], backbone: Backbone, path: Path, batch: int = 64) -> None:
    """Writes features (N,1280) fp16, own names (N,) and sources (N,), beside and renamed; what is there stays."""
    if path.exists():
        print(f"{path} is there")
        return
    features, names, sources, samples = [], [], [], iter(samples)
    with tqdm(desc=path.stem, mininterval=10) as bar:
        while some := list(islice(samples, batch)):
            features.append(backbone.features(np.stack([sample.pixels for sample in some])).half().numpy())
            names += [sample.name for sample in some]
            sources += [sample.source for sample in some]
            bar.update(len(some))
    with write_atomically(path) as part:
        np.savez(part, features=np.concatenate(features), names=np.array(names), sources=np.array(sources))


def main(
    out: Path,
    groceries_folder: Path,
    catalogue: Path,
    meshes: tuple[Path, ...],
    procedural: tuple[Path, ...],
    seed: int = 0,
) -> None:
    """groceries_folder: a checkout of GroceryStoreDataset (MIT). meshes, procedural: folders of scenes (dropclip-mvtod
    generate), the former of the objects in `catalogue`."""
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    backbone = Backbone(dtype=half_precision(torch.device("cpu")))
    behind = photo_backgrounds(groceries_folder, 200, seed)
    kinds = [(source, meshes, str(catalogue), prefix) for source, prefix in SCANS.items()]
    for source, folders, of, prefix in (*kinds, ("procedural", procedural, PROCEDURAL, "")):
        for k, folder in enumerate(folders):
            extract(rendered(folder, of, source, seed + k, behind, prefix), backbone, out / f"{source}_{k}.npz")
    extract(groceries(groceries_folder, seed), backbone, out / "groceries.npz")


if __name__ == "__main__":
    tyro.cli(main)
