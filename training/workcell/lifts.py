# SPDX-License-Identifier: Apache-2.0
"""Picks in the workcell that teach `dropclip_ros.grasping.lift` what lifts: made, and learnt from.

    python -m training.workcell.lifts make --out runs/lifts --first 1000 --scenes 100
    python -m training.workcell.lifts learn --data runs/lifts --out lift.npz

`make` lays scenes of the training split's objects, looks with the noisy camera, takes true masks, and tries a few of
the grasps that the matching leaves, each from the same state: in along the planner's straight way, close, up, hold.
The arm is put before the grasp, not moved there. A file a scene; those there already are not made again.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import tyro

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.reading import read_arrays
from dropclip_ros.grasping.antipodal import sample_antipodal
from dropclip_ros.grasping.choose import Choice, World, choose
from dropclip_ros.grasping.choose import View as Image
from dropclip_ros.grasping.choose import look as look_at
from dropclip_ros.grasping.gate import Limits
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.handoff import HandoffConfig
from dropclip_ros.grasping.lift import NAMES, Around, features
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


def learn(
    data: Path = Path("runs/lifts"),
    out: Path = Path("runs/lift.npz"),
    hidden: int = 24,
    members: int = 8,
    seed: int = 0,
) -> None:
    """Trains the small networks, and says how well what they predict agrees with what was lifted, on scenes held back.

    Args:
        data: folder of `make`.
        out: the weights.
        hidden: units of a network.
        members: networks, whose mean predicts.
        seed: of their weights and of which scenes are held back, a fifth.
    """
    import torch

    files = sorted(data.glob("*.npz"))
    if not files:
        sys.exit(f"{data}: no examples; make some first")
    x, y, scene = (np.concatenate(part) for part in zip(*map(_examples, files, range(len(files))), strict=True))
    held = np.isin(scene, np.random.default_rng(seed).permutation(len(files))[: len(files) // 5])
    for kept in (~held, np.ones(len(x), bool)):  # the first to be judged, the second to be shipped
        mean, scale = x[kept].mean(axis=0), x[kept].std(axis=0) + 1e-3
        inputs = torch.tensor((x[kept] - mean) / scale, dtype=torch.float32)
        wanted = torch.tensor(y[kept], dtype=torch.float32)
        weights = [_train(torch, inputs, wanted, hidden, seed + k) for k in range(members)]
        named = dict(zip(("w1", "b1", "w2", "b2"), map(np.stack, zip(*weights, strict=True)), strict=True))
        with write_atomically(out, replace=True) as part, part.open("wb") as file:
            np.savez(file, mean=mean, scale=scale, **named)
        if not kept.all():
            _judge(out, x[held], y[held])


def _examples(file: Path, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measures (N, F), whether lifted (N,), and the scene's number (N,) of a file of `make`."""
    gripper, x, y = CellConfig().gripper, [np.zeros((0, len(NAMES)))], [np.zeros(0)]
    held = read_arrays(file)
    for name in sorted({key.split("/")[0] for key in held}):
        around = Around(*(held[f"{name}/{part}"].astype(np.float64) for part in Around.__annotations__))
        x.append(features(Grasps.from_rows(held[f"{name}/rows"]), held[f"{name}/widths"], around, gripper))
        y.append(held[f"{name}/lifted"].astype(np.float64))
    return np.concatenate(x), np.concatenate(y), np.full(sum(map(len, y)), number)


def _train(torch, inputs, wanted, hidden: int, seed: int) -> tuple[np.ndarray, ...]:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(
        torch.nn.Linear(inputs.shape[1], hidden), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(hidden, 1)
    )
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.05)
    for _ in range(60):
        for batch in torch.randperm(len(inputs)).split(64):
            noisy = inputs[batch] + 0.05 * torch.randn_like(inputs[batch])
            loss = torch.nn.functional.binary_cross_entropy_with_logits(model(noisy)[:, 0], wanted[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    first, last = model[0], model[3]
    found = first.weight.T, first.bias, last.weight[0], last.bias[0]
    return tuple(one.detach().numpy().astype(np.float32) for one in found)


def _judge(path: Path, measures: np.ndarray, lifted: np.ndarray) -> None:
    """Prints predicted against lifted, in fifths, and how often a lifted grasp is put before one that failed."""
    from dropclip_ros.grasping.lift import predict

    told, score = predict(measures, path), measures[:, NAMES.index("score")]
    for name, value in (("network", told), ("sampler's score", score)):
        pairs = value[lifted > 0][:, None] - value[lifted == 0][None]
        print(f"{name}: of pairs {100 * ((pairs > 0).mean() + (pairs == 0).mean() / 2):.1f} % in order")
    order = np.argsort(told)
    for part in np.array_split(order, 5):
        print(f"predicted {told[part].mean():.2f}, lifted {lifted[part].mean():.2f} of {len(part)}")


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"make": make, "learn": learn})
