# SPDX-License-Identifier: Apache-2.0
"""Fits the weights of `grounding/borders.py` (which patches that touch are of two things) and of `grounding/pieces.py`
(which pieces are of one thing), and prints them.

    dropclip-mvtod generate --out runs/clutter --scenes 100 --views 4 --seed 777 --min-objects 7 --max-objects 14 \\
        --elevation 0.3 1.0 --radius 0.6 1.1
    python -m benchmarks.path.borders --scenes runs/clutter [--rooms 0 1 2 3] [--crowded 0 1 2 3]

Pieces are what the borders of the first fit, taken with some log-odds towards parting, leave. Fitted on the half of
OSD that may be chosen on, rooms, crowded rooms, and clutter as two depth cameras see it; each counts the same in the
first fit, and what is rare more in the second (`COUNTS`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from benchmarks.data.osd import FOLDER, LabelledFrame
from benchmarks.path.tabletop import osd, rendered
from dropclip_ros.base.errors import DropclipError
from dropclip_ros.grounding import borders, pieces
from dropclip_ros.grounding.instances import merge
from dropclip_ros.grounding.pipeline import EncodedScene, Grounder
from dropclip_ros.grounding.surface import Surface, surface_of
from dropclip_ros.vision.geometry import invert_pose
from training.evaluate.served.pipeline import view_frame
from training.scenes.scene import View
from training.scenes.sensor import SENSORS
from training.scenes.shards import load_scenes

PURE = 0.8  # share of a patch's points that must be of one thing,
MOSTLY = 0.6  # and of a piece's
RIDGE = 1e-3, 1e-2  # of the first fit and of the second
COUNTS = {"OSD": 10.0, "rooms": 2.0, "crowded": 2.0, "clutter": 1.0}
LABELS = 256


@dataclass
class Example:
    """A scene's surface, and how many points of each patch have each label: (P, L)."""

    surface: Surface
    counts: np.ndarray

    @classmethod
    def of(cls, scene: EncodedScene, labels: np.ndarray, gap: float, size: float) -> "Example":
        """labels (H W,): of pixels, 0 unknown, 1 table, 2.. objects."""
        voxels, eye = scene.voxels, invert_pose(scene.table.frame)[:3, 3]
        surface = surface_of(voxels.centers, voxels.feats, scene.features, eye, scene.middles, gap, size)
        counts = np.zeros((len(surface.sizes), LABELS))
        np.add.at(counts, (surface.patch[voxels.point_to_voxel], labels[scene.pixels]), 1)
        return cls(surface, counts)

    def owners(self, of: np.ndarray, share: float) -> np.ndarray:
        """Object of each of the groups of patches `of` (P,), 0 where none has the share: (K,)."""
        counts = np.zeros((int(of.max()) + 1, LABELS))
        np.add.at(counts, of, self.counts)
        owner = np.where(counts.max(axis=1) > share * counts.sum(axis=1), counts.argmax(axis=1), 0)
        return np.where(owner >= 2, owner, 0)


def pairs_of(example: Example) -> tuple[np.ndarray, ...]:
    """Terms of the pairs of patches that are each of one thing, whether of two (E,), and their lengths (E,)."""
    a, b = example.owners(np.arange(len(example.counts)), PURE)[example.surface.pairs].T
    known = (a > 0) & (b > 0)
    return borders.border_terms(example.surface)[known], (a != b)[known], example.surface.lengths[known]


def pieces_of(example: Example) -> tuple[np.ndarray, ...]:
    """Terms and borders of the pairs of pieces, and whether both are of one thing, (E,)."""
    surface, terms = example.surface, borders.border_terms(example.surface)
    strengths = borders.parting(terms)
    piece = np.unique(merge(len(surface.sizes), surface.pairs, surface.lengths, strengths), return_inverse=True)[1]
    pairs, described, border = pieces.pairs_of_pieces(surface, piece, terms)
    a, b = example.owners(piece, MOSTLY)[pairs].T
    known = (a > 0) & (b > 0)
    return described[known], border[known], (a == b)[known]


