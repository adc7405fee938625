# SPDX-License-Identifier: Apache-2.0
"""Parameters of the gate that every pose passes before it leaves a node (`dropclip_ros.grasping.gate`)."""

from dataclasses import replace

from dropclip_ros.base.ranges import built
from dropclip_ros.grasping.gate import Limits
from dropclip_ros.ros.common import Setting, Values, listed

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


def with_defaults(**defaults: float | str) -> tuple[Setting, ...]:
    """The same with other defaults, by name."""
    return tuple(replace(setting, default=defaults.get(setting.name, setting.default)) for setting in SETTINGS)


def limits(values: Values, **others: float) -> Limits:
    """The core's limits from parameter values by name; ValueError where they make no sense."""
    box = listed(values, "workspace")
    if values["reach"] and not values["base_frame"]:
        raise ValueError("reach is set and base_frame is not: expected the frame of the arm's base")
    own = {"reach": values["reach"], "clearance": values["min_height"], "max_tilt": values["max_approach"]}
    return built(Limits, {"workspace": box if len(box) > 1 else ()} | own | others)
