# SPDX-License-Identifier: Apache-2.0
"""One catalogue of several, as the paper's is of ShapeNet-Sem's objects and its own (section 2)."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import tyro
from tqdm import tqdm

from training.objects.catalogue import PROCEDURAL, Catalogue, open_catalogue
from training.objects.collect import split
from training.objects.spec import ObjectSpec
from training.runs.errors import InputError
from training.runs.files import alone

FILES = ("mesh", "texture", "grasps")


@alone
def merge(
    catalogues: tyro.conf.Positional[tuple[str, ...]],
    out: Path,
    draw_splits: bool = False,
    unseen_instances: float = 0.2,
    unseen_categories: float = 0.15,
    seed: int = 0,
) -> Catalogue:
    """Writes the objects of several catalogues as one. Files are linked where OUT is on their disk, else copied; of two
    objects of one name the later one gets its catalogue's name in front.

    Args:
        catalogues: folders, or "procedural" for the objects that the project makes itself.
        out: folder of the new catalogue, empty or not there yet.
        draw_splits: by category and instance over all of them, instead of those that they have.
        unseen_instances: share of each category's objects kept from training, where splits are drawn.
        unseen_categories: share of the categories kept from training.
        seed: of the splits.
    """
    if len(catalogues) < 2:
        raise InputError(f"{len(catalogues)} catalogues: expected at least two to merge")
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty; choose another folder")
    opened = {name: open_catalogue(name) for name in catalogues}
    if len(opened) < len(catalogues):
        raise InputError(f"{', '.join(catalogues)}: one is named twice; name each once")
    specs: list[ObjectSpec] = []
    names: set[str] = set()
    for name, catalogue in opened.items():
        for spec in tqdm(catalogue.specs, name, disable=None):
            placed = _placed(spec, catalogue.root, out, _free(spec.name, name, names))
            names.add(placed.name)
            specs.append(placed)
    if draw_splits:
        specs = list(split(specs, unseen_instances, unseen_categories, seed))
    merged = Catalogue(tuple(specs), out)
    merged.save(out)
    counts = Counter(spec.split for spec in specs)
    print(
        f"{len(specs)} objects of {len({s.category for s in specs})} categories in {out}: "
        + ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    )
    return merged


def _free(name: str, catalogue: str, taken: set[str]) -> str:
    """A name that no object has yet."""
    if name not in taken:
        return name
    longer = f"{PROCEDURAL if catalogue == PROCEDURAL else Path(catalogue).resolve().name}_{name}"
    if longer in taken:
        raise InputError(f"two objects are called {longer}; rename the folder of {catalogue}")
    return longer


def _placed(spec: ObjectSpec, root: Path | None, out: Path, name: str) -> ObjectSpec:
    """The spec under that name, its files below OUT/objects/NAME."""
    places = {}
    for kind in FILES:
        if source := getattr(spec, kind):
            place = Path("objects", name, f"{kind}{Path(source).suffix}")
            _link(root / source, out / place)
            places[kind] = str(place)
    if root is not None and (hulls := root / "hulls" / f"{spec.name}.npz").exists():
        _link(hulls, out / "hulls" / f"{name}.npz")
    return replace(spec, name=name, **places)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)
