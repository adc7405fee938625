# SPDX-License-Identifier: Apache-2.0
"""Clutter: objects spawned above the table, settled by physics (MuJoCo), seen by cameras around (A.1.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from training.objects.spec import ObjectModel
from training.scenes.description import (
    CLUTTER,
    FIRST_OBJECT_ID,
    Camera,
    Light,
    PlacedObject,
    SceneConfig,
    SceneDescription,
    Surface,
    rows,
)

DROPPED = ("fell", "restless", "overlaps")  # why an object is taken out of a scene
PENETRATION = 0.002  # m; what reaches deeper into something else is taken out
SPREAD = {"scattered": 1.0, "packed": 0.4}  # of the area
CLUTTER_SHARE = (0.5, 0.2, 0.3)
LYING = 0.35  # share of objects that fall in any pose; the others stand upright
PLACES = 30  # drawn for each, to take the lowest
GAP = 0.004  # m, between the boxes of spawned objects
FALL_MARGIN = 0.12  # m beyond the area: what rolls farther is out of the views
REST_SPEED, REST_TURN = 0.005, 0.15  # m/s, rad/s
TIMESTEP = 0.002  # s


def make_scene(
    models: Sequence[ObjectModel], config: SceneConfig, rng: np.random.Generator
) -> tuple[SceneDescription, dict[str, int]]:
    """A settled scene of these objects, and how many of them were dropped, for each reason of DROPPED."""
    clutter = str(rng.choice(CLUTTER, p=CLUTTER_SHARE)) if config.clutter == "any" else config.clutter
    placed = [_draw_look(model, config, rng) for model in models]
    placed = spawn(placed, models, clutter, config, rng)
    room = _draw_room(rng)
    placed, dropped = settle(placed, models, room["table"], config)
    placed = [replace(one, label=FIRST_OBJECT_ID + k) for k, one in enumerate(placed)]
    cameras = draw_cameras(config, rng)
    return SceneDescription(clutter=clutter, objects=tuple(placed), cameras=cameras, **room), dropped


def _draw_look(model: ObjectModel, config: SceneConfig, rng: np.random.Generator) -> PlacedObject:
    """The object in a size and material of its own, not placed yet."""
    scale, brightness = float(rng.uniform(*config.scale)), float(rng.uniform(*config.brightness))
    specular, shininess = np.clip(np.array([model.specular, model.shininess]) * rng.uniform(0.7, 1.3, 2), 0, 1)
    return PlacedObject(0, model.name, scale, brightness, float(specular), float(shininess), rows(np.eye(4)))


def _draw_room(rng: np.random.Generator) -> dict:
    """All of a description but its objects and cameras."""
    half = (float(rng.uniform(0.45, 0.9)), float(rng.uniform(0.4, 0.7)))
    seeds = rng.integers(2**31, size=2).tolist()
    table = Surface(seeds[0], 0.0, half, float(rng.uniform(0, 0.2)), float(rng.uniform(0, 0.3)))
    floor = Surface(seeds[1], -float(rng.uniform(0.5, 0.8)), (6.0, 6.0), 0.2, 0.2, repeat=4.0)
    lights = []
    for _ in range(rng.integers(2, 4)):
        position = (*rng.uniform(-1, 1, 2).tolist(), float(rng.uniform(1.2, 2.2)))
        lights.append(Light(position, tuple((rng.uniform(0.15, 0.35) * (1 + rng.uniform(-0.08, 0.08, 3))).tolist())))
    backdrop = tuple((rng.uniform(0.2, 0.9) * (1 + rng.uniform(-0.1, 0.1, 3))).clip(0, 1).tolist())
    ambient = float(rng.uniform(0.25, 0.45))
    return {"table": table, "floor": floor, "ambient": ambient, "backdrop": backdrop, "lights": tuple(lights)}


def draw_cameras(config: SceneConfig, rng: np.random.Generator) -> tuple[Camera, ...]:
    """One view from above, the others uniform on the upper hemisphere (a Fibonacci spiral), jittered radially."""
    focal = float(rng.uniform(*config.focal)) * config.width / 640
    low, high = np.sin(config.elevation)
    start, around = rng.uniform(0, 2 * np.pi), config.views - 1
    cameras = []
    for v in range(config.views):
        height = low + (high - low) * (v - 0.5) / around if v else 1.0
        azimuth = start + v * np.pi * (3 - np.sqrt(5))
        target = (*rng.uniform(-0.04, 0.04, 2), 0.03)
        pose = look_at(target, rng.uniform(*config.radius), azimuth, np.arcsin(height))
        cameras.append(Camera(config.width, config.height, focal, rows(pose)))
    return tuple(cameras)


def look_at(target: Sequence[float], distance: float, azimuth: float, elevation: float) -> np.ndarray:
    """world_from_camera 4x4 (optical) that sees `target` (m) in the middle, from an azimuth and an elevation, rad."""
    ca, sa, ce, se = np.cos(azimuth), np.sin(azimuth), np.cos(elevation), np.sin(elevation)
    backward, up = np.array([ca * ce, sa * ce, se]), np.array([-ca * se, -sa * se, ce])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([np.cross(up, backward), -up, -backward], axis=1)
    pose[:3, 3] = np.asarray(target) + distance * backward
    return pose


def spawn(
    placed: Sequence[PlacedObject],
    models: Sequence[ObjectModel],
    clutter: str,
    config: SceneConfig,
    rng: np.random.Generator,
) -> list[PlacedObject]:
    """Random poses above the table whose boxes do not meet (3D IoU 0).

    Of so many places as `config.poses` has the first where the box reaches the table is taken, or else the lowest:
    above what stands there, from where it falls onto it.
    """
    lying, places = {"low": (LYING, PLACES), "random": (1.0, 1)}[config.poses]
    boxes: list[tuple[np.ndarray, np.ndarray]] = []
    spawned = []
    for one, model in zip(placed, models, strict=True):
        upright = rng.uniform() >= lying
        rotation = Rotation.from_euler("z", rng.uniform(0, 2 * np.pi)) if upright else Rotation.random(random_state=rng)
        vertices = rotation.apply(one.scale * model.vertices)
        low, high = vertices.min(0), vertices.max(0)
        half = (high - low) / 2 + GAP
        spread = SPREAD.get(clutter) or rng.choice([0.35, 1.0])
        best = None
        for _ in range(places):
            centre = np.array([*(rng.uniform(-1, 1, 2) * np.array(config.area) * spread), half[2]])
            for box_low, box_high in sorted(boxes, key=lambda box: box[1][2]):
                if (np.abs(centre[:2] - (box_low + box_high)[:2] / 2) < half[:2] + (box_high - box_low)[:2] / 2).all():
                    centre[2] = max(centre[2], box_high[2] + half[2])
            if best is None or centre[2] < best[2]:
                best = centre
            if best[2] <= half[2]:
                break
        boxes.append((best - half, best + half))
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rotation.as_matrix(), best - (low + high) / 2
        spawned.append(replace(one, world_from_mesh=rows(pose)))
    return spawned


def settle(
    placed: Sequence[PlacedObject], models: Sequence[ObjectModel], table: Surface, config: SceneConfig
) -> tuple[list[PlacedObject], dict[str, int]]:
    """The objects at rest, and how many were dropped by reason. What is taken out lets the others settle anew."""
    world = _World(placed, models, table)
    there, dropped = np.ones(len(placed), bool), dict.fromkeys(DROPPED, 0)
    while there.any():
        restless = world.rest(there, config.settle_time)
        position = world.positions()
        reach = np.array(config.area) + FALL_MARGIN
        fell = there & ((position[:, 2] < -0.01) | (np.abs(position[:, :2]) > reach).any(1))
        overlaps = world.deepest(there)
        reasons = {"fell": fell, "restless": restless & ~fell, "overlaps": overlaps & ~fell & ~restless}
        for reason, which in reasons.items():
            dropped[reason] += int(which.sum())
        out = np.any(list(reasons.values()), axis=0)
        if not out.any():
            break
        there &= ~out
        world.remove(np.flatnonzero(out))
    poses = world.poses()
    return [replace(placed[k], world_from_mesh=rows(poses[k])) for k in np.flatnonzero(there)], dropped


def add_hulls(
    spec: mujoco.MjSpec, body: mujoco.MjsBody, placed: PlacedObject, model: ObjectModel, **geom: object
) -> None:
    """The object's collision shapes, which weigh what it weighs, as geoms of `body`, at its origin."""
    for part, hull in enumerate(model.hull_parts):
        name = f"{body.name}_{part}"
        spec.add_mesh(
            name=name,
            inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX,
            uservert=(placed.scale * hull).ravel().astype(float),
        )
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_MESH,
            meshname=name,
            density=model.density,
            friction=[model.friction, 0.01, 0.003],
            condim=6,
            solref=[0.01, 1.0],
            **geom,
        )


