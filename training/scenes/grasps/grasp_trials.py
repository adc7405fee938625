# SPDX-License-Identifier: Apache-2.0
"""Antipodal grasps on a mesh, labelled by physical trials in MuJoCo: close, lift, shake.

The hand stands still and the world accelerates: gravity is off while the fingers close, then pulls down as it does when
the hand lifts, then from side to side. One compiled model serves all trials of an object.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from itertools import combinations

import mujoco
import numpy as np
import open3d as o3d
from scipy.spatial.transform import Rotation

from dropclip_ros.base.ranges import check_fields, ranged
from dropclip_ros.grasping.grasps import Grasps, Gripper, colliding, height_above, thin_cloud
from training.objects.spec import ObjectModel
from training.runs.errors import InputError

FINGERS = ("left", "right")
LEAN = 0.5  # rad, deviation of the approach from the steepest
CLEARANCE = 0.002  # m, over the table
MIN_REACH = 0.001  # m, of the tips beyond the line of contact
COARSE = 0.015  # m, between points that candidates are held against first
CHUNK = 250  # candidates that are looked at together, until enough hit nothing
VERSION = 1  # of sampling and trials: part of what cached grasps are named by


@dataclass(frozen=True)
class TrialConfig:
    """Lengths in metres, times in seconds, forces in newtons, accelerations in m/s^2.

    samples: candidates tried at most; wanted: the sampler stops at so many candidates that hit nothing. physical: each
    candidate is tried; else all count as held, as most do. friction: of the finger pads, which the object's own joins
    (the larger counts); cone: of the sampler, smaller, so that contacts are safe. force: of each finger. slip: the most
    that the object may move in the hand, m; turn: rad.
    """

    samples: int = ranged(4000, 1)
    wanted: int = ranged(200, 1)
    cone: float = ranged(0.35, above=0)
    clearance: float = 0.005
    friction: float = ranged(0.8, above=0)
    force: float = ranged(30.0, above=0)
    lift: float = 4.0
    shake: float = 6.0
    closing_time: float = ranged(0.4, above=0)
    trial_time: float = ranged(1.2, above=0)
    slip: float = ranged(0.03, above=0)
    turn: float = ranged(0.6, above=0)
    seed: int = 0
    physical: bool = True

    def __post_init__(self) -> None:
        check_fields(self)


def fingerprint(model: ObjectModel, gripper: Gripper, config: TrialConfig) -> str:
    """What the grasps of an object depend on, as 16 hex digits."""
    digest = hashlib.sha256(repr((VERSION, gripper, config, model.density, model.friction)).encode())
    for array in (model.vertices, model.faces, *model.hull_parts):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def sample_grasps(model: ObjectModel, gripper: Gripper, config: TrialConfig, table: np.ndarray | None = None) -> Grasps:
    """Candidates in the model's frame that fit into the hand and hit nothing of the object: at most `wanted`.

    Each closes on a line from a point of the surface to where a ray within the friction cone leaves the object; the
    hand is turned about that line. Without a table any turn will do.

    table: plane (4,) that the object stands on, unit normal up, in the model's frame. The hand then comes from above
    and does not reach into it. Raises InputError where the mesh has no area.
    """
    rng = np.random.default_rng(config.seed)
    corners = model.vertices[model.faces].astype(float)
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(cross, axis=1) / 2
    if not area.sum() > 0:
        raise InputError(f"{model.name}: the mesh has no surface to grasp; mend the mesh")
    share = area / area.sum()
    face = rng.choice(len(area), config.samples, p=share)
    u, v = np.sort(rng.uniform(size=(2, config.samples)), axis=0)
    weights = np.stack([u, v - u, 1 - v], axis=1)
    start = (weights[:, :, None] * corners[face]).sum(axis=1)
    direction = _within_cone(-cross[face] / (2 * area[face, None]), config.cone, rng)
    length = _thickness(model, start, direction, gripper.max_width, config.cone, rng)
    width = length + 2 * config.clearance
    kept = np.flatnonzero(np.isfinite(length) & (length > 1e-3) & (width <= gripper.max_width))
    if not len(kept):
        return Grasps.empty()
    closing, middle = direction[kept], start[kept] + 0.5 * length[kept, None] * direction[kept]
    approach = _approaches(closing, table, rng)
    grasps = Grasps(
        score=np.zeros(len(kept)),
        width=width[kept],
        height=np.full(len(kept), gripper.finger_width),
        depth=rng.uniform(0.05, 0.6, len(kept)) * gripper.finger_depth,  # of the tips beyond the line of contact
        rotation=np.stack([approach, closing, np.cross(approach, closing)], axis=2),
        translation=middle,
        object_id=np.full(len(kept), -1),
    )
    if table is not None:
        grasps = _lifted(grasps, table, gripper)
    count = 6 * config.samples
    inside = rng.dirichlet((1, 1, 1), count)
    surface = (inside[:, :, None] * corners[rng.choice(len(area), count, p=share)]).sum(axis=1).astype(np.float32)
    return _first_free(grasps, surface[thin_cloud(surface, 0.003)], gripper, config.wanted)


def _thickness(
    model: ObjectModel, start: np.ndarray, direction: np.ndarray, widest: float, cone: float, rng: np.random.Generator
) -> np.ndarray:
    """How far along `direction` (N, 3) from `start` (N, 3) the object is left, (N,) m; NaN where no finger holds there.

    For half of the rays that is where they leave it first: a wall of a hollow thing. The others come back from `widest`
    away, where the other finger starts, and meet the far side of the whole thing. A finger holds where the surface
    faces it within the friction cone.
    """
    caster = o3d.t.geometry.RaycastingScene()
    caster.add_triangles(model.vertices.astype(np.float32), model.faces.astype(np.uint32))
    back = rng.uniform(size=(len(start), 1)) < 0.5
    origin = np.where(back, start + widest * direction, start + 1e-4 * direction)
    rays = np.column_stack([origin, np.where(back, -direction, direction)]).astype(np.float32)
    hits = caster.cast_rays(rays, nthreads=1)
    length, outward = hits["t_hit"].numpy().astype(float), hits["primitive_normals"].numpy()
    length = np.where(back[:, 0], widest - length, length + 1e-4)
    holds = np.isfinite(length) & ((outward * direction).sum(axis=1) > np.cos(np.arctan(cone)))
    return np.where(holds, length, np.nan)


def _approaches(closing: np.ndarray, table: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """Unit approaches (N, 3), square to the closing axes (N, 3): any turn, or near the steepest down onto the table."""
    if table is None:
        turn = rng.uniform(0, 2 * np.pi, len(closing))
        across = np.cross(closing, np.eye(3)[np.abs(closing).argmin(axis=1)])
    else:
        turn = rng.normal(0, LEAN, len(closing))
        across = (closing @ table[:3])[:, None] * closing - table[:3]  # of all that are square to it the steepest down
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    return np.cos(turn)[:, None] * across + np.sin(turn)[:, None] * np.cross(closing, across)


def _first_free(grasps: Grasps, surface: np.ndarray, gripper: Gripper, wanted: int) -> Grasps:
    """The first `wanted` grasps that do not collide with the surface's points (K, 3)."""
    free = np.zeros(0, int)
    for start in range(0, len(grasps), CHUNK):
        hits = colliding_in_turns(grasps[start : start + CHUNK], surface, gripper)
        free = np.append(free, start + np.flatnonzero(~hits))
        if len(free) >= wanted:
            break
    return grasps[free[:wanted]]


