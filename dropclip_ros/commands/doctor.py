# SPDX-License-Identifier: Apache-2.0
"""`dropclip doctor`: what keeps the nodes from a camera's frames, and what to set."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.missing import how_to_install
from dropclip_ros.commands.output import say

_MARKS = {"fine": "ok  ", "note": "note", "bad": "BAD "}


def add_parser(commands: argparse._SubParsersAction, about: str) -> None:
    parser = commands.add_parser(
        "doctor", help=about, epilog="ends with 0 where nothing must be set, 1 where something must"
    )
    parser.add_argument("--camera", default="realsense", help="a preset, or a file like config/cameras (as the launch)")
    parser.add_argument("--camera-prefix", default="", help="what the topics begin with, in place of the preset's")
    parser.add_argument("--topics", nargs=3, metavar=("COLOR", "DEPTH", "INFO"), help="whole names")
    parser.add_argument("--depth-unit", default="", help="of 16UC1: mm or 0.1mm (default: the preset's)")
    parser.add_argument("--reliable", action="store_true", help="as the nodes' parameter")
    parser.add_argument("--world-frame", default="", help="as the nodes' parameter")
    parser.add_argument("--sim-time", action="store_true", help="as use_sim_time of the nodes")
    parser.add_argument("--model", help="model folder (default: the shipped one)")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long to listen (default 4)")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        doctor = import_module("dropclip_ros.ros.health.doctor")
    except ImportError as error:
        raise DropclipError(
            Status.BAD_REQUEST, f"the doctor needs ROS: {how_to_install(error, sys.executable)}"
        ) from error
    topics = _topics(args)
    color, depth, info = args.topics or (topics.color, topics.depth, topics.info)
    wanted = doctor.Wanted(
        color,
        depth,
        info,
        args.depth_unit or topics.depth_unit,
        args.reliable or topics.reliable,
        args.world_frame,
        args.sim_time,
    )
    found = [_model(args.model, doctor.Finding), *doctor.examine(wanted, min(max(args.seconds, 0.1), 600.0))]
    if args.json:
        say(json.dumps([vars(finding) for finding in found]))
    else:
        for finding in found:
            say(f"{_MARKS[finding.how]}  {finding.what}: {finding.said}")
    return int(any(finding.how == "bad" for finding in found))


def _topics(args: argparse.Namespace):
    """The camera's topics as the launch files take them. BAD_REQUEST where there is no such preset."""
    cameras = import_module("dropclip_ros.ros.launching.cameras")
    names = ("camera", "camera_prefix", "color_topic", "depth_topic", "info_topic", "points_topic", "depth_unit")
    told: Mapping[str, str] = dict.fromkeys(names, "") | {
        "camera": args.camera,
        "camera_prefix": args.camera_prefix,
        "depth_unit": args.depth_unit,
        "reliable": "",
        "transport": "raw",
    }
    try:
        return cameras.camera_topics(_presets(), told)
    except ValueError as error:
        raise DropclipError(Status.BAD_REQUEST, f"--camera: {error}") from error


def _presets() -> Path:
    """config/cameras: beside the package in a checkout, in its share folder where ROS installed it."""
    beside = Path(__file__).resolve().parents[2] / "config" / "cameras"
    if beside.is_dir():
        return beside
    try:
        share = import_module("ament_index_python.packages").get_package_share_directory("dropclip_ros")
    except (ImportError, LookupError) as error:
        raise DropclipError(Status.BAD_REQUEST, f"config/cameras is not found ({error}); give --topics") from error
    return Path(share) / "config" / "cameras"


def _model(folder: str | None, finding: type):
    """Whether the model folder is whole and true; it is not loaded."""
    from dropclip_ros.base.files import check_sha256
    from dropclip_ros.grounding.pipeline import MODEL_FOLDER
    from dropclip_ros.networks.model_folder import load_config

    path = Path(folder) if folder else MODEL_FOLDER
    try:
        config = load_config(path)
        for name, digest in config.sha256.items():
            check_sha256(path / name, digest)
    except DropclipError as error:
        return finding("model", "bad", error.message)
    return finding("model", "fine", f"{config.name} in {path}, {len(config.sha256)} files as they should be")
