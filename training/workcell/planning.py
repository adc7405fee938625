# SPDX-License-Identifier: Apache-2.0
"""Paths for the arm that hit nothing which the camera saw.

What the planner knows is what a lab has: the robot's shapes, the table, and the observed points (not the simulator's
truth). Each voxel with points is a sphere; what nobody saw is taken for free. MuJoCo checks collisions, OMPL's
RRT-Connect plans, the inverse kinematics is analytic. Every configuration that is returned was checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import mujoco
import numpy as np
from ompl import base, geometric, util
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from dropclip_ros.vision.geometry import backproject, transform_points
from training.scenes.grasps.grasp_trials import FINGERS, hand_joints
from training.scenes.render_mujoco import TABLE_THICKNESS
from training.scenes.scene import View
from training.workcell.cell import CellConfig
from training.workcell.kinematics import inverse, nearest_turn, within_limits
from training.workcell.robot import JOINTS, LINKS, add_robot

VOXEL = 0.005  # m
LEAST = 2  # points in a voxel: fewer are noise at edges
ABOVE = 0.008  # m: what is lower is the table, seen through noise
BESIDE = 0.20  # m beyond where objects fall; the arm at home is further away
HIGH = 0.5  # m
RADIUS = VOXEL / 2
TOUCH = 0.004  # m, by which the hand may overlap with points: their noise
CLEARANCE = 0.01  # m, of the arm from points
ALONG = 0.01  # m, between configurations on a straight line of the tool
TURN = 0.02  # rad, the same on a path of the joints; JUMP: what may lie between neighbours on a line
JUMP = 0.4
GOALS = 4  # configurations before the grasp that the search may end at
CHECKS = 15000  # of the search, then it gives up: not a time, so that the same seed gives the same path
HELD = 0.12  # m around the tips: what was seen there is lifted with the hand
LAID = 0.008  # m, by which what is carried may dip into the table and into points: it slips in the hand
HALF_TURN = np.diag([-1.0, -1.0, 1.0, 1.0])  # of the tool about its approach: the same grasp

util.noOutputHandler()


class Motion(NamedTuple):
    """Configurations (N, 6) rad: from where the arm is to before the grasp; on to the grasp; up."""

    reach: np.ndarray
    approach: np.ndarray
    lift: np.ndarray


class NoPath(Exception):
    """There is no motion, in words."""


def observed(view: View, config: CellConfig) -> np.ndarray:
    """Points (K, 3) in the world, m, of all that stands on the table in a view: one a voxel, its middle."""
    points, _ = backproject(view.depth, view.camera)
    points = transform_points(view.world_from_camera, points)
    reach = np.array(config.scene.area) + BESIDE
    points = points[(np.abs(points[:, :2]) < reach).all(axis=1) & (points[:, 2] > ABOVE) & (points[:, 2] < HIGH)]
    cells, count = np.unique(np.floor(points / VOXEL).astype(int), axis=0, return_counts=True)
    return (cells[count >= LEAST] + 0.5) * VOXEL


def carried(points: np.ndarray, tips: np.ndarray) -> np.ndarray:
    """Which of the points (K, 3) hang together with what is nearest to the tips (3,), within HELD of them."""
    near = np.flatnonzero(np.linalg.norm(points - tips, axis=1) < HELD)
    chosen = np.zeros(len(points), bool)
    if len(near):
        pairs = cKDTree(points[near]).query_pairs(2.5 * VOXEL, output_type="ndarray")
        graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(near), len(near)))
        part = connected_components(graph, directed=False)[1]
        chosen[near[part == part[np.linalg.norm(points[near] - tips, axis=1).argmin()]]] = True
    return chosen


class Planner:
    """Knows the robot of a cell, its table and points (K, 3) that were seen, in the world, m. load (L, 3): points of
    what the hand carries, in the tool frame, which may touch nothing but the hand either."""

    def __init__(self, config: CellConfig, points: np.ndarray, seed: int = 0, load: np.ndarray | None = None) -> None:
        self._gripper, self._seed = config.gripper, seed
        self._base_from_world = np.linalg.inv(config.world_from_base)
        self._points = points
        spec = mujoco.MjSpec()
        add_robot(spec, config.gripper, config.world_from_base, config.friction, config.force)
        spec.add_exclude(bodyname1=FINGERS[0], bodyname2=FINGERS[1])
        for name in LINKS:
            for geom in spec.body(name).geoms:
                geom.margin = CLEARANCE
        spec.worldbody.add_geom(
            name="table",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[*config.table, TABLE_THICKNESS / 2],
            pos=[0, 0, -TABLE_THICKNESS / 2],
            conaffinity=3,
        )
        ball = {"type": mujoco.mjtGeom.mjGEOM_SPHERE, "size": [RADIUS, 0, 0]}
        for point in () if load is None else load:  # which meets table and points alone
            spec.body("tool0").add_geom(**ball, pos=point, contype=2, conaffinity=0)
        for point in points:
            spec.worldbody.add_geom(**ball, pos=point, conaffinity=3)
        self._model = spec.compile()
        self._data = mujoco.MjData(self._model)
        model = self._model
        self._at = [model.joint(name).qposadr[0] for name in JOINTS]
        joints = hand_joints(config.gripper)
        self._hand_at = [model.joint(name).qposadr[0] for name in joints]
        self._ratios = np.array(list(joints.values()))
        self._first = model.ngeom - len(points)  # geom of the first point
        hand = [model.body(name).id for name in (*joints, "gripper_tip", "tool0")]
        self._load = (model.geom_contype == 2) & (model.geom_conaffinity == 0)
        self._hand = np.isin(model.geom_bodyid, hand) & ~self._load
        self._held = np.zeros(model.ngeom, bool)

    def free(self, joints: np.ndarray, opening: float, held: bool = False) -> bool:
        """Whether a configuration (6,) is within limits and hits nothing. held: the hand has what is near the tips."""
        if not within_limits(joints):
            return False
        data = self._data
        data.qpos[self._at], data.qpos[self._hand_at] = joints, self._ratios * opening / 2
        mujoco.mj_kinematics(self._model, data)
        mujoco.mj_collision(self._model, data)
        if not data.ncon:
            return True
        pairs, depth = data.contact.geom, -data.contact.dist
        point = (pairs >= self._first).any(axis=1)
        hits = ~(point & self._hand[pairs].any(axis=1) & (depth < TOUCH))
        hits &= point | (depth > 0)  # only points need CLEARANCE
        hits &= ~(self._load[pairs].any(axis=1) & (depth < LAID))
        if held:
            hits &= ~(self._hand[pairs].any(axis=1) & self._held[pairs].any(axis=1))
        return not hits.any()

    def plan(
        self, start: np.ndarray, tool: np.ndarray, pregrasp: np.ndarray, retreat: np.ndarray, opening: float
    ) -> Motion:
        """From angles (6,) to world_from_tool0 4x4 poses, fingers open by `opening`, m. Raises NoPath.

        Straight lines from pregrasp to tool and from there to retreat; any path to pregrasp.
        """
        ways = self.ways(start, tool, pregrasp, retreat, opening)
        reach = self._search(start, np.array([approach[0] for approach, _ in ways]), opening)
        if reach is None:
            raise NoPath("no path to the start of the approach")
        approach, lift = min(ways, key=lambda way: np.abs(way[0][0] - reach[-1]).max())
        return Motion(reach, approach, lift)

    def ways(
        self, near: np.ndarray, tool: np.ndarray, pregrasp: np.ndarray, retreat: np.ndarray, opening: float
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Straight ways (N, 6) in and out, at most GOALS of them, from configurations nearest to `near` (6,) on. Raises
        NoPath where there is none."""
        tip = tool @ self._gripper.tool_from_tip([opening])[0]
        self._held[self._first :] = np.linalg.norm(self._points - tip[:3, 3], axis=1) < HELD
        ways, why = [], "no inverse kinematics: out of the arm's reach"
        for grasp, turn in self._solutions(tool, near):
            if not self.free(grasp, opening):
                why = "in collision at the grasp" if why.startswith("no inverse") else why
                continue
            back = self._line(grasp, tool @ turn, pregrasp @ turn, opening)
            lift = None if back is None else self._line(grasp, tool @ turn, retreat @ turn, opening, held=True)
            if lift is None:
                why = "no straight way " + ("in" if back is None else "out")
                continue
            ways.append((back[::-1], lift))
            if len(ways) == GOALS:
                break
        if not ways:
            raise NoPath(why)
        return ways

    def way(self, start: np.ndarray, goal: np.ndarray, opening: float) -> np.ndarray:
        """Corners (N, 6) of a path between angles (6,). Raises NoPath."""
        found = self._search(start, goal[None], opening)
        if found is None:
            raise NoPath("no path")
        return found

    def _solutions(self, tool: np.ndarray, near: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Configurations at a tool pose, or at its half turn, nearest first, with that turn 4x4."""
        found = [
            (nearest_turn(joints, near), turn)
            for turn in (np.eye(4), HALF_TURN)
            for joints in inverse(self._base_from_world @ tool @ turn)
        ]
        return iter(sorted(found, key=lambda one: np.abs(one[0] - near).max()))

    def _line(
        self, joints: np.ndarray, begin: np.ndarray, end: np.ndarray, opening: float, held: bool = False
    ) -> np.ndarray | None:
        """Configurations from `joints`, at tool pose `begin`, along the straight line to `end` (orientation stays)."""
        way = [joints]
        count = max(2, int(np.ceil(np.linalg.norm(end[:3, 3] - begin[:3, 3]) / ALONG)) + 1)
        for share in np.linspace(0, 1, count)[1:]:
            pose = begin.copy()
            pose[:3, 3] += share * (end[:3, 3] - begin[:3, 3])
            solutions = nearest_turn(inverse(self._base_from_world @ pose), way[-1])
            if not len(solutions):
                return None
            joints = solutions[np.abs(solutions - way[-1]).max(axis=1).argmin()]
            if np.abs(joints - way[-1]).max() > JUMP or not self.free(joints, opening, held):
                return None
            way.append(joints)
        return np.array(way)

    def _search(self, start: np.ndarray, goals: np.ndarray, opening: float) -> np.ndarray | None:
        """Corners (N, 6) of a path from `start` to one of `goals` (G, 6)."""
        util.RNG.setSeed(self._seed + 1)
        space, bounds, count = base.RealVectorStateSpace(6), base.RealVectorBounds(6), 0
        low, high = np.minimum(start, goals.min(axis=0)) - 0.5, np.maximum(start, goals.max(axis=0)) + 0.5
        for joint in range(6):
            bounds.setLow(joint, float(min(low[joint], -np.pi)))
            bounds.setHigh(joint, float(max(high[joint], np.pi)))
        space.setBounds(bounds)

        def valid(state: base.State) -> bool:
            nonlocal count
            count += 1
            return self.free(np.array([state[joint] for joint in range(6)]), opening)

        setup = geometric.SimpleSetup(space)
        setup.setStateValidityChecker(valid)
        info = setup.getSpaceInformation()
        info.setStateValidityCheckingResolution(TURN / space.getMaximumExtent())
        setup.setStartState(_state(space, start))
        wanted = base.GoalStates(info)
        for goal in goals:
            wanted.addState(_state(space, goal))
        setup.setGoal(wanted)
        planner = geometric.RRTConnect(info)
        planner.setRange(1.0)
        setup.setPlanner(planner)
        setup.solve(base.PlannerTerminationCondition(lambda: count > CHECKS))
        if not setup.haveExactSolutionPath():
            return None
        path = setup.getSolutionPath()
        simplifier = geometric.PathSimplifier(info)
        simplifier.partialShortcutPath(path)
        simplifier.reduceVertices(path)
        return np.array([[state[joint] for joint in range(6)] for state in path.getStates()])


def _state(space: base.StateSpace, joints: np.ndarray) -> base.State:
    state = space.allocState()
    for joint, angle in enumerate(joints):
        state[joint] = float(angle)
    return state
