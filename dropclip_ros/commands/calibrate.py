# SPDX-License-Identifier: Apache-2.0
"""`dropclip calibrate`: what a score of a model is worth, from frames of one's own or from rendered scenes."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.files import write_beside
from dropclip_ros.base.reading import read_json
from dropclip_ros.commands.train import start_training
from dropclip_ros.grounding.calibration import Calibration, LabelledFrame, best_in_view, calibrate_on, calibrated
from dropclip_ros.grounding.pipeline import Grounder
from dropclip_ros.networks.model_card import update_calibration
from dropclip_ros.networks.model_folder import load_config, write_config
from dropclip_ros.networks.text import clean_phrase
from dropclip_ros.vision.geometry import DEPTH_UNITS, load_frame

CURVE = "calibration.json"
FRAMES_HELP = (
    'JSON, a list of {"rgb", "depth", "intrinsics", "depth_unit", "camera_pose", "there": [phrases], "absent": '
    "[phrases]}; paths are relative to it, depth_unit is mm where not said, camera_pose may be left out"
)


def add_parser(commands: argparse._SubParsersAction, about: str) -> None:
    parser = commands.add_parser("calibrate", help=about)
    parser.add_argument("model", type=Path, help="model folder; its config.json and card are written")
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--frames", type=Path, help=FRAMES_HELP)
    data.add_argument(
        "--scenes", type=Path, help="instead: rendered scenes of dropclip-mvtod (needs the training package)"
    )
    parser.add_argument(
        "--refuse", type=float, help="share of absent phrases to refuse, in (0, 1); default: threshold 0.5"
    )
    parser.add_argument("--image", action="store_true", help="calibrate encoder and image tower together")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.refuse is not None and not 0 < args.refuse < 1:
        raise DropclipError(Status.BAD_REQUEST, f"--refuse {args.refuse}: expected a share in (0, 1)")
    if args.scenes:
        options = [
            "--model",
            str(args.model.resolve()),
            "--scenes",
            str(args.scenes.resolve()),
            "--device",
            args.device,
        ]
        options += ["--refuse", str(args.refuse)] if args.refuse else []
        return start_training("training.evaluate.served.calibrate", options + ["--image"] * args.image)
    frames = read_frames(args.frames)
    grounder = Grounder.from_pretrained(args.model, args.device, image="tower" if args.image else False)
    usable = [labelled for number, labelled in enumerate(frames) if _encodes(grounder, number, labelled)]
    write_calibration(args.model, calibrate_on(grounder, usable, args.refuse), args.image)
    return 0


def _encodes(grounder: Grounder, number: int, labelled: LabelledFrame) -> bool:
    try:
        best_in_view(grounder, labelled.frame, ["object"])
    except DropclipError as error:
        if error.status is Status.MODEL_ERROR:
            raise
        print(f"dropclip: frame {number + 1} is left out: {error}", file=sys.stderr)
        return False
    return True


def read_frames(path: Path) -> list[LabelledFrame]:
    """The frames of a JSON file. BAD_REQUEST where it is not one, BAD_FRAME where a frame cannot be read."""
    try:
        entries = read_json(path)
        if not isinstance(entries, list):
            raise ValueError("expected a list")
        return [_labelled(path.parent, entry) for entry in entries]
    except OSError as error:
        raise DropclipError(Status.BAD_REQUEST, f"{path}: {error.strerror}; expected {FRAMES_HELP}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DropclipError(Status.BAD_REQUEST, f"{path}: {error}; expected {FRAMES_HELP}") from error


def _labelled(folder: Path, entry: dict) -> LabelledFrame:
    if (unit := entry.get("depth_unit", "mm")) not in DEPTH_UNITS:
        raise ValueError(f"depth_unit {unit!r}: expected one of {', '.join(sorted(DEPTH_UNITS))}")
    pose = folder / entry["camera_pose"] if "camera_pose" in entry else None
    rgb, depth, intrinsics = (folder / entry[name] for name in ("rgb", "depth", "intrinsics"))
    there, absent = (tuple(clean_phrase(phrase) for phrase in entry[name]) for name in ("there", "absent"))
    return LabelledFrame(load_frame(rgb, depth, unit, intrinsics, pose), there, absent)


def write_calibration(folder: Path, found: Calibration, image: bool) -> None:
    """The numbers into config.json, the curve of refusals beside it, a sentence into the card; and prints it."""
    config = load_config(folder)
    config = calibrated(config, found, image or not config.encoder_names)
    write_config(folder, config)
    with write_beside(folder / CURVE) as part:
        part.write_text(json.dumps(found.to_dict(), indent=1) + "\n", encoding="utf-8")
    update_calibration(folder, config, str(found))
    print(
        f"temperature {found.temperature:g}, null similarity {found.null_similarity:g}, threshold {found.threshold:g}"
    )
    print(found)
    if found.auroc < 0.6:
        print("dropclip: warning: this model hardly tells phrases that are there from others", file=sys.stderr)
