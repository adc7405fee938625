# SPDX-License-Identifier: Apache-2.0
"""Ends nodes by SIGINT and SIGTERM under load, at random moments from their first line on: code 0, soon, no traceback.

    python -m benchmarks.ros.ends [--each 200] [--seed 0] [--out ends.jsonl]

A camera publishes and a client asks `ground` without a pause meanwhile. Half of the signals come while the node starts,
the others while it answers. OUT keeps what was done; `--seconds` ends a part with code 2. Exit code 1 where one fails.
"""

from __future__ import annotations

import json
import math
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tyro

from benchmarks.ros.live import Live, small_frame
from dropclip_ros.ros.launcher import Children, running
from dropclip_ros.srv import Ground

NODE = "grounding_node"
LONGEST = 5.0  # s, from the signal to the end
START = 8.0  # s, that a start may take, from which moments are drawn


@contextmanager
def load(live: Live) -> Iterator[None]:
    """A camera at 10 Hz and a client that asks one thing after the other."""
    over, frame = threading.Event(), small_frame()

    def publish() -> None:
        while not over.wait(0.1):
            live.send(live.frame_messages(frame))

    def ask() -> None:
        while not over.is_set():
            if live.ground_client.service_is_ready():
                live.call(live.ground_client, Ground.Request(query="the red mug"), 2.0)
            else:
                over.wait(0.05)

    threads = [threading.Thread(target=work, daemon=True) for work in (publish, ask, ask)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(5.0)


def end_one(children: Children, live: Live, number: signal.Signals, r: random.Random) -> str:
    """What is wrong with one end; "" where nothing is."""
    children.start(NODE, "reliable:=true", "max_frame_age:=0.0")
    serving = r.random() < 0.5
    if serving:
        if not live.ground_client.wait_for_service(120.0):
            return "it did not start"
        time.sleep(r.uniform(0, 6.0))  # the model loads at the first request
    else:
        time.sleep(r.uniform(0, START))
    pid, began = children.pid(NODE), time.monotonic()
    os.kill(pid, number)
    while children.running(NODE) and time.monotonic() < began + LONGEST:
        time.sleep(0.01)
    if children.running(NODE):
        children.stop(0.0)
        return f"it does not end within {LONGEST:g} s"
    code, log = children.stop()[NODE], children.log(NODE).read_text(errors="replace")
    if code != 0:
        return f"code {code}: {(log.strip().splitlines() or [''])[-1][:200]}"
    return "a traceback" if "Traceback" in log else ""


def main(each: int = 200, seed: int = 0, out: Path | None = None, seconds: float = math.inf) -> int:
    """Ends the node `each` times by each of the two signals."""
    end = time.monotonic() + seconds
    lines = [json.loads(line) for line in out.read_text().splitlines()] if out is not None and out.exists() else []
    done = {(line["signal"], line["number"]): line["fault"] for line in lines if line["seed"] == seed}
    kinds = (signal.SIGINT, signal.SIGTERM)
    todo = [(kind, k) for k in range(each) for kind in kinds if (kind.name, k) not in done]
    with running({}, lambda children: Live()) as (children, live), load(live):
        for kind, k in todo:
            if time.monotonic() > end:
                print("more is left: run the same command again")
                return 2
            fault = end_one(children, live, kind, random.Random(f"{seed} {kind.name} {k}"))
            done[kind.name, k] = fault
            line = json.dumps({"signal": kind.name, "seed": seed, "number": k, "fault": fault})
            print(line, flush=True)
            if out is not None:
                with out.open("a") as file:
                    file.write(line + "\n")
    print("| signal | ends | faults |\n| --- | --- | --- |")
    faults = {kind.name: [done[kind.name, k] for k in range(each) if done[kind.name, k]] for kind in kinds}
    for name, found in faults.items():
        print(f"| {name} | {each} | {len(found)} |")
    return int(any(faults.values()))


if __name__ == "__main__":
    code = tyro.cli(main)
    sys.stdout.flush()
    os._exit(code)  # rclpy's threads may still wait on the wire
