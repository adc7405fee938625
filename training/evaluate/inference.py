# SPDX-License-Identifier: Apache-2.0
"""From similarities to answers: what a phrase is told apart from, what is over the threshold (3.4, A.3, table 10)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from scipy.special import expit

from dropclip_ros.base.ranges import check_fields, ranged
from dropclip_ros.grounding.scoring import rival_threshold, stretched
from dropclip_ros.networks.model_folder import ModelConfig
from training.evaluate.metrics import overlap, overlap_over, row_counts
from training.evaluate.protocol import FeatureCloud, Prediction
from training.evaluate.questions import Question, areas_of
from training.fusion.clouds import Cloud
from training.fusion.weights import ScenePrompts
from training.objects.catalogue import matches
from training.objects.spec import ObjectSpec
from training.objects.words.phrases import CANONICAL_NEGATIVES
from training.scenes.scene import Scene

NEGATIVES = ("scene", "canonical", "all", "none")
TEMPERATURES = (0.02, 0.05, 0.1, 0.2)
THRESHOLDS = tuple(expit(np.linspace(-12, 6, 73)).tolist())  # even in log-odds; of many negatives little is left
STEPS = 100  # of a threshold of cosines
BLOCK = 256  # rows at a time


@dataclass(frozen=True)
class InferenceConfig:
    """How a phrase is answered (table 10).

    method: "argmax", points where the phrase beats every negative, or "threshold", those whose probability is over
    `threshold`. negatives: prompts of the "scene"'s objects that the phrase does not fit, of "all" such objects of the
    catalogue, the "canonical" phrases, or "none": the threshold is then one of the cosine. temperature: gamma of
    section 3.4. release: as the published code does it, the least probability against any single negative, then
    stretched to 0..1 over the scene, so that something is always answered. null: cosine of a further class that is
    nothing, which allows NOT_FOUND. rival: how near to the best in the scene the others have to come, as the package
    has it (`rival_threshold`); 0: they need not.
    """

    method: Literal["argmax", "threshold"] = "threshold"
    negatives: Literal["scene", "canonical", "all", "none"] = "scene"
    threshold: float = ranged(0.7, -1, 1)
    temperature: float = ranged(0.1, 1e-4, 100)
    release: bool = False
    null: float | None = ranged(None, -1, 1)
    rival: float = ranged(0.0, 0, 1)

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.compares and (self.method == "argmax" or self.release or self.rival):
            raise ValueError("argmax, release and rival compare with something: expected negatives or null, got none")
        if self.method == "argmax" and (self.release or self.rival):
            raise ValueError("release and rival change what is over a threshold: expected method threshold, got argmax")

    @classmethod
    def of_model(cls, config: ModelConfig, rival: float = 0.0) -> InferenceConfig:
        """What the package does with a model: its null class, its threshold, and `rival` of its ObjectConfig."""
        negatives = "canonical" if config.canonical_negatives else "none"
        return cls(
            "threshold", negatives, config.threshold, config.temperature, null=config.null_similarity, rival=rival
        )

    @property
    def compares(self) -> bool:
        """Whether scores are probabilities; otherwise they are cosines."""
        return self.negatives != "none" or self.null is not None

    def __str__(self) -> str:
        how = "argmax" if self.method == "argmax" else f"over {self.threshold:.3g}"
        extras = ", release" * self.release + (f", null {self.null:.3f}" if self.null is not None else "")
        extras += f", rival {self.rival:g}" if self.rival else ""
        return f"{how}, {self.negatives}, T {self.temperature:g}{extras}"


@dataclass
class Negatives:
    """Similarity (K,n) of rows with n prompts, and which of them each of Q phrases is told apart from, (Q,n) bool."""

    similarity: torch.Tensor
    used: torch.Tensor

    def nearest(self) -> torch.Tensor:
        """Similarity (K,Q) of the used one that is nearest, -inf where none is used."""
        found = self.similarity.new_full((len(self.similarity), len(self.used)), -torch.inf)
        if self.used.any():
            for q, used in enumerate(self.used):
                apart = torch.where(used, 0.0, -torch.inf)  # adding is many times faster than choosing columns,
                for rows, block in zip(found.split(BLOCK), self.similarity.split(BLOCK), strict=True):
                    rows[:, q] = (block + apart).amax(1)  # and once more within the cache
        return found.double()

    def log_sum(self, temperature: float) -> torch.Tensor:
        """(K,Q) log of the summed exponentials of the used ones over temperature, -inf where none is used."""
        scaled = self.similarity.double() / temperature
        if not scaled.shape[1]:
            return scaled.new_full((len(scaled), len(self.used)), -torch.inf)
        peak = scaled.amax(1, keepdim=True)
        sums = (scaled - peak).exp() @ self.used.T.double()  # one exponential for all phrases
        found = peak + sums.log()
        lost = (sums < 1e-200).any(0) & self.used.any(1)  # the nearest is not used, and far above what is
        for q in lost.nonzero()[:, 0]:
            found[:, q] = scaled[:, self.used[q]].logsumexp(1)
        return found


def probabilities(similarity: torch.Tensor, negatives: Negatives | None, config: InferenceConfig) -> torch.Tensor:
    """rho+ (K,Q) of section 3.4, float64, for similarities (K,Q); without negatives and null class the cosine."""
    similarity = similarity.double()
    if not config.compares or not len(similarity):
        return similarity
    if config.release:
        pairwise = torch.sigmoid((similarity - highest_rival(similarity, negatives, config)) / config.temperature)
        return stretched(pairwise)  # the best one is 1 in any case
    rest = similarity.new_full(similarity.shape, -torch.inf)
    if config.negatives != "none":
        rest = negatives.log_sum(config.temperature)
    if config.null is not None:
        rest = torch.logaddexp(rest, similarity.new_tensor(config.null / config.temperature))
    return torch.sigmoid(similarity / config.temperature - rest)


def highest_rival(similarity: torch.Tensor, negatives: Negatives | None, config: InferenceConfig) -> torch.Tensor:
    """The similarity (K,Q) that the phrases' own (K,Q) has to beat: of the nearest negative, or of the null class."""
    rest = similarity.new_full(similarity.shape, -torch.inf) if config.negatives == "none" else negatives.nearest()
    return rest if config.null is None else rest.clamp(min=config.null)


