# SPDX-License-Identifier: Apache-2.0
"""Transform lookups keep tf2's semantics, whichever buffer this machine has (tf2_ros or the stand-in)."""

import threading
import time

import numpy as np
import pytest
import ros_support  # noqa: F401  skips where ROS is missing
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.duration import Duration
from scipy.spatial.transform import Rotation

from dropclip_ros.ros.messages import pose_matrix, time_message, transform_message
from dropclip_ros.ros.tf import Buffer, TransformException
from dropclip_ros.vision.geometry import invert_pose

SECOND = 10**9
numbers = st.floats(-2.0, 2.0, allow_nan=False)
poses = st.builds(lambda v, t: pose(v, t), st.tuples(numbers, numbers, numbers), st.tuples(numbers, numbers, numbers))


def pose(rotation_vector, translation) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(rotation_vector).as_matrix()
    matrix[:3, 3] = translation
    return matrix


def put(buffer, seconds: float, parent: str, child: str, matrix, static=False) -> None:
    message = transform_message(time_message(round(seconds * SECOND)), parent, child, matrix)
    (buffer.set_transform_static if static else buffer.set_transform)(message, "test")


def look(buffer, target: str, source: str, seconds: float = 0.0, timeout: float = 0.0) -> np.ndarray:
    found = buffer.lookup_transform(target, source, time_message(round(seconds * SECOND)), Duration(seconds=timeout))
    return pose_matrix(found.transform.translation, found.transform.rotation)


@settings(deadline=None, max_examples=50)
@given(poses, poses, poses)
def test_lookups_compose_and_invert_over_the_tree(a, b, c):
    """world - arm - hand and world - camera: across the tree, both ways."""
    buffer = Buffer()
    put(buffer, 1, "world", "arm", a)
    put(buffer, 1, "arm", "hand", b)
    put(buffer, 0, "world", "camera", c, static=True)
    assert np.allclose(look(buffer, "camera", "hand", 1), invert_pose(c) @ a @ b, atol=1e-6)
    assert np.allclose(look(buffer, "hand", "camera", 1), invert_pose(a @ b) @ c, atol=1e-6)
    assert np.allclose(look(buffer, "world", "world", 1), np.eye(4))


@settings(deadline=None, max_examples=50)
@given(poses, st.tuples(numbers, numbers, numbers), st.floats(0.0, 1.0), st.floats(0.0, 1.5))
def test_between_two_samples_is_linear_in_place_and_angle(start, step, share, angle):
    """Half-way in time is half-way along the line and half of the turn."""
    end = start @ pose((0, 0, angle), (0, 0, 0))
    end[:3, 3] = start[:3, 3] + step
    buffer = Buffer()
    put(buffer, 10, "world", "camera", start)
    put(buffer, 11, "world", "camera", end)
    found = look(buffer, "world", "camera", 10 + share)
    share = round(share * SECOND) / SECOND
    assert np.allclose(found[:3, 3], start[:3, 3] + share * np.array(step), atol=1e-6)
    assert np.allclose(found[:3, :3], (start @ pose((0, 0, share * angle), (0, 0, 0)))[:3, :3], atol=1e-6)


@pytest.mark.parametrize("seconds", [9.9, 12.1])
def test_nothing_is_extrapolated(seconds):
    buffer = Buffer()
    put(buffer, 10, "world", "camera", np.eye(4))
    put(buffer, 12, "world", "camera", np.eye(4))
    with pytest.raises(TransformException):
        look(buffer, "world", "camera", seconds)


def test_stamp_zero_is_the_latest_common_time_and_static_holds_at_any():
    buffer = Buffer()
    put(buffer, 10, "world", "arm", pose((0, 0, 0), (1, 0, 0)))
    put(buffer, 12, "world", "arm", pose((0, 0, 0), (3, 0, 0)))
    put(buffer, 11, "arm", "hand", np.eye(4))
    put(buffer, 500, "hand", "camera", np.eye(4), static=True)
    assert np.allclose(look(buffer, "world", "camera")[:3, 3], (2, 0, 0))
    assert np.allclose(look(buffer, "hand", "camera", 3), np.eye(4))


def test_unknown_unconnected_and_forgotten():
    buffer = Buffer()
    put(buffer, 10, "world", "camera", np.eye(4))
    put(buffer, 10, "elsewhere", "thing", np.eye(4))
    for target, source in (("nowhere", "camera"), ("thing", "camera"), ("", "camera")):
        with pytest.raises(TransformException):
            look(buffer, target, source, 10)
    put(buffer, 30, "world", "camera", np.eye(4))  # 10 s are kept
    with pytest.raises(TransformException):
        look(buffer, "world", "camera", 10)


def test_broken_transforms_are_ignored():
    buffer = Buffer()
    put(buffer, 10, "world", "camera", np.eye(4))
    for bad in (transform_message(time_message(11 * SECOND), "world", "camera", np.eye(4)) for _ in range(2)):
        bad.transform.translation.x = float("nan")
        buffer.set_transform(bad, "test")
    bad = transform_message(time_message(11 * SECOND), "world", "camera", np.eye(4))
    bad.transform.rotation.w = 0.0
    buffer.set_transform(bad, "test")
    assert np.allclose(look(buffer, "world", "camera"), np.eye(4))


def test_a_lookup_waits_for_what_is_to_come_and_not_longer():
    buffer = Buffer()
    put(buffer, 10, "world", "camera", np.eye(4))
    start = time.monotonic()
    with pytest.raises(TransformException):
        look(buffer, "world", "camera", 11, timeout=0.1)
    assert 0.05 < time.monotonic() - start < 2.0
    threading.Timer(0.2, put, (buffer, 12, "world", "camera", np.eye(4))).start()
    assert np.allclose(look(buffer, "world", "camera", 11, timeout=10.0), np.eye(4))
