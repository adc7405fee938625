# SPDX-License-Identifier: Apache-2.0
"""Table removal on the scenes of the Object Segmentation Database: IoU of table and object pixels, and time.

python -m benchmarks.path.table_osd [--data ../shared/data/osd] [--every]
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from benchmarks.data.osd import FOLDER, LabelledFrame, osd_frames
from dropclip_ros.tabletop.scene import seen, things
from dropclip_ros.tabletop.table import TableConfig
from dropclip_ros.tabletop.workspace import Workspace
from dropclip_ros.vision.voxels import voxelize

DEFAULTS = TableConfig()
STAGES = ("backproject", "table", "voxelize")


@dataclass(frozen=True)
class Result:
    """Result of one scene: IoU of the table and of the objects, and seconds per stage."""

    name: str
    table: float
    objects: float
    seconds: tuple[float, ...]


def measure(scene: LabelledFrame, config: TableConfig, up: np.ndarray | None = None) -> Result:
    """Run one scene as the pipeline does and compare with its labels, on the pixels that have depth."""
    workspace, clock = Workspace(search=config), [time.perf_counter()]
    points, pixels, _ = seen(scene.frame.depth, scene.frame.intrinsics, workspace, None)
    clock.append(time.perf_counter())
    table, standing = things(points, workspace, up=up)
    clock.append(time.perf_counter())
    voxelize(points[standing], np.zeros((len(standing), 3), dtype=np.float32))
    clock.append(time.perf_counter())
    labels, above = scene.labels[pixels], np.zeros(len(points), bool)
    above[standing] = True
    return Result(scene.name, iou(table.inliers & ~above, labels == 1), iou(above, labels >= 2), tuple(np.diff(clock)))


def iou(found: np.ndarray, true: np.ndarray) -> float:
    """Intersection over union of two masks."""
    return float((found & true).sum() / max((found | true).sum(), 1))


def report(results: list[Result], every: bool) -> None:
    """Print mean and worst, the time of each stage, and perhaps each scene."""
    if every:
        for result in results:
            print(
                f"{result.name:24s} table {result.table:.4f}  objects {result.objects:.4f}  "
                f"{1e3 * sum(result.seconds):6.1f} ms"
            )
    print(f"{len(results)} scenes     mean   worst")
    for what in ("table", "objects"):
        worst = min(results, key=lambda result, what=what: getattr(result, what))
        mean = np.mean([getattr(result, what) for result in results])
        print(f"IoU {what:10s} {mean:.4f}  {getattr(worst, what):.4f} ({worst.name})")
    seconds = 1e3 * np.array([result.seconds for result in results])
    for stage, column in zip((*STAGES, "all"), (*seconds.T, seconds.sum(axis=1)), strict=True):
        print(f"{stage:12s} {np.median(column):6.1f} ms median, {column.max():6.1f} ms worst")


def main(data: Path = FOLDER, every: bool = False, config: TableConfig = DEFAULTS) -> None:
    """Print mean and worst of all scenes; with --every also each scene."""
    measure(next(osd_frames(data)), config)  # loads libraries and fills caches
    report([measure(scene, config) for scene in osd_frames(data)], every)


if __name__ == "__main__":
    tyro.cli(main)
