# SPDX-License-Identifier: Apache-2.0
"""What a simulator knows, in the place of what a robot must find out: true grasps of objects, true masks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import GRIPPERS
from dropclip_ros.vision.geometry import Intrinsics, backproject
from training.objects.catalogue import open_catalogue
from training.runs.errors import InputError
from training.scenes.description import PlacedObject, rows
from training.scenes.grasps.grasp_trials import TrialConfig
from training.scenes.grasps.scene_grasps import object_grasps, place_on

TRIED = TrialConfig()


def true_grasps(
    poses: Mapping[str, np.ndarray],
    wanted: Collection[str],
    catalogue: str,
    cache: Path,
    gripper: str = "robotiq_2f_140",
) -> Grasps:
    """Grasps in the world's frame of the `wanted` objects that held in a trial with the object alone, and hit neither
    table nor neighbours.

    poses: world_from_mesh (4,4) of all objects on the table, at z = 0, in the catalogue's size. cache: folder of the
    objects' grasps, where those that were tried once are kept. object_id counts the poses from 1.
    """
    known = open_catalogue(catalogue)
    specs = {spec.name: spec for spec in known.specs}
    placed = [
        PlacedObject(label, name, 1.0, 1.0, 0.0, 0.0, rows(pose)) for label, (name, pose) in enumerate(poses.items(), 1)
    ]
    files = {}
    for name in sorted(wanted):
        try:
            files[name] = object_grasps(catalogue, specs[name], gripper, cache, TRIED)
        except InputError:
            continue  # nothing of it can be grasped
    grasps, collides = place_on(placed, 0.0, files, known, GRIPPERS[gripper], TRIED.wanted)
    return grasps[~collides]


def true_points(depth: np.ndarray, intrinsics: Intrinsics, labels: np.ndarray, label: int) -> np.ndarray:
    """Points (N,3) m, in the camera's optical frame, of one object; depth (H,W) m, labels (H,W)."""
    return backproject(np.where(labels == label, depth, 0.0), intrinsics)[0]
