# SPDX-License-Identifier: Apache-2.0
"""Scenes for other tools: one COCO data set, the BOP layout, a ROS 2 bag a scene, or WebDataset shards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from training.objects.catalogue import PROCEDURAL, open_catalogue
from training.runs.errors import InputError
from training.runs.files import alone, write_atomically
from training.scenes.export.bop import write_bop
from training.scenes.scene import Scene, View
from training.scenes.sensor import SENSORS
from training.scenes.shards import load_scenes, pack

Views = Callable[[Scene], Iterator[tuple[int, View]]]  # numbers and views of a scene


@alone
def export(
    scenes: Path,
    out: Path,
    to: Literal["coco", "bop", "bag", "webdataset"],
    catalogue: str = PROCEDURAL,
    sensor: Literal["none", "kinect", "realsense"] = "none",
    rate: float = 2.0,
    per_shard: int = 20,
    skip_broken: bool = False,
) -> None:
    """Writes scenes in a format of other tools, whole or not at all.

    Args:
        scenes: folder of scenes or shards.
        out: a folder that is not there yet; webdataset goes on with the shards that are in it.
        to: the format.
        catalogue: of the scenes' objects: BOP holds their meshes.
        sensor: whose depth BOP and bags get: none (as rendered), kinect or realsense.
        rate: frames a second in a bag.
        per_shard: scenes in a shard.
        skip_broken: leave out what cannot be read, with a warning, instead of ending.
    """
    if not 0 < rate < float("inf"):
        raise InputError(f"rate {rate}: expected frames a second, more than 0")
    if to == "webdataset":
        pack(scenes, out, per_shard, skip_broken)
        return

    def views(scene: Scene) -> Iterator[tuple[int, View]]:
        if skip_broken:
            yield from scene.views(sensor=SENSORS[sensor])
        else:
            yield from ((v, scene.view(v, SENSORS[sensor])) for v in range(len(scene)))

    found = [scene for scene in load_scenes(scenes, skip_broken) if len(scene)]
    if not found:
        raise InputError(f"{scenes}: no scene there has views; generate them with a renderer")
    with write_atomically(out) as part:
        part.mkdir()
        if to == "coco":
            write_coco(found, part, views)
        elif to == "bop":
            write_bop(found, part, open_catalogue(catalogue), views)
        else:
            from training.scenes.export.bag import write_bag  # needs rosbags

            for scene in tqdm(found, desc="bags", unit="bag"):
                write_bag(part / scene.name, (view for _, view in views(scene)), rate)


def write_coco(scenes: list[Scene], out: Path, views: Views) -> None:
    """images/SCENE/ and annotations.json. Classes are the categories; an annotation names its `instance` as well, and
    the `visible_fraction` of it; an image has its K and world_from_camera (4x4, m)."""
    names = sorted({o["category"] for scene in scenes for o in scene.objects.values()})
    category = {name: number for number, name in enumerate(names, 1)}
    images, annotations = 0, 0
    # The tables grow line by line: those of a million views fit no memory.
    with (out / "images.part").open("w+") as image_lines, (out / "annotations.json").open("w") as file:
        file.write('{"annotations": [\n')
        for scene in tqdm(scenes, desc="scenes", unit="scene"):
            (out / "images" / scene.name).mkdir(parents=True)
            notes: dict[int, list[dict]] = {}
            for note in scene.coco["annotations"]:
                notes.setdefault(note["image_id"], []).append(note)
            for v, _ in views(scene):
                image = scene.coco["images"][v]
                name = f"{scene.name}/{image['file_name']}"
                (out / "images" / name).write_bytes(scene.read(image["file_name"]))
                kept = {key: image[key] for key in ("width", "height", "K", "world_from_camera")}
                image_lines.write(",\n" * (images > 0) + json.dumps({"id": images + 1, "file_name": name, **kept}))
                images += 1
                for note in notes.get(image["id"], []):
                    o = scene.objects[note["category_id"]]
                    own = {
                        "id": annotations + 1,
                        "image_id": images,
                        "category_id": category[o["category"]],
                        "instance": o["name"],
                        "visible_fraction": image.get("visible_fraction", {}).get(str(o["id"])),
                    }
                    file.write(",\n" * (annotations > 0) + json.dumps(note | own))
                    annotations += 1
        file.write('],\n"images": [\n')
        image_lines.seek(0)
        file.writelines(image_lines)
        file.write(f'],\n"categories": {json.dumps([{"id": n, "name": name} for name, n in category.items()])}}}\n')
    (out / "images.part").unlink()
