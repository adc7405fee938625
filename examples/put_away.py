# SPDX-License-Identifier: Apache-2.0
"""A behaviour tree that finds, grasps and puts away one object after the other, through the client.

    python examples/put_away.py "the red mug" "the banana" --to 0.3 -0.35      # nodes that run already
    python examples/put_away.py --simulate 3                                   # the embedded workcell, 3 objects

Each object is looked for, grasped and picked up to three times, and put down at the first of several free places that
the arm has a way to. Ends with 0 where all lie there, 1 where one does not, and says which.
"""

import argparse
import re
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

import py_trees
from py_trees.common import Status

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.behaviours import grasp, pick, place
from dropclip_ros.client import Client, Refused

APART = 0.14  # m between places, along x
TRIES, PLACES = 3, 5


def places(to: Sequence[float], first: int) -> list[tuple[float, float]]:
    """Where an object may go, from the `first` place on: `to` (x, y), m, and those beside it, by turns."""
    row = [(to[0] + APART * (-1) ** i * ((i + 1) // 2), to[1]) for i in range(PLACES)]
    return row[first % PLACES :] + row[: first % PLACES]


def put_away(client: Client, phrases: Sequence[str], to: Sequence[float]) -> py_trees.behaviour.Behaviour:
    """The tree: objects come to a row about `to` (x, y), m, in the frame of the answers, whose z is up."""
    root = py_trees.composites.Sequence("put away", memory=True)
    for number, phrase in enumerate(phrases):
        grasped, picked = f"grasped {number}", f"picked {number}"
        taken = py_trees.composites.Sequence(f"take {phrase}", memory=True)
        taken.add_children([grasp(client, phrase, key=grasped), pick(client, key=picked, grasped=grasped)])
        placed = py_trees.composites.Selector(f"put down {phrase}", memory=True)
        placed.add_children([place(client, at, grasped=grasped, picked=picked) for at in places(to, number)])
        one = py_trees.composites.Sequence(phrase, memory=True)
        one.add_children([py_trees.decorators.Retry(f"{phrase}, {TRIES} times", taken, TRIES), placed])
        root.add_child(one)
    return root


def run(tree: py_trees.behaviour.Behaviour, timeout: float = 900.0) -> bool:
    """Ticks the tree ten times a second until it ends; says what each leaf begins and ends with. Whether it succeeded;
    what then lies in its place, and what does not, is the last line."""
    said: dict[object, Status] = {}
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        tree.tick_once()
        for leaf in tree.iterate():
            if not leaf.children and leaf.status != said.get(leaf.id, Status.INVALID):
                said[leaf.id] = leaf.status
                ended = f"{leaf.status.name}, {leaf.feedback_message}" if leaf.status != Status.RUNNING else "..."
                print(f"{leaf.name}: {ended}", flush=True)
        if tree.status != Status.RUNNING:
            break
        time.sleep(0.1)
    succeeded = tree.status == Status.SUCCESS
    done = [one.name for one in tree.children if one.status == Status.SUCCESS]
    left = [one.name for one in tree.children if one.status != Status.SUCCESS]
    late = "; time is up" if tree.status == Status.RUNNING else ""
    print(f"put away: {', '.join(done) or 'nothing'}" + (f"; not: {', '.join(left)}{late}" if left else ""), flush=True)
    tree.stop(Status.INVALID)  # a goal that still runs is cancelled
    for leaf in tree.iterate():
        leaf.shutdown()
    return succeeded


def simulated(count: int, seed: int, to: Sequence[float]) -> bool:
    """The same in the embedded workcell, whose nodes are started here; the catalogue's names are the phrases."""
    from rclpy.node import Node

    from dropclip_ros.ros.launcher import running
    from dropclip_ros.srv import ResetCell

    shared = ["world_frame:=world", "gripper:=parallel_140", "reliable:=true", "threshold:=0.05"]
    nodes = {"training.workcell.node": [f"seed:={seed}"], "together": shared}
    with running(nodes, lambda _: Node("put_away")) as (children, node), Client(timeout=300.0) as client:
        print("the workcell and the nodes start ...", flush=True)
        reset = node.create_client(ResetCell, "reset_cell")
        while not reset.wait_for_service(1.0):
            children.check()
        request = ResetCell.Request(seed=seed, clutter="scattered", split="train", min_objects=count, max_objects=count)
        future = reset.call_async(request)
        while not future.done():
            children.check()
            time.sleep(0.1)
        names = [" ".join(re.findall("[a-z]+", name.lower())) for name in future.result().names]
        print("on the table:", ", ".join(names), flush=True)
        with suppress(Refused):
            client.ground(f"the {names[0]}")  # waits for the nodes, which load their models
        return run(put_away(client, [f"the {name}" for name in names], to))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("phrases", nargs="*", help='objects in their order, as "the red mug"')
    parser.add_argument("--to", type=float, nargs=2, metavar=("X", "Y"), default=(-0.15, -0.42), help="m")
    parser.add_argument("--namespace", default="", help="of the nodes that are asked")
    parser.add_argument("--simulate", type=int, default=0, metavar="COUNT", help="so many objects in the workcell")
    parser.add_argument("--seed", type=int, default=3, help="of the simulated scene")
    args = parser.parse_args()
    if not args.simulate and not args.phrases:
        parser.error("expected phrases, or --simulate")
    try:
        if args.simulate:
            sys.exit(not simulated(args.simulate, args.seed, args.to))
        with Client(namespace=args.namespace, timeout=300.0) as client:
            sys.exit(not run(put_away(client, args.phrases, args.to)))
    except DropclipError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
