# SPDX-License-Identifier: Apache-2.0
"""`dropclip ground`: what phrases mean in frames, and how to grasp it, ranked as the nodes rank."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.commands.answers import answer_of, failed_answer, print_answer, write_pictures
from dropclip_ros.commands.output import say
from dropclip_ros.commands.sources import check_sources, frame_options, open_scenes
from dropclip_ros.draw.letters import missing
from dropclip_ros.grasping.answers import grasps_of, proposals_of
from dropclip_ros.grasping.grippers import GRIPPERS, load_gripper
from dropclip_ros.grasping.matching import SERVED
from dropclip_ros.grasping.presets import PRESETS, Preset
from dropclip_ros.grounding.pipeline import NEGATIVE_MODES, EncodedScene, Grounder
from dropclip_ros.grounding.scoring import SCORINGS
from dropclip_ros.vision.geometry import load_pose


def add_parser(commands: argparse._SubParsersAction, about: str) -> None:
    ground = commands.add_parser("ground", parents=[frame_options()], help=about)
    ground.set_defaults(run=run, check=lambda args: check(args, ground))
    ground.add_argument("--query", action="append", required=True, help="a phrase; may be repeated")
    ground.add_argument("--negative", action="append", default=[], help="a phrase that is not meant; may be repeated")
    ground.add_argument(
        "--negatives-mode", choices=NEGATIVE_MODES, help="default: custom with --negative, else canonical"
    )
    ground.add_argument(
        "--literal", action="store_true", help="compare phrases as a whole, without reading their parts"
    )
    ground.add_argument(
        "--reader",
        nargs=2,
        metavar=("URL", "MODEL"),
        help="let a language model at an OpenAI-compatible URL (up to /v1) read phrases of several parts; its key is "
        "taken from DROPCLIP_READER_KEY. Default: the grammar alone",
    )
    ground.add_argument(
        "--previous", type=int, nargs="+", default=[], help="ids of the objects answered before, for 'the other one'"
    )
    ground.add_argument(
        "--viewer",
        help="JSON with the 4x4 camera_from_viewer, m, of who says left and right (x ahead, z up); default: the camera",
    )
    ground.add_argument("--threshold", type=float, default=0.0, help="in (0, 1); default: the model's")
    ground.add_argument(
        "--gripper", default="robotiq_2f_140", help=f"{', '.join(sorted(GRIPPERS))}, or the path of a profile, .yaml"
    )
    ground.add_argument(
        "--scoring", choices=SCORINGS, help="ours (default: instances), or section 3.4's for every point"
    )
    ground.add_argument(
        "--preset",
        choices=sorted(PRESETS),
        help="a7: scoring, threshold, RANSAC and matching of the paper's appendix, where options do not say otherwise",
    )
    ground.add_argument("--top-k", type=_at_least_one, help="grasps an object (default 8; 3 in preset a7)")


def _at_least_one(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number}: expected 1 or more")
    return number


def check(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Fills in what the preset says; ends with code 2 where options contradict each other."""
    if args.negative and args.negatives_mode in ("none", "canonical"):
        parser.error(f"--negatives-mode {args.negatives_mode} leaves no place for --negative: leave one out")
    if args.negatives_mode in ("custom", "scene") and not args.negative:
        parser.error(f"--negatives-mode {args.negatives_mode} needs --negative")
    preset = PRESETS[args.preset] if args.preset else Preset("instances", "", 0.0, match=SERVED)
    args.match = preset.match
    args.scoring = args.scoring or preset.scoring
    args.table = args.table or preset.workspace.table
    args.top_k = args.top_k or preset.match.top_k
    args.threshold = args.threshold or preset.threshold
    args.negatives_mode = args.negatives_mode or preset.negatives_mode
    check_sources(args, parser)


def run(args: argparse.Namespace) -> int:
    try:
        return _run(args)
    except DropclipError as error:  # of everything at once
        if args.json:
            say(json.dumps([failed_answer(query, error) for query in args.query]))
        raise


def _run(args: argparse.Namespace) -> int:
    args.gripper = load_gripper(args.gripper)
    args.viewer = load_pose(args.viewer) if args.viewer else None
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
    grounder, frames = open_scenes(args)
    if args.reader:
        from dropclip_ros.language.chat import ChatReader

        url, model = args.reader
        grounder.reader = ChatReader(url, model, multilingual=grounder.config.multilingual)
    grounder.scene_phrases = tuple(args.negative)
    answers = []
    for k, (name, encode) in enumerate(frames):
        out = args.out and (args.out if len(frames) == 1 else _folder(args.out, k, name))
        try:
            scene = encode()
        except DropclipError as error:
            if len(frames) == 1:
                raise
            print(f"dropclip: {name}: {error.status.name}: {error.message}", file=sys.stderr)
            answers += [failed_answer(query, error, name) for query in args.query]
            continue
        found = _ask(grounder, scene, args, out, name)
        if not args.json:
            if len(frames) > 1:
                say(f"{name}:")
            for answer in found:
                print_answer(answer)
        answers += found
    if args.json:
        say(json.dumps(answers))
    return int(any(not Status[answer["status"]].says_what_is_meant for answer in answers))


def _folder(out: Path, number: int, name: str) -> Path:
    folder = out / (f"{number:02d}_" + "".join(c if c.isalnum() else "_" for c in Path(name).name)[:40])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _ask(grounder: Grounder, scene: EncodedScene, args: argparse.Namespace, out: Path | None, source: str) -> list:
    """The answer to each query about one frame."""
    start = time.perf_counter()
    proposals = proposals_of(scene, args.gripper)
    scene.timing_ms["proposals"] = 1e3 * (time.perf_counter() - start)
    answers = []
    for number, query in enumerate(args.query):
        try:
            result = grounder.ground(
                scene,
                query,
                args.negative,
                args.negatives_mode,
                args.threshold,
                args.scoring,
                literal=args.literal,
                previous=args.previous,
                viewer=args.viewer,
            )
        except DropclipError as error:
            answers.append(failed_answer(query, error, source))
            continue
        grasps, why = grasps_of(scene, result, proposals, args.match, args.top_k, args.gripper)
        answers.append(answer_of(scene, result, grasps, out, number, source))
        if result.objects and why:
            answers[-1]["no_grasp"] = why
        if out:
            if unknown := missing(query):
                print(f"dropclip: {unknown}", file=sys.stderr)
            write_pictures(scene, result, grasps, args.gripper, out, number)
    return answers
