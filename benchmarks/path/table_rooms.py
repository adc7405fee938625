# SPDX-License-Identifier: Apache-2.0
"""Table removal in rendered rooms with walls, a floor and several planes, with and without known gravity.

python -m benchmarks.path.table_rooms [--count 100] [--seed 0] [--every]
"""

import tyro

from benchmarks.data.rooms import rooms
from benchmarks.path.table_osd import DEFAULTS, STAGES, Result, measure, report
from dropclip_ros.base.errors import DropclipError
from dropclip_ros.tabletop.table import TableConfig


def main(count: int = 100, seed: int = 0, every: bool = False, config: TableConfig = DEFAULTS) -> None:
    """Print mean and worst IoU of table and objects; a room where no table is found counts 0."""
    frames = list(rooms(count, seed))
    for gravity in (True, False):
        results = []
        for scene in frames:
            try:
                results.append(measure(scene, config, scene.frame.camera_pose[2, :3] if gravity else None))
            except DropclipError as error:
                print(f"{scene.name}: {error}")
                results.append(Result(scene.name, 0.0, 0.0, (0.0,) * len(STAGES)))
        print(f"gravity {'known' if gravity else 'unknown'}")
        report(results, every)


if __name__ == "__main__":
    tyro.cli(main)
