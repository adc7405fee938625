# SPDX-License-Identifier: Apache-2.0
"""Any data set that has a reader as scenes to learn from: what `dropclip-fuse` and `dropclip-distill` read."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from training.evaluate.data import READERS
from training.evaluate.data.scene import EvalScene
from training.objects.catalogue import Catalogue
from training.objects.spec import TRAIN, ObjectSpec
from training.objects.words.phrases import FAMILIES
from training.runs.errors import InputError
from training.runs.factories import factory
from training.runs.files import write_atomically
from training.runs.jobs import RECIPE_FILE
from training.scenes.scene import SCENE_FILE, write_view


def import_scenes(reader: str, folder: Path, out: Path, limit: int | None = None) -> None:
    """Writes the scenes of a data set as those of `generate`, with a catalogue of its objects and their phrases.

    Args:
        reader: name of the reader, of training.evaluate.data.READERS.
        folder: the data set.
        out: folder of the scenes, empty or not there yet; its catalogue lies in OUT/objects.
        limit: scenes, all by default.
    """
    scenes: Sequence[EvalScene] = factory(READERS, reader, "data set")(folder)[:limit]
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty; choose another folder")
    specs: dict[str, ObjectSpec] = {}
    for number, scene in enumerate(tqdm(scenes, "scenes", mininterval=5)):
        _write_scene(out / f"scene_{number:05d}", scene, specs)
    if not specs:
        raise InputError(f"{folder}: its scenes name no object; there is nothing to learn from")
    Catalogue(tuple(specs.values()), out / "objects").save(out / "objects")
    with write_atomically(out / RECIPE_FILE) as part:
        part.write_text(json.dumps({"catalogue": str((out / "objects").resolve())}))
    print(f"{len(scenes)} scenes and {len(specs)} objects in {out}")


def _write_scene(folder: Path, scene: EvalScene, specs: dict[str, ObjectSpec]) -> None:
    """One scene; `specs`, of all objects so far by name, gets its objects and what is said of them."""
    folder.mkdir(parents=True)
    phrases = _phrases(scene)
    entries = [
        {"id": label, "name": entry["name"], "category": entry["category"], "split": TRAIN, "attributes": {}}
        for label, entry in scene.objects.items()
    ]
    for entry in entries:
        name, said = entry["name"], phrases.get(entry["id"], {})
        known = specs[name].prompts if name in specs else {"class": (entry["category"],)}
        prompts = {family: tuple(dict.fromkeys((*known.get(family, ()), *said.get(family, ())))) for family in FAMILIES}
        specs[name] = ObjectSpec(name, entry["category"], TRAIN, {}, prompts=prompts)
    tables: dict = {
        "info": {"split": TRAIN},
        "images": [],
        "annotations": [],
        "objects": entries,
        "categories": [{"id": e["id"], "name": e["name"], "supercategory": e["category"]} for e in entries],
        "queries": {},
    }
    for v in range(len(scene)):
        write_view(folder, v, scene.view(v), tables)
    (folder / SCENE_FILE).write_text(json.dumps(tables))


def _phrases(scene: EvalScene) -> dict[int, dict[str, list[str]]]:
    """What the scene's questions say of one object alone: label -> family -> phrases; other families are "open"."""
    said: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for v in range(len(scene)):
        for question in scene.questions(v):
            if len(question.labels) == 1:
                family = question.family if question.family in FAMILIES else "open"
                said[question.labels[0]][family].append(question.phrase)
    return said
