# SPDX-License-Identifier: Apache-2.0
"""Frames of a changing table as a map takes them, rendered, sensed and encoded once: maps are then tried in seconds.

    python -m benchmarks.path.scene_sequences --out SEQUENCES --first 0 --last 12 [--sensor realsense]

A sequence is a file; what is there is kept, the same command goes on.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import numpy as np
import torch
import tyro

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.base.files import write_beside
from dropclip_ros.grounding.pipeline import Grounder
from dropclip_ros.mapping.frames import MapFrame
from dropclip_ros.vision.geometry import Intrinsics, RgbdFrame, backproject, transform_points
from training.evaluate.served.pipeline import true_labels, view_frame
from training.scenes.changing import Event, changing
from training.scenes.sensor import SENSORS

SPLIT = "unseen_instance"
UNIT = 1e-4  # m: depths are kept in this
RATE = 10.0  # Hz


@dataclass(frozen=True, eq=False)
class Recorded:
    """A frame, the true mask label (H W,) of each of its pixels that has depth, and what happened before it."""

    frame: MapFrame
    truth: np.ndarray
    events: list[Event]


def recorded(grounder: Grounder, index: int, sensor: str) -> Iterator[dict]:
    """The frames of sequence `index`, as they are written."""
    for k, (view, events) in enumerate(changing(index, SPLIT, sensor=SENSORS[sensor])):
        frame = replace(view_frame(view), stamp=k / RATE)
        try:
            seen = MapFrame.of_encoded(grounder.encode(frame))
        except DropclipError:
            seen = MapFrame.of_nothing(frame)
        scene = seen.scene
        yield {
            "stamp": seen.stamp,
            "depth": np.round(frame.depth / UNIT).astype(np.uint16),
            "camera": frame.intrinsics.matrix,
            "pose": seen.pose,
            "plane": seen.plane,
            "pixels": None if scene is None else scene.pixels.astype(np.int32),
            "labels": seen.labels.astype(np.uint8),
            "colors": seen.colors,
            "features": None if scene is None else scene.instance_features.cpu().half(),
            "truth": true_labels(view).astype(np.uint8),
            "events": events,
        }


def read(path: Path) -> Iterator[Recorded]:
    """The frames of a file."""
    for one in pickle.loads(path.read_bytes()):
        height, width = one["depth"].shape
        camera = Intrinsics.from_matrix(one["camera"], width, height)
        depth = one["depth"].astype(np.float32) * np.float32(UNIT)
        blank = np.zeros((height, width, 3), np.uint8)
        frame = RgbdFrame(blank, depth, camera, one["pose"], one["stamp"], picture=False)
        points, scene = np.zeros((0, 3), np.float32), None
        if one["pixels"] is not None:
            every, pixels = backproject(depth, camera)
            at = np.searchsorted(pixels, one["pixels"])
            points = transform_points(one["pose"], np.asarray(every)[at]).astype(np.float32)
            scene = SimpleNamespace(pixels=one["pixels"], instance_features=one["features"].float())
        labels = one["labels"].astype(np.int64)
        seen = MapFrame(one["stamp"], frame, one["plane"], points, one["colors"], labels, scene)
        yield Recorded(seen, one["truth"].astype(np.int64), one["events"])


def main(
    out: Path, first: int = 0, last: int = 12, sensor: Literal["none", "kinect", "realsense"] = "realsense"
) -> None:
    """Writes sequences `first` to `last`, those that are not there yet."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    grounder = Grounder.from_pretrained(image=False)
    out.mkdir(parents=True, exist_ok=True)
    for index in range(first, last):
        path = out / f"{sensor}_{index:03d}.pickle"
        if not path.exists():
            frames = list(recorded(grounder, index, sensor))
            with write_beside(path) as part:
                part.write_bytes(pickle.dumps(frames))
            print(path.name, len(frames), flush=True)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
