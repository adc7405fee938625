# SPDX-License-Identifier: Apache-2.0
"""What is found, as others take it: vision_msgs' detections, an image of labels, and one cloud with an id a point.

An object's id is the same in all three, and in later answers as long as it is found where it was.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovariance
from rclpy.node import Node
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header
from vision_msgs.msg import BoundingBox3D, Detection3D, Detection3DArray, ObjectHypothesis, ObjectHypothesisWithPose

from dropclip_ros.grounding.tracks import Tracks
from dropclip_ros.msg import FoundObject
from dropclip_ros.ros.messages import cloud_to_numpy, image_message, nanoseconds


class Detections:
    """`~/detections`, `~/labels` (16UC1, 0: nothing) and `~/objects` (the answer's cloud fields, and uint32 id)."""

    def __init__(self, node: Node):
        self._detections = node.create_publisher(Detection3DArray, "~/detections", 1)
        self._labels = node.create_publisher(Image, "~/labels", 1)
        self._objects = node.create_publisher(PointCloud2, "~/objects", 1)
        self._tracks, self._frame = Tracks(), ""

    @property
    def heard(self) -> bool:
        """Whether anybody subscribes."""
        publishers = (self._detections, self._labels, self._objects)
        return any(publisher.get_subscription_count() for publisher in publishers)

    def clear(self) -> None:
        """Time has begun anew."""
        self._tracks.clear()

    def numbers(self, header: Header, centres: np.ndarray, sizes: np.ndarray) -> list[int]:
        """Of objects in the header's frame, middles (N, 3) and box sizes (N, 3), m; they last from answer to answer."""
        if header.frame_id != self._frame:
            self._frame = header.frame_id
            self._tracks.clear()
        return self._tracks.numbers(centres, sizes, nanoseconds(header.stamp) / 1e9)

    def publish(
        self,
        header: Header,
        query: str,
        objects: Sequence[FoundObject],
        image: Header | None,
        places: Sequence[np.ndarray],
        size: tuple[int, ...],
    ) -> None:
        """Of an answer, in the header's frame. image: of the camera's, None where there is none; places: flat pixels
        (n,) of each object in it; size: its (H, W)."""
        if not self.heard:
            return
        centres = np.array([[o.centre.x, o.centre.y, o.centre.z] for o in objects]).reshape(-1, 3)
        sizes = np.array([[o.box_size.x, o.box_size.y, o.box_size.z] for o in objects]).reshape(-1, 3)
        numbers = self.numbers(header, centres, sizes)
        if self._detections.get_subscription_count():
            self._detections.publish(detections_message(header, query, objects, numbers))
        if image is not None and self._labels.get_subscription_count():
            labels = np.zeros(int(np.prod(size)), np.uint16)
            for number, place in zip(numbers, places, strict=True):
                labels[place] = number % 2**16
            self._labels.publish(image_message(image, labels.reshape(size), "16UC1"))
        if self._objects.get_subscription_count():
            self._objects.publish(objects_cloud(header, objects, numbers))


def detections_message(
    header: Header, query: str, objects: Sequence[FoundObject], numbers: Sequence[int]
) -> Detection3DArray:
    """class_id is what the object answers: its label, or else the whole phrase."""
    array = Detection3DArray(header=header)
    for one, number in zip(objects, numbers, strict=True):
        hypothesis = ObjectHypothesis(class_id=one.label or query, score=float(one.score))
        posed = ObjectHypothesisWithPose(hypothesis=hypothesis, pose=PoseWithCovariance(pose=one.box_pose))
        box = BoundingBox3D(center=one.box_pose, size=one.box_size)
        array.detections.append(Detection3D(header=header, results=[posed], bbox=box, id=str(number)))
    return array


def objects_cloud(header: Header, objects: Sequence[FoundObject], numbers: Sequence[int]) -> PointCloud2:
    """The clouds of all objects as one, with the number of each point's object."""
    parts: list[Any] = [cloud_to_numpy(one.cloud).ravel() for one in objects]
    kind = parts[0].dtype.descr if parts else [(name, "<f4") for name in ("x", "y", "z", "rgb", "score")]
    cloud = np.zeros(sum(map(len, parts)), [*kind, ("id", "<u4")])
    for name, _ in kind:
        if parts and name:
            cloud[name] = np.concatenate([part[name] for part in parts])
    cloud["id"] = np.repeat(np.array(numbers, np.uint32), [len(part) for part in parts]) if parts else 0
    return records_cloud(header, cloud)


def records_cloud(header: Header, cloud: np.ndarray) -> PointCloud2:
    """A cloud of records (N,) of float32 and uint32 fields, without padding."""
    kinds = {"f": PointField.FLOAT32, "u": PointField.UINT32}
    fields: Any = cloud.dtype.fields
    return PointCloud2(
        header=header,
        height=1,
        width=len(cloud),
        fields=[
            PointField(name=name, offset=offset, datatype=kinds[kind.kind], count=1)
            for name, (kind, offset) in fields.items()
        ],
        is_dense=True,
        point_step=cloud.itemsize,
        row_step=cloud.nbytes,
        data=cloud.tobytes(),
    )
