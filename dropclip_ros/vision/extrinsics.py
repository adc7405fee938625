# SPDX-License-Identifier: Apache-2.0
"""Is the camera where TF says? With a world whose z is up, the table that is seen must be level, and at its height."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.vision.geometry import invert_pose


@dataclass(frozen=True)
class Trust:
    """What is put up with between the table as seen and as it is: tilt in rad, height in m; beyond `warn_` it is said,
    beyond `max_` refused. table_height: of the table's top in the world, m; None where it is not known."""

    table_height: float | None = None
    warn_tilt: float = np.radians(1.0)
    max_tilt: float = np.radians(3.0)
    warn_height: float = 0.010
    max_height: float = 0.025

    def __post_init__(self):
        for kind in ("tilt", "height"):
            low, high = getattr(self, f"warn_{kind}"), getattr(self, f"max_{kind}")
            if not 0 <= low <= high:
                raise ValueError(f"warn_{kind} is {low:g} and max_{kind} {high:g}: expected 0 <= warn <= max")


def table_error(plane: np.ndarray, at: np.ndarray, trust: Trust = Trust()) -> tuple[float, float]:
    """Tilt from level, rad, and height over where the table should be, m (0 where that is not known).

    plane (4,): of the table in the world, unit normal up and offset; at (3,): the place on it that counts.
    """
    tilt = float(np.arccos(np.clip(plane[2], -1, 1)))
    if trust.table_height is None:
        return tilt, 0.0
    height = -(plane[:2] @ np.asarray(at)[:2] + plane[3]) / plane[2] if abs(plane[2]) > 1e-3 else np.inf
    return tilt, float(height - trust.table_height)


def check_camera(plane: np.ndarray, at: np.ndarray, trust: Trust = Trust()) -> str:
    """'' or a warning, in words; TF_ERROR where the camera cannot be where TF says. Arguments as `table_error`."""
    tilt, height = table_error(plane, at, trust)
    wrong = []
    if not tilt <= trust.warn_tilt:
        wrong.append(f"tilted by {np.degrees(tilt):.1f} degrees")
    if not abs(height) <= trust.warn_height:
        wrong.append(f"{1000 * abs(height):.0f} mm too {'high' if height > 0 else 'low'}")
    if not wrong:
        return ""
    said = f"the table is seen {' and '.join(wrong)} in the world: is the camera where TF says (hand-eye calibration)?"
    if not (tilt <= trust.max_tilt and abs(height) <= trust.max_height):
        raise DropclipError(
            Status.TF_ERROR,
            f"{said} Allowed are {np.degrees(trust.max_tilt):.1f} degrees and {1000 * trust.max_height:.0f} mm",
        )
    return said


@dataclass(frozen=True, eq=False)
class Residual:
    """Between where a thing is seen and where it is by TF: `shift` (3,) of its origin, m, in the camera's frame, its
    length `offset`, and the `turn`, rad; `corrected`: the world_from_camera (4, 4) for which both would be one."""

    shift: np.ndarray
    turn: float
    corrected: np.ndarray

    @property
    def offset(self) -> float:
        return float(np.linalg.norm(self.shift))


def residual(seen: np.ndarray, expected: np.ndarray, camera_pose: np.ndarray) -> Residual:
    """Of poses camera_from_thing (4, 4), seen and by TF, and world_from_camera (4, 4) by TF.

    world_from_thing is taken as right: W' seen = W expected.
    """
    between = Rotation.from_matrix(seen[:3, :3] @ expected[:3, :3].T)
    corrected = camera_pose @ expected @ invert_pose(seen)
    return Residual(seen[:3, 3] - expected[:3, 3], float(between.magnitude()), corrected)
