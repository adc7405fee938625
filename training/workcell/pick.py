# SPDX-License-Identifier: Apache-2.0
"""Executes grasps: the first candidate with a path that hits nothing is approached, closed upon, lifted and held.

The arm is sent along planned configurations only, each of which was checked for collision. What was grasped is read
from the simulator's state; whether something was grasped, as on a real gripper, from its opening.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from scipy.ndimage import binary_dilation

from dropclip_ros.base.errors import Status
from dropclip_ros.grasping.gate import Known, Limits, Refusal, refusals, tips_of, verdict
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.handoff import Handoff, HandoffConfig, hand_off
from dropclip_ros.vision.geometry import invert_pose, transform_points
from training.scenes.scene import View
from training.workcell.cell import CONTROL, Cell
from training.workcell.changes import changed
from training.workcell.planning import Motion, NoPath, Planner, carried, observed
from training.workcell.robot import FINGER_SPEED, GRIP_REACH, HOME

HAND_OFF = HandoffConfig()
LIMITS = Limits(reach=1.1, max_tilt=np.pi)  # of the UR5e's tool0; the planner knows what the table allows
SPEED, ACCELERATION = 2.0, 5.0  # rad/s and rad/s^2 of the fastest joint: to the pre-grasp
SLOW = 0.5  # of both: on straight lines
NOTHING = 0.0015  # m: fingers closed further hold nothing
AT_HOME = 0.05  # rad
AROUND = 3  # pixels around the arm, in which its edges are seen
SETTLE = 0.15  # s, in which the arm catches up
HOLD = 1.0  # s
MOVED = 0.1  # share of what stood around a grasp, after a slip
LIFTED = 0.10  # m, for an object to count as grasped


@dataclass(frozen=True, eq=False)
class Candidate:
    """Poses world_from_tool0 4x4 of the grasp, where the straight approach begins and where the lift ends; opening of
    the fingers on the way in, m."""

    tool: np.ndarray
    pregrasp: np.ndarray
    retreat: np.ndarray
    opening: float


@dataclass
class PickResult:
    """status: OK, BAD_REQUEST, SCENE_CHANGED, NO_PATH, SLIPPED, CANCELLED or one of the gate's; message: a sentence;
    executed: index of the candidate, -1 none; reasons, each with its code: one for each candidate before it (for all,
    if none was executed).

    lifted: names of objects that are 10 cm or more above where they were; timing: seconds of wall clock by stage.
    """

    status: Status
    message: str
    executed: int = -1
    reasons: list[str] = field(default_factory=list)
    reason_codes: list[Status] = field(default_factory=list)
    lifted: tuple[str, ...] = ()
    timing: dict[str, float] = field(default_factory=dict)


class _Cancelled(Exception):
    pass


def candidates_of(cell: Cell, grasps: Grasps, config: HandoffConfig = HAND_OFF) -> list[Candidate]:
    """Candidates of grasps in the world frame: see `hand_off`."""
    motion = hand_off(grasps, cell.config.gripper, np.array([0.0, 0.0, 1.0]), config)
    return [Candidate(*one) for one in zip(motion.tool, motion.pregrasp, motion.retreat, grasps.width, strict=True)]


def pick(
    cell: Cell,
    candidates: Sequence[Candidate],
    seen: View | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    stage: Callable[[str], None] = lambda name: None,
) -> PickResult:
    """Executes the first of the candidates, best first, that the arm can reach; the arm then holds its object up.

    The arm must be at home (else BAD_REQUEST), so that the camera sees the table: `Cell.reset` brings it there. seen:
    what the grasps were computed from; None: unknown. It looks again: nothing is executed where what stood around a
    grasp has moved, and what is on the table now is what paths avoid. Where the hand closes on nothing or loses what it
    held, the arm goes home and looks; the next candidates follow, unless what stood there has moved: then, or when
    none is left, it is SLIPPED, with the arm at home wherever there is a path.

    cancelled: asked before each control step (10 ms simulated) and each plan; the arm stops where it is. stage: told
    what begins: look, plan, reach, approach, close, lift, hold; after a slip retreat, home and these again.
    """
    return _told(cell, _Run(cell, cancelled, stage), lambda run: run.pick(candidates, seen))


def place(
    cell: Cell,
    candidates: Sequence[Candidate],
    cancelled: Callable[[], bool] = lambda: False,
    stage: Callable[[str], None] = lambda name: None,
) -> PickResult:
    """Puts down what the hand holds by the first of the candidates that there is a path to, and goes home.

    A candidate's tool is where the hand opens. What is seen to hang together with the tips is carried along the path
    and may touch nothing on it; SLIPPED where the hand holds nothing. Else as `pick`; stages: look, plan, reach,
    approach, release, retreat, home.
    """
    return _told(cell, _Run(cell, cancelled, stage), lambda run: run.place(candidates))


def raised_by_pick(cell: Cell, approach: np.ndarray, lift: np.ndarray, opening: float) -> PickResult:
    """Takes hold along ways (N, 6) that were checked, from the first configuration of `approach`, and lifts."""
    return _Run(cell, lambda: False, lambda name: None).take(approach, lift, opening)


def _told(cell: Cell, run: _Run, act: Callable[[_Run], PickResult]) -> PickResult:
    """The result, with what was lifted and what it took; CANCELLED where the client wanted that."""
    before = cell.poses()
    try:
        result = act(run)
    except _Cancelled:
        cell.command(cell.arm())  # where it is on its path
        cell.step(SETTLE)
        result = PickResult(Status.CANCELLED, f"cancelled during {run.stage}; the arm stands still", run.executed)
    after = cell.poses()
    result.lifted = tuple(name for name in cell.names if after[name][2, 3] - before[name][2, 3] >= LIFTED)
    result.reasons, result.reason_codes = [one.reason for one in run.why], [one.status for one in run.why]
    result.timing = run.finish()
    return result


def _gate(cell: Cell, candidates: Sequence[Candidate]) -> tuple[Handoff, list[Refusal | None]]:
    """The candidates' motions, and what the gate says of each; the table's top is z = 0 of the world."""
    poses = [
        np.array([getattr(one, name) for one in candidates]).reshape(-1, 4, 4)
        for name in ("tool", "pregrasp", "retreat")
    ]
    width, gripper = np.array([one.opening for one in candidates], dtype=np.float64), cell.config.gripper
    motion = Handoff(tips_of(poses[0], width, gripper), *poses)
    up = np.array([0.0, 0.0, 1.0])
    known = Known(up=up, table=np.append(up, 0.0), base=cell.config.world_from_base[:3, 3])
    return motion, refusals(motion, width, gripper, known, LIMITS)


class _Run:
    """One pick in progress."""

    def __init__(self, cell: Cell, cancelled: Callable[[], bool], told: Callable[[str], None]) -> None:
        self._cell, self._cancelled, self._told = cell, cancelled, told
        self.stage, self.executed = "", -1
        self.why: list[Refusal] = []
        self._timing: dict[str, float] = {}
        self._began = time.perf_counter()

    def pick(self, candidates: Sequence[Candidate], seen: View | None) -> PickResult:
        cell = self._cell
        if np.abs(cell.arm() - HOME).max() > AT_HOME:
            return PickResult(
                Status.BAD_REQUEST,
                "the arm is not at home, from where the camera sees the whole table; reset the cell first",
            )
        self._begin("look")
        now = cell.capture()
        motion, refused = _gate(cell, candidates)
        tips = [tip[:3, 3] for tip, refusal in zip(motion.tip, refused, strict=True) if not refusal]
        if seen is not None and changed(seen, now, tips):
            return PickResult(
                Status.SCENE_CHANGED,
                "what stood where the gripper would go has moved since the grasps were computed; ask for them again",
            )
        while True:
            self._begin("plan")
            found = self._first(Planner(cell.config, observed(now, cell.config)), candidates, refused)
            if isinstance(found, PickResult):
                return found
            result = self._execute(found, candidates[self.executed].opening)
            if result.status is not Status.SLIPPED or not self._back(found, candidates[self.executed].opening):
                return result
            self.why.append(Refusal(Status.SLIPPED, result.message))
            left = [tip[:3, 3] for tip in motion.tip[len(self.why) :]]
            self._begin("look")
            before, now = now, cell.capture()
            if not left or changed(before, now, left, MOVED):
                return replace(result, message=f"{result.message}; the arm is home again: ask for new grasps")

    def _back(self, motion: Motion, opening: float) -> bool:
        """Brings an arm whose hand holds nothing home, on paths around what is seen now; whether it is there."""
        cell = self._cell
        self._begin("retreat")
        low = np.abs(cell.arm() - motion.approach[-1]).max() < AT_HOME
        if low:  # out as it came in
            cell.open(opening)
            self._wait(opening / 2 / FINGER_SPEED + SETTLE)
            self._follow(motion.approach[::-1], SLOW * SPEED, SLOW * ACCELERATION)
        self._begin("home")
        try:
            way = Planner(cell.config, self._beside_arm(cell.capture())).way(
                cell.arm(), HOME, opening if low else max(cell.opening(), 0.0)
            )
        except NoPath:
            return False
        self._go(way)
        cell.open(cell.config.gripper.max_width)
        self._wait(SETTLE)
        return True

    def _beside_arm(self, view: View) -> np.ndarray:
        """Points that a view shows, without those of the arm, which knows where it is."""
        arm = binary_dilation(view.mask == 0, iterations=AROUND)
        return observed(replace(view, depth=np.where(arm, np.float32(0), view.depth)), self._cell.config)

    def place(self, candidates: Sequence[Candidate]) -> PickResult:
        cell = self._cell
        if not cell.gripping or cell.opening() < NOTHING:
            return PickResult(Status.SLIPPED, "the hand holds nothing that could be put down")
        self._begin("look")
        now, frames = cell.capture(), cell.frames()
        points = self._beside_arm(now)
        load = carried(points, frames["gripper_tip"][:3, 3])
        _, refused = _gate(cell, candidates)
        self._begin("plan")
        with_hand = transform_points(invert_pose(frames["tool0"]), points[load])
        found = self._first(Planner(cell.config, points[~load], load=with_hand), candidates, refused)
        if isinstance(found, PickResult):
            return found
        opening = candidates[self.executed].opening
        self._begin("reach")
        self._go(found.reach)
        self._begin("approach")
        self._follow(found.approach, SLOW * SPEED, SLOW * ACCELERATION)
        self._wait(SETTLE)
        self._begin("release")
        cell.open(opening)
        self._wait(opening / 2 / FINGER_SPEED + SETTLE)
        self._begin("retreat")
        self._follow(found.lift, SLOW * SPEED, SLOW * ACCELERATION)
        self._begin("home")
        try:
            self._go(Planner(cell.config, points[~load]).way(cell.arm(), HOME, opening))
        except NoPath:
            return PickResult(Status.OK, "put down; no path home", self.executed)
        return PickResult(Status.OK, "put down", self.executed)

    def _first(
        self, planner: Planner, candidates: Sequence[Candidate], refused: Sequence[Refusal | None]
    ) -> Motion | PickResult:
        """The motion of the first candidate, of those that nothing is said of yet, that there is a path to, which is
        `executed`; or why there is none."""
        for index in range(len(self.why), len(candidates)):
            candidate, refusal = candidates[index], refused[index]
            if self._cancelled():
                raise _Cancelled
            if refusal:
                self.why.append(refusal)
                continue
            try:
                motion = planner.plan(
                    self._cell.arm(), candidate.tool, candidate.pregrasp, candidate.retreat, candidate.opening
                )
            except NoPath as error:
                self.why.append(Refusal(Status.NO_PATH, str(error)))
                continue
            self.executed = index
            return motion
        told = "; ".join(one.reason for one in self.why)
        slipped = Status.SLIPPED in {one.status for one in self.why}
        status = Status.SLIPPED if slipped else verdict(self.why)
        return PickResult(status, f"none of {len(candidates)} grasps can be executed: {told}", self.executed)

    def _go(self, corners: np.ndarray) -> None:
        """Along a path (N, 6) of straight lines between configurations, from rest to rest at each."""
        for corner, following in pairwise(corners):
            self._follow(np.array([corner, following]), SPEED, ACCELERATION)

    def _execute(self, motion: Motion, opening: float) -> PickResult:
        cell = self._cell
        self._begin("reach")
        cell.open(opening)
        self._go(motion.reach)
        return self.take(motion.approach, motion.lift, opening)

    def take(self, approach: np.ndarray, lift: np.ndarray, opening: float) -> PickResult:
        """From before the grasp on: in, close, up, hold."""
        cell = self._cell
        self._begin("approach")
        self._follow(approach, SLOW * SPEED, SLOW * ACCELERATION)
        self._wait(SETTLE)
        self._begin("close")
        cell.grip()
        self._wait((opening / 2 + GRIP_REACH) / FINGER_SPEED)
        if cell.opening() < NOTHING:
            return PickResult(Status.SLIPPED, "the gripper closed on nothing", self.executed)
        self._begin("lift")
        self._follow(lift, SLOW * SPEED, SLOW * ACCELERATION)
        self._begin("hold")
        self._wait(HOLD)
        if cell.opening() < NOTHING:
            return PickResult(Status.SLIPPED, "the gripper lost what it held", self.executed)
        return PickResult(Status.OK, "holds something", self.executed)

    def _follow(self, way: np.ndarray, speed: float, acceleration: float) -> None:
        """Along straight lines between configurations (N, 6), from rest to rest."""
        lengths = np.concatenate([[0], np.cumsum(np.abs(np.diff(way, axis=0)).max(axis=1))])
        for at in _ramp(lengths[-1], speed, acceleration):
            self._cell.command(np.array([np.interp(at, lengths, column) for column in way.T]))
            self._wait(CONTROL)

    def _wait(self, seconds: float) -> None:
        for _ in range(round(seconds / CONTROL)):
            if self._cancelled():
                raise _Cancelled
            self._cell.step(CONTROL)

    def _begin(self, stage: str) -> None:
        self.finish()
        self.stage = stage
        self._told(stage)

    def finish(self) -> dict[str, float]:
        """Ends the stage; seconds of all."""
        now = time.perf_counter()
        if self.stage:
            self._timing[self.stage] = self._timing.get(self.stage, 0) + now - self._began
        self._began = now
        return self._timing


def _ramp(length: float, speed: float, acceleration: float) -> np.ndarray:
    """Places (N,) on a way, one a control step, the last its end: speeds up, goes on, slows down."""
    speed = min(speed, np.sqrt(length * acceleration))
    if speed == 0:
        return np.array([length])
    ramp, whole = speed / acceleration, length / speed + speed / acceleration
    t = np.minimum(np.arange(1, np.ceil(whole / CONTROL) + 1) * CONTROL, whole)
    rising, falling = acceleration * t**2 / 2, length - acceleration * (whole - t) ** 2 / 2
    return np.where(t < ramp, rising, np.where(t > whole - ramp, falling, speed * (t - ramp / 2)))


def drive(cell: Cell, way: np.ndarray, cancelled: Callable[[], bool] = lambda: False) -> bool:
    """Moves the arm along a path (N, 6) that was checked, from rest to rest; False where cancelled, it then stands."""
    run = _Run(cell, cancelled, lambda name: None)
    try:
        run._go(way)
        run._wait(SETTLE)
    except _Cancelled:
        cell.command(cell.arm())
        cell.step(SETTLE)
        return False
    return True
