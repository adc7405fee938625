# SPDX-License-Identifier: Apache-2.0
"""Grasps of the core as messages, and back."""

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Pose, Quaternion
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from dropclip_ros.grasping.gate import tips_of
from dropclip_ros.grasping.grasps import ROW_LENGTH, Grasps
from dropclip_ros.grasping.grippers import Gripper
from dropclip_ros.grasping.handoff import Handoff
from dropclip_ros.msg import Grasp, GraspArray, GraspCandidate
from dropclip_ros.ros.messages import point_message, pose_matrix, pose_message

UNIT = 1e-2  # how far from 1 the length of a quaternion may be, as in TF


def grasp_array_message(header: Header, grasps: Grasps, tip_distances: np.ndarray | None = None) -> GraspArray:
    """Grasps in the header's frame; tip_distances (N,) m to the target they were matched to."""
    distances = np.full(len(grasps), -1.0) if tip_distances is None else tip_distances
    quaternions = Rotation.from_matrix(grasps.rotation).as_quat() if len(grasps) else []
    msg = GraspArray(header=header)
    for i, (tip, quaternion) in enumerate(zip(grasps.tips(), quaternions, strict=True)):
        x, y, z, w = (float(v) for v in quaternion)
        turned = Quaternion(x=x, y=y, z=z, w=w)
        msg.grasps.append(
            Grasp(
                pose=Pose(position=point_message(grasps.translation[i]), orientation=turned),
                tip=Pose(position=point_message(tip), orientation=turned),
                width=float(grasps.width[i]),
                height=float(grasps.height[i]),
                depth=float(grasps.depth[i]),
                score=float(grasps.score[i]),
                tip_distance=float(distances[i]),
                object_id=int(grasps.object_id[i]),
            )
        )
    return msg


def candidate_messages(
    header: Header, grasps: Grasps, tip_distances: np.ndarray, motion: Handoff
) -> list[GraspCandidate]:
    """The same grasps (N) with the motion around each, for a planner; in the header's frame."""
    messages = grasp_array_message(header, grasps, tip_distances).grasps
    return [
        GraspCandidate(grasp=grasp, tool=pose_message(tool), pregrasp=pose_message(before), retreat=pose_message(after))
        for grasp, tool, before, after in zip(messages, motion.tool, motion.pregrasp, motion.retreat, strict=True)
    ]


def motion_of(
    candidates: Sequence[GraspCandidate], gripper: Gripper, carry: np.ndarray | None = None
) -> tuple[Handoff, np.ndarray]:
    """The motions (N) of candidates and the openings (N,) m; carry: a_from_header (4, 4), where a is wanted.

    What is no pose, for it is not finite or has no unit quaternion, becomes NaN: the gate refuses it.
    """
    carry = np.eye(4) if carry is None else carry
    poses = [
        np.array([_matrix(getattr(one, name)) for one in candidates]).reshape(-1, 4, 4)
        for name in ("tool", "pregrasp", "retreat")
    ]
    tool, pregrasp, retreat = (carry @ pose for pose in poses)
    width = np.array([one.grasp.width for one in candidates], dtype=np.float64)
    return Handoff(tips_of(tool, width, gripper), tool, pregrasp, retreat), width


def _matrix(pose: Pose) -> np.ndarray:
    q = pose.orientation
    length = np.linalg.norm([q.x, q.y, q.z, q.w])
    return pose_matrix(pose.position, q) if abs(length - 1) < UNIT else np.full((4, 4), np.nan)


def grasps_from_message(msg: GraspArray) -> Grasps:
    """The sound grasps of a message; those with numbers that are not finite or no unit quaternion are dropped."""
    rows = np.zeros((len(msg.grasps), ROW_LENGTH))
    for row, g in zip(rows, msg.grasps, strict=True):
        p, q = g.pose.position, g.pose.orientation
        row[:4] = g.score, g.width, g.height, g.depth
        row[4:8] = q.x, q.y, q.z, q.w
        row[13:] = p.x, p.y, p.z, g.object_id
    sound = np.isfinite(rows).all(axis=1) & (np.abs(np.linalg.norm(rows[:, 4:8], axis=1) - 1.0) < UNIT)
    rows = rows[sound]
    if len(rows):
        rows[:, 4:13] = Rotation.from_quat(rows[:, 4:8]).as_matrix().reshape(-1, 9)
    return Grasps.from_rows(rows, strict=False)
