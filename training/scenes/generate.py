# SPDX-License-Identifier: Apache-2.0
"""Generates scenes (MV-TOD, section 2 and A.1) with many workers, on one machine or on a Ray cluster.

A scene folder (see `training.scenes.scene`) is written beside and renamed when whole, so that a killed run resumes
without half scenes. Scene `i` depends on the recipe and `i` alone: the same bytes on one machine and renderer, whatever
the number of workers.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from training.objects.catalogue import PROCEDURAL, Catalogue, open_catalogue
from training.objects.spec import SPLITS, ObjectModel, ObjectSpec
from training.runs.errors import InputError
from training.runs.jobs import explain_disk_errors, locked_folder, run_on_processes, run_on_ray
from training.scenes.clutter import make_scene
from training.scenes.description import SceneConfig, SceneDescription
from training.scenes.queries import scene_queries
from training.scenes.scene import SCENE_FILE, write_view
from training.scenes.visibility import Visibility

RENDERERS = ("mujoco", "blender", "none")


@dataclass(frozen=True)
class GenerateRecipe:
    """What a set of scenes is made of; a folder holds scenes of one recipe.

    catalogue: "procedural", or a folder with catalogue.json; renderer: one of RENDERERS, none leaves scenes without
    views, to be counted.
    """

    split: str = "train"
    seed: int = 0
    catalogue: str = PROCEDURAL
    renderer: str = "mujoco"
    config: SceneConfig = field(default_factory=SceneConfig)

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise InputError(f"split {self.split!r}: expected one of {', '.join(SPLITS)}")
        if self.renderer not in RENDERERS:
            raise InputError(f"renderer {self.renderer!r}: expected one of {', '.join(RENDERERS)}")


@dataclass
class Outcome:
    """What became of a scene: objects dropped by reason, objects that could not be built, seconds by stage."""

    folder: Path
    dropped: dict[str, int]
    broken: dict[str, str]
    seconds: dict[str, float]


def generate_scene(folder: Path, recipe: GenerateRecipe, index: int) -> Outcome:
    """Writes scene `index` of a recipe as `folder`, whole or not at all. Raises InputError, or OSError of the disk."""
    if folder.exists():  # Ray does again what was done on a machine that it lost
        return Outcome(folder, {}, {}, {})
    seconds: dict[str, float] = {}
    with _timed(seconds, "build"):
        rng = np.random.default_rng([recipe.seed, SPLITS.index(recipe.split), index])
        catalogue = open_catalogue(recipe.catalogue)
        specs = draw_objects(catalogue.of_split(recipe.split), recipe.config, rng)
        models, broken = _build(catalogue, specs)
    with _timed(seconds, "settle"):
        description, dropped = make_scene(list(models.values()), recipe.config, rng)
    by_name = {spec.name: spec for spec in specs}
    coco = _tables(description, by_name, models)
    coco["info"] = {
        "format": "dropclip-mvtod 2",
        "split": recipe.split,
        "index": index,
        "seed": recipe.seed,
        "renderer": recipe.renderer,
        "clutter": description.clutter,
        "dropped": dropped,
    }
    coco["description"] = description.to_json()
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        if recipe.renderer != "none":
            _write_views(part, description, models, recipe.renderer, coco, seconds)
        (part / SCENE_FILE).write_text(json.dumps(coco))
        part.rename(folder)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return Outcome(folder, dropped, broken, seconds)


def draw_objects(specs: tuple[ObjectSpec, ...], config: SceneConfig, rng: np.random.Generator) -> list[ObjectSpec]:
    count = min(int(rng.integers(config.min_objects, config.max_objects + 1)), len(specs))
    return [specs[i] for i in rng.choice(len(specs), count, replace=False)]


def _build(catalogue: Catalogue, specs: list[ObjectSpec]) -> tuple[dict[str, ObjectModel], dict[str, str]]:
    """Models by name, and why some could not be built."""
    models, broken = {}, {}
    for spec in specs:
        try:
            models[spec.name] = catalogue.build(spec)
        except InputError as error:
            broken[spec.name] = str(error)
    if not models:
        raise InputError(f"none of {len(specs)} objects could be built: {next(iter(broken.values()))}")
    return models, broken


def _tables(
    description: SceneDescription, specs: Mapping[str, ObjectSpec], models: Mapping[str, ObjectModel]
) -> dict[str, object]:
    """The COCO tables of a scene without views, its objects with their phrases, and its queries."""
    spec_of = {placed.label: specs[placed.name] for placed in description.objects}
    objects = [
        {
            "id": placed.label,
            "name": placed.name,
            "category": spec_of[placed.label].category,
            "split": spec_of[placed.label].split,
            "attributes": spec_of[placed.label].attributes,
            "phrases": models[placed.name].phrases,
            "scale": placed.scale,
            "world_from_mesh": placed.world_from_mesh,
        }
        for placed in description.objects
    ]
    categories = [{"id": o["id"], "name": o["name"], "supercategory": o["category"]} for o in objects]
    return {
        "images": [],
        "annotations": [],
        "categories": categories,
        "objects": objects,
        "queries": scene_queries(spec_of),
    }


def _write_views(
    part: Path,
    description: SceneDescription,
    models: Mapping[str, ObjectModel],
    renderer: str,
    coco: dict,
    seconds: dict[str, float],
) -> None:
    if renderer == "blender":
        from training.scenes.render_blender import render
    else:
        from training.scenes.render_mujoco import render
    visibility, views, start = Visibility(description, models), render(description, models), time.perf_counter()
    seconds |= {"render": 0.0, "visibility": 0.0, "write": 0.0}
    for v, view in enumerate(views):
        rendered = time.perf_counter()
        fractions = visibility.of(view)
        seen = time.perf_counter()
        write_view(part, v, view, coco, fractions)
        written = time.perf_counter()
        for stage, spent in (("render", rendered - start), ("visibility", seen - rendered), ("write", written - seen)):
            seconds[stage] += spent
        start = written


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start


def generate(
    out: Path,
    scenes: int = 600,
    split: str = "train",
    seed: int = 0,
    catalogue: str = PROCEDURAL,
    renderer: str = "mujoco",
    workers: int = os.cpu_count() or 1,
    ray: str | None = None,
    config: SceneConfig = SceneConfig(),  # noqa: B008 (frozen)
) -> None:
    """Generates scenes of clutter. Those already in OUT are kept: the same command goes on where it was stopped.

    Args:
        out: folder of the scenes.
        scenes: how many, those included that are there already.
        split: of the objects: train, unseen_instance or unseen_category.
        seed: of the scenes.
        catalogue: "procedural", or a folder with catalogue.json.
        renderer: mujoco, blender, or none: scenes without views, to be counted by `stats`.
        workers: processes on this machine.
        ray: address of a Ray cluster, or "local"; OUT must then be a folder that all its machines share.
        config: ranges that scenes are drawn from.
    """
    recipe = GenerateRecipe(split, seed, catalogue, renderer, config)
    open_catalogue(catalogue).of_split(split)
    if workers < 1 or scenes < 1:
        raise InputError(f"scenes {scenes}, workers {workers}: expected at least 1")
    with locked_folder(out, recipe, "scenes"), explain_disk_errors(out, lambda: f"{_whole(out)} of {scenes} scenes"):
        jobs = [(out / f"scene_{i:05d}", recipe, i) for i in range(scenes)]
        jobs = [job for job in jobs if not job[0].exists()]
        if ray:
            run = run_on_ray(ray, _generate, jobs, lambda outcome: [outcome.folder])
        elif workers == 1:  # a process of its own would load everything once more
            run = map(_generate, jobs)
        else:
            run = run_on_processes(workers, _generate, jobs)
        dropped, broken, seconds, done = Counter(), {}, Counter(), 0
        for outcome in tqdm(run, total=len(jobs), desc=f"scenes {split}", unit="scene"):
            dropped.update(outcome.dropped)
            broken |= outcome.broken
            seconds.update(outcome.seconds)
            done += 1
    print(f"{scenes} scenes in {out}, {done} of them new; objects dropped in those: {dict(dropped) or 'none'}")
    if done:
        print("seconds a scene: " + ", ".join(f"{stage} {spent / done:.2f}" for stage, spent in seconds.items()))
    for name, reason in broken.items():
        print(f"left out: {name}: {reason}")


def _whole(out: Path) -> int:
    return len(list(out.glob(f"scene_?????/{SCENE_FILE}")))


def _generate(job: tuple[Path, GenerateRecipe, int]) -> Outcome:
    return generate_scene(*job)
