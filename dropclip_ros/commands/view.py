# SPDX-License-Identifier: Apache-2.0
"""`dropclip view`: asks in a browser, about recordings, scenes of MV-TOD, or a camera of ROS."""

from __future__ import annotations

import argparse
import socket
import time
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.commands.output import say
from dropclip_ros.commands.sources import add_model, add_workspace, workspace_of
from dropclip_ros.grasping.grippers import load_gripper
from dropclip_ros.grounding.pipeline import Grounder
from dropclip_ros.view.page import Page
from dropclip_ros.view.plain import make_plain_server
from dropclip_ros.view.session import Session


def add_parser(commands: argparse._SubParsersAction, about: str) -> None:
    parser = commands.add_parser("view", help=about)
    parser.add_argument(
        "path",
        nargs="?",
        type=Path,
        default=Path("."),
        help="a rosbag2, a folder of NAME_color.png, NAME_depth.png and k.json, a scene of MV-TOD, or a folder of such",
    )
    parser.add_argument("--ros", action="store_true", help="look through a camera of ROS, too")
    parser.add_argument(
        "--topics", nargs=3, metavar=("COLOR", "DEPTH", "INFO"), default=(), help="with --ros: the camera's topics"
    )
    parser.add_argument(
        "--map",
        metavar="WORLD",
        nargs="?",
        const="world",
        default="",
        help="ask all frames that were looked at, as one scene; with --ros WORLD is its frame in TF, z up ('world')",
    )
    parser.add_argument("--host", default="127.0.0.1", help="who may look: this machine (default); 0.0.0.0 for all")
    parser.add_argument("--port", type=int, default=8080, help="default 8080; the next one has the page without WebGL")
    parser.add_argument("--query", default="", help="a phrase to begin with")
    parser.add_argument("--gripper", default="robotiq_2f_140", help="a name, or the path of a profile, .yaml")
    add_workspace(parser)
    add_model(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    for port in (args.port, args.port + 1):
        check_port(args.host, port)
    gripper, workspace = load_gripper(args.gripper), workspace_of(args)
    if not args.path.exists():
        raise DropclipError(Status.BAD_REQUEST, f"{args.path} is not there; name a recording or a folder of recordings")
    with ExitStack() as stack:
        live = None
        if args.ros:
            live = stack.enter_context(import_module("dropclip_ros.ros.snapshot").live_frames(args.topics, args.map))
        grounder = Grounder.from_pretrained(args.model, args.device, workspace, image=args.image, labels=args.labels)
        session = Session(grounder, args.path, live, gripper, lasting=bool(args.map))
        if args.ros:
            session.look()
        elif found := session.recordings():
            session.open(found[0] if not args.path.is_file() else args.path)
        elif args.path.is_file():
            session.open(args.path)
        page = Page(session, args.host, args.port)
        stack.callback(page.close)
        plain = make_plain_server(session, args.host, args.port + 1)
        stack.callback(plain.shutdown)
        if args.query:
            say(page.ask(args.query).line)
        at = "localhost" if args.host == "127.0.0.1" else args.host
        say(f"open http://{at}:{args.port} in a browser, or :{args.port + 1} in one without WebGL; Ctrl-C ends")
        while True:
            time.sleep(3600)


def check_port(host: str, port: int) -> None:
    """BAD_REQUEST where nobody may listen there."""
    try:
        with socket.create_server((host, port)):
            return
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise DropclipError(
            Status.BAD_REQUEST, f"cannot serve on {host}:{port}: {why}; choose another --port, or end what uses it"
        ) from error
