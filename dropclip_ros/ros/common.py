# SPDX-License-Identifier: Apache-2.0
"""What every node shares: topic names, QoS, parameters with descriptors, and running until a signal."""

import math
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Protocol

import rclpy
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock
from rclpy.exceptions import InvalidHandle, NameValidationException, ParameterException
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor, ShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.missing import how_to_install
from dropclip_ros.base.ranges import range_of
from dropclip_ros.base.signals import ENDING
from dropclip_ros.base.telling import for_peers, of_a_bug
from dropclip_ros.ros.launching.cameras import COLOR_TOPIC as COLOR_TOPIC
from dropclip_ros.ros.launching.cameras import DEPTH_TOPIC as DEPTH_TOPIC
from dropclip_ros.ros.launching.cameras import INFO_TOPIC as INFO_TOPIC
from dropclip_ros.ros.launching.cameras import POINTS_TOPIC as POINTS_TOPIC

RCLError = rclpy_implementation.RCLError

_LOOK = 0.1  # s, between looks at whether to end
LAST = 0.7  # s, that threads may take to end
THREADS = 28  # of a node's executor: more than the requests that may wait in it (`WaitingCallbackGroup`)

GRASPS_TOPIC = "grasp_proposals"
GROUND_SERVICE = "ground"
MATCH_SERVICE = "match_grasps"
GRASP_ACTION = "grasp"
PICK_ACTION = "pick"
LOOK_ACTION = "look"
PLACE_ACTION = "place"  # an action of the type of `pick`
TABLE_FRAME = "dropclip_table"

# A camera's subscribers take what comes. Its publishers here deliver reliably, which serves both kinds of subscriber.
SENSOR_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
CAMERA_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
# DDS gives each client of a service the answers of all, and keeps the newest `depth` until they are taken: with rclpy's
# usual 10 a client whose executor is busy loses its own. Requests and goals that wait for a server likewise.
SERVICE_QOS = QoSProfile(depth=2000)
LATCHED_QOS = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)  # for who subscribes later
ACTION_CLIENT_QOS = {f"{name}_service_qos_profile": SERVICE_QOS for name in ("goal", "result", "cancel")}
ACTION_SERVER_QOS = ACTION_CLIENT_QOS | {"feedback_pub_qos_profile": QoSProfile(depth=100)}


@dataclass(frozen=True)
class Setting:
    """A parameter: its default (which fixes the type), unit and meaning, and what values it takes."""

    name: str
    default: bool | int | float | str | list[str] | list[float]
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    read_only: bool = False

    @classmethod
    def of(
        cls,
        config: type,
        field: str,
        prefix: str = "",
        default: bool | int | float | None = None,
        high: float | None = None,
        name: str = "",
    ) -> "Setting":
        """A field of a dataclass as a parameter, by its default, range and meaning; `default`, `high`, `name`: other
        ones. `high` also where the field's own range is open."""
        limits = range_of(config, field)
        own = getattr(config, field) if default is None else default
        return cls(name or prefix + field, own, limits.doc, limits.low, limits.high if high is None else high)

    def descriptor(self) -> ParameterDescriptor:
        found = ParameterDescriptor(
            description=self.description,
            read_only=self.read_only,
            additional_constraints=f"one of {', '.join(self.choices)}" if self.choices else "",
        )
        if self.low is None or self.high is None:
            return found
        if isinstance(self.default, float):
            found.floating_point_range = [FloatingPointRange(from_value=float(self.low), to_value=float(self.high))]
        else:
            found.integer_range = [IntegerRange(from_value=int(self.low), to_value=int(self.high), step=1)]
        return found

    def complaint(self, value: object) -> str | None:
        """Why a value of the right type and range cannot be taken."""
        if value is None:
            return f"{self.name} has no value"
        if isinstance(value, float) and not math.isfinite(value):
            return f"{self.name} is {value}: expected a finite number"
        if self.choices and value not in self.choices:
            return f"{self.name} is {value!r}: expected one of {', '.join(self.choices)}"
        return None


class Values(Protocol):
    """Values of parameters by name: those of a node (`Settings`), or those that would hold."""

    def __getitem__(self, name: str, /) -> object: ...


def listed(values: Values, name: str) -> tuple:
    """Those of a parameter that is a list."""
    found = values[name]
    return tuple(found) if isinstance(found, Iterable) else ()


