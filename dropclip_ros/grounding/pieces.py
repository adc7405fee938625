# SPDX-License-Identifier: Apache-2.0
"""Pieces of one thing that something before it parts, or that borders cut: a box whose middle a cup hides is one box.

Pieces are compared by pairs: whether what lies between them is hidden, whether they go on in the same planes, end at
the same height, look alike; those that touch by their whole border as well. Logistic regressions say how likely both
are of one thing. `python -m benchmarks.path.borders` fits them on rendered clutter as depth cameras see it, rendered
rooms, and what may be chosen on of OSD.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial.distance import cdist

from dropclip_ros.grounding.borders import border_odds
from dropclip_ros.grounding.surface import Surface

REACH = 0.2  # m, how wide a gap may be
LEAST = 20  # voxels of a piece that can be told of
_PATCHES = 24  # of a piece, at most, that are compared with another's
_NEAREST = 4  # pairs of patches between which it is looked
_SAMPLES = 12  # places on the way
_CELL = 0.006  # m, in which the nearest voxel hides what is behind it
_BEHIND = 0.01  # m
_SAME_NORMAL, _SAME_PLANE, _SLOPE = 0.95, 0.012, 0.05  # cosine; m, and more by distance
FAR = 0.08  # m between where the encoder sees the middles of what touches, at which it is of two things, whatever else
APART = np.array(
    [
        *(3.31, 1.02, -0.654, 0.891, -2.94, -4.24, -0.0867, -1.41, -0.889, -2.46),
        *(0.157, -0.234, -1.43, -0.276, 1.93, -1.26, 0.146, -0.153, -3.0, 3.03),
        *(1.9,),
    ]
)
TOUCHING = np.array(
    [
        *(4.23, -0.0704, -0.504, -0.133, -0.18, -2.17, 1.34, -7.91, -0.687, -1.31),
        *(0.475, 0.269, -0.315, 0.233, 0.665, 0.376, -1.19, -0.589, -0.103, 0.983),
        *(0.384, -0.356, 0.00322, -0.0551, -0.184, -0.0717, -0.324, -0.335, -0.335, -0.0404),
        *(0.0416, -2.04),
    ]
)
TERMS = ("gap", "hidden", "unlike", "recoloured", "apart", "coplanar", "coplanar other", "tops", "lows", "least size")


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


def described_touching(terms: np.ndarray, borders: np.ndarray) -> np.ndarray:
    """What the regression of pieces that touch sees (E, 32): what `described` makes of their terms, and their border.

    borders (E, 9): mean log-odds along it that it parts two things (`borders.border_odds`), its length by the smaller
    piece's size, and the means of the first seven `borders.border_terms`.
    """
    odds, length, concave, offset, unlike, recoloured, apart = borders[:, :7].T
    return np.column_stack(
        [
            described(terms),
            *(4 * np.tanh(odds / 4), odds / 4, np.minimum(length, 3), np.log1p(length)),
            *(4 * np.minimum(concave, 0.5), np.minimum(offset / 0.01, 2), 4 * unlike, 4 * np.minimum(recoloured, 0.3)),
            *(np.minimum(apart / 0.05, 2), terms[:, 2] * np.tanh(odds / 4)),
            10 * np.minimum(terms[:, 4], 0.1) * np.minimum(concave, 0.5),
        ]
    )


def joined(surface: Surface, piece: np.ndarray, border: np.ndarray, leaning: float = 0.0) -> np.ndarray:
    """The pieces (P,) of patches, those of one thing as one: (P,). border (B, 10): `border_terms` of the surface's
    pairs; leaning: towards joining, in log-odds.

    The likeliest pair first. What was joined before is compared as a whole: its pairs' log-odds are averaged.
    """
    pairs, terms, borders = pairs_of_pieces(surface, piece, border)
    touch = borders[:, 1] > 0
    odds = np.empty(len(pairs))
    odds[~touch] = described(terms[~touch]) @ APART
    odds[touch] = described_touching(terms[touch], borders[touch]) @ TOUCHING
    odds = np.where(borders[:, 6] < FAR, odds + leaning, -np.inf)
    whole = np.arange(int(piece.max()) + 1)
    for a, b in pairs[np.argsort(-odds, kind="stable")[: np.count_nonzero(odds > 0)]]:
        a, b = whole[a], whole[b]
        ends = whole[pairs]
        between = (ends == (a, b)).all(axis=1) | (ends == (b, a)).all(axis=1)
        if a != b and odds[between].mean() > 0:
            whole[whole == b] = a
    return whole[piece]


def pairs_of_pieces(
    surface: Surface, piece: np.ndarray, border: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs (E, 2) of pieces at most `REACH` apart, their `TERMS` (E, T), and their borders (E, 9), see
    `described_touching`, 0 where they do not touch. piece (P,) and border (B, 10): see `joined`."""
    count = int(piece.max()) + 1
    sizes = np.bincount(piece, surface.sizes, count)
    chosen = _some_of_each(piece, surface.sizes, np.flatnonzero(sizes >= LEAST))
    owners, starts = np.unique(piece[chosen], return_index=True)
    if len(owners) < 2:
        return np.zeros((0, 2), int), np.zeros((0, len(TERMS))), np.zeros((0, 9))
    middles = surface.middles[chosen]
    apart = cdist(middles, middles)
    gaps = np.minimum.reduceat(np.minimum.reduceat(apart, starts, axis=0), starts, axis=1)
    i, j = np.nonzero(np.triu(gaps < REACH, 1))
    a, b = owners[i], owners[j]
    goes_on = _goes_on(surface, chosen, starts, apart)
    small, large = np.where(sizes[a] <= sizes[b], (i, j), (j, i))
    weights = surface.sizes[:, None]
    looks = np.zeros_like(surface.colors) if surface.looks is None else surface.looks
    totals = _sums(np.column_stack([surface.colors, looks, surface.features]) * weights, piece, count)
    color, look, feature = np.split(totals / sizes[:, None], (3, 6), axis=1)
    feature /= np.clip(np.linalg.norm(feature, axis=1), 1e-9, None)[:, None]
    tops, lows = _ends(surface, piece)
    terms = [
        gaps[i, j],
        _hidden(surface, *_ways(middles, starts, apart, i, j)),
        1 - (feature[a] * feature[b]).sum(axis=1),
        np.linalg.norm(color[a] - color[b], axis=1),
        np.linalg.norm(look[a] - look[b], axis=1),
        goes_on[small, large],
        goes_on[large, small],
        np.abs(tops[a] - tops[b]),
        np.abs(lows[a] - lows[b]),
        np.minimum(sizes[a], sizes[b]),
    ]
    return np.column_stack([a, b]), np.column_stack(terms), _borders(surface, piece, border, a, b, terms[-1])


