# SPDX-License-Identifier: Apache-2.0
"""What grasping alone loses: the trials' scenes and targets with true masks, in one process, by kind and by reason.

    python -m benchmarks.training.lifting --seed 0 --trials 17 --attempts 3 [--clear] [--pictures DIR]

The grasps are those that grasp_matcher_node would send. A row of JSON a trial; those there already are not run again.
A picture of each failure: the target in magenta, then the hand as it closed, lifted and held.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grasping.clearing import LOWEST, STUCK, free_places, in_the_way
from dropclip_ros.grasping.matching import SERVED
from dropclip_ros.vision.geometry import backproject, transform_points
from training.objects.catalogue import PROCEDURAL, Catalogue, open_catalogue
from training.scenes.description import CLUTTER, FIRST_OBJECT_ID
from training.scenes.scene import View
from training.trials.grading import grasped, visible
from training.trials.protocol import Asked, Protocol, ask, plan
from training.trials.report import share
from training.workcell.cell import Cell, CellConfig
from training.workcell.lifts import candidates, motions
from training.workcell.pick import AT_HOME, Candidate, pick, place
from training.workcell.robot import HOME

FLAT, THIN, WIDE, SMALL = 0.025, 0.03, 0.13, 0.045  # m
AGAIN = (Status.SLIPPED, Status.SCENE_CHANGED)
NOT_REACHED = (Status.NO_GRASPS, Status.NO_PATH)


@dataclass(frozen=True)
class Options:
    """Plays the trials that are not in the file yet, and prints tables of all.

    Attributes:
        out: a row of JSON a trial.
        seed: of the protocol.
        trials: of each clutter level.
        attempts: looks at most, again after a slip.
        clear: put away what is in the way first, where no grasp reaches the target or the best will hardly lift it.
        top_k: candidates for the arm.
        rank: lift, score or distance.
        pictures: folder of the failures.
        catalogue: procedural, or a folder with catalogue.json.
    """

    out: Path = Path("runs/lifting.jsonl")
    seed: int = 0
    trials: int = 17
    attempts: int = 3
    clear: bool = False
    top_k: int = SERVED.top_k
    rank: str = SERVED.rank
    pictures: Path | None = None
    catalogue: str = PROCEDURAL


def kind(cell: Cell, name: str) -> str:
    """Flat, thin, small, wide or compact, by the object's true shape as it lies."""
    world = cell.models[name].vertices @ cell.poses()[name][:3, :3].T
    turns = np.arange(0, np.pi, np.pi / 36)
    across = np.ptp(world[:, :2] @ np.stack([np.cos(turns), np.sin(turns)]), axis=0)
    if np.ptp(world[:, 2]) < FLAT:
        return "flat"
    if across.min() > WIDE:
        return "wide"
    if across.max() < SMALL:
        return "small"
    return "thin" if across.min() < THIN else "compact"


def lay(cell: Cell, protocol: Protocol, clutter: str, number: int, catalogue: Catalogue) -> tuple[Asked, str, View]:
    """The scene of a trial: what is asked, the target that is seen best, and the view."""
    for attempt in range(10):
        planned = plan(protocol, clutter, number, attempt)
        names = cell.reset(planned.seed, clutter, protocol.split, objects=planned.objects)
        view = cell.capture()
        shown = visible(np.maximum(view.mask.astype(int) - FIRST_OBJECT_ID + 1, 0), names)
        if asked := ask(planned, protocol.wording, catalogue, shown):
            return asked, max(asked.targets, key=lambda name: shown.get(name, -1)), view
    raise SystemExit(f"{clutter} {number}: no scene of ten can be asked about")


def at_home(cell: Cell) -> bool:
    return bool(np.abs(cell.arm() - HOME).max() < AT_HOME)


def put_away(cell: Cell, view: View, target: str) -> str:
    """Puts one thing away that is in the target's way; which, '' where none could be."""
    points, pixels = backproject(view.depth, view.camera)
    owner = view.mask.reshape(-1)[pixels].astype(int) - FIRST_OBJECT_ID
    points = transform_points(view.world_from_camera, points.astype(np.float64))
    points, owner = points[owner >= 0], owner[owner >= 0]
    for one in in_the_way(points[owner == cell.names.index(target)], points, owner)[:2]:
        moves = free_places(points[owner == one], points[owner != one])
        try:
            ways = motions(candidates(cell, view, cell.names[one])[0])
        except DropclipError:
            continue
        if not len(moves) or (picked := pick(cell, ways, view)).status is not Status.OK:
            if not at_home(cell):
                return ""
            view = cell.capture()
            continue
        taken = ways[picked.executed]
        down = [_moved(taken, move + np.array([0, 0, up])) for move in moves for up in LOWEST]
        return cell.names[one] if place(cell, down).status is Status.OK else ""
    return ""


