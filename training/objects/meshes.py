# SPDX-License-Identifier: Apache-2.0
"""Meshes from files: read, checked, and made into models with collision shapes and weight.

Readable: whatever trimesh reads (OBJ with MTL, GLB, PLY, STL) and npz with v (V,3), uv (V,2) and f (F,3) beside a
texture. Every fault is a InputError that names the file.
"""

from __future__ import annotations

import hashlib
import warnings
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.spatial import ConvexHull, QhullError

from dropclip_ros.base.files import write_beside
from dropclip_ros.base.reading import PIXELS, Unreadable, read_arrays, read_image, read_text
from training.objects.decompose import METHOD, decompose
from training.objects.materials import mass_of, material_of
from training.objects.spec import ObjectModel, ObjectSpec
from training.objects.words.wording import describe_object
from training.runs.errors import InputError
from training.runs.reading import check_colours, read_trimesh

SUFFIXES = (".npz", ".obj", ".glb", ".gltf", ".ply", ".stl")
SMALLEST, LARGEST = 0.004, 1.5  # m: the longest side of a thing for a table
FLAT = 1e-9  # m3 of the convex hull
TEXTURE_SIZE = 1024  # px; larger ones are made smaller


class Mesh(NamedTuple):
    """vertices (V,3) float32 in the file's units; faces (F,3) int32; uv (V,2) float32, v up; texture (H,W,3) uint8."""

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    texture: np.ndarray


