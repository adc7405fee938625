# SPDX-License-Identifier: Apache-2.0
"""What the nodes cost while nobody asks: processor seconds over a minute and memory, by process, beside a 30 Hz camera.

    python -m benchmarks.ros.idle [--seconds 60] [--sizes 640x480 1280x720] [--together]

Then the first answers after that: of `ground` and of `match_grasps` about a frame that was taken since, and once more
about the next one, in a system that is awake.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import tyro

from benchmarks.ros.live import BAG, PRESENT, Live
from benchmarks.ros.rates import publish
from dropclip_ros.ros.launcher import running
from dropclip_ros.srv import Ground, MatchGrasps
from dropclip_ros.vision.bags import load_bag_frame
from dropclip_ros.vision.geometry import RgbdFrame

NODES = ("grounding_node", "proposal_node", "grasp_matcher_node")
MB = 2**20


def resized(frame: RgbdFrame, width: int, height: int) -> RgbdFrame:
    """The frame with that many pixels, the nearest ones; of another aspect, its middle rows."""
    k = frame.intrinsics
    kept = round(k.width * height / width)
    top = (k.height - kept) // 2
    rows, columns = top + np.arange(height) * kept // height, np.arange(width) * k.width // width
    k = replace(k, cy=k.cy - top, height=kept).scaled_to(width, height)
    return RgbdFrame(frame.rgb[rows][:, columns], frame.depth[rows][:, columns], k)


def seconds_of(process: psutil.Process) -> float:
    """Processor time it has taken, s."""
    times = process.cpu_times()
    return times.user + times.system


def measure(live: Live, processes: dict[str, psutil.Process], seconds: float) -> list[str]:
    """Rows of the table: what each process took while nobody asked."""
    before, start = {name: seconds_of(one) for name, one in processes.items()}, time.monotonic()
    time.sleep(seconds)
    lasted = time.monotonic() - start
    rows, total = [], [0.0, 0.0]
    for name, one in processes.items():
        spent, memory = seconds_of(one) - before[name], one.memory_info().rss / MB
        rows.append(f"{name} | {60 * spent / lasted:.2f} | {100 * spent / lasted:.1f} | {memory:.0f}")
        total = [total[0] + spent, total[1] + memory]
    return [*rows, f"all | {60 * total[0] / lasted:.2f} | {100 * total[0] / lasted:.1f} | {total[1]:.0f}"]


def first_answers(live: Live, pause: float = 3.0, rounds: int = 3) -> str:
    """Milliseconds of `ground` and `match_grasps` after a pause, and of both while the nodes are awake; medians."""

    def ask(client, request) -> float:
        answer, lasted = live.call(client, request)
        if answer is None or answer.status:
            print(f"no answer: {'none' if answer is None else answer.message}", file=sys.stderr)
        return 1e3 * lasted

    found = []
    for _ in range(rounds):
        time.sleep(pause)
        cold = ask(live.ground_client, Ground.Request(query=PRESENT))
        warm = ask(live.ground_client, Ground.Request(query=PRESENT))
        time.sleep(pause)
        cold_match = ask(live.match_client, MatchGrasps.Request(query=PRESENT))
        found.append((cold, warm, cold_match, ask(live.match_client, MatchGrasps.Request(query=PRESENT))))
    cold, warm, cold_match, warm_match = np.median(found, axis=0)
    return f"ground {cold:.0f} first, {warm:.0f} next; match_grasps {cold_match:.0f} first, {warm_match:.0f} next"


def main(
    bag: Path = BAG,
    seconds: float = 60.0,
    sizes: tuple[str, ...] = ("640x480", "1280x720"),
    camera_rate: float = 30.0,
    together: bool = False,
    pause: float = 15.0,
) -> None:
    """Prints Markdown rows. together: the nodes in one process; pause: s without a question before a first one."""
    print("| image | process | s of a minute | % of a core | MB |\n| --- | --- | --- | --- | --- |", flush=True)
    told = []
    for size in sizes:
        width, height = map(int, size.split("x"))
        frame, over = resized(load_bag_frame(bag), width, height), threading.Event()
        nodes = {"together": ["reliable:=true"]} if together else {name: ["reliable:=true"] for name in NODES}
        with running(nodes, lambda _: Live()) as (children, live):
            camera = threading.Thread(target=publish, args=(live, frame, camera_rate, over), daemon=True)
            live.wait_for({"color": 1, "depth": 1, "info": 1}, [live.ground_client, live.match_client])
            while "model on" not in children.log(next(iter(nodes))).read_text(errors="replace"):
                children.check()
                time.sleep(0.2)
            camera.start()
            live.call(live.match_client, MatchGrasps.Request(query=PRESENT))  # what is loaded late is loaded now
            time.sleep(pause)
            for row in measure(live, {name: psutil.Process(children.pid(name)) for name in nodes}, seconds):
                print(f"| {size} | {row} |", flush=True)
            told.append(f"{size}, ms: {first_answers(live, pause)}")
            over.set()
            camera.join()
    print("\n" + "\n".join(told))


if __name__ == "__main__":
    tyro.cli(main)
    sys.stdout.flush()
    os._exit(0)  # rclpy's threads may still wait on the wire
