# SPDX-License-Identifier: Apache-2.0
"""The command `dropclip`: what it can do, each in a module of `commands` that is imported when it is asked for."""

from __future__ import annotations

import argparse
import io
import sys
from importlib import import_module

from dropclip_ros import __version__
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.commands.output import NoOutput

COMMANDS = {  # name: module, and what it does
    "ground": ("ground", "find what phrases mean, and how to grasp it"),
    "segment": ("segment", "label every point, by class or by instance"),
    "view": ("view", "ask in a browser: camera, cloud, similarity, instances, grasps"),
    "doctor": ("doctor", "check camera topics, frames, QoS, clock, TF and model, and say what to set"),
    "model": ("models", "make a model folder, without training"),
    "calibrate": ("calibrate", "what a model's scores are worth, from labelled frames"),
    "check-extrinsics": ("extrinsics", "compare where the gripper, or a printed marker, is seen with where TF has it"),
    "train": ("train", "the paper's training for any CLIP, from scenes to a served model"),
}


def main(argv: list[str] | None = None) -> int:
    """Runs one command; 0 when it was carried out (NOT_FOUND too), 1 with a one-line error otherwise, 130 by Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter still gets the answer
    try:
        args = parsed(sys.argv[1:] if argv is None else argv)
        return args.run(args)
    except KeyboardInterrupt:
        return 130
    except NoOutput as error:
        sys.stdout = io.StringIO()  # what is left in it would fail once more at the end
        print(f"dropclip: cannot write to stdout: {error}", file=sys.stderr)
        return 1
    except DropclipError as error:
        return _fail(error)
    except OSError as error:
        return _fail(DropclipError(Status.BAD_REQUEST, f"{error.filename or ''}: {error.strerror or error}"))


def parsed(argv: list[str]) -> argparse.Namespace:
    """The arguments, with `run`, the function that carries them out; ends with code 2 where they make no sense."""
    parser = argparse.ArgumentParser(prog="dropclip", description="Ground phrases in RGB-D frames or a static scene.")
    parser.add_argument("--version", action="version", version=f"dropclip {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    wanted = next((word for word in argv if not word.startswith("-")), "")
    for name, (module, about) in COMMANDS.items():
        if name == wanted:
            import_module(f"dropclip_ros.commands.{module}").add_parser(commands, about)
        else:
            commands.add_parser(name, help=about)
    if wanted == "train" and argv[0] == "train":  # its options are those of `training.clip`, which reads them
        return argparse.Namespace(
            command="train", options=argv[1:], run=import_module("dropclip_ros.commands.train").run
        )
    args = parser.parse_args(argv)
    if "check" in args:
        args.check(args)
    return args


def _fail(error: DropclipError) -> int:
    print(f"dropclip: {error.status.name}: {error.message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
