# SPDX-License-Identifier: Apache-2.0
"""The scenes of the Object Segmentation Database, as the benchmarks read them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dropclip_ros.vision.geometry import RgbdFrame, decode_depth
from training.evaluate.data.osd import osd_images, osd_index

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
    camera, scenes = osd_index(folder)
    for scene in scenes:
        color, depth, label = osd_images(folder, scene.name)
        frame = RgbdFrame(color, decode_depth(depth, "mm"), camera)
        yield LabelledFrame(scene.name, scene.category, frame, label.reshape(-1))
