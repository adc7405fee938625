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
from scipy.sparse import coo_matrix, identity
from scipy.spatial import cKDTree

from dropclip_ros.base.arrays import (
    Array,
    array_namespace,
    as_type,
    is_numpy,
    like_array,
    sum_by_index,
    to_numpy,
    zeros,
)
from dropclip_ros.grounding.borders import learnt_borders
from dropclip_ros.grounding.halves import Surface, joined
from dropclip_ros.grounding.scoring import rival_threshold

_SPACED = 500  # voxels that tell how far apart they are
_EVERY, _WIDE = 8, 64  # of every eighth voxel so many make up some centimetres of a surface
_AROUND = 6  # neighbours that a voxel of a surface has within 1.4 voxels,
_SPARSE = 1.27  # so much less than the gap
_ROWS = 4096  # voxels that a GPU compares with all others at once


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
    halves: bool = True  # join pieces of one thing that something before it parts, where the encoder sees middles
    leaning: float = 0.0  # towards joining them, in log-odds
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


def _neighbours(centers: Array, gap: float) -> Array:
    """Pairs (E,2) of voxels at most `gap` apart."""
    if is_numpy(centers):
        return cKDTree(centers).query_pairs(gap, output_type="ndarray")
    blocks = range(0, len(centers), _ROWS)
    return torch.cat([(_distances(centers[i : i + _ROWS], centers[i:]) <= gap).triu(1).nonzero() + i for i in blocks])


def _nearest(points: Array, others: Array) -> Array:
    """Which of the others (K,C) is nearest to each of the points (M,C): (M,)."""
    if is_numpy(points):
        return cKDTree(others).query(points)[1]
    return torch.cat([_distances(block, torch.as_tensor(others)).argmin(dim=1) for block in points.split(_ROWS)])


