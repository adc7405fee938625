# SPDX-License-Identifier: Apache-2.0
"""Temperature, null similarity and threshold of a model, fitted on phrases that fit something in view and others.

The softmax of (similarity, null) at temperature t is the logistic function of (similarity - null) / t: a logistic
regression of "the phrase fits something in view" on the best similarity in view gives both numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import rankdata

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grounding.pipeline import Grounder
from dropclip_ros.grounding.scoring import similarities
from dropclip_ros.networks.model_folder import ModelConfig
from dropclip_ros.vision.geometry import RgbdFrame

RIDGE = 0.05  # on the slope over standardised similarities: finite where a few phrases are told apart without a fault
LEAST_SLOPE = 1e-2
FEWEST = 3  # phrases that are there, and that are not
CURVE = tuple(np.round(np.arange(0.05, 1, 0.05), 2).tolist())


@dataclass(frozen=True)
class LabelledFrame:
    """A frame with phrases that fit something in it, and phrases that fit nothing."""

    frame: RgbdFrame
    there: tuple[str, ...]
    absent: tuple[str, ...]


@dataclass(frozen=True)
class Calibration:
    """What was fitted, and how well it refuses: curve, rows of threshold, share of the phrases there that are answered
    and of the absent that are refused, each phrase scored by what the other half of the frames gave. auroc: chance that
    a phrase that is there comes before one that is not; 0.5 is none."""

    temperature: float
    null_similarity: float
    threshold: float
    auroc: float
    frames: int
    there: int
    absent: int
    curve: tuple[tuple[float, float, float], ...]

    def __str__(self) -> str:
        _, answered, refused = min(self.curve, key=lambda row: abs(row[0] - self.threshold))
        return (
            f"Fitted on {self.frames} frames: of {self.there} phrases that are there {answered:.0%} are answered, of "
            f"{self.absent} that are not {refused:.0%} are refused (each scored by the other half of the frames); "
            f"AUROC {self.auroc:.2f}."
        )

    def to_dict(self) -> dict:
        return asdict(self) | {
            "curve": [dict(zip(("threshold", "answered", "refused"), row, strict=True)) for row in self.curve]
        }


def fit(best: np.ndarray, fits: np.ndarray) -> tuple[float, float]:
    """Temperature and null similarity, such that a score of 0.5 means "as likely as not".

    best (n,): best similarity in view of each phrase; fits (n,) bool: whether it is there. Both kinds weigh alike.
    """
    middle, spread = best.mean(), max(float(best.std()), 1e-6)
    x, y = (best - middle) / spread, fits.astype(float)
    weight = np.where(fits, len(fits) / (2 * max(fits.sum(), 1)), len(fits) / (2 * max((~fits).sum(), 1)))

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        slope, offset = parameters
        logit = slope * x + offset
        wrong = weight * (expit(logit) - y)
        value = (weight * (np.logaddexp(0, logit) - y * logit)).sum() + RIDGE / 2 * slope**2
        return value, np.array([wrong @ x + RIDGE * slope, wrong.sum()])

    slope, offset = minimize(
        loss, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=[(LEAST_SLOPE, None), (None, None)]
    ).x
    temperature = float(np.clip(spread / slope, 1e-4, 100))
    return temperature, float(np.clip(middle - offset * spread / slope, -1, 1))


def area_under_curve(best: np.ndarray, fits: np.ndarray) -> float:
    """AUROC of the similarities (n,): chance that one that fits (n,) is over one that does not, ties half."""
    ranks, there = rankdata(best), int(fits.sum())
    return float((ranks[fits].sum() - there * (there + 1) / 2) / (there * (len(fits) - there)))


@torch.inference_mode()
def best_in_view(grounder: Grounder, frame: RgbdFrame, phrases: Sequence[str]) -> np.ndarray:
    """The best similarity (n,) that anything in the frame has with each phrase."""
    text = grounder.text.encode(phrases).to(grounder.device)
    scene = grounder.encode(frame)
    return similarities(scene.instance_features, text, grounder.text.mean_object).amax(0).double().cpu().numpy()


def calibrate_on(grounder: Grounder, frames: Sequence[LabelledFrame], refuse: float | None = None) -> Calibration:
    """Fits on frames of one's own; a frame that cannot be encoded raises, as `Grounder.encode`.

    refuse: the share of absent phrases that the threshold is to refuse, in (0, 1); None: a threshold of 0.5, "as likely
    as not". BAD_REQUEST where there are too few frames or phrases to fit anything.
    """
    best, fits, owner = [], [], []
    for number, labelled in enumerate(frames):
        phrases = [*labelled.there, *labelled.absent]
        best.append(best_in_view(grounder, labelled.frame, phrases))
        fits.append(np.arange(len(phrases)) < len(labelled.there))
        owner.append(np.full(len(phrases), number))
    if not best:
        raise DropclipError(Status.BAD_REQUEST, "no frames to calibrate on: expected two or more, better a dozen")
    return fit_frames(np.concatenate(best), np.concatenate(fits), np.concatenate(owner), refuse)


def fit_frames(best: np.ndarray, fits: np.ndarray, owner: np.ndarray, refuse: float | None = None) -> Calibration:
    """`calibrate_on`, of similarities (n,), which phrases fit (n,) bool, and the frame of each (n,) int."""
    halves = owner % 2 == 0
    for half in (halves, ~halves):
        if min((fits & half).sum(), (~fits & half).sum()) < FEWEST:
            raise DropclipError(
                Status.BAD_REQUEST,
                f"too few to calibrate on: each half of the frames needs {FEWEST} phrases that are there and {FEWEST} "
                f"that are not; got {int((fits & half).sum())} and {int((~fits & half).sum())}. Give more frames",
            )
    scores = np.empty(len(best))
    for half in (halves, ~halves):
        temperature, null = fit(best[~half], fits[~half])
        scores[half] = expit((best[half] - null) / temperature)
    curve = tuple((at, float((scores[fits] > at).mean()), float((scores[~fits] <= at).mean())) for at in CURVE)
    threshold = 0.5
    if refuse is not None:
        threshold = next((at for at, _, refused in curve if refused >= refuse), CURVE[-1])
    temperature, null = fit(best, fits)
    counts = len(np.unique(owner)), int(fits.sum()), int((~fits).sum())
    auroc = area_under_curve(best, fits)
    return Calibration(round(temperature, 5), round(null, 5), threshold, auroc, *counts, curve)


def calibrated(config: ModelConfig, found: Calibration, image: bool) -> ModelConfig:
    """The configuration with the numbers of a calibration. image: of the image tower's cosines, mixed or alone."""
    temperature, null = found.temperature, found.null_similarity
    if image and config.image is not None:
        tower = replace(config.image, temperature=temperature, null_similarity=null)
        return replace(config, image=tower, threshold=found.threshold)
    return replace(config, temperature=temperature, null_similarity=null, threshold=found.threshold)
