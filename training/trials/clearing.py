# SPDX-License-Identifier: Apache-2.0
"""Puts away what is in the way of a target, before it is asked for again: an option of trials, off in the paper's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from dropclip_ros.base.errors import Status
from dropclip_ros.grasping.clearing import LOWEST, STUCK, free_places, in_the_way
from dropclip_ros.msg import GraspCandidate
from dropclip_ros.ros.arm.placing import put_down
from dropclip_ros.ros.messages import cloud_message
from training.trials.client import TrialClient
from training.workcell.topics import WORLD

NOT_REACHED = (Status.NO_GRASPS, Status.NO_PATH)
MOST = 2  # things that are tried


def stuck(status: Status, candidates: Sequence[GraspCandidate]) -> bool:
    """Whether it is better to clear first: no grasp reaches the target, or the best will hardly lift it alone."""
    return status in NOT_REACHED or (status is Status.OK and candidates[0].grasp.score < STUCK)


def clear(
    client: TrialClient, stamp: Time, target: np.ndarray, points: np.ndarray, owner: np.ndarray
) -> tuple[Status, str] | None:
    """How putting one thing away ended, and a sentence; None where nothing is in the way, or nothing of that could be
    picked.

    target (n, 3), points (m, 3) of all that stands on the table, of owners (m,): in the world, m.
    """
    for one in in_the_way(target, points, owner)[:MOST]:
        thing, moves = points[owner == one], free_places(points[owner == one], points[owner != one])
        if not len(moves):
            continue
        header = Header(stamp=stamp, frame_id=WORLD)
        found = client.match(cloud_message(header, thing, np.zeros((len(thing), 3)), np.ones(len(thing))), 0)
        if found.status != Status.OK:
            continue
        picked = client.pick(found.grasps.header, found.candidates)
        if picked.status != Status.OK:
            continue
        taken = found.candidates[picked.executed]
        down = [put_down(taken, move + np.array([0, 0, up])) for move in moves for up in LOWEST]
        placed = client.place(Header(frame_id=WORLD), down)
        return Status(placed.status), f"put away what was in the way: {placed.message}"
    return None
