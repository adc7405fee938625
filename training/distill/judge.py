# SPDX-License-Identifier: Apache-2.0
"""Networks side by side on held-out scenes, as the evaluation measures: of one view, of one through a depth sensor, and
of all views together."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from dropclip_ros.grounding.pipeline import Grounder
from dropclip_ros.networks.encoder import MinkUNet14D
from dropclip_ros.networks.model_folder import ModelConfig
from dropclip_ros.networks.text import TextEncoder
from dropclip_ros.vision.voxels import VoxelConfig
from training.distill.data import Targets, whole_cloud
from training.evaluate.bench import classes
from training.evaluate.data.mvtod import MvtodScene, specs_of
from training.evaluate.inference import Asker, InferenceConfig
from training.evaluate.methods.methods import InstanceMethod, Student, rows_of_labels
from training.evaluate.protocol import FeatureCloud
from training.fusion.clouds import Cloud, view_cloud
from training.fusion.weights import ScenePrompts
from training.objects.catalogue import PROCEDURAL
from training.scenes.sensor import SENSORS

KINDS = ("view", "kinect", "full")  # a view as rendered, the same through a depth sensor, all views as one cloud
ARGMAX = InferenceConfig("argmax", "scene")  # no threshold: nothing has to be fitted to compare networks


@dataclass
class Judge:
    """Held-out scenes, decoded once; every network is asked the same of the same views.

    targets: their fused features, in turn; text: of the space that these are in; clouds: a folder to keep full clouds
    in; kinds: which of KINDS are looked at.
    """

    scenes: Sequence[MvtodScene]
    targets: Sequence[Targets]
    text: TextEncoder
    clouds: Path
    kinds: Sequence[str] = KINDS
    _clouds: dict[tuple[int, str], Cloud] = field(default_factory=dict)

    def __post_init__(self) -> None:
        specs = list(specs_of(self.scenes[0].catalogue or PROCEDURAL).values())
        self._asker = Asker(specs, ScenePrompts(specs, self.text), kind="cls")

    @torch.inference_mode()
    def __call__(self, encoder: MinkUNet14D, voxels: VoxelConfig) -> dict[str, float]:
        """By kind and measure: cosine distance of points from their target, the share of objects to whose mean feature
        their own target is the nearest of the scene's, semantic mIoU and, of phrases that fit something there, told
        apart from the other categories in the scene, referring mIoU, of a view as rendered also by instances, as the
        package answers; all in percent but the first."""
        grounder = Grounder(encoder, self.text, ModelConfig("judged", encoder.config, voxels), "cpu")
        student, instances = Student(grounder), InstanceMethod(grounder)
        found: dict[str, list[np.ndarray]] = {}
        for s, (scene, target) in enumerate(zip(self.scenes, self.targets, strict=True)):
            for kind in self.kinds:
                cloud = self._cloud(s, kind)
                said = student(scene, cloud)
                asked = [question for question in scene.questions(self._view(scene)) if question.labels]
                answer = self._asker.ask(said, scene, cloud, asked, ("scene",))
                measures = {
                    "cosine": cosine_distances(said, cloud, target),
                    "objects": found_objects(said, cloud, target),
                    "semantic": classes(said, scene, cloud)[0],
                    "referring": answer.ious(ARGMAX),
                }
                if kind == "view":
                    answer = self._asker.ask(instances(scene, cloud), scene, cloud, asked, ("scene",))
                    measures["by instances"] = answer.ious(ARGMAX)
                for name, values in measures.items():
                    found.setdefault(f"{kind} {name}", []).append(values)
        means = {name: float(np.concatenate(values).mean()) for name, values in found.items()}
        return {name: mean if name.endswith("cosine") else 100 * mean for name, mean in means.items()}

    def _view(self, scene: MvtodScene) -> int:
        return int(np.random.default_rng([zlib.crc32(scene.name.encode())]).integers(len(scene)))

    def _cloud(self, s: int, kind: str) -> Cloud:
        if (s, kind) not in self._clouds:
            scene, v = self.scenes[s], self._view(self.scenes[s])
            if kind == "full":
                self._clouds[s, kind] = whole_cloud(scene, self.clouds)
            else:
                self._clouds[s, kind] = view_cloud(scene.view(v, SENSORS.get(kind)), v)
        return self._clouds[s, kind]


def cosine_distances(said: FeatureCloud, cloud: Cloud, target: Targets) -> np.ndarray:
    """1 - cos of eq. 6, (m,), of the points of known objects."""
    row = rows_of_labels(cloud.labels, target.labels)
    known = row >= 0
    features = said.features[said.row[known]]
    return 1 - (features * target.features[row[known]].to(features)).sum(1).numpy()


def found_objects(said: FeatureCloud, cloud: Cloud, target: Targets) -> np.ndarray:
    """Whether the mean feature of each known object in view is nearest to its own target, (k,) of 0 and 1."""
    row = rows_of_labels(cloud.labels, target.labels)
    known = row >= 0
    mean = torch.zeros_like(target.features).index_add(0, torch.from_numpy(row[known]), said.features[said.row[known]])
    seen = np.unique(row[known])
    nearest = (F.normalize(mean[seen], dim=1) @ target.features.T).argmax(1).numpy()
    return (nearest == seen).astype(float)


def show(rows: dict[str, dict[str, float]], columns: Sequence[str], title: str) -> str:
    """Markdown: a row for each network."""
    lines = [f"| {title} | " + " | ".join(columns) + " |", "| --- " * (1 + len(columns)) + "|"]
    for name, row in rows.items():
        cells = (f"{row[c]:.3f}" if c.endswith("cosine") else f"{row[c]:.1f}" for c in columns)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
