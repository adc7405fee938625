# SPDX-License-Identifier: Apache-2.0
"""What a simulator knows, in the place of what a robot must find out: true grasps of objects, true masks."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import GRIPPERS
from dropclip_ros.vision.geometry import Intrinsics, backproject
from training.objects.catalogue import open_catalogue
from training.scenes.description import PlacedObject, rows
from training.scenes.grasps.grasp_trials import TrialConfig
from training.scenes.grasps.scene_grasps import held_in_place

TRIED = TrialConfig(wanted=400)
MOST = 40  # candidates of an object that are tried


def true_grasps(
    poses: Mapping[str, np.ndarray], wanted: Collection[str], catalogue: str, gripper: str = "parallel_140"
) -> Grasps:
    """Grasps in the world's frame of the `wanted` objects as they lie, that hit neither table nor neighbours and held
    in a trial with the object alone; under a second an object.

    poses: world_from_mesh (4,4) of all objects on the table, at z = 0, in the catalogue's size. object_id counts the
    poses from 1.
    """
    placed = [
        PlacedObject(label, name, 1.0, 1.0, 0.0, 0.0, rows(pose)) for label, (name, pose) in enumerate(poses.items(), 1)
    ]
    return held_in_place(placed, 0.0, open_catalogue(catalogue), GRIPPERS[gripper], MOST, TRIED, wanted)


def true_points(depth: np.ndarray, intrinsics: Intrinsics, labels: np.ndarray, label: int) -> np.ndarray:
    """Points (N,3) m, in the camera's optical frame, of one object; depth (H,W) m, labels (H,W)."""
    return backproject(np.where(labels == label, depth, 0.0), intrinsics)[0]