def _lifted(grasps: Grasps, table: np.ndarray, gripper: Gripper) -> Grasps:
    """Those drawn back along their approach as far as they would reach into the table, where contact is left."""
    missing = np.maximum(CLEARANCE - height_above(grasps, table, gripper), 0)
    depth = grasps.depth - missing / np.maximum(-grasps.approach @ table[:3], 1e-3)
    grasps = replace(grasps, depth=depth)
    return grasps[depth > MIN_REACH]


def colliding_in_turns(grasps: Grasps, cloud: np.ndarray, gripper: Gripper) -> np.ndarray:
    """`colliding` with all points of the cloud (K,3), several times faster: few points tell of most that collide."""
    hits = colliding(grasps, cloud, gripper, voxel_size=COARSE)
    hits[~hits] = colliding(grasps[~hits], cloud, gripper, voxel_size=0)
    return hits


def _within_cone(axis: np.ndarray, cone: float, rng: np.random.Generator) -> np.ndarray:
    """Unit directions (N,3) around the axes (N,3), up to the friction angle arctan(cone) away."""
    aside = np.cross(axis, rng.normal(size=axis.shape))
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    direction = axis + cone * np.sqrt(rng.uniform(size=(len(axis), 1))) * aside
    return direction / np.linalg.norm(direction, axis=1, keepdims=True)