def fitted(x: np.ndarray, y: np.ndarray, weight: np.ndarray, ridge: float) -> np.ndarray:
    """Weights of ridge logistic regression on the columns of x, the first of which is 1; by Newton's steps."""
    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-9
    mean[0], deviation[0] = 0, 1
    z, beta, weight = (x - mean) / deviation, np.zeros(x.shape[1]), weight / weight.mean()
    for _ in range(30):
        p = 1 / (1 + np.exp(-z @ beta))
        gradient = z.T @ (weight * (p - y)) / len(y) + ridge * beta
        curvature = (z * (weight * p * (1 - p))[:, None]).T @ z / len(y) + ridge * np.eye(len(beta))
        beta = beta - np.linalg.solve(curvature, gradient)
    found = beta / deviation
    found[0] -= (found[1:] * mean[1:]).sum()
    return found


def fit(examples: dict[str, list[Example]]) -> dict[str, np.ndarray]:
    """The weights by name, from examples by source (the keys of `COUNTS`); the second fit uses those of the first."""
    found = {name: [np.concatenate(of) for of in zip(*map(pairs_of, of), strict=True)] for name, of in examples.items()}
    terms, apart = (np.concatenate([of[i] for of in found.values()]) for i in (0, 1))
    each = np.concatenate([lengths / lengths.sum() for _, _, lengths in found.values()])
    borders.WEIGHTS = fitted(borders.described(terms), apart, each, RIDGE[0])
    pairs = {
        name: [np.concatenate(of) for of in zip(*map(pieces_of, of), strict=True)] for name, of in examples.items()
    }
    described, border, same = (np.concatenate([of[i] for of in pairs.values()]) for i in range(3))
    count = np.concatenate([np.full(len(of[2]), COUNTS[name]) for name, of in pairs.items()])
    touch = border[:, 1] > 0
    print(f"{len(apart)} borders, {100 * apart.mean():.1f} % of two; {len(touch)} pairs of pieces, {same.sum()} of one")
    return {
        "borders.WEIGHTS": borders.WEIGHTS,
        "pieces.APART": fitted(pieces.described(described[~touch]), same[~touch], count[~touch], RIDGE[0]),
        "pieces.TOUCHING": fitted(
            pieces.described_touching(described[touch], border[touch]), same[touch], count[touch], RIDGE[1]
        ),
    }


def clutter(folder: Path) -> Iterator[LabelledFrame]:
    """Every view of the scenes as one of the depth cameras sees it, by turns."""
    for i, scene in enumerate(load_scenes(folder)):
        for v in range(len(scene)):
            view: View = scene.view(v, SENSORS[("realsense", "kinect")[(i + v) % 2]])
            yield LabelledFrame(f"{scene.name} {v}", "clutter", view_frame(view), view.mask.reshape(-1).astype(int))


def main(
    scenes: Path,
    data: Path = FOLDER,
    rooms: tuple[int, ...] = (0, 1, 2, 3),
    crowded: tuple[int, ...] = (0, 1, 2, 3),
) -> None:
    """Prints the weights."""
    grounder = Grounder.from_pretrained(image=False)
    sources: dict[str, Iterable[LabelledFrame]] = {
        "OSD": (scene for name, scene in osd(data) if name == "OSD choose"),
        "rooms": (room for _, room in rendered(rooms, ())),
        "crowded": (room for _, room in rendered((), crowded)),
        "clutter": clutter(scenes),
    }
    examples: dict[str, list[Example]] = {name: [] for name in sources}
    for name, of in sources.items():
        for scene in of:
            labels = np.where(scene.frame.depth.reshape(-1) > 0, scene.labels, 0)
            try:
                encoded = grounder.encode(scene.frame)
            except DropclipError as error:
                print(f"{scene.name}: {error}")
                continue
            examples[name].append(Example.of(encoded, labels, grounder.objects.gap, grounder.objects.patch))
    for name, weights in fit(examples).items():
        print(name, [float(f"{weight:.3g}") for weight in weights])


if __name__ == "__main__":
    tyro.cli(main)
