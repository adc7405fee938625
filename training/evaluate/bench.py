# SPDX-License-Identifier: Apache-2.0
"""What every table is made with: scenes, the model, prompts, and one loop that asks all methods the same questions."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch.nn.functional import normalize
from tqdm import tqdm

from dropclip_ros.base.reading import read_tensors
from dropclip_ros.grounding.pipeline import MODEL_FOLDER, Grounder
from dropclip_ros.networks.image import ImageTower
from training.evaluate.data.mvtod import MvtodScene, load_mvtod, specs_of
from training.evaluate.data.scene import EvalScene
from training.evaluate.inference import TEMPERATURES, THRESHOLDS, Answer, Asker, InferenceConfig
from training.evaluate.metrics import class_overlaps, row_counts, semantic_summary, summary
from training.evaluate.protocol import EveryPoint, Method, Prediction, WeightsAbsent
from training.evaluate.questions import Question, areas_of, categories, questions
from training.fusion.clouds import Cloud, full_cloud, view_cloud
from training.fusion.dense import EXTRACTORS, DenseFeatures
from training.fusion.prompts2d import VisualPrompt
from training.fusion.run import FeatureRecipe, digest, extract, tower_of
from training.fusion.view_features import ViewFeatures, features_path, load_view_features
from training.fusion.weights import ScenePrompts
from training.objects.catalogue import PROCEDURAL
from training.objects.words.phrases import FAMILIES
from training.runs.factories import factory
from training.runs.files import write_atomically
from training.scenes.scene import View

COSINES = tuple(np.linspace(-0.1, 0.7, 33).tolist())  # of cosines, where there are no negatives
Classes = Callable[[], tuple[np.ndarray, np.ndarray]]  # IoU and accuracy (n,) of a scene's classes, where asked for
LEAST_POINTS = 40  # of an object in a full cloud: a less visible one is not asked for


@dataclass(frozen=True)
class Bench:
    """Scenes of a split, and of known instances to calibrate on, with everything that methods need.

    scenes: folder with the splits; split: the one that is evaluated. cache: folder for features and clouds, which are
    made where they lack. model: folder of encoder, text and image tower; None: the shipped one. limit: scenes of the
    split, validation: of the calibration, None: all. which: phrases that training knew, or heldout wording. voxel: m,
    of full clouds. seed: of questions and of the views that single-view methods see. workers: processes that embed.
    exported: folder with a folder of predictions for each system that does not run here
    (`training.evaluate.methods.exported`). extractor: of patch features, one of `training.fusion.dense.EXTRACTORS`.
    mix: families of phrases are asked for as often as they are in the paper's data, instead of one phrase of each.
    """

    scenes: Path
    cache: Path
    split: str = "unseen_instance"
    model: Path | None = None
    limit: int | None = None
    validation: int | None = None
    which: str = "training"
    voxel: float = 0.005
    seed: int = 0
    workers: int = 2
    exported: Path = Path("exported")
    extractor: str = "maskclip"
    mix: bool = False
    _clouds: dict[str, Cloud] = field(default_factory=dict, repr=False)

    def about(self) -> dict[str, object]:
        """What a table is of, for its head."""
        counts = f"{len(self.test)} scenes of {self.split} ({self.scenes}), {self.which} phrases"
        counts += " in the paper's mix of families" * self.mix
        model = self.grounder.config.name + (f" ({self.model})" if self.model else "")
        return {
            "data": counts,
            "calibrated on": f"{len(self.known)} of known instances",
            "model": model,
            "full clouds": f"{self.voxel * 1e3:g} mm",
            "seed": self.seed,
        }

    @cached_property
    def grounder(self) -> Grounder:
        return Grounder.from_pretrained(self.model)

    @cached_property
    def tower(self) -> ImageTower:
        """The image tower that the features of objects and patches come from."""
        config, weights = tower_of(self.model or MODEL_FOLDER)
        return ImageTower(config, weights, self.grounder.device)

    @cached_property
    def test(self) -> list[MvtodScene]:
        return load_mvtod(self.scenes.resolve(), self.split, self.which, self.seed, self.mix)[: self.limit]

    @cached_property
    def known(self) -> list[MvtodScene]:
        """Scenes of known instances, to calibrate on."""
        return load_mvtod(self.scenes.resolve(), "validation", self.which, self.seed, self.mix)[: self.validation]

    @cached_property
    def asker(self) -> Asker:
        catalogue = self.test[0].catalogue if self.scenes.is_dir() else None  # other data sets need no MV-TOD
        specs = list(specs_of(catalogue or PROCEDURAL).values())
        return Asker(specs, ScenePrompts(specs, self.grounder.text))

    @property
    def prompts(self) -> ScenePrompts:
        return self.asker.prompts

    def features(
        self, prompts: Sequence[VisualPrompt] = (VisualPrompt(),), views: int | None = None
    ) -> Callable[[MvtodScene], ViewFeatures]:
        """Object features of any scene of the two splits, shown like this in `views` of its views (None: all).

        Several prompts are an ensemble, put together from the features of each.
        """

        def of(scene: MvtodScene) -> ViewFeatures:
            parts = [self._features(scene, prompt, views) for prompt in prompts]
            mean = normalize(sum(part.features.float() for part in parts), dim=-1)
            return replace(parts[0], features=mean)

        return of

    def _features(self, scene: MvtodScene, prompt: VisualPrompt, views: int | None) -> ViewFeatures:
        """Those of one prompt, from the cache; where it lacks them, all scenes of the split are embedded."""
        folder = self._place(scene, slug(prompt) + (f"@{views}" if views else ""))
        if not features_path(folder, scene.name).exists():
            config, weights = tower_of(self.model or MODEL_FOLDER)
            recipe = FeatureRecipe(str(scene.source.path), config, self._digest, (prompt,), views=views)
            scenes = self.test if scene in self.test else self.known
            extract(scenes, folder, recipe, weights.resolve(), workers=self.workers)
        return load_view_features(folder, scene)

    @cached_property
    def dense(self) -> DenseFeatures:
        return factory(EXTRACTORS, self.extractor, "extractor")(self.tower)

    def patches(self, scene: EvalScene, v: int, view: View) -> torch.Tensor:
        """The extractor's patch features (C,h,w) of a view, fp16; those of MV-TOD are kept in the cache."""
        if not isinstance(scene, MvtodScene):
            return self.dense.embed(view.rgb[None])[0].cpu()
        name = f"{self.extractor}-{self.dense.short_side}"
        path = self._place(scene, name) / scene.name / f"{v:02d}.safetensors"
        try:
            return read_tensors(path)["patches"].float()
        except (OSError, KeyError):
            found = self.dense.embed(view.rgb[None])[0].half().cpu().numpy()
        with write_atomically(path, replace=True) as part:
            save_file({"patches": np.ascontiguousarray(found)}, part)
        return torch.from_numpy(found).float()

    def _place(self, scene: MvtodScene, name: str) -> Path:
        """Folder for what this tower makes of the scene's split."""
        return self.cache / "features" / Path(scene.source.path).name / (self._digest or "tower")[:8] / name

    @cached_property
    def _digest(self) -> str | None:
        return digest(*tower_of(self.model or MODEL_FOLDER))

    def full(self, scene: MvtodScene) -> Cloud:
        """The cloud of all views; kept in the cache."""
        key = f"{Path(scene.source.path).name}/{scene.name}"
        if key not in self._clouds:
            self._clouds.clear()
            self._clouds[key] = self._read_cloud(scene, self.cache / "clouds" / f"{self.voxel * 1e3:g}mm" / key)
        return self._clouds[key]

    def _read_cloud(self, scene: MvtodScene, path: Path) -> Cloud:
        path = path.with_name(path.name + ".safetensors")
        views = tuple(range(len(scene)))
        try:
            return Cloud(**{name: tensor.numpy() for name, tensor in read_tensors(path).items()}, views=views)
        except (OSError, TypeError):
            cloud = full_cloud(scene, voxel=self.voxel)
        with write_atomically(path, replace=True) as part:
            arrays = {name: getattr(cloud, name) for name in ("points", "colors", "labels")}
            save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, part)
        return cloud

    def single(self, scene: EvalScene) -> Cloud:
        """The cloud of one view, the same for all methods."""
        v = int(np.random.default_rng([self.seed, zlib.crc32(scene.name.encode())]).integers(len(scene)))
        return view_cloud(scene.view(v), v)

    def questions(self, scene: EvalScene, cloud: Cloud) -> list[Question]:
        if cloud.pixels is not None:
            return scene.questions(cloud.views[0])
        rng = np.random.default_rng([self.seed, zlib.crc32(scene.name.encode())])
        return questions(
            scene, areas_of(cloud.labels), self.asker.specs, self.which, rng, least=LEAST_POINTS, mix=self.mix
        )

    def run(
        self,
        methods: Mapping[str, Method],
        what: Mapping[str, Callable[[Answer, Classes], Any]],
        scenes: Sequence[EvalScene],
        single: bool = False,
        modes: Sequence[str] = ("scene",),
        title: str = "scenes",
    ) -> dict[str, list[Any] | WeightsAbsent]:
        """`what` of each method about each scene; a method whose weights are absent: that it is so.

        single: of single views instead of full clouds; modes: of negatives to prepare; title: of the progress bar.
        """
        found: dict[str, list[Any] | WeightsAbsent] = {name: [] for name in methods}
        for scene in tqdm(scenes, title, mininterval=5):
            cloud = self.single(scene) if single else self.full(scene)
            asked = self.questions(scene, cloud)
            for name, method in methods.items():
                if isinstance(found[name], WeightsAbsent):
                    continue
                try:
                    with torch.inference_mode():
                        said = method(scene, cloud)
                        answer = self.asker.ask(said, scene, cloud, asked, modes)
                        found[name].append(what[name](answer, partial(classes, said, scene, cloud)))
                except WeightsAbsent as absent:
                    found[name] = absent
        return found

    def calibrated(
        self,
        methods: Mapping[str, Method],
        config: InferenceConfig = InferenceConfig(),
        single: bool = False,
        scenes: Sequence[EvalScene] | None = None,
        grid: Sequence[float] | None = None,
    ) -> dict[str, InferenceConfig]:
        """Of each method temperature and threshold of the best referring mIoU; methods whose weights are absent lack.

        scenes: to fit on; None: those of known instances. grid: thresholds to choose from, at the config's temperature.
        """
        temperatures, thresholds = (TEMPERATURES, THRESHOLDS) if config.compares else ((config.temperature,), COSINES)
        if grid is not None:
            temperatures, thresholds = (config.temperature,), tuple(grid)
        tried = [replace(config, temperature=temperature) for temperature in temperatures]

        def curves(answer: Answer, _: Classes) -> np.ndarray:
            return np.stack([answer.curve(one, thresholds) for one in tried], axis=1)  # (Q,temperatures,thresholds)

        what = dict.fromkeys(methods, curves)
        found = self.run(methods, what, scenes or self.known, single, (config.negatives,), "calibrate")
        best = {}
        for name, of_scenes in found.items():
            if not isinstance(of_scenes, WeightsAbsent):
                mean = np.nanmean(np.concatenate(of_scenes), axis=0)
                t, s = np.unravel_index(mean.argmax(), mean.shape)
                best[name] = replace(tried[t], threshold=thresholds[s])
        return best

    def referring(
        self,
        methods: Mapping[str, Method],
        config: InferenceConfig = InferenceConfig(),
        single: bool = False,
        scenes: Sequence[EvalScene] | None = None,
        known: Sequence[EvalScene] | None = None,
        grid: Sequence[float] | None = None,
    ) -> list[dict]:
        """A row for each method: referring and semantic segmentation at its own calibration.

        scenes: those of the split by default; known: to calibrate on, those of known instances by default; grid: of
        thresholds to choose from, see `calibrated`.
        """
        configs = self.calibrated(methods, config, single, known, grid)
        what = {name: scored(configs.get(name, config)) for name in methods}
        found = self.run(methods, what, scenes or self.test, single, (config.negatives,), self.split)
        return [row_of(name, scores, configs.get(name, config)) for name, scores in found.items()]


