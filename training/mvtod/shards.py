# SPDX-License-Identifier: Apache-2.0
"""Scenes in WebDataset shards, and `load_scenes`, which reads scenes from wherever they are.

A shard is a tar of scene folders. Every view is a sample of WebDataset's (`scene_00000/view_00` with rgb.jpg,
depth.png, mask.png and json: K, world_from_camera); scene.json comes last, so that a scene that has it is whole.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from training.mvtod.errors import MvtodError
from training.mvtod.scenes import SCENE_FILE, Folder, Scene

MANIFEST = "shards.json"


@dataclass(frozen=True)
class Shard:
    """A tar file, read at random: `index` says where each member lies, (offset, bytes)."""

    path: Path
    index: dict[str, tuple[int, int]] = field(compare=False, repr=False)

    @classmethod
    def open(cls, path: Path) -> Shard:
        """Finds the members; of a tar that is cut short those before the cut. Raises MvtodError where it is none."""
        index: dict[str, tuple[int, int]] = {}
        size = path.stat().st_size
        try:
            with tarfile.open(path, "r:") as tar:
                for member in tar:
                    if member.isfile() and member.offset_data + member.size <= size:
                        index[member.name] = member.offset_data, member.size
        except tarfile.TarError as error:
            if not index:
                raise MvtodError(f"{path} is not a tar file ({error}); fetch or pack it again") from error
        return cls(path, index)

    def read(self, name: str) -> bytes:
        offset, size = self.index[name]
        with self.path.open("rb") as file:  # anew: readers in other processes share nothing
            file.seek(offset)
            return file.read(size)

    def scenes(self) -> Iterator[Scene]:
        """The scenes that are whole."""
        for name in self.index:
            if name.endswith(f"/{SCENE_FILE}"):
                yield Scene(self, name.rpartition("/")[0])

    def __str__(self) -> str:
        return str(self.path)


def load_scenes(root: Path, skip_broken: bool = False) -> list[Scene]:
    """All whole scenes below `root`, folders and those of shards, in order of name.

    A shard that is no tar, or a scene whose tables cannot be read, raises MvtodError; with skip_broken it is left out,
    with a warning that names it.
    """
    source = Folder(root)
    scenes = [Scene(source, path.parent.name) for path in sorted(root.glob(f"scene_?????/{SCENE_FILE}"))]
    complaints = []
    for path in sorted(root.glob("*.tar")):
        try:
            scenes += Shard.open(path).scenes()
        except MvtodError as error:
            complaints.append(str(error))
    if skip_broken:
        scenes = [scene for scene in scenes if not _complaint(scene, complaints)]
    if complaints and not skip_broken:
        raise MvtodError(complaints[0])
    for complaint in complaints:
        warnings.warn(f"left out: {complaint}", stacklevel=2)
    if not scenes:
        raise MvtodError(f"{root}: no scenes there; make some with `dropclip-mvtod generate --out {root}`")
    return scenes


def _complaint(scene: Scene, complaints: list[str]) -> bool:
    try:
        scene.coco  # noqa: B018 (it reads)
    except MvtodError as error:
        complaints.append(str(error))
        return True
    return False


def pack(scenes: Path, out: Path, per_shard: int = 20) -> None:
    """Packs scenes into shards, and lists them with their SHA-256 in shards.json. Shards that are there are kept."""
    if per_shard < 1:
        raise MvtodError(f"per_shard {per_shard}: expected at least 1")
    whole = load_scenes(scenes)
    out.mkdir(parents=True, exist_ok=True)
    manifest = []
    for start in tqdm(range(0, len(whole), per_shard), desc="shards", unit="shard"):
        members = whole[start : start + per_shard]
        path = out / f"shard_{start // per_shard:05d}.tar"
        if path.exists():
            found = [scene.name for scene in Shard.open(path).scenes()]
            if found != [scene.name for scene in members]:
                raise MvtodError(f"{path} holds other scenes ({', '.join(found[:3])} ...); choose another folder")
        else:
            part = path.with_suffix(".part")
            with tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
                for scene in members:
                    _add_scene(tar, scene)
            part.rename(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        names = [scene.name for scene in members]
        manifest.append({"file": path.name, "bytes": path.stat().st_size, "sha256": digest, "scenes": names})
    part = out / f"{MANIFEST}.part"
    part.write_text(json.dumps(manifest, indent=1))
    part.rename(out / MANIFEST)


def _add_scene(tar: tarfile.TarFile, scene: Scene) -> None:
    for image in scene.coco["images"]:
        files = [image[key] for key in ("file_name", "depth_file", "mask_file")]
        for file in files:
            _add(tar, f"{scene.name}/{file}", scene.source.read(f"{scene.name}/{file}"))
        _add(tar, f"{scene.name}/{files[0].partition('.')[0]}.json", json.dumps(image).encode())
    _add(tar, f"{scene.name}/{SCENE_FILE}", scene.source.read(f"{scene.name}/{SCENE_FILE}"))


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """With neither times nor owners: the same bytes each time."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
