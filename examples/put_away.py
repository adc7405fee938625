# SPDX-License-Identifier: Apache-2.0
"""A behaviour tree that finds, grasps and puts away one object after the other, through the client.

    python examples/put_away.py "the red mug" "the banana" --to 0.3 -0.35 0.06      # nodes that run already
    python examples/put_away.py --simulate 3                                        # the embedded workcell, 3 objects

Each object is tried twice: the second time it is looked for anew. Ends with 0 where all lie where they belong.
"""

import argparse
import re
import sys
import time
from collections.abc import Sequence

import py_trees
from py_trees.common import Status

from dropclip_ros.behaviours import grasp, pick, place
from dropclip_ros.client import Client

APART = 0.09  # m between what is put away, along y
TRIES = 2


def put_away(client: Client, phrases: Sequence[str], to: Sequence[float]) -> py_trees.behaviour.Behaviour:
    """The tree: the first object's centre comes to `to` (x, y, z), m, in the frame of the answers; others beside it."""
    root = py_trees.composites.Sequence("put away", memory=True)
    for number, phrase in enumerate(phrases):
        grasped, picked = f"grasped {number}", f"picked {number}"
        one = py_trees.composites.Sequence(phrase, memory=True)
        one.add_children(
            [
                grasp(client, phrase, key=grasped),
                pick(client, key=picked, grasped=grasped),
                place(client, (to[0], to[1] + number * APART, to[2]), grasped=grasped, picked=picked),
            ]
        )
        root.add_child(py_trees.decorators.Retry(f"{phrase}, {TRIES} times", one, TRIES))
    return root


def run(tree: py_trees.behaviour.Behaviour, timeout: float = 900.0) -> bool:
    """Ticks the tree ten times a second until it ends; says what each leaf ended with. Whether it succeeded."""
    said, end = {}, time.monotonic() + timeout
    while time.monotonic() < end:
        tree.tick_once()
        for leaf in tree.iterate():
            if not leaf.children and leaf.status in (Status.SUCCESS, Status.FAILURE):
                line = f"{leaf.name}: {leaf.status.name}, {leaf.feedback_message}"
                if said.get(leaf.id) != line:
                    print(line, flush=True)
                said[leaf.id] = line
        if tree.status != Status.RUNNING:
            break
        time.sleep(0.1)
    succeeded = tree.status == Status.SUCCESS
    tree.stop(Status.INVALID)  # a goal that still runs is cancelled
    tree.shutdown() if hasattr(tree, "shutdown") else None
    return succeeded


def simulated(count: int, seed: int, to: Sequence[float]) -> bool:
    """The same in the embedded workcell, whose nodes are started here; the catalogue's names are the phrases."""
    from rclpy.node import Node

    from dropclip_ros.ros.launcher import running
    from dropclip_ros.srv import ResetCell

    shared = ["world_frame:=world", "gripper:=parallel_140", "reliable:=true", "threshold:=0.05"]
    nodes = {"training.workcell.node": [f"seed:={seed}"], "together": shared}
    with running(nodes, lambda _: Node("put_away")) as (children, node), Client(timeout=300.0) as client:
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
        return run(put_away(client, [f"the {name}" for name in names], to))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("phrases", nargs="*", help='objects in their order, as "the red mug"')
    parser.add_argument("--to", type=float, nargs=3, metavar=("X", "Y", "Z"), default=(-0.1, -0.42, 0.05), help="m")
    parser.add_argument("--namespace", default="", help="of the nodes that are asked")
    parser.add_argument("--simulate", type=int, default=0, metavar="COUNT", help="so many objects in the workcell")
    parser.add_argument("--seed", type=int, default=3, help="of the simulated scene")
    args = parser.parse_args()
    if args.simulate:
        sys.exit(not simulated(args.simulate, args.seed, args.to))
    if not args.phrases:
        parser.error("expected phrases, or --simulate")
    with Client(namespace=args.namespace, timeout=300.0) as client:
        sys.exit(not run(put_away(client, args.phrases, args.to)))


if __name__ == "__main__":
    main()
