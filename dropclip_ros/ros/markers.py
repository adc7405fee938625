# SPDX-License-Identifier: Apache-2.0
"""What RViz shows: found objects as labelled boxes, grasps as forks, best first in the brightest colour."""

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Pose, Vector3
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from dropclip_ros.grasping.grasps import Grasps, Gripper
from dropclip_ros.msg import FoundObject
from dropclip_ros.ros.messages import point_message

_BOX = ColorRGBA(r=0.0, g=0.9, b=1.0, a=0.35)
_TEXT = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
_BEST, _OTHER = ColorRGBA(r=1.0, g=0.83, b=0.0, a=1.0), ColorRGBA(r=1.0, g=0.55, b=0.26, a=0.8)


def _array(header: Header, markers: Sequence[Marker]) -> MarkerArray:
    """The markers in place of all that the topic showed before."""
    for i, marker in enumerate(markers):
        marker.header, marker.id, marker.action = header, i, Marker.ADD
    return MarkerArray(markers=[Marker(header=header, action=Marker.DELETEALL), *markers])


def object_markers(header: Header, query: str, objects: Sequence[FoundObject]) -> MarkerArray:
    """A box and a line of text for each object; the header's frame is that of the objects."""
    markers = []
    for found in objects:
        above = Pose()
        above.position = point_message((found.centre.x, found.centre.y, found.centre.z + found.box_size.z / 2 + 0.03))
        markers += [
            Marker(ns="boxes", type=Marker.CUBE, pose=found.box_pose, scale=found.box_size, color=_BOX),
            Marker(
                ns="names",
                type=Marker.TEXT_VIEW_FACING,
                pose=above,
                scale=Vector3(z=0.025),
                color=_TEXT,
                text=f"{query} {found.score:.2f}",
            ),
        ]
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
