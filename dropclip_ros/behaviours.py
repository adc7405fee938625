# SPDX-License-Identifier: Apache-2.0
"""Leaves for py_trees: ground, grasp, pick and place as behaviours over `Client`. Needs the extra `trees`.

A leaf starts its call in a thread when it is first ticked, is RUNNING until the answer, and then SUCCESS or FAILURE
with the node's sentence as feedback. Its answer lies on the blackboard under its name.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import py_trees
from py_trees.common import Access, Status

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.base.errors import Status as Ending
from dropclip_ros.client import Client

_OVER = 0.005  # m, that an object is let go above where it stood


class Asking(py_trees.behaviour.Behaviour):
    """A behaviour of one call, which is told by an event when to stop; `key` of the blackboard holds the answer once it
    is there. Where the tree goes elsewhere meanwhile, the call is stopped: an arm does not go on moving."""

    def __init__(self, name: str, call: Callable[[threading.Event], Any], key: str) -> None:
        super().__init__(name)
        self._call, self._key = call, key
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._future: Future | None = None
        self._stop = threading.Event()
        self.board = self.attach_blackboard_client(name=name)
        self.board.register_key(key, access=Access.WRITE)

    def initialise(self) -> None:
        self._stop = threading.Event()
        self._future = self._pool.submit(self._call, self._stop)

    def update(self) -> Status:
        assert self._future is not None
        if not self._future.done():
            return Status.RUNNING
        try:
            self.board.set(self._key, answer := self._future.result())
        except DropclipError as error:
            self.feedback_message = str(error)
            return Status.FAILURE
        self.feedback_message = getattr(answer, "message", "")
        return Status.SUCCESS

    def terminate(self, new_status: Status) -> None:
        if new_status == Status.INVALID:
            self._stop.set()

    def shutdown(self) -> None:
        self._stop.set()
        self._pool.shutdown(wait=False, cancel_futures=True)


def ground(client: Client, query: str, key: str = "grounded", **fields: Any) -> Asking:
    """A leaf that grounds a phrase; fields: of `dropclip_ros.client.Query`."""
    return Asking(f"ground {query!r}", lambda stop: client.ground(query, stop=stop, **fields), key)


def grasp(client: Client, query: str, key: str = "grasped", **fields: Any) -> Asking:
    """A leaf that finds grasps of what a phrase means."""
    return Asking(f"grasp {query!r}", lambda stop: client.grasp(query, stop=stop, **fields), key)


def pick(client: Client, key: str = "picked", grasped: str = "grasped") -> Asking:
    """A leaf that picks the grasps under another key of the blackboard."""

    def call(stop: threading.Event) -> Any:
        if not leaf.board.exists(grasped):
            raise DropclipError(
                Ending.BAD_REQUEST, f"nothing lies under {grasped!r} on the blackboard: expected a grasp's answer"
            )
        return client.pick(leaf.board.get(grasped), stop=stop)

    leaf = Asking("pick", call, key)
    leaf.board.register_key(grasped, access=Access.READ)
    return leaf


def place(
    client: Client, to: Sequence[float], key: str = "placed", grasped: str = "grasped", picked: str = "picked"
) -> Asking:
    """A leaf that puts what was picked down, so that its centre comes to `to` (x, y, z), m; or (x, y): on the table, as
    high as it stood and 5 mm more."""

    def call(stop: threading.Event) -> Any:
        for name in (grasped, picked):
            if not leaf.board.exists(name):
                raise DropclipError(Ending.BAD_REQUEST, f"nothing lies under {name!r} on the blackboard: pick it first")
        found = leaf.board.get(grasped)
        where = to if len(to) == 3 or not found.objects else (*to, found.objects[0].centre[2] + _OVER)
        return client.place(found, leaf.board.get(picked).executed, where, stop=stop)

    leaf = Asking(f"place at {' '.join(f'{one:.2f}' for one in to)}", call, key)
    leaf.board.register_key(grasped, access=Access.READ)
    leaf.board.register_key(picked, access=Access.READ)
    return leaf
