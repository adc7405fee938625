# SPDX-License-Identifier: Apache-2.0
"""A scene that does not change, grounded from a file: points with features of their own, no camera and no encoder.

What `dropclip-ovs3d export` writes of a radiance field: NAME.safetensors, which is read here, and NAME.ply beside it to
be looked at. Points are in a world frame with z up, metres. A camera that looks down on them stands in for a real one,
so that whatever takes an encoded frame takes this as well: pictures are views from above.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.files import write_beside
from dropclip_ros.base.ranges import built
from dropclip_ros.base.reading import parse_json, read_about, read_tensors
from dropclip_ros.grounding.instances import instance_labels, pool_features
from dropclip_ros.grounding.pipeline import EncodedScene, Grounder
from dropclip_ros.tabletop.scene import MIN_POINTS, things
from dropclip_ros.vision.clouds import seen_from_above
from dropclip_ros.vision.geometry import invert_pose, transform_points
from dropclip_ros.vision.voxels import voxelize

PROBE = "object"  # whose embedding tells whether a file is of the grounder's text space
SAME = 0.999  # cosine of the two embeddings
TENSORS = {"points": 3, "colors": 3, "features": None, "scores": None, "probe": None}  # columns, where they are fixed


@dataclass(frozen=True, eq=False)
class StaticScene:
    """N points with features.

    points: (N,3) float32 m, world, z up. colors: (N,3) uint8. features: (N,C) unit rows in a text space. probe: (C,)
    the embedding of `PROBE` there. classes: names of K classes, scores: (N,K) probabilities (K may be 0). temperature,
    null_similarity: of the softmax over a phrase and its negatives, as a model's; None: the model's own.
    """

    points: np.ndarray
    colors: np.ndarray
    features: np.ndarray
    probe: np.ndarray
    classes: Sequence[str] = ()
    scores: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    temperature: float | None = None
    null_similarity: float | None = None

    def save(self, path: Path) -> None:
        """Writes `path`, a .safetensors, features and scores as fp16; beside, then renamed."""
        from safetensors.numpy import save_file

        tensors = {
            "points": self.points.astype(np.float32),
            "colors": self.colors,
            "features": self.features.astype(np.float16),
            "scores": self.scores.astype(np.float16),
            "probe": self.probe.astype(np.float32),
        }
        about = {"classes": list(self.classes), "temperature": self.temperature, "null": self.null_similarity}
        whole = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
        with write_beside(path) as part:
            save_file(whole, part, {"static_scene": json.dumps(about)})

    @classmethod
    def load(cls, path: Path) -> StaticScene:
        """What `save` wrote. BAD_REQUEST where the file is missing, damaged or something else."""
        try:
            about, found = parse_json(read_about(path)["static_scene"]), read_tensors(path)
            tensors = {name: found[name].numpy() for name in TENSORS}
        except OSError as error:
            raise _bad(path, f"cannot be read ({error.strerror or error})") from error
        except (KeyError, TypeError) as error:  # TypeError: of tensors that NumPy has no type for
            raise _bad(path, f"is no whole static scene ({error})") from error
        count, channels = len(tensors["points"]), tensors["probe"].shape[-1]
        shapes = [(count, 3), (count, 3), (count, channels), (count, len(about["classes"])), (channels,)]
        found = [tensor.shape for tensor in tensors.values()]
        if found != shapes or tensors["colors"].dtype != np.uint8:
            raise _bad(path, f"holds points, colors, features, scores, probe of the shapes {found}, expected {shapes}")
        if not all(np.isfinite(tensors[name]).all() for name in ("points", "features")):
            raise _bad(path, "holds numbers that are not finite")
        return cls(
            tensors["points"],
            tensors["colors"],
            tensors["features"].astype(np.float32),
            tensors["probe"],
            tuple(about["classes"]),
            tensors["scores"].astype(np.float32),
            about["temperature"],
            about["null"],
        )


def _bad(path: Path, what: str) -> DropclipError:
    return DropclipError(Status.BAD_REQUEST, f"{path} {what}; give the .safetensors that dropclip-ovs3d export writes")


def open_static_scene(path: str | Path, grounder: Grounder) -> tuple[Grounder, EncodedScene]:
    """The scene of a file as `Grounder.encode` gives it, and the grounder with the file's calibration.

    Its camera pose is that of the view from above, so that results can be had in the file's world. Raises BAD_REQUEST,
    MODEL_ERROR where the file is of another text space than the grounder, NO_TABLE or EMPTY_SCENE.
    """
    static = StaticScene.load(Path(path))
    if len(static.points) < MIN_POINTS:
        raise DropclipError(Status.EMPTY_SCENE, f"{path} holds {len(static.points)} points; expected {MIN_POINTS}")
    probe = grounder.text.encode([PROBE])[0].cpu().numpy()
    if probe.shape != static.probe.shape or probe @ static.probe < SAME:
        raise DropclipError(
            Status.MODEL_ERROR,
            f"{path} was made with another text model than {grounder.config.name}'s ({static.probe.shape[0]} and "
            f"{probe.shape[0]} channels); name the model that it was exported with, or export it again",
        )
    frame, points, pixels = seen_from_above(static.points, static.colors)
    try:
        table, chosen = things(points, grounder.workspace, frame.camera_pose)
    except DropclipError as error:
        raise DropclipError(error.status, f"{path}: {error.message}") from error
    chosen = chosen[np.argsort(-points[chosen, 2], kind="stable")]  # of those in one pixel the nearest is drawn last
    points, pixels, colors = points[chosen], pixels[chosen], static.colors[chosen]
    local = transform_points(invert_pose(table.frame), points).astype(np.float32)
    voxels = voxelize(local, colors.astype(np.float32) / 255, grounder.config.voxels)
    features = torch.from_numpy(static.features[chosen]).to(grounder.device)
    features = pool_features(features, voxels.point_to_voxel + 1)
    instances = instance_labels(voxels.centers, voxels.feats, features, None, grounder.objects)
    if not instances.any():
        raise DropclipError(Status.EMPTY_SCENE, f"{path}: only specks stand on the table")
    basis = torch.eye(features.shape[1], device=grounder.device)
    pooled = pool_features(features, instances)
    scene = EncodedScene(
        frame, table, points, pixels, colors, voxels, features, basis, None, instances, lambda: pooled, {}
    )
    own = {"temperature": static.temperature, "null_similarity": static.null_similarity}
    calibrated = copy.copy(grounder)
    calibrated.image = None  # there are no pictures to look at
    known = {name: value for name, value in own.items() if value is not None}
    calibrated.config = built(partial(replace, grounder.config), known)
    return calibrated, scene
