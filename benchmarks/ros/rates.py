# SPDX-License-Identifier: Apache-2.0
"""Latency of `Ground` over DDS at 1, 5 and 30 calls a second, while a camera publishes 640x480 at 30 Hz.

    python -m benchmarks.ros.rates [--seconds 20]

Calls come by the clock, whether or not earlier ones are answered; each latency counts from when its call was due. Every
call asks about the newest frame, so that nearly each one brings an encoding with it; in the second half of the table
a frame answers for half a second, once it is encoded (`reuse_time`).
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import tyro

from benchmarks.ros.live import Live
from dropclip_ros.ros.launcher import running
from dropclip_ros.srv import Ground
from dropclip_ros.vision.bags import load_bag_frame
from dropclip_ros.vision.geometry import RgbdFrame

NODE, QUERIES = "grounding_node", ("the red mug", "the banana", "a hammer")


def publish(live: Live, frame: RgbdFrame, rate: float, over: threading.Event) -> None:
    """The same frame again and again, with the time of its sending."""
    messages, due = live.frame_messages(frame), time.perf_counter()
    while not over.is_set():
        stamp = live.now()
        for message in messages.values():
            message.header.stamp = stamp
        live.send(messages)
        due += 1 / rate
        time.sleep(max(due - time.perf_counter(), 0.0))


def ask(live: Live, rate: float, seconds: float) -> tuple[int, list[float]]:
    """Calls made, and milliseconds from when each answered one was due to its answer."""
    latencies, pending, count = [], [], int(rate * seconds)
    start = time.perf_counter()
    for i in range(count):
        due = start + i / rate
        time.sleep(max(due - time.perf_counter(), 0.0))
        future = live.ground_client.call_async(Ground.Request(query=QUERIES[i % len(QUERIES)]))
        future.add_done_callback(lambda _, due=due: latencies.append(1e3 * (time.perf_counter() - due)))
        pending.append(future)
    end = time.perf_counter() + max(seconds, 30.0)  # what waits longer is given up
    while not all(future.done() for future in pending) and time.perf_counter() < end:
        time.sleep(0.05)
    for future in pending:
        if not future.done():
            live.ground_client.remove_pending_request(future)
    return count, latencies


def main(bag: Path = Path("demo/tabletop"), seconds: float = 20.0, camera_rate: float = 30.0) -> None:
    """Prints a Markdown table: answered calls, their p50, p95 and p99, and the node's memory."""
    frame = load_bag_frame(bag)
    print("| reuse_time, s | calls a second | answered | p50, ms | p95 | p99 | first call, ms | node, MB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for reuse in (0.0, 0.5):
        settings = ["reliable:=true", f"reuse_time:={reuse}"]
        with running({NODE: settings}, lambda _: Live()) as (children, live):
            live.wait_for({"color": 1, "depth": 1, "info": 1}, [live.ground_client])
            while "model on" not in children.log(NODE).read_text(errors="replace"):
                time.sleep(0.2)
            over = threading.Event()
            camera = threading.Thread(target=publish, args=(live, frame, camera_rate, over), daemon=True)
            camera.start()
            time.sleep(1.0)
            _, first = live.call(live.ground_client, Ground.Request(query=QUERIES[0]))
            for rate in (1, 5, 30):
                count, latencies = ask(live, rate, seconds)
                p50, p95, p99 = np.percentile(latencies, (50, 95, 99)) if latencies else (np.nan,) * 3
                memory = psutil.Process(children.pid(NODE)).memory_info().rss / 2**20
                print(
                    f"| {reuse:g} | {rate} | {len(latencies)} of {count} | {p50:.0f} | {p95:.0f} | {p99:.0f} | "
                    f"{1e3 * first:.0f} | {memory:.0f} |",
                    flush=True,
                )
            over.set()
            camera.join()


if __name__ == "__main__":
    tyro.cli(main)
    sys.stdout.flush()
    os._exit(0)  # rclpy's threads may still wait on the wire
