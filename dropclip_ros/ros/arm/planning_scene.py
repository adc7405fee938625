# SPDX-License-Identifier: Apache-2.0
"""Changes of move_group's planning scene, as messages: the table, what the hand carries, what may touch what."""

from collections.abc import Collection, Sequence

import numpy as np
from geometry_msgs.msg import Pose
from moveit_msgs.msg import (
    AllowedCollisionEntry,
    AllowedCollisionMatrix,
    AttachedCollisionObject,
    CollisionObject,
    PlanningScene,
    RobotState,
)
from shape_msgs.msg import SolidPrimitive
from std_msgs.msg import Header

from dropclip_ros.grasping.grippers import Gripper
from dropclip_ros.ros.messages import point_message, pose_message

OCTOMAP = "<octomap>"  # MoveIt's name for it in the collision matrix
CARRIED = "carried"
_CLEAR = 0.005  # m between what is carried and the table that it stood on, so that it may stand there again
_STEEP = 0.5  # cosine of the approach to straight down, below which the table does not tell how far a thing reaches


def changed(**fields) -> PlanningScene:
    """A scene that says what is different."""
    return PlanningScene(is_diff=True, robot_state=RobotState(is_diff=True), **fields)


def with_table(frame: str, size: Sequence[float], centre: Sequence[float]) -> PlanningScene:
    """A box of `size`, m, whose top's middle is at `centre` in `frame`."""
    middle = (centre[0], centre[1], centre[2] - size[2] / 2)
    scene = changed()
    scene.world.collision_objects = [_box("table", frame, size, Pose(position=point_message(middle)))]
    return scene


def with_carried(
    tool: np.ndarray, width: float, gripper: Gripper, table: float | None, link: str, hand_links: Sequence[str]
) -> PlanningScene:
    """A box in the closed hand, on `link`, that the links of the hand may touch: as wide as the hand was opened, from
    between the fingers down to the table. Where the table is not known, or the hand came from the side, as far beyond
    the tips as the fingers are long.

    tool (4, 4): where the tool frame took hold of it, z up; width: of the opening, m; table: height of its top, m.
    """
    tool_from_tip = gripper.tool_from_tip(np.array([width]))[0]
    tip = tool @ tool_from_tip
    down = -float(tip[2, 0])
    below = (float(tip[2, 3]) - table) / down - _CLEAR if table is not None and down > _STEEP else gripper.finger_depth
    low, high = -gripper.finger_depth, max(below, 0.0)
    middle = np.eye(4)
    middle[0, 3] = (low + high) / 2
    size = (high - low, width, max(width, gripper.finger_width))
    thing = _box(CARRIED, link, size, pose_message(tool_from_tip @ middle))
    scene = changed()
    scene.robot_state.attached_collision_objects = [
        AttachedCollisionObject(link_name=link, object=thing, touch_links=list(hand_links))
    ]
    return scene


def without_carried() -> PlanningScene:
    """Nothing in the hand, and what was there nowhere else: the octomap has it from here on."""
    gone = CollisionObject(id=CARRIED, operation=CollisionObject.REMOVE)
    scene = changed()
    scene.robot_state.attached_collision_objects = [AttachedCollisionObject(object=gone)]
    scene.world.collision_objects = [gone]
    return scene


def allow_octomap(matrix: AllowedCollisionMatrix, names: Collection[str], allowed: bool) -> None:
    """Whether these links and bodies may touch the octomap, changed in the matrix, which gets rows for what lacks."""
    if CARRIED in names:
        _add(matrix, CARRIED)
    _add(matrix, OCTOMAP)
    at = matrix.entry_names.index(OCTOMAP)
    for index, name in enumerate(matrix.entry_names):
        if name in names:
            matrix.entry_values[index].enabled[at] = matrix.entry_values[at].enabled[index] = allowed


def _add(matrix: AllowedCollisionMatrix, name: str) -> None:
    if name in matrix.entry_names:
        return
    for row in matrix.entry_values:
        row.enabled = [*row.enabled, False]
    matrix.entry_names = [*matrix.entry_names, name]
    row = AllowedCollisionEntry(enabled=[False] * len(matrix.entry_names))
    matrix.entry_values = [*matrix.entry_values, row]


def _box(name: str, frame: str, size: Sequence[float], pose: Pose) -> CollisionObject:
    box = SolidPrimitive(type=SolidPrimitive.BOX, dimensions=[float(side) for side in size])
    return CollisionObject(
        header=Header(frame_id=frame), id=name, operation=CollisionObject.ADD, primitives=[box], primitive_poses=[pose]
    )
