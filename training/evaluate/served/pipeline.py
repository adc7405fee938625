# SPDX-License-Identifier: Apache-2.0
"""What is evaluated, behind one protocol: a method turns a view of a scene into instances with features.

Whatever follows (similarity with phrases, null class, thresholds) is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.grounding.pipeline import MODEL_FOLDER, EncodedScene, Grounder
from dropclip_ros.grounding.scoring import similarities
from dropclip_ros.networks.image import ImageConfig, load_vit, to_images
from dropclip_ros.networks.model_folder import IMAGE, ModelConfig
from dropclip_ros.networks.text import TextEncoder
from dropclip_ros.tabletop.table import Table
from dropclip_ros.vision.geometry import RgbdFrame, backproject
from training.fusion.crops import view_crops
from training.fusion.fuse import FusedScene, fuse_objects
from training.fusion.weights import ScenePrompts
from training.objects.spec import ObjectSpec
from training.scenes.description import FIRST_OBJECT_ID
from training.scenes.scene import Scene, View
from training.scenes.sensor import SensorConfig

MAX_DEPTH = 3.0  # m; further away is not the tabletop


@dataclass
class SeenInstances:
    """What a method sees: the instance (H W,) of each pixel, 1..K or 0, and a unit feature (K,C) of each.

    compare: the log-odds (K,Q) that phrases mean each, where more than the feature has a say.
    """

    of_pixel: np.ndarray
    features: torch.Tensor
    compare: Callable[[Sequence[str]], torch.Tensor] | None = None

    def similarities(self, phrases: Sequence[str], text: TextEncoder, config: ModelConfig) -> torch.Tensor:
        """Similarity (K,Q) of each instance with each phrase, on the CPU, as the temperature and the null similarity of
        `config` take it."""
        if self.compare is not None:
            return config.null_similarity + config.temperature * self.compare(phrases).cpu()
        return similarities(self.features, text.encode(phrases).to(self.features.device), text.mean_object).cpu()


ServedMethod = Callable[[Scene, int], SeenInstances]  # of view v of a scene


def view_frame(view: View) -> RgbdFrame:
    """A rendered view as a camera would deliver it."""
    depth = np.where(view.depth < MAX_DEPTH, view.depth, 0).astype(np.float32)
    return RgbdFrame(view.rgb, depth, view.camera, view.world_from_camera)


def true_labels(view: View) -> np.ndarray:
    """The mask label (H W,) of every pixel that has depth, 0 elsewhere."""
    return np.where(view.depth < MAX_DEPTH, view.mask, 0).ravel()


def drawn_views(scenes: list[Scene], seed: int, what: str = "views") -> Iterator[tuple[int, Scene, int]]:
    """Number of each scene, the scene, and a random view of it: the same for every method."""
    for s, scene in enumerate(tqdm(scenes, desc=what, mininterval=5)):
        yield s, scene, int(np.random.default_rng([seed, s]).integers(1, len(scene)))


def single_view(grounder: Grounder, sensor: SensorConfig | None = None) -> ServedMethod:
    """The whole path, as shipped. A view without a usable table holds no instance: everything is refused there. sensor:
    whose depth the view has."""

    def method(scene: Scene, v: int) -> SeenInstances:
        view = scene.view(v, sensor)
        try:
            return of_encoded(grounder.encode(view_frame(view)), grounder)
        except DropclipError as error:
            tqdm.write(f"{scene.name}, view {v}: {error.status.name}: {error.message}")
            return nothing(view.mask.size, grounder.text.channels)

    return method


def of_encoded(encoded: EncodedScene, grounder: Grounder | None = None) -> SeenInstances:
    """The instances of the pipeline's scene; grounder: whose names have a say, where it has some."""
    has_names = grounder is not None and grounder.beside is not None
    compare = (lambda phrases: grounder.compare(encoded, phrases).odds) if has_names else None
    return SeenInstances(encoded.image(Grounder.instances(encoded)).ravel(), encoded.instance_features, compare)


def nothing(pixels: int, channels: int) -> SeenInstances:
    return SeenInstances(np.zeros(pixels, np.int64), torch.zeros(0, channels))


def encode_with_truth(grounder: Grounder, view: View, instances: bool) -> EncodedScene:
    """`Grounder.encode` with the true table, removed by the mask, and, where `instances`, the true objects as such."""
    frame, labels = view_frame(view), true_labels(view)
    points, pixels = backproject(frame.depth, frame.intrinsics)
    stands = labels[pixels] >= FIRST_OBJECT_ID
    # The plane z = 0 of the world, seen by the camera.
    table = Table(view.world_from_camera[2], ~stands, np.zeros(6), np.array([[0.0], [1.0]]))
    points, pixels = points[stands], pixels[stands]
    return grounder.encode_points(frame, table, points, pixels, labels[pixels] if instances else None)


class TrueFeatures:
    """The targets of distillation (eq. 4 and 5): features of true masks by the image tower, fused over views.

    As a method it is the upper bound: what the student would answer, had it learned all and seen all. one_view: the
    features of the asked view alone, which is what the image tower knows where the student is. specs: the objects of
    the scenes' catalogue.
    """

    def __init__(
        self, tower: torch.nn.Module, text: TextEncoder, specs: Sequence[ObjectSpec], one_view: bool = False
    ) -> None:
        self.tower, self.text, self.one_view = tower, text, one_view
        self._prompts = ScenePrompts(specs, text)

    @classmethod
    def of_model(
        cls, model: Path | None, grounder: Grounder, specs: Sequence[ObjectSpec], one_view: bool = False
    ) -> TrueFeatures:
        """With the image tower that lies in the grounder's model folder (the shipped one by default)."""
        tower = load_vit((model or MODEL_FOLDER) / IMAGE, grounder.config.image or ImageConfig())
        return cls(tower, grounder.text, specs, one_view)

    @torch.inference_mode()
    def fused(self, scene: Scene, v: int) -> FusedScene:
        """Labels and features of the scene's objects, those of which some view shows enough."""
        views = [v] if self.one_view else range(len(scene))
        crops = [crop for i in views for crop in view_crops(scene.view(i)) if crop[0] in scene.objects]
        labels = torch.tensor([label for label, *_ in crops])
        images = to_images(*(np.stack([crop[part] for crop in crops]) for part in (2, 3)))
        return fuse_objects(torch.nn.functional.normalize(self.tower(images), dim=-1), labels, self._prompts.of(scene))

    def __call__(self, scene: Scene, v: int) -> SeenInstances:
        fused, labels = self.fused(scene, v), true_labels(scene.view(v))
        number = np.zeros(256, np.int64)
        number[fused.labels] = np.arange(1, len(fused.labels) + 1)
        return SeenInstances(number[labels], fused.features)
