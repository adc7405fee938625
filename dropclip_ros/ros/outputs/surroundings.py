# SPDX-License-Identifier: Apache-2.0
"""All that stands on the table, and the table: what a planner must know to go around it, whoever is asked for."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from dropclip_ros.base.arrays import to_numpy
from dropclip_ros.ros.common import LATCHED_QOS
from dropclip_ros.ros.outputs.detections import records_cloud
from dropclip_ros.tabletop.footprint import FIT_POINTS, corners, thin_points
from dropclip_ros.vision.geometry import backproject, transform_points

if TYPE_CHECKING:
    from dropclip_ros.grounding.pipeline import EncodedScene

RECORD = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("id", "<u4")]
TABLE = 0  # id of the corners of the table's outline
_LIES = 0.02  # m from the plane, within which a point is the table's


class Surroundings:
    """`~/scene` (x y z in the answer's frame, uint32 id), latched: the voxels of each object, by the numbers of
    `~/detections`, and with id 0 the corners of the table's convex outline, where it is seen.

    numbers: gives the numbers of objects, as `Detections.numbers`.
    """

    def __init__(self, node: Node, numbers: Callable[[Header, np.ndarray, np.ndarray], list[int]]):
        self._publisher = node.create_publisher(PointCloud2, "~/scene", LATCHED_QOS)
        self._numbers = numbers

    def publish(self, header: Header, scene: "EncodedScene", target_from_camera: np.ndarray) -> None:
        """Where anybody subscribes."""
        if self._publisher.get_subscription_count():
            points, owner, table = surroundings(scene, target_from_camera)
            ends = [
                (part.min(0), part.max(0)) for part in (points[owner == k] for k in range(owner.max(initial=-1) + 1))
            ]
            low, high = np.array(ends).reshape(-1, 2, 3).transpose(1, 0, 2)
            numbers = np.array(self._numbers(header, (low + high) / 2, high - low), np.uint32)
            cloud = np.zeros(len(points) + len(table), RECORD)
            cloud["x"], cloud["y"], cloud["z"] = np.vstack([points, table]).T
            cloud["id"][: len(points)] = numbers[owner]
            self._publisher.publish(records_cloud(header, cloud))


def surroundings(scene: "EncodedScene", target_from_camera: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Middles of voxels (N, 3) m of what stands on the table and the object 0.. of each (N,), every one with some; the
    corners (L, 3) of the table, none where it is not seen. All in the target's frame."""
    standing = scene.instances > 0
    _, owner = np.unique(scene.instances[standing], return_inverse=True)
    voxels = transform_points(target_from_camera @ scene.table.frame, to_numpy(scene.voxels.centers)[standing])
    table = np.zeros((0, 3))
    if scene.table.seen:
        points, _ = backproject(scene.frame.depth, scene.frame.intrinsics)
        table = transform_points(
            target_from_camera, corners(to_numpy(thin_points(points, FIT_POINTS)), scene.table.plane, _LIES)
        )
    return voxels, owner, table
