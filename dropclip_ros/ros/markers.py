# SPDX-License-Identifier: Apache-2.0
"""What RViz shows: found objects as labelled boxes, the region that is looked at, grasps as forks, best brightest."""

from collections.abc import Sequence
from string import ascii_uppercase

import numpy as np
from geometry_msgs.msg import Pose, Vector3
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from dropclip_ros.draw.colours import AMBER, distinct_colours
from dropclip_ros.grasping.grasps import Grasps, Gripper
from dropclip_ros.msg import FoundObject
from dropclip_ros.ros.messages import point_message, pose_message, vector_message
from dropclip_ros.tabletop.table import table_frame
from dropclip_ros.tabletop.workspace import Workspace
from dropclip_ros.vision.geometry import Intrinsics, invert_pose

_TEXT = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
_REGION, _TABLE = ColorRGBA(r=0.4, g=1.0, b=0.4, a=0.12), ColorRGBA(r=0.9, g=0.6, b=0.3, a=0.25)
_EDGE = ColorRGBA(r=0.4, g=1.0, b=0.4, a=0.9)
_TABLE_SIDE = 1.0  # m, of a square that stands for a table whose extent is not known
_BEST, _OTHER = ColorRGBA(r=1.0, g=0.83, b=0.0, a=1.0), ColorRGBA(r=1.0, g=0.55, b=0.26, a=0.8)


def _array(header: Header, markers: Sequence[Marker]) -> MarkerArray:
    """The markers in place of all that the topic showed before."""
    for i, marker in enumerate(markers):
        marker.header, marker.id, marker.action = header, i, Marker.ADD
    return MarkerArray(markers=[Marker(header=header, action=Marker.DELETEALL), *markers])


def object_markers(header: Header, query: str, objects: Sequence[FoundObject]) -> MarkerArray:
    """A box and a line of text for each object, A, B, ... as in pictures, each in its own colour, amber where it is
    doubtful; the header's frame is that of the objects."""
    markers, colours = [], distinct_colours(len(objects))
    for i, found in enumerate(objects):
        red, green, blue = map(float, AMBER if found.doubtful else colours[i])
        letter = ascii_uppercase[i] if i < len(ascii_uppercase) else str(i + 1)
        above = Pose()
        above.position = point_message((found.centre.x, found.centre.y, found.centre.z + found.box_size.z / 2 + 0.03))
        markers += [
            Marker(
                ns="boxes",
                type=Marker.CUBE,
                pose=found.box_pose,
                scale=found.box_size,
                color=ColorRGBA(r=red, g=green, b=blue, a=0.35),
            ),
            Marker(
                ns="names",
                type=Marker.TEXT_VIEW_FACING,
                pose=above,
                scale=Vector3(z=0.025),
                color=_TEXT,
                text=f"{letter} {query} {found.score:.2f}{'?' if found.doubtful else ''}",
            ),
        ]
    return _array(header, markers)


def region_markers(header: Header, workspace: Workspace, camera: Intrinsics, pose: np.ndarray | None) -> MarkerArray:
    """What a lab told of its table: the box, the known plane, and the part of the image to look at, from near to far.

    The header's frame is the camera's; pose: world_from_camera (4, 4) where box and plane are in the world.
    """
    markers, camera_from_world = [], np.eye(4) if pose is None else invert_pose(pose)
    if workspace.low is not None and workspace.high is not None:
        low, high = np.array(workspace.low), np.array(workspace.high)
        box = camera_from_world.copy()
        box[:3, 3] += box[:3, :3] @ ((low + high) / 2)
        size = vector_message(high - low)
        markers.append(Marker(ns="region", type=Marker.CUBE, pose=pose_message(box), scale=size, color=_REGION))
    if (plane := workspace.known_plane(pose)) is not None:
        size = Vector3(x=_TABLE_SIDE, y=_TABLE_SIDE, z=0.002)
        markers.append(
            Marker(ns="table", type=Marker.CUBE, pose=pose_message(table_frame(plane)), scale=size, color=_TABLE)
        )
    if workspace.polygon:
        corners = np.array(workspace.polygon)
        rays = np.column_stack([(corners - (camera.cx, camera.cy)) / (camera.fx, camera.fy), np.ones(len(corners))])
        near, far = max(workspace.near, 0.01) * rays, workspace.far * rays
        lines = np.stack([near, far, far, np.roll(far, -1, axis=0)], axis=1).reshape(-1, 3)
        points = [point_message(p) for p in lines]
        markers.append(Marker(ns="polygon", type=Marker.LINE_LIST, scale=Vector3(x=0.003), color=_EDGE, points=points))
    return _array(header, markers)


def grasp_markers(header: Header, grasps: Grasps, gripper: Gripper) -> MarkerArray:
    """A fork for each grasp: both fingers, the palm between them, and the approach."""
    markers = []
    for i, (tip, rotation, width) in enumerate(zip(grasps.tips(), grasps.rotation, grasps.width, strict=True)):
        half, depth = width / 2, gripper.finger_depth
        ends = [
            (0, -half),
            (-depth, -half),
            (-depth, -half),
            (-depth, half),
            (-depth, half),
            (0, half),
            (-depth, 0),
            (-2 * depth, 0),
        ]
        points = tip + np.array(ends) @ rotation[:, :2].T
        markers.append(
            Marker(
                ns="grasps",
                type=Marker.LINE_LIST,
                scale=Vector3(x=0.004),
                color=_BEST if i == 0 else _OTHER,
                points=[point_message(p) for p in points],
            )
        )
    return _array(header, markers)
