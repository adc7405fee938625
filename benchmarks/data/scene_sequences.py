# SPDX-License-Identifier: Apache-2.0
"""Frames of a changing table as a map takes them, rendered, sensed and encoded once: maps are then tried in seconds.

    python -m benchmarks.data.scene_sequences --out SEQUENCES --first 0 --last 12 [--sensor realsense]

A sequence is a file; what is there is kept, the same command goes on.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import numpy as np
import torch
import tyro

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.base.files import write_beside
from dropclip_ros.grounding.pipeline import EncodedScene, Grounder
from dropclip_ros.mapping.frames import MapFrame
from dropclip_ros.vision.geometry import Intrinsics, RgbdFrame, backproject, transform_points
from training.evaluate.served.pipeline import true_labels, view_frame
from training.scenes.changing import Event, changing
from training.scenes.description import FIRST_OBJECT_ID
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


def truer(frame: MapFrame, labels: np.ndarray, truth: str) -> MapFrame:
    """The frame with true things (labels (H W,), of each pixel) in the place of its instances."""
    if truth == "none" or frame.scene is None:
        return frame
    true = labels[frame.scene.pixels]
    true = np.where((frame.labels > 0) & (true >= FIRST_OBJECT_ID), true, 0)  # what we keep of objects
    if truth == "instances":
        of_point = true * 256
    elif truth == "parted":
        of_point = true * 256 + frame.labels
    else:
        both = np.zeros((frame.labels.max(initial=0) + 1, 256), np.int64)
        np.add.at(both, (frame.labels, true), 1)
        mine = both[:, 1:].argmax(1) + 1
        of_point = mine[frame.labels] * 256
    of_point = np.where(frame.labels > 0, of_point, 0)
    kinds, numbers = np.unique(of_point, return_inverse=True)
    if kinds[0] != 0:
        numbers = numbers + 1
    shown = np.zeros((numbers.max(initial=0) + 1, frame.labels.max(initial=0) + 1), np.int64)
    np.add.at(shown, (numbers, frame.labels), 1)
    features = frame.scene.instance_features[shown[1:, 1:].argmax(1)]  # of ours that shows most of it
    scene = copy(frame.scene)
    scene.instance_features = features
    if isinstance(scene, EncodedScene):  # in its voxels too, of which each shows the most common
        instances = np.zeros(len(scene.voxels), np.int64)
        instances[scene.voxels.point_to_voxel] = numbers
        scene.instances = instances
    return replace(frame, labels=numbers, scene=scene)


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
