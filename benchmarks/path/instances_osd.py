# SPDX-License-Identifier: Apache-2.0
"""Instances on OSD, as `dropclip segment --instances` finds them, beside Euclidean clustering of the same voxels.

    python -m benchmarks.path.instances_osd [--data ../shared/data/osd] [--model FOLDER]

For each labelled object the best IoU of any one instance with it, over all pixels with depth (what table removal lost
counts as missed): mean, share over 0.5 (recall) and over 0.75; and instances found for each object. Euclidean
clusters are connected components of the voxels at a gap; of several gaps the one of best mean IoU is the fair peer.
"""

from collections import defaultdict
from pathlib import Path

import numpy as np
import tyro
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from benchmarks.data.osd import FOLDER, osd_frames
from dropclip_ros.grounding.pipeline import Grounder, ObjectConfig

GAPS = (0.0055, 0.0075, 0.009, 0.0125, 0.016, 0.02)  # m; voxels are 5 mm


def best_ious(labels: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Of each object, labels 2.. (N,), the IoU of the best of the instances 1.. in `found` (N,)."""
    counts = np.zeros((labels.max() + 1, found.max() + 1))
    np.add.at(counts, (labels, found), 1)
    both = counts[2:, 1:]
    union = counts[2:].sum(axis=1, keepdims=True) + counts[:, 1:].sum(axis=0) - both
    return (both / np.maximum(union, 1)).max(axis=1, initial=0.0)[counts[2:].sum(axis=1) > 0]


def clusters(centers: np.ndarray, gap: float) -> np.ndarray:
    """Connected components (M,) of the voxels at a gap, 0 for specks."""
    near = cKDTree(centers).query_pairs(gap, output_type="ndarray")
    graph = coo_matrix((np.ones(len(near)), near.T), shape=(len(centers), len(centers)))
    part = connected_components(graph, directed=False)[1]
    large = np.bincount(part) >= ObjectConfig().min_voxels
    return np.where(large, np.cumsum(large), 0)[part]


def main(data: Path = FOLDER, model: Path | None = None) -> None:
    """Prints a row for the instances, by category of scene too, and one for each gap of the clustering."""
    grounder = Grounder.from_pretrained(model, image=False)
    ious, counts, by_category = defaultdict(list), defaultdict(int), defaultdict(list)
    for scene in osd_frames(data):
        encoded = grounder.encode(scene.frame)
        labels = np.where(scene.frame.depth.reshape(-1) > 0, scene.labels, 0).astype(np.int64)
        ways = {"instances": encoded.instances}
        ways |= {f"clusters, gap {1e3 * gap:4.1f} mm": clusters(encoded.voxels.centers, gap) for gap in GAPS}
        for way, of_voxel in ways.items():
            of_pixel = encoded.image(of_voxel[encoded.voxels.point_to_voxel]).reshape(-1)
            ious[way].extend(best_ious(labels, of_pixel))
            counts[way] += of_voxel.max(initial=0)
        by_category[scene.category].extend(best_ious(labels, encoded.image(Grounder.instances(encoded)).reshape(-1)))
    rows = dict(ious) | {f"  {category}": values for category, values in by_category.items()}
    for name, values in rows.items():
        values = np.array(values)
        found = f"   found for each object {counts[name] / len(values):.2f}" if name in counts else ""
        print(
            f"{name:24} {len(values):4d} objects   best IoU {100 * values.mean():.1f}   "
            f"recall at 0.5 {100 * (values >= 0.5).mean():.1f}   at 0.75 {100 * (values >= 0.75).mean():.1f}{found}"
        )


if __name__ == "__main__":
    tyro.cli(main)
