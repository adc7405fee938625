# SPDX-License-Identifier: Apache-2.0
"""The command `dropclip-mvtod`: objects and scenes, made, imported, shown, counted, exported."""

from __future__ import annotations

import tyro

from training.annotation.annotate import annotate
from training.evaluate.data.convert import import_scenes
from training.objects.collect import collect
from training.objects.merge import merge
from training.runs.errors import in_a_line
from training.scenes.export.export import export
from training.scenes.generate import generate
from training.scenes.grasps.scene_grasps import grasps
from training.scenes.inspect import inspect
from training.scenes.stats import stats

COMMANDS = {
    "collect": collect,
    "merge": merge,
    "annotate": annotate,
    "generate": generate,
    "import": import_scenes,
    "grasps": grasps,
    "inspect": inspect,
    "stats": stats,
    "export": export,
}


def main() -> None:
    with in_a_line("dropclip-mvtod"):
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS, prog="dropclip-mvtod", description=__doc__, config=(tyro.conf.OmitArgPrefixes,)
        )


if __name__ == "__main__":
    main()
