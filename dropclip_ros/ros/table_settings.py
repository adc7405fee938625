# SPDX-License-Identifier: Apache-2.0
"""The table's parameters, shared by the nodes that look for one."""

from collections.abc import Mapping

from dropclip_ros.ros.common import Setting
from dropclip_ros.tabletop.table import TableConfig

_DEFAULT = TableConfig()
SETTINGS = (
    Setting("table.distance", _DEFAULT.distance, "RANSAC inlier distance, m", 1e-4, 0.2),
    Setting("table.iterations", _DEFAULT.iterations, "RANSAC iterations", 1, 100_000),
    Setting("table.seed", _DEFAULT.seed, "Seed of RANSAC", 0, 2**31 - 1),
    Setting("table.min_points", _DEFAULT.min_points, "Fewest points of a table", 3, 10**7),
    Setting(
        "table.max_tilt",
        _DEFAULT.max_tilt,
        "Largest tilt from level where gravity is known (world_frame), rad",
        0.0,
        1.57,
    ),
    Setting("table.max_height", _DEFAULT.max_height, "Greatest height of things on the table, m", 0.01, 10.0),
    Setting("table.outlier_neighbors", _DEFAULT.outlier_neighbors, "Neighbours in the outlier removal", 1, 1000),
    Setting(
        "table.outlier_std",
        _DEFAULT.outlier_std,
        "Standard deviations in the outlier removal; 0 switches it off",
        0.0,
        20.0,
    ),
)


def table_config(values: Mapping[str, object]) -> TableConfig:
    """The core's configuration from parameter values by name; ValueError where they contradict each other."""
    return TableConfig(**{s.name.removeprefix("table."): values[s.name] for s in SETTINGS})
