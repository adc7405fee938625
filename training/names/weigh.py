# SPDX-License-Identifier: Apache-2.0
"""How much the encoder, names and labels count beside each other, and from where on a phrase is answered.

Fitted on real frames, which choose but teach nothing, and on rendered ones together. Each instance that a phrase fits,
and "none of these", is a class of a softmax over log-odds: what ranks right and what is refused come out of one fit,
and 0.5 is the one threshold. A second fit on the answers then turns their scores into how often they are right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn.functional import softplus

from dropclip_ros import DropclipError, Grounder
from dropclip_ros.base.reading import read_json
from dropclip_ros.grounding.scoring import similarities
from dropclip_ros.networks.names import WORDINGS, NamesConfig, Say, confidence_features, wording
from training.evaluate.questions import areas_of, questions
from training.evaluate.served.pipeline import drawn_views, view_frame
from training.names.absent import FOREIGN, half, other
from training.names.frames import encoded, frames, instance_at
from training.objects.procedural.objects import catalogue
from training.scenes.shards import load_scenes

KINDS = ("encoder", "names", "own", "labels", "colours")
# One unit of each counts about as much.
UNIT = {"encoder": 20.0, "names": 1.0, "own": 1.0, "labels": 6.0, "colours": 1.0}
PULL = 0.02  # of each factor to one for all wordings
STEPS, RATE = 600, 0.05
COVERED = 0.5  # share of an instance's pixels that an object covers where the instance shows it


@dataclass
class Row:
    """A phrase about a scene: evidence (K,5) of its K instances, which of them it fits (K,), what it counts for, and
    the scene's name."""

    phrase: str
    evidence: Tensor
    fits: Tensor
    group: str
    scene: str


def evidence_of(grounder: Grounder, scene, phrase: str) -> Tensor:
    """All kinds of evidence, (K,5), each in its unit."""
    text = grounder.text.encode([phrase])
    cosine = similarities(scene.instance_features, text, grounder.text.mean_object)
    evidence, _ = grounder.beside.evidence(cosine, [phrase], scene.frame.rgb, scene.shown, scene.known, {})
    return torch.stack([UNIT[kind] * evidence[kind][:, 0].cpu() for kind in KINDS], dim=1)


def coloured(name: str, k: int) -> str:
    """An absent thing in some colour: that something else has the colour is no answer."""
    article, _, noun = name.partition(" ")
    if article not in ("a", "an", "the", "some"):
        return f"{SOME_COLOURS[k % len(SOME_COLOURS)]} {name}"
    return f"the {SOME_COLOURS[k % len(SOME_COLOURS)]} {noun}"


def real_rows(grounder: Grounder, folder: Path, sources: str = "chosen") -> Iterator[Row]:
    """Phrases of the named frames of sources that choose, and the half of the absent names that does."""
    for path in frames(folder, sources):
        if (scene := encoded(grounder, path)) is None:
            continue
        labels = scene.image(grounder.instances(scene).astype(np.int64))
        named = read_json(path / "objects.json")
        at = {tuple(asked["uv"]): instance_at(labels, *asked["uv"]) for asked in named}
        for asked in named:
            found, evidence = at[tuple(asked["uv"])], evidence_of(grounder, scene, asked["name"])
            whole = found > 0 and list(at.values()).count(found) == 1  # two things in one instance: it is neither
            fits = (
                torch.arange(1, len(evidence) + 1) == found if whole else torch.zeros(len(evidence), dtype=torch.bool)
            )
            yield Row(asked["name"], evidence, fits, "real" if whole else "real lost", path.name)
        absent = {"foreign": half(FOREIGN, reported=False), "other": half(other(path.name), reported=False)}
        things = [name for name in absent["foreign"] if wording(name) == "name"]
        absent["coloured"] = [coloured(name, k) for k, name in enumerate(things[::3])]
        for kind, names in absent.items():
            for name in names:
                evidence = evidence_of(grounder, scene, name)
                yield Row(name, evidence, torch.zeros(len(evidence), dtype=torch.bool), f"real {kind}", path.name)


def rendered_rows(grounder: Grounder, folder: Path, seed: int = 0) -> Iterator[Row]:
    """Training phrases about a view of each rendered scene, of the procedural catalogue, and absent ones."""
    specs = {spec.name: spec for spec in catalogue()}
    rng = np.random.default_rng(seed)
    for _, scene, v in drawn_views(load_scenes(folder), seed, folder.name):
        view = scene.view(v)
        try:
            seen = grounder.encode(view_frame(view))
        except DropclipError:
            continue
        labels = seen.image(grounder.instances(seen).astype(np.int64))
        counts = np.stack([np.bincount(view.mask[labels == k], minlength=256) for k in range(1, labels.max() + 1)])
        shows = counts.argmax(1)[:, None] == np.arange(256)
        shows &= counts >= COVERED * counts.sum(1, keepdims=True)
        for asked in questions(scene, areas_of(view.mask), specs, "training", rng):
            fits = torch.tensor(shows[:, asked.labels].any(1) if asked.labels else np.zeros(len(shows), bool))
            if asked.labels and not fits.any():
                continue
            group = {"absent": "rendered foreign", "other": "rendered other"}.get(asked.family, "rendered")
            yield Row(asked.phrase, evidence_of(grounder, seen, asked.phrase), fits, group, scene.name)
            if group == "rendered other":
                phrase = coloured(asked.phrase, int(rng.integers(99)))
                yield Row(phrase, evidence_of(grounder, seen, phrase), fits, "rendered coloured", scene.name)


