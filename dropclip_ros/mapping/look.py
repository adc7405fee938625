# SPDX-License-Identifier: Apache-2.0
"""The next best view: from which of the poses that an arm can reach would more be known of what is asked?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dropclip_ros.base.ranges import check_fields, ranged
from dropclip_ros.grounding.pipeline import GroundResult
from dropclip_ros.mapping.scene_map import SceneMap
from dropclip_ros.vision.geometry import Intrinsics, invert_pose, project, transform_points

_COARSE = 8.0  # pixels of the camera to one of the picture in which voxels hide each other
_BEHIND = 0.015  # m behind what is nearest, from which on a voxel is hidden
_ROUND = 2  # pixels: border of that picture


@dataclass(frozen=True)
class LookConfig:
    """sure: score of an answer that is certain where no other object's is over `rival`. least: gain under which no
    further view is worth the way. turn: degrees between two views that tell as much as two can. explore: share of what
    an object's view tells that counts for objects which are not in question: something may hide beside them."""

    sure: float = ranged(0.9, above=0, below=1)
    rival: float = ranged(0.5, above=0, below=1)
    least: float = ranged(0.01, 0, 1)
    turn: float = ranged(40.0, above=0, high=180)
    explore: float = ranged(0.02, 0, 1)

    def __post_init__(self) -> None:
        check_fields(self, "look: ")


def scores_of(result: GroundResult) -> dict[int, float]:
    """The score of each object of the map for what was asked: of the phrase as a whole, else of those that answer."""
    scores = {found.id: found.score for found in result.objects}
    parts = result.interpretation.parts
    if len(parts) == 1:
        scores = dict(zip(parts[0].ids, parts[0].scores, strict=True)) | scores
    return scores


def certain(scores: Mapping[int, float], config: LookConfig) -> bool:
    """Whether one object surely answers, and no other may."""
    ranked = sorted(scores.values(), reverse=True)
    return bool(ranked) and ranked[0] >= config.sure and (len(ranked) == 1 or ranked[1] <= config.rival)


def gains(
    scene_map: SceneMap,
    scores: Mapping[int, float],
    poses: Sequence[np.ndarray],
    camera: Intrinsics,
    config: LookConfig,
) -> np.ndarray:
    """Expected gain in score (P,) of a view from each of the poses, world_from_camera (4,4).

    A score p is the chance that an object is meant: its variance p (1 - p) is what a view could settle. It settles the
    share of the object that would be seen, past what hides it there, times how far that is from where it was seen.
    """
    owners, told = scene_map.owners(), np.zeros(len(poses))
    for k, pose in enumerate(poses):
        visible = _visible(scene_map.grid.mean, pose, camera)
        for one in scene_map.objects.values():
            score = scores.get(one.id, 0.0)
            weight = score * (1 - score) + config.explore / max(len(scene_map.objects), 1)
            away = pose[:3, 3] - one.centre
            away = away / max(float(np.linalg.norm(away)), 1e-9)
            angles = [np.degrees(np.arccos(np.clip(view.direction @ away, -1, 1))) for view in one.views]
            unseen = 1 - np.exp(-0.5 * (min(angles, default=180.0) / config.turn) ** 2)
            told[k] += weight * visible[owners == one.id].mean() * unseen if one.count else 0.0
    return told


def _visible(places: np.ndarray, pose: np.ndarray, camera: Intrinsics) -> np.ndarray:
    """Which places (M,3) m a camera would see, bool (M,): those that it has in view and that no other place hides."""
    pixels, z = project(transform_points(invert_pose(pose), places), camera)
    inside = (z > 0) & (pixels >= 0).all(1) & (pixels < (camera.width, camera.height)).all(1)
    cells = np.where(inside[:, None], pixels / _COARSE, 0).astype(np.int64) + _ROUND
    width, height = camera.width // int(_COARSE) + 2 * _ROUND + 1, camera.height // int(_COARSE) + 2 * _ROUND + 1
    nearest = np.full((height, width), np.inf)
    np.minimum.at(nearest, (cells[inside, 1], cells[inside, 0]), z[inside])
    return inside & (z <= nearest[cells[:, 1], cells[:, 0]] + _BEHIND)


def next_view(
    scene_map: SceneMap,
    result: GroundResult,
    poses: Mapping[int, np.ndarray],
    camera: Intrinsics,
    config: LookConfig | None = None,
) -> tuple[int, float] | None:
    """Which of the poses, by number, to look from next, and its gain; None where the answer is certain, or no view is
    worth the way. result: what `Grounder.ground` said on the map's scene."""
    config, scores = config or LookConfig(), scores_of(result)
    if not poses or certain(scores, config):
        return None
    expected = gains(scene_map, scores, list(poses.values()), camera, config)
    best = int(expected.argmax())
    return (list(poses)[best], float(expected[best])) if expected[best] >= config.least else None
