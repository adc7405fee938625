# SPDX-License-Identifier: Apache-2.0
"""Instances without names (section 3.4, A.6.2), and scored voxels as objects; `scoring` has the scores.

Everything here works on plain arrays: features (M,C) of M voxels as unit rows. Voxels may lie on a GPU (see `arrays`);
what instances are put together from is then computed there, but for the merging.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree

from dropclip_ros.base.arrays import Array
from dropclip_ros.grounding.borders import border_terms, parting
from dropclip_ros.grounding.pieces import joined
from dropclip_ros.grounding.scoring import rival_threshold
from dropclip_ros.grounding.surface import pool_features as pool_features
from dropclip_ros.grounding.surface import surface_of


@dataclass(frozen=True)
class ObjectConfig:
    """How scored voxels become objects. Lengths in metres."""

    gap: float = 0.009  # voxels further apart are not one object
    min_voxels: int = 8  # of an object
    fragment: int = 50  # voxels: a smaller piece belongs to what is near it
    near: float = 0.02
    film: float = 0.009  # a piece no higher above the table, and
    speck: float = 0.08  # no longer than this, is what was left of the table, as reflections are: no object
    patch: float = 0.02  # size of the patches that instances are put together from
    concave: float = 1.8  # what parts neighbouring patches, 1 being enough: sine of the angle of a concave edge,
    offset: float = 6.0  # metres from one's middle to the other's plane,
    unlike: float = 2.5  # 1 - cosine of their features,
    recoloured: float = 0.4  # distance of their colours, rgb in [0, 1],
    apart: float = 12.0  # metres between where the encoder sees the middles of their objects;
    aided: float = 0.5  # share of concave, offset and recoloured that counts where it sees them
    learnt: bool = True  # where the encoder sees them: borders as they were learnt, and by `apart`
    pieces: bool = True  # where the encoder sees them: join pieces of one thing, see `pieces`
    leaning: float = 0.5  # towards joining them, in log-odds
    rival: float = 0.5  # see `rival_threshold`

    def __post_init__(self) -> None:
        if not 0 <= self.rival <= 1:
            raise ValueError(f"rival {self.rival}: expected a share in [0, 1]")
        for name in ("gap", "patch"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} {getattr(self, name)}: expected a length over 0 m")
        for name in ("min_voxels", "fragment"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: expected at least 1")
        for name in ("near", "film", "speck"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} {getattr(self, name)}: expected a length of 0 m or more")
        for name in ("concave", "offset", "unlike", "recoloured", "apart", "aided"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} {getattr(self, name)}: expected a weight of 0 or more")


def answering_instances(scores: np.ndarray, threshold: float, rival: float) -> list[int]:
    """The instances that a phrase means, best first. scores (K,): of the instances 1..K, which come largest first.

    A phrase means every instance whose score is over `rival_threshold`: over the threshold, and not far under the best.
    Of equal scores the larger instance comes first. An instance is taken whole or not at all: nothing is split, and
    nothing is joined because it touches. Where no score is over it the answer is empty: NOT_FOUND.
    """
    chosen = np.flatnonzero(scores > rival_threshold(scores, threshold, rival))
    return (1 + chosen[np.argsort(-scores[chosen], kind="stable")]).tolist()


def border_strengths(terms: np.ndarray, config: ObjectConfig, seen: bool) -> np.ndarray:
    """How much parts each pair of patches with these `border_terms`: 0 nothing, 1 enough. As learnt where the encoder
    sees the middles of objects, by the weights of `config` without."""
    if seen and config.learnt:
        return np.maximum(parting(terms), config.apart * terms[:, 4])  # middles far apart are enough
    concave, offset, unlike, recoloured, apart = terms[:, :5].T
    shape = config.concave * concave + config.offset * offset + config.recoloured * recoloured
    if not seen:
        return config.unlike * unlike + shape
    return config.unlike * unlike + config.aided * shape + config.apart * apart


def merge(count: int, pairs: np.ndarray, lengths: np.ndarray, borders: np.ndarray) -> np.ndarray:
    """Region of each of `count` patches: the weakest border under 1 falls first.

    Where regions meet along several borders (E,), the mean counts, weighted by their lengths: a leak does not matter.
    """
    merged = []  # what was taken, and by whom
    beside: list[dict[int, tuple[float, float]]] = [{} for _ in range(count)]  # neighbour: length, sum along it
    weakest = []
    for (a, b), length, border in zip(pairs.tolist(), lengths.tolist(), borders.tolist(), strict=True):
        beside[a][b] = beside[b][a] = (length, length * border)
        weakest.append((border, a, b, length))
    heapq.heapify(weakest)
    while weakest:
        border, a, b, length = heapq.heappop(weakest)
        if border >= 1:
            break
        if beside[a].get(b, (0,))[0] != length:  # one of them has merged since
            continue
        if len(beside[a]) < len(beside[b]):
            a, b = b, a
        merged.append((b, a))
        del beside[a][b], beside[b][a]
        for c, (more, total) in beside[b].items():
            length, strength = beside[a].get(c, (0, 0.0))
            length, strength = length + more, strength + total
            beside[a][c] = beside[c][a] = (length, strength)
            del beside[c][b]
            heapq.heappush(weakest, (strength / length, a, c, length))
        beside[b] = {}
    region = np.arange(count)
    for taken, by in reversed(merged):
        region[taken] = region[by]
    return region


def instance_labels(
    centers: Array,
    colors: Array,
    features: torch.Tensor,
    eye: np.ndarray | None,
    config: ObjectConfig,
    middles: Array | None = None,
) -> np.ndarray:
    """Instance of each voxel, (M,) in 1..N, largest first; 0 is none.

    The rule: patches without a border between them are one object. A concave edge is a border, for most objects are
    convex; so is a step, another colour, or another feature. A piece of fewer than `fragment` voxels joins the nearest
    large one, where that is `near`; else it is an object of its own. What then has fewer than `min_voxels`, or is a
    `film` on the table z = 0, is none.

    centers (M,3) m and colors (M,3) in [0, 1]: of the voxels. eye (3,): the camera, in the frame of the centres; None
    where things are seen from all sides. middles (M,3) m: where each voxel's object has its middle, from an encoder
    that says so.
    """
    if len(centers) == 0:
        return np.zeros(0, np.int64)
    surface = surface_of(centers, colors, features, eye, middles, config.gap, config.patch)
    centers, terms = surface.centers, border_terms(surface)
    strengths = border_strengths(terms, config, seen=middles is not None)
    piece = merge(len(surface.sizes), surface.pairs, surface.lengths, strengths)
    if config.pieces and middles is not None and eye is not None:
        piece = joined(surface, np.unique(piece, return_inverse=True)[1], terms, config.leaning)
    part = piece[surface.patch]
    sizes = np.bincount(part)
    large, small = np.flatnonzero(sizes[part] >= config.fragment), np.flatnonzero(sizes[part] < config.fragment)
    if len(large) and len(small):
        distance, nearest = cKDTree(centers[large]).query(centers[small])
        near = distance <= config.near
        part[small[near]] = part[large[nearest[near]]]
    part = np.unique(part, return_inverse=True)[1]
    sizes = np.where(_films(centers, part, config), 0, np.bincount(part))
    order = np.argsort(-sizes, kind="stable")
    rank = np.empty(len(sizes), np.int64)
    rank[order] = np.arange(1, len(sizes) + 1)
    return np.where(sizes >= config.min_voxels, rank, 0)[part]


def _films(centers: np.ndarray, part: np.ndarray, config: ObjectConfig) -> np.ndarray:
    """Which of the parts 0..K-1 (M,) are low and short: bool (K,)."""
    count = part.max() + 1
    high, low = np.full((count, 3), -np.inf), np.full((count, 3), np.inf)
    np.maximum.at(high, part, centers)
    np.minimum.at(low, part, centers)
    return (high[:, 2] < config.film) & ((high - low).max(axis=1) < config.speck)


def oriented_box(points: np.ndarray, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Upright box of points (n,3), m: pose 4x4 in their frame, size (3,); `frame` is points_from_table 4x4.

    The box stands on the table (its z is the table's normal) and is turned about it along the points' principal axis.
    """
    local = (points - frame[:3, 3]) @ frame[:3, :3]
    flat = local[:, :2] - local[:, :2].mean(0)
    (x, y) = np.linalg.eigh(flat.T @ flat)[1][:, -1]
    turn = np.array([[x, -y, 0], [y, x, 0], [0, 0, 1]])
    turned = local @ turn
    low, high = turned.min(0), turned.max(0)
    pose = np.eye(4)
    pose[:3, :3] = frame[:3, :3] @ turn
    pose[:3, 3] = pose[:3, :3] @ ((low + high) / 2) + frame[:3, 3]
    return pose, high - low
