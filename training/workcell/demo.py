# SPDX-License-Identifier: Apache-2.0
"""One pick in the workcell, filmed: no ROS, no weights.

    python -m training.workcell.demo --seed 3 --out out/pick.gif

The target's points are cut out by the simulator's mask (`Ground` would find them by a phrase); grasps come from the
antipodal sampler on the noisy cloud and are matched to those points as in A.7.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.grasping.antipodal import sample_antipodal
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.matching import MatchConfig, Surroundings, match_grasps
from dropclip_ros.vision.geometry import backproject, transform_points
from training.runs.errors import InputError
from training.scenes.description import FIRST_OBJECT_ID
from training.scenes.scene import View
from training.workcell.cell import Cell
from training.workcell.film import write_gif
from training.workcell.pick import candidates_of, pick

RULES = MatchConfig(
    rules=("width", "approach", "table", "target", "others", "collision"), rank="score", open_wider=0.02
)
TABLE = np.array([0.0, 0.0, 1.0, 0.0])  # plane in the world
ABOVE = 0.006  # m over it: what is lower is the table, seen through noise
FILM_STEP = 0.1  # s simulated, between pictures


def grasps_of(cell: Cell, view: View, name: str, config: MatchConfig = RULES) -> Grasps:
    """The best grasps of an object that a view shows, in the world. Raises DropclipError where there are none."""
    points, pixels = backproject(view.depth, view.camera)
    labels = view.mask.reshape(-1)[pixels].astype(int)
    standing = transform_points(view.world_from_camera, points)[:, 2] > ABOVE
    points, labels = points[standing], labels[standing]
    table = TABLE @ view.world_from_camera  # a plane moves by the transpose
    target = points[labels == cell.names.index(name) + FIRST_OBJECT_ID]
    gripper = cell.config.gripper
    near = np.where(labels >= FIRST_OBJECT_ID, labels, -1)
    found = sample_antipodal(points, gripper=gripper, table=table, labels=near)
    match = match_grasps(found, target, config, gripper, Surroundings(points, table))
    best = replace(match.grasps, width=match.widths)
    return best.transformed(view.world_from_camera)


def film(cell: Cell) -> list[np.ndarray]:
    """Pictures, which become more from now on while the cell's arm moves."""
    pictures, last = [cell.overview()], cell.time

    def shoot() -> None:
        nonlocal last
        if cell.time - last >= FILM_STEP:
            last = cell.time
            pictures.append(cell.overview())

    cell.hook = shoot
    return pictures


def main(
    seed: int = 3,
    clutter: Literal["scattered", "packed", "mixed"] = "mixed",
    split: Literal["train", "unseen_instance", "unseen_category"] = "unseen_instance",
    target: str = "",
    out: Path = Path("out/pick.gif"),
) -> None:
    """Picks an object and films it.

    Args:
        seed: of the objects and their places.
        clutter: how they stand.
        split: of the catalogue's objects.
        target: name of an object; empty: the one that the camera sees most of, of those with grasps.
        out: the film.
    """
    cell = Cell()
    try:
        names = cell.reset(seed, clutter, split)
        if target and target not in names:
            raise InputError(f"target {target!r}: on the table are {', '.join(names)}")
        view = cell.capture()
        seen = np.bincount(view.mask.ravel(), minlength=len(names) + FIRST_OBJECT_ID)[FIRST_OBJECT_ID:]
        print(f"{len(names)} objects: {', '.join(names)}")
        for name in [target] if target else [names[k] for k in np.argsort(-seen, kind="stable")]:
            try:
                grasps = grasps_of(cell, view, name)
                break
            except DropclipError as error:
                print(f"{name}: {error.message}")
        else:
            sys.exit("nothing to pick; choose another seed or target")
        pictures = film(cell)
        result = pick(cell, candidates_of(cell, grasps), view)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_gif(pictures, f"{name}: {result.message}", out)
        print(f"{name}: {result.status.name}: {result.message}; lifted: {', '.join(result.lifted) or 'nothing'}")
        for number, reason in enumerate(result.reasons):
            print(f"not executed: grasp {number}: {reason}")
        print("seconds: " + ", ".join(f"{stage} {spent:.2f}" for stage, spent in result.timing.items()) + f"; {out}")
    except InputError as error:
        sys.exit(str(error))
    finally:
        cell.close()


if __name__ == "__main__":
    tyro.cli(main)
