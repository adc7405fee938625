# SPDX-License-Identifier: Apache-2.0
"""Single-view evaluation through the real path (RANSAC, voxels, encoder, phrase): sections 4.1 and 4.2.

`python -m training.evaluate --scenes runs/large/scenes --out out/evaluate.md`

One random view of every held-out scene, encoded once; then everything is asked. Referring: IoU over all pixels with
depth between what was answered and the objects that the phrase truthfully fits, whatever was lost with the table
included; an answer of NOT_FOUND counts 0. Absent: phrases that fit nothing in view. The fused upper bound answers the
same questions from true masks with the features that the student was taught, calibrated for itself on the validation
scenes. Beside the tables lie the curve between refusing too much and too little (.csv) and its plot (.png).
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.special import expit
from tqdm import tqdm

from dropclip_ros.grounding.pipeline import Grounder
from dropclip_ros.grounding.scoring import referring_scores, rival_threshold, semantic_labels
from dropclip_ros.networks.model_folder import ModelConfig
from dropclip_ros.networks.text import TextEncoder
from training.evaluate.metrics import overlap, refusal, refused, row_counts, summary
from training.evaluate.questions import ABSENT_FAMILIES, Question, areas_of, categories, questions
from training.evaluate.served.calibrate import calibrate_method
from training.evaluate.served.pipeline import (
    SeenInstances,
    ServedMethod,
    TrueFeatures,
    drawn_views,
    single_view,
    true_labels,
)
from training.objects.catalogue import catalogue_of
from training.objects.spec import ObjectSpec
from training.objects.words.phrases import FAMILIES
from training.runs.errors import InputError
from training.runs.files import write_atomically
from training.scenes.scene import Scene
from training.scenes.shards import load_scenes

SPLITS = ("validation", "unseen_instance", "unseen_category")
WHICH = ("training", "heldout")  # phrases that training knew, and other words that it never saw
THRESHOLDS = tuple(expit(np.linspace(-12, 12, 49)).tolist())  # of the curve, even in log-odds


@dataclass
class Answers:
    """A view of L labels and its Q questions as one method sees them in K instances; enough for any threshold.

    counts (L,K): pixels of each label in each instance; totals (L,); similarity (K,Q) with the phrases and (K,n) with
    the negatives.
    """

    questions: list[Question]
    counts: np.ndarray
    totals: np.ndarray
    similarity: torch.Tensor
    negatives: torch.Tensor

    def scores(self, config: ModelConfig) -> np.ndarray:
        """The score (K,Q) of every instance for every question (section 3.4)."""
        instances, asked = self.similarity.shape
        negatives = self.negatives.repeat_interleave(asked, dim=0)
        classes = torch.cat([self.similarity.reshape(-1, 1), negatives], dim=1)
        return referring_scores(classes, config.temperature, config.null_similarity).reshape(instances, asked).numpy()

    def ious(self, scores: np.ndarray, rival: float, threshold: float) -> np.ndarray:
        """IoU (Q,) of what is answered where the scores are these; NaN for absent phrases."""
        found = np.full(len(self.questions), np.nan)
        for q, score in enumerate(scores.T):
            if self.questions[q].labels:
                chosen = score > rival_threshold(score, threshold, rival)
                found[q] = overlap(self.counts, self.totals, self.questions[q].labels, chosen)
        return found


def best(scores: np.ndarray) -> np.ndarray:
    """The best score (Q,) in view of scores (K,Q); at most the threshold means NOT_FOUND."""
    return scores.max(axis=0, initial=0.0)


def pixel_counts(labels: np.ndarray, of_pixel: np.ndarray, instances: int) -> np.ndarray:
    """Pixels (256,K) of each mask label in each instance 1..K."""
    return row_counts(labels, of_pixel - 1, instances)


def ask(
    asked: list[Question], seen: SeenInstances, labels: np.ndarray, text: TextEncoder, config: ModelConfig
) -> Answers:
    """Compares every instance with every phrase, once. labels (H W,): the mask label of each pixel."""
    return Answers(
        asked,
        pixel_counts(labels.astype(np.int64), seen.of_pixel, len(seen.features)),
        np.bincount(labels, minlength=256),
        seen.similarities([question.phrase for question in asked], text, config),
        seen.similarities(config.canonical_negatives, text, config),
    )


def semantic_ious(
    named: dict[str, list[int]], seen: SeenInstances, labels: np.ndarray, text: TextEncoder, config: ModelConfig
) -> np.ndarray:
    """IoU of each of the view's own categories, by argmax over their names."""
    answer = np.zeros(0, int)
    if len(seen.features):
        answer = semantic_labels(seen.similarities(list(named), text, config), config.null_similarity).numpy()
    counts = pixel_counts(labels.astype(np.int64), seen.of_pixel, len(seen.features))
    totals = np.bincount(labels, minlength=256)
    return np.array([overlap(counts, totals, of_name, answer == k) for k, of_name in enumerate(named.values(), 1)])


