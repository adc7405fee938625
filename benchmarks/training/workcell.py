# SPDX-License-Identifier: Apache-2.0
"""What the workcell costs, and how often it lifts what it reaches for when it is told which pixels are the target.

    python -m benchmarks.training.workcell [--seeds 10] [--targets 2]

CPU seconds of one process (the simulation uses one core) of a reset, a look, the grasps and a pick; outcomes by
clutter, with grasps of the antipodal sampler on the noisy cloud: grasping without grounding.
"""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from typing import Literal

import numpy as np
import tyro

from dropclip_ros.base.errors import DropclipError
from training.scenes.description import CLUTTER, FIRST_OBJECT_ID
from training.workcell.cell import Cell
from training.workcell.demo import grasps_of
from training.workcell.pick import candidates_of, pick

STAGES = ("reset", "look", "grasps", "pick")
HEAD = ("clutter", "picks", "target alone lifted", "other outcomes", "others pushed")
PUSHED = 0.02  # m
LEAST_PIXELS = 300  # of a target


def main(
    seeds: int = 10,
    first: int = 100,
    targets: int = 2,
    split: Literal["train", "unseen_instance", "unseen_category"] = "unseen_instance",
    verbose: bool = False,
) -> None:
    """Prints a table.

    Args:
        seeds: scenes of each clutter.
        first: seed of the first.
        targets: objects picked of each scene, which is laid anew each time.
        split: of the objects.
        verbose: print each pick.
    """
    cell = Cell()
    cell.reset(first, "mixed", split)  # imports, first renderer
    cell.capture()
    print("| " + " | ".join(HEAD + tuple(f"{name}, CPU s" for name in STAGES)) + " |")
    print("|---" * len(HEAD + STAGES) + "|")
    for clutter in CLUTTER:
        spent, outcomes, pushed = {name: [] for name in STAGES}, Counter(), 0
        for seed in range(first, first + seeds):
            names = timed(spent["reset"], partial(cell.reset, seed, clutter, split))
            cell.capture()
            view = timed(spent["look"], cell.capture)
            pixels = np.bincount(view.mask.ravel(), minlength=len(names) + FIRST_OBJECT_ID)[FIRST_OBJECT_ID:]
            visible = [name for name, count in zip(names, pixels, strict=True) if count >= LEAST_PIXELS]
            for name in np.random.default_rng(seed).permutation(visible)[:targets].tolist():
                cell.reset(seed, clutter, split)
                view = cell.capture()
                try:
                    candidates = candidates_of(cell, timed(spent["grasps"], partial(grasps_of, cell, view, name)))
                    before = cell.poses()
                    result = timed(spent["pick"], partial(pick, cell, candidates, view))
                    pushed += any(
                        np.linalg.norm((cell.poses()[other] - before[other])[:3, 3]) > PUSHED
                        for other in names
                        if other != name
                    )
                    lifted = result.lifted == (name,)
                    outcome = "right" if lifted else "wrong or several" if result.lifted else result.status.name
                    why = result.message + "; " + "; ".join(result.reasons)
                except DropclipError as error:
                    outcome, why = error.status.name, error.message
                outcomes[outcome] += 1
                if verbose:
                    print(f"{clutter} {seed} {name}: {outcome}: {why}", flush=True)
        right, total = outcomes.pop("right", 0), sum(outcomes.values())
        others = ", ".join(f"{count} {name}" for name, count in outcomes.most_common()) or "none"
        times = " | ".join(f"{np.median(seconds):.2f} (most {max(seconds):.2f})" for seconds in spent.values())
        print(f"| {clutter} | {right + total} | {right} | {others} | {pushed} | {times} |", flush=True)
    cell.close()


def timed(seconds: list[float], work):
    """What `work` returns; appends its CPU seconds."""
    start = time.process_time()
    result = work()
    seconds.append(time.process_time() - start)
    return result


if __name__ == "__main__":
    tyro.cli(main)
