# SPDX-License-Identifier: Apache-2.0
"""6-DoF grasps of every object of a scene (A.1.1): of ACRONYM's files or our own trials, moved with the objects' poses,
and freed of those that hit the table or another object."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import trimesh
from tqdm import tqdm

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.grasping.grasps import Grasps, height_above, thin_cloud
from dropclip_ros.grasping.grippers import GRIPPERS, Gripper
from training.objects.catalogue import PROCEDURAL, Catalogue, open_catalogue
from training.objects.spec import ObjectModel, ObjectSpec
from training.runs.errors import InputError
from training.runs.files import write_atomically
from training.runs.jobs import die_with
from training.runs.reading import read_h5
from training.scenes.description import PlacedObject
from training.scenes.grasps.acronym import read_grasps, scaled, write_grasps
from training.scenes.grasps.grasp_trials import (
    TrialConfig,
    Trials,
    colliding_in_turns,
    fingerprint,
    sample_grasps,
    try_grasps,
)
from training.scenes.scene import Folder, Scene
from training.scenes.shards import load_scenes

GRASPS_FILE = "grasps.h5"
SPACING = 0.004  # m, between points of the surfaces that grippers must not touch
TABLE_CLEARANCE = 0.002  # m
BESIDE = 0.35  # m; objects farther apart than a gripper reaches do not matter


def grasps(
    scenes: Path,
    catalogue: str = PROCEDURAL,
    gripper: str = "robotiq_2f_140",
    per_object: int = 50,
    cache: Path = Path("runs/grasps"),
    workers: int = os.cpu_count() or 1,
    in_place: bool = False,
    trial: TrialConfig = TrialConfig(),  # noqa: B008 (frozen)
) -> None:
    """Adds grasps.h5 to every scene that has none: grasps in the world's frame, and which of them collide.

    Args:
        scenes: folder of scene folders.
        catalogue: of their objects: "procedural", or a folder with catalogue.json.
        gripper: robotiq_2f_140, robotiq_2f_85 or franka_hand.
        per_object: at most so many, those that collide included.
        cache: folder of the grasps of each object, as ACRONYM files; those there are not tried again.
        workers: processes.
        in_place: candidates come from above, at each object as it lies, and only those that collide with nothing are
            tried: many more for flat things, none that collide; no cache, no ACRONYM files.
        trial: how candidates are sampled and tried.
    """
    if gripper not in GRIPPERS:
        raise InputError(f"gripper {gripper!r}: expected one of {', '.join(GRIPPERS)}")
    if per_object < 1 or workers < 1:
        raise InputError(f"per_object {per_object}, workers {workers}: expected at least 1")
    todo = _without_grasps(scenes, gripper)
    specs = _specs_in(todo, catalogue)
    files, broken = ({}, {}) if in_place else _tried(specs, catalogue, gripper, cache, workers, trial)
    counts = np.zeros(3, int)
    for scene in tqdm(todo, desc="scenes", unit="scene"):
        if in_place:
            found = grasps_in_place(scene, open_catalogue(catalogue), GRIPPERS[gripper], per_object, trial)
            collides = np.zeros(len(found), bool)
        else:
            found, collides = place(scene, files, open_catalogue(catalogue), GRIPPERS[gripper], per_object)
        _write(_file(scene), found, collides, gripper)
        counts += len(scene.objects), len(found), int((~collides).sum())
    print(f"{len(todo)} scenes, {counts[0]} objects: {counts[1]} grasps, {counts[2]} of them free of collisions")
    for name, reason in broken.items():
        print(f"without grasps: {name}: {reason}")


def _without_grasps(folder: Path, gripper: str) -> list[Scene]:
    """The folder's scenes that have no grasps.h5. InputError where the others' are of another gripper."""
    found = [scene for scene in load_scenes(folder) if isinstance(scene.source, Folder)]
    todo = [scene for scene in found if not _file(scene).exists()]
    if len(todo) < len(found):
        done = next(scene for scene in found if scene not in todo)
        if (other := load_grasps(done)[2]) != gripper:
            raise InputError(f"{_file(done)} holds grasps of {other}; remove such files, or ask for that gripper")
    if old := [scene.name for scene in todo if scene.description is None]:
        raise InputError(f"{folder}: {old[0]} has no description of its objects; generate it anew")
    return todo


def _specs_in(scenes: Sequence[Scene], catalogue: str) -> list[ObjectSpec]:
    """Of the objects of these scenes, by name. InputError where the catalogue lacks one."""
    specs = {spec.name: spec for spec in open_catalogue(catalogue).specs}
    names = sorted({one.name for scene in scenes for one in scene.description.objects})
    if missing := set(names) - specs.keys():
        raise InputError(f"{', '.join(sorted(missing)[:3])}: not in catalogue {catalogue}; name the scenes' own")
    return [specs[name] for name in names]


def _tried(
    specs: Sequence[ObjectSpec], catalogue: str, gripper: str, cache: Path, workers: int, trial: TrialConfig
) -> tuple[dict[str, Path], dict[str, InputError]]:
    """The files of the objects' grasps by name, tried on many processes; and why some have none."""
    files, broken = {}, {}
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), die_with, (os.getpid(),)) as pool:
        tries = {pool.submit(object_grasps, catalogue, spec, gripper, cache, trial): spec.name for spec in specs}
        for done in tqdm(as_completed(tries), total=len(tries), desc="objects tried", unit="object"):
            try:
                files[tries[done]] = done.result()
            except InputError as error:
                broken[tries[done]] = error
    return files, broken


