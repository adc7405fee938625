# SPDX-License-Identifier: Apache-2.0
"""How an answer's time grows with pixels, objects and phrases.

    python benchmarks/scaling.py [--data ../shared/data/osd]

Pixels: the demo's frame thinned out and doubled. Objects: OSD's scenes by how many objects they show (left out where
the data is absent). Phrases: that many different ones on one frame, first new to the text tower, then known.
"""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import tyro
from ground import COLORS, doubled
from osd import FOLDER, osd_frames

from dropclip_ros.bags import load_bag_frame
from dropclip_ros.geometry import RgbdFrame
from dropclip_ros.pipeline import Grounder, Scene

STAGES = ("backproject", "table", "voxels", "encoder", "instances")


def thinned(frame: RgbdFrame, step: int) -> RgbdFrame:
    """Every `step`-th pixel of both directions."""
    k = frame.intrinsics.scaled_to(frame.intrinsics.width // step, frame.intrinsics.height // step)
    rgb, depth = (np.ascontiguousarray(image[::step, ::step]) for image in (frame.rgb, frame.depth))
    return RgbdFrame(rgb, depth, k)


def row(name: str, scenes: list[Scene]) -> None:
    """Medians over encodings."""
    stages = [np.median([scene.timing_ms[stage] for scene in scenes]) for stage in STAGES]
    points, voxels, found = (np.median(n) for n in zip(*((len(s.points), len(s.voxels), s.instances.max())
                                                         for s in scenes), strict=True))  # fmt: skip
    times = " | ".join(f"{ms:.1f}" for ms in (*stages, sum(stages)))
    print(f"| {name} | {points:.0f} | {voxels:.0f} | {found:.0f} | {times} |", flush=True)


def main(bag: Path = Path("demo/tabletop"), data: Path = FOLDER, runs: int = 10) -> None:
    """Prints Markdown tables of medians, ms."""
    grounder, frame = Grounder.from_pretrained(device="cpu"), load_bag_frame(bag)
    grounder.warm_up()
    print(f"| frame | points above | voxels | instances | {' | '.join(STAGES)} | all |")
    print("| --- " * (5 + len(STAGES)) + "|")
    frames = {"160x120": thinned(frame, 4), "320x240": thinned(frame, 2), "640x480": frame, "1280x720": doubled(frame)}
    scenes = {name: [] for name in frames}
    for _ in range(runs):
        for name, sized in frames.items():
            scenes[name].append(grounder.encode(sized))
    for name, encoded in scenes.items():
        row(name, encoded)
    if data.is_dir():
        by_count = defaultdict(list)
        for shown in osd_frames(data):
            objects = len(np.unique(shown.labels[shown.labels >= 2]))
            by_count[min(objects - 1, 15) // 3].append(grounder.encode(shown.frame))
        for third, encoded in sorted(by_count.items()):
            row(f"OSD, {3 * third + 1} to {3 * third + 3} objects", encoded)
    print("\n| phrases on one frame | new, ms each | known, ms each |\n| --- | --- | --- |")
    scene = scenes["640x480"][-1]
    for count in (1, 10, 100, 500):
        phrases = [f"a {COLORS[i % len(COLORS)]} thing called {count} {i}" for i in range(count)]
        spent = []
        for _ in range(2):
            start = time.perf_counter()
            for phrase in phrases:
                grounder.ground(scene, phrase)
            spent.append(1e3 * (time.perf_counter() - start) / count)
        print(f"| {count} | {spent[0]:.2f} | {spent[1]:.2f} |", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
