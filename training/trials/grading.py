# SPDX-License-Identifier: Apache-2.0
"""Was the phrase grounded, was the object grasped, and if not, why? From the truth alone, without ROS."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from dropclip_ros.base.errors import Status
from dropclip_ros.vision.geometry import Intrinsics, project

LIFTED = 0.10  # m above where it stood: grasped
TAKEN_ALONG = 0.05  # m: too much for an object that nobody asked for


class Reason(str, Enum):
    """Why a trial failed."""

    NONE = ""
    GROUNDING = "grounding"  # a wrong object was found, or none
    NO_GRASP = "no grasp"  # none reaches what was found
    PLANNING = "planning"  # no path without collisions, or the gripper does not open wide enough
    SLIP = "slip"  # the gripper closed on nothing, or lost the object
    WRONG_OBJECT = "wrong object"  # rightly grounded, but another was lifted, or lifted along
    ERROR = "error"  # a node, a transform or a frame failed: nothing that was to be tried


@dataclass(frozen=True)
class Grounding:
    """share: of the answered points, that lie on objects which the phrase fits; iou: with the one of them on which most
    lie; points: how many were answered; answered: the object on which most of them lie, "" none."""

    share: float = 0.0
    iou: float = 0.0
    points: int = 0
    answered: str = ""

    @property
    def right(self) -> bool:
        """Whether most of the points lie on the target."""
        return self.share > 0.5


def grade_grounding(
    points: np.ndarray,
    intrinsics: Intrinsics,
    labels: np.ndarray,
    depth: np.ndarray,
    names: Sequence[str],
    targets: Collection[str],
) -> Grounding:
    """Of answered points (N,3), m, in the camera's optical frame.

    labels (H,W): which object each pixel shows, k + 1 for names[k], 0 none; depth (H,W): 0 where there is none, and so
    no point that could be answered. Points count once a pixel.
    """
    uv, z = project(points, intrinsics)
    column, row = np.round(uv[z > 0]).astype(int).T
    inside = (row >= 0) & (row < labels.shape[0]) & (column >= 0) & (column < labels.shape[1])
    answered = np.zeros(labels.shape, bool)
    answered[row[inside], column[inside]] = True
    labels = np.where(depth > 0, labels, 0)
    wanted = [label for label, name in enumerate(names, 1) if name in targets]
    on = np.bincount(labels[answered].astype(int), minlength=len(names) + 1)
    if not on.sum() or not wanted:
        return Grounding(points=len(points))
    best = max(wanted, key=lambda label: on[label])
    union = (answered | (labels == best)).sum()
    most = int(on[1:].argmax()) if on[1:].any() else None
    return Grounding(
        float(on[wanted].sum() / on.sum()), float(on[best] / union), int(on.sum()), "" if most is None else names[most]
    )


def visible(labels: np.ndarray, names: Sequence[str]) -> dict[str, int]:
    """Pixels that the camera sees of each object."""
    counts = np.bincount(labels.ravel().astype(int), minlength=len(names) + 1)
    return {name: int(counts[label]) for label, name in enumerate(names, 1)}


def lifted(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray], height: float) -> set[str]:
    """Objects that are `height` m or more above where they stood; poses are 4x4 by name, z up."""
    return {name for name in before.keys() & after.keys() if after[name][2, 3] - before[name][2, 3] >= height}


def grasped(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray], targets: Collection[str]) -> bool:
    """Whether one of the targets, and nothing else, was lifted."""
    up = lifted(before, after, LIFTED)
    return len(up) == 1 and up <= set(targets) and lifted(before, after, TAKEN_ALONG) == up


_AT = {
    **dict.fromkeys(
        (Status.NOT_FOUND, Status.AMBIGUOUS, Status.UNSUPPORTED, Status.NO_TABLE, Status.EMPTY_SCENE), Reason.GROUNDING
    ),
    Status.NO_GRASPS: Reason.NO_GRASP,
    **dict.fromkeys((Status.NO_PATH, Status.TOO_WIDE, Status.SCENE_CHANGED), Reason.PLANNING),
    Status.SLIPPED: Reason.SLIP,
}


def why(success: bool, grounded: bool, status: Status, up: Collection[str]) -> Reason:
    """The reason of a failure. status: how the last step ended; up: objects that were lifted."""
    if success:
        return Reason.NONE
    if status is not Status.OK and status not in _AT:
        return Reason.ERROR
    if not grounded:
        return Reason.GROUNDING
    if status is Status.OK:
        return Reason.WRONG_OBJECT if up else Reason.SLIP
    return _AT[status]
