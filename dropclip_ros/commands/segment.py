# SPDX-License-Identifier: Apache-2.0
"""`dropclip segment`: a label for every point, by class or by instance."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.commands.output import say
from dropclip_ros.commands.sources import check_sources, frame_options, open_scenes
from dropclip_ros.grounding.pipeline import EncodedScene, Grounder


def add_parser(commands: argparse._SubParsersAction, about: str) -> None:
    segment = commands.add_parser("segment", parents=[frame_options()], help=about)
    what = segment.add_mutually_exclusive_group(required=True)
    what.add_argument("--classes", help="comma-separated class names")
    what.add_argument("--instances", action="store_true", help="separate objects without naming them")
    segment.set_defaults(run=run, check=lambda args: check_sources(args, segment))


def run(args: argparse.Namespace) -> int:
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
    grounder, frames = open_scenes(args)
    if len(frames) > 1:
        raise DropclipError(Status.BAD_REQUEST, f"{len(frames)} frames: segment takes one, ground takes several")
    scene = frames[0][1]()
    labels, legend = _labels(grounder, scene, args)
    if args.out:
        _write(scene, labels, legend, args.out)
    counts = {name: int((labels == int(k)).sum()) for k, name in legend.items()}
    if args.json:
        say(json.dumps({"legend": legend, "points": counts, "note": scene.note, "timing_ms": scene.timing_ms}))
    else:
        for name, count in counts.items():
            say(f"{name}: {count} points")
    if scene.note:
        print(f"dropclip: {scene.note}", file=sys.stderr)
    return 0


def _labels(grounder: Grounder, scene: EncodedScene, args: argparse.Namespace) -> tuple[np.ndarray, dict[str, str]]:
    """Label of each point, and the name of each label."""
    if args.instances:
        labels = grounder.instances(scene)
        return labels, {str(k): f"instance {k}" for k in range(1, labels.max() + 1)}
    names = list(dict.fromkeys(name.strip() for name in args.classes.split(",") if name.strip()))
    if not names:
        raise DropclipError(Status.BAD_REQUEST, f"--classes {args.classes!r}: expected names separated by commas")
    return grounder.segment(scene, names), {str(k + 1): name for k, name in enumerate(names)}


def _write(scene: EncodedScene, labels: np.ndarray, legend: dict[str, str], out: Path) -> None:
    from dropclip_ros.draw import draw_segments

    image = scene.image(labels.astype(np.uint16))
    Image.fromarray(image).save(out / "label.png")
    (out / "legend.json").write_text(json.dumps(legend, indent=1))
    Image.fromarray(draw_segments(scene.frame.rgb, image, legend)).save(out / "segments.png")