def answer_all(
    method: ServedMethod,
    scenes: list[Scene],
    specs: dict[str, ObjectSpec],
    text: TextEncoder,
    config: ModelConfig,
    seed: int = 0,
) -> tuple[dict[str, list[Answers]], list[np.ndarray]]:
    """The answers to either kind of phrase about one view of each scene, and semantic IoUs of each. specs: the objects
    of the scenes' catalogue by name."""
    answers, semantic = {which: [] for which in WHICH}, []
    for s, scene, v in drawn_views(scenes, seed):
        seen, view = method(scene, v), scene.view(v)
        labels = true_labels(view)
        for which in WHICH:
            asked = questions(scene, areas_of(view.mask), specs, which, np.random.default_rng([seed, s]))
            answers[which].append(ask(asked, seen, labels, text, config))
        semantic.append(semantic_ious(categories(scene, labels), seen, labels, text, config))
    return answers, semantic


def of_family(answers: list[Answers], values: list[np.ndarray], families: Sequence[str]) -> list[np.ndarray]:
    """Of the values (Q,) of each view those whose question is of one of the families."""
    return [
        value[[question.family in families for question in view.questions]]
        for view, value in zip(answers, values, strict=True)
    ]


def referring(answers: list[Answers], config: ModelConfig, rival: float, threshold: float) -> dict[str, dict]:
    """`summary` for each family of phrases, and for all."""
    ious = [view.ious(view.scores(config), rival, threshold) for view in answers]
    rows = {family: of_family(answers, ious, (family,)) for family in FAMILIES}
    rows["all"] = of_family(answers, ious, FAMILIES)
    return {name: summary(values) for name, values in rows.items() if sum(map(len, values))}


def refusals(answers: list[Answers], config: ModelConfig, threshold: float) -> dict[str, dict]:
    """Shares refused at `threshold` by family, and what any other threshold could do (see `refusal`)."""
    bests = [best(view.scores(config)) for view in answers]
    by_family = {
        family: np.concatenate(of_family(answers, bests, (family,))) for family in (*FAMILIES, *ABSENT_FAMILIES)
    }
    present = np.concatenate([by_family[family] for family in FAMILIES])
    shares = {family: refused(values, threshold) for family, values in by_family.items() if len(values)}
    rows = {"refused": {"present": refused(present, threshold)} | shares}
    return rows | {kind: refusal(present, by_family[kind]) for kind in ABSENT_FAMILIES if len(by_family[kind])}


