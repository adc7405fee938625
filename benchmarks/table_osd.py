# SPDX-License-Identifier: Apache-2.0
"""Table removal on the scenes of the Object Segmentation Database: IoU of table and object pixels, and time.

    python benchmarks/table_osd.py [--data ../shared/data/osd] [--every]

The folder holds NAME_depth.png (uint16 mm), NAME_label.png (0 invalid, 1 table, 2.. objects) and index.json with K.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

from dropclip_ros.geometry import Intrinsics, backproject, decode_depth
from dropclip_ros.table import TableConfig, crop_above, find_table
from dropclip_ros.voxels import voxelize

DEFAULTS = TableConfig()
STAGES = ("backproject", "find_table", "crop_above", "voxelize")


@dataclass(frozen=True)
class Scene:
    """Result of one scene: IoU of the table and of the objects, and seconds per stage."""

    name: str
    table: float
    objects: float
    seconds: tuple[float, ...]


def measure(folder: Path, name: str, intrinsics: Intrinsics, config: TableConfig) -> Scene:
    """Run one scene as the pipeline does and compare with its labels, on the pixels that have depth."""
    depth = decode_depth(np.array(Image.open(folder / f"{name}_depth.png")), "mm")
    labels = np.array(Image.open(folder / f"{name}_label.png")).reshape(-1)
    clock = [time.perf_counter()]
    points, pixels = backproject(depth, intrinsics)
    clock.append(time.perf_counter())
    table = find_table(points, config)
    clock.append(time.perf_counter())
    above = crop_above(points, table, config)
    clock.append(time.perf_counter())
    voxelize(points[above], np.zeros((above.sum(), 3), dtype=np.float32))
    clock.append(time.perf_counter())
    labels = labels[pixels]
    return Scene(name, iou(table.inliers & ~above, labels == 1), iou(above, labels >= 2), tuple(np.diff(clock)))


def iou(found: np.ndarray, true: np.ndarray) -> float:
    """Intersection over union of two masks."""
    return float((found & true).sum() / max((found | true).sum(), 1))


def main(data: Path = Path("../shared/data/osd"), every: bool = False, config: TableConfig = DEFAULTS) -> None:
    """Print mean and worst of all scenes; with --every also each scene."""
    index = json.loads((data / "index.json").read_text())
    k = np.array(index["K"])
    intrinsics = Intrinsics(k[0, 0], k[1, 1], k[0, 2], k[1, 2], index["width"], index["height"])
    names = [scene["id"] for scene in index["scenes"]]
    measure(data, names[0], intrinsics, config)  # loads libraries and fills caches
    scenes = [measure(data, name, intrinsics, config) for name in names]
    if every:
        for scene in scenes:
            print(f"{scene.name:10s} table {scene.table:.4f}  objects {scene.objects:.4f}  "
                  f"{1e3 * sum(scene.seconds):6.1f} ms")
    print(f"{len(scenes)} scenes     mean   worst")
    for what in ("table", "objects"):
        worst = min(scenes, key=lambda scene, what=what: getattr(scene, what))
        mean = np.mean([getattr(scene, what) for scene in scenes])
        print(f"IoU {what:10s} {mean:.4f}  {getattr(worst, what):.4f} ({worst.name})")
    seconds = 1e3 * np.array([scene.seconds for scene in scenes])
    for stage, column in zip((*STAGES, "all"), (*seconds.T, seconds.sum(axis=1)), strict=True):
        print(f"{stage:12s} {np.median(column):6.1f} ms median, {column.max():6.1f} ms worst")


if __name__ == "__main__":
    tyro.cli(main)
