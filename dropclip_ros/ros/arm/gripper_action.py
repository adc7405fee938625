# SPDX-License-Identifier: Apache-2.0
"""The action of a gripper's controller, of either type: what the drivers of Humble and of later distros offer."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from sensor_msgs.msg import JointState

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.ros.common import Setting

TYPES = {"gripper_command": "GripperCommand", "parallel_gripper_command": "ParallelGripperCommand"}
SETTINGS = (
    Setting("gripper_action", "gripper_controller/gripper_cmd", "Name of the gripper's action", read_only=True),
    Setting(
        "gripper_type",
        "parallel_gripper_command",
        "Its type in control_msgs: gripper_command (GripperActionController, of Humble), or parallel_gripper_command",
        choices=tuple(TYPES),
        read_only=True,
    ),
)


@dataclass(frozen=True)
class GripperAction:
    """One of TYPES: its class in control_msgs.action, and goals of it."""

    kind: str

    @property
    def action(self) -> Any:
        """The class. BAD_REQUEST where this control_msgs lacks it."""
        name = TYPES[self.kind]
        try:
            return getattr(import_module("control_msgs.action"), name)
        except AttributeError:
            raise DropclipError(
                Status.BAD_REQUEST,
                f"parameter gripper_type is {self.kind!r}: control_msgs here has no {name} (Humble's has none); "
                "set gripper_command",
            ) from None

    def goal(self, joint: str, angle: float, force: float) -> Any:
        """To an angle of the joint that is driven, rad, with at most so much force, N."""
        goal = self.action.Goal()
        if self.kind == "gripper_command":
            goal.command.position, goal.command.max_effort = angle, force
        else:
            goal.command = JointState(name=[joint], position=[angle], effort=[force])
        return goal


def holds(result: Any) -> bool:
    """Whether the fingers were stopped by something between them."""
    return bool(result.stalled and not result.reached_goal)
