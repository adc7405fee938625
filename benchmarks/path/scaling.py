# SPDX-License-Identifier: Apache-2.0
"""How an answer's time grows with pixels, objects and phrases.

    python -m benchmarks.path.scaling [--data ../shared/data/osd] [--rendered runs/large/scenes/validation]

Pixels: the demo's frame thinned out and doubled. Objects: OSD's frames and the generator's, by how many instances are
found in them (left out where these are absent). Phrases: that many different ones on one frame, new to the text tower
and asked one by one, new but given to it together beforehand, and known. With OMP_NUM_THREADS=1 the thread's own time
is counted.
"""

from __future__ import annotations

import time
from collections import defaultdict
from itertools import chain
from pathlib import Path

import numpy as np
import tyro

from benchmarks.data.osd import FOLDER, osd_frames
from benchmarks.path.ground import COLORS, doubled, own_time
from benchmarks.path.plane import first_views
from dropclip_ros.grounding.pipeline import EncodedScene, Grounder
from dropclip_ros.vision.bags import load_bag_frame
from dropclip_ros.vision.geometry import RgbdFrame

STAGES = ("backproject", "table", "voxels", "encoder", "instances")


def thinned(frame: RgbdFrame, step: int) -> RgbdFrame:
    """Every `step`-th pixel of both directions."""
    k = frame.intrinsics.scaled_to(frame.intrinsics.width // step, frame.intrinsics.height // step)
    rgb, depth = (np.ascontiguousarray(image[::step, ::step]) for image in (frame.rgb, frame.depth))
    return RgbdFrame(rgb, depth, k)


def row(name: str, scenes: list[EncodedScene]) -> None:
    """Medians over encodings."""
    stages = [np.median([scene.timing_ms[stage] for scene in scenes]) for stage in STAGES]
    points, voxels, found = (
        np.median(n) for n in zip(*((len(s.points), len(s.voxels), s.instances.max()) for s in scenes), strict=True)
    )
    times = " | ".join(f"{ms:.1f}" for ms in (*stages, sum(stages)))
    print(f"| {name} | {points:.0f} | {voxels:.0f} | {found:.0f} | {times} |", flush=True)


@own_time()
def main(
    bag: Path = Path("demo/tabletop"),
    data: Path = FOLDER,
    runs: int = 10,
    rendered: Path = Path("runs/large/scenes/validation"),
) -> None:
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
    by_count = defaultdict(list)
    for shown in chain(osd_frames(data) if data.is_dir() else (), first_views(rendered)):
        encoded = grounder.encode(shown.frame)
        by_count[(encoded.instances.max() - 1) // 4].append(encoded)
    for nth, encoded in sorted(by_count.items()):
        row(f"{4 * nth + 1} to {4 * nth + 4} objects, {len(encoded)} frames", encoded)
    print("\n| phrases on one frame | new, ms each | new together | known | all known, s |\n" + "| --- " * 5 + "|")
    scene = scenes["640x480"][-1]
    for count in (1, 10, 100, 500):
        named, called = (
            [f"a {COLORS[i % len(COLORS)]} thing {word} {count} {i}" for i in range(count)]
            for word in ("named", "called")
        )
        new = seconds(grounder, scene, named)
        start = time.perf_counter()
        grounder.text.encode(called)
        together = time.perf_counter() - start + seconds(grounder, scene, called)
        known = seconds(grounder, scene, named)
        each = " | ".join(f"{1e3 * spent / count:.2f}" for spent in (new, together, known))
        print(f"| {count} | {each} | {known:.2f} |", flush=True)


def seconds(grounder: Grounder, scene: EncodedScene, phrases: list[str]) -> float:
    """To answer all of them."""
    start = time.perf_counter()
    for phrase in phrases:
        grounder.ground(scene, phrase)
    return time.perf_counter() - start


if __name__ == "__main__":
    tyro.cli(main)
