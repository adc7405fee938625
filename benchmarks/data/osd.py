# SPDX-License-Identifier: Apache-2.0
"""The scenes of the Object Segmentation Database, as the benchmarks read them.

The folder holds NAME_color.png, NAME_depth.png (uint16 mm), NAME_label.png (0 invalid, 1 table, 2.. objects) and
index.json with K and each scene's category.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dropclip_ros.vision.geometry import Intrinsics, RgbdFrame, decode_depth

FOLDER = Path("../shared/data/osd")


@dataclass
class LabelledFrame:
    """A frame and the truth: labels (H W,), 0 invalid or background, 1 table, 2.. objects."""

    name: str
    category: str
    frame: RgbdFrame
    labels: np.ndarray


def osd_frames(folder: Path = FOLDER) -> Iterator[LabelledFrame]:
    """All scenes, in the order of the index."""
    index = json.loads((folder / "index.json").read_text())
    k = np.array(index["K"])
    intrinsics = Intrinsics(k[0, 0], k[1, 1], k[0, 2], k[1, 2], index["width"], index["height"])
    for scene in index["scenes"]:
        color, depth, label = (
            np.array(Image.open(folder / f"{scene['id']}_{what}.png")) for what in ("color", "depth", "label")
        )
        frame = RgbdFrame(color[..., :3], decode_depth(depth, "mm"), intrinsics)
        yield LabelledFrame(scene["id"], scene["category"], frame, label.reshape(-1))
