# SPDX-License-Identifier: Apache-2.0
"""The command `dropclip-eval`: the paper's tables and figures, made again on our data or on theirs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Literal

import tyro

from dropclip_ros.errors import DropclipError
from training.evaluate import tables
from training.evaluate.bench import Bench
from training.evaluate.report import Table
from training.mvtod.errors import MvtodError


def on_mvtod(make: Callable[..., Table]) -> Callable[..., None]:
    """The command of a table that is made of MV-TOD scenes."""

    def command(
        scenes: Path = Path("runs/eval/scenes"),
        out: Path = Path("out/eval"),
        cache: Path = Path("runs/eval"),
        split: str = "unseen_instance",
        model: Path | None = None,
        which: Literal["training", "heldout"] = "training",
        limit: int | None = None,
        validation: int | None = None,
        views: int | None = None,
        workers: int = 2,
        exported: Path = Path("exported"),
        seed: int = 0,
    ) -> None:
        """
        Args:
            scenes: folder with a folder of scenes for each split, "validation" among them (known instances).
            out: folder for NAME.csv, NAME.md and NAME.png.
            cache: folder that keeps features and clouds.
            split: what is evaluated.
            model: model folder; the shipped one by default.
            which: phrases that training knew, or other wording.
            limit: scenes of the split, all by default.
            validation: scenes to calibrate on, all by default.
            views: of a scene, for what takes long: patches, and crops in many ways; all by default.
            workers: processes that embed crops.
            exported: folder of predictions of other systems.
            seed: of questions and views.
        """
        sizes = {"limit": limit, "validation": validation, "workers": workers}
        bench = Bench(scenes, cache, split, model, which=which, seed=seed, exported=exported, **sizes)
        table = make(bench, views)
        table.write(out)
        print(table.markdown())

    return wraps(make, assigned=("__name__",), updated=())(command)


COMMANDS = {
    "table2": on_mvtod(tables.table2),
    "table3": on_mvtod(tables.table3),
    "table8": on_mvtod(tables.table8),
    "table9": on_mvtod(tables.table9),
    "table10": on_mvtod(tables.table10),
    "figure5": on_mvtod(tables.figure5),
    "figure6": on_mvtod(tables.figure6),
}


def main() -> None:
    try:
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS, prog="dropclip-eval", description=__doc__, config=(tyro.conf.OmitArgPrefixes,)
        )
    except (MvtodError, DropclipError) as error:
        print(f"dropclip-eval: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
