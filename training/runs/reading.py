# SPDX-License-Identifier: Apache-2.0
"""Readers of what only training knows, like those of `dropclip_ros.base.reading`: HDF5, meshes, tar files.

Names inside a file never lead out of its folder, nor into another file.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from dropclip_ros.base.reading import ARRAYS, Unreadable, decode_image, library, opened, read_bytes, read_text, readable

if TYPE_CHECKING:
    from trimesh import Trimesh

MESH = 1 << 30  # bytes of a mesh, and of each file that it names


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file; lines that are none are passed over: a killed run leaves half a line.

    None where there is no file. Raises OSError.
    """
    found = []
    for line in read_text(path, ARRAYS, "replace").splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            found.append(row)
    return found


def mapped_array(path: Path) -> np.ndarray:
    """The array of a .npy file that is too large for memory, read where it is looked at. Raises OSError."""
    with library(".npy", readable(path)):
        return np.load(path, mmap_mode="r", allow_pickle=False)


def read_h5(data: bytes, path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Datasets of an HDF5 file's bytes by their path in it, and its own attributes. Unreadable; `path`: its name.

    Links are not followed, and nothing is read from other files.
    """
    import h5py

    found: dict[str, np.ndarray] = {}
    size = 0

    def keep(name: str, node: Any) -> None:
        nonlocal size
        if isinstance(node, h5py.Dataset):
            if node.is_virtual or node.external:
                raise Unreadable(f"{name} lies in another file", path)
            size += node.nbytes
            if size > ARRAYS:
                raise Unreadable(f"it would unpack to over {ARRAYS} bytes", path)
            found[name] = node[()]

    with library("HDF5 file", path), h5py.File(io.BytesIO(data), "r") as file:
        file.visititems(keep)
        return found, dict(file.attrs)


def tar_members(path: Path) -> Iterator[tuple[str, int, int]]:
    """Name, offset and bytes of each file in a tar. Unreadable where it is none, or a name leads out of its folder."""
    with opened(path) as file, library("tar file", path), tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            if member.isfile():
                check_inside(member.name, path)
                yield member.name, member.offset_data, member.size


def check_inside(name: str, path: str | Path) -> None:
    """Unreadable where a name in a file is no plain path below the folder that it is unpacked to."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or not name.isprintable():
        raise Unreadable(f"it names {name[:80]!r}, expected names below its own folder", path)


def read_trimesh(path: Path, materials: bool = True) -> Trimesh:
    """A mesh file, all its parts in one. What it names is read from its own folder alone. Raises OSError."""
    import trimesh

    class Beside(trimesh.resolvers.Resolver):
        """Files that a mesh names; trimesh passes over what cannot be read, so it is kept here."""

        def __init__(self) -> None:
            self.refused: list[OSError] = []

        def get(self, name: str) -> bytes:
            name = name.strip().replace("\\", "/").removeprefix("./")
            try:
                check_inside(name, path)
                data = read_bytes(path.parent / name, MESH)
                if Path(name).suffix.lower() not in (".mtl", ".bin"):
                    check_colours(decode_image(data, path.parent / name).mode, name)
                return data
            except FileNotFoundError:
                raise
            except OSError as error:
                self.refused.append(Unreadable(f"{name}: {error.strerror}", path))
                raise

        def keys(self) -> list[str]:
            return []

        def namespaced(self, namespace: str) -> Beside:
            return self

        def write(self, name: str, data: bytes) -> None:
            raise OSError("nothing is written")

    beside, data = Beside(), read_bytes(path, MESH)
    with library("mesh", path):
        kind = path.suffix.lower().removeprefix(".")
        scene = trimesh.load_scene(io.BytesIO(data), kind, resolver=beside, process=False, skip_materials=not materials)
        if beside.refused:
            raise beside.refused[0]
        return scene.to_mesh()


def check_colours(mode: str, path: str | Path) -> None:
    """Unreadable where pixels have more than 8 bits a channel: Pillow would clip them to white."""
    if mode[:1] in ("I", "F"):
        raise Unreadable("it has more than 8 bits a channel, expected a texture of 8", path)
