# SPDX-License-Identifier: Apache-2.0
"""The command `dropclip`: ground and segment, the main path from files, without ROS; `commands` makes models."""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.commands import calibrate, extrinsics, models, train
from dropclip_ros.draw import draw_result, draw_segments, write_ply
from dropclip_ros.grasping.antipodal import sample_antipodal
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import GRIPPERS, load_gripper
from dropclip_ros.grasping.matching import MatchConfig, match_grasps
from dropclip_ros.grasping.presets import PRESETS, Preset
from dropclip_ros.grounding.interpretation import Interpretation
from dropclip_ros.grounding.pipeline import NEGATIVE_MODES, EncodedScene, FoundObject, Grounder, GroundResult
from dropclip_ros.grounding.scoring import SCORINGS
from dropclip_ros.grounding.static_scene import open_static_scene
from dropclip_ros.language.chat import ChatReader
from dropclip_ros.tabletop.workspace import TABLES, Workspace
from dropclip_ros.vision.clouds import FRAMES as CLOUD_FRAMES
from dropclip_ros.vision.clouds import load_cloud_frame
from dropclip_ros.vision.geometry import DEPTH_UNITS, load_frame, load_pose, transform_points


def _add_model(frame: argparse.ArgumentParser) -> None:
    """Who answers, and what has a say."""
    frame.add_argument("--model", help="model folder (default: the shipped one)")
    frame.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    switch = argparse.BooleanOptionalAction
    frame.add_argument("--image", action=switch, help="look at the picture of each object too (default: with names)")
    frame.add_argument("--labels", action=switch, help="read what is printed on objects (default: if installed)")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dropclip", description="Ground phrases in an RGB-D frame or a static scene.")
    commands = parser.add_subparsers(dest="command", required=True)
    frame = argparse.ArgumentParser(add_help=False)
    frame.add_argument("--rgb", help="colour image")
    frame.add_argument("--depth", help="depth image registered to it: PNG, or .npy")
    frame.add_argument("--depth-unit", choices=sorted(DEPTH_UNITS), default="mm", help="unit of the depth (default mm)")
    frame.add_argument("--intrinsics", help="JSON with fx, fy, cx, cy, width, height in pixels")
    frame.add_argument(
        "--field", help="instead of a frame: a static scene, the .safetensors that dropclip-ovs3d export writes"
    )
    frame.add_argument(
        "--camera-pose", help="JSON with the 4x4 world_from_camera, m; results are then in the world frame"
    )
    frame.add_argument("--cloud", help="instead of an image: a point cloud, .ply or .pcd, organised or not")
    frame.add_argument("--cloud-unit", choices=("m", "mm"), default="m", help="unit of the cloud (default m)")
    frame.add_argument(
        "--cloud-frame",
        choices=CLOUD_FRAMES,
        default="camera",
        help="camera: as it sees it; world: z up (default camera)",
    )
    _add_workspace(frame)
    _add_model(frame)
    frame.add_argument("--out", type=Path, help="folder for pictures, masks and clouds")
    frame.add_argument("--json", action="store_true", help="print JSON only")
    ground = commands.add_parser("ground", parents=[frame], help="find what phrases mean, and how to grasp it")
    _add_ground(ground)
    segment = commands.add_parser("segment", parents=[frame], help="label every point, by class or by instance")
    for command in (models, calibrate, extrinsics, train):
        command.add_parser(commands)
    what = segment.add_mutually_exclusive_group(required=True)
    what.add_argument("--classes", help="comma-separated class names")
    what.add_argument("--instances", action="store_true", help="separate objects without naming them")
    return parser


def _add_ground(ground: argparse.ArgumentParser) -> None:
    """What is asked, how it is compared, and with which hand it is to be grasped."""
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
    ground.add_argument("--top-k", type=_at_least_one, help="grasps an object (default 3)")


def _add_workspace(parser: argparse.ArgumentParser) -> None:
    """What a lab knows, see `Workspace`."""
    group = parser.add_argument_group("workspace", "lengths in m, in the world where the camera's pose is given")
    default = Workspace()
    group.add_argument("--near", type=float, default=default.near, help="nearer depths are left out (default 0.1)")
    group.add_argument("--far", type=float, default=default.far, help="further depths are left out (default 3)")
    group.add_argument(
        "--table",
        choices=TABLES,
        help="none: bins, trays, hands; ransac: the paper's; default auto",
    )
    group.add_argument("--table-height", type=float, metavar="Z", help="where the table is known to be")
    group.add_argument(
        "--table-plane", type=float, nargs=4, metavar=tuple("ABCD"), help="the same: ax + by + cz + d = 0"
    )
    group.add_argument(
        "--region", type=float, nargs=6, metavar=("X", "Y", "Z", "X2", "Y2", "Z2"), help="box to look in"
    )
    group.add_argument(
        "--polygon",
        type=float,
        nargs="+",
        metavar="UV",
        help="corners, in pixels, of what part of the image to look at",
    )


