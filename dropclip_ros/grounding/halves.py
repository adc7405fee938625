# SPDX-License-Identifier: Apache-2.0
"""Pieces of one thing that something before it parts: a box whose middle a cup hides is one box.

Pieces that do not touch are compared by pairs: whether what lies between them is hidden, whether they go on in the same
planes, end at the same height, look alike. A logistic regression says how likely both are of one thing; its weights were
fitted by `python -m benchmarks.path.halves` on rendered scenes of clutter as depth cameras see them, rendered rooms, and
the half of OSD that may be chosen on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage
from scipy.spatial.distance import cdist

REACH = 0.2  # m, how wide a gap may be
LEAST = 20  # voxels of a piece that can be told of
_PATCHES = 24  # of a piece, at most, that are compared with another's
_NEAREST = 4  # pairs of patches between which it is looked
_SAMPLES = 12  # places on the way
_CELL = 0.006  # m, in which the nearest voxel hides what is behind it
_BEHIND = 0.01  # m
_SAME_NORMAL, _SAME_PLANE, _SLOPE = 0.95, 0.012, 0.05  # cosine; m, and more by distance
_WEIGHTS = np.array(
    [
        *(2.399, 0.66, 0.163, 0.583, -2.502, -4.755, -0.788, -0.66, -0.941, -2.287, 0.312),
        *(-0.924, 0.537, -0.073, 0.963, -1.261, 1.114, -0.215, -1.692, 2.946, 1.484),
    ]
)
TERMS = ("gap", "hidden", "unlike", "recoloured", "apart", "coplanar", "coplanar other", "tops", "lows", "least size")


@dataclass(frozen=True, eq=False)
class Surface:
    """What pieces are compared by, on the host: of M voxels in P patches, and the camera's place.

    centers (M, 3), eye (3,) and middles (P, 3): m, z up from the table; patch (M,): of each voxel; normals (P, 3),
    colors (P, 3), features (P, C): of each patch; looks (P, 3): where the encoder sees the middle of its object.
    """

    centers: np.ndarray
    eye: np.ndarray
    patch: np.ndarray
    middles: np.ndarray
    normals: np.ndarray
    colors: np.ndarray
    features: np.ndarray
    looks: np.ndarray

    @cached_property
    def sizes(self) -> np.ndarray:
        """Voxels of each patch, (P,)."""
        return np.bincount(self.patch)


def described(terms: np.ndarray) -> np.ndarray:
    """What the regression sees (E, 21) of the `TERMS` (E, T) of pairs of pieces.

    Metres between them; share of what lies between that is hidden; 1 - cosine of features; distance of colours; metres
    between where the encoder sees the middles of their objects; share of the smaller piece that goes on in planes of
    the other, and the other way round; metres between their upper ends, and their lower; voxels of the smaller.
    """
    gap, hidden, unlike, recoloured, apart, small, large, tops, lows, size = terms.T
    tops, lows = np.minimum(tops, 0.1) / 0.1, np.minimum(lows, 0.1) / 0.1
    both = np.minimum(small, large)
    return np.column_stack(
        [
            *(np.ones(len(terms)), gap / 0.1, hidden, np.maximum(hidden - 0.8, 0) * 5),
            *(unlike, np.minimum(unlike, 0.3), recoloured, np.minimum(recoloured, 0.3)),
            *(apart / 0.1, np.minimum(apart / 0.1, 1), small, large, both),
            *(np.sqrt(tops), tops, np.sqrt(lows), lows, np.log(size / 50)),
            *(np.minimum(apart, 0.2) * 5 * (1 - both), np.exp(-terms[:, 7] / 0.008) * hidden, both * hidden),
        ]
    )


def joined(surface: Surface, piece: np.ndarray, touching: np.ndarray, leaning: float = 0.0) -> np.ndarray:
    """The pieces (P,) of patches, those of one thing as one: (P,). leaning: towards joining, in log-odds.

    The likeliest pair first. What was joined before is compared as a whole: its pairs' log-odds are averaged.
    """
    pairs, terms = pairs_of_pieces(surface, piece, touching)
    odds = described(terms) @ _WEIGHTS + leaning if len(pairs) else np.zeros(0)
    whole = np.arange(int(piece.max()) + 1)
    for a, b in pairs[np.argsort(-odds)[: np.count_nonzero(odds > 0)]]:
        a, b = whole[a], whole[b]
        ends = whole[pairs]
        between = (ends == (a, b)).all(axis=1) | (ends == (b, a)).all(axis=1)
        if a != b and odds[between].mean() > 0:
            whole[whole == b] = a
    return whole[piece]


def pairs_of_pieces(surface: Surface, piece: np.ndarray, touching: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (E, 2) of pieces that do not touch and are at most `REACH` apart, and their terms (E, T), see `TERMS`.

    piece (P,): of each patch; touching (B, 2): pairs of patches that do.
    """
    count = int(piece.max()) + 1
    sizes = np.bincount(piece, surface.sizes, count)
    chosen = _some_of_each(piece, surface.sizes, np.flatnonzero(sizes >= LEAST))
    if len(chosen) < 2:
        return np.zeros((0, 2), int), np.zeros((0, len(TERMS)))
    of = piece[chosen]
    starts = np.flatnonzero(np.append(True, np.diff(of) > 0))
    owners, middles = of[starts], surface.middles[chosen]
    apart = cdist(middles, middles)
    gaps = np.minimum.reduceat(np.minimum.reduceat(apart, starts, axis=0), starts, axis=1)
    near = np.zeros((count, count), bool)
    near[np.ix_(owners, owners)] = gaps < REACH
    near[tuple(piece[touching].T)] = near[tuple(piece[touching[:, ::-1]].T)] = False
    pairs = np.argwhere(np.triu(near, 1))
    if not len(pairs):
        return pairs, np.zeros((0, len(TERMS)))
    place = np.zeros(count, int)
    place[owners] = np.arange(len(owners))
    a, b = pairs.T
    small, large = np.where(sizes[a] <= sizes[b], (a, b), (b, a))
    goes_on = _goes_on(surface, chosen, starts, apart)
    color, look = (_means(values, piece, surface.sizes) for values in (surface.colors, surface.looks))
    feature = _means(surface.features, piece, surface.sizes)
    feature /= np.clip(np.linalg.norm(feature, axis=1), 1e-9, None)[:, None]
    tops, lows = _ends(surface, piece)
    terms = [
        gaps[place[a], place[b]],
        _hidden(surface, *_ways(middles, starts, apart, place[a], place[b])),
        1 - (feature[a] * feature[b]).sum(axis=1),
        np.linalg.norm(color[a] - color[b], axis=1),
        np.linalg.norm(look[a] - look[b], axis=1),
        goes_on[place[small], place[large]],
        goes_on[place[large], place[small]],
        np.abs(tops[a] - tops[b]),
        np.abs(lows[a] - lows[b]),
        sizes[small],
    ]
    return pairs, np.column_stack(terms)


