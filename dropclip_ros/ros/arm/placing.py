# SPDX-License-Identifier: Apache-2.0
"""Putting down what was picked: the same motion elsewhere, backwards, as a candidate for the action `place`."""

from collections.abc import Sequence
from copy import deepcopy

from dropclip_ros.msg import GraspCandidate


def put_down(picked: GraspCandidate, move: Sequence[float]) -> GraspCandidate:
    """A candidate that puts the object down moved by `move` (x, y, z) m, in the candidate's frame, whose z is up.

    The hand comes from where its lift ended, moved by as much, down to where it closed, opens there, and goes back up.
    """
    placed = deepcopy(picked)
    placed.pregrasp = deepcopy(picked.retreat)
    for pose in (placed.tool, placed.pregrasp, placed.retreat, placed.grasp.pose, placed.grasp.tip):
        pose.position.x += float(move[0])
        pose.position.y += float(move[1])
        pose.position.z += float(move[2])
    return placed
