# SPDX-License-Identifier: Apache-2.0
"""Changes of move_group's planning scene, as messages: the table, what stands on it, what the hand carries, what may
touch what."""

from collections.abc import Collection, Iterable, Sequence

import numpy as np
from geometry_msgs.msg import Point, Pose
from moveit_msgs.msg import (
    AllowedCollisionEntry,
    AllowedCollisionMatrix,
    AttachedCollisionObject,
    CollisionObject,
    PlanningScene,
    RobotState,
)
from scipy.spatial import ConvexHull
from shape_msgs.msg import Mesh, MeshTriangle, SolidPrimitive
from std_msgs.msg import Header

from dropclip_ros.grasping.grippers import Gripper
from dropclip_ros.ros.messages import point_message, pose_matrix, pose_message

OCTOMAP = "<octomap>"  # MoveIt's name for it in the collision matrix
TABLE, CARRIED = "table", "carried"
THICK = 0.04  # m, of a table that is seen from above
_PAD = 0.002  # m, about half a step of the camera, around what is seen of an object
_CLEAR = 0.005  # m between what is carried and the table that it stood on, so that it may stand there again
_STEEP = 0.5  # cosine of the approach to straight down, below which the table does not tell how far a thing reaches


def changed(**fields) -> PlanningScene:
    """A scene that says what is different."""
    return PlanningScene(is_diff=True, robot_state=RobotState(is_diff=True), **fields)


def with_objects(*objects: CollisionObject) -> PlanningScene:
    """They are in the scene, in the place of those of the same names."""
    scene = changed()
    scene.world.collision_objects = list(objects)
    return scene


def table_box(frame: str, size: Sequence[float], centre: Sequence[float]) -> CollisionObject:
    """A box of `size`, m, whose top's middle is at `centre` in `frame`."""
    middle = (centre[0], centre[1], centre[2] - size[2] / 2)
    return _box(TABLE, frame, size, Pose(position=point_message(middle)))


def table_slab(frame: str, corners: np.ndarray) -> CollisionObject:
    """What lies below a seen top, whose corners (L, 3), m, z up, are in `frame`: from 5 mm below, so that what stands
    on it, as the arm's base, does not touch it."""
    return _hull(TABLE, frame, np.vstack([corners - [0.0, 0.0, _CLEAR], corners - [0.0, 0.0, _CLEAR + THICK]]))


def standing(name: str, frame: str, points: np.ndarray, table: float | None) -> CollisionObject:
    """The convex hull of an object's points (N, 3), m, z up, and of what is below them down to just over the table, at
    this height: what the camera does not see of it may be there."""
    if table is not None:
        foot = points.copy()
        foot[:, 2] = np.minimum(points[:, 2], table + _CLEAR)
        points = np.vstack([points, foot])
    cube = np.array(np.meshgrid(*[(-_PAD, _PAD)] * 3)).reshape(3, -1).T
    return _hull(name, frame, (points[:, None] + cube).reshape(-1, 3))


def between_fingers(points: np.ndarray, tool: np.ndarray, width: float, gripper: Gripper) -> np.ndarray:
    """Which points (N, 3) are between the fingers, opened to `width` m, of a hand whose tool frame is at (4, 4)."""
    tip = tool @ gripper.tool_from_tip(np.array([width]))[0]
    along, across, beside = ((points - tip[:3, 3]) @ tip[:3, :3]).T
    inside = (along > -gripper.finger_depth) & (along < _CLEAR)
    return inside & (np.abs(across) < width / 2) & (np.abs(beside) < gripper.finger_width / 2 + _CLEAR)


def attached(
    thing: CollisionObject, link: str, link_from_frame: np.ndarray, hand_links: Sequence[str]
) -> AttachedCollisionObject:
    """An object of the world in the hand, on `link`, whose links may touch it. link_from_frame (4, 4): of the frame it
    is in, when it was taken hold of."""
    pose = pose_message(link_from_frame @ pose_matrix(thing.pose.position, thing.pose.orientation))
    return AttachedCollisionObject(link_name=link, object=_moved(thing, link, pose), touch_links=list(hand_links))


def put_down(held: AttachedCollisionObject, frame: str, frame_from_link: np.ndarray) -> CollisionObject:
    """What the hand held, where it let go of it."""
    pose = held.object.pose
    return _moved(held.object, frame, pose_message(frame_from_link @ pose_matrix(pose.position, pose.orientation)))