@dataclass
class Answer:
    """What a method says about the questions of a cloud: enough for any inference.

    counts (L,K): points of each label in each row; totals (256,); similarity (K,Q); negatives by mode.
    """

    questions: list[Question]
    counts: np.ndarray
    totals: np.ndarray
    similarity: torch.Tensor
    negatives: Mapping[str, Negatives]

    def probabilities(self, config: InferenceConfig) -> torch.Tensor:
        return probabilities(self.similarity, self.negatives.get(config.negatives), config)

    def chosen(self, config: InferenceConfig) -> np.ndarray:
        """Which rows answer each phrase, (Q,K) bool."""
        if config.method == "argmax":
            similarity = self.similarity.double()
            return (similarity > highest_rival(similarity, self.negatives.get(config.negatives), config)).T.numpy()
        scores = self.probabilities(config).T.numpy()
        at = [_thresholds(score, [config.threshold], config) for score in scores]
        return scores > np.reshape(at, (-1, 1))

    def ious(self, config: InferenceConfig) -> np.ndarray:
        """IoU (Q,) of what is answered; NaN for phrases that fit nothing."""
        if config.method == "threshold":
            return self.curve(config, (config.threshold,))[:, 0]
        found = np.full(len(self.questions), np.nan)
        for q, chosen in enumerate(self.chosen(config)):
            if labels := self.questions[q].labels:
                found[q] = overlap(self.counts, self.totals, labels, chosen)
        return found

    def curve(self, config: InferenceConfig, thresholds: Sequence[float]) -> np.ndarray:
        """IoU (Q,T) at each of T thresholds instead of the config's; NaN for phrases that fit nothing."""
        found = np.full((len(self.questions), len(thresholds)), np.nan)
        scores = self.probabilities(config).T.numpy()
        for q, question in enumerate(self.questions):
            if question.labels:
                at = _thresholds(scores[q], thresholds, config)
                found[q] = overlap_over(self.counts, self.totals, question.labels, scores[q], at)
        return found

    def best(self, config: InferenceConfig) -> np.ndarray:
        """The best probability (Q,) in the scene; NOT_FOUND where it is not over the threshold."""
        scores = self.probabilities(config)
        return scores.amax(0).numpy() if len(scores) else np.zeros(len(self.questions))


def _thresholds(scores: np.ndarray, thresholds: Sequence[float], config: InferenceConfig) -> np.ndarray:
    """The thresholds as they are for the scores (K,) of one phrase."""
    if config.rival:
        return np.array([rival_threshold(scores, threshold, config.rival) for threshold in thresholds])
    return np.asarray(thresholds, float)