def _workspace(args: argparse.Namespace) -> Workspace:
    """Raises BAD_REQUEST where the options contradict each other."""
    region, polygon = args.region or (), args.polygon or ()
    try:
        if len(polygon) % 2:
            raise ValueError(f"polygon of {len(polygon)} numbers: expected pairs u v")
        return Workspace(
            args.near,
            args.far,
            args.table or Workspace.table,
            args.table_height,
            tuple(args.table_plane) if args.table_plane else None,
            tuple(region[:3]) or None,
            tuple(region[3:]) or None,
            tuple(zip(polygon[::2], polygon[1::2], strict=True)),
        )
    except ValueError as error:
        raise DropclipError(Status.BAD_REQUEST, f"workspace: {error}") from error


def _at_least_one(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number}: expected 1 or more")
    return number


class _NoOutput(Exception):
    """stdout takes no more."""


def _say(text: str) -> None:
    """A line on stdout."""
    try:
        print(text, flush=True)
    except OSError as error:
        raise _NoOutput(error.strerror) from error


def main(argv: list[str] | None = None) -> int:
    """Runs one command; 0 when it was carried out (NOT_FOUND too), 1 with a one-line error otherwise, 130 by Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter still gets the answer
    try:
        return _run(argv)
    except KeyboardInterrupt:
        return 130
    except _NoOutput as error:
        sys.stdout = io.StringIO()  # what is left in it would fail once more at the end
        print(f"dropclip: cannot write to stdout: {error}", file=sys.stderr)
        return 1


def _run(argv: list[str] | None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    args = argparse.Namespace(command="train", options=argv[1:]) if argv[:1] == ["train"] else _parsed(argv)
    try:
        if args.command not in ("ground", "segment"):
            return train.run(args) if args.command == "train" else args.run(args)
        if args.command == "ground":
            args.gripper = load_gripper(args.gripper)
            args.viewer = load_pose(args.viewer) if args.viewer else None
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
        grounder, scene = _scene(args)
        return _ground(grounder, scene, args) if args.command == "ground" else _segment(grounder, scene, args)
    except DropclipError as error:
        return _fail(args, error)
    except OSError as error:
        return _fail(args, DropclipError(Status.BAD_REQUEST, f"{error.filename or ''}: {error.strerror or error}"))


def _parsed(argv: list[str] | None) -> argparse.Namespace:
    """The arguments; ends with code 2 where they name neither a frame nor a static scene, or both."""
    args = (parser := _parser()).parse_args(argv)
    if args.command not in ("ground", "segment"):
        return args
    if args.command == "ground":
        if args.negative and args.negatives_mode in ("none", "canonical"):
            parser.error(f"--negatives-mode {args.negatives_mode} leaves no place for --negative: leave one out")
        if args.negatives_mode in ("custom", "scene") and not args.negative:
            parser.error(f"--negatives-mode {args.negatives_mode} needs --negative")
        _apply(PRESETS[args.preset] if args.preset else Preset("instances", "", 0.0), args)
    frame = (args.rgb, args.depth, args.intrinsics)
    for name, others in (
        ("field", [*frame, args.cloud, args.camera_pose, args.image]),
        ("cloud", [*frame, args.camera_pose]),
    ):
        if getattr(args, name) and any(others):
            parser.error(
                f"--{name} needs no frame: leave out --rgb, --depth, --intrinsics, --camera-pose"
                + (", --image and --cloud" if name == "field" else "")
            )
    if not args.field and not args.cloud and not all(frame):
        parser.error("expected --rgb, --depth and --intrinsics, or --cloud, or --field")
    return args


def _apply(preset: Preset, args: argparse.Namespace) -> None:
    """The preset's values, where the options do not say otherwise."""
    args.scoring = args.scoring or preset.scoring
    args.table = args.table or preset.workspace.table
    args.top_k = args.top_k or preset.match.top_k
    args.threshold = args.threshold or preset.threshold
    args.negatives_mode = args.negatives_mode or preset.negatives_mode


