# SPDX-License-Identifier: Apache-2.0
"""What a task planner holds: `Client` asks the nodes of this package, and answers in arrays and typed errors.

    with Client() as robot:
        mug = robot.ground("the red mug").objects[0]
        robot.pick(robot.grasp("the red mug"))

Every call blocks until the answer, or until `timeout`; `await client.asynchronous.ground(...)` does the same in
asyncio. Whatever is no success raises DropclipError, with the status and the sentence of the node.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType
from typing import Any, Protocol, TypeVar

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from rclpy.action import ActionClient
from rclpy.client import Client as ServiceClient
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor, ShutdownException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from std_msgs.msg import Header

from dropclip_ros.action import Grasp, Pick
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.ranges import built
from dropclip_ros.msg import FoundObject as FoundObjectMessage
from dropclip_ros.msg import GraspCandidate, Interpretation
from dropclip_ros.ros.arm.placing import put_down
from dropclip_ros.ros.asking import SOURCES
from dropclip_ros.ros.common import (
    ACTION_CLIENT_QOS,
    GRASP_ACTION,
    GROUND_SERVICE,
    PICK_ACTION,
    PLACE_ACTION,
    SERVICE_QOS,
)
from dropclip_ros.ros.messages import cloud_colors, cloud_points, cloud_to_numpy, pose_matrix
from dropclip_ros.srv import Ground

NEGATIVES = {
    "default": Ground.Request.NEGATIVES_DEFAULT,
    "none": Ground.Request.NEGATIVES_NONE,
    "canonical": Ground.Request.NEGATIVES_CANONICAL,
    "custom": Ground.Request.NEGATIVES_CUSTOM,
    "scene": Ground.Request.NEGATIVES_SCENE,
}


@dataclass(frozen=True)
class Query:
    """A phrase and how it is to be read; the fields of srv/Ground.

    negatives: phrases it is told apart from, for `custom`; negatives_mode: one of NEGATIVES; threshold: in (0, 1), 0:
    the node's; target_frame: of the answer, '': the node's; previous: ids of the last answer's objects; viewer_frame:
    whose left and right are meant; literal: compare the phrase as a whole; source: one of SOURCES, a frame or the map.
    """

    text: str
    negatives: Sequence[str] = ()
    negatives_mode: str = "default"
    threshold: float = 0.0
    target_frame: str = ""
    previous: Sequence[int] = ()
    viewer_frame: str = ""
    literal: bool = False
    source: str = "frame"

    def fill(self, message: Any) -> Any:
        """The same in a request or goal. Raises BAD_REQUEST where a field is not of its kind."""
        if self.negatives_mode not in NEGATIVES:
            raise DropclipError(
                Status.BAD_REQUEST, f"negatives_mode {self.negatives_mode!r}: expected one of {', '.join(NEGATIVES)}"
            )
        if self.source not in SOURCES:
            raise DropclipError(Status.BAD_REQUEST, f"source {self.source!r}: expected one of {', '.join(SOURCES)}")
        if isinstance(self.negatives, str):
            raise DropclipError(Status.BAD_REQUEST, f"negatives {self.negatives!r}: expected a list of phrases")
        try:
            negatives, previous = list(self.negatives), [int(number) for number in self.previous]
            words = (self.text, self.target_frame, self.viewer_frame, *negatives)
            if not all(isinstance(word, str) for word in words):  # rclpy does not always look
                raise TypeError("expected words")
            message.query, message.negatives = self.text, negatives
            message.negatives_mode, message.threshold = NEGATIVES[self.negatives_mode], float(self.threshold)
            message.target_frame, message.viewer_frame = self.target_frame, self.viewer_frame
            message.previous, message.literal = previous, bool(self.literal)
            message.source = SOURCES[self.source]
        except (AssertionError, TypeError, ValueError, OverflowError) as error:
            why = str(error).splitlines()[0]
            raise DropclipError(Status.BAD_REQUEST, f"a field of the query is not of its kind: {why}") from error
        return message


@dataclass(frozen=True, eq=False)
class SeenObject:
    """An object that answers: points (N, 3) float32 m, colors (N, 3) uint8, scores (N,) of them, in the answer's frame.

    box_pose (4, 4) and box_size (3,) m of the oriented box; confidence: -1 where it is not calibrated; age: s, since it
    was last seen.
    """

    id: int
    label: str
    score: float
    confidence: float
    doubtful: bool
    centre: np.ndarray
    box_pose: np.ndarray
    box_size: np.ndarray
    points: np.ndarray
    colors: np.ndarray
    scores: np.ndarray
    words_read: tuple[str, ...]
    age: float = 0.0

    @classmethod
    def of_message(cls, msg: FoundObjectMessage) -> SeenObject:
        """Raises BAD_REQUEST where the cloud contradicts itself."""
        whole = msg.cloud.width * msg.cloud.height > 0
        return cls(
            id=msg.id,
            label=msg.label,
            score=msg.score,
            confidence=msg.confidence,
            doubtful=msg.doubtful,
            centre=np.array([msg.centre.x, msg.centre.y, msg.centre.z]),
            box_pose=pose_matrix(msg.box_pose.position, msg.box_pose.orientation),
            box_size=np.array([msg.box_size.x, msg.box_size.y, msg.box_size.z]),
            points=cloud_points(msg.cloud) if whole else np.zeros((0, 3), np.float32),
            colors=cloud_colors(msg.cloud) if whole else np.zeros((0, 3), np.uint8),
            scores=cloud_to_numpy(msg.cloud)["score"].ravel() if whole else np.zeros(0, np.float32),
            words_read=tuple(msg.words_read),
            age=msg.age.sec + 1e-9 * msg.age.nanosec,
        )


THAT_ONE = "it"  # with the id of one of them as `previous`: how a question back is answered


class Refused(DropclipError):
    """An answer that is no success. candidates: with AMBIGUOUS the objects that fit, of which `question` asks; the one
    with some id is then asked for by `ground(THAT_ONE, previous=[id])`."""

    def __init__(
        self, status: Status, message: str, candidates: tuple[SeenObject, ...] = (), question: str = ""
    ) -> None:
        super().__init__(status, message)
        self.candidates, self.question = candidates, question

    def __reduce__(self):
        return type(self), (self.status, self.message, self.candidates, self.question)


@dataclass(frozen=True, eq=False)
class Grounded:
    """Objects that a phrase means, best first, in `frame` at `stamp` s; `message` in the node's words."""

    objects: tuple[SeenObject, ...]
    frame: str
    stamp: float
    threshold: float
    message: str
    interpretation: Interpretation
    timing_ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Grasped:
    """Ranked grasps as messages for a planner (`pick` takes them), in `header`'s frame, and what they would take."""

    candidates: tuple[GraspCandidate, ...]
    header: Any
    objects: tuple[SeenObject, ...]
    message: str
    interpretation: Interpretation


