# SPDX-License-Identifier: Apache-2.0
"""Calls `ground` many times, with a camera that keeps publishing, and watches the node's memory, threads and files.

    python -m benchmarks.ros.soak [--calls 20000] [--distinct]

Phrases repeat, with new ones and changing negatives among them; `--distinct` never says one twice. The first quarter of
the calls is warm-up, in which none is said twice, so that the caches (4096 phrases, 1024 readings) are full after it. Exit code 1 where anything grew by more than its bound after that, going by
the slope of a line through the samples; where an answer was neither OK nor NOT_FOUND; where the node did not end well.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import psutil
import tyro
from tqdm import trange

from benchmarks.ros.live import OPTICAL_FRAME, Live, small_frame
from dropclip_ros.base.errors import Status
from dropclip_ros.ros.common import TABLE_FRAME
from dropclip_ros.ros.launcher import running
from dropclip_ros.srv import Ground

NODE = "grounding_node"
SAMPLES = 200
BOUNDS = {"RSS, MB": 16.0, "threads": 0.5, "file descriptors": 0.5}  # most growth after warm-up
ROWS = {"start": 0.0, "after warm-up": 0.25, "half": 0.5, "three quarters": 0.75, "end": 1.0}
COLORS = ("red", "blue", "green", "yellow", "black", "white", "wooden", "shiny", "small", "old")
THINGS = ("mug", "cup", "hammer", "banana", "car", "screwdriver", "can", "carton", "bottle", "spoon")


class Sample(NamedTuple):
    rss: float  # MB
    threads: int
    files: int


def sample(process: psutil.Process) -> Sample:
    with process.oneshot():
        return Sample(process.memory_info().rss / 1e6, process.num_threads(), process.num_fds())


def request(r: random.Random, number: int, distinct: bool) -> Ground.Request:
    """One of 100 phrases, now and then a new one; half of the time with negatives, old or new."""
    phrase = f"the {r.choice(COLORS)} {r.choice(THINGS)}"
    if distinct or r.random() < 0.1:
        phrase += f" number {number}"
    negatives = [f"a {r.choice(COLORS)} {r.choice(THINGS)}" for _ in range(r.choice((0, 0, 1, 5)))]
    if negatives and (distinct or r.random() < 0.1):
        negatives[0] += f" like {number}"
    return Ground.Request(query=phrase, negatives=negatives, target_frame=r.choice((TABLE_FRAME, OPTICAL_FRAME)))


def publish(live: Live, rate: float, over: threading.Event) -> None:
    """A camera: the small frame with a new stamp and fresh noise, `rate` times a second."""
    frame, noise = small_frame(), np.random.default_rng(0)
    while True:
        depth = np.maximum(frame.depth + noise.normal(0, 0.001, frame.depth.shape), 0)
        live.send(live.frame_messages(replace(frame, depth=depth)))
        if over.wait(1 / rate):
            return


def growth(samples: list[Sample]) -> list[float]:
    """What each column grew by from the end of warm-up to the end, by least squares."""
    settled = np.array(samples[len(samples) // 4 :], dtype=float)
    return [float(np.polyfit(np.linspace(0, 1, len(settled)), column, 1)[0]) for column in settled.T]


def report(samples: list[Sample], answers: Counter, seconds: float) -> list[str]:
    """Prints the table; returns what is wrong."""
    print(f"\n{answers.total()} calls in {seconds:.0f} s: {', '.join(f'{s} {n}' for s, n in answers.most_common())}\n")
    print(f"| | {' | '.join(BOUNDS)} |\n| --- | --- | --- | --- |")
    for name, share in ROWS.items():
        at = samples[round(share * (len(samples) - 1))]
        print(f"| {name} | {at.rss:.0f} | {at.threads} | {at.files} |")
    grown = growth(samples)
    print(f"| growth after warm-up | {' | '.join(f'{value:+.2f}' for value in grown)} |")
    print(f"| bound | {' | '.join(f'{bound:g}' for bound in BOUNDS.values())} |")
    faults = [
        f"{name} grew by {value:.2f}, more than {bound:g}"
        for (name, bound), value in zip(BOUNDS.items(), grown, strict=True)
        if value > bound
    ]
    return faults + [f"{n} answers were {s}" for s, n in answers.items() if s not in ("OK", "NOT_FOUND")]


def main(calls: int = 20_000, distinct: bool = False, rate: float = 2.0, seed: int = 0) -> int:
    """Asks `calls` times while a camera publishes at `rate` Hz; prints a table and a verdict."""
    r, over = random.Random(seed), threading.Event()
    samples: list[Sample] = []
    answers: Counter = Counter()
    with running({NODE: ["reliable:=true", "max_frame_age:=0.0"]}, lambda children: Live()) as (children, live):
        live.wait_for({"color": 1, "depth": 1, "info": 1}, [live.ground_client])
        camera = threading.Thread(target=publish, args=(live, rate, over), daemon=True)
        camera.start()
        for _ in range(10):  # until there is a frame; then loads the model
            answer, _ = live.call(live.ground_client, request(r, 0, distinct), timeout=600.0)
            if answer and answer.status in (Status.OK, Status.NOT_FOUND):
                break
        node, start = psutil.Process(children.pid(NODE)), time.perf_counter()
        with suppress(KeyboardInterrupt):  # then the calls so far are reported
            for number in trange(calls, unit="call", file=sys.stderr):
                if number % max(calls // SAMPLES, 1) == 0:
                    children.check()
                    samples.append(sample(node))
                answer, _ = live.call(live.ground_client, request(r, number, distinct or number < calls // 4))
                answers[Status(answer.status).name if answer else "no answer"] += 1
        samples.append(sample(node))
        seconds = time.perf_counter() - start
        over.set()
        camera.join()
        codes = children.stop()
    faults = report(samples, answers, seconds)
    faults += [f"{name} ended with code {code}" for name, code in codes.items() if code != 0]
    print("\n" + ("; ".join(faults) or "steady"))
    return min(len(faults), 1)


if __name__ == "__main__":
    code = tyro.cli(main)
    sys.stdout.flush()
    os._exit(code)  # rclpy's threads may still wait on the wire