def _scene(args: argparse.Namespace) -> tuple[Grounder, EncodedScene]:
    """What is asked about, and who answers."""
    workspace = _workspace(args)
    if args.field:
        return open_static_scene(args.field, Grounder.from_pretrained(args.model, args.device, workspace))
    if args.cloud:
        frame = load_cloud_frame(args.cloud, args.cloud_unit, args.cloud_frame)
    else:
        frame = load_frame(args.rgb, args.depth, args.depth_unit, args.intrinsics, args.camera_pose)
    grounder = Grounder.from_pretrained(args.model, args.device, workspace, image=args.image, labels=args.labels)
    return grounder, grounder.encode(frame)


def _fail(args: argparse.Namespace, error: DropclipError) -> int:
    if args.command == "ground" and args.json:
        _say(json.dumps([_failed(query, error) for query in args.query]))
    print(f"dropclip: {error.status.name}: {error.message}", file=sys.stderr)
    return 1


def _failed(query: str, error: DropclipError) -> dict:
    return {
        "query": query,
        "status": error.status.name,
        "message": error.message,
        "interpretation": asdict(Interpretation()),
        "instances": [],
        "grasps": [],
        "timing_ms": {},
    }


def _ground(grounder: Grounder, scene: EncodedScene, args: argparse.Namespace) -> int:
    if args.reader:
        url, model = args.reader
        grounder.reader = ChatReader(url, model, multilingual=grounder.config.multilingual)
    start = time.perf_counter()
    labels = grounder.instances(scene) - 1  # specks are left out
    proposals = sample_antipodal(scene.points, gripper=args.gripper, table=scene.table.plane, labels=labels)
    scene.timing_ms["proposals"] = 1e3 * (time.perf_counter() - start)
    grounder.scene_phrases = tuple(args.negative)
    answers, failed = [], False
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
            answers.append(_failed(query, error))
            failed = True
            continue
        grasps = best_grasps(scene, result, proposals, args.top_k)
        answers.append(_answer(scene, result, grasps, args.out, number))
        if args.out:
            _write_pictures(scene, result, grasps, args.out, number)
    if args.json:
        _say(json.dumps(answers))
    else:
        for answer in answers:
            _print_answer(answer)
    return int(failed)


def best_grasps(scene: EncodedScene, result: GroundResult, proposals: Grasps, top_k: int) -> Grasps:
    """The proposals nearest to the best object (A.7), camera frame; none where nothing was found or none is near."""
    if not result.objects:
        return Grasps.empty()
    try:
        match = match_grasps(proposals, scene.points[result.objects[0].points], MatchConfig(top_k=top_k))
    except DropclipError:  # NO_GRASPS: the object is found all the same
        return Grasps.empty()
    return match.grasps


def _to_output_frame(scene: EncodedScene) -> np.ndarray:
    """output_from_camera (4,4): to the world where the camera's pose is given, else the identity."""
    return np.eye(4) if scene.frame.camera_pose is None else scene.frame.camera_pose


def _answer(scene: EncodedScene, result: GroundResult, grasps: Grasps, out: Path | None, number: int) -> dict:
    pose = _to_output_frame(scene)
    name = _file_name(number, result.query)
    for old in out.glob(f"{name}_*.png") if out else ():
        if old.stem[len(name) + 1 :].isdigit():  # a mask of an earlier run, which found more
            old.unlink()
    instances = [_instance(scene, found, pose, out, f"{name}_{k}") for k, found in enumerate(result.objects)]
    moved = grasps.transformed(pose)
    return {
        "query": result.query,
        "status": result.status.name,
        "message": result.message,
        "frame": "camera" if scene.frame.camera_pose is None else "world",
        "threshold": result.threshold,
        "interpretation": asdict(result.interpretation),
        "instances": instances,
        "grasps": [
            {"pose": matrix.tolist(), "width": float(width), "score": float(score), "depth": float(depth)}
            for matrix, width, score, depth in zip(moved.poses(), moved.width, moved.score, moved.depth, strict=True)
        ],
        "timing_ms": {stage: round(ms, 3) for stage, ms in result.timing_ms.items()},
    }