def curve(answers: list[Answers], config: ModelConfig, rival: float) -> Iterable[dict[str, float]]:
    """Shares refused and the referring mIoU at each of THRESHOLDS, in percent; nothing is encoded again."""
    scores = [view.scores(config) for view in answers]
    bests = [best(of_view) for of_view in scores]
    groups = {"present": FAMILIES} | {kind: (kind,) for kind in ABSENT_FAMILIES}
    of_group = {name: np.concatenate(of_family(answers, bests, families)) for name, families in groups.items()}
    for threshold in THRESHOLDS:
        row = {f"{name} refused": refused(values, threshold) for name, values in of_group.items()}
        ious = np.concatenate(
            [view.ious(of_view, rival, threshold) for view, of_view in zip(answers, scores, strict=True)]
        )
        yield {"threshold": threshold, **row, "mIoU": 100 * float(np.nanmean(ious))}


def referring_table(rows: list[dict]) -> str:
    """Markdown: mIoU by family, and for all with its interval and Pr@X."""
    lines = [
        "| split | phrases | method | " + " | ".join(FAMILIES) + " | all: mIoU (95 %) | Pr@25/50/75 | semantic mIoU |",
        "| --- " * (6 + len(FAMILIES)) + "|",
    ]
    for row in rows:
        every = row["referring"]["all"]
        families = [f"{row['referring'][f]['mIoU']:.1f}" if f in row["referring"] else "" for f in FAMILIES]
        cells = [row["split"], row["phrases"], row["method"], *families]
        cells += [f"{every['mIoU']:.1f} ({every['low']:.1f} to {every['high']:.1f})"]
        cells += ["/".join(f"{every[f'Pr@{x}']:.0f}" for x in (25, 50, 75))]
        cells += [f"{row['semantic']['mIoU']:.1f} ({row['semantic']['low']:.1f} to {row['semantic']['high']:.1f})"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def refusal_table(rows: list[dict]) -> str:
    """Markdown: refusals at the default threshold, and at the two operating points, absent / other."""
    lines = [
        "| split | phrases | method | absent refused | other refused | present refused | AUROC absent, other | "
        "90 % of absent, other refused -> present refused | 5 % of present refused -> absent, other refused |",
        "| --- " * 9 + "|",
    ]
    for row in rows:
        share, kinds = row["refused"], [row[kind] for kind in ABSENT_FAMILIES if kind in row]
        cells = [row["split"], row["phrases"], row["method"]]
        cells += [f"{share[name]:.0f} %" if name in share else "" for name in (*ABSENT_FAMILIES, "present")]
        cells += [", ".join(f"{kind['AUROC']:.2f}" for kind in kinds)]
        for point in ("present refused at 90 % of absent", "absent refused at 5 % of present"):
            cells += [", ".join(f"{kind[point]:.0f} %" for kind in kinds)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def plot_curves(curves: list[dict], path: Path) -> None:
    """Present phrases wrongly refused over absent ones refused: a panel for either kind of absent phrase."""
    from matplotlib.figure import Figure

    lines = defaultdict(list)
    for row in curves:
        lines[row["split"], row["phrases"], row["method"]].append(row)
    figure = Figure(figsize=(12, 5.5), layout="constrained")
    for axes, kind in zip(figure.subplots(1, 2, sharey=True), ABSENT_FAMILIES, strict=True):
        for (split, phrases, method), rows in lines.items():
            style = dict(zip(SPLITS, ("C0", "C1", "C2"), strict=True)).get(split, "C3")
            axes.plot(
                [row[f"{kind} refused"] for row in rows],
                [row["present refused"] for row in rows],
                color=style,
                linestyle="-" if phrases == "training" else "--",
                linewidth=1 if method == "fused" else 2,
                alpha=0.6 if method == "fused" else 1,
                label=f"{split}, {phrases} phrases, {method}",
            )
        axes.plot([90], [5], "k*", markersize=12, label="aim")
        axes.set(xlabel=f"{kind} phrases refused, %", xlim=(0, 100), ylim=(0, 100))
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("present phrases wrongly refused, %")
    figure.axes[1].legend(fontsize=7)
    figure.savefig(path, dpi=120)


def load_grounder(
    model: Path | None, image_weight: float, known: list[Scene], specs: Sequence[ObjectSpec], names: bool = False
) -> Grounder:
    """The model, with its names, or with the frame's crops at `image_weight`, and calibrated for that on the scenes
    `known` if need be. specs: the objects of these scenes' catalogue."""
    if names:
        return Grounder.from_pretrained(model)
    grounder = Grounder.from_pretrained(model, image="tower" if image_weight > 0 else False)
    if grounder.image is not None and grounder.image.config.weight != image_weight:
        grounder.image.config = replace(grounder.image.config, weight=image_weight)
        grounder.config = calibrate_method(single_view(grounder), grounder.text, grounder.config, known, specs)
    return grounder


def main(
    scenes: Path,
    out: Path = Path("out/evaluate.md"),
    splits: tuple[str, ...] = SPLITS,
    model: Path | None = None,
    fused: bool = True,
    threshold: float = 0.0,
    image_weight: float = 0.0,
    names: bool = False,
    limit: int | None = None,
    seed: int = 0,
) -> None:
    """Prints a JSON line for each split, kind of phrases and method; writes tables, curves and their plot.

    scenes: folder with a folder of scenes for each split, "validation" among them. fused: the upper bound too.
    threshold: in (0, 1), 0 for the model's own. image_weight: of the frame's own crops, 0 for the encoder alone;
    one that the model is not calibrated for is calibrated here. names: as served, with
    the names of the picture. limit: scenes of each split.
    """
    torch.set_grad_enabled(False)
    known = load_scenes(scenes / "validation")[:limit]
    objects = catalogue_of(scenes / "validation").specs
    grounder = load_grounder(model, image_weight, known, objects, names)
    text, rival = grounder.text, grounder.objects.rival
    methods: dict[str, tuple[ServedMethod, ModelConfig]] = {"single view": (single_view(grounder), grounder.config)}
    if fused:
        upper = TrueFeatures.of_model(model, grounder, objects)
        methods["fused"] = (upper, calibrate_method(upper, text, grounder.config, known, objects))
    rows, curves = [], []
    for split in splits:
        of_split, specs = load_scenes(scenes / split)[:limit], catalogue_of(scenes / split).by_name
        for name, (method, config) in methods.items():
            config = replace(config, threshold=threshold or config.threshold)
            answers, semantic = answer_all(method, of_split, specs, text, config, seed)
            for which in WHICH:
                if not any(question.labels for view in answers[which] for question in view.questions):
                    tqdm.write(f"{split}: its catalogue has no {which} phrases of what is in view; left out")
                    continue
                head = {"split": split, "scenes": len(of_split), "phrases": which, "method": name}
                row = head | {"referring": referring(answers[which], config, rival, config.threshold)}
                of_scenes = summary([np.array([ious.mean()]) for ious in semantic])
                row |= {"semantic": {key: of_scenes[key] for key in ("n", "mIoU", "low", "high")}}
                row |= refusals(answers[which], config, config.threshold)
                rows.append(row)
                curves += [head | point for point in curve(answers[which], config, rival)]
                print(json.dumps(rounded(row)), flush=True)
    if not rows:
        raise InputError(f"{scenes}: no view shows what its catalogue has phrases for; give its objects phrases")
    with write_atomically(out, replace=True) as part:
        part.write_text(referring_table(rows) + "\n" + refusal_table(rows))
    with write_atomically(out.with_suffix(".csv"), replace=True) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, curves[0])
        writer.writeheader()
        writer.writerows(rounded(row) for row in curves)
    plot_curves(curves, out.with_suffix(".png"))


def rounded(row: dict) -> dict:
    """Numbers to five significant digits, also in nested tables: percent need no more."""
    return {
        key: rounded(value) if isinstance(value, dict) else float(f"{value:.5g}") if isinstance(value, float) else value
        for key, value in row.items()
    }
