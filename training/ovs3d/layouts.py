# SPDX-License-Identifier: Apache-2.0
"""Posed images from where they lie: generated scenes, LLFF, nerfstudio, COLMAP's text files.

Our pixels have their middles at whole numbers, as ROS has them; those of the others, at halves. Our cameras are optical
frames: x right, y down, z forward.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.base.reading import read_array, read_image, read_json, read_text
from dropclip_ros.vision.geometry import Intrinsics, invert_pose
from training.ovs3d.views import PosedViews, gather, shrunk, shrunk_depth
from training.runs.errors import InputError
from training.runs.reading import check_colours
from training.scenes.scene import SCENE_FILE, Folder, Scene
from training.scenes.shards import load_scenes

OPTICAL_FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])  # its cameras look along -z, with y up; its own inverse
PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
MILLIMETRE = 1e-3  # nerfstudio's unit of depth images
DISTORTIONS = {  # COLMAP's camera models: which parameters are fx, fy, cx, cy, and which k1, k2, p1, p2, k3 .. k6
    "SIMPLE_PINHOLE": ((0, 0, 1, 2), ()),
    "PINHOLE": ((0, 1, 2, 3), ()),
    "SIMPLE_RADIAL": ((0, 0, 1, 2), (3, None, None, None)),
    "RADIAL": ((0, 0, 1, 2), (3, 4, None, None)),
    "OPENCV": ((0, 1, 2, 3), (4, 5, 6, 7)),
    "FULL_OPENCV": ((0, 1, 2, 3), tuple(range(4, 12))),
}


class Posed(NamedTuple):
    """An image that is still to be read: its camera at its full size, pose, and file of its depth."""

    file: Path
    camera: Intrinsics
    world_from_camera: np.ndarray
    depth: Path | None = None


def load_views(path: Path, width: int = 0, every: int = 1, hold_out: int = 8) -> PosedViews:
    """Views of the scene at `path`: every `every`-th, `width` pixels wide (0: as they are).
    hold_out: every so-manieth of these is held out, none with 0.

    path: a folder of dropclip-mvtod (scene.json; one packed in a shard beside counts as there), with poses_bounds.npy
    (LLFF), transforms.json (nerfstudio), or cameras.txt and images.txt (COLMAP; or in sparse/0 below it).
    Raises InputError where it is none of these or cannot be read.
    """
    if (path / SCENE_FILE).exists():
        return of_scene(Scene(Folder(path.parent), path.name), width, every, hold_out)
    if (path / "transforms.json").exists():
        return _read(of_nerfstudio(path), width, every, hold_out)
    if (path / "poses_bounds.npy").exists():
        images, reach = of_llff(path)
        return _read(images, width, every, hold_out, range=reach)
    for folder in (path, path / "sparse/0", path / "sparse", path / "colmap/sparse/0"):
        if (folder / "images.txt").exists():
            images, points = of_colmap(folder, path)
            return _read(images, width, every, hold_out, points=points)
        if (folder / "images.bin").exists():
            raise InputError(
                f"{folder} holds COLMAP's binary files; write text beside them: colmap model_converter "
                f"--input_path {folder} --output_path {folder} --output_type TXT"
            )
    if not path.exists() and path.parent.is_dir() and list(path.parent.glob("*.tar")):
        for scene in load_scenes(path.parent, skip_broken=True):
            if scene.name == path.name:
                return of_scene(scene, width, every, hold_out)
    raise InputError(
        f"{path}: no scene there; expected a folder with scene.json, transforms.json, poses_bounds.npy or "
        "COLMAP's cameras.txt and images.txt"
    )


def of_scene(scene: Scene, width: int = 0, every: int = 1, hold_out: int = 8) -> PosedViews:
    """Views of a generated scene, with depth; see `load_views`."""
    views = []
    for v in range(0, len(scene), every):
        view = scene.view(v)
        views.append(
            _view(f"{scene.name}/view_{v:02d}", view.rgb, view.camera, view.world_from_camera, view.depth, width)
        )
    return gather(views, hold_out)


def of_llff(folder: Path) -> tuple[list[Posed], tuple[float, float]]:
    """Images of poses_bounds.npy, and the least and the greatest distance that it tells.

    A row is 3x5 (axes down, right, back; place; height, width, focal length) and two distances.
    """
    file = folder / "poses_bounds.npy"
    try:
        rows = read_array(file).astype(float)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{file} cannot be read ({error}); expected an array of 17 numbers an image") from error
    if rows.ndim != 2 or rows.shape[1] != 17 or not np.isfinite(rows).all():
        raise InputError(f"{file} has the shape {rows.shape}; expected 17 finite numbers an image, as LLFF writes them")
    choices = [folder / "images", *sorted(folder.glob("images_*"))]
    files = next((found for each in choices if (found := _pictures(each))), [])
    if len(files) != len(rows):
        raise InputError(f"{file} has {len(rows)} poses and {choices[0]} {len(files)} images; expected one of each")
    posed = []
    for picture, row in zip(files, rows, strict=True):
        down, right, back, place, (height, width, focal) = row[:15].reshape(3, 5).T
        pose = np.eye(4)
        pose[:3] = np.stack([right, down, -back, place], 1)
        camera = _camera(picture, focal, focal, width / 2, height / 2, width, height)
        posed.append(Posed(picture, camera, pose))
    return posed, (float(rows[:, 15].min()), float(rows[:, 16].max()))


def of_nerfstudio(folder: Path) -> list[Posed]:
    """Images of transforms.json: camera_to_world in OpenGL's axes; the camera for all, or with each frame."""
    file = folder / "transforms.json"
    try:
        table = read_json(file)
        frames = sorted(table["frames"], key=lambda frame: frame["file_path"])
        return [_nerfstudio_frame(folder, table | frame) for frame in frames]
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{file}: expected nerfstudio's fl_x, fl_y, cx, cy, w, h and frames with file_path and "
            f"transform_matrix ({error!r})"
        ) from error


