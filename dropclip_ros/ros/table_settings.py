# SPDX-License-Identifier: Apache-2.0
"""The parameters of table and workspace, shared by the nodes that look for one."""

from functools import partial

from dropclip_ros.base.ranges import built
from dropclip_ros.ros.common import Setting, Values, listed
from dropclip_ros.tabletop.table import TableConfig
from dropclip_ros.tabletop.workspace import TABLES, Workspace

UNKNOWN = [0.0]  # of a parameter that is a list of numbers
ANY_HEIGHT = 1000.0
_WORKSPACE = (
    Setting("region.near", Workspace().near, "Nearer depths are left out, m", 0.0, 100.0),
    Setting("region.far", Workspace().far, "Further depths are left out, m", 0.01, 1000.0),
    Setting(
        "table.mode",
        Workspace().table,
        "plane: there is a table; none: things stand by themselves (bins, trays); auto: none where no plane is seen",
        choices=TABLES,
    ),
    Setting("table.height", ANY_HEIGHT, "z of the table in world_frame where it is known, m; 1000: not", -1e3, 1e3),
    Setting("table.plane", UNKNOWN, "Of the table where it is known, in world_frame: a b c d, ax + by + cz + d = 0"),
    Setting("region.box", UNKNOWN, "Box to look in, in world_frame (else the camera's): x y z x y z, m"),
    Setting("region.polygon", UNKNOWN, "What part of the image to look at: corners u v u v ..., pixels"),
)
_TABLE = tuple(
    Setting.of(TableConfig, name, "table.")
    for name in (
        "distance",
        "iterations",
        "seed",
        "min_points",
        "max_tilt",
        "max_height",
        "outlier_neighbors",
        "outlier_std",
    )
)


SETTINGS = _TABLE + _WORKSPACE


def workspace_of(values: Values) -> Workspace:
    """The core's configuration from parameter values by name; ValueError where they contradict each other."""
    plane, region, polygon = (
        () if list(listed(values, name)) == UNKNOWN else listed(values, name)
        for name in ("table.plane", "region.box", "region.polygon")
    )
    if len(region) not in (0, 6) or len(polygon) % 2:
        raise ValueError(
            f"workspace: {len(region)} numbers of the region and {len(polygon)} of the polygon: expected 6, pairs"
        )
    region_of = partial(
        Workspace,
        plane=plane or None,
        low=region[:3] or None,
        high=region[3:] or None,
        polygon=tuple(zip(polygon[::2], polygon[1::2], strict=True)),
        search=built(TableConfig, {s.name.removeprefix("table."): values[s.name] for s in _TABLE}),
    )
    height = values["table.height"]
    region_of = partial(region_of, height=None if height == ANY_HEIGHT else height)
    return built(region_of, {"near": values["region.near"], "far": values["region.far"], "table": values["table.mode"]})
