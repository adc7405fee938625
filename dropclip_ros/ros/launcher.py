# SPDX-License-Identifier: Apache-2.0
"""Nodes as child processes and a client of them: what the demo, the trials and the benchmarks start."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor, ShutdownException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.ros.launching.environment import dds_profile

CONFIG = Path(__file__).resolve().parents[2] / "config"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Client = TypeVar("Client", bound=Node)


class Children:
    """Nodes, each a process with a log file, which a signal to their parent does not reach: `stop` ends them."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._processes: dict[str, subprocess.Popen] = {}

    def start(self, name: str, *parameters: str) -> None:
        """Run a node of this package, or one by the name of its module, with parameters, each "name:=value"."""
        module = name if "." in name else f"dropclip_ros.nodes.{name}"
        command = [sys.executable, "-m", module, "--ros-args"]
        command += [word for parameter in parameters for word in ("-p", parameter)]
        with open(self.log(name), "w") as log, _signals_after():
            # a session of its own: Ctrl-C reaches the demo alone, which then ends its children in order
            self._processes[name] = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def check(self) -> None:
        """Raises where a process has ended, with the end of its log."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                tail = "\n".join(self.log(name).read_text(errors="replace").splitlines()[-20:])
                raise DropclipError(
                    Status.MODEL_ERROR, f"{name} ended with code {process.returncode}; its log ends:\n{tail}"
                )

    def stop(self, timeout: float = 1.5) -> dict[str, int]:
        """Ends them all, by force after `timeout` s; the exit codes by name."""
        for process in self._processes.values():
            process.send_signal(signal.SIGINT)
        end = time.monotonic() + timeout
        for name, process in self._processes.items():
            try:
                process.wait(max(end - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                print(f"{name} does not end: killed", file=sys.stderr)
                process.kill()
        return {name: process.wait() for name, process in self._processes.items()}

    def running(self, name: str) -> bool:
        return self._processes[name].poll() is None

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def log(self, name: str) -> Path:
        return self._folder / f"{name}.log"


@contextmanager
def _signals_after() -> Iterator[None]:
    """Signals that arrive in the block act after it, so that no process is begun that nobody knows of."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals interrupt the main thread alone
        return
    arrived: list[int] = []
    before = {number: signal.signal(number, lambda number, _: arrived.append(number)) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if arrived:
        signal.raise_signal(arrived[0])


@contextmanager
def running(
    nodes: Mapping[str, Sequence[str]], make_client: Callable[[Children], Client]
) -> Iterator[tuple[Children, Client]]:
    """Nodes of this package (name: parameters) as processes in a ROS domain of their own, and a client of them, served
    by a thread. All end with the block, also when a signal ends it, as a KeyboardInterrupt."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in SIGNALS}
    os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ.update(dds_profile(os.environ, CONFIG))
    with tempfile.TemporaryDirectory(prefix="dropclip_") as logs:
        children = Children(Path(logs))
        try:
            for name, parameters in nodes.items():
                children.start(name, *parameters)
            with served(lambda: make_client(children)) as client:
                yield children, client
        finally:
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)  # impatience must not leave anybody behind
            children.stop()
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def served(make_client: Callable[[], Client]) -> Iterator[Client]:
    """A client of nodes that run, in the ROS domain of the environment, served by a thread."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # Ctrl-C is a KeyboardInterrupt
    executor = MultiThreadedExecutor(num_threads=3)
    thread = threading.Thread(target=_spin, args=[executor], daemon=True)
    try:
        client = make_client()
        executor.add_node(client)
        thread.start()
        yield client
    finally:
        executor.shutdown(timeout_sec=1.0)
        if thread.is_alive():
            thread.join(10.0)
        rclpy.try_shutdown()


def _spin(executor: MultiThreadedExecutor) -> None:
    with suppress(ExternalShutdownException, ShutdownException):
        executor.spin()
