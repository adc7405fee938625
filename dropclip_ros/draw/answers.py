# SPDX-License-Identifier: Apache-2.0
"""A grounder's answer as a picture and as a line."""

from __future__ import annotations

import numpy as np

from dropclip_ros.base.errors import Status
from dropclip_ros.draw.results import Shown, draw_result
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import Gripper
from dropclip_ros.grounding.pipeline import EncodedScene, FoundObject, GroundResult


def mask_image(scene: EncodedScene, found: FoundObject) -> np.ndarray:
    """(H,W) uint8: 255 on the object's pixels."""
    inside = np.zeros(len(scene.points), np.uint8)
    inside[found.points] = 255
    return scene.image(inside)


def picture_of(scene: EncodedScene, result: GroundResult, grasps: Grasps, gripper: Gripper) -> np.ndarray:
    """The answer as `draw_result` draws it."""
    return draw_result(
        scene.frame.rgb,
        scene.frame.intrinsics,
        scene.image(result.scores.astype(np.float32), np.nan),
        [Shown(mask_image(scene, found) > 0, found.score, found.doubtful) for found in result.objects],
        grasps,
        title=describe(result),
        threshold=result.threshold,
        gripper=gripper,
        reading=result.interpretation.text if len(result.interpretation.parts) > 1 else "",
    )


def describe(result: GroundResult) -> str:
    """One line about a result: query, found or not, score, time."""
    best = result.objects[0] if result.objects else None
    said = "FOUND" if result.status == Status.OK else result.status.name
    said = "IN DOUBT" if said == "FOUND" and best and best.doubtful else said
    found = (
        f"{said}, score {best.score:.2f}"
        if best
        else f"{result.status.name.replace('_', ' ')}, best {result.scores.max():.2f}"
    )
    return f'"{result.query}": {found}, {sum(result.timing_ms.values()):.0f} ms'
