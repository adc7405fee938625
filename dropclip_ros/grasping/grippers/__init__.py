# SPDX-License-Identifier: Apache-2.0
"""Profiles of parallel grippers: the boxes that hold one, and where its fingertips are in the frame it is mounted on.

A profile is a YAML file with the fields of `Gripper`. Those in this folder go by name, a user's own by its path.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.ranges import built
from dropclip_ros.base.reading import Unreadable, read_yaml

FOLDER = Path(__file__).parent
_LARGEST = 100_000  # bytes of a profile
Box = tuple[float, float, float]


@dataclass(frozen=True)
class Gripper:
    """Boxes that hold a parallel gripper, measured backwards from the fingertips, and its mount (metres).

    Each finger is `finger_depth` long (what an object may reach in between the fingers), `finger_width` across,
    along the grasp's z, and `finger_thickness` thick outside of its inner face. `body` lists what follows behind the
    fingers: (length along the approach, width along the closing axis, height along z), at the widest opening, and, for
    a linkage that closes with the fingers, the width when they are closed, linear between.

    The tool frame is the link that the gripper is mounted on, for which a planner plans: `approach` and `closing` are
    axes of the grasp in it, and the middle between the tips lies on `approach`, `tip_distance` away: a table of
    (opening, distance) by growing opening, as tips that move on arcs advance while they close. Without one, the body
    ends at the tool frame.
    """

    name: str
    max_width: float
    finger_depth: float
    finger_width: float
    finger_thickness: float
    body: tuple[tuple[float, ...], ...]
    # How it is mounted is no part of the shape, which repr() names: grasps are cached under it.
    approach: Box = field(default=(0.0, 0.0, 1.0), repr=False)
    closing: Box = field(default=(0.0, 1.0, 0.0), repr=False)
    tip_distance: tuple[tuple[float, float], ...] = field(default=(), repr=False)

    def __post_init__(self):
        for name in ("max_width", "finger_depth", "finger_width", "finger_thickness"):
            value = getattr(self, name)
            if not (np.isscalar(value) and 0 < value < 1):
                raise ValueError(f"Gripper.{name} is {value}; expected metres between 0 and 1")
        boxes = isinstance(self.body, tuple) and all(np.shape(box) in ((3,), (4,)) for box in self.body)
        if not (boxes and all(0 < side < 1 for box in self.body for side in box)):
            raise ValueError(
                f"Gripper.body is {self.body}; expected (length, width, height) in metres, or (length, width, height, "
                "width closed), each in (0, 1)"
            )
        axes = np.array([self.approach, self.closing], dtype=float)
        if axes.shape != (2, 3) or not np.allclose(axes @ axes.T, np.eye(2), atol=1e-6):
            raise ValueError(
                f"Gripper.approach is {self.approach}, closing {self.closing}; expected unit vectors at a right angle"
            )
        table = np.array(self.tip_distance, dtype=float).reshape(-1, 2)
        if not (
            np.isfinite(table).all() and (np.diff(table[:, 0]) > 0).all() and (table >= 0).all() and (table < 1).all()
        ):
            raise ValueError(
                f"Gripper.tip_distance is {self.tip_distance}; expected pairs of opening and distance in "
                "metres, in [0, 1), by growing opening"
            )

    @classmethod
    def from_dict(cls, values: Mapping) -> "Gripper":
        """Of a profile's values. ValueError or TypeError where one is missing, unknown or no number."""
        known = {f.name for f in fields(cls)}
        if not isinstance(values, Mapping) or set(values) - known:
            found = f"{len(set(values) - known)} others" if isinstance(values, Mapping) else type(values).__name__
            raise ValueError(f"found {found}; expected only the fields {', '.join(f.name for f in fields(cls))}")

        def numbers(key: str, value):
            if isinstance(value, list):
                return tuple(numbers(key, one) for one in value)
            if not isinstance(value, int | float):
                raise ValueError(f"Gripper.{key} holds {type(value).__name__}; expected numbers")
            return float(value)

        return built(cls, {key: str(value) if key == "name" else numbers(key, value) for key, value in values.items()})

    def parts(self, width: np.ndarray) -> np.ndarray:
        """Boxes (N, P, 5) for openings `width` (N,): x from, x to, |y| from, |y| to, |z| to, with x = 0 at the tips.

        The gripper is symmetric, so one row stands for both fingers.
        """
        half = np.asarray(width, dtype=np.float64) / 2
        fingers = np.stack(
            [
                np.full_like(half, -self.finger_depth),
                np.zeros_like(half),
                half,
                half + self.finger_thickness,
                np.full_like(half, self.finger_width / 2),
            ],
            axis=-1,
        )
        parts, end = [fingers], -self.finger_depth
        open_ = np.minimum(2 * half / self.max_width, 1.0)
        for length, across, height, *closed in self.body:
            least = closed[0] if closed else across
            box = np.tile((end - length, end, 0.0, 0.0, height / 2), (*half.shape, 1))
            box[..., 3] = (least + (across - least) * open_) / 2
            parts.append(box)
            end -= length
        return np.stack(parts, axis=1)

    def tool_from_tip(self, width: np.ndarray) -> np.ndarray:
        """tool_from_tip (N, 4, 4) for openings (N,) m: columns approach, closing, their cross product, and the tips.

        t = d(w) a, with a the approach in the tool frame and d the table, linear between its rows.
        """
        width = np.asarray(width, dtype=np.float64)
        if self.tip_distance:
            distance = np.interp(width, *np.transpose(self.tip_distance))
        else:
            distance = np.full(width.shape, self.finger_depth + sum(box[0] for box in self.body))
        poses = np.tile(np.eye(4), (len(width), 1, 1))
        poses[:, :3, :3] = np.column_stack([self.approach, self.closing, np.cross(self.approach, self.closing)])
        poses[:, :3, 3] = distance[:, None] * np.array(self.approach)
        return poses


def load_gripper(name: str | Path) -> Gripper:
    """The gripper of a name (`GRIPPERS`), or of a YAML file by its path. Raises BAD_REQUEST."""
    if name in GRIPPERS:
        return GRIPPERS[name]
    path = Path(name).expanduser()
    if path.suffix not in (".yaml", ".yml"):
        raise DropclipError(
            Status.BAD_REQUEST,
            f"gripper {str(name)!r}: expected one of {', '.join(GRIPPERS)}, or the path of a profile, .yaml",
        )
    return _read(path)


def _read(path: Path) -> Gripper:
    """What is said of a file never quotes it: whoever may name a file may not read it by that."""
    try:
        return Gripper.from_dict(read_yaml(path, _LARGEST))
    except Unreadable as error:
        reason = str(error).partition(" (")[0]
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except (ValueError, TypeError) as error:
        reason = str(error)
    example = FOLDER / "robotiq_2f_140.yaml"
    raise DropclipError(
        Status.BAD_REQUEST, f"gripper profile {path} cannot be used: {reason}; {example} is one to copy"
    )


GRIPPERS = {gripper.name: gripper for gripper in map(_read, sorted(FOLDER.glob("*.yaml")))}
ROBOTIQ_2F_140, ROBOTIQ_2F_85 = GRIPPERS["robotiq_2f_140"], GRIPPERS["robotiq_2f_85"]
FRANKA_HAND = GRIPPERS["franka_hand"]