def read_mesh(path: Path, texture: Path | None = None) -> Mesh:
    """A mesh and its texture: `texture` where given, else what the mesh file says, else plain gray.

    Raises InputError: unreadable, without faces, with coordinates that are not numbers, or a missing texture.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such mesh; correct the catalogue or leave the object out")
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: expected a mesh file ({', '.join(SUFFIXES)})")
    image = None if texture is None else read_texture(texture)
    try:
        mesh = _read_npz(path, image) if path.suffix.lower() == ".npz" else _read_trimesh(path, image)
    except InputError:
        raise
    except Exception as error:  # the readers raise whatever they meet in a broken file
        raise InputError(f"{path}: cannot be read as a mesh ({type(error).__name__}: {error})") from error
    if not len(mesh.faces) or not len(mesh.vertices):
        raise InputError(f"{path}: has no faces; a point cloud or an empty file?")
    if not np.isfinite(mesh.vertices).all() or not np.isfinite(mesh.uv).all():
        raise InputError(f"{path}: has coordinates that are not finite numbers; mend the mesh")
    return mesh


def read_texture(path: Path) -> np.ndarray:
    """(H,W,3) uint8."""
    try:
        return _pixels(read_image(path), path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such texture; put the image there or leave the object out") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read as an image ({error}); put a PNG or JPEG there") from error


def write_mesh(folder: Path, mesh: Mesh) -> None:
    """mesh.npz and texture.png, as `read_mesh` reads them."""
    np.savez_compressed(folder / "mesh.npz", v=mesh.vertices, uv=mesh.uv, f=mesh.faces)
    Image.fromarray(mesh.texture).save(folder / "texture.png")


def _pixels(image: Image.Image, path: Path) -> np.ndarray:
    check_colours(image.mode, path)
    if image.width * image.height > PIXELS:  # of textures that lie in the mesh file itself
        raise Unreadable(f"its texture is {image.width}x{image.height}, expected at most {PIXELS} pixels", path)
    image = image.convert("RGB")
    image.thumbnail((TEXTURE_SIZE, TEXTURE_SIZE))
    return np.asarray(image).copy()


def _read_npz(path: Path, image: np.ndarray | None) -> Mesh:
    try:
        arrays = read_arrays(path)
        v, f, uv = arrays["v"], arrays["f"], arrays.get("uv", np.zeros((len(arrays["v"]), 2)))
    except (KeyError, TypeError, OSError) as error:
        raise InputError(f"{path}: expected an npz with arrays v (V,3), f (F,3) and uv (V,2): {error}") from error
    if v.ndim != 2 or v.shape[1] != 3 or f.ndim != 2 or f.shape[1] != 3 or uv.shape != (len(v), 2):
        raise InputError(f"{path}: v {v.shape}, f {f.shape}, uv {uv.shape}: expected (V,3), (F,3), (V,2)")
    if f.dtype.kind not in "iu" or v.dtype.kind not in "fiu" or uv.dtype.kind not in "fiu":
        raise InputError(f"{path}: v {v.dtype}, f {f.dtype}, uv {uv.dtype}: expected numbers, and whole ones in f")
    return Mesh(v.astype(np.float32), _faces(path, f, len(v)), uv.astype(np.float32), _or_gray(image))


def _faces(path: Path, faces: np.ndarray, count: int) -> np.ndarray:
    """int32, checked before the narrower type makes other numbers of them."""
    if faces.size and not 0 <= int(faces.min()) <= int(faces.max()) < min(count, 2**31):
        raise InputError(f"{path}: a face names a vertex that does not exist; mend the mesh")
    return faces.astype(np.int32)


def _or_gray(image: np.ndarray | None) -> np.ndarray:
    return np.full((4, 4, 3), 160, np.uint8) if image is None else image


def _read_trimesh(path: Path, image: np.ndarray | None) -> Mesh:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mesh = read_trimesh(path, materials=image is None)
        missing = None if image is not None else _missing_texture(path)
        if missing is not None:
            raise InputError(f"{path}: its texture {missing} is missing; put the image there or leave the object out")
        visual = mesh.visual if mesh.visual.kind == "texture" else mesh.visual.to_texture()
    uv = getattr(visual, "uv", None)
    if image is None:
        found = getattr(visual.material, "image", None) or getattr(visual.material, "baseColorTexture", None)
        if found is not None and uv is not None:
            image = _pixels(found, path)
        else:
            color = np.asarray(visual.material.main_color)[:3]
            image = np.tile(color.astype(np.uint8), (4, 4, 1))
    if uv is None or len(uv) != len(mesh.vertices):
        uv = np.zeros((len(mesh.vertices), 2))
    return Mesh(mesh.vertices.astype(np.float32), _faces(path, mesh.faces, len(mesh.vertices)), np.float32(uv), image)


def _missing_texture(path: Path) -> Path | None:
    """The first image that the materials of an OBJ name and that is not there; trimesh passes over it."""
    if path.suffix.lower() != ".obj":
        return None
    libraries = [line.split(maxsplit=1)[1].strip() for line in _lines(path) if line.startswith("mtllib ")]
    for library in libraries:  # `read_trimesh` has refused those that lead out of the folder
        for line in _lines(path.parent / library) if (path.parent / library).is_file() else ():
            if line.strip().lower().startswith("map_kd ") and len(words := line.split()) > 1:
                image = path.parent / words[-1].replace("\\", "/")
                if not image.is_file():
                    return image
    return None


def _lines(path: Path) -> list[str]:
    return read_text(path, errors="replace").splitlines()


def model_frame(vertices: np.ndarray, spec: ObjectSpec) -> np.ndarray:
    """model_from_file 4x4 of vertices (V,3) that are in metres already: `spec.up` becomes z, the middle the origin."""
    up = np.asarray(spec.up, float) / np.linalg.norm(spec.up)
    pose, half = np.eye(4), np.diag((1.0, -1.0, -1.0)) if up[2] < 0 else np.eye(3)
    up = half @ up  # what points down is first turned by half
    x, y, _ = up
    skew = np.array([(0, 0, -x), (0, 0, -y), (x, y, 0)])
    pose[:3, :3] = (np.eye(3) + skew + skew @ skew / (1 + up[2])) @ half  # then the shortest turn from up to z
    turned = vertices @ pose[:3, :3].T
    pose[:3, 3] = -(turned.min(axis=0) + turned.max(axis=0)) / 2
    return pose


def build_mesh(spec: ObjectSpec, root: Path) -> ObjectModel:
    """The model of a spec that names a mesh. Collision shapes are made once and kept in `root`/hulls.

    Raises InputError, besides what `read_mesh` raises, where the mesh is flat or its size fits no table.
    """
    path = root / spec.mesh
    mesh = read_mesh(path, None if spec.texture is None else root / spec.texture)
    metres = mesh.vertices * np.float32(spec.scale)
    size = float(np.ptp(metres, axis=0).max())
    if not SMALLEST <= size <= LARGEST:
        unit = " in millimetres? set scale 0.001" if 1000 * SMALLEST <= size <= 1000 * LARGEST else " set its scale"
        raise InputError(
            f"{path}: {spec.name} is {size:.4g} m long, expected {SMALLEST} to {LARGEST} m;{unit} in the catalogue"
        )
    pose = model_frame(metres, spec)
    vertices = (metres @ pose[:3, :3].T + pose[:3, 3]).astype(np.float32)
    try:
        solid = ConvexHull(vertices).volume > FLAT
    except QhullError:
        solid = False
    if not solid:
        raise InputError(f"{path}: {spec.name} encloses no volume; a single flat face? leave it out")
    hulls = cached_parts(vertices, mesh.faces, root / "hulls" / f"{spec.name}.npz")
    volume = sum(ConvexHull(hull).volume for hull in hulls)
    mass = mass_of(spec.category, spec.attributes, volume) if spec.mass is None else spec.mass
    material, said = material_of(spec.attributes), describe_object(spec)
    return ObjectModel(
        *spec.identity,
        vertices,
        mesh.faces,
        mesh.uv,
        mesh.texture,
        material.specular,
        material.shininess,
        mass,
        mass / volume,
        material.friction,
        hulls,
        said.training,
        said.heldout,
        pose,
    )


def cached_parts(vertices: np.ndarray, faces: np.ndarray, cache: Path) -> list[np.ndarray]:
    """`decompose`, kept in a file that names the mesh by its content; not kept where the folder cannot be written."""
    content = hashlib.sha256(METHOD.encode() + vertices.tobytes() + faces.tobytes()).hexdigest()
    try:
        kept = read_arrays(cache)
        if str(kept["content"]) == content:
            return np.split(kept["points"], kept["cuts"])
    except (OSError, KeyError, ValueError, TypeError):
        pass  # none yet, or broken: made anew
    parts = decompose(vertices, faces)
    cuts = np.cumsum([len(part) for part in parts])[:-1]
    with suppress(OSError), write_beside(cache) as part, part.open("wb") as file:
        np.savez_compressed(file, points=np.concatenate(parts), cuts=cuts, content=content)
    return parts
