# SPDX-License-Identifier: Apache-2.0
"""How well instances agree with labelled objects: panoptic quality, and what was cut into pieces or joined."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np


@dataclass
class Tally:
    """Sums over scenes; `scores` makes shares of them.

    An instance and an object are the same at IoU over 0.5. Of the instances left over those count as wrong of which
    most pixels have a label (table or object): what nobody labelled is no mistake. A piece is an instance most of which
    lies on one object; an object is joined where one instance holds most of it and most of another object too.
    """

    objects: int = 0
    best: float = 0.0  # sum of the best IoU of any instance with each object
    recalled: int = 0  # objects with an instance of IoU 0.5 or more
    crowded: int = 0  # of 0.75 or more
    same: int = 0
    same_iou: float = 0.0
    wrong: int = 0
    pieces: int = 0
    seen: int = 0  # objects with a piece
    joined: int = 0  # objects beyond the first that one instance holds

    def __iadd__(self, other: "Tally") -> "Tally":
        for of in fields(self):
            setattr(self, of.name, getattr(self, of.name) + getattr(other, of.name))
        return self

    def scores(self) -> dict[str, float]:
        """IoU, recall and PQ = RQ SQ in percent, pieces for each object that has one, joins for each object."""
        n, matched = max(self.objects, 1), max(self.same, 1)
        quality = self.same / max(self.same + 0.5 * self.wrong + 0.5 * (self.objects - self.same), 1e-9)
        return {
            "best IoU": 100 * self.best / n,
            "recall@0.5": 100 * self.recalled / n,
            "@0.75": 100 * self.crowded / n,
            "PQ": 100 * quality * self.same_iou / matched,
            "RQ": 100 * quality,
            "SQ": 100 * self.same_iou / matched,
            "pieces": self.pieces / max(self.seen, 1),
            "joins": self.joined / n,
        }


def tally(labels: np.ndarray, found: np.ndarray) -> Tally:
    """Compares labels (N,) of pixels, 0 unknown, 1 table, 2.. objects, with instances 1.. of them (N,), 0 for none."""
    counts = np.zeros((max(labels.max(initial=0) + 1, 2), found.max(initial=0) + 1))
    np.add.at(counts, (labels, found), 1)
    counts = np.delete(counts, 2 + np.flatnonzero(counts[2:].sum(axis=1) == 0), axis=0)
    sizes, area = counts.sum(axis=1), counts[:, 1:].sum(axis=0)
    both = counts[2:, 1:]
    known = area - counts[0, 1:]
    # void pixels do not count against an instance of an object
    iou = both / np.maximum(sizes[2:, None] + known - both, 1)
    matched = iou > 0.5
    holds = both > 0.5 * sizes[2:, None]
    of_piece = (both > 0.5 * area).sum(axis=1)
    # as the tables before: unlabelled pixels count against an instance
    best = (both / np.maximum(sizes[2:, None] + area - both, 1)).max(axis=1, initial=0.0)
    return Tally(
        objects=len(best),
        best=float(best.sum()),
        recalled=int((best >= 0.5).sum()),
        crowded=int((best >= 0.75).sum()),
        same=int(matched.sum()),
        same_iou=float(iou[matched].sum()),
        wrong=int((~matched.any(axis=0) & (known > 0.5 * area)).sum()),
        pieces=int(of_piece.sum()),
        seen=int((of_piece > 0).sum()),
        joined=int(np.maximum(holds.sum(axis=0) - 1, 0).sum()),
    )


def rows(names: Iterable[str], tallies: Iterable[Tally]) -> str:
    """A Markdown table, one row each."""
    made = [(name, of.objects, of.scores()) for name, of in zip(names, tallies, strict=True)]
    heads = ["", "objects", *made[0][2]]
    lines = [heads, ["---"] * len(heads)]
    lines += [
        [name, str(n), *(f"{value:.2f}" if key in ("pieces", "joins") else f"{value:.1f}" for key, value in of.items())]
        for name, n, of in made
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
