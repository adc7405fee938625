# SPDX-License-Identifier: Apache-2.0
"""Scenes in WebDataset shards, and `load_scenes`, which reads scenes from wherever they are.

A shard is a tar of scene folders. Every view is a sample of WebDataset's (`scene_00000/view_00` with rgb.jpg,
depth.png, mask.png and json: K, world_from_camera); scene.json comes last, so that a scene that has it is whole.
Beside it lies an index (shard_00000.json: bytes, SHA-256, and where each member is); without one the tar is searched,
which takes a second or two.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tqdm import tqdm

from dropclip_ros.base.reading import MODEL, opened, read_bytes, read_json
from training.runs.errors import InputError
from training.runs.files import write_atomically
from training.runs.reading import check_inside, tar_members
from training.scenes.scene import FILES, SCENE_FILE, Folder, Scene


@dataclass(frozen=True)
class Shard:
    """A tar file, read at random. stamp: when it was written, ns, so that another one there is another shard."""

    path: Path
    stamp: int

    @classmethod
    def open(cls, path: Path) -> Shard:
        """Raises InputError where it is no tar."""
        shard = cls(path, path.stat().st_mtime_ns)
        _members(shard)
        return shard

    def read(self, name: str) -> bytes:
        offset, size = _members(self).places[name]
        with opened(self.path) as file:  # anew: readers in other processes share nothing
            file.seek(offset)
            return file.read(size)

    def files(self, scene: str) -> list[str]:
        start = f"{scene}/"
        return [name.removeprefix(start) for name in _members(self).places if name.startswith(start)]

    def scenes(self) -> list[Scene]:
        """The scenes that are whole."""
        end = f"/{SCENE_FILE}"
        return [Scene(self, name.removesuffix(end)) for name in _members(self).places if name.endswith(end)]

    @property
    def cut_short(self) -> bool:
        """Has it lost its end?"""
        return _members(self).cut_short

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class _Members:
    places: dict[str, tuple[int, int]]  # of members that are whole: offset, bytes
    cut_short: bool


@lru_cache(maxsize=64)  # 1.5 MB each, for 20 scenes of 73 views
def _members(shard: Shard) -> _Members:
    size = shard.path.stat().st_size
    try:
        table = read_json(index_of(shard.path))
        if size <= table["bytes"]:
            whole = {name: (int(at), int(n)) for name, (at, n) in table["members"].items() if 0 <= at <= at + n <= size}
            for name in whole:
                _check_name(name, index_of(shard.path))
            return _Members(whole, size < table["bytes"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # no index, or not ours
    places: dict[str, tuple[int, int]] = {}
    try:
        for name, offset, length in tar_members(shard.path):
            _check_name(name, shard.path)
            if offset + length <= size:
                places[name] = offset, length
    except OSError as error:
        if not places:
            raise InputError(f"{shard.path} is not a tar file ({error}); fetch or pack it again") from error
    with opened(shard.path) as file:
        file.seek(max(0, size - 1024))
        return _Members(places, any(file.read()))  # a tar ends with two blocks of zeros


def _check_name(name: str, path: Path) -> None:
    """Names in a shard are SCENE/FILE, and become names of folders elsewhere. Raises InputError."""
    try:
        check_inside(name, path)
    except OSError as error:
        raise InputError(f"{path}: {error}; it is no shard of dropclip-mvtod: leave it out") from error


def index_of(shard: Path) -> Path:
    """Where its index is."""
    return shard.with_suffix(".json")


def load_scenes(root: Path, skip_broken: bool = False) -> list[Scene]:
    """All whole scenes below `root`, folders and those of shards, in order of name.

    A shard that is no tar, or that lost its end, raises InputError. With skip_broken it is named in a warning, and what
    is whole of it is read; so it is with scenes whose tables cannot be read (without it, they raise when asked).
    """
    source, complaints = Folder(root), []
    scenes = {path.parent.name: Scene(source, path.parent.name) for path in root.glob(f"scene_?????/{SCENE_FILE}")}
    for path in sorted(root.glob("*.tar")):
        try:
            shard = Shard.open(path)
            found = shard.scenes()
            if shard.cut_short:
                complaints.append(
                    f"the end of {path}: it is cut short, {len(found)} scenes before that are whole; "
                    "fetch or pack it again"
                )
            scenes |= {scene.name: scene for scene in found if scene.name not in scenes}
        except InputError as error:
            complaints.append(str(error))
    if complaints and not skip_broken:
        raise InputError(complaints[0])
    whole = sorted(scenes.values(), key=lambda scene: scene.name)
    if skip_broken:
        whole = [scene for scene in whole if not _complaint(scene, complaints)]
    for complaint in complaints:
        warnings.warn(f"left out: {complaint}", stacklevel=2)
    if not whole:
        raise InputError(f"{root}: no scenes there; make some with `dropclip-mvtod generate --out {root}`")
    return whole


def _complaint(scene: Scene, complaints: list[str]) -> bool:
    try:
        scene.coco  # noqa: B018 (it reads)
    except InputError as error:
        complaints.append(str(error))
        return True
    return False


def pack(scenes: Path, out: Path, per_shard: int = 20, skip_broken: bool = False) -> None:
    """Packs scenes, with all files in their folders, into shards; each is read back before it counts as written.

    Shards that are there, whole and with the same scenes are kept, so that it goes on where it was stopped, and a last
    shard grows. Raises InputError where a shard holds other scenes, or a scene lacks files that its tables name; with
    skip_broken, such a scene is left out, with a warning.
    """
    if per_shard < 1:
        raise InputError(f"per_shard {per_shard}: expected at least 1")
    whole = []
    for scene in load_scenes(scenes, skip_broken):
        named = {image[key] for image in scene.coco["images"] for key in FILES}
        if missing := named - set(scene.source.files(scene.name)):
            complaint = f"{scene.source}: {scene.name}/{min(missing)} is missing; generate the scene again"
            if not skip_broken:
                raise InputError(complaint)
            warnings.warn(f"left out: {complaint}", stacklevel=2)
        else:
            whole.append(scene)
    for start in tqdm(range(0, len(whole), per_shard), desc="shards", unit="shard"):
        members = whole[start : start + per_shard]
        path = out / f"shard_{start // per_shard:05d}.tar"
        if path.exists() and _holds(path, [scene.name for scene in members]):
            continue
        with write_atomically(path, replace=True) as part:
            index = _write_shard(part, members)
        with write_atomically(index_of(path), replace=True) as part:
            part.write_text(json.dumps(index))


def _holds(path: Path, names: list[str]) -> bool:
    """Is it the shard of these scenes, whole? Raises InputError where it is one of others."""
    try:
        found = [scene.name for scene in Shard.open(path).scenes()]
    except InputError:
        return False  # damaged
    if found != names[: len(found)]:
        raise InputError(f"{path} holds other scenes ({', '.join(found[:3])} ...); choose another folder")
    try:
        return found == names and read_json(index_of(path))["sha256"] == _sha256(path)
    except (OSError, KeyError, TypeError):
        return False


def _write_shard(path: Path, scenes: list[Scene]) -> dict:
    """Writes a tar, reads it back, and returns its index."""
    places, sums = {}, {}
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in (file for scene in scenes for file in _files(scene)):
            member = tarfile.TarInfo(name)  # with neither times nor owners: the same bytes each time
            member.size = len(data)
            places[name], sums[name] = (tar.offset + tarfile.BLOCKSIZE, len(data)), zlib.crc32(data)
            tar.addfile(member, io.BytesIO(data))
    with path.open("rb") as file:
        for name, (offset, size) in places.items():
            file.seek(offset)
            if zlib.crc32(file.read(size)) != sums[name]:
                raise InputError(f"{path}: {name} reads back as something else than was written; check the disk")
    return {"bytes": path.stat().st_size, "sha256": _sha256(path), "members": places}


def _files(scene: Scene) -> Iterator[tuple[str, bytes]]:
    """Name in the shard and bytes of a scene's files: samples of views, what else there is, scene.json."""
    others = set(scene.source.files(scene.name)) - {SCENE_FILE}
    for image in scene.coco["images"]:
        names = [image[key] for key in FILES]
        for name in names:
            yield f"{scene.name}/{name}", scene.read(name)
        about = f"{names[0].partition('.')[0]}.json"
        yield f"{scene.name}/{about}", json.dumps(image).encode()
        others -= {*names, about}
    for name in (*sorted(others), SCENE_FILE):
        yield f"{scene.name}/{name}", scene.read(name)


def _sha256(path: Path) -> str:
    return hashlib.sha256(read_bytes(path, MODEL)).hexdigest()
