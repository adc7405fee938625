# SPDX-License-Identifier: Apache-2.0
"""From similarities to answers: what a phrase is told apart from, and what is over the threshold (3.4, table 10)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from training.evaluate.metrics import overlap
from training.evaluate.protocol import FeatureCloud, Prediction
from training.evaluate.questions import Question, areas_of
from training.fusion.clouds import Cloud
from training.fusion.weights import ScenePrompts
from training.mvtod.catalogue import ObjectSpec, matches
from training.mvtod.phrases import CANONICAL_NEGATIVES
from training.mvtod.scenes import Scene

NEGATIVES = ("scene", "canonical", "all", "none")


@dataclass(frozen=True)
class InferenceConfig:
    """How a phrase is answered (table 10).

    method: "argmax", points where the phrase beats every negative, or "threshold", those whose probability is over
    `threshold`. negatives: prompts of the "scene"'s objects that the phrase does not fit, of "all" such objects of the
    catalogue, the "canonical" phrases, or "none": the threshold is then one of the cosine. temperature: gamma of
    section 3.4. release: as the published code does it, the least probability against any single negative, then
    stretched to 0..1 over the scene. null: cosine of a further class that is nothing, which allows NOT_FOUND.
    """

    method: Literal["argmax", "threshold"] = "threshold"
    negatives: Literal["scene", "canonical", "all", "none"] = "scene"
    threshold: float = 0.7
    temperature: float = 0.1
    release: bool = False
    null: float | None = None

    def __post_init__(self) -> None:
        if self.method not in ("argmax", "threshold"):
            raise ValueError(f"method {self.method!r}: expected argmax or threshold")
        if self.negatives not in NEGATIVES:
            raise ValueError(f"negatives {self.negatives!r}: expected one of {', '.join(NEGATIVES)}")
        if self.negatives == "none" and (self.method == "argmax" or self.release):
            raise ValueError("argmax and the release's variant compare with negatives: expected some, got none")
        if not -1 < self.threshold <= 1 or not 1e-4 <= self.temperature <= 100:
            raise ValueError(
                f"threshold {self.threshold}, temperature {self.temperature}: expected (-1, 1] and [0.0001, 100]"
            )

    def __str__(self) -> str:
        how = "argmax" if self.method == "argmax" else f"over {self.threshold:.3g}"
        extras = ", release" * self.release + (f", null {self.null:.3f}" if self.null is not None else "")
        return f"{how}, {self.negatives}, T {self.temperature:g}{extras}"


@dataclass
class Negatives:
    """Similarity (K,n) of rows with n prompts, and which of them each of Q phrases is told apart from, (Q,n) bool."""

    similarity: torch.Tensor
    used: torch.Tensor

    def rivals(self, temperature: float) -> torch.Tensor:
        """(K,Q) log-sum-exp of the used ones over temperature, -inf where there are none; 0: their maximum."""
        found = []
        for used in self.used:
            of_phrase = self.similarity[:, used]
            if not used.any():
                found.append(of_phrase.new_full((len(of_phrase),), -torch.inf))
            else:
                found.append((of_phrase / temperature).logsumexp(1) if temperature else of_phrase.amax(1))
        return torch.stack(found, dim=1)


def probabilities(similarity: torch.Tensor, negatives: Negatives | None, config: InferenceConfig) -> torch.Tensor:
    """rho+ (K,Q) of section 3.4 for similarities (K,Q); the cosine itself without negatives and null class."""
    if config.release:
        pairwise = torch.sigmoid((similarity - negatives.rivals(0)) / config.temperature)
        low, high = pairwise.amin(0), pairwise.amax(0)
        return (pairwise - low) / (high - low).clamp(min=1e-12)
    rest = similarity.new_full(similarity.shape, -torch.inf)
    if config.negatives != "none":
        rest = negatives.rivals(config.temperature)
    elif config.null is None:
        return similarity
    if config.null is not None:
        rest = torch.logaddexp(rest, similarity.new_tensor(config.null / config.temperature))
    return torch.sigmoid(similarity / config.temperature - rest)


@dataclass
class Answer:
    """What a method says about the questions of a cloud: enough for any inference.

    counts (L,K): points of each label in each row; totals (L,); similarity (K,Q); negatives by mode.
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
            return (self.similarity > self.negatives[config.negatives].rivals(0)).T.numpy()
        return (self.probabilities(config) > config.threshold).T.numpy()

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
        """IoU (Q,T) at each of T thresholds instead of the config's, from one sorting of the rows for each phrase."""
        found = np.full((len(self.questions), len(thresholds)), np.nan)
        of_row, scores = self.counts.sum(0), self.probabilities(config).numpy()
        for q, question in enumerate(self.questions):
            if question.labels:
                order = np.argsort(-scores[:, q])
                right = np.append(0, self.counts[question.labels].sum(0)[order].cumsum())
                union = self.totals[question.labels].sum() + np.append(0, of_row[order].cumsum()) - right
                taken = np.searchsorted(-scores[order, q], -np.asarray(thresholds), side="left")  # those above it
                found[q] = right[taken] / union[taken]
        return found

    def best(self, config: InferenceConfig) -> np.ndarray:
        """The best probability (Q,) in the scene; NOT_FOUND where it is not over the threshold."""
        scores = self.probabilities(config)
        return scores.amax(0).numpy() if len(scores) else np.zeros(len(self.questions))