def _some_of_each(piece: np.ndarray, sizes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Patches of the wanted pieces, in the order of these, the largest `_PATCHES` of each."""
    order = np.lexsort((-sizes, piece))
    order = order[np.isin(piece[order], wanted)]
    of = piece[order]
    rank = np.arange(len(of)) - np.searchsorted(of, of)
    return order[rank < _PATCHES]


def _means(values: np.ndarray, piece: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Mean (K, C) of the values (P, C) of patches, by piece, each voxel counting the same."""
    total = np.zeros((int(piece.max()) + 1, values.shape[1]))
    np.add.at(total, piece, values * sizes[:, None])
    return total / np.bincount(piece, sizes)[:, None]


def _ends(surface: Surface, piece: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How high above the table each piece ends and begins, metres, (K,) each."""
    count, of, z = int(piece.max()) + 1, piece[surface.patch], surface.centers[:, 2]
    top, low = np.full(count, -np.inf), np.full(count, np.inf)
    np.maximum.at(top, of, z)
    np.minimum.at(low, of, z)
    return top, low


def _goes_on(surface: Surface, chosen: np.ndarray, starts: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """Share of each piece's patches whose plane goes on in a patch of each other piece, (K, K)."""
    middles, normals, weight = surface.middles[chosen], surface.normals[chosen], surface.sizes[chosen].astype(float)
    # metres from each patch's plane to each other's middle
    off = np.abs(normals @ middles.T - (normals * middles).sum(axis=1)[:, None])
    same = (normals @ normals.T > _SAME_NORMAL) & (np.maximum(off, off.T) < _SAME_PLANE + _SLOPE * apart)
    goes_on = np.logical_or.reduceat(same, starts, axis=1) * weight[:, None]
    return np.add.reduceat(goes_on, starts, axis=0) / np.add.reduceat(weight, starts)[:, None]


def _ways(
    middles: np.ndarray, starts: np.ndarray, apart: np.ndarray, a: np.ndarray, b: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Both ends (E, W, 3) of the ways between the nearest patches of pieces a and b (E,), places in `starts`."""
    ends, found = np.append(starts, len(middles)), np.empty((2, len(a), _NEAREST), int)
    for e, (i, j) in enumerate(zip(a.tolist(), b.tolist(), strict=True)):
        block = apart[ends[i] : ends[i + 1], ends[j] : ends[j + 1]]
        nearest = np.argsort(block, axis=None)[:_NEAREST]
        rows, columns = np.divmod(np.resize(nearest, _NEAREST), block.shape[1])
        found[:, e] = ends[i] + rows, ends[j] + columns
    return middles[found[0]], middles[found[1]]


def _hidden(surface: Surface, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Share of the ways between (E, W, 3) and (E, W, 3) m that is behind something the camera sees, (E,)."""
    rays = surface.centers - surface.eye
    ahead = rays.mean(axis=0)
    ahead /= np.linalg.norm(ahead)
    right = np.cross(ahead, np.eye(3)[np.argmin(np.abs(ahead))])
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(ahead, right), ahead], axis=1)
    seen = rays @ axes
    distance = np.linalg.norm(seen, axis=1)
    cell = _CELL / float(np.median(distance))
    flat = np.floor(seen[:, :2] / seen[:, 2:] / cell).astype(int)
    low = flat.min(axis=0) - 1
    nearest = np.full(tuple(flat.max(axis=0) - low + 2), np.inf)
    np.minimum.at(nearest, tuple((flat - low).T), distance)
    nearest = ndimage.minimum_filter(nearest, 3)
    share = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    way = begin[..., None, :] + (end - begin)[..., None, :] * share[:, None]
    way = (way - surface.eye) @ axes
    row, column = np.moveaxis(np.floor(way[..., :2] / way[..., 2:] / cell).astype(int) - low, -1, 0)
    row, column = row.clip(0, nearest.shape[0] - 1), column.clip(0, nearest.shape[1] - 1)
    return (nearest[row, column] < np.linalg.norm(way, axis=-1) - _BEHIND).mean(axis=(1, 2))
