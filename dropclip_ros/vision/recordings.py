# SPDX-License-Identifier: Apache-2.0
"""What was recorded, as frames by number: a rosbag2, a folder of image pairs, or a scene of MV-TOD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.reading import read_json
from dropclip_ros.vision.bags import BagFrames
from dropclip_ros.vision.geometry import Intrinsics, RgbdFrame, decode_depth, load_frame, read_color, read_image

SCENE_FILE = "scene.json"  # of MV-TOD: images with K, pose and files
_BAG = (".db3", ".mcap", ".zstd")
_COLOR, _DEPTH = ("*_color.png", "*_color.jpg", "color.png", "color.jpg"), "depth.png"


def image_pairs(folder: Path, color_pattern: str, depth_pattern: str) -> list[tuple[Path, Path]]:
    """Colour and depth files whose names agree where the patterns have their *, sorted. BAD_REQUEST where none do."""
    for pattern in (color_pattern, depth_pattern):
        if pattern.count("*") != 1 or "/" in pattern:
            raise DropclipError(Status.BAD_REQUEST, f"pattern {pattern!r}: expected a file name with one *")
    before, after = color_pattern.split("*")
    colors = sorted(folder.glob(color_pattern))
    pairs = [(c, folder / depth_pattern.replace("*", c.name[len(before) : len(c.name) - len(after)])) for c in colors]
    pairs = [(color, depth) for color, depth in pairs if depth.is_file()]
    if not pairs:
        raise DropclipError(
            Status.BAD_REQUEST, f"folder {str(folder)!r} has no pair of {color_pattern} and {depth_pattern}"
        )
    return pairs


@dataclass(frozen=True)
class FolderFrames:
    """Image pairs NAME_color.png (or .jpg) and NAME_depth.png, NAME perhaps empty, and k.json for all of them."""

    folder: Path
    depth_unit: str = "mm"

    def pairs(self) -> list[tuple[Path, Path]]:
        colors = sorted({path for pattern in _COLOR for path in self.folder.glob(pattern)})
        pairs = [(path, path.with_name(path.stem[: -len("color")] + _DEPTH)) for path in colors]
        return [(color, depth) for color, depth in pairs if depth.is_file()]

    def __len__(self) -> int:
        return len(self.pairs())

    def __getitem__(self, index: int) -> RgbdFrame:
        color, depth = self.pairs()[index]
        return load_frame(color, depth, self.depth_unit, self.folder / "k.json")


@dataclass(frozen=True)
class SceneFrames:
    """The views of a scene of MV-TOD, with the camera's pose in the world. BAD_FRAME where it is not whole."""

    folder: Path

    def _images(self) -> list[dict]:
        try:
            return list(read_json(self.folder / SCENE_FILE)["images"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._broken(f"{error!r:.150}") from error

    def __len__(self) -> int:
        return len(self._images())

    def __getitem__(self, index: int) -> RgbdFrame:
        view = self._images()[index]
        try:
            color, depth = (Path(view[name]) for name in ("file_name", "depth_file"))
            matrix, pose = np.array(view["K"], float), np.array(view["world_from_camera"], float)
            intrinsics = Intrinsics.from_matrix(matrix, view["width"], view["height"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            if isinstance(error, DropclipError):
                raise
            raise self._broken(f"view {index}: {error!r:.150}") from error
        if outside := [name for name in (color, depth) if name.name != str(name)]:
            raise self._broken(f"view {index}: {str(outside[0])!r:.80} is no file beside it")
        raw = read_image(self.folder / depth)
        return RgbdFrame(read_color(self.folder / color), decode_depth(raw, "0.1mm"), intrinsics, pose)

    def _broken(self, what: str) -> DropclipError:
        return DropclipError(Status.BAD_FRAME, f"{self.folder / SCENE_FILE} is not of a scene of MV-TOD ({what})")


Frames = BagFrames | FolderFrames | SceneFrames


def open_recording(path: str | Path, depth_unit: str = "mm") -> Frames:
    """The frames at a path, by what lies there. BAD_REQUEST where that is none of them, or holds no frame."""
    path = Path(path)
    if (path / "metadata.yaml").is_file() or path.suffix in _BAG:
        return BagFrames(path)
    if (path / SCENE_FILE).is_file():
        return SceneFrames(path)
    if path.is_dir() and len(frames := FolderFrames(path, depth_unit)):
        return frames
    raise DropclipError(
        Status.BAD_REQUEST,
        f"{path}: expected a rosbag2, a folder with NAME_color.png, NAME_depth.png and k.json, or a scene of MV-TOD",
    )


def find_recordings(folder: str | Path, limit: int = 50) -> Sequence[Path]:
    """Recordings at a path or up to two folders below it, newest first, `limit` at most."""
    folder, found = Path(folder), dict[Path, float]()
    marks = ("metadata.yaml", SCENE_FILE, "*_color.png", "*_color.jpg", "color.png", "color.jpg")
    for depth in ("", "*/", "*/*/"):
        for mark in marks:
            for file in folder.glob(depth + mark):
                found[file.parent] = max(found.get(file.parent, 0.0), file.stat().st_mtime)
    return sorted(found, key=lambda path: -found[path])[:limit]
