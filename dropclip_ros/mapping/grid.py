# SPDX-License-Identifier: Apache-2.0
"""The map's voxels: a fixed grid in the world, of which only what is occupied is kept."""

from __future__ import annotations

import numpy as np

from dropclip_ros.vision.voxels import cell_keys

GONE, HIDDEN, SEEN = -1, 0, 1  # what a frame says of a voxel; hidden: nothing, it may be out of view as well
_MIDDLE = 1 << 20  # cells from the origin that a key can tell: 5 km at 5 mm
_HEAVIEST = 20.0  # frames that a voxel remembers: beyond, the newest count more
_FIELDS = ("keys", "mean", "color", "weight", "seen", "through", "owner", "said")


class VoxelGrid:
    """M voxels, in order of their keys.

    keys (M,) int64; mean (M,3) float32 m, of what was seen in each; color (M,3) float32 in [0, 1]; weight (M,) frames,
    capped; seen (M,) s, when last; through (M,) how many frames in a row saw through it; owner (M,) int32, its piece,
    -1 none; said (M,) int8, what the newest frame says of it (`Sight`).
    """

    def __init__(self, edge: float) -> None:
        self.edge = edge
        self.keys = np.zeros(0, np.int64)
        self.mean = np.zeros((0, 3), np.float32)
        self.color = np.zeros((0, 3), np.float32)
        self.weight = np.zeros(0, np.float32)
        self.seen = np.zeros(0, np.float64)
        self.through = np.zeros(0, np.int16)
        self.owner = np.zeros(0, np.int32)
        self.said = np.zeros(0, np.int8)

    def __len__(self) -> int:
        return len(self.keys)

    def key_of(self, points: np.ndarray) -> np.ndarray:
        """Of points (N,3) m, world: (N,)."""
        return cell_keys(np.floor(points.astype(np.float64) / self.edge).astype(np.int64) + _MIDDLE)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Row of each key, -1 where its voxel is empty."""
        if not len(self):
            return np.full(len(keys), -1)
        row = np.searchsorted(self.keys, keys).clip(max=len(self) - 1)
        return np.where(self.keys[row] == keys, row, -1)

    def see(self, rows: np.ndarray, mean: np.ndarray, color: np.ndarray, stamp: float) -> None:
        """Another frame's say about voxels that are there: each of the rows (n,) once, with what was seen in it."""
        weight = self.weight[rows, None]
        self.mean[rows] = (weight * self.mean[rows] + mean) / (weight + 1)
        self.color[rows] = (weight * self.color[rows] + color) / (weight + 1)
        self.weight[rows] = np.minimum(self.weight[rows] + 1, _HEAVIEST)
        self.seen[rows] = np.maximum(self.seen[rows], stamp)
        self.through[rows], self.said[rows] = 0, SEEN

    def add(self, keys: np.ndarray, mean: np.ndarray, color: np.ndarray, owner: np.ndarray, stamp: float) -> None:
        """New voxels: keys (n,), each once, that are not there yet."""
        count = len(keys)
        more = {
            "keys": keys,
            "mean": mean.astype(np.float32),
            "color": color.astype(np.float32),
            "weight": np.ones(count, np.float32),
            "seen": np.full(count, stamp),
            "through": np.zeros(count, np.int16),
            "owner": owner.astype(np.int32),
            "said": np.full(count, SEEN, np.int8),
        }
        order = np.argsort(np.concatenate([self.keys, keys]), kind="stable")
        for name in _FIELDS:
            setattr(self, name, np.concatenate([getattr(self, name), more[name]])[order])

    def keep(self, which: np.ndarray) -> None:
        """Drops all but these: bool (M,)."""
        for name in _FIELDS:
            setattr(self, name, getattr(self, name)[which])

    def take(self, which: np.ndarray) -> dict[str, np.ndarray]:
        """What is known of some voxels, bool (M,), which are dropped."""
        taken = {name: getattr(self, name)[which] for name in _FIELDS}
        self.keep(~which)
        return taken

    def put(self, taken: dict[str, np.ndarray], moved: np.ndarray) -> None:
        """Puts back what `take` gave, at other places (n,3) m; of several in one voxel, and of those where something
        is already, the first stays."""
        keys = self.key_of(moved)
        keys, first = np.unique(keys, return_index=True)
        free = self.find(keys) < 0
        keys, first = keys[free], first[free]
        rows = {name: values[first] for name, values in taken.items()} | {"keys": keys, "mean": moved[first]}
        order = np.argsort(np.concatenate([self.keys, keys]), kind="stable")
        for name in _FIELDS:
            setattr(self, name, np.concatenate([getattr(self, name), rows[name]])[order].astype(rows[name].dtype))


def cells_of(
    grid: VoxelGrid, points: np.ndarray, colors: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What a frame shows in each voxel: keys (n,), mean (n,3) m, color (n,3) in [0, 1] and most common label (n,)."""
    keys, inverse = np.unique(grid.key_of(points), return_inverse=True)
    count = np.bincount(inverse, minlength=len(keys)).astype(np.float64)
    mean = np.stack([np.bincount(inverse, points[:, axis], len(keys)) for axis in range(3)], 1) / count[:, None]
    color = np.stack([np.bincount(inverse, colors[:, axis], len(keys)) for axis in range(3)], 1) / count[:, None] / 255
    most = int(labels.max(initial=0)) + 1
    pairs, votes = np.unique(inverse * most + labels, return_counts=True)
    order = np.lexsort((votes, pairs // most))  # the last of each voxel has most
    label = np.zeros(len(keys), np.int64)
    label[pairs[order] // most] = pairs[order] % most
    return keys, mean, color, label
