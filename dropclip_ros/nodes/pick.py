# SPDX-License-Identifier: Apache-2.0
"""Closes the loop on an arm: `ros2 run dropclip_ros pick "the red mug"` says what would be picked; --execute picks it.

Asks `ground`, then `grasp`, shows both answers, asks the person at the keyboard, and sends the candidates to `pick`;
where several objects fit it asks that person which is meant;
after a slip, or where the scene has changed, it asks for new grasps and says so, --attempts times at most. With
--place X Y Z the object is then put down there.
Ends with 0 where all went well, 1 where the answer was no, 2 where the words make no sense.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.signals import end_as_usual
from dropclip_ros.client import THAT_ONE, Client, Grasped, Grounded, Refused

Say = Callable[[str], None]
AGAIN = (Status.SLIPPED, Status.SCENE_CHANGED)  # after which another look may help


def describe(found: Grounded, grasped: Grasped) -> list[str]:
    """What was found and how it would be taken hold of, in lines; best first, metres."""
    lines = [f"in {found.frame}, as of {found.stamp:.2f} s:"]
    for number, one in enumerate(found.objects, 1):
        x, y, z = one.centre
        name, doubt = one.label or "object", ", doubtful" if one.doubtful else ""
        lines.append(f"  {number}. {name}, score {one.score:.2f}{doubt}, centre ({x:.3f}, {y:.3f}, {z:.3f})")
    if grasped.interpretation.not_understood:
        lines.append(f"  not understood: {', '.join(grasped.interpretation.not_understood)}")
    lines.append(f"{len(grasped.candidates)} candidates in {grasped.header.frame_id}: {grasped.message}")
    for number, candidate in enumerate(grasped.candidates, 1):
        tip = candidate.grasp.tip.position
        lines.append(
            f"  {number}. tip ({tip.x:.3f}, {tip.y:.3f}, {tip.z:.3f}), opened to {candidate.grasp.width:.3f}, "
            f"score {candidate.grasp.score:.2f}"
        )
    return lines


def which(client: Client, query: str, choose: Callable[[int], int], say: Say) -> tuple[Grounded, str, list[int]]:
    """What is found, and how to ask for it again: query and `previous`. Where several objects fit, `choose` is given
    how many and says which, from 1; 0: none, and AMBIGUOUS is raised."""
    try:
        return client.ground(query), query, []
    except Refused as refused:
        if refused.status is not Status.AMBIGUOUS or not refused.candidates:
            raise
        say(refused.message)
        for number, one in enumerate(refused.candidates, 1):
            x, y, z = one.centre
            say(f"  {number}. {one.label or 'object'}, score {one.score:.2f}, centre ({x:.3f}, {y:.3f}, {z:.3f})")
        chosen = choose(len(refused.candidates))
        if not chosen:
            raise
        previous = [refused.candidates[chosen - 1].id]
        return client.ground(THAT_ONE, previous=previous), THAT_ONE, previous


def run(
    client: Client,
    query: str,
    execute: bool,
    confirm: Callable[[str], bool],
    say: Say,
    top_k: int = 0,
    place: Sequence[float] | None = None,
    attempts: int = 1,
    choose: Callable[[int], int] = lambda _: 0,
) -> int:
    """The whole of it; returns the exit code. Nothing moves unless `execute`, and `confirm` says yes to a question.

    choose: of several objects that fit, which, from 1; 0 none (see `which`).
    place: where the object's centre then goes, m, in the frame of the candidates; None: the arm keeps it up.
    attempts: how often grasps are asked for, the first time included; again after a slip.
    """
    try:
        found, asked, previous = which(client, query, choose, say)
        for left in range(attempts - 1, -1, -1):
            grasped = client.grasp(asked, top_k=top_k, previous=previous)
            for line in describe(found, grasped):
                say(line)
            if not execute:
                say("nothing has moved: --execute sends these candidates to the arm")
                return 0
            if not confirm(f"pick {query!r} with the first of these that the arm has a path to?"):
                say("nothing has moved since you were asked")
                return 1
            try:
                picked = client.pick(grasped)
                break
            except DropclipError as error:
                if error.status not in AGAIN or not left:
                    raise
                say(f"{error}; looking again")
                found = client.ground(asked, previous=previous)
        for reason in picked.reasons:
            say(f"left out: {reason}")
        say(f"candidate {picked.executed + 1}: {picked.message}")
        if place is not None:
            say(f"{client.place(grasped, picked.executed, place).message} at {' '.join(f'{v:.3f}' for v in place)}")
    except DropclipError as error:
        say(str(error))
        return 1
    return 0


def ask(question: str) -> bool:
    """Of the person at the keyboard; no keyboard is a no."""
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def choose(count: int) -> int:
    """Of the person at the keyboard; no keyboard, or no such number, is none."""
    try:
        said = input(f"which of these {count}? [1-{count}, nothing for none] ").strip()
    except EOFError:
        return 0
    return int(said) if said.isdecimal() and 1 <= int(said) <= count else 0


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="pick", description=__doc__.split("\n")[0])
    parser.add_argument("query", help='the object, as "the red mug"')
    parser.add_argument("--execute", action="store_true", help="move the arm; otherwise only say what would be done")
    parser.add_argument("--yes", action="store_true", help="do not ask before the arm moves")
    parser.add_argument("--top-k", type=int, default=0, help="at most so many candidates (0: the matcher's parameter)")
    parser.add_argument("--attempts", type=int, default=3, help="how often to ask for grasps: again after a slip")
    parser.add_argument(
        "--place",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="then put its centre there, m, in the answer's frame",
    )
    parser.add_argument("--namespace", default="", help="of the nodes that are asked")
    parser.add_argument("--timeout", type=float, default=120.0, help="for each answer, s")
    args = parser.parse_args(words)
    if not 0 <= args.top_k <= 255 or not args.timeout > 0 or args.attempts < 1:
        parser.error("expected --top-k of 0 to 255, --attempts of at least 1 and a --timeout above 0 s")
    return args


def main() -> None:
    end_as_usual()
    words = sys.argv[1:]
    args = arguments(words[: words.index("--ros-args")] if "--ros-args" in words else words)
    try:
        with Client(namespace=args.namespace, timeout=args.timeout) as client:
            confirm = (lambda _: True) if args.yes else ask
            told = (args.top_k, args.place, args.attempts, (lambda _: 0) if args.yes else choose)
            sys.exit(run(client, args.query, args.execute, confirm, print, *told))
    except KeyboardInterrupt:
        sys.exit("stopped; a goal that was running is cancelled")


if __name__ == "__main__":
    main()
