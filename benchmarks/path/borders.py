# SPDX-License-Identifier: Apache-2.0
"""Fits the weights of `dropclip_ros/grounding/borders.py`: which patches that touch are of different things.

python -m benchmarks.path.borders [--data ../shared/data/osd] [--rooms 0 1] [--crowded 0]
"""

from pathlib import Path

import numpy as np
import tyro

from benchmarks.data.osd import FOLDER
from benchmarks.path.tabletop import osd, rendered
from dropclip_ros.base.errors import DropclipError
from dropclip_ros.grounding import instances
from dropclip_ros.grounding.borders import described
from dropclip_ros.grounding.pipeline import EncodedScene, Grounder
from dropclip_ros.vision.geometry import invert_pose

PURE = 0.8  # share of a patch's points that must be of one thing
RIDGE = 1e-3


def pairs_of(scene: EncodedScene, labels: np.ndarray, config: instances.ObjectConfig) -> tuple[np.ndarray, ...]:
    """Terms (E, 10) of the pairs of patches that are each of one thing, whether of two (E,), and their lengths (E,)."""
    voxels, eye = scene.voxels, invert_pose(scene.table.frame)[:3, 3]
    edges = instances._neighbours(voxels.centers, instances._gap(voxels.centers, config))
    normals = instances._normals(voxels.centers, edges, eye)
    patch = instances._patches(voxels.centers, normals, voxels.feats, config.patch)
    pairs, lengths = instances._shared_borders(patch, edges)
    terms = instances.border_terms(
        pairs, lengths, patch, voxels.centers, normals, voxels.feats, scene.features, scene.middles
    )
    shown = labels[scene.pixels]
    counts = np.zeros((patch.max() + 1, shown.max() + 1))
    np.add.at(counts, (patch[voxels.point_to_voxel], shown), 1)
    owner = np.where(counts.max(axis=1) > PURE * counts.sum(axis=1), counts.argmax(axis=1), 0)
    a, b = owner[pairs].T
    known = (a >= 2) & (b >= 2)
    return terms[known], (a != b)[known], lengths[known]


def fitted(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weights of ridge logistic regression on the columns of x, the first of which is 1; by Newton's steps."""
    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-9
    mean[0], deviation[0] = 0, 1
    z, beta, weight = (x - mean) / deviation, np.zeros(x.shape[1]), weight / weight.mean()
    for _ in range(30):
        p = 1 / (1 + np.exp(-z @ beta))
        gradient = z.T @ (weight * (p - y)) / len(y) + RIDGE * beta
        curvature = (z * (weight * p * (1 - p))[:, None]).T @ z / len(y) + RIDGE * np.eye(len(beta))
        beta = beta - np.linalg.solve(curvature, gradient)
    found = beta / deviation
    found[0] -= (found[1:] * mean[1:]).sum()
    return found


def main(data: Path = FOLDER, rooms: tuple[int, ...] = (0, 1), crowded: tuple[int, ...] = (0,)) -> None:
    """Prints the weights."""
    grounder, found = Grounder.from_pretrained(image=False), []
    scenes = [scene for name, scene in osd(data) if name == "OSD choose"]
    for scene in (*scenes, *(room for _, room in rendered(rooms, crowded))):
        try:
            found.append(pairs_of(grounder.encode(scene.frame), scene.labels.astype(np.int64), grounder.objects))
        except DropclipError as error:
            print(f"{scene.name}: {error}")
    terms, apart, lengths = (np.concatenate(of) for of in zip(*found, strict=True))
    print(f"{len(apart)} pairs, {100 * apart.mean():.1f} % of two things")
    print([float(f"{weight:.3g}") for weight in fitted(described(terms), apart, lengths.astype(float))])


if __name__ == "__main__":
    tyro.cli(main)
