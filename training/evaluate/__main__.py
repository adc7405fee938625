# SPDX-License-Identifier: Apache-2.0
"""`python -m training.evaluate`: the quality of the shipped path; `dropclip-eval` makes the paper's tables."""

import sys

import tyro

from dropclip_ros.base.errors import DropclipError
from training.evaluate.served.quality import main
from training.runs.errors import InputError

if __name__ == "__main__":
    try:
        tyro.cli(main)
    except (InputError, DropclipError) as error:
        print(f"training.evaluate: {error}", file=sys.stderr)
        sys.exit(2)
