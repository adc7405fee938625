# SPDX-License-Identifier: Apache-2.0
"""What a wrist camera sees on its way around a table: views of one settled scene along an arm's path.

An arm that stands on one side reaches less than a full turn: the path sweeps 200 degrees around the table, goes up and
down, and comes nearer and farther. Scenes are written as `training.scenes.generate` writes them.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from training.objects.catalogue import PROCEDURAL, open_catalogue
from training.objects.spec import SPLITS, ObjectModel
from training.scenes.clutter import look_at, make_scene
from training.scenes.description import Camera, SceneConfig, SceneDescription, rows
from training.scenes.generate import _build, _tables, draw_objects
from training.scenes.scene import SCENE_FILE, write_view

SWEEP = np.radians(200)  # of azimuth
ELEVATION, SWING = 0.85, 0.35  # rad: middle and how far up and down
RADIUS = (0.5, 0.75)  # m


def arm_cameras(views: int, rng: np.random.Generator, config: SceneConfig) -> tuple[Camera, ...]:
    """Cameras along one path, evenly spaced, that look at about the middle of the table."""
    focal, start = float(rng.uniform(*config.focal)) * config.width / 640, rng.uniform(0, 2 * np.pi)
    turns, phase, away = rng.uniform(1, 2), rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi)
    middle, reach = np.mean(RADIUS), np.ptp(RADIUS) / 2
    cameras = []
    for at in np.linspace(0, 1, views):
        target = (*rng.uniform(-0.04, 0.04, 2), 0.03)
        elevation = ELEVATION + SWING * np.sin(phase + 2 * np.pi * turns * at)
        distance = middle + reach * np.sin(away + 3 * np.pi * at)
        pose = look_at(target, distance, start + SWEEP * at, elevation)
        cameras.append(Camera(config.width, config.height, focal, rows(pose)))
    return tuple(cameras)


def draw_scene(
    index: int, split: str, seed: int, config: SceneConfig
) -> tuple[SceneDescription, dict[str, ObjectModel], np.random.Generator]:
    """Scene `index` of a split at rest, its models by name, and what else is drawn from."""
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    catalogue = open_catalogue(PROCEDURAL)
    specs = draw_objects(catalogue.of_split(split), config, rng)
    models, _ = _build(catalogue, specs)
    return make_scene(list(models.values()), config, rng)[0], models, rng


def write_path(folder: Path, index: int, split: str = "unseen_instance", views: int = 16, seed: int = 25) -> None:
    """Writes scene `index`, seen along an arm's path, as `folder`, whole or not at all; there already, it is kept."""
    from training.scenes.render_mujoco import render

    if folder.exists():
        return
    config = SceneConfig()
    description, models, rng = draw_scene(index, split, seed, config)
    description = replace(description, cameras=arm_cameras(views, rng, config))
    by_name = {spec.name: spec for spec in open_catalogue(PROCEDURAL).of_split(split)}
    coco = _tables(description, by_name, models)
    coco["info"] = {"format": "dropclip-mvtod 2", "split": split, "index": index, "seed": seed, "path": "arm"}
    coco["description"] = description.to_json()
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for v, view in enumerate(render(description, models)):
        write_view(part, v, view, coco)
    (part / SCENE_FILE).write_text(json.dumps(coco))
    part.rename(folder)
