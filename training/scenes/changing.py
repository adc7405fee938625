# SPDX-License-Identifier: Apache-2.0
"""A table on which things are taken, added and pushed while a wrist camera goes back and forth over it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from training.objects.spec import ObjectModel
from training.scenes.arm_path import arm_cameras, draw_scene
from training.scenes.description import PlacedObject, SceneConfig, rows
from training.scenes.render_mujoco import render
from training.scenes.scene import View
from training.scenes.sensor import SensorConfig, sense

_PUSH = (0.03, 0.12)  # m
_TRIES = 40
_APART = 0.01  # m between boxes of objects
EVENTS = ("taken", "pushed", "added")


@dataclass(frozen=True)
class Event:
    """What happens before a frame: kind, one of EVENTS, and the mask label of the object."""

    kind: str
    frame: int
    label: int


def changing(
    index: int,
    split: str,
    frames: int = 100,
    every: int = 11,
    seed: int = 25,
    width: int = 640,
    height: int = 480,
    sensor: SensorConfig | None = None,
) -> Iterator[tuple[View, list[Event]]]:
    """Frames of sequence `index` and what happened before each. Every `every` frames something does. sensor: whose
    depth the frames have, as rendered without one."""
    config = SceneConfig(min_objects=6, width=width, height=height)
    description, models, rng = draw_scene(index, split, seed, config)
    there, away = list(description.objects), []
    for _ in range(2):  # to be added
        if len(there) > 3 and (free := _free(there, models)):
            away.append(there.pop(there.index(free[rng.integers(len(free))])))
    path = arm_cameras(frames // 2, rng, config)
    cameras = [*path, *path[::-1]]
    shine = np.zeros(256)
    for one in description.objects:
        shine[one.label] = one.specular * one.shininess
    noise = np.random.default_rng([seed, index, 1])
    for start in range(0, len(cameras), every):
        events = [_happen(there, away, models, rng, start)] if start else []
        part = replace(description, objects=tuple(there), cameras=tuple(cameras[start : start + every]))
        for view in render(part, models):
            if sensor is not None:
                view.depth = sense(view.depth, view.intrinsics, sensor, noise, shine[view.mask])
            yield view, [event for event in events if event]
            events = []


def _happen(
    there: list[PlacedObject],
    away: list[PlacedObject],
    models: dict[str, ObjectModel],
    rng: np.random.Generator,
    frame: int,
) -> Event | None:
    """Changes what is there; None where nothing can."""
    kind = str(rng.choice(EVENTS))
    free = _free(there, models)
    if (kind == "added" and not away) or (kind == "taken" and len(there) < 4):
        kind = "pushed"
    if kind == "added":
        one = away[0]
        for _ in range(_TRIES):
            placed = _moved(one, rng, models, np.append(rng.uniform(-1, 1, 2) * (0.2, 0.15), 0) - one.pose[:3, 3])
            if _clear(placed, there, models):
                there.append(placed)
                away.pop(0)
                return Event(kind, frame, one.label)
        return None
    if not free:
        return None
    one = free[rng.integers(len(free))]
    others = [other for other in there if other is not one]
    if kind == "taken":
        there.remove(one)
        away.append(one)
        return Event(kind, frame, one.label)
    for _ in range(_TRIES):
        angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(*_PUSH)
        placed = _moved(one, rng, models, np.array([np.cos(angle) * far, np.sin(angle) * far, 0]))
        if _clear(placed, others, models) and (np.abs(placed.pose[:2, 3]) < (0.3, 0.25)).all():
            there[there.index(one)] = placed
            return Event(kind, frame, one.label)
    return None


def _moved(one: PlacedObject, rng: np.random.Generator, models: dict[str, ObjectModel], by: np.ndarray) -> PlacedObject:
    """Moved along the table and turned about the vertical."""
    pose = one.pose
    turn = Rotation.from_euler("z", rng.uniform(-0.6, 0.6)).as_matrix()
    middle = _box(one, models).mean(0)
    pose[:3, :3] = turn @ pose[:3, :3]
    pose[:3, 3] = turn @ (pose[:3, 3] - middle) + middle + np.array([by[0], by[1], 0])
    return replace(one, world_from_mesh=rows(pose))


def _box(one: PlacedObject, models: dict[str, ObjectModel]) -> np.ndarray:
    """Corners (2,3) of the box around it, m."""
    vertices = (one.scale * models[one.name].vertices) @ one.pose[:3, :3].T + one.pose[:3, 3]
    return np.stack([vertices.min(0), vertices.max(0)])


def _clear(one: PlacedObject, others: list[PlacedObject], models: dict[str, ObjectModel]) -> bool:
    """Whether nothing stands beside, over or under it."""
    low, high = _box(one, models)
    for other in others:
        other_low, other_high = _box(other, models)
        if ((low < other_high + _APART) & (high > other_low - _APART))[:2].all():
            return False
    return True


def _free(there: list[PlacedObject], models: dict[str, ObjectModel]) -> list[PlacedObject]:
    """Objects that can be taken or pushed without another falling."""
    return [one for one in there if _clear(one, [other for other in there if other is not one], models)]