def carried_box(
    tool: np.ndarray, width: float, gripper: Gripper, table: float | None, link: str, hand_links: Sequence[str]
) -> AttachedCollisionObject:
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
    return AttachedCollisionObject(link_name=link, object=thing, touch_links=list(hand_links))


def with_held(held: AttachedCollisionObject) -> PlanningScene:
    """The hand holds it; MoveIt takes it out of the world."""
    scene = changed()
    scene.robot_state.attached_collision_objects = [held]
    return scene


def without_held(name: str) -> PlanningScene:
    """Nothing of this name in the hand, nor anywhere else, where MoveIt would leave it."""
    scene = without_objects([name])
    scene.robot_state.attached_collision_objects = [AttachedCollisionObject(object=_gone(name))]
    return scene


def without_objects(names: Iterable[str]) -> PlanningScene:
    """They are no longer in the world."""
    return with_objects(*map(_gone, names))


Pairs = frozenset[tuple[str, str]]


def allow(matrix: AllowedCollisionMatrix, pairs: Pairs, links: Collection[str]) -> None:
    """These pairs of links and bodies may touch, changed in the matrix. Bodies get rows where they lack them; a link
    without one is none of the robot's."""
    for name in sorted({name for pair in pairs for name in pair} - set(links)):
        _add(matrix, name)
    for pair in pairs:
        _set(matrix, *pair, True)


def allow_no_more(matrix: AllowedCollisionMatrix, before: AllowedCollisionMatrix, pairs: Pairs) -> None:
    """The matrix has of these pairs what it had before, and no rows that it then had not; others may have changed it
    meanwhile."""
    for pair in pairs:
        _set(matrix, *pair, _get(before, *pair))
    new = {name for pair in pairs for name in pair} - set(before.entry_names)
    kept = [i for i, name in enumerate(matrix.entry_names) if name not in new]
    rows = [AllowedCollisionEntry(enabled=[matrix.entry_values[i].enabled[j] for j in kept]) for i in kept]
    matrix.entry_names, matrix.entry_values = [matrix.entry_names[i] for i in kept], rows


def _get(matrix: AllowedCollisionMatrix, one: str, other: str) -> bool:
    names = list(matrix.entry_names)
    return one in names and other in names and bool(matrix.entry_values[names.index(one)].enabled[names.index(other)])


def _set(matrix: AllowedCollisionMatrix, one: str, other: str, allowed: bool) -> None:
    names = list(matrix.entry_names)
    if one in names and other in names:
        i, j = names.index(one), names.index(other)
        matrix.entry_values[i].enabled[j] = matrix.entry_values[j].enabled[i] = allowed


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


def _hull(name: str, frame: str, points: np.ndarray) -> CollisionObject:
    """The convex hull of points (N, 3) that lie in no plane, its origin in the middle of its corners."""
    hull = ConvexHull(points)
    at = np.full(len(points), -1)
    at[hull.vertices] = range(len(hull.vertices))
    corners = points[hull.vertices]
    middle = (corners.min(0) + corners.max(0)) / 2
    outwards = np.einsum("ij,ij->i", np.cross(*_edges(points[hull.simplices])), hull.equations[:, :3]) > 0
    faces = [at[face if out else face[::-1]] for face, out in zip(hull.simplices, outwards, strict=True)]
    mesh = Mesh(
        vertices=[Point(x=float(x), y=float(y), z=float(z)) for x, y, z in corners - middle],
        triangles=[MeshTriangle(vertex_indices=[int(i) for i in face]) for face in faces],
    )
    return CollisionObject(
        header=Header(frame_id=frame),
        pose=Pose(position=point_message(middle)),
        id=name,
        operation=CollisionObject.ADD,
        meshes=[mesh],
        mesh_poses=[Pose()],
    )


def _edges(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two sides (F, 3) of each triangle (F, 3, 3), in order."""
    return faces[:, 1] - faces[:, 0], faces[:, 2] - faces[:, 0]


def _moved(thing: CollisionObject, frame: str, pose: Pose) -> CollisionObject:
    return CollisionObject(
        header=Header(frame_id=frame),
        pose=pose,
        id=thing.id,
        operation=CollisionObject.ADD,
        primitives=thing.primitives,
        primitive_poses=thing.primitive_poses,
        meshes=thing.meshes,
        mesh_poses=thing.mesh_poses,
    )


def _gone(name: str) -> CollisionObject:
    return CollisionObject(id=name, operation=CollisionObject.REMOVE)