class Asker:
    """Asks methods about clouds; knows the catalogue whose objects serve as negatives.

    modes: of negatives to prepare. Methods without a feature space get names of categories for "scene", and no "all".
    """

    def __init__(self, specs: Sequence[ObjectSpec], prompts: ScenePrompts, modes: Iterable[str] = NEGATIVES) -> None:
        self.specs, self.prompts, self.modes = {spec.name: spec for spec in specs}, prompts, set(modes)
        self._fits: dict[tuple[str, str], bool] = {}

    def fits(self, name: str, phrase: str) -> bool:
        """Whether the phrase may truly be said of the object."""
        if (name, phrase) not in self._fits:
            self._fits[name, phrase] = matches(self.specs[name], phrase)
        return self._fits[name, phrase]

    def ask(self, prediction: Prediction, scene: Scene, cloud: Cloud, asked: list[Question]) -> Answer:
        """Compares every row with every phrase and negative, once."""
        similarity = prediction.similarity([question.phrase for question in asked])
        counts = row_counts(cloud.labels, prediction.row, len(similarity))
        negatives = {mode: self._negatives(mode, prediction, scene, asked) for mode in self.modes - {"none"}}
        return Answer(asked, counts, areas_of(cloud.labels), similarity, negatives)

    def _negatives(self, mode: str, prediction: Prediction, scene: Scene, asked: list[Question]) -> Negatives:
        if mode == "canonical":
            return Negatives(prediction.similarity(CANONICAL_NEGATIVES), torch.ones(len(asked), 4, dtype=torch.bool))
        names = [entry["name"] for entry in scene.objects.values()] if mode == "scene" else list(self.specs)
        used = torch.tensor([[not self.fits(name, question.phrase) for name in names] for question in asked])
        if isinstance(prediction, FeatureCloud):
            embedded = torch.stack([self.prompts.prompt(name) for name in names])
            return Negatives(prediction.similarity_to(embedded), used)
        return Negatives(prediction.similarity([self.specs[name].category for name in names]), used)


def row_counts(labels: np.ndarray, row: np.ndarray, rows: int) -> np.ndarray:
    """Points (256,K) of each label in each row; points without a row are in none."""
    has = row >= 0
    return np.bincount(labels[has] * rows + row[has], minlength=256 * rows).reshape(256, rows)


def calibrate(
    answers: Sequence[Answer], config: InferenceConfig, temperatures: Sequence[float], thresholds: Sequence[float]
) -> tuple[InferenceConfig, dict[tuple[float, float], float]]:
    """`config` with the temperature and threshold of the best referring mIoU over the answers, and the mIoU of all."""
    curve = {}
    for temperature in temperatures:
        tried = replace(config, temperature=temperature)
        means = np.nanmean(np.concatenate([answer.curve(tried, thresholds) for answer in answers]), axis=0)
        curve |= {(temperature, threshold): float(mean) for threshold, mean in zip(thresholds, means, strict=True)}
    temperature, threshold = max(curve, key=curve.get)
    return replace(config, temperature=temperature, threshold=threshold), curve
