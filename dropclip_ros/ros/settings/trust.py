# SPDX-License-Identifier: Apache-2.0
"""Parameters of the check that the camera is where TF says (`dropclip_ros.vision.extrinsics`)."""

from dropclip_ros.base.ranges import built
from dropclip_ros.ros.common import Setting, Values
from dropclip_ros.vision.extrinsics import Trust

_DEFAULT = Trust()
SETTINGS = (
    Setting("extrinsics.check_height", False, "Whether extrinsics.table_height is known, and checked"),
    Setting("extrinsics.table_height", 0.0, "Height of the table's top in world_frame, m", -10.0, 10.0),
    Setting(
        "extrinsics.warn_tilt", _DEFAULT.warn_tilt, "Tilt of the seen table that is said in message, rad", 0.0, 3.2
    ),
    Setting(
        "extrinsics.max_tilt", _DEFAULT.max_tilt, "Tilt that is refused with TF_ERROR, rad; 3.2 for none", 0.0, 3.2
    ),
    Setting("extrinsics.warn_height", _DEFAULT.warn_height, "Error of its height that is said, m", 0.0, 10.0),
    Setting("extrinsics.max_height", _DEFAULT.max_height, "Error of its height that is refused, m", 0.0, 10.0),
)


def trust_config(values: Values) -> Trust:
    """The core's configuration from parameter values by name; ValueError where they contradict each other."""
    names = ("warn_tilt", "max_tilt", "warn_height", "max_height")
    known = values["extrinsics.table_height"] if values["extrinsics.check_height"] else None
    own = {name: values[f"extrinsics.{name}"] for name in names}
    return built(Trust, own | {"table_height": known})
