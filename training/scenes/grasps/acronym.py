# SPDX-License-Identifier: Apache-2.0
"""Grasps of an object in the files of ACRONYM (Eppner, Mousavian and Fox, ICRA 2021), which ours are too (A.1.1).

Its grasp frame is that of a Panda hand: z the approach, x the closing axis, the fingertips 0.1122 m ahead.
Ours (`dropclip_ros.grasping.grasps`) has x for the approach, y for the closing axis, and the tips `depth` ahead.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from dropclip_ros.base.reading import ARRAYS, read_bytes
from dropclip_ros.grasping.grasps import ROTATION_TOLERANCE, Grasps
from dropclip_ros.grasping.grippers import FRANKA_HAND
from training.runs.errors import InputError
from training.runs.files import write_atomically
from training.runs.reading import read_h5

TIP = 0.11217  # m, from the origin of ACRONYM's frame to the fingertips
TRANSFORMS, QUALITIES, WIDTHS = "grasps/transforms", "grasps/qualities/flex/object_in_gripper", "grasps/widths"
SCALE = "object/scale"
OURS_FROM_ACRONYM = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])  # rows: approach, closing axis, third


def read_grasps(path: Path, scale: float | None = None) -> Grasps:
    """All grasps of an ACRONYM file, in the frame of its mesh (m); score 1 where the trial held, else 0.

    scale: of the mesh, metres a unit, where it has another size than in the file. Width: as the file says, else all of
    a Panda hand's. Raises InputError where it is no such file, or has broken transforms.
    """
    try:
        file, _ = read_h5(read_bytes(path, ARRAYS), path)
        transforms, held = np.array(file[TRANSFORMS], float), np.array(file[QUALITIES], float)
        factor = scale / float(file[SCALE][()]) if scale is not None else 1.0
        widths = np.array(file[WIDTHS], float) if WIDTHS in file else np.full(len(held), FRANKA_HAND.max_width)
        if not (np.isfinite(factor) and factor > 0):
            raise ValueError(f"{SCALE} gives a factor of {factor}, expected one above 0")
    except (OSError, KeyError, TypeError, ValueError, IndexError, ZeroDivisionError) as error:
        raise InputError(f"{path} is no file of ACRONYM ({error}); expected HDF5 with {TRANSFORMS}") from error
    if transforms.shape != (len(held), 4, 4) or widths.shape != held.shape:
        raise InputError(
            f"{path}: {TRANSFORMS} has shape {transforms.shape}, {QUALITIES} {held.shape}; expected (N, 4, 4) and (N,)"
        )
    rotation = transforms[:, :3, :3]
    finite = np.isfinite(transforms).all(axis=(1, 2)) & np.isfinite(held) & (widths >= 0)
    gram = np.swapaxes(rotation, 1, 2) @ rotation
    rigid = finite & (np.abs(gram - np.eye(3)).max(axis=(1, 2)) < ROTATION_TOLERANCE) & (np.linalg.det(rotation) > 0)
    if not rigid.all():
        raise InputError(
            f"{path}: grasp {int(np.argmin(rigid))} (of {len(rigid)}, {int((~rigid).sum())} such) is no "
            "rigid transform; fetch the file again"
        )
    depth = FRANKA_HAND.finger_depth
    count = len(held)
    grasps = Grasps(
        score=(held > 0.5).astype(float),
        width=widths,
        height=np.full(count, FRANKA_HAND.finger_width),
        depth=np.full(count, depth),
        rotation=rotation @ OURS_FROM_ACRONYM.T,
        translation=transforms[:, :3, 3] + (TIP - depth) * rotation[:, :, 2],
        object_id=np.full(count, -1),
    )
    return scaled(grasps, factor)


def write_grasps(path: Path, grasps: Grasps, mesh: str, mass: float) -> None:
    """A file that `read_grasps` and ACRONYM's own tools read; Scores over 0.5 held."""
    transforms = np.tile(np.eye(4), (len(grasps), 1, 1))
    transforms[:, :3, :3] = grasps.rotation @ OURS_FROM_ACRONYM
    transforms[:, :3, 3] = grasps.tips() - TIP * grasps.approach
    with write_atomically(path) as part, h5py.File(part, "w") as file:
        file[TRANSFORMS], file[WIDTHS] = transforms, grasps.width
        file[QUALITIES] = (grasps.score > 0.5).astype(np.int64)
        file["object/file"], file[SCALE], file["object/mass"] = mesh, 1.0, mass


def scaled(grasps: Grasps, factor: float) -> Grasps:
    """The same grasps of the object in another size, about its frame's origin; the gripper stays as large as it is."""
    moved = factor * grasps.tips() - grasps.depth[:, None] * grasps.approach
    return Grasps(
        grasps.score, factor * grasps.width, grasps.height, grasps.depth, grasps.rotation, moved, grasps.object_id
    )