def _borders(
    surface: Surface, piece: np.ndarray, border: np.ndarray, a: np.ndarray, b: np.ndarray, size: np.ndarray
) -> np.ndarray:
    """Of pieces a and b (E,), the smaller of which has `size` (E,) voxels, see `described_touching`: (E, 9)."""
    count, ends = int(piece.max()) + 1, np.sort(piece[surface.pairs], axis=1)
    between = ends[:, 0] != ends[:, 1]
    wanted, index = np.unique(a * count + b, return_inverse=True)
    keys = ends[between] @ (count, 1)
    place = np.searchsorted(wanted, keys).clip(max=max(len(wanted) - 1, 0))
    known = wanted[place] == keys if len(wanted) else np.zeros(len(keys), bool)
    length = surface.lengths[between][known, None]
    seen = np.column_stack([border_odds(border[between][known]), border[between][known, :7]])
    sums = _sums(np.column_stack([length, length * seen]), place[known], len(wanted))[index]
    total = sums[:, :1]
    return np.column_stack([sums[:, 1:2], total * 0, sums[:, 2:]]) / np.maximum(total, 1e-9) + np.eye(9)[1] * (
        total / np.sqrt(size)[:, None] / 3
    )


def _sums(values: np.ndarray, index: np.ndarray, count: int) -> np.ndarray:
    """Sums (count, C) of the rows of values (N, C) by index (N,)."""
    total = np.zeros((count, values.shape[1]))
    np.add.at(total, index, values)
    return total


def _some_of_each(piece: np.ndarray, sizes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Patches of the wanted pieces, in the order of these, the largest `_PATCHES` of each."""
    order = np.lexsort((-sizes, piece))
    order = order[np.isin(piece[order], wanted)]
    of = piece[order]
    rank = np.arange(len(of)) - np.searchsorted(of, of)
    return order[rank < _PATCHES]


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