def object_grasps(name: str, spec: ObjectSpec, gripper: str, cache: Path, trial: TrialConfig) -> Path:
    """The file of an object's grasps: the catalogue's own, or one in the cache, made where it is not there.

    Raises InputError where the file is broken or the object cannot be grasped.
    """
    catalogue = open_catalogue(name)
    if spec.grasps is not None:
        path = catalogue.root / spec.grasps
        read_grasps(path, spec.scale)
        return path
    model = catalogue.build(spec)
    path = cache / f"{spec.name}-{gripper}-{fingerprint(model, GRIPPERS[gripper], trial)}.h5"
    if not path.exists():
        write_grasps(path, try_grasps(model, GRIPPERS[gripper], trial), spec.mesh or spec.name, model.mass)
    return path


def place(
    scene: Scene, files: Mapping[str, Path], catalogue: Catalogue, gripper: Gripper, per_object: int
) -> tuple[Grasps, np.ndarray]:
    """Grasps of a scene's objects in the world's frame, object_id being the label, and which collide (N,) bool.

    files: of the objects that have grasps, by name. Grasps that held in their trial, opened at most as wide as the
    gripper goes: those free of collisions first, then others, of each kind spread evenly over those of the object.
    """
    description = scene.description
    return place_on(description.objects, description.table.height, files, catalogue, gripper, per_object)


def place_on(
    placed: Sequence[PlacedObject],
    height: float,
    files: Mapping[str, Path],
    catalogue: Catalogue,
    gripper: Gripper,
    per_object: int,
) -> tuple[Grasps, np.ndarray]:
    """The same for objects that stand on a table whose top is at a height, m."""
    specs = {spec.name: spec for spec in catalogue.specs}
    models = {one.name: catalogue.build(specs[one.name]) for one in placed}
    surfaces = {one.label: surface_points(one, models[one.name]) for one in placed}
    table = np.array([0.0, 0, 1, -height])
    rows, collides = [np.zeros((0, 17))], [np.zeros(0, bool)]
    for one in (one for one in placed if one.name in files):
        spec = specs[one.name]
        own = read_grasps(files[one.name], spec.scale if spec.grasps is not None else None)
        own = own[own.score > 0.5]
        if spec.grasps is not None:
            own = own.transformed(models[one.name].model_from_file)
        own = scaled(own, one.scale)
        # A Panda's grasps of ACRONYM are open all the way: in a larger size too. What no longer fits between collides.
        width = np.minimum(own.width, gripper.max_width)
        own = replace(own, width=width, object_id=np.full(len(own), one.label)).transformed(one.pose)
        hits = height_above(own, table, gripper) < TABLE_CLEARANCE
        hits[~hits] = colliding_in_turns(own[~hits], _around(one.label, surfaces), gripper)
        free = _spread(np.flatnonzero(~hits), per_object)
        chosen = np.append(free, _spread(np.flatnonzero(hits), per_object - len(free)))
        rows.append(own[chosen].rows())
        collides.append(hits[chosen])
    return Grasps.from_rows(np.concatenate(rows)), np.concatenate(collides)


