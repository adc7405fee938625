# SPDX-License-Identifier: Apache-2.0
"""`dropclip check-extrinsics`: is the camera where TF says? The seen gripper, or a printed marker, tells."""

from __future__ import annotations

import argparse
import json
from importlib import import_module
from pathlib import Path

import numpy as np

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.files import write_beside
from dropclip_ros.grasping.grippers import load_gripper
from dropclip_ros.grasping.seen_hand import Seen, find_hand, hand_surface, mesh_surface
from dropclip_ros.vision.extrinsics import Residual, residual
from dropclip_ros.vision.geometry import DEPTH_UNITS, RgbdFrame, invert_pose, load_frame, load_pose
from dropclip_ros.vision.marker import find_marker


def add_parser(commands: argparse._SubParsersAction, about: str) -> None:
    parser = commands.add_parser(
        "check-extrinsics",
        help=about,
        epilog="ends with 0 within the limits, 1 beyond them or where nothing is seen",
    )
    source = parser.add_argument_group("where frame and poses come from: ROS, or files")
    source.add_argument(
        "--ros", nargs=2, metavar=("WORLD", "LINK"), help="frames of TF: the world's, and the tool's or the marker's"
    )
    source.add_argument(
        "--topics", nargs=3, metavar=("COLOR", "DEPTH", "INFO"), default=(), help="with --ros: the camera's topics"
    )
    source.add_argument("--rgb", help="colour image")
    source.add_argument("--depth", help="depth image registered to it: PNG, or .npy")
    source.add_argument("--depth-unit", choices=sorted(DEPTH_UNITS), default="mm", help="unit of the depth")
    source.add_argument("--intrinsics", help="JSON with fx, fy, cx, cy, width, height in pixels")
    source.add_argument("--camera-pose", help="JSON with the 4x4 world_from_camera by TF, m")
    source.add_argument("--link-pose", help="JSON with the 4x4 world_from_link by TF, m: the tool's, or the marker's")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--gripper", help="look for this gripper, on the tool's link: a name, or a profile, .yaml")
    what.add_argument("--mesh", help="look for this mesh (.stl, .ply, .obj, m) of the link")
    what.add_argument("--marker", type=int, metavar="NUMBER", help="look for this marker; x right, y up, z out of it")
    parser.add_argument("--opening", type=float, metavar="M", help="of the gripper, m (default: as wide as it goes)")
    parser.add_argument("--marker-size", type=float, metavar="M", help="side of its black square, m")
    parser.add_argument("--dictionary", default="DICT_APRILTAG_36h11", help="of cv2.aruco (default %(default)s)")
    parser.add_argument("--max-offset", type=float, default=0.010, metavar="M", help="m (default 0.010)")
    parser.add_argument("--max-turn", type=float, default=1.0, metavar="DEGREES", help="degrees (default 1)")
    parser.add_argument("--out", type=Path, help="JSON to write the residual to")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    frame, world_from_link = _frame(args)
    pose = frame.camera_pose
    assert pose is not None  # `_frame` saw to it
    expected = invert_pose(pose) @ world_from_link
    seen, what = _look(args, frame, expected)
    found = residual(seen.pose, expected, pose)
    sound = found.offset <= args.max_offset and found.turn <= np.radians(args.max_turn)
    print(_sentence(what, seen, found))
    print(
        "the camera is where TF says, within the limits"
        if sound
        else "the camera is not where TF says, or the link is not: calibrate hand and eye, then ask again; a corrected "
        "world_from_camera is in the file of --out"
    )
    if args.out:
        with write_beside(args.out) as path:
            path.write_text(json.dumps(_record(what, seen, found, sound), indent=1))
    return 0 if sound else 1


def _frame(args: argparse.Namespace) -> tuple[RgbdFrame, np.ndarray]:
    """The frame with its camera's pose, and world_from_link. BAD_REQUEST where neither ROS nor all files are named."""
    if args.ros:
        return import_module("dropclip_ros.ros.snapshot").snapshot(*args.ros, args.topics)
    needed = ("rgb", "depth", "intrinsics", "camera_pose", "link_pose")
    missing = [f"--{name.replace('_', '-')}" for name in needed if getattr(args, name) is None]
    if missing:
        raise DropclipError(Status.BAD_REQUEST, f"give --ros WORLD LINK, or files: {', '.join(missing)} are missing")
    frame = load_frame(args.rgb, args.depth, args.depth_unit, args.intrinsics, args.camera_pose)
    return frame, load_pose(args.link_pose)


def _look(args: argparse.Namespace, frame: RgbdFrame, expected: np.ndarray) -> tuple[Seen, str]:
    """Where the thing is seen, and what it is called."""
    if args.marker is not None:
        if not args.marker_size or not 0.005 <= args.marker_size <= 1:
            raise DropclipError(Status.BAD_REQUEST, "--marker needs --marker-size, of 0.005 to 1 m")
        return Seen(find_marker(frame, args.marker, args.marker_size, args.dictionary), 1.0, 0.0), "the marker"
    if args.mesh:
        surface = mesh_surface(args.mesh)
    else:
        gripper = load_gripper(args.gripper)
        opening = gripper.max_width if args.opening is None else args.opening
        if not 0 <= opening <= gripper.max_width:
            raise DropclipError(Status.BAD_REQUEST, f"--opening {opening:g}: expected 0 to {gripper.max_width:g} m")
        surface = hand_surface(gripper, opening)
    return find_hand(surface, frame.depth, frame.intrinsics, expected), "the hand"


def _sentence(what: str, seen: Seen, found: Residual) -> str:
    x, y, z = 1000 * found.shift
    near = "" if what == "the marker" else f" ({100 * seen.found:.0f} % of it found, {1000 * seen.rms:.1f} mm rms)"
    return (
        f"{what} is seen {1000 * found.offset:.1f} mm and {np.degrees(found.turn):.1f} degrees from where TF has it"
        f"{near}: by {x:.1f} right, {y:.1f} down, {z:.1f} ahead, mm, in the camera's frame"
    )


def _record(what: str, seen: Seen, found: Residual, sound: bool) -> dict:
    return {
        "compared": what.removeprefix("the "),
        "within_limits": bool(sound),
        "offset_m": found.offset,
        "turn_degrees": float(np.degrees(found.turn)),
        "shift_in_camera_m": found.shift.tolist(),
        "surface_found": seen.found,
        "rms_m": seen.rms,
        "camera_from_seen": seen.pose.tolist(),
        "world_from_camera_corrected": found.corrected.tolist(),
    }
