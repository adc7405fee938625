# SPDX-License-Identifier: Apache-2.0
"""Objects in the folder layouts that data sets of meshes come in, with what their metadata say.

Only names and metadata are read here, no mesh. Every reader yields an `Entry` an object, or a sentence about what it
left out.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dropclip_ros.base.reading import read_text
from training.runs.errors import InputError

MESHES = (".obj", ".glb", ".gltf", ".ply", ".stl", ".npz")
YCB_SCANS = ("google_16k", "google_64k", "google_512k", "poisson", "tsdf")
GRAVITY = 9.81


@dataclass(frozen=True)
class Entry:
    """An object in a layout: absolute paths; scale: m per unit, None: so that its longest side is `longest` m.

    key: the data set's own identifier, by which grasp files name it.
    """

    name: str
    category: str
    mesh: Path
    texture: Path | None = None
    scale: float | None = 1.0
    longest: float | None = None
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)
    mass: float | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    key: str = ""


def plain(words: str) -> str:
    """'FoodItem' and 'food_item-2' in plain words: 'food item', 'food item 2'."""
    words = re.sub(r"([a-z])([A-Z])", r"\1 \2", words)
    return re.sub(r"[\s_\-]+", " ", words).strip().lower()


def read_ycb(source: Path) -> Iterator[Entry | str]:
    """YCB: 003_cracker_box/google_16k/textured.obj; of several scans the first of YCB_SCANS. Metres, z up."""
    for folder in _folders(source):
        scans = [folder / scan / "textured.obj" for scan in YCB_SCANS]
        mesh = next((scan for scan in scans if scan.is_file()), None)
        if mesh is None:
            yield f"{folder}: no textured.obj in any of {', '.join(YCB_SCANS)}; download one of them"
            continue
        texture = next(iter(sorted(mesh.parent.glob("texture_map.*"))), None)
        category = plain(re.sub(r"^\d+(-[a-z])?_", "", folder.name))
        yield Entry(folder.name, category, mesh, texture, key=folder.name)


def read_gso(source: Path) -> Iterator[Entry | str]:
    """Google Scanned Objects: NAME/meshes/model.obj, materials/textures/texture.png, metadata.pbtxt, model.config.

    Metres, z up. Most have no category of their own: their title serves until an annotation says better.
    """
    for folder in _folders(source):
        mesh, texture = folder / "meshes/model.obj", folder / "materials/textures/texture.png"
        if not mesh.is_file():
            yield f"{folder}: no meshes/model.obj; download the object again"
            continue
        title = re.search(r"<name>\s*([^<]+?)\s*</name>", _text(folder / "model.config"))
        said = _text(folder / "metadata.pbtxt")
        first = re.search(r'categories\s*\{[^}]*?first:\s*"([^"]+)"', said)
        name = plain(title[1] if title else folder.name)
        category = plain(first[1]) if first else name
        yield Entry(folder.name, category, mesh, texture, attributes={"title": name}, key=folder.name)


def read_shapenet(source: Path) -> Iterator[Entry | str]:
    """ShapeNet-Sem: models/ID.obj and metadata.csv (fullId, category, up, unit in m, aligned.dims in cm, weight in N,
    name). Where the unit is missing, the dimensions give the scale."""
    for row in _table(source / "metadata.csv"):
        key = (row.get("fullId") or "").split(".")[-1]
        mesh = source / "models" / f"{key}.obj"
        kinds = [kind for kind in (row.get("category") or "").split(",") if kind and not kind.startswith("_")]
        if not key or not mesh.is_file():
            continue  # the table lists all of ShapeNet-Sem; folders often hold a part of it
        if not kinds:
            yield f"{mesh}: metadata.csv gives it no category; add one or leave the object out"
            continue
        unit, dims, up = _numbers(row.get("unit")), _numbers(row.get("aligned.dims")), _numbers(row.get("up"))
        if not unit and not dims:
            yield f"{mesh}: metadata.csv gives neither unit nor aligned.dims; add one or leave the object out"
            continue
        weight, title = _numbers(row.get("weight")), plain(row.get("name") or "")
        attributes = {"class": plain(kinds[1])} if len(kinds) > 1 else {}
        yield Entry(
            f"{kinds[0]}_{key}",
            plain(kinds[0]),
            mesh,
            scale=unit[0] if unit else None,
            longest=max(dims) / 100 if dims else None,
            up=tuple(up) if len(up) == 3 and any(up) else (0.0, 0.0, 1.0),
            mass=weight[0] / GRAVITY if weight else None,
            attributes=attributes | ({"title": title} if title else {}),
            key=key,
        )


def read_table(source: Path) -> Iterator[Entry | str]:
    """A folder with objects.csv (path, name, category) whose paths hold mesh.npz and texture.jpg or .png. Metres."""
    for row in _table(source / "objects.csv"):
        folder = source / (row.get("path") or "")
        if not row.get("path") or not (folder / "mesh.npz").is_file():
            yield f"{folder}: no mesh.npz, though objects.csv names it; put it there or take the line out"
            continue
        if not (row.get("category") or "").strip():
            yield f"{folder}: objects.csv gives it no category; add one"
            continue
        texture = next((folder / name for name in ("texture.jpg", "texture.png") if (folder / name).is_file()), None)
        attributes = {"title": plain(row["name"])} if row.get("name") else {}
        name = row["path"].strip("/").replace("/", "_")
        yield Entry(name, plain(row["category"]), folder / "mesh.npz", texture, attributes=attributes, key=folder.name)


def read_folder(source: Path) -> Iterator[Entry | str]:
    """Any meshes: CATEGORY/NAME.glb or CATEGORY/NAME/any.obj, or NAME.obj at the top (its words are the category).
    Of several meshes in one NAME folder the first is taken. Metres, z up; but glTF has y up."""
    for top in sorted(source.iterdir()):
        if top.is_dir():
            found = {}
            for mesh in sorted(path for path in top.rglob("*") if path.suffix.lower() in MESHES):
                own = mesh.parent if mesh.parent != top else mesh.with_suffix("")
                found.setdefault(own, mesh)
            if not found:
                yield f"{top}: a category without any mesh ({', '.join(MESHES)}); fill or remove the folder"
            for own, mesh in found.items():
                name = "_".join(own.relative_to(source).parts)
                yield _loose(name, plain(top.name), mesh)
        elif top.suffix.lower() in MESHES:
            yield _loose(top.stem, plain(re.sub(r"[\d_\-]+$|^[\d_\-]+", "", top.stem)) or top.stem, top)


def _loose(name: str, category: str, mesh: Path) -> Entry:
    up = (0.0, 1.0, 0.0) if mesh.suffix.lower() in (".glb", ".gltf") else (0.0, 0.0, 1.0)
    texture = None
    if mesh.suffix.lower() == ".npz":
        texture = next((path for path in sorted(mesh.parent.glob("texture.*"))), None)
    return Entry(name, category, mesh, texture, up=up, key=mesh.stem)


LAYOUTS: dict[str, Callable[[Path], Iterator[Entry | str]]] = {
    "shapenet": read_shapenet,
    "table": read_table,
    "gso": read_gso,
    "ycb": read_ycb,
    "folder": read_folder,
}


def detect(source: Path) -> str:
    """Which of LAYOUTS a folder has."""
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; give the folder that holds the meshes")
    if (source / "metadata.csv").is_file() and (source / "models").is_dir():
        return "shapenet"
    if (source / "objects.csv").is_file():
        return "table"
    if any(source.glob("*/meshes/model.obj")):
        return "gso"
    if any(any(source.glob(f"*/{scan}")) for scan in YCB_SCANS):
        return "ycb"
    return "folder"


def _folders(source: Path) -> list[Path]:
    return sorted(path for path in source.iterdir() if path.is_dir())


def _text(path: Path) -> str:
    return read_text(path, errors="replace") if path.is_file() else ""


def _table(path: Path) -> list[dict[str, str]]:
    """Rows by column; ShapeNet escapes commas inside a field with a backslash."""
    try:
        return list(csv.DictReader(io.StringIO(read_text(path), newline=""), escapechar="\\"))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table ({error}); download it again") from error


def _numbers(said: str | None) -> list[float]:
    try:
        return [float(part) for part in re.split(r"[,\s]+", (said or "").strip()) if part]
    except ValueError:
        return []
