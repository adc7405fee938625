# SPDX-License-Identifier: Apache-2.0
"""The command `dropclip-mvtod`: collects, annotates objects; generates scenes, adds grasps, shows, counts, exports."""

from __future__ import annotations

import sys

import tyro

from training.mvtod.annotate import annotate
from training.mvtod.collect import collect
from training.mvtod.errors import MvtodError
from training.mvtod.export import export
from training.mvtod.generate import generate
from training.mvtod.inspect_scene import inspect
from training.mvtod.scene_grasps import grasps
from training.mvtod.stats import stats

COMMANDS = {
    "collect": collect,
    "annotate": annotate,
    "generate": generate,
    "grasps": grasps,
    "inspect": inspect,
    "stats": stats,
    "export": export,
}


def main() -> None:
    try:
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS, prog="dropclip-mvtod", description=__doc__, config=(tyro.conf.OmitArgPrefixes,)
        )
    except MvtodError as error:
        print(f"dropclip-mvtod: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
