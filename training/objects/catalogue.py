# SPDX-License-Identifier: Apache-2.0
"""The objects of the generator: cheap specs with attributes and splits, and the models that physics and renderers need.

catalogue = Catalogue.procedural()                     # or Catalogue.load("objects/catalogue.json")
model = catalogue.build(catalogue.of_split(TRAIN)[0])  # mesh, texture, collision shapes, mass, phrases

A catalogue of meshes is a folder with catalogue.json; `training.objects.collect` makes one of YCB, Google Scanned
Objects, ShapeNet-Sem or a plain folder of meshes.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from dataclasses import asdict, dataclass, fields
from functools import cache, cached_property, partial
from pathlib import Path

from dropclip_ros.base.reading import read_json
from training.objects.spec import SPLITS, ObjectModel, ObjectSpec
from training.objects.words.phrases import FAMILIES, normal
from training.objects.words.wording import describe_object
from training.runs.errors import InputError
from training.runs.files import write_atomically
from training.runs.jobs import RECIPE_FILE, read_recipe

NAME = "catalogue.json"
PATHS = {"mesh", "texture", "grasps"}


PROCEDURAL = "procedural"  # names the catalogue that the project makes itself


@dataclass(frozen=True)
class Catalogue:
    """Specs of objects, and the folder that their paths are relative to (None: all are procedural)."""

    specs: tuple[ObjectSpec, ...]
    root: Path | None = None

    @classmethod
    def procedural(cls) -> Catalogue:
        """The objects that the project makes itself."""
        from training.objects.procedural.objects import catalogue  # it imports this module

        return cls(tuple(catalogue()))

    @cached_property
    def by_name(self) -> dict[str, ObjectSpec]:
        """Each spec under its name."""
        return {spec.name: spec for spec in self.specs}

    def of_split(self, split: str) -> tuple[ObjectSpec, ...]:
        """Specs of one of SPLITS; raises InputError where there are none."""
        if split not in SPLITS:
            raise InputError(f"split {split!r}: expected one of {', '.join(SPLITS)}")
        specs = tuple(spec for spec in self.specs if spec.split == split)
        if not specs:
            raise InputError(f"{self.root or 'the catalogue'}: no object of split {split}; choose another split")
        return specs

    def build(self, spec: ObjectSpec) -> ObjectModel:
        """The mesh, texture, physics and phrases of a spec; the same bytes every time."""
        if spec.mesh is not None:
            from training.objects.meshes import build_mesh

            return build_mesh(spec, self.root)
        from training.objects.procedural.kinds import KINDS
        from training.objects.procedural.objects import build

        if spec.category not in KINDS:
            raise InputError(f"{self.root}: {spec.name} has no mesh: it is known from recordings, and cannot be made")
        return build(spec)

    @classmethod
    def load(cls, path: str | Path) -> Catalogue:
        """Reads and checks `path`, a catalogue.json or its folder; raises InputError that names file and object.

        Meshes are looked for, not read: `build` does that.
        """
        path = Path(path)
        file = path / NAME if path.is_dir() else path
        try:
            entries = read_json(file)["objects"]
        except FileNotFoundError as error:
            raise InputError(f"{file}: no such catalogue; make one with `dropclip-mvtod collect`") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f'{file}: expected JSON with a list "objects": {error}') from error
        if not isinstance(entries, list) or not entries:
            raise InputError(f'{file}: "objects" is empty or no list; add objects to it')
        specs = tuple(_read_spec(entry, k, file) for k, entry in enumerate(entries))
        doubles = [name for name, count in Counter(spec.name for spec in specs).items() if count > 1]
        if doubles:
            raise InputError(f"{file}: several objects are called {doubles[0]}; names must be unique")
        return cls(specs, file.parent)

    def save(self, folder: str | Path) -> Path:
        """Writes `folder`/catalogue.json, beside and renamed; returns it. Meshes stay where they are: inside `folder`
        or beside it."""
        folder = Path(folder)
        entries = [{key: value for key, value in asdict(spec).items() if value is not None} for spec in self.specs]
        for entry in entries:
            for key in PATHS & set(entry):
                whole = (self.root / entry[key]).resolve()
                if not whole.is_relative_to(folder.resolve().parent):
                    raise InputError(
                        f"{folder}: expected a folder beside {self.root}, where the meshes are; choose that"
                    )
                entry[key] = os.path.relpath(whole, folder.resolve())
        with write_atomically(folder / NAME, replace=True) as part:
            part.write_text(json.dumps({"objects": entries}, indent=1) + "\n", encoding="utf-8")
        return folder / NAME


def _read_spec(entry: object, index: int, file: Path) -> ObjectSpec:
    """An entry of catalogue.json, checked."""
    name = entry.get("name", f"number {index}") if isinstance(entry, dict) else f"number {index}"
    try:
        if not isinstance(entry, dict):
            raise ValueError("expected an object with name, category, split ...")
        for check in (_check_names, _check_values, _check_prompts, partial(_check_paths, folder=file.parent)):
            check(entry)
    except ValueError as error:
        raise InputError(f"{file}: object {name}: {error}") from None
    prompts = entry.get("prompts")
    return ObjectSpec(
        **{
            **entry,
            "attributes": entry.get("attributes", {}),
            "up": tuple(map(float, entry.get("up", (0, 0, 1)))),
            "prompts": prompts and {family: tuple(phrases) for family, phrases in prompts.items()},
        }
    )


def _check_names(entry: dict) -> None:
    """ValueError where a field is unknown, or a name, category or split is missing or not allowed."""
    known = {field.name for field in fields(ObjectSpec)}
    if unknown := set(entry) - known:
        raise ValueError(f"unknown field {min(unknown)}; known are {', '.join(sorted(known))}")
    for key in ("name", "category"):
        if not isinstance(entry.get(key), str) or not entry[key].strip():
            raise ValueError(f"{key} is missing or empty; give it one")
    if "/" in entry["name"] or entry["name"].startswith("."):
        raise ValueError("a name may not contain / nor begin with a dot")
    if entry.get("split") not in SPLITS:
        raise ValueError(f"split {entry.get('split')!r}: expected one of {', '.join(SPLITS)}")


def _check_values(entry: dict) -> None:
    """ValueError where attributes, scale, mass, seed or up are of another kind."""
    attributes = entry.get("attributes", {})
    if not isinstance(attributes, dict) or not all(isinstance(value, str) for value in attributes.values()):
        raise ValueError('attributes: expected words by name, such as {"color": "red"}')
    for key in ("scale", "mass"):
        value = entry.get(key, 1.0)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
            raise ValueError(f"{key} {value!r}: expected a number above 0")
    if not isinstance(entry.get("seed", 0), int):
        raise ValueError(f"seed {entry['seed']!r}: expected an integer")
    up = entry.get("up", (0, 0, 1))
    if not _are_numbers(up) or len(up) != 3 or not any(up):
        raise ValueError(f"up {up!r}: expected a direction of three numbers, such as [0, 1, 0]")


def _check_prompts(entry: dict) -> None:
    """ValueError where prompts are no lists of phrases by family."""
    prompts = entry.get("prompts")
    if prompts is None:
        return
    if not isinstance(prompts, dict) or not set(prompts) <= set(FAMILIES):
        raise ValueError(f"prompts: expected lists by family ({', '.join(FAMILIES)})")
    if not all(isinstance(p, list) and all(isinstance(phrase, str) for phrase in p) for p in prompts.values()):
        raise ValueError("prompts: expected lists of phrases")


def _check_paths(entry: dict, folder: Path) -> None:
    """ValueError where a file is not there or outside of the catalogue, or an object is neither mesh nor procedural."""
    for key in sorted(PATHS & set(entry)):
        path = entry[key]
        if not isinstance(path, str) or not path:
            raise ValueError(f"{key} {path!r}: expected a relative path")
        whole = (folder / path).resolve()
        if Path(path).is_absolute() or not whole.is_relative_to(folder.resolve().parent):
            raise ValueError(f"{key} {path}: expected a relative path inside or beside {folder}; copy the file there")
        if not whole.is_file():
            raise ValueError(f"{key} {path}: no such file; put it there or leave the object out")
    if entry.get("mesh") is None and entry.get("prompts") is None:
        from training.objects.procedural.kinds import KINDS

        if entry["category"] not in KINDS or "seed" not in entry:
            raise ValueError(
                "has no mesh, no prompts, and is none of the procedural categories with a seed; name its mesh"
            )


def _are_numbers(values: object) -> bool:
    return isinstance(values, list | tuple) and all(
        isinstance(value, int | float) and math.isfinite(value) for value in values
    )


@cache
def open_catalogue(name: str) -> Catalogue:
    """The procedural catalogue, or that of a folder; read once by each process."""
    return Catalogue.procedural() if name == PROCEDURAL else Catalogue.load(Path(name))


def matches(spec: ObjectSpec, phrase: str) -> bool:
    """Does the phrase truthfully describe the object? Knows every phrase of the vocabulary, training or held out."""
    return normal(phrase) in describe_object(spec).accepted


def catalogue_name(scenes: Path) -> str:
    """The name of the catalogue that a folder of scenes was made of: the procedural one where it does not say."""
    return read_recipe(scenes).get("catalogue", PROCEDURAL) if (scenes / RECIPE_FILE).exists() else PROCEDURAL


def catalogue_of(scenes: Path) -> Catalogue:
    """That catalogue. InputError where it is not here."""
    return open_catalogue(catalogue_name(scenes))