def add_hand(spec: mujoco.MjSpec, parent: mujoco.MjsBody, gripper: Gripper, friction: float, prefix: str = "") -> None:
    """Fingers on slides that move as one, without a motor, before the boxes of the hand's body; the tips lie at x = 0
    of `parent`, approach x, closing y. Joints, geoms and bodies of the fingers are named `prefix` + FINGERS."""
    size = np.array([gripper.finger_depth, gripper.finger_thickness, gripper.finger_width]) / 2
    names = [prefix + name for name in FINGERS]
    for name, side in zip(names, (-1, 1), strict=True):
        body = parent.add_body(name=name, pos=[-size[0], side * size[1], 0])
        body.add_joint(
            name=name,
            type=mujoco.mjtJoint.mjJNT_SLIDE,
            axis=[0, side, 0],
            damping=20,
            range=[0, gripper.max_width / 2],
            limited=mujoco.mjtLimited.mjLIMITED_TRUE,
        )
        body.add_geom(
            name=name,
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=size,
            mass=0.1,
            condim=4,
            priority=0,
            friction=[friction, 0.01, 0.001],
        )
    together = spec.add_equality(
        type=mujoco.mjtEq.mjEQ_JOINT, objtype=mujoco.mjtObj.mjOBJ_JOINT, name1=names[0], name2=names[1]
    )
    together.data[:5] = [0, 1, 0, 0, 0]
    end = -gripper.finger_depth
    for k, (length, across, height, *closed) in enumerate(gripper.body):
        if closed:
            _add_linkage(spec, parent, gripper, k, end - length / 2, prefix)
        else:
            parent.add_geom(
                type=mujoco.mjtGeom.mjGEOM_BOX, size=[length / 2, across / 2, height / 2], pos=[end - length / 2, 0, 0]
            )
        end -= length
    bodies = [prefix + name for name in hand_joints(gripper)] + [parent.name]
    for one, other in combinations(bodies, 2):  # which abut
        if {one, other} != set(names):
            spec.add_exclude(bodyname1=one, bodyname2=other)


def _add_linkage(spec: mujoco.MjSpec, parent: mujoco.MjsBody, gripper: Gripper, k: int, x: float, prefix: str) -> None:
    """Both halves of body k of the gripper, on slides that follow the fingers as `hand_joints` has it."""
    length, _, height, closed = gripper.body[k]
    ratio = linkage_ratio(gripper, k)
    for finger, side in zip(FINGERS, (-1, 1), strict=True):
        name = f"{prefix}{finger}_{k}"
        body = parent.add_body(name=name, pos=[x, side * closed / 4, 0], gravcomp=1)
        body.add_joint(name=name, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[0, side, 0], damping=5)
        body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=[length / 2, closed / 4, height / 2], mass=0.02)
        follows = spec.add_equality(
            type=mujoco.mjtEq.mjEQ_JOINT, objtype=mujoco.mjtObj.mjOBJ_JOINT, name1=name, name2=prefix + finger
        )
        follows.data[:5] = [0, ratio, 0, 0, 0]


def linkage_ratio(gripper: Gripper, k: int) -> float:
    """How far the outer side of body k of a gripper moves for each metre that a finger does."""
    _, across, _, closed = gripper.body[k]
    return (across - closed) / gripper.max_width


def hand_joints(gripper: Gripper) -> dict[str, float]:
    """Joints of `add_hand` by name, each with its place for a finger that is a metre away from the middle."""
    linkage = {
        f"{finger}_{k}": linkage_ratio(gripper, k)
        for k, box in enumerate(gripper.body)
        if len(box) == 4
        for finger in FINGERS
    }
    return dict.fromkeys(FINGERS, 1.0) | linkage