class Settings:
    """Declares a node's parameters, refuses bad values at start and while running, and reads the current ones.

    `check` gets the values, by name, that would then hold and raises ValueError or DropclipError to refuse them.
    """

    def __init__(self, node: Node, settings: Sequence[Setting], check: Callable[[dict], object] | None = None):
        self._node, self._cross_check = node, check
        self._settings = {s.name: s for s in settings}
        node.add_on_set_parameters_callback(self._check)
        for s in settings:
            node.declare_parameter(s.name, s.default, s.descriptor())

    def _check(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        told = {p.name: self._value(p) for p in parameters}
        known = [(self._settings[name], value) for name, value in told.items() if name in self._settings]
        complaints = [c for c in (setting.complaint(value) for setting, value in known) if c]
        if self._cross_check and not complaints:
            values = {
                name: self[name] if self._node.has_parameter(name) else s.default for name, s in self._settings.items()
            } | told
            try:
                self._cross_check(values)
            except (ValueError, DropclipError) as error:
                complaints = [for_peers(str(error))]
            except Exception as error:  # a node does not die of what a peer sets
                complaints = [f"the values cannot be checked ({type(error).__name__})"]
        return SetParametersResult(successful=not complaints, reason="; ".join(complaints))

    def _value(self, parameter: Parameter):
        """Of a parameter; an empty list, of which ROS knows no type, comes as None."""
        setting = self._settings.get(parameter.name)
        return [] if parameter.value is None and setting and isinstance(setting.default, list) else parameter.value

    def __getitem__(self, name: str):
        return self._value(self._node.get_parameter_or(name))


class WaitingCallbackGroup(CallbackGroup):
    """Callbacks that wait for each other: up to `limit` at once, so that threads are left for what they wait for."""

    def __init__(self, limit: int = THREADS - 4):
        super().__init__()
        self._limit, self._begun, self._lock = limit, 0, threading.Lock()

    def can_execute(self, entity) -> bool:
        return self._begun < self._limit

    def beginning_execution(self, entity) -> bool:
        with self._lock:
            if not self.can_execute(entity):
                return False
            self._begun += 1
            return True

    def ending_execution(self, entity) -> None:
        with self._lock:
            self._begun -= 1


class AnswerError(DropclipError):
    """A request that failed, with `fields` of the answer that say more."""

    def __init__(self, status: Status, message: str, **fields: object):
        super().__init__(status, message)
        self.fields = fields


def log_bug(node: Node) -> None:
    """The traceback of the exception at hand, unless it came of a signal that took ROS away meanwhile."""
    if node.context.ok():
        node.get_logger().error(traceback.format_exc())


def answer_errors(serve: Callable) -> Callable:
    """Turns a method (self, request, response) that fills the response into a service callback that never raises."""

    @wraps(serve)
    def callback(self: Node, request, response):
        try:
            if not getattr(self, "active", True):
                name = self.get_fully_qualified_name()
                raise DropclipError(Status.BUSY, f"{name} is not active: ros2 lifecycle set {name} activate")
            serve(self, request, response)
            return response
        except AnswerError as error:
            return type(response)(status=int(error.status), message=for_peers(error.message), **error.fields)
        except DropclipError as error:
            status, message = error.status, for_peers(error.message)
        except Exception as error:  # a bug: the node keeps serving, and says so
            log_bug(self)
            status, message = Status.MODEL_ERROR, of_a_bug(error)
        return type(response)(status=int(status), message=message)

    return callback


def warn_of_namesake(node: Node, after: float = 3.0) -> None:
    """Once discovery had `after` s: says where another node has this one's name, and answers in its place by turns."""

    def look() -> None:
        timer.cancel()
        own = (node.get_name(), node.get_namespace())
        if sum((name, space) == own for name, space in node.get_node_names_and_namespaces()) > 1:
            node.get_logger().warning(
                f"another node is called {node.get_fully_qualified_name()} too: give one of them a namespace "
                "(launch argument namespace), or end it"
            )

    timer = node.create_timer(after, look, clock=Clock())


class _Serving:
    """A node and the threads that serve it: each has its own, so that requests that wait in one hold up no other."""

    def __init__(self, node: Node):
        self.node, self._executor = node, MultiThreadedExecutor(num_threads=THREADS)
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, name=node.get_name(), daemon=True)
        self._ended, self.failure = False, ""
        self._thread.start()

    def _spin(self) -> None:
        try:
            while not self._ended:
                self._executor.spin_once(timeout_sec=0.5)  # bounded: a signal just before rclpy waits does not wake it
        except (ExternalShutdownException, ShutdownException):
            pass
        except Exception:
            self.failure = "" if self._ended else traceback.format_exc()

    def stop(self) -> None:
        """No callback begins after this; one that runs is left to end."""
        self._ended = True
        with suppress(InvalidHandle):
            self._executor.wake()
        self._executor._executor.shutdown(wait=False, cancel_futures=True)


def run(*make_nodes: Callable[[], Node], imports: Sequence[str] = ()) -> None:
    """Serve nodes until SIGINT or SIGTERM, then end the process: code 0, 1 after a bug, 2 where it could not start.

    imports: modules that take seconds, imported before any thread runs (SciPy fails beside a half-imported torch).
    """
    code, serving, started, told = 0, [], False, False

    def end(*_) -> None:
        nonlocal told
        if not started:  # until rclpy takes over there is nothing to tidy up
            os._exit(0)
        told = True  # rclpy's own handler calls this one as well; one that came before it was there is not lost

    def stopped() -> bool:  # then whatever failed did so because a signal took ROS away
        return told or (started and not rclpy.ok())

    try:
        for number in ENDING:
            signal.signal(number, end)
        for module in imports:
            import_module(module)
        rclpy.init()
        started = True
        for make_node in make_nodes:
            serving.append(_Serving(make_node()))
            warn_of_namesake(serving[-1].node)
        while not stopped() and not any(one.failure for one in serving):
            time.sleep(_LOOK)
        if not stopped():
            print("\n".join(one.failure for one in serving if one.failure), file=sys.stderr)
            code = 1
    except (DropclipError, NameValidationException, ParameterException, RCLError, ImportError) as error:
        if not stopped():
            reason = how_to_install(error, sys.executable) if isinstance(error, ImportError) else error
            print(f"{Path(sys.argv[0]).name}: cannot start: {reason}", file=sys.stderr)
            code = 2
    except Exception:
        if not stopped():
            traceback.print_exc()
            code = 1
    _end(code, serving)


def _end(code: int, serving: Sequence[_Serving]) -> None:
    """Takes nodes down, waits up to `LAST` s for their threads, of which one may be deep in a model, and ends.

    The process ends at once: the interpreter's own end, which unloads torch, takes two seconds more.
    """
    end = time.monotonic() + LAST
    if not code:  # a node that was not made to its end cannot be taken down in order
        for one in serving:
            one.stop()
        for one in serving:
            one.node.destroy_node()
        rclpy.try_shutdown()
        for thread in threading.enumerate():
            if thread is not threading.current_thread():
                thread.join(max(end - time.monotonic(), 0.0))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
