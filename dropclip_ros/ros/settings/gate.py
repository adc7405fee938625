# SPDX-License-Identifier: Apache-2.0
"""Parameters of the gate that every pose passes before it leaves a node (`dropclip_ros.grasping.gate`)."""

from collections.abc import Mapping
from dataclasses import replace

from dropclip_ros.grasping.gate import Limits
from dropclip_ros.ros.common import Setting

_DEFAULT = Limits()
SETTINGS = (
    Setting(
        "workspace",
        [0.0],
        "Box in the world, m, that tool and tips stay in: its least x, y, z, then its greatest; [] for any",
    ),
    Setting("base_frame", "", "Frame of the arm's base, which `reach` is measured from; '' for no arm"),
    Setting("reach", 0.0, "Farthest place of the tool from base_frame, m; 0 for any", 0.0, 100.0),
    Setting("min_height", _DEFAULT.clearance, "Least height of the gripper over the table, m", -1.0, 1.0),
    Setting("max_approach", _DEFAULT.max_tilt, "Largest angle of the approach from straight down, rad", 0.01, 3.14),
)


def with_defaults(**defaults: object) -> tuple[Setting, ...]:
    """The same with other defaults, by name."""
    return tuple(replace(setting, default=defaults.get(setting.name, setting.default)) for setting in SETTINGS)


def limits(values: Mapping[str, object], **others: float) -> Limits:
    """The core's limits from parameter values by name; ValueError where they make no sense."""
    box = tuple(values["workspace"])
    if values["reach"] and not values["base_frame"]:
        raise ValueError("reach is set and base_frame is not: expected the frame of the arm's base")
    return Limits(
        workspace=box if len(box) > 1 else (),
        reach=values["reach"],
        clearance=values["min_height"],
        max_tilt=values["max_approach"],
        **others,
    )