def fit(rows: Sequence[Row], shares: dict[str, float], seed: int = 0) -> dict[str, Say]:
    """Factors and offset of each wording. shares: what each group of rows counts, however many it has."""
    rows = [row for row in rows if row.group in shares]
    torch.manual_seed(seed)
    factors = torch.zeros(len(WORDINGS), len(KINDS), requires_grad=True)  # under softplus: no evidence counts against
    offsets = torch.full((len(WORDINGS),), -2.0, requires_grad=True)
    optimizer = torch.optim.Adam([factors, offsets], lr=RATE)
    size = max(len(row.fits) for row in rows)
    evidence, fits = torch.zeros(len(rows), size, len(KINDS)), torch.zeros(len(rows), size + 1, dtype=torch.bool)
    there = torch.zeros(len(rows), size, dtype=torch.bool)
    for r, row in enumerate(rows):
        evidence[r, : len(row.fits)], fits[r, : len(row.fits)], there[r, : len(row.fits)] = row.evidence, row.fits, True
        fits[r, size] = not row.fits.any()
    of = torch.tensor([WORDINGS.index(wording(row.phrase)) for row in rows])
    groups = [row.group for row in rows]
    weight = torch.tensor([shares[group] / groups.count(group) for group in groups])
    with torch.enable_grad():
        for _ in range(STEPS):
            odds = (softplus(factors)[of][:, None] * evidence).sum(2) + offsets[of][:, None]
            classes = torch.cat([odds.masked_fill(~there, -torch.inf), torch.zeros(len(rows), 1)], dim=1)
            logs = torch.log_softmax(classes, dim=1).masked_fill(~fits, -torch.inf).logsumexp(1)
            alike = ((softplus(factors) - softplus(factors).mean(0)) ** 2).sum() + (softplus(factors) ** 2).mean()
            loss = -(weight * logs).sum() + PULL * alike
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    values = softplus(factors.detach()) * torch.tensor([UNIT[kind] for kind in KINDS])
    return {
        each: Say(
            **{kind: round(float(value), 3) for kind, value in zip(KINDS, values[w], strict=True)},
            offset=round(float(offsets.detach()[w]), 3),
        )
        for w, each in enumerate(WORDINGS)
    }


def odds_of(row: Row, say: dict[str, Say]) -> Tensor:
    """Log-odds (K,) of a row under factors."""
    of = say[wording(row.phrase)]
    units = torch.tensor([getattr(of, kind) / UNIT[kind] for kind in KINDS])
    return row.evidence @ units + of.offset


def refusing(rows: Sequence[Row], say: dict[str, Say], least: dict[str, float]) -> dict[str, Say]:
    """With the highest offsets at which at least the given share of the rows of each group is refused: one shift for
    colours, whose absent names are groups of their own, and one for the other wordings."""
    shifts = {}
    for group, share in least.items():
        some = [row for row in rows if row.group == group]
        colours = all(wording(row.phrase) == "colour" for row in some)
        shift = -float(np.quantile([float(odds_of(row, say).max()) for row in some], share))
        shifts[colours] = min(shift, shifts.get(colours, np.inf))
    by = {each: shifts.get(each == "colour", 0.0) for each in say}
    return {each: replace(of, offset=round(of.offset + by[each], 3)) for each, of in say.items()}


def confidence(rows: Sequence[Row], say: dict[str, Say]) -> tuple[float, float, float]:
    """What `confidence_features` count for, by logistic regression on the answers to what is there: right or not. Real
    and rendered answers weigh alike."""
    features, right, groups = [], [], []
    for row in rows:
        odds = odds_of(row, say).numpy()
        if row.group in ASKED and odds.max() > 0:
            first, second = np.append(np.sort(odds), -5.0)[[-2, -3]] if len(odds) > 1 else (odds[0], -5.0)
            features.append(confidence_features(first, second))
            right.append(bool(row.fits[odds.argmax()]))
            groups.append(row.group.split()[0])
    weight = [1 / groups.count(group) for group in groups]
    model = LogisticRegression(C=1e4, fit_intercept=False).fit(features, right, weight)
    slope, lead, offset = (round(float(value), 3) for value in model.coef_[0])
    return slope, lead, offset


def summary(rows: Sequence[Row], say: dict[str, Say]) -> str:
    """For each group: ranked first and answered right, or refused."""
    lines = []
    for group in sorted({row.group for row in rows}):
        some = [(odds_of(row, say), row.fits) for row in rows if row.group == group]
        refused = np.mean([bool(odds.max() <= 0) for odds, _ in some])
        first = np.mean([bool(fits[odds.argmax()]) for odds, fits in some])
        right = np.mean([bool(fits[odds.argmax()] and odds.max() > 0) for odds, fits in some])
        lines.append(f"{group:18s} n {len(some):4d} first {first:.2f} answered right {right:.2f} refused {refused:.2f}")
    return "\n".join(lines)


SHARES = {"real": 0.35, "real foreign": 0.1, "real other": 0.1, "real coloured": 0.05}
SHARES |= {"rendered": 0.25, "rendered foreign": 0.1, "rendered other": 0.1, "rendered coloured": 0.05}
SOME_COLOURS = ("red", "blue", "white", "black", "green", "yellow", "brown")
ASKED = ("real", "real lost", "rendered")  # groups of phrases that fit something
LEAST = {"real foreign": 0.91, "real other": 0.8, "real coloured": 0.85}  # the aims, and a little for other names


def weigh(rows: Sequence[Row], config: NamesConfig) -> NamesConfig:
    """The configuration with factors, offsets and confidence fitted on rows."""
    say = refusing(rows, fit(rows, SHARES), LEAST)
    print(summary(rows, say))
    return replace(config, say=say, confidence=confidence(rows, say))
