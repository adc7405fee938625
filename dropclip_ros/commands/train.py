# SPDX-License-Identifier: Apache-2.0
"""`dropclip train`: hands over to the training package, which the core does not need and cannot import."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from collections.abc import Sequence

from dropclip_ros.base.errors import DropclipError, Status


def add_parser(commands: argparse._SubParsersAction, about: str) -> None:
    """Lists the command; its options are those of `training.clip`, which reads them."""
    commands.add_parser("train", help=about, add_help=False)


def run(args: argparse.Namespace) -> int:
    return start_training("training.clip", args.options)


def start_training(module: str, options: Sequence[str]) -> int:
    """Runs a module of `training` in a process of its own; its exit code. MODEL_ERROR where it is not installed."""
    if importlib.util.find_spec("training") is None or importlib.util.find_spec("tyro") is None:
        raise DropclipError(
            Status.MODEL_ERROR, "the training package is not installed; install it: pip install 'dropclip_ros[train]'"
        )
    return subprocess.run([sys.executable, "-m", module, *options], check=False).returncode