def _moved(taken: Candidate, by: np.ndarray) -> Candidate:
    tool, away = taken.tool.copy(), taken.retreat.copy()
    tool[:3, 3] += by
    away[:3, 3] += by
    return Candidate(tool, away, away, taken.opening)


def play(cell: Cell, target: str, view: View, options: Options, pictures: list) -> tuple[Status, list]:
    """Picks the target, looking again as often as it may; how it ended, and what was said on the way. pictures:
    grows by one a stage."""

    def stage(name: str) -> None:
        if options.pictures:
            pictures.append(cell.overview())

    config, told, status = replace(SERVED, top_k=options.top_k, rank=options.rank), [], Status.NO_GRASPS
    for left in range(options.attempts - 1, -1, -1):
        try:
            choice, _ = candidates(cell, view, target, config)
            status, chance = Status.OK, float(choice.match.grasps.score[0])
        except DropclipError as error:
            status, chance = error.status, 0.0
            told.append(error.message)
        if options.clear and left and chance < STUCK and (put := put_away(cell, view, target)):
            told.append(f"put away {put}")
            view = cell.capture()
            continue
        if not at_home(cell):
            status = Status.NO_PATH
            told.append("what was in the way could not be put down")
        if status is not Status.OK:
            break
        view = cell.capture()
        done = pick(cell, motions(choice), view, stage=stage)
        status = done.status
        told.append("; ".join([done.message, *done.reasons]))
        if status is Status.OK or not at_home(cell) or status not in (AGAIN + NOT_REACHED * options.clear):
            break
        view = cell.capture()
    return status, told


def main(options: Options) -> None:
    """Plays, writes and prints."""
    protocol = Protocol(seed=options.seed, catalogue=options.catalogue)
    catalogue, cell = open_catalogue(options.catalogue), Cell(CellConfig(catalogue=options.catalogue))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    done = {(row["clutter"], row["number"]) for row in rows}
    for number in range(options.trials):
        for clutter in (clutter for clutter in CLUTTER if (clutter, number) not in done):
            asked, target, view = lay(cell, protocol, clutter, number, catalogue)
            before, pictures, what = cell.poses(), [], kind(cell, target)
            status, told = play(cell, target, view, options, pictures)
            success = grasped(before, cell.poses(), asked.targets)
            reason = "" if success else "wrong object" if status is Status.OK else status.name
            row = {"clutter": clutter, "number": number, "target": target, "kind": what, "reason": reason, "told": told}
            rows.append(row)
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{clutter} {number} {target} ({what}): {reason or 'lifted'}; {told[-1][:90]}", flush=True)
            if reason and options.pictures:
                _show(view, cell.names.index(target), pictures, options.pictures / f"{clutter}_{number}_{target}.png")
    cell.close()
    _report(rows)


def _report(rows: list[dict]) -> None:
    print("\n| | trials | lifted, % |\n| --- | --- | --- |")
    for field in ("clutter", "kind"):
        for value in dict.fromkeys(row[field] for row in rows):
            _line(value, [row for row in rows if row[field] == value])
    _line("all", rows)
    print("failures:", dict(Counter(row["reason"] for row in rows if row["reason"])))


def _line(name: str, rows: list[dict]) -> None:
    found = share(not row["reason"] for row in rows)
    print(f"| {name} | {found['n']} | {found['percent']:.0f} ({found['low']:.0f} to {found['high']:.0f}) |")


def _show(view: View, index: int, pictures: list[np.ndarray], path: Path) -> None:
    marked = view.rgb.copy()
    marked[view.mask == index + FIRST_OBJECT_ID] = (255, 0, 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    row = [np.asarray(Image.fromarray(one).resize((320, 240))) for one in (marked, *pictures[-3:])]
    Image.fromarray(np.concatenate(row, axis=1)).save(path)


if __name__ == "__main__":
    main(tyro.cli(Options))
