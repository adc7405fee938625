# SPDX-License-Identifier: Apache-2.0
"""Where frames come from, what a lab knows of its workspace, and which model answers: options of several commands."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grounding.pipeline import EncodedScene, Grounder
from dropclip_ros.grounding.static_scene import open_static_scene
from dropclip_ros.tabletop.workspace import TABLES, Workspace
from dropclip_ros.vision.bags import load_bag_frame
from dropclip_ros.vision.clouds import FRAMES as CLOUD_FRAMES
from dropclip_ros.vision.clouds import load_cloud_frame
from dropclip_ros.vision.geometry import DEPTH_UNITS, RgbdFrame, load_frame
from dropclip_ros.vision.recordings import open_recording


def frame_options() -> argparse.ArgumentParser:
    """A parent parser: a frame or several, the workspace, the model, and where answers go."""
    parser = argparse.ArgumentParser(add_help=False)
    frames = parser.add_argument_group("frames", "one or several, of one kind")
    frames.add_argument("--rgb", nargs="+", metavar="IMAGE", help="colour images")
    frames.add_argument("--depth", nargs="+", metavar="IMAGE", help="depth registered to each: PNG, or .npy")
    frames.add_argument("--depth-unit", choices=sorted(DEPTH_UNITS), default="mm", help="of the depth (default mm)")
    frames.add_argument("--intrinsics", help="of all: JSON with fx, fy, cx, cy, width, height in pixels")
    frames.add_argument(
        "--camera-pose", help="JSON with the 4x4 world_from_camera, m; results are then in the world frame"
    )
    frames.add_argument("--bag", nargs="+", help="rosbag2: the first frame of each")
    frames.add_argument(
        "--frames", type=Path, metavar="FOLDER", help="all of it: NAME_color.png, NAME_depth.png and k.json, or MV-TOD"
    )
    frames.add_argument("--cloud", help="a point cloud, .ply or .pcd, organised or not")
    frames.add_argument("--cloud-unit", choices=("m", "mm"), default="m", help="unit of the cloud (default m)")
    frames.add_argument(
        "--cloud-frame",
        choices=CLOUD_FRAMES,
        default="camera",
        help="camera: as it sees it; world: z up (default camera)",
    )
    frames.add_argument("--field", help="a static scene, the .safetensors that dropclip-ovs3d export writes")
    add_workspace(parser)
    add_model(parser)
    parser.add_argument("--out", type=Path, help="folder for pictures, masks and clouds")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    return parser


def add_model(parser: argparse.ArgumentParser) -> None:
    """Who answers, and what has a say."""
    parser.add_argument("--model", help="model folder (default: the shipped one)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    switch = argparse.BooleanOptionalAction
    parser.add_argument("--image", action=switch, help="look at the picture of each object too (default: with names)")
    parser.add_argument("--labels", action=switch, help="read what is printed on objects (default: if installed)")


def add_workspace(parser: argparse.ArgumentParser) -> None:
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


def workspace_of(args: argparse.Namespace) -> Workspace:
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


def check_sources(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Ends with code 2 where the options name no frame, or contradict each other."""
    files = (args.rgb, args.depth, args.intrinsics)
    for name, others in (
        ("field", [*files, args.bag, args.frames, args.cloud, args.camera_pose, args.image]),
        ("cloud", [*files, args.bag, args.frames, args.camera_pose]),
        ("bag", [*files, args.frames, args.camera_pose]),
        ("frames", [*files, args.camera_pose]),
    ):
        if getattr(args, name) and any(others):
            parser.error(
                f"--{name} needs no frame: leave out --rgb, --depth, --intrinsics, --camera-pose, --bag, --frames"
                + (", --image and --cloud" if name == "field" else "")
            )
    if not (args.field or args.cloud or args.bag or args.frames) and not all(files):
        parser.error("expected --rgb, --depth and --intrinsics, or --bag, --frames, --cloud or --field")
    if args.rgb and len(args.rgb) != len(args.depth):
        parser.error(f"--rgb names {len(args.rgb)} images and --depth {len(args.depth)}: expected one depth for each")


@dataclass
class Source:
    """One frame: what it is called, and what opens it."""

    name: str
    open: Callable[[], RgbdFrame]


def sources_of(args: argparse.Namespace) -> list[Source]:
    """The frames that the options name; nothing is read yet but lists. BAD_REQUEST where a folder holds none."""
    if args.cloud:
        return [Source(args.cloud, partial(load_cloud_frame, args.cloud, args.cloud_unit, args.cloud_frame))]
    if args.bag:
        return [Source(bag, partial(load_bag_frame, bag)) for bag in args.bag]
    if args.frames:
        frames = open_recording(args.frames, args.depth_unit)
        return [Source(f"{args.frames}#{k}", partial(frames.__getitem__, k)) for k in range(len(frames))]
    how = args.depth_unit, args.intrinsics, args.camera_pose
    pairs = zip(args.rgb, args.depth, strict=True)
    return [Source(rgb, partial(load_frame, rgb, depth, *how)) for rgb, depth in pairs]


def open_scenes(args: argparse.Namespace) -> tuple[Grounder, list[tuple[str, Callable[[], EncodedScene]]]]:
    """Who answers, loaded once, and of each frame its name and what encodes it."""
    workspace = workspace_of(args)
    if args.field:
        grounder, scene = open_static_scene(args.field, Grounder.from_pretrained(args.model, args.device, workspace))
        return grounder, [(args.field, lambda: scene)]
    sources = sources_of(args)
    if len(sources) == 1:  # a bad file is told before the model is loaded
        sources = [Source(sources[0].name, partial(_same, sources[0].open()))]
    grounder = Grounder.from_pretrained(args.model, args.device, workspace, image=args.image, labels=args.labels)
    return grounder, [(source.name, partial(_encoded, grounder, source)) for source in sources]


def _same(frame: RgbdFrame) -> RgbdFrame:
    return frame


def _encoded(grounder: Grounder, source: Source) -> EncodedScene:
    return grounder.encode(source.open())