@dataclass(frozen=True)
class Scores:
    """Of one scene: IoU (Q,) and family of each present phrase, IoU and accuracy (n,) of each class."""

    ious: np.ndarray
    families: np.ndarray
    classes: np.ndarray
    accuracies: np.ndarray


def scored(config: InferenceConfig) -> Callable[[Answer, Classes], Scores]:
    """What `Bench.run` keeps of an answer."""

    def of(answer: Answer, of_classes: Classes) -> Scores:
        ious = answer.ious(config)
        asked = ~np.isnan(ious)
        families = np.array([question.family for question in answer.questions])
        return Scores(ious[asked], families[asked], *of_classes())

    return of


def classes(said: Prediction, scene: EvalScene, cloud: Cloud) -> tuple[np.ndarray, np.ndarray]:
    """IoU and accuracy (n,) of each category in the cloud; every point is given the nearest of their names (3.4)."""
    named = categories(scene, cloud.labels)
    if isinstance(said, EveryPoint):
        shares = [np.isin(cloud.labels, labels).mean() for labels in named.values()]
        return np.array(shares), np.ones(len(named))
    similarity = said.similarity(list(named))
    best, number = similarity.max(1)
    told = (best > similarity.amin(1)) | (len(named) == 1)  # where all are alike, as where no box lies, nothing is said
    answer = np.where(told.numpy(), np.array(list(named))[number.numpy()], "")
    counts = row_counts(cloud.labels, said.row, len(similarity), 256)
    return class_overlaps(counts, areas_of(cloud.labels), named, answer)


def row_of(method: str, scores: Sequence[Scores] | WeightsAbsent, config: InferenceConfig) -> dict:
    """A method's metrics over scenes, in percent; those of a family after the family's name."""
    if isinstance(scores, WeightsAbsent):
        return {"method": method, "absent": str(scores)}
    row = {"method": method, "inference": str(config), "scenes": len(scores)} | summary([one.ious for one in scores])
    semantic = semantic_summary([one.classes for one in scores], [one.accuracies for one in scores])
    row |= {f"semantic_{name}": value for name, value in semantic.items() if name != "n"}
    for family in FAMILIES:
        of_family = [one.ious[one.families == family] for one in scores]
        if sum(map(len, of_family)):
            row |= {f"{family} {name}": value for name, value in summary(of_family).items()}
    return row


def slug(prompt: VisualPrompt) -> str:
    """A visual prompt as part of a folder's name."""
    painted = f"-{prompt.background}" if prompt.kind in ("crop-mask", "mask-out") else ""
    scales = f"-{prompt.crops}x{prompt.ratio:g}" if prompt.crops > 1 else ""
    return prompt.kind + painted + scales
