# SPDX-License-Identifier: Apache-2.0
"""Makes a catalogue of a folder of meshes: YCB, Google Scanned Objects, ShapeNet-Sem, or anybody's own."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from training.objects.catalogue import Catalogue
from training.objects.layouts import LAYOUTS, Entry, detect, plain
from training.objects.meshes import LARGEST, SMALLEST, build_mesh, read_mesh, write_mesh
from training.objects.spec import TRAIN, UNSEEN_CATEGORY, UNSEEN_INSTANCE, ObjectSpec
from training.runs.errors import InputError
from training.runs.files import alone


@alone
def collect(  # long: a command, whose options each have a line of help
    source: Path,
    out: Path,
    layout: str = "auto",
    prefix: str = "",
    unit: float | None = None,
    grasps: Path | None = None,
    unseen_instances: float = 0.2,
    unseen_categories: float = 0.15,
    seed: int = 0,
    workers: int = 1,
    strict: bool = False,
    only: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
    least: float = SMALLEST,
    most: float = LARGEST,
) -> Catalogue:
    """Copies every whole object of `source` into the catalogue `out`, with collision shapes and a split.

    What cannot be used is named and left out, or ends it all where `strict`. A second run after a kill goes on:
    collision shapes that are there stay.

    Args:
        source: the folder of the data set.
        out: the catalogue's folder.
        layout: ycb, gso, shapenet, table (objects.csv), folder, or auto.
        prefix: of the names of the objects that are taken: a part of the folder that has a licence of its own.
        unit: metres per unit of the meshes, where the data set does not say so itself.
        grasps: a folder of ACRONYM files (CATEGORY_ID_SCALE.h5); their scale becomes the object's.
        unseen_instances: share of each category's objects kept from training.
        unseen_categories: share of the categories kept from training.
        seed: of the splits.
        workers: processes.
        strict: end at the first object that cannot be used.
        only: categories to take, all by default; * stands for anything, as in "*cup".
        without: categories to leave out, as ShapeNet-Sem's furniture: "*table" "*chair" "*lamp" ...
        least: m; an object whose longest side is shorter is left out.
        most: m; and one whose longest side is longer.
    """
    source, out = Path(source), Path(out)
    layout = detect(source) if layout == "auto" else layout
    if layout not in LAYOUTS:
        raise InputError(f"layout {layout}: expected auto, {', '.join(LAYOUTS)}")
    if unit is not None and not unit > 0:
        raise InputError(f"unit {unit}: expected metres per unit, above 0")
    if not 0 < least <= most:
        raise InputError(f"least {least}, most {most}: expected lengths in m above 0, the smaller first")
    found = list(LAYOUTS[layout](source))
    problems = [one for one in found if isinstance(one, str)]
    entries = [one for one in found if not isinstance(one, str) and one.name.startswith(prefix)]
    if strict and problems:
        raise InputError(problems[0])
    entries, other = _of_categories(entries, only, without)
    by_key = _grasp_files(grasps)
    if unit is not None:
        entries = [replace(entry, scale=unit, longest=None) for entry in entries]
    job = partial(_collect_one, out=out, grasps=by_key, sides=(least, most))
    with multiprocessing.get_context("spawn").Pool(workers) if workers > 1 else _Here() as pool:
        results = list(tqdm(pool.imap(job, entries), total=len(entries), desc=f"objects ({layout})", disable=None))
    problems += [result for result in results if isinstance(result, str)]
    specs = [result for result in results if isinstance(result, ObjectSpec)]
    if strict and problems:
        raise InputError(problems[0])
    for problem in problems:
        print(f"left out: {problem}")
    size = sum(result is None for result in results)
    if not specs:
        left = f"{len(problems)} left out, {size} of another size"
        raise InputError(f"{source}: no usable object in layout {layout} ({left}); see above")
    catalogue = Catalogue(split(specs, unseen_instances, unseen_categories, seed), out)
    catalogue.save(out)
    print(f"{len(specs)} objects of {len({s.category for s in specs})} categories in {out}; {len(problems)} left out")
    if other or size:
        print(f"not asked for: {other} by category, {size} by size")
    return catalogue


class _Here:
    """A pool of no processes."""

    imap = staticmethod(map)

    def __enter__(self) -> _Here:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _of_categories(entries: Sequence[Entry], only: Sequence[str], without: Sequence[str]) -> tuple[list[Entry], int]:
    """Those of the wanted categories, and how many are of others. InputError where none is left."""

    def fits(entry: Entry, patterns: Sequence[str]) -> bool:
        return any(fnmatchcase(entry.category, plain(pattern)) for pattern in patterns)

    kept = [entry for entry in entries if (not only or fits(entry, only)) and not fits(entry, without)]
    if entries and not kept:
        known = ", ".join(sorted({entry.category for entry in entries})[:20])
        raise InputError(f"no object is of the wanted categories; there are {known}")
    return kept, len(entries) - len(kept)


def _collect_one(
    entry: Entry, out: Path, grasps: dict[str, tuple[Path, float]], sides: tuple[float, float]
) -> ObjectSpec | str | None:
    """Copies an object, or says why not; None where its longest side is not within `sides`, m. Its folder is whole once
    it has its name: mesh, texture, grasps."""
    folder = out / "objects" / entry.name
    beside = folder.with_name(f".{entry.name}.part")
    try:
        mesh = read_mesh(entry.mesh, entry.texture)
        grasp_file, scale = grasps.get(entry.key, (None, entry.scale))
        longest = max(float(np.ptp(mesh.vertices, axis=0).max()), 1e-12)
        if scale is None:
            scale = entry.longest / longest
        if sides != (SMALLEST, LARGEST) and not sides[0] <= scale * longest <= sides[1]:
            return None
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        write_mesh(beside, mesh)
        if grasp_file is not None:
            shutil.copyfile(grasp_file, beside / "grasps.h5")
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)
        place = f"objects/{entry.name}"
        spec = ObjectSpec(
            entry.name,
            entry.category,
            TRAIN,
            entry.attributes,
            mesh=f"{place}/mesh.npz",
            texture=f"{place}/texture.png",
            scale=scale,
            up=entry.up,
            mass=entry.mass,
            grasps=None if grasp_file is None else f"{place}/grasps.h5",
        )
        try:
            build_mesh(spec, out)
        except InputError as error:
            shutil.rmtree(folder)
            return str(error).replace(str(folder / "mesh.npz"), str(entry.mesh))
        return spec
    except InputError as error:
        return str(error)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); choose another place") from error


def _grasp_files(folder: Path | None) -> dict[str, tuple[Path, float]]:
    """ACRONYM files by object: CATEGORY_ID_SCALE.h5; of several scales of an object the first."""
    found: dict[str, tuple[Path, float]] = {}
    if folder is None:
        return found
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the one that holds ACRONYM's .h5 files")
    for path in sorted(folder.glob("*.h5")):
        _, _, rest = path.stem.partition("_")
        key, _, scale = rest.rpartition("_")
        try:
            found.setdefault(key, (path, float(scale)))
        except ValueError as error:
            raise InputError(f"{path}: expected a name like Mug_10f6e09036350e92b3f21f1137c3c347_0.0123.h5") from error
    return found


def split(
    specs: Sequence[ObjectSpec], unseen_instances: float, unseen_categories: float, seed: int
) -> tuple[ObjectSpec, ...]:
    """The specs with splits by category and by instance; the same for the same names. A category of one object, and
    one object at least of every other one, stays in training."""
    for name, share in (("unseen_instances", unseen_instances), ("unseen_categories", unseen_categories)):
        if not 0 <= share < 1:
            raise InputError(f"{name} {share}: expected a share from 0 to below 1")
    rng = np.random.default_rng(seed)
    categories = sorted({spec.category for spec in specs})
    unseen = set(rng.permutation(categories)[: round(unseen_categories * len(categories))].tolist())
    splits = {}
    for category in categories:
        names = rng.permutation(sorted(spec.name for spec in specs if spec.category == category)).tolist()
        apart = min(round(unseen_instances * len(names)), len(names) - 1)
        for k, name in enumerate(names):
            splits[name] = UNSEEN_CATEGORY if category in unseen else UNSEEN_INSTANCE if k < apart else TRAIN
    return tuple(replace(spec, split=splits[spec.name]) for spec in specs)