class Asker:
    """Asks methods about clouds; knows the catalogue whose objects serve as negatives.

    modes: of negatives to prepare; "all" of 3000 objects takes 12 kB a row. kind: of the prompts of "scene" and "all":
    "open", the mean prompt of each object that the phrase does not fit, or "cls", the name of each category of which it
    fits no object (A.7). Methods without a feature space and scenes of other data sets get names of categories.
    """

    def __init__(
        self,
        specs: Sequence[ObjectSpec],
        prompts: ScenePrompts,
        modes: Iterable[str] = NEGATIVES,
        kind: Literal["open", "cls"] = "open",
    ) -> None:
        self.specs, self.prompts, self.modes, self.kind = {spec.name: spec for spec in specs}, prompts, set(modes), kind
        self._fitting: dict[str, np.ndarray] = {}

    def fitting(self, phrase: str) -> np.ndarray:
        """Of which objects of the catalogue the phrase may truly be said, (n,) bool."""
        if phrase not in self._fitting:
            self._fitting[phrase] = np.array([matches(spec, phrase) for spec in self.specs.values()], bool)
        return self._fitting[phrase]

    def ask(
        self,
        prediction: Prediction,
        scene: Scene,
        cloud: Cloud,
        asked: list[Question],
        modes: Iterable[str] | None = None,
    ) -> Answer:
        """Compares every row with every phrase and negative, once. modes: instead of the asker's own."""
        similarity = prediction.similarity([question.phrase for question in asked])
        size = 1 + max([int(cloud.labels.max(initial=0)), *scene.objects])
        counts = row_counts(cloud.labels, prediction.row, len(similarity), size)
        wanted = set(self.modes if modes is None else modes) - {"none"}
        negatives = {mode: self._negatives(mode, prediction, scene, asked) for mode in wanted}
        return Answer(asked, counts, areas_of(cloud.labels), similarity, negatives)

    def _negatives(self, mode: str, prediction: Prediction, scene: Scene, asked: list[Question]) -> Negatives:
        if mode == "canonical":
            used = torch.ones(len(asked), len(CANONICAL_NEGATIVES), dtype=torch.bool)
            return Negatives(prediction.similarity(CANONICAL_NEGATIVES), used)
        if mode == "all":
            objects = {name: spec.category for name, spec in self.specs.items()}
            fits = np.array([self.fitting(question.phrase) for question in asked])
        else:
            objects = {entry["name"]: entry["category"] for entry in scene.objects.values()}
            fits = np.array([self._in_scene(scene, objects, question) for question in asked])
        by_name = self.kind == "open" and isinstance(prediction, FeatureCloud) and objects.keys() <= self.specs.keys()
        keys = list(objects if by_name else objects.values())
        distinct, key = np.unique(np.array(keys, str), return_inverse=True)
        fits = fits.reshape(len(asked), len(keys)) @ (key[:, None] == np.arange(len(distinct)))  # of some object of it
        if by_name and len(distinct):
            similarity = prediction.similarity_to(
                torch.stack([self.prompts.prompt(name) for name in distinct.tolist()])
            )
        else:
            similarity = prediction.similarity(distinct.tolist())
        return Negatives(similarity, torch.from_numpy(~fits))

    def _in_scene(self, scene: Scene, objects: Mapping[str, str], question: Question) -> list[bool]:
        """Which objects the phrase fits: by the catalogue, where that knows them; else those that are asked for."""
        asked = {scene.objects[label]["name"] for label in question.labels}
        known = self.specs
        return [name in asked or (name in known and matches(known[name], question.phrase)) for name in objects]


def calibrate(
    answers: Sequence[Answer],
    config: InferenceConfig,
    temperatures: Sequence[float] = TEMPERATURES,
    thresholds: Sequence[float] | None = None,
) -> tuple[InferenceConfig, dict[tuple[float, float], float]]:
    """`config` with the temperature and threshold of the best referring mIoU over the answers, and the mIoU of all.

    thresholds: THRESHOLDS for probabilities, for cosines STEPS of them over those that there are. Argmax has neither,
    a cosine no temperature: they keep theirs. Raises ValueError where nothing was asked that is there.
    """
    if not any(question.labels for answer in answers for question in answer.questions):
        raise ValueError("no question has an answer in these scenes: expected some to calibrate with")
    if config.method == "argmax":
        temperatures, thresholds = (config.temperature,), (config.threshold,)
    elif not config.compares:
        temperatures = (config.temperature,)
        if thresholds is None:
            ends = [answer.similarity.aminmax() for answer in answers if answer.similarity.numel()]
            low, high = min(end.min.item() for end in ends), max(end.max.item() for end in ends)
            thresholds = np.linspace(low, high, STEPS).clip(-1, 1).tolist()
    thresholds = THRESHOLDS if thresholds is None else thresholds
    curve = {}
    for temperature in temperatures:
        tried = replace(config, temperature=temperature)
        if config.method == "argmax":
            ious = [answer.ious(tried)[:, None] for answer in answers]
        else:
            ious = [answer.curve(tried, thresholds) for answer in answers]
        means = np.nanmean(np.concatenate(ious), axis=0)
        curve |= {(temperature, threshold): float(mean) for threshold, mean in zip(thresholds, means, strict=True)}
    temperature, threshold = max(curve, key=curve.get)
    return replace(config, temperature=temperature, threshold=threshold), curve
