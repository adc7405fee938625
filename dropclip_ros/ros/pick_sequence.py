# SPDX-License-Identifier: Apache-2.0
"""What serving the action `pick` consists of, for any arm: the first candidate whose whole way is free is executed."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from geometry_msgs.msg import Pose

from dropclip_ros.action import Pick
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.msg import GraspCandidate


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
    max_opening: float,
    begin: Callable[[str], None],
    check: Callable[[], None],
) -> Pick.Result:
    """Executes the first candidate of which reach, approach and retreat were all planned before anything moves.

    begin: told which stage begins; check: raises CANCELLED where the client wants that.
    """
    reasons: list[str] = []
    begin("plan")
    for index, one in enumerate(candidates):
        check()
        if one.grasp.width > max_opening + 1e-6:
            reasons.append(f"needs an opening of {one.grasp.width:.3f} m, {max_opening:.3f} m is all")
            continue
        try:
            reach = arm.reach(one.pregrasp)
            approach = arm.straight(reach, one.tool, into=True)
            retreat = arm.straight(approach, one.retreat, into=True)
        except NoPath as error:
            reasons.append(str(error))
            continue
        held = _execute(arm, one, (reach, approach, retreat), begin, check)
        status = Status.OK if held else Status.SLIPPED
        message = "holds something" if held else "the gripper closed on nothing"
        return Pick.Result(status=int(status), message=message, executed=index, reasons=reasons)
    wide = sum("opening" in reason for reason in reasons)
    status = Status.TOO_WIDE if candidates and wide == len(candidates) else Status.NO_PATH
    raise DropclipError(status, f"none of {len(candidates)} candidates can be executed: {'; '.join(reasons)}")


def _execute(
    arm: Arm, one: GraspCandidate, ways: Sequence[Any], begin: Callable[[str], None], check: Callable[[], None]
) -> bool:
    for stage, act in (
        ("reach", lambda: arm.execute(ways[0])),
        ("open", lambda: arm.open(one.grasp.width)),
        ("approach", lambda: arm.execute(ways[1])),
    ):
        begin(stage)
        check()
        act()
    begin("close")
    check()
    held = arm.close()
    begin("lift")
    arm.execute(ways[2])
    return held