def _instance(scene: EncodedScene, found: FoundObject, pose: np.ndarray, out: Path | None, name: str) -> dict:
    answer = {
        "id": found.id,
        "label": found.label,
        "score": found.score,
        "confidence": found.confidence,
        "doubtful": found.doubtful,
        "words_read": list(found.words_read),
        "points": len(found.points),
        "centre": transform_points(pose, found.centre[None])[0].tolist(),
        "size": found.size.tolist(),
    }
    if out:
        path = out / f"{name}.png"
        Image.fromarray(mask_image(scene, found)).save(path)
        answer["mask"] = str(path)
    return answer


def _file_name(number: int, query: str) -> str:
    """What the files of a query begin with: picture, cloud and masks."""
    return f"{number:02d}_" + "".join(c if c.isalnum() else "_" for c in query)[:40]


def mask_image(scene: EncodedScene, found: FoundObject) -> np.ndarray:
    """(H,W) uint8: 255 on the object's pixels."""
    inside = np.zeros(len(scene.points), np.uint8)
    inside[found.points] = 255
    return scene.image(inside)


def _write_pictures(scene: EncodedScene, result: GroundResult, grasps: Grasps, out: Path, number: int) -> None:
    name = _file_name(number, result.query)
    mask = np.zeros(scene.frame.depth.shape, bool)
    for found in result.objects:
        mask |= mask_image(scene, found) > 0
    title = describe(result)
    picture = draw_result(
        scene.frame.rgb,
        scene.frame.intrinsics,
        scene.image(result.scores.astype(np.float32), np.nan),
        mask,
        grasps,
        title=title,
        threshold=result.threshold,
        reading=result.interpretation.text if len(result.interpretation.parts) > 1 else "",
        doubtful=bool(result.objects) and result.objects[0].doubtful,
    )
    Image.fromarray(picture).save(out / f"{name}.png")
    write_ply(
        out / f"{name}.ply",
        transform_points(_to_output_frame(scene), scene.points),
        scene.colors,
        result.scores,
    )


def describe(result: GroundResult) -> str:
    """One line about a result: query, found or not, score, time."""
    best = result.objects[0] if result.objects else None
    said = "FOUND" if result.status == Status.OK else result.status.name
    said = "IN DOUBT" if said == "FOUND" and best and best.doubtful else said
    found = (
        f"{said}, score {best.score:.2f}"
        if best
        else f"{result.status.name.replace('_', ' ')}, best {result.scores.max():.2f}"
    )
    return f'"{result.query}": {found}, {sum(result.timing_ms.values()):.0f} ms'


def _print_answer(answer: dict) -> None:
    _say(f"{answer['query']!r}: {answer['status']}: {answer['message']}")
    if len(answer["interpretation"]["parts"]) > 1:
        _say(f"  read as: {answer['interpretation']['text']}")
    for found in answer["instances"]:
        x, y, z = found["centre"]
        _say(
            f"  {found['id']}: score {found['score']:.2f}, {found['points']} points, "
            f"centre ({x:.3f}, {y:.3f}, {z:.3f}) m in the {answer['frame']} frame, "
            f"size {' x '.join(f'{side:.3f}' for side in found['size'])} m"
        )
    for grasp in answer["grasps"]:
        x, y, z = (row[3] for row in grasp["pose"][:3])
        _say(f"  grasp at ({x:.3f}, {y:.3f}, {z:.3f}) m, width {grasp['width']:.3f} m, score {grasp['score']:.2f}")


def _segment(grounder: Grounder, scene: EncodedScene, args: argparse.Namespace) -> int:
    if args.instances:
        labels = grounder.instances(scene)
        legend = {str(k): f"instance {k}" for k in range(1, labels.max() + 1)}
    else:
        names = list(dict.fromkeys(name.strip() for name in args.classes.split(",") if name.strip()))
        if not names:
            raise DropclipError(Status.BAD_REQUEST, f"--classes {args.classes!r}: expected names separated by commas")
        labels = grounder.segment(scene, names)
        legend = {str(k + 1): name for k, name in enumerate(names)}
    image = scene.image(labels.astype(np.uint16))
    if args.out:
        Image.fromarray(image).save(args.out / "label.png")
        (args.out / "legend.json").write_text(json.dumps(legend, indent=1))
        Image.fromarray(draw_segments(scene.frame.rgb, image, legend)).save(args.out / "segments.png")
    counts = {name: int((labels == int(k)).sum()) for k, name in legend.items()}
    if args.json:
        _say(json.dumps({"legend": legend, "points": counts, "note": scene.note, "timing_ms": scene.timing_ms}))
    else:
        for name, count in counts.items():
            _say(f"{name}: {count} points")
    if scene.note:
        print(f"dropclip: {scene.note}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