class Trials:
    """A hand and an object, compiled once. `hold` says which grasps keep the object."""

    def __init__(self, model: ObjectModel, gripper: Gripper, config: TrialConfig) -> None:
        self._gripper, self._config = gripper, config
        spec = mujoco.MjSpec()
        spec.option.timestep, spec.option.cone = 0.002, mujoco.mjtCone.mjCONE_ELLIPTIC
        spec.option.impratio = 10  # friction does not creep
        add_hand(spec, spec.worldbody, gripper, config.friction)
        for name in FINGERS:
            spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT).gainprm[0] = 1
        body = spec.worldbody.add_body(name="object")
        body.add_freejoint()
        for part, hull in enumerate(model.hull_parts):
            spec.add_mesh(
                name=str(part), inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX, uservert=hull.ravel().astype(float)
            )
            body.add_geom(
                type=mujoco.mjtGeom.mjGEOM_MESH,
                meshname=str(part),
                density=model.density,
                condim=4,
                friction=[model.friction, 0.01, 0.001],
            )
        self.model = spec.compile()
        mujoco.set_mju_user_warning(lambda _: None)  # a trial that blows up did not hold: no log file for it
        self.data = mujoco.MjData(self.model)
        self._body = self.model.body("object").id
        self._fingers = {self.model.geom(name).id for name in FINGERS}

    def hold(self, grasps: Grasps) -> np.ndarray:
        """Whether each of N grasps, in the object's frame, holds through lifting and shaking: (N,) bool."""
        return np.array(
            [
                self._try(tip, rotation, width)
                for tip, rotation, width in zip(grasps.tips(), grasps.rotation, grasps.width, strict=True)
            ],
            bool,
        )

    def _try(self, tip: np.ndarray, rotation: np.ndarray, width: float) -> bool:
        config, model, data = self._config, self.model, self.data
        mujoco.mj_resetData(model, data)
        start = self.model.body("object").jntadr[0]
        at = model.jnt_qposadr[start]
        data.qpos[at : at + 3] = -rotation.T @ tip
        data.qpos[at + 3 : at + 7] = Rotation.from_matrix(rotation.T).as_quat(scalar_first=True)
        for name, ratio in hand_joints(self._gripper).items():
            data.joint(name).qpos[0] = ratio * min(width, self._gripper.max_width) / 2
        data.ctrl[:] = -config.force
        model.opt.gravity[:] = 0
        self._step(config.closing_time)
        if not self._held():
            return False
        position, turned = data.xpos[self._body].copy(), data.xmat[self._body].reshape(3, 3).copy()
        for shake in ((0, 0, 0), (0, 0, 1), (0, 0, -1), (0, 1, 0), (0, -1, 0)):
            # the hand came from above: down is along its x
            model.opt.gravity[:] = config.shake * np.array(shake) + (9.81 + config.lift, 0, 0)
            self._step(config.trial_time / 5)
        moved = np.linalg.norm(data.xpos[self._body] - position)
        angle = Rotation.from_matrix(data.xmat[self._body].reshape(3, 3) @ turned.T).magnitude()
        return bool(self._held() and moved < config.slip and angle < config.turn)  # false for NaN

    def _step(self, seconds: float) -> None:
        mujoco.mj_step(self.model, self.data, nstep=int(seconds / self.model.opt.timestep))

    def _held(self) -> bool:
        """Whether both fingers touch the object."""
        pairs = self.data.contact.geom[self.data.contact.dist < 1e-3]
        touching = {finger for finger in self._fingers if (pairs == finger).any()}
        return touching == self._fingers


def try_grasps(model: ObjectModel, gripper: Gripper, config: TrialConfig) -> Grasps:
    """Sampled grasps, score 1 where the trial held and 0 where it did not."""
    grasps = sample_grasps(model, gripper, config)
    if not len(grasps):
        return grasps
    held = np.ones(len(grasps)) if not config.physical else Trials(model, gripper, config).hold(grasps)
    rows = grasps.rows()
    rows[:, 0] = held
    return Grasps.from_rows(rows)
