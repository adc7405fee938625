# SPDX-License-Identifier: Apache-2.0
"""Counts answers: many clients of `ground` and `match_grasps` at once, then many goals of `grasp` at once.

    python -m benchmarks.ros.answers [--calls 20000] [--clients 32] [--goals 1000] [--depth 10]

Each client has one request on its way, half of them `match_grasps`, which asks `ground` itself; there is no camera, so
each answer is a quick NO_FRAME. Clients are shared out among processes, for DDS gives each client's queue the
answers of all. `--depth` is how many answers these clients keep, where it is not this package's own. Exit code 1 where
a call or a goal had no answer, or where one waited longer than `--within` s.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress

import tyro
from rclpy.action import ActionClient
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile

from dropclip_ros.action import Grasp
from dropclip_ros.base.errors import Status
from dropclip_ros.ros.common import (
    GRASP_ACTION,
    GROUND_SERVICE,
    MATCH_SERVICE,
    SERVICE_QOS,
)
from dropclip_ros.ros.launcher import running, served
from dropclip_ros.srv import Ground, MatchGrasps

NODES = {
    "grounding_node": ["model:=/nowhere", "frame_timeout:=0.0"],
    "grasp_matcher_node": ["frame_timeout:=0.0", "ground_timeout:=60.0"],
}
PROCESSES = 4


class Callers(Node):
    """Clients, each with its own queue, as many as threads ask with."""

    def __init__(self, clients: int, depth: int) -> None:
        super().__init__(f"callers_{os.getpid()}")
        qos, group = QoSProfile(depth=depth) if depth else SERVICE_QOS, ReentrantCallbackGroup()
        kinds = ((Ground, GROUND_SERVICE), (MatchGrasps, MATCH_SERVICE))
        self.callers = [
            self.create_client(*kinds[i % 2], qos_profile=qos, callback_group=group) for i in range(clients)
        ]
        self.counts: Counter = Counter()
        self.slowest = 0.0
        self._lock = threading.Lock()

    def ask(self, number: int, calls: int) -> None:
        """One after another, each waited for."""
        client = self.callers[number]
        for call in range(calls):
            done, began = threading.Event(), time.monotonic()
            future = client.call_async(client.srv_type.Request(query=f"thing {number} {call}"))
            future.add_done_callback(lambda _, done=done: done.set())
            answered = done.wait(120.0)
            if not answered:
                client.remove_pending_request(future)
            with self._lock:
                self.counts[Status(future.result().status).name if answered else "no answer"] += 1
                self.slowest = max(self.slowest, time.monotonic() - began)

    def run(self, calls: int) -> None:
        for client in self.callers:
            client.wait_for_service(120.0)
        threads = [threading.Thread(target=self.ask, args=(i, calls)) for i in range(len(self.callers))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def call(clients: int, calls: int, depth: int) -> tuple[Counter, float]:
    """In this process: `calls` by each of `clients`; the answers by status, and the slowest, s."""
    with served(lambda: Callers(clients, depth)) as node:
        node.run(calls)
        return node.counts, node.slowest


def call_from_processes(clients: int, calls: int, depth: int) -> tuple[Counter, float]:
    """The same, the clients shared out."""
    share = max(clients // PROCESSES, 1)
    words = [sys.executable, "-m", "benchmarks.ros.answers", "--share", str(share), "--calls", str(calls // clients)]
    words += ["--depth", str(depth)]
    children = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(clients // share)]
    counts, slowest = Counter(), 0.0
    for child in children:
        for line in child.communicate()[0].splitlines():
            name, _, number = line.partition(" ")
            if name == "slowest":
                slowest = max(slowest, float(number))
            else:
                counts[name.replace("_answer", " answer")] += int(number)
    return counts, slowest


def send_goals(goals: int, qos: dict) -> Counter:
    """All at once; how they ended: rejected, a status, or no answer."""
    counts: Counter = Counter()
    with served(lambda: Node("goals")) as node:
        client = ActionClient(node, Grasp, GRASP_ACTION, callback_group=ReentrantCallbackGroup(), **qos)
        client.wait_for_server(120.0)
        sent = [client.send_goal_async(Grasp.Goal(query=f"thing {i}")) for i in range(goals)]
        _wait(sent)
        handles = [future.result() if future.done() else None for future in sent]
        results = [handle.get_result_async() for handle in handles if handle and handle.accepted]
        _wait(results)
        counts["no answer"] = sum(handle is None for handle in handles)
        counts["rejected"] = sum(handle is not None and not handle.accepted for handle in handles)
        for future in results:
            counts[f"accepted, {Status(future.result().result.status).name}" if future.done() else "no result"] += 1
    return counts


def _wait(futures: list, timeout: float = 120.0) -> None:
    end = time.monotonic() + timeout
    while not all(future.done() for future in futures) and time.monotonic() < end:
        time.sleep(0.05)


def main(
    calls: int = 20_000, clients: int = 32, goals: int = 1000, depth: int = 0, within: float = 30.0, share: int = 0
) -> int:
    """depth 0: this package's own queues. share: of the clients, for the processes that this one starts."""
    if share:
        counts, slowest = call(share, calls, depth)
        for name, number in counts.items():
            print(name.replace(" ", "_"), number)
        print("slowest", slowest, flush=True)
        return 0
    failed = 0
    with running(NODES, lambda children: Node("watching")), suppress(KeyboardInterrupt):
        began = time.monotonic()
        counts, slowest = call_from_processes(clients, calls, depth)
        print(f"{counts.total()} calls of {clients} clients in {time.monotonic() - began:.0f} s: {dict(counts)}")
        print(f"the slowest answer took {slowest:.1f} s")
        failed += counts["no answer"] + counts["TIMEOUT"] + (slowest > within)
        ended = _goals_in_a_process(goals, depth)
        print(f"{goals} goals at once: {ended}")
        failed += "no answer': 0" not in ended or "no result" in ended
    return min(failed, 1)


def _goals_in_a_process(goals: int, depth: int) -> str:
    code = (
        "from benchmarks.ros.answers import send_goals; from dropclip_ros.ros.common import ACTION_CLIENT_QOS; "
        f"print(dict(send_goals({goals}, {{}} if {depth} else ACTION_CLIENT_QOS)), flush=True); import os; os._exit(0)"
    )
    return subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True).stdout.strip()


if __name__ == "__main__":
    status = tyro.cli(main)
    sys.stdout.flush()
    os._exit(status)
