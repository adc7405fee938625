# SPDX-License-Identifier: Apache-2.0
"""Milliseconds of a new frame and of a repeated query, by stage, without ROS: `python benchmarks/ground.py`."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import tyro

from dropclip_ros.bags import load_bag_frame
from dropclip_ros.pipeline import Grounder


def main(bag: Path = Path("demo/tabletop"), runs: int = 20, query: str = "the red mug") -> None:
    """Encodes the bag's first frame `runs` times and asks each encoding once; prints p50 and p95."""
    grounder, frame = Grounder.from_pretrained(), load_bag_frame(bag)
    grounder.ground(grounder.encode(frame), query)  # warm-up: imports, text cache
    times = defaultdict(list)
    for _ in range(runs):
        scene = grounder.encode(frame)
        result = grounder.ground(scene, query)
        for stage, ms in result.timing_ms.items():
            times[stage].append(ms)
        times["new frame, all"].append(sum(result.timing_ms.values()))
        asked = sum(ms for stage, ms in result.timing_ms.items() if stage not in scene.timing_ms)
        times["repeated query, all"].append(asked)
    print(f"{frame.rgb.shape[1]}x{frame.rgb.shape[0]}, {len(scene.points)} points, {len(scene.voxels)} voxels, ms:")
    for stage, values in times.items():
        print(f"{stage:20} p50 {np.percentile(values, 50):8.2f}   p95 {np.percentile(values, 95):8.2f}")


if __name__ == "__main__":
    tyro.cli(main)