def grasps_in_place(
    scene: Scene, catalogue: Catalogue, gripper: Gripper, per_object: int, trial: TrialConfig
) -> Grasps:
    """Grasps of a scene's objects as they lie, in the world's frame, that hold and collide with nothing.

    At most `per_object` of each, whose label is their object_id; those that `trial` says do not hold are left out.
    """
    description = scene.description
    return held_in_place(description.objects, description.table.height, catalogue, gripper, per_object, trial)


def held_in_place(
    placed: Sequence[PlacedObject],
    height: float,
    catalogue: Catalogue,
    gripper: Gripper,
    per_object: int,
    trial: TrialConfig,
    wanted: Collection[str] | None = None,
) -> Grasps:
    """The same of objects on a table whose top is at a height, m; of those with `wanted` names, None: of all."""
    specs = {spec.name: spec for spec in catalogue.specs}
    models = {one.label: catalogue.build(specs[one.name]) for one in placed}
    surfaces = {one.label: surface_points(one, models[one.label]) for one in placed}
    rows = [np.zeros((0, 17))]
    for one in (one for one in placed if wanted is None or one.name in wanted):
        model = resized(models[one.label], one.scale)
        up = one.pose[2, :3]
        table = np.append(up, one.pose[2, 3] - height)
        own = sample_grasps(model, gripper, trial, table)
        around = _around(one.label, surfaces)
        own = own[~colliding_in_turns(own.transformed(one.pose), around, gripper)][:per_object]
        if trial.physical and len(own):
            own = own[Trials(model, gripper, trial).hold(own)]
        own = replace(own, score=np.ones(len(own)), object_id=np.full(len(own), one.label))
        rows.append(own.transformed(one.pose).rows())
    return Grasps.from_rows(np.concatenate(rows))


def resized(model: ObjectModel, scale: float) -> ObjectModel:
    """The model in another size, of the same density."""
    parts = [scale * part for part in model.hull_parts]
    return replace(model, vertices=scale * model.vertices, hull_parts=parts, mass=scale**3 * model.mass)


def _around(label: int, surfaces: Mapping[int, np.ndarray]) -> np.ndarray:
    """Points (K,3), SPACING apart, of the object and of those so near that a gripper at it may hit them."""
    near = [surface for surface in surfaces.values() if _distance(surface, surfaces[label]) < BESIDE]
    points = np.concatenate(near).astype(np.float32)
    return points[thin_cloud(points, SPACING)]


def _spread(indices: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the indices, evenly."""
    if len(indices) <= count:
        return indices
    return indices[np.linspace(0, len(indices) - 1, count).astype(int)] if count else indices[:0]


def surface_points(one: PlacedObject, model: ObjectModel) -> np.ndarray:
    """Points (N,3) m on the object, in the world, closer than SPACING to each other for the most part."""
    mesh = trimesh.Trimesh(one.scale * model.vertices, model.faces, process=False)
    points = trimesh.sample.sample_surface(mesh, int(4 * mesh.area / SPACING**2) + 1, seed=0)[0]
    return points @ one.pose[:3, :3].T + one.pose[:3, 3]


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """Between the boxes of two clouds."""
    apart = np.maximum(a.min(0) - b.max(0), b.min(0) - a.max(0))
    return float(np.linalg.norm(np.maximum(apart, 0)))


def _file(scene: Scene) -> Path:
    return scene.source.path / scene.name / GRASPS_FILE


def _write(path: Path, found: Grasps, collides: np.ndarray, gripper: str) -> None:
    with write_atomically(path) as part, h5py.File(part, "w") as file:
        file["grasps"] = found.rows()
        file["grasps"].attrs["columns"] = "GraspNet's 17, in the world frame, m; object id: the label in the masks"
        file["collides"] = collides
        file.attrs["gripper"] = gripper


def load_grasps(scene: Scene) -> tuple[Grasps, np.ndarray, str]:
    """What `grasps` wrote for a scene: grasps in the world's frame, which collide (N,) bool, and the gripper's name.

    Raises InputError where there are none.
    """
    try:
        found, about = read_h5(scene.source.read(f"{scene.name}/{GRASPS_FILE}"), GRASPS_FILE)
        return Grasps.from_rows(found["grasps"].astype(float)), found["collides"].astype(bool), str(about["gripper"])
    except (OSError, KeyError, TypeError, ValueError, DropclipError) as error:
        raise InputError(
            f"{scene.source}: {scene.name}/{GRASPS_FILE} cannot be read ({error}); run `dropclip-mvtod grasps`"
        ) from error