def _nerfstudio_frame(folder: Path, frame: dict[str, Any]) -> Posed:
    picture = folder / frame["file_path"]
    if not picture.suffix:  # as Blender's exporter writes it
        picture = picture.with_suffix(".png")
    model = frame.get("camera_model", "OPENCV")
    lens = [float(frame.get(name, 0)) for name in ("k1", "k2", "p1", "p2", "k3")]
    if model not in ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE") or frame.get("k4"):
        raise InputError(
            f"{picture.name}: the camera model {model} is not known; undistort the images, with colmap "
            "image_undistorter for one"
        )
    size = (float(frame["w"]), float(frame["h"])) if "w" in frame else _size(picture)
    focal = frame.get("fl_x") or size[0] / 2 / np.tan(float(frame["camera_angle_x"]) / 2)
    centre = frame.get("cx", size[0] / 2), frame.get("cy", size[1] / 2)
    camera = _camera(picture, focal, frame.get("fl_y", focal), *centre, *size, lens)
    pose = np.array(frame["transform_matrix"], float) @ OPTICAL_FROM_OPENGL
    depth = folder / frame["depth_file_path"] if frame.get("depth_file_path") else None
    return Posed(picture, camera, pose, depth)


def of_colmap(model: Path, root: Path) -> tuple[list[Posed], np.ndarray | None]:
    """Images of cameras.txt and images.txt, and the points (N,3) of points3D.txt, if there.

    images.txt has two lines an image, first id, quaternion w x y z and translation of camera_from_world, camera, name.
    """
    try:
        cameras = {row[0]: row[1:] for row in (line.split() for line in _lines(model / "cameras.txt")) if row}
        rows = [line.split(maxsplit=9) for line in _lines(model / "images.txt")[::2]]  # the other lines are keypoints
        folder = root / "images" if (root / "images").is_dir() else root
        posed = []
        for row in sorted(rows, key=lambda row: row[9]):
            w, x, y, z, *translation = (float(value) for value in row[1:8])
            pose = np.eye(4)
            pose[:3, :3], pose[:3, 3] = Rotation.from_quat([x, y, z, w]).as_matrix(), translation
            posed.append(Posed(folder / row[9], _colmap_camera(folder / row[9], cameras[row[8]]), invert_pose(pose)))
        lines = _lines(model / "points3D.txt") if (model / "points3D.txt").exists() else []
        points = np.array([line.split()[1:4] for line in lines if line], float).reshape(-1, 3)
    except (OSError, ValueError, KeyError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{model}: expected COLMAP's cameras.txt and images.txt as text ({error!r})") from error
    return posed, points if len(points) >= 100 else None


def _colmap_camera(picture: Path, row: list[str]) -> Intrinsics:
    model, width, height, *parameters = row
    if model not in DISTORTIONS:
        raise InputError(
            f"{picture.name}: COLMAP's camera model {model} is not known (known: {', '.join(DISTORTIONS)}"
            "); undistort the images with colmap image_undistorter"
        )
    values = [float(value) for value in parameters]
    pinhole, lens = DISTORTIONS[model]
    distortion = [0.0 if k is None else values[k] for k in lens]
    return _camera(picture, *(values[k] for k in pinhole), float(width), float(height), distortion)


def _lines(file: Path) -> list[str]:
    """Lines without comments; empty ones stay, for they are images without keypoints."""
    lines = [line for line in read_text(file).splitlines() if not line.startswith("#")]
    while lines and not lines[0].strip():
        lines.pop(0)
    return lines


def _camera(
    picture: Path, fx: float, fy: float, cx: float, cy: float, width: float, height: float, distortion: Any = ()
) -> Intrinsics:
    """A camera whose pixels have their middles at halves. Raises InputError where it is none."""
    try:
        return Intrinsics(
            float(fx),
            float(fy),
            float(cx) - 0.5,
            float(cy) - 0.5,
            int(width),
            int(height),
            tuple(float(value) for value in distortion),
        )
    except DropclipError as error:
        raise InputError(f"{picture.name}: {error.message}") from error


def _pictures(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in PICTURES) if folder.is_dir() else []


def _read(posed: list[Posed], width: int, every: int, hold_out: int, **more: Any) -> PosedViews:
    views = []
    for each in posed[::every]:
        image = np.asarray(_opened(each.file, "RGBA"))
        shown = image[..., 3:] / 255.0  # what is transparent is white, as all of these take it
        image = np.rint(image[..., :3] * shown + 255 * (1 - shown)).astype(np.uint8)
        depth = None
        if each.depth is not None:
            depth = np.asarray(_opened(each.depth)).astype(np.float32) * np.float32(MILLIMETRE)
        try:
            camera = each.camera.scaled_to(image.shape[1], image.shape[0])
            views.append(_view(each.file.name, image, camera, each.world_from_camera, depth, width))
        except DropclipError as error:
            raise InputError(f"{each.file}: {error.message}") from error
    return gather(views, hold_out, **more)


def _view(name: str, image: np.ndarray, camera: Intrinsics, pose: np.ndarray, depth: np.ndarray | None, width: int):
    """What `gather` takes, of an image at its full size."""
    image = shrunk(image, width)
    size = image.shape[1], image.shape[0]
    return name, image, camera.scaled_to(*size), pose, None if depth is None else shrunk_depth(depth, *size)


def _size(picture: Path) -> tuple[float, float]:
    return _opened(picture).size


def _opened(file: Path, mode: str | None = None) -> Image.Image:
    try:
        image = read_image(file)
        if mode:
            check_colours(image.mode, file)
        return image.convert(mode) if mode else image
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error}); the file of poses names it") from error