def _distances(points: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Distance of each from each, (M,K), of differences: as a product it would not tell near voxels apart."""
    return torch.cdist(points, others, compute_mode="donot_use_mm_for_euclid_dist")


def answering_instances(scores: np.ndarray, threshold: float, rival: float) -> list[int]:
    """The instances that a phrase means, best first. scores (K,): of the instances 1..K, which come largest first.

    A phrase means every instance whose score is over `rival_threshold`: over the threshold, and not far under the best.
    Of equal scores the larger instance comes first. An instance is taken whole or not at all: nothing is split, and
    nothing is joined because it touches. Where no score is over it the answer is empty: NOT_FOUND.
    """
    chosen = np.flatnonzero(scores > rival_threshold(scores, threshold, rival))
    return (1 + chosen[np.argsort(-scores[chosen], kind="stable")]).tolist()


def _adjacency(count: int, edges: Array):
    """Sparse matrix (count,count), float64, that sums what each voxel and its neighbours have."""
    if array_namespace(edges) is np:
        near = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count)).tocsr()
        return near + near.T + identity(count, format="csr")
    itself = torch.arange(count, device=edges.device).expand(2, -1)
    index = torch.cat([edges.T, edges.T.flip(0), itself], dim=1)
    ones = torch.ones(index.shape[1], dtype=torch.float64, device=edges.device)
    return torch.sparse_coo_tensor(index, ones, (count, count), check_invariants=False).coalesce()


def _normals(centers: Array, edges: Array, eye: np.ndarray | None) -> Array:
    """Unit normals (M,3) of the surface at each voxel, of neighbours and theirs (1 to 2 cm): towards the eye (3,), or,
    without one, away from the middle of what is within some centimetres."""
    near, xp = _adjacency(len(centers), edges), array_namespace(centers)
    rows, columns = np.triu_indices(3)
    local = as_type(centers - centers.mean(0), "float64")
    total = near @ (near @ xp.column_stack([xp.ones_like(local[:, 0]), local, local[:, rows] * local[:, columns]]))
    mean, squares = total[:, 1:4] / total[:, :1], total[:, 4:] / total[:, :1]
    covariance = zeros(local, (len(centers), 3, 3), "float64")
    covariance[:, rows, columns] = covariance[:, columns, rows] = squares
    covariance -= mean[:, :, None] * mean[:, None, :]
    normals = _thinnest(covariance)
    outside = like_array(normals, eye) - centers if eye is not None else centers - _inside(centers)
    return normals * xp.where((outside * normals).sum(1) < 0, -1.0, 1.0)[:, None]


def _inside(centers: Array) -> Array:
    """The middle (M,3) of what is within some centimetres of each voxel: inside of what is seen from all sides."""
    host = to_numpy(centers)
    some = host[::_EVERY]
    around = cKDTree(some).query(host, min(_WIDE, len(some)))[1].reshape(len(host), -1)
    return like_array(centers, some[around].mean(axis=1))


def _thinnest(covariance: Array) -> Array:
    """Unit direction (M,3) of least variance of each covariance (M,3,3); any where there are several.

    In closed form, a third of the time of LAPACK, which takes the matrices one by one: the least root of the
    characteristic polynomial, and the longest cross product of two rows of what it leaves.
    """
    xp, diagonal = array_namespace(covariance), like_array(covariance, np.eye(3))
    scale = xp.clip((covariance * diagonal).sum((1, 2)), 1e-30, None) / 3
    deviator = covariance / scale[:, None, None] - diagonal
    spread = xp.sqrt((deviator**2).sum((1, 2)) / 6)
    a, b, c = (deviator[:, row] for row in range(3))
    half = ((a * xp.cross(b, c, axis=1)).sum(1) / 2) / xp.clip(spread, 1e-12, None) ** 3
    angle = xp.arccos(xp.clip(half, -1, 1)) / 3
    least = 2 * spread * xp.cos(angle + 2 * np.pi / 3)
    rows = deviator - least[:, None, None] * diagonal
    across = xp.stack([xp.cross(rows[:, i], rows[:, j], axis=1) for i, j in ((0, 1), (1, 2), (2, 0))], axis=1)
    lengths = _length(across)
    longest = lengths.argmax(1)
    every = like_array(longest, np.arange(len(longest)))
    found, length = across[every, longest], lengths[every, longest][:, None]
    return xp.where(length > 1e-9, found / xp.clip(length, 1e-9, None), like_array(covariance, [0, 0, 1]))


def _length(vectors: Array) -> Array:
    """Of vectors (...,3)."""
    return array_namespace(vectors).sqrt((vectors * vectors).sum(-1))


def _patches(centers: Array, normals: Array, colors: Array, size: float) -> Array:
    """Patch of each voxel, (M,) in 0..K-1: cells of `size` metres, moved by two rounds of k-means to follow edges."""
    xp = array_namespace(centers)
    described = xp.column_stack([centers / size, normals, 2 * colors])
    cells = as_type(xp.floor(centers / size), "int64")
    cells -= xp.amin(cells, axis=0)
    x, y, z = cells.T
    patch = xp.unique((x * (y.max() + 1) + y) * (z.max() + 1) + z, return_inverse=True)[1]
    for _ in range(2):
        patch = _nearest(described, _means(described, patch))
        patch = xp.unique(patch, return_inverse=True)[1]
    return patch


def _means(values: Array, index: Array) -> Array:
    """Mean row of values (M,C) of each index (M,) in 0..K-1: (K,C), float64."""
    counts = array_namespace(index).bincount(index)
    return sum_by_index(values, index, len(counts)) / counts[:, None]


def _shared_borders(patch: Array, edges: Array) -> tuple[Array, Array]:
    """Pairs of patches that touch, (E,2), and how many pairs of voxels touch there, (E,)."""
    xp = array_namespace(patch)
    a, b = patch[edges].T
    low, high, count = xp.minimum(a, b), xp.maximum(a, b), patch.max() + 1
    keys, lengths = xp.unique((low * count + high)[low < high], return_counts=True)
    return xp.stack([keys // count, keys % count], axis=1), lengths


def _border_strengths(
    pairs: Array,
    lengths: Array,
    patch: Array,
    centers: Array,
    normals: Array,
    colors: Array,
    features: torch.Tensor,
    middles: Array | None,
    config: ObjectConfig,
) -> np.ndarray:
    """How much parts each of the pairs (E,2) of patches: 0 nothing, 1 enough. As learnt where the encoder sees middles,
    by the weights of `config` without."""
    terms = border_terms(pairs, lengths, patch, centers, normals, colors, features, middles)
    if middles is not None and config.learnt:
        return np.maximum(learnt_borders(terms), config.apart * terms[:, 4])  # middles far apart are enough
    concave, offset, unlike, recoloured, apart = terms[:, :5].T
    shape = config.concave * concave + config.offset * offset + config.recoloured * recoloured
    if middles is None:
        return config.unlike * unlike + shape
    return config.unlike * unlike + config.aided * shape + config.apart * apart


def border_terms(
    pairs: Array,
    lengths: Array,
    patch: Array,
    centers: Array,
    normals: Array,
    colors: Array,
    features: torch.Tensor,
    middles: Array | None,
) -> np.ndarray:
    """What is seen of pairs of patches (E,2) that touch in `lengths` (E,) pairs of voxels: (E,10); what is made of
    it says `borders.described`."""
    xp = array_namespace(centers)
    described_by = [centers, normals, colors] if middles is None else [centers, normals, colors, middles]
    means = to_numpy(_means(xp.column_stack(described_by), patch))
    feature = to_numpy(pool_features(features, patch + 1))
    a, b = to_numpy(pairs).T
    size, middle, normal, color, of_object = to_numpy(xp.bincount(patch)), *np.split(means, (3, 6, 9), axis=1)
    normal = normal / np.clip(np.linalg.norm(normal, axis=1), 1e-9, None)[:, None]
    between = middle[b] - middle[a]
    distance = np.linalg.norm(between, axis=1)
    edge = ((normal[a] - normal[b]) * between).sum(axis=1) / np.clip(distance, 1e-9, None)
    offset = np.minimum(*(np.abs((normal[end] * between).sum(axis=1)) for end in (a, b)))
    objects = np.zeros_like(between) if middles is None else of_object[a] - of_object[b]
    least = np.minimum(size[a], size[b])
    return np.column_stack(
        [
            np.clip(edge, 0, None),
            offset,
            1 - (feature[a] * feature[b]).sum(axis=1),
            np.linalg.norm(color[a] - color[b], axis=1),
            np.linalg.norm(objects, axis=1),
            np.clip(-edge, 0, None),
            np.linalg.norm(objects[:, :2], axis=1),
            distance,
            to_numpy(lengths) / np.sqrt(least),
            least,
        ]
    )


def _merge(count: int, pairs: np.ndarray, lengths: np.ndarray, borders: np.ndarray) -> np.ndarray:
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
    edges = _neighbours(centers, _gap(centers, config))
    normals = _normals(centers, edges, eye)
    patch = _patches(centers, normals, colors, config.patch)
    pairs, lengths = _shared_borders(patch, edges)
    borders = _border_strengths(pairs, lengths, patch, centers, normals, colors, features, middles, config)
    surface = _surface(centers, eye, patch, normals, colors, features, middles) if config.halves else None
    centers, patch, pairs, lengths = (to_numpy(of) for of in (centers, patch, pairs, lengths))
    piece = _merge(int(patch.max()) + 1, pairs, lengths, borders)
    if surface is not None:
        piece = joined(surface, np.unique(piece, return_inverse=True)[1], pairs, config.leaning)
    part = piece[patch]
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


def _surface(
    centers: Array,
    eye: np.ndarray | None,
    patch: Array,
    normals: Array,
    colors: Array,
    features: torch.Tensor,
    middles: Array | None,
) -> Surface | None:
    """What pieces are compared by; None where nothing tells what hides what, or whose middle is where."""
    if eye is None or middles is None:
        return None
    xp = array_namespace(centers)
    means = to_numpy(_means(xp.column_stack([centers, normals, colors, middles]), patch))
    middle, normal, color, look = np.split(means, 4, axis=1)
    normal = normal / np.clip(np.linalg.norm(normal, axis=1), 1e-9, None)[:, None]
    feature = to_numpy(pool_features(features, patch + 1))
    return Surface(to_numpy(centers), eye, to_numpy(patch), middle, normal, color, feature, look)


def _gap(centers: Array, config: ObjectConfig) -> float:
    """How far voxels of one object may be apart, metres: further where a far or coarse camera leaves some empty."""
    some, around = centers[:: max(len(centers) // _SPACED, 1)], min(_AROUND + 1, len(centers))
    if is_numpy(centers):
        furthest = cKDTree(centers).query(some, [around])[0]
    else:
        furthest = to_numpy(_distances(torch.as_tensor(some), centers).kthvalue(around, dim=1).values)
    return max(config.gap, float(_SPARSE * np.median(furthest)))


def _films(centers: np.ndarray, part: np.ndarray, config: ObjectConfig) -> np.ndarray:
    """Which of the parts 0..K-1 (M,) are low and short: bool (K,)."""
    count = part.max() + 1
    high, low = np.full((count, 3), -np.inf), np.full((count, 3), np.inf)
    np.maximum.at(high, part, centers)
    np.minimum.at(low, part, centers)
    return (high[:, 2] < config.film) & ((high - low).max(axis=1) < config.speck)


def pool_features(features: torch.Tensor, labels: Array) -> torch.Tensor:
    """Mean feature, unit, of each instance 1..N of `labels` (M,), 0 being none: (M,C) -> (N,C).

    What a phrase means is an object, so objects are compared with it: the noise of single voxels averages out and
    borders are those of the instances.
    """
    index, count = torch.as_tensor(labels, device=features.device), int(labels.max()) if len(labels) else 0
    total = features.new_zeros(count + 1, features.shape[1]).index_add_(0, index, features)
    return torch.nn.functional.normalize(total[1:], dim=1)


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
