# SPDX-License-Identifier: Apache-2.0
"""What serving the actions `pick` and `place` consists of, for any arm: the first candidate whose whole way is free is
executed."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from geometry_msgs.msg import Pose

from dropclip_ros.action import Pick
from dropclip_ros.base.errors import Status
from dropclip_ros.grasping.gate import Refusal, verdict
from dropclip_ros.msg import GraspCandidate
from dropclip_ros.ros.common import AnswerError


class NoPath(Exception):
    """There is no way to a pose, in words."""


class Arm(Protocol):
    """An arm that plans before it moves. A way is whatever `execute` takes; all of it is checked for collision."""

    def reach(self, pose: Pose) -> Any:
        """A way from where the arm is to a pose of the tool frame. Raises NoPath."""

    def straight(self, after: Any, pose: Pose, into: bool) -> Any:
        """The straight way to a pose, from the end of the way `after`; into: the hand goes into what the camera saw, at
        a grasp that was checked for that. Raises NoPath."""

    def execute(self, way: Any) -> None:
        """Raises DropclipError: NO_PATH where the arm stops early, CANCELLED."""

    def open(self, opening: float) -> None:
        """m between the fingers."""

    def close(self) -> bool:
        """Whether the fingers hold something."""


def pick_first(
    arm: Arm,
    candidates: Sequence[GraspCandidate],
    refused: Sequence[Refusal | None],
    begin: Callable[[str], None],
    check: Callable[[], None],
) -> Pick.Result:
    """Executes the first candidate that passed the gate, and of which reach, approach and retreat were all planned
    before anything moves. AnswerError, with the reasons, where there is none.

    refused: what the gate says of each; begin: told which stage begins; check: raises CANCELLED where the client wants
    that.
    """
    return _first(arm, candidates, refused, begin, check, _pick)


def place_first(
    arm: Arm,
    candidates: Sequence[GraspCandidate],
    refused: Sequence[Refusal | None],
    begin: Callable[[str], None],
    check: Callable[[], None],
) -> Pick.Result:
    """The same for putting down what is held: the hand opens at the end of the approach."""
    return _first(arm, candidates, refused, begin, check, _place)


def _first(
    arm: Arm,
    candidates: Sequence[GraspCandidate],
    refused: Sequence[Refusal | None],
    begin: Callable[[str], None],
    check: Callable[[], None],
    execute: Callable[..., tuple[Status, str]],
) -> Pick.Result:
    why: list[Refusal] = []
    begin("plan")
    for index, (one, refusal) in enumerate(zip(candidates, refused, strict=True)):
        check()
        if refusal:
            why.append(refusal)
            continue
        try:
            reach = arm.reach(one.pregrasp)
            approach = arm.straight(reach, one.tool, into=True)
            retreat = arm.straight(approach, one.retreat, into=True)
        except NoPath as error:
            why.append(Refusal(Status.NO_PATH, str(error)))
            continue
        status, message = execute(arm, one, (reach, approach, retreat), begin, check)
        return Pick.Result(status=int(status), message=message, executed=index, **_reasons(why))
    told = "; ".join(one.reason for one in why)
    message = f"none of {len(candidates)} candidates can be executed: {told}"
    raise AnswerError(verdict(why), message, executed=-1, **_reasons(why))


def _reasons(why: Sequence[Refusal]) -> dict[str, list]:
    return {"reasons": [one.reason for one in why], "reason_codes": [int(one.status) for one in why]}


def _go_through(begin: Callable[[str], None], check: Callable[[], None], **stages: Callable[[], object]) -> None:
    """Stages by name, in order; none begins once the client has cancelled."""
    for stage, act in stages.items():
        begin(stage)
        check()
        act()


def _pick(
    arm: Arm, one: GraspCandidate, ways: Sequence[Any], begin: Callable[[str], None], check: Callable[[], None]
) -> tuple[Status, str]:
    _go_through(
        begin,
        check,
        reach=lambda: arm.execute(ways[0]),
        open=lambda: arm.open(one.grasp.width),
        approach=lambda: arm.execute(ways[1]),
    )
    begin("close")
    check()
    held = arm.close()
    begin("lift")
    arm.execute(ways[2])
    return (Status.OK, "holds something") if held else (Status.SLIPPED, "the gripper closed on nothing")


def _place(
    arm: Arm, one: GraspCandidate, ways: Sequence[Any], begin: Callable[[str], None], check: Callable[[], None]
) -> tuple[Status, str]:
    _go_through(
        begin,
        check,
        reach=lambda: arm.execute(ways[0]),
        approach=lambda: arm.execute(ways[1]),
        release=lambda: arm.open(one.grasp.width),
        retreat=lambda: arm.execute(ways[2]),
    )
    return Status.OK, "put down"
