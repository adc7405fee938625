# SPDX-License-Identifier: Apache-2.0
"""Scenes on disk: what `training.mvtod.generate` writes and everything else reads.

A scene is a folder: `scene.json` (COCO, with K, world_from_camera and object poses), `rgb_*.jpg`, `depth_*.png`
(uint16, 0.1 mm, 0 invalid) and `mask_*.png` (uint8, 0 none, 1 table, 2.. object instances). Reading needs no MuJoCo:
OSMesa's LLVM and Triton's do not live in one process.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from training.mvtod.scene import FIRST_OBJECT_ID

SCENE_FILE = "scene.json"
DEPTH_UNIT = 1e-4  # metres per count of the depth PNG


@dataclass
class View:
    """One rendered view: rgb (H,W,3) uint8, depth (H,W) m, mask (H,W) uint8, K 3x3, world_from_camera 4x4 (optical)."""

    rgb: np.ndarray
    depth: np.ndarray
    mask: np.ndarray
    intrinsics: np.ndarray
    world_from_camera: np.ndarray


def write_view(folder: Path, v: int, view: View, coco: dict, visible: Mapping[int, float] | None = None) -> None:
    """Writes view `v` into `folder` and enters it into the scene's COCO tables.

    visible: fraction of each object, by label, that the view shows.
    """
    names = {
        "file_name": f"rgb_{v:02d}.jpg",
        "depth_file": f"depth_{v:02d}.png",
        "mask_file": f"mask_{v:02d}.png",
    }
    Image.fromarray(view.rgb).save(folder / names["file_name"], quality=92)
    depth = np.where(view.depth < 6.0, np.round(view.depth / DEPTH_UNIT), 0).astype(np.uint16)
    Image.fromarray(depth).save(folder / names["depth_file"], compress_level=1)
    Image.fromarray(view.mask).save(folder / names["mask_file"], compress_level=1)
    coco["images"].append(
        {
            "id": v,
            **names,
            "width": view.mask.shape[1],
            "height": view.mask.shape[0],
            "K": view.intrinsics.tolist(),
            "world_from_camera": view.world_from_camera.tolist(),
            "visible_fraction": {str(label): round(fraction, 3) for label, fraction in (visible or {}).items()},
        }
    )
    for label in np.unique(view.mask[view.mask >= FIRST_OBJECT_ID]):
        rows, columns = np.nonzero(view.mask == label)
        box = [int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
        coco["annotations"].append(
            {
                "id": len(coco["annotations"]),
                "image_id": v,
                "category_id": int(label),
                "bbox": box,
                "area": len(rows),
                "iscrowd": 0,
            }
        )


@dataclass(frozen=True)
class Scene:
    """A scene read back from its folder."""

    folder: Path
    coco: dict

    @property
    def objects(self) -> dict[int, dict]:
        """Mask label -> {'name', 'category', 'split', 'world_from_mesh'}."""
        return {o["id"]: o for o in self.coco["objects"]}

    def __len__(self) -> int:
        return len(self.coco["images"])

    def view(self, v: int) -> View:
        """Decodes view `v`."""
        image = self.coco["images"][v]
        return View(
            np.asarray(Image.open(self.folder / image["file_name"])),
            np.asarray(Image.open(self.folder / image["depth_file"])).astype(np.float32) * np.float32(DEPTH_UNIT),
            np.asarray(Image.open(self.folder / image["mask_file"])),
            np.array(image["K"]),
            np.array(image["world_from_camera"]),
        )


def load_scenes(root: Path) -> list[Scene]:
    """All whole scenes below `root`, in order of name."""
    scenes = [
        Scene(path.parent, json.loads(path.read_text()))
        for path in sorted(root.glob(f"scene_*/{SCENE_FILE}"))
        if not path.parent.name.endswith(".part")
    ]
    if not scenes:
        raise FileNotFoundError(
            f"{root}: no scene_*/scene.json; make some with `dropclip-mvtod generate --out {root}`"
        )
    return scenes
