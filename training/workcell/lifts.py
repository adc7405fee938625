# SPDX-License-Identifier: Apache-2.0
"""Picks in the workcell that teach `dropclip_ros.grasping.lift` what lifts.

    python -m training.workcell.lifts --out runs/lifts --first 1000 --scenes 100
    python -m training.workcell.lift_network --data runs/lifts --out runs/lift.npz

This lays scenes of the training split's objects, looks with the noisy camera, takes true masks, and tries a few of
the grasps that the matching leaves, each from the same state: in along the planner's straight way, close, up, hold.
The arm is put before the grasp, not moved there. A file a scene; those there already are not made again.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import tyro

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grasping.antipodal import sample_antipodal
from dropclip_ros.grasping.choose import Choice, World, choose
from dropclip_ros.grasping.choose import View as Image
from dropclip_ros.grasping.choose import look as look_at
from dropclip_ros.grasping.gate import Limits
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.handoff import HandoffConfig
from dropclip_ros.grasping.lift import Around
from dropclip_ros.grasping.matching import SERVED, MatchConfig, around_target
from dropclip_ros.tabletop.workspace import Workspace
from dropclip_ros.vision.geometry import backproject, transform_points
from training.runs.files import write_atomically
from training.scenes.description import CLUTTER, FIRST_OBJECT_ID
from training.scenes.scene import View
from training.workcell.cell import Cell, CellConfig
from training.workcell.pick import LIFTED, Candidate, raised_by_pick
from training.workcell.planning import NoPath, Planner, observed
from training.workcell.robot import HOME

LEAST_PIXELS = 200  # of a target
TAKEN_ALONG = 0.05  # m, that another object may not rise


def candidates(
    cell: Cell, view: View, name: str, config: MatchConfig = SERVED, proposals: Grasps | None = None
) -> tuple[Choice, Around]:
    """Grasps of an object in the world, best first, as grasp_matcher_node chooses them of what proposal_node proposes;
    and what is seen around. Raises DropclipError where there are none. proposals: in the place of those, in the world.
    """
    pose, gripper = view.world_from_camera, cell.config.gripper
    mask = view.mask == cell.names.index(name) + FIRST_OBJECT_ID
    target = backproject(np.where(mask, view.depth, 0), view.camera)[0].astype(np.float64)
    if not len(target):
        raise DropclipError(Status.TARGET_UNSEEN, f"{name}: the camera sees none of it")
    target = transform_points(pose, target)
    seen = look_at(target, Image(view.depth, view.camera, pose, pose), Workspace(), 0.1, Limits())
    if proposals is None:
        here = seen.around.transformed(np.linalg.inv(pose))
        proposals = sample_antipodal(here.points, gripper=gripper, table=here.table).transformed(pose)
    world = World(np.eye(4), True, cell.config.world_from_base[:3, 3])
    choice = choose(proposals, target, config, gripper, HandoffConfig(), world, Limits(), seen)
    return choice, around_target(target, seen.around)


def motions(choice: Choice) -> list[Candidate]:
    """What `pick` takes, of grasps in the world."""
    motion = choice.motion
    poses = zip(motion.tool, motion.pregrasp, motion.retreat, choice.match.widths, strict=True)
    return [Candidate(tool, before, after, float(width)) for tool, before, after, width in poses]


def make(
    out: Path = Path("runs/lifts"), first: int = 1000, scenes: int = 100, targets: int = 3, tries: int = 6
) -> None:
    """Makes examples.

    Args:
        out: folder, a file a scene.
        first: seed of the first scene.
        scenes: how many.
        targets: objects of each scene.
        tries: grasps of each object: half of them the best, the others drawn.
    """
    out.mkdir(parents=True, exist_ok=True)
    cell, config = Cell(CellConfig()), replace(SERVED, top_k=30)
    for seed in range(first, first + scenes):
        path = out / f"{seed}.npz"
        if path.exists():
            continue
        rng = np.random.default_rng(seed)
        names = cell.reset(seed, CLUTTER[seed % len(CLUTTER)], "train")
        view = cell.capture()
        pixels = np.bincount(view.mask.ravel(), minlength=len(names) + FIRST_OBJECT_ID)[FIRST_OBJECT_ID:]
        shown = [name for name, count in zip(names, pixels, strict=True) if count >= LEAST_PIXELS]
        planner, found = Planner(cell.config, observed(view, cell.config)), {}
        for name in rng.permutation(shown)[:targets].tolist():
            try:
                choice, around = candidates(cell, view, name, config)
            except DropclipError:
                continue
            count = len(choice.match.grasps)
            best = min(tries // 2, count)
            drawn = np.append(np.arange(best), best + rng.permutation(count - best)[: tries - best])
            outcomes = [_try(cell, planner, motions(choice)[k], name) for k in drawn]
            tried = [k for k, outcome in zip(drawn, outcomes, strict=True) if outcome is not None]
            found |= {
                f"{name}/rows": choice.match.grasps[np.array(tried, int)].rows(),
                f"{name}/widths": choice.match.widths[tried],
                f"{name}/lifted": np.array([one for one in outcomes if one is not None], bool),
                f"{name}/target": around.target.astype(np.float32),
                f"{name}/others": around.others.astype(np.float32),
                f"{name}/table": around.table,
                f"{name}/camera": around.camera,
            }
        with write_atomically(path) as part, part.open("wb") as file:
            np.savez_compressed(file, **found)
        lifted = np.concatenate([[False][:0], *(v for k, v in found.items() if k.endswith("/lifted"))])
        print(f"{seed}: {lifted.sum():.0f} of {len(lifted)} lifted", flush=True)
    cell.close()


def _try(cell: Cell, planner: Planner, candidate: Candidate, name: str) -> bool | None:
    """Whether the target alone is lifted from the state that the cell is in, which it is in again; None: no way."""
    try:
        ways = planner.ways(HOME, candidate.tool, candidate.pregrasp, candidate.retreat, candidate.opening)
    except NoPath:
        return None
    state = np.zeros(mujoco.mj_stateSize(cell.model, mujoco.mjtState.mjSTATE_INTEGRATION))
    mujoco.mj_getState(cell.model, cell.data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
    before = cell.poses()
    try:
        cell.put(ways[0][0][0], candidate.opening)
        raised_by_pick(cell, *ways[0], candidate.opening)
        after = cell.poses()
    finally:
        mujoco.mj_setState(cell.model, cell.data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
        mujoco.mj_forward(cell.model, cell.data)
        cell.open(cell.config.gripper.max_width)
    rise = {one: after[one][2, 3] - before[one][2, 3] for one in cell.names}
    return rise[name] >= LIFTED and all(up < TAKEN_ALONG for one, up in rise.items() if one != name)


if __name__ == "__main__":
    tyro.cli(make)
