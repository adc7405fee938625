# SPDX-License-Identifier: Apache-2.0
"""Cancels goals of `grasp` at every moment of their way: each has a result, soon, and the node goes on serving.

    python -m benchmarks.ros.cancels [--goals 300] [--at-once 4] [--seed 0]

Goals are sent a few at once; each is cancelled after a time drawn from nothing to somewhat longer than a goal takes, or
not at all, or twice. A fault: no answer to goal or cancel, no result within `PATIENCE`, a cancelled goal with poses, a
status that is not the state of the goal; or a good goal at the end is not OK. Exit code 1 where there is one.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections import Counter

import tyro
from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.callback_groups import ReentrantCallbackGroup

from benchmarks.ros.fuzz import NODES
from benchmarks.ros.live import PRESENT, Live, small_frame
from dropclip_ros.action import Grasp
from dropclip_ros.base.errors import Status
from dropclip_ros.ros.common import ACTION_CLIENT_QOS, GRASP_ACTION
from dropclip_ros.ros.launcher import running

PATIENCE = 20.0  # s


def waited(future, timeout: float = PATIENCE):
    """What a future gives; None where nothing came."""
    end = time.monotonic() + timeout
    while not future.done() and time.monotonic() < end:
        time.sleep(0.002)
    return future.result() if future.done() else None


def one_goal(client: ActionClient, after: float | None, twice: bool) -> tuple[str, str]:
    """How a goal ended, and what is wrong with it; after: s until it is cancelled."""
    handle = waited(client.send_goal_async(Grasp.Goal(query=PRESENT)))
    if handle is None:
        return "none", "the goal was neither accepted nor rejected"
    if not handle.accepted:
        return "rejected", ""
    result = handle.get_result_async()
    if after is not None:
        time.sleep(after)
        answers = [waited(handle.cancel_goal_async()) for _ in range(1 + twice)]
        if None in answers:
            return "none", "a cancel was not answered"
    ended = waited(result)
    if ended is None:
        return "none", f"no result, cancelled after {after}"
    status, said = ended.status, ended.result
    if status == GoalStatus.STATUS_CANCELED and (said.status != Status.CANCELLED or said.candidates):
        return (
            "cancelled",
            f"it was cancelled, and its result says {Status(said.status).name}, {len(said.candidates)} poses",
        )
    if (status == GoalStatus.STATUS_SUCCEEDED) != (said.status == Status.OK):
        return "ended", f"state {status} and status {Status(said.status).name}"
    return f"{'cancelled' if status == GoalStatus.STATUS_CANCELED else 'ended'}, {Status(said.status).name}", ""


def main(goals: int = 300, at_once: int = 4, seed: int = 0) -> int:
    """Prints how goals ended, and the faults."""
    counts: Counter = Counter()
    faults: list[str] = []
    over = threading.Event()
    with running(NODES, lambda children: Live()) as (children, live):
        live.wait_for({"color": 1, "depth": 1, "info": 1}, [live.ground_client, live.match_client])
        client = ActionClient(live, Grasp, GRASP_ACTION, callback_group=ReentrantCallbackGroup(), **ACTION_CLIENT_QOS)
        client.wait_for_server(60.0)
        frame = small_frame()

        def publish() -> None:
            while not over.wait(0.2):
                live.send(live.frame_messages(frame))

        camera = threading.Thread(target=publish, daemon=True)
        camera.start()
        took = []
        for _ in range(4):  # the first loads the model, and the proposals of the frame come
            began = time.monotonic()
            said, fault = one_goal(client, None, False)
            took.append(time.monotonic() - began)
        print(f"a goal takes {min(took):.2f} s: {said} {fault}", flush=True)
        lock = threading.Lock()

        def many(number: int) -> None:
            r = random.Random(f"{seed} {number}")
            for _ in range(goals // at_once):
                after = None if r.random() < 0.2 else r.uniform(0, 1.5 * at_once * min(took))
                said, fault = one_goal(client, after, r.random() < 0.2)
                with lock:
                    counts[said] += 1
                    faults.extend([fault] if fault else [])

        threads = [threading.Thread(target=many, args=(k,)) for k in range(at_once)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        said, fault = one_goal(client, None, False)
        if said != "ended, OK":
            faults.append(f"a good goal at the end: {said} {fault}")
        over.set()
        camera.join()
        children.check()
        codes = children.stop()
    faults += [f"{name} ended with code {code}" for name, code in codes.items() if code]
    print(f"{counts.total()} goals: {dict(counts)}; {len(faults)} faults")
    for fault, count in Counter(faults).items():
        print(f"  {count} times: {fault}")
    return min(len(faults), 1)


if __name__ == "__main__":
    code = tyro.cli(main)
    sys.stdout.flush()
    os._exit(code)  # rclpy's threads may still wait on the wire
