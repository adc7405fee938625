# SPDX-License-Identifier: Apache-2.0
"""Names on real frames: which instance does a phrase rank first, what is answered, what is refused, and how sure is it?

    python -m benchmarks.path.names FRAMES [--sources chosen] [--parts] [--out names.json]

FRAMES: what ../shared/named/rebuild.py makes: a folder a scene with color.png, depth.png (mm), k.json and objects.json.
Instance: a phrase's pixel is on an instance of under a quarter of the picture. First: that instance scores best.
Answered: `Grounder.ground` answers with it first. Refused: NOT_FOUND, wrongly for these phrases; rightly for the names
of `training.names.absent`, of which the half that chooses nothing is counted. Shares with Wilson's 95 %
intervals. Confidence against the share of answers that are right: expected calibration error over five bins.
--parts scores the encoder alone, with the image's names, and with labels, too.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro

from dropclip_ros import Grounder, Status
from dropclip_ros.grounding.pipeline import EncodedScene
from dropclip_ros.networks.text import TextEncoder
from training.names.absent import FOREIGN, half, other
from training.names.frames import LARGEST, encoded, frames, instance_at

ANSWERED = 8  # px around a marked pixel that may show the answer
BINS = 5


@dataclass
class Asked:
    """What came of a phrase: its family, whether its pixel is on an instance, which ranks first, and the answer."""

    family: str
    instance: bool = False
    first: bool = False
    answered: bool = False
    refused: bool = True
    confidence: float | None = None


@dataclass
class Counts:
    """All that was asked of some frames; absent: names by kind, and whether each was refused."""

    asked: list[Asked] = field(default_factory=list)
    absent: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))


def ask(grounder: Grounder, scene: EncodedScene, name: str, family: str, pixel: tuple[int, int]) -> Asked:
    """Asks for a thing that is there, at a pixel (u, v)."""
    labels = scene.image(grounder.instances(scene).astype(np.int64))
    wanted, row = instance_at(labels, *pixel), Asked(family)
    if wanted:
        odds = grounder.compare(scene, [name]).odds[:, 0]
        row.instance, row.first = True, bool((odds > odds[wanted - 1]).sum() == 0)
    result = grounder.ground(scene, name)
    row.refused = result.status == Status.NOT_FOUND
    if result.objects:
        mask = np.zeros(labels.size, bool)
        mask[scene.pixels[result.objects[0].points]] = True
        u, v = pixel
        around = mask.reshape(labels.shape)[
            max(0, v - ANSWERED) : v + ANSWERED + 1, max(0, u - ANSWERED) : u + ANSWERED + 1
        ]
        row.answered, row.confidence = bool(around.any() and mask.mean() < LARGEST), result.objects[0].confidence
    return row


def score(grounder: Grounder, paths: Iterable[Path], reported: bool = True) -> Counts:
    """Asks for everything in some frames; reported: with the half of the absent names that is reported."""
    counts = Counts()
    for path in paths:
        scene = encoded(grounder, path)
        for row in json.loads((path / "objects.json").read_text()):
            family = row.get("family", "class")
            counts.asked.append(ask(grounder, scene, row["name"], family, row["uv"]) if scene else Asked(family))
        if scene:
            for kind, names in (("foreign", FOREIGN), ("other", other(path.name))):
                results = (grounder.ground(scene, name) for name in half(names, reported))
                counts.absent[kind] += [result.status == Status.NOT_FOUND for result in results]
    return counts


def wilson(right: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share."""
    if not of:
        return 0.0, 1.0
    z, p = 1.96, right / of
    middle, spread = p + z * z / (2 * of), z * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    return (middle - spread) / (1 + z * z / of), (middle + spread) / (1 + z * z / of)


def share(values: Iterable[bool]) -> str:
    """A share with its interval and count."""
    values = list(values)
    low, high = wilson(sum(values), len(values))
    return f"{np.mean(values):.2f} ({low:.2f} to {high:.2f}, n {len(values)})" if values else "-"


def reliability(asked: Iterable[Asked]) -> tuple[list[tuple[float, float, int]], float]:
    """Mean confidence, share right and count of each bin of the answers, and the expected calibration error."""
    answers = [(row.confidence, row.answered) for row in asked if row.confidence is not None]
    if not answers:
        return [], math.nan
    sure, right = np.array(answers, float).T
    index, bins, error = np.minimum((sure * BINS).astype(int), BINS - 1), [], 0.0
    for k in np.unique(index):
        chosen = index == k
        bins.append((float(sure[chosen].mean()), float(right[chosen].mean()), int(chosen.sum())))
        error += chosen.mean() * abs(bins[-1][0] - bins[-1][1])
    return bins, float(error)


def table(counts: Counts) -> str:
    """The shares as a table, and the reliability."""
    lines = ["| | instance | first | answered | wrongly refused |", "| --- | --- | --- | --- | --- |"]
    for family in ("all", "class", "attribute", "affordance", "open"):
        rows = [row for row in counts.asked if family in ("all", row.family)]
        cells = [share(getattr(row, what) for row in rows) for what in ("instance", "first", "answered", "refused")]
        lines.append(f"| {family} | {' | '.join(cells)} |")
    lines += [f"absent refused, {kind}: {share(refused)}" for kind, refused in counts.absent.items()]
    bins, error = reliability(counts.asked)
    if bins and bins[0][0] >= 0:
        steps = ", ".join(f"{sure:.2f}: {right:.2f} (n {count})" for sure, right, count in bins)
        lines.append(f"confidence: share right: {steps}; expected calibration error {error:.2f}")
    return "\n".join(lines)


def with_true_names(paths: Iterable[Path], text: TextEncoder) -> dict[str, list[bool]]:
    """What is left for the text tower: each annotated thing is called what its class or attribute phrase says; does a
    phrase of another family rank the thing first whose name is nearest? By family."""
    first = defaultdict(list)
    for path in paths:
        rows = json.loads((path / "objects.json").read_text())
        names = {tuple(row["uv"]): row["name"] for row in reversed(rows) if row["family"] in ("class", "attribute")}
        known = text.encode(list(names.values()), adapted=False)
        for row in rows:
            if row["family"] in ("affordance", "open") and tuple(row["uv"]) in names:
                nearest = (text.encode([row["name"]], adapted=False) @ known.T).argmax().item()
                first[row["family"]].append(list(names)[nearest] == tuple(row["uv"]))
    return first


def main(
    folder: tyro.conf.Positional[Path],
    sources: Literal["chosen", "more", "reported", "all"] = "chosen",
    model: Path | None = None,
    parts: bool = False,
    choosing: bool = False,
    true_names: bool = False,
    out: Path | None = None,
) -> None:
    """parts: also without labels, and the encoder alone. choosing: with the half of absent names that chooses.
    true_names: in place of pictures, what each thing is called. out: of all that was asked, as JSON."""
    torch.set_num_threads(1)
    if true_names:
        for family, values in with_true_names(frames(folder, sources), TextEncoder()).items():
            print(f"true names, {sources} sources, {family}: first {share(values)}")
        return
    kinds = {"all parts": {}}
    if parts:
        kinds = {"encoder": {"image": False}, "and names": {"labels": False}, "and labels": {}}
    kept = {}
    for name, options in kinds.items():
        counts = score(Grounder.from_pretrained(model, **options), frames(folder, sources), not choosing)
        print(f"\n{name}, {sources} sources\n\n{table(counts)}", flush=True)
        kept[name] = {"asked": [vars(row) for row in counts.asked], "absent": counts.absent}
    if out:
        out.write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    tyro.cli(main)