class _World:
    """The objects' collision shapes as free bodies above the table."""

    def __init__(self, placed: Sequence[PlacedObject], models: Sequence[ObjectModel], table: Surface) -> None:
        spec = mujoco.MjSpec()
        spec.option.timestep = TIMESTEP
        spec.worldbody.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[*table.half, 0.1],
            pos=[0, 0, table.height - 0.1],
            friction=[0.9, 0.01, 0.002],
        )
        for k, (one, model) in enumerate(zip(placed, models, strict=True)):
            pose = one.pose
            quaternion = Rotation.from_matrix(pose[:3, :3]).as_quat(scalar_first=True)
            body = spec.worldbody.add_body(name=str(k), pos=pose[:3, 3], quat=quaternion)
            body.add_freejoint()
            add_hulls(spec, body, one, model)
        self._model = spec.compile()
        self._data = mujoco.MjData(self._model)
        self._bodies = [self._model.body(str(k)).id for k in range(len(placed))]
        self._object_of_geom = self._model.geom_bodyid - 1  # the table, of the world's body, gets -1

    def rest(self, there: np.ndarray, limit: float) -> np.ndarray:
        """Steps until all that is `there` (N,) rests, at most `limit` s; returns which of it does not, (N,)."""
        for step in range(int(limit / TIMESTEP)):
            mujoco.mj_step(self._model, self._data)
            self._data.qvel *= 0.998  # light damping: rolling things come to rest on a real table too
            if step >= 200 and step % 50 == 0 and not (self._moves() & there).any():
                break
        return self._moves() & there

    def _moves(self) -> np.ndarray:
        speed = self._data.qvel.reshape(-1, 6)
        return (np.linalg.norm(speed[:, :3], axis=1) > REST_SPEED) | (np.linalg.norm(speed[:, 3:], axis=1) > REST_TURN)

    def deepest(self, there: np.ndarray) -> np.ndarray:
        """Which (N,) reach deeper than PENETRATION into something: of two objects the later one."""
        mujoco.mj_forward(self._model, self._data)
        contact, out = self._data.contact, np.zeros(len(there), bool)
        deep = contact.geom[contact.dist < -PENETRATION]
        out[self._object_of_geom[deep].max(axis=1)] = len(deep) > 0
        return out & there

    def remove(self, indices: np.ndarray) -> None:
        for k in indices:  # far away and apart, where nothing meets them
            self._model.body_gravcomp[self._bodies[k]] = 1
            self._data.qpos[7 * k : 7 * k + 3] = (5 + k, 0, 50)
            self._data.qvel[6 * k : 6 * k + 6] = 0

    def positions(self) -> np.ndarray:
        return self._data.xpos[self._bodies]

    def poses(self) -> np.ndarray:
        """world_from_mesh (N,4,4)."""
        poses = np.tile(np.eye(4), (len(self._bodies), 1, 1))
        poses[:, :3, :3] = self._data.xmat[self._bodies].reshape(-1, 3, 3)
        poses[:, :3, 3] = self.positions()
        return poses
