# SPDX-License-Identifier: Apache-2.0
"""Readers of point clouds and meshes by open3d, like those of `base.reading`: regular files, of bounded size."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dropclip_ros.base.reading import Unreadable, read_bytes

if TYPE_CHECKING:
    import open3d as o3d

LARGEST = 1 << 30  # bytes
CLOUDS, MESHES = (".ply", ".pcd"), (".stl", ".ply", ".obj")
_COUNTS = re.compile(rb"^(?:element\s+\S+|POINTS|WIDTH|HEIGHT|obj_info num_\w+)\s+(\S+)", re.MULTILINE)


def read_cloud(path: str | Path) -> o3d.geometry.PointCloud:
    """Points of a PLY or PCD file, with those that are not finite; none where it holds none. Raises OSError."""
    from dropclip_ros.base.light_open3d import o3d  # slow to import

    _check(path, CLOUDS)
    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
        return o3d.io.read_point_cloud(Path(path), remove_nan_points=False, remove_infinite_points=False)


def read_surface(path: str | Path) -> o3d.geometry.TriangleMesh:
    """Triangles of an STL, PLY or OBJ file; none where it holds none. Raises OSError.

    It is read alone, from a folder of its own: materials and textures that it names are not looked for.
    """
    import open3d as o3d

    path, data = Path(path), _check(path, MESHES)
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / f"mesh{path.suffix.lower()}"
        alone.write_bytes(data)
        with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
            return o3d.io.read_triangle_mesh(alone)


def _check(path: str | Path, suffixes: tuple[str, ...]) -> bytes:
    """The file's bytes. Unreadable where its header says that more follows than the file holds: it would be made room
    for, and the process may end."""
    if Path(path).suffix.lower() not in suffixes:
        raise Unreadable(f"expected one of {', '.join(suffixes)}", path)
    data = read_bytes(path, LARGEST)
    for count in _COUNTS.findall(data[:65536]):
        if not count.isdigit() or int(count) > len(data):
            raise Unreadable(f"it says that it holds {count[:20].decode('ascii', 'replace')!r} of what it lists", path)
    return data
