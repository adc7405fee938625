# SPDX-License-Identifier: Apache-2.0
"""The table and the instances on it, in one table: OSD by halves of the split, rendered rooms, drawn real frames, time.

    python -m benchmarks.path.tabletop [--rooms 11 12 13] [--crowded 11] [--named-frames ../named] [--worst 5]

`data/split.json` says which OSD scenes and room seeds may be chosen on. Objects are scored by `data/panoptic.py`; a
room is right where what is kept of the points agrees with the objects by an IoU of 0.94. Named frames are rebuilt
elsewhere; their masks are `data/named_masks.json` (COCO, drawn by hand), their images are not here.
"""

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import tyro
from PIL import Image, ImageDraw

from benchmarks.data.osd import FOLDER, LabelledFrame, osd_frames
from benchmarks.data.panoptic import Tally, rows, tally
from dropclip_ros.base.errors import DropclipError
from dropclip_ros.grounding.pipeline import Grounder
from dropclip_ros.vision.geometry import load_frame

SPLIT = Path(__file__).parents[1] / "data" / "split.json"
MASKS = SPLIT.with_name("named_masks.json")
RIGHT = 0.94  # IoU of what is kept of a room with its objects


class Scores:
    """Sums over the scenes of one row."""

    def __init__(self) -> None:
        self.tally, self.kept, self.milliseconds = Tally(), [], []

    def add(self, grounder: Grounder, scene: LabelledFrame) -> Tally:
        """Encodes a scene; where that fails, all its objects are missed. What came of this one."""
        known = scene.frame.depth.reshape(-1) > 0
        labels, found = np.where(known, scene.labels, 0).astype(np.int64), np.zeros(known.size, np.int64)
        try:
            encoded = grounder.encode(scene.frame)
            found = encoded.image(grounder.instances(encoded)).reshape(-1)
            kept = np.zeros(known.size, bool)
            kept[encoded.pixels] = True
            self.milliseconds.append([encoded.timing_ms[stage] for stage in ("table", "instances")])
            self.kept.append((kept & (labels >= 2)).sum() / max((kept & known | (labels >= 2)).sum(), 1))
        except DropclipError as error:
            print(f"{scene.name}: {error}")
            self.kept.append(0.0)
        of_scene = tally(labels, found)
        self.tally += of_scene
        return of_scene


def osd(folder: Path) -> Iterator[tuple[str, LabelledFrame]]:
    """Scenes with the part of the split that they are in."""
    part = {name: part for part, names in json.loads(SPLIT.read_text())["osd"].items() for name in names}
    for scene in osd_frames(folder):
        yield f"OSD {part[scene.name]}", scene


def rendered(seeds: Iterable[int], crowded: Iterable[int]) -> Iterator[tuple[str, LabelledFrame]]:
    """40 rooms of each seed."""
    from benchmarks.data import rooms  # needs MuJoCo

    for seed in seeds:
        for room in rooms.rooms(40, seed):
            yield f"rooms {seed}", room
    for seed in crowded:
        for room in rooms.crowded(40, seed):
            yield f"crowded rooms {seed}", room


def named(folder: Path | None) -> Iterator[tuple[str, LabelledFrame]]:
    """The real frames that masks are drawn for, where they are rebuilt."""
    if folder is None or not MASKS.is_file():
        return
    masks = json.loads(MASKS.read_text())
    for image in masks["images"]:
        place = folder / image["file_name"].removesuffix("/color.png")
        if not place.is_dir():
            continue
        frame = load_frame(place / "color.png", place / "depth.png", "mm", place / "k.json")
        drawn = Image.new("I", (image["width"], image["height"]))
        shapes = [a for a in masks["annotations"] if a["image_id"] == image["id"]]
        for label, shape in enumerate(shapes, 2):
            label = 1 if shape["category_id"] == masks["info"]["inside"] else label  # of a frame, as it were table
            for polygon in shape["segmentation"]:
                ImageDraw.Draw(drawn).polygon(list(zip(polygon[::2], polygon[1::2], strict=True)), fill=label)
        yield "named frames", LabelledFrame(place.name, "named", frame, np.array(drawn).reshape(-1))


def main(
    data: Path = FOLDER,
    rooms: tuple[int, ...] = tuple(json.loads(SPLIT.read_text())["rooms"]["report"]),
    crowded: tuple[int, ...] = (),
    named_frames: Path | None = None,
    model: Path | None = None,
    worst: int = 0,
) -> None:
    """Prints a row for each kind of scene, how long table and instances take, and the `worst` scenes of each kind."""
    grounder = Grounder.from_pretrained(model, image=False)
    grounder.warm_up()
    start, scores, each = time.perf_counter(), {}, {}
    for scenes in (osd(data), rendered(rooms, crowded), named(named_frames)):
        for name, scene in scenes:
            each[name, scene.name] = scores.setdefault(name, Scores()).add(grounder, scene)
    print(rows(scores, [of.tally for of in scores.values()]))
    for name, of in scores.items():
        table, instances = np.median(of.milliseconds, axis=0)
        right = sum(kept >= RIGHT for kept in of.kept)
        print(
            f"{name}: kept right in {right} of {len(of.kept)}, IoU {np.mean(of.kept):.3f}; median table {table:.0f} "
            f"ms, instances {instances:.0f} ms"
        )
    print(f"{time.perf_counter() - start:.0f} s in all")
    for name in scores if worst else ():
        lowest = sorted((key for key in each if key[0] == name), key=lambda key: each[key].scores()["PQ"])[:worst]
        print(rows((scene for _, scene in lowest), (each[key] for key in lowest)))


if __name__ == "__main__":
    tyro.cli(main)