@dataclass(frozen=True)
class Picked:
    """Which candidate was executed, and why those before it were not."""

    executed: int
    reasons: tuple[str, ...]
    message: str


class Asynchronous:
    """The calls of a `Client` for asyncio: each waits in a thread, so that the loop goes on, and ends where its task is
    cancelled."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def ground(self, query: str | Query, **fields: Any) -> Grounded:
        return await _in_thread(self._client.ground, query, **fields)

    async def grasp(self, query: str | Query, **fields: Any) -> Grasped:
        return await _in_thread(self._client.grasp, query, **fields)

    async def pick(self, grasped: Grasped, **fields: Any) -> Picked:
        return await _in_thread(self._client.pick, grasped, **fields)

    async def place(self, grasped: Grasped, executed: int, to: Sequence[float], **fields: Any) -> Picked:
        return await _in_thread(self._client.place, grasped, executed, to, **fields)


async def _in_thread(call: Callable[..., Any], *arguments: Any, **fields: Any) -> Any:
    stop = threading.Event()
    try:
        return await asyncio.to_thread(call, *arguments, stop=stop, **fields)
    finally:
        stop.set()


class Client:
    """Asks `ground`, `grasp` and `pick` of one robot.

    node: whose executor already spins in another thread; None: a node and a thread of its own, ended by `close`.
    namespace: of the nodes asked. timeout: s for an answer, of every call that gives none. Calls take `stop`, an event
    that ends them from another thread: the goal is cancelled, and CANCELLED raised.
    """

    def __init__(self, node: Node | None = None, namespace: str = "", timeout: float = 60.0) -> None:
        self.timeout = timeout
        self.asynchronous = Asynchronous(self)
        self._executor: MultiThreadedExecutor | None = None
        self._context = None
        if node is None:
            self._context = rclpy.Context()
            rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
            node = Node("dropclip_client", context=self._context)
            self._executor = MultiThreadedExecutor(num_threads=2, context=self._context)
            self._executor.add_node(node)
        self.node = node
        at = f"/{namespace.strip('/')}/" if namespace.strip("/") else ""
        self._ground: ServiceClient = node.create_client(Ground, at + GROUND_SERVICE, qos_profile=SERVICE_QOS)
        self._grasp: ActionClient = built(partial(ActionClient, node, Grasp, at + GRASP_ACTION), ACTION_CLIENT_QOS)
        self._pick: ActionClient = built(partial(ActionClient, node, Pick, at + PICK_ACTION), ACTION_CLIENT_QOS)
        self._place: ActionClient = built(partial(ActionClient, node, Pick, at + PLACE_ACTION), ACTION_CLIENT_QOS)
        if self._executor is not None:  # last: it must not wait on what is being built
            self._closing = threading.Event()
            self._spinning = threading.Thread(target=self._spin, daemon=True)
            self._spinning.start()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the calls' clients, and the node where it is the client's own."""
        if self._executor is not None:  # first, for it must not wait on what is being destroyed
            self._closing.set()
            self._executor.wake()
            self._spinning.join()  # a thread in rcl at the interpreter's end aborts the process
            self._executor.shutdown(timeout_sec=1.0)
        self._grasp.destroy()
        self._pick.destroy()
        self._place.destroy()
        self.node.destroy_client(self._ground)
        if self._executor is not None:
            self.node.destroy_node()
            rclpy.try_shutdown(context=self._context)

    def ground(
        self, query: str | Query, *, timeout: float | None = None, stop: threading.Event | None = None, **fields: Any
    ) -> Grounded:
        """What a phrase means. fields: of `Query`. Raises DropclipError: NOT_FOUND, AMBIGUOUS ..., or TIMEOUT."""
        request = _query(query, fields).fill(Ground.Request())
        end = self._end(timeout)
        self._wait(self._ground.service_is_ready, end, stop, f"the service {self._ground.srv_name} is not there")
        future = self._ground.call_async(request)
        try:
            self._wait(future.done, end, stop, f"{self._ground.srv_name} has not answered")
        except DropclipError:
            self._ground.remove_pending_request(future)
            raise
        answer = _told(future.result())
        return Grounded(
            objects=tuple(map(SeenObject.of_message, answer.objects)),
            frame=answer.header.frame_id,
            stamp=answer.header.stamp.sec + answer.header.stamp.nanosec * 1e-9,
            threshold=answer.threshold,
            message=answer.message,
            interpretation=answer.interpretation,
            timing_ms={stage.stage: stage.milliseconds for stage in answer.timing},
        )

    def grasp(
        self,
        query: str | Query,
        *,
        top_k: int = 0,
        timeout: float | None = None,
        stop: threading.Event | None = None,
        **fields: Any,
    ) -> Grasped:
        """Ranked grasps of what a phrase means, at most top_k (0: the node's). Raises as `ground`, and NO_GRASPS."""
        if not (isinstance(top_k, int) and 0 <= top_k <= 255):
            raise DropclipError(Status.BAD_REQUEST, f"top_k {top_k!r}: expected a number from 0 to 255")
        goal = _query(query, fields).fill(Grasp.Goal(top_k=top_k))
        result = self._act(self._grasp, GRASP_ACTION, goal, self._end(timeout), stop)
        return Grasped(
            candidates=tuple(result.candidates),
            header=result.header,
            objects=tuple(map(SeenObject.of_message, result.objects)),
            message=result.message,
            interpretation=result.interpretation,
        )

    def pick(self, grasped: Grasped, *, timeout: float | None = None, stop: threading.Event | None = None) -> Picked:
        """Has the arm execute the first candidate it has a path to. Raises NO_PATH, SLIPPED, CANCELLED ..."""
        goal = Pick.Goal(header=grasped.header, candidates=list(grasped.candidates))
        result = self._act(self._pick, PICK_ACTION, goal, self._end(timeout), stop)
        return Picked(result.executed, tuple(result.reasons), result.message)

    def place(
        self,
        grasped: Grasped,
        executed: int,
        to: Sequence[float],
        *,
        timeout: float | None = None,
        stop: threading.Event | None = None,
    ) -> Picked:
        """Has the arm put down what `pick` took with candidate `executed`: its centre comes to `to` (x, y, z), m, in
        the candidates' frame, whose z must be up. Raises as `pick`, and BAD_REQUEST where that centre is not known."""
        if not grasped.objects or not 0 <= executed < len(grasped.candidates):
            raise DropclipError(Status.BAD_REQUEST, "place needs an answer of grasp, and the candidate that was picked")
        move = np.asarray(to, np.float64) - grasped.objects[0].centre
        stamp = Time()  # 0: where the hand is to go does not depend on the frame any more
        header = Header(stamp=stamp, frame_id=grasped.header.frame_id)
        goal = Pick.Goal(header=header, candidates=[put_down(grasped.candidates[executed], move)])
        result = self._act(self._place, PLACE_ACTION, goal, self._end(timeout), stop)
        return Picked(result.executed, tuple(result.reasons), result.message)

    def _act(self, client: ActionClient, name: str, goal: Any, end: float, stop: threading.Event | None) -> Any:
        """The result of a goal; cancelled where it does not come in time, or the wait is interrupted."""
        self._wait(client.server_is_ready, end, stop, f"the action {name} is not there")
        sent = client.send_goal_async(goal)
        try:
            self._wait(sent.done, end, stop, f"{name} has neither accepted nor refused the goal")
        except BaseException:
            sent.add_done_callback(_cancel)
            raise
        handle = sent.result()
        if handle is None or not handle.accepted:
            raise DropclipError(Status.BUSY, f"{name} takes no further goal now; ask again")
        result = handle.get_result_async()
        try:
            self._wait(result.done, end, stop, f"{name} has not ended")
        except BaseException:
            handle.cancel_goal_async()
            raise
        ended = result.result()
        return _told(None if ended is None else ended.result)

    def _end(self, timeout: float | None) -> float:
        return time.monotonic() + (self.timeout if timeout is None else timeout)

    def _wait(self, condition: Callable[[], bool], end: float, stop: threading.Event | None, what: str) -> None:
        while not condition():
            if stop is not None and stop.is_set():
                raise DropclipError(Status.CANCELLED, "the call was stopped by its caller")
            if time.monotonic() > end:
                why = "do the nodes run, in this namespace and domain?"
                raise DropclipError(Status.TIMEOUT, f"{what} in time: {why}")
            time.sleep(0.002)

    def _spin(self) -> None:
        assert self._executor is not None
        with suppress(ExternalShutdownException, ShutdownException):
            while not self._closing.is_set():
                self._executor.spin_once(timeout_sec=0.5)


def _query(query: str | Query, fields: dict[str, Any]) -> Query:
    """A phrase with its fields; of a Query, those that are named here."""
    return replace(query, **fields) if isinstance(query, Query) else Query(query, **fields)


class _Answers(Protocol):
    status: int
    message: str


Answer = TypeVar("Answer", bound=_Answers)


def _cancel(sent: Future) -> None:
    handle = sent.result()
    if handle is not None and handle.accepted:
        handle.cancel_goal_async()


def _told(answer: Answer | None) -> Answer:
    """The answer. Raises what it says went wrong, and TIMEOUT where none came to its end."""
    if answer is None:
        raise DropclipError(Status.TIMEOUT, "the answer was given up: was the node shut down meanwhile?")
    if answer.status != Status.OK:
        known = answer.status in Status.__members__.values()
        read = getattr(answer, "interpretation", None)
        raise Refused(
            Status(answer.status) if known else Status.MODEL_ERROR,
            answer.message,
            tuple(map(SeenObject.of_message, getattr(answer, "objects", ()))),
            read.question if read is not None else "",
        )
    return answer
