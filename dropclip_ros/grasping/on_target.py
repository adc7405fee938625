# SPDX-License-Identifier: Apache-2.0
"""Antipodal grasps sampled on one target: who proposes grasps for a whole table does not know where an object ends."""

from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from dropclip_ros.grasping.antipodal import AntipodalConfig, sample_antipodal
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import Gripper

BELONGS = 0.01  # m; what is seen this close to the target's points is the target's too
LARGEST = 1.0  # m, from the middle of a target along each axis: what is further is no part of it
STANDING = 0.008  # m above the table; what is lower is not looked at when a target is sampled: it may be the table
FLAT = 0.003  # m: the same for a target most of which is that low
# For a target alone there is time to look closely, and need to take hold of what is flat.
DENSE = AntipodalConfig(
    reaches=(0.008, 0.012, 0.02, 0.045),
    min_reach=0.004,
    table_clearance=0.001,
    anchors=30,
    turns=16,
    pairs=150,
    min_score=0.2,
    max_per_object=60,
)
FEW = 10  # grasps; where no more are found, it is looked for closer fits and from all sides, through what may be gaps
CLOSE = replace(
    DENSE, clearance=0.003, tilts=((0.35, 4), (0.6, 4)), turns=10, anchors=16, solid_others=False, max_per_object=40
)


def sample_on(target: np.ndarray, gripper: Gripper, seen: np.ndarray, table: np.ndarray, camera: np.ndarray) -> Grasps:
    """Grasps on the target (n, 3) alone; what else is seen, points (m, 3), is in the way. All in one frame, metres.

    table (4,): plane, unit normal up and offset; camera (3,): where the target was seen from.
    """
    others = seen
    if len(others):
        others = others[cKDTree(target).query(others)[0] > BELONGS]
    plane = table + np.append(np.zeros(3), table[:3] @ camera)  # seen from the camera
    height = target @ table[:3] + table[3]
    high = height > STANDING
    if 2 * high.sum() < len(target):
        high = height > FLAT
    target = target[high & (height < LARGEST)]
    labels = np.zeros(len(target), np.int64)
    found = sample_antipodal(target - camera, DENSE, gripper, others - camera, plane, labels)
    if len(found) <= FEW:
        more = sample_antipodal(target - camera, CLOSE, gripper, others - camera, plane, labels)
        found = Grasps.from_rows(np.concatenate([found.rows(), more.rows()]))
    return replace(found, translation=found.translation + camera)
