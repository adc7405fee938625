# SPDX-License-Identifier: Apache-2.0
"""What the nodes need of tf2_ros, for machines where it is not installed (the PyPI wheels lack it).

Same names and semantics: no extrapolation, linear and spherical interpolation between the two samples around the
stamp, stamp 0 for the latest common time, static transforms valid at any time, lookups that wait up to a timeout.
"""

import threading
from bisect import bisect_left
from collections.abc import Callable
from functools import partial

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from scipy.spatial.transform import Rotation, Slerp
from tf2_msgs.msg import TFMessage

from dropclip_ros.ros.messages import nanoseconds, pose_matrix, time_message, transform_message
from dropclip_ros.vision.geometry import invert_pose


class TransformException(Exception):
    """Base of what `Buffer.lookup_transform` raises."""


class LookupException(TransformException):
    """A frame was never seen."""


class ConnectivityException(TransformException):
    """Both frames are known, but in different trees."""


class ExtrapolationException(TransformException):
    """The stamp is outside the samples held."""


class _Track:
    """Poses parent_from_child of one child frame over time, oldest first."""

    def __init__(self, parent: str, static: bool):
        self.parent, self.static = parent, static
        self.stamps: list[int] = []
        self.poses: list[np.ndarray] = []

    def add(self, stamp: int, pose: np.ndarray, keep: int) -> None:
        if self.static:
            self.stamps, self.poses = [stamp], [pose]
            return
        if self.stamps and stamp < self.stamps[-1] - keep:  # time began anew: all that is held is of another run
            self.stamps, self.poses = [], []
        i = bisect_left(self.stamps, stamp)
        if i < len(self.stamps) and self.stamps[i] == stamp:
            self.poses[i] = pose
        else:
            self.stamps.insert(i, stamp)
            self.poses.insert(i, pose)
        old = bisect_left(self.stamps, self.stamps[-1] - keep)
        del self.stamps[:old], self.poses[:old]

    def at(self, stamp: int, child: str) -> np.ndarray:
        if self.static:
            return self.poses[0]
        if not self.stamps[0] <= stamp <= self.stamps[-1]:
            raise ExtrapolationException(
                f"{child!r} in {self.parent!r} is known from {self.stamps[0] / 1e9:.3f} s to "
                f"{self.stamps[-1] / 1e9:.3f} s, not at {stamp / 1e9:.3f} s"
            )
        i = bisect_left(self.stamps, stamp)
        if self.stamps[i] == stamp:
            return self.poses[i]
        before, after = self.poses[i - 1], self.poses[i]
        share = (stamp - self.stamps[i - 1]) / (self.stamps[i] - self.stamps[i - 1])
        pose = np.eye(4)
        pose[:3, 3] = (1 - share) * before[:3, 3] + share * after[:3, 3]
        pose[:3, :3] = Slerp([0, 1], Rotation.from_matrix([before[:3, :3], after[:3, :3]]))(share).as_matrix()
        return pose


class Buffer:
    """Transforms of the last `cache_time` (10 s), and lookups between any two connected frames."""

    def __init__(self, cache_time: Duration | None = None):
        self._keep = cache_time.nanoseconds if cache_time else 10_000_000_000
        self._tracks: dict[str, _Track] = {}
        self._changed = threading.Condition()

    def set_transform(self, transform: TransformStamped, authority: str, static: bool = False) -> None:
        """Take a sample; one that is not a rigid transform, or a frame's transform to itself, is ignored as in tf2."""
        child, parent = transform.child_frame_id.lstrip("/"), transform.header.frame_id.lstrip("/")
        t, q = transform.transform.translation, transform.transform.rotation
        norm = q.x * q.x + q.y * q.y + q.z * q.z + q.w * q.w
        if not (child and parent and child != parent and abs(norm - 1.0) < 1e-2 and np.isfinite([t.x, t.y, t.z]).all()):
            return
        with self._changed:
            track = self._tracks.get(child)
            if track is None or (track.parent, track.static) != (parent, static):
                track = self._tracks[child] = _Track(parent, static)
            track.add(nanoseconds(transform.header.stamp), pose_matrix(t, q), self._keep)
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget all but what is static, as tf2 does where time jumps back."""
        with self._changed:
            self._tracks = {child: track for child, track in self._tracks.items() if track.static}

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        self.set_transform(transform, authority, static=True)

    def lookup_transform(
        self, target_frame: str, source_frame: str, time: Time, timeout: Duration | None = None
    ) -> TransformStamped:
        """target_from_source at `time`. Waits for it: the listener must be served by another thread meanwhile."""
        target, source = target_frame.lstrip("/"), source_frame.lstrip("/")
        result: TransformStamped | TransformException | None = None

        def answered() -> bool:
            nonlocal result
            try:
                result = self._lookup(target, source, nanoseconds(time))
            except TransformException as error:
                result = error
            return not isinstance(result, TransformException)

        with self._changed:
            self._changed.wait_for(answered, timeout.nanoseconds / 1e9 if timeout else 0.0)
        if isinstance(result, TransformException):
            raise result
        return result

    def _lookup(self, target: str, source: str, stamp: int) -> TransformStamped:
        known = set(self._tracks).union(t.parent for t in self._tracks.values())
        for frame in (target, source):
            if frame not in known:
                raise LookupException(f"frame {frame!r} does not exist")
        to_root = [self._ancestry(target), self._ancestry(source)]
        common = next((f for f in to_root[1] if f in to_root[0]), None)
        if common is None:
            raise ConnectivityException(f"{target!r} and {source!r} are not in the same tree")
        links = [path[: path.index(common)] for path in to_root]
        if stamp == 0:
            latest = [self._tracks[f].stamps[-1] for f in links[0] + links[1] if not self._tracks[f].static]
            stamp = min(latest, default=0)
        common_from_target, common_from_source = np.eye(4), np.eye(4)
        for f in links[0]:
            common_from_target = self._tracks[f].at(stamp, f) @ common_from_target
        for f in links[1]:
            common_from_source = self._tracks[f].at(stamp, f) @ common_from_source
        target_from_source = invert_pose(common_from_target) @ common_from_source
        return transform_message(time_message(stamp), target, source, target_from_source)

    def _ancestry(self, frame: str) -> list[str]:
        path = [frame]
        while path[-1] in self._tracks:
            path.append(self._tracks[path[-1]].parent)
            if path[-1] in path[:-1]:
                raise ConnectivityException(f"frame {path[-1]!r} is its own ancestor")
        return path


def _take_all(take: Callable[[TransformStamped, str], None], msg: TFMessage) -> None:
    for transform in msg.transforms:
        take(transform, "")


class TransformListener:
    """Fills a buffer from /tf and /tf_static; the node's executor serves it."""

    def __init__(self, buffer: Buffer, node: Node):
        group = ReentrantCallbackGroup()
        static = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._subscriptions = [
            node.create_subscription(
                TFMessage,
                topic,
                partial(_take_all, take),
                qos,
                callback_group=group,
            )
            for topic, qos, take in (
                ("/tf", QoSProfile(depth=100), buffer.set_transform),
                ("/tf_static", static, buffer.set_transform_static),
            )
        ]
