# SPDX-License-Identifier: Apache-2.0
"""Open-vocabulary inference on a feature cloud (section 3.4): referring, semantic and instance segmentation.

Everything here works on plain arrays: features (M,C) of M voxels as unit rows, phrases as unit text embeddings.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_matrix, identity
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.special import expit, logit


@dataclass(frozen=True)
class ObjectConfig:
    """How scored voxels become objects. Lengths in metres."""

    gap: float = 0.009  # voxels further apart are not one object
    min_voxels: int = 8  # of an object
    fragment: int = 50  # voxels: a smaller piece belongs to what is near it
    near: float = 0.02
    patch: float = 0.02  # size of the patches that instances are put together from
    concave: float = 1.8  # what parts neighbouring patches, 1 being enough: sine of the angle of a concave edge,
    offset: float = 6.0  # metres from one's middle to the other's plane,
    unlike: float = 2.5  # 1 - cosine of their features,
    recoloured: float = 0.4  # distance of their colours, rgb in [0, 1],
    apart: float = 12.0  # metres between where the encoder sees the middles of their objects;
    aided: float = 0.5  # share of concave, offset and recoloured that counts where it sees them
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
        if self.near < 0:
            raise ValueError(f"near {self.near}: expected a length of 0 m or more")
        for name in ("concave", "offset", "unlike", "recoloured", "apart", "aided"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} {getattr(self, name)}: expected a weight of 0 or more")


def similarities(features: torch.Tensor, text: torch.Tensor, mean_object: torch.Tensor | None = None) -> torch.Tensor:
    """Cosine of each voxel (M,C) with each phrase (K,C), above that of the average object (C,) with it: (M,K).

    Some phrases are near to everything; what tells is how much nearer than to any odd object.
    """
    cosine = features @ text.T
    return cosine if mean_object is None else cosine - text @ mean_object


def referring_scores(similarity: torch.Tensor, temperature: float, null_similarity: float) -> torch.Tensor:
    """Probability that each voxel is meant: softmax of similarity over temperature (section 3.4), (M,) in [0, 1].

    similarity (M,1+K): of the query and its K negatives. To the paper's classes comes a null class of constant
    similarity: with it all scores of a scene may be low, so that an absent object is answered NOT_FOUND.
    """
    null = similarity.new_full((len(similarity), 1), null_similarity)
    return torch.softmax(torch.cat([similarity, null], dim=1) / temperature, dim=1)[:, 0]


def rival_threshold(scores: np.ndarray, threshold: float, rival: float) -> float:
    """The threshold for objects beside the best one: `rival` of the way from `threshold` to the best, in log-odds.

    A red car answers "the red mug" better than nothing does, but not beside a red mug. Where nothing reaches the
    threshold it stays as it is.
    """
    best = min(float(scores.max(initial=0.0)), 1 - 1e-6)
    if best <= threshold:
        return threshold
    return float(expit(logit(threshold) + rival * (logit(best) - logit(threshold))))


def semantic_labels(similarity: torch.Tensor, null_similarity: float) -> torch.Tensor:
    """Nearest of K classes for each voxel, (M,K) -> (M,) in 1..K; 0 where none is nearer than the null class."""
    best, index = similarity.max(dim=1)
    return torch.where(best > null_similarity, index + 1, 0)


def _neighbours(centers: np.ndarray, gap: float) -> np.ndarray:
    """Pairs (E,2) of voxels at most `gap` apart."""
    return cKDTree(centers).query_pairs(gap, output_type="ndarray")


def _components(count: int, edges: np.ndarray) -> np.ndarray:
    """Connected component of each of `count` nodes, (count,) int."""
    graph = coo_matrix((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def group_voxels(centers: np.ndarray, scores: np.ndarray, threshold: float, config: ObjectConfig) -> list[np.ndarray]:
    """Voxels scored over the threshold, as connected objects, best mean score first; each (n,) voxel indices."""
    chosen = np.flatnonzero(scores > threshold)
    if len(chosen) < config.min_voxels:
        return []
    part = _components(len(chosen), _neighbours(centers[chosen], config.gap))
    groups = [chosen[part == p] for p in range(part.max() + 1)]
    groups = [group for group in groups if len(group) >= config.min_voxels]
    return sorted(groups, key=lambda group: -scores[group].mean())


def _normals(centers: np.ndarray, edges: np.ndarray, eye: np.ndarray) -> np.ndarray:
    """Unit normals (M,3) of the surface at each voxel, towards the eye, from neighbours and theirs (1 to 2 cm)."""
    count = len(centers)
    near = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count)).tocsr()
    near = near + near.T + identity(count, format="csr")
    rows, columns = np.triu_indices(3)
    local = (centers - centers.mean(0)).astype(np.float64) if count else np.zeros((0, 3))
    sums = near @ (near @ np.column_stack([np.ones(count), local, local[:, rows] * local[:, columns]]))
    mean, squares = sums[:, 1:4] / sums[:, :1], sums[:, 4:] / sums[:, :1]
    covariance = np.empty((count, 3, 3))
    covariance[:, rows, columns] = covariance[:, columns, rows] = squares
    covariance -= mean[:, :, None] * mean[:, None, :]
    normals = _thinnest(covariance)
    return normals * np.where(((eye - centers) * normals).sum(axis=1) < 0, -1.0, 1.0)[:, None]


def _thinnest(covariance: np.ndarray) -> np.ndarray:
    """Unit direction (M,3) of least variance of each covariance (M,3,3); any where there are several.

    In closed form, a third of the time of LAPACK, which takes the matrices one by one: the least root of the
    characteristic polynomial, and the longest cross product of two rows of what it leaves.
    """
    scale = np.maximum(np.trace(covariance, axis1=1, axis2=2), 1e-30) / 3
    unit = covariance / scale[:, None, None]
    deviator = unit - np.eye(3)
    spread = np.sqrt((deviator**2).sum(axis=(1, 2)) / 6)
    a, b, c = deviator.transpose(1, 0, 2)  # rows
    half = ((a * np.cross(b, c)).sum(axis=1) / 2) / np.maximum(spread, 1e-12) ** 3
    angle = np.arccos(np.clip(half, -1, 1)) / 3
    least = 2 * spread * np.cos(angle + 2 * np.pi / 3)
    rows = deviator - least[:, None, None] * np.eye(3)
    across = np.stack([np.cross(rows[:, i], rows[:, j]) for i, j in ((0, 1), (1, 2), (2, 0))], axis=1)
    lengths = np.linalg.norm(across, axis=2)
    longest = lengths.argmax(axis=1)[:, None]
    length = np.take_along_axis(lengths, longest, axis=1)
    found = np.take_along_axis(across, longest[:, :, None], axis=1)[:, 0]
    return np.where(length > 1e-9, found / np.maximum(length, 1e-9), (0.0, 0.0, 1.0))


def _patches(centers: np.ndarray, normals: np.ndarray, colors: np.ndarray, size: float) -> np.ndarray:
    """Patch of each voxel, (M,) in 0..K-1: cells of `size` metres, moved by two rounds of k-means to follow edges."""
    described = np.column_stack([centers / size, normals, 2 * colors])
    cells = np.floor(centers / size).astype(np.int64)
    cells -= cells.min(axis=0, initial=0)
    x, y, z = cells.T
    width, depth = cells[:, 1:].max(axis=0, initial=0) + 1
    patch = np.unique((x * width + y) * depth + z, return_inverse=True)[1]
    for _ in range(2):
        patch = cKDTree(_means(described, patch)).query(described)[1]
        patch = np.unique(patch, return_inverse=True)[1]
    return patch


def _means(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Mean row of values (M,C) of each index (M,) in 0..K-1: (K,C)."""
    return np.stack([np.bincount(index, column) for column in values.T], axis=1) / np.bincount(index)[:, None]


def _shared_borders(patch: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of patches that touch, (E,2), and how many pairs of voxels touch there, (E,)."""
    a, b = patch[edges].T
    low, high, count = np.minimum(a, b), np.maximum(a, b), patch.max(initial=0) + 1
    keys, lengths = np.unique((low * count + high)[low < high], return_counts=True)
    return np.stack(np.divmod(keys, count), axis=1), lengths


def _border_strengths(
    pairs: np.ndarray,
    patch: np.ndarray,
    centers: np.ndarray,
    normals: np.ndarray,
    colors: np.ndarray,
    features: torch.Tensor,
    middles: np.ndarray | None,
    config: ObjectConfig,
) -> np.ndarray:
    """How much parts each of the pairs (E,2) of patches: 0 nothing, 1 enough."""
    a, b = pairs.T
    means = _means(np.column_stack([centers, normals, colors]), patch)
    middle, normal, color = means[:, :3], means[:, 3:6], means[:, 6:]
    normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    apart = middle[b] - middle[a]
    along = apart / np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-9)
    concave = np.maximum(((normal[a] - normal[b]) * along).sum(axis=1), 0)
    offset = np.minimum(*(np.abs((normal[end] * apart).sum(axis=1)) for end in (a, b)))
    feature = pool_features(features, patch + 1)
    unlike = 1 - (feature[a] * feature[b]).sum(dim=1).cpu().numpy()
    recoloured = np.linalg.norm(color[a] - color[b], axis=1)
    shape = config.concave * concave + config.offset * offset + config.recoloured * recoloured
    parting = config.unlike * unlike
    if middles is None:
        return parting + shape
    of_object = _means(middles, patch)
    return parting + config.aided * shape + config.apart * np.linalg.norm(of_object[a] - of_object[b], axis=1)


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
    centers: np.ndarray,
    colors: np.ndarray,
    features: torch.Tensor,
    eye: np.ndarray,
    config: ObjectConfig,
    middles: np.ndarray | None = None,
) -> np.ndarray:
    """Instance of each voxel, (M,) in 1..N, largest first: patches without a border between them are one object.

    centers (M,3) m and colors (M,3) in [0, 1] of the voxels, eye (3,): the camera, in the frame of the centres. Objects
    are convex more often than not, so a concave edge is a border, and so is a step, another colour or another feature.
    middles (M,3) m: where each voxel's object has its middle, from an encoder that says so.
    Pieces under `fragment` voxels join the nearest large one where it is `near`; the others are objects of their own,
    but 0, no object, under `min_voxels`.
    """
    edges = _neighbours(centers, config.gap)
    normals = _normals(centers, edges, eye)
    patch = _patches(centers, normals, colors, config.patch)
    pairs, lengths = _shared_borders(patch, edges)
    borders = _border_strengths(pairs, patch, centers, normals, colors, features, middles, config)
    part = _merge(int(patch.max(initial=-1)) + 1, pairs, lengths, borders)[patch]
    sizes = np.bincount(part)
    large, small = np.flatnonzero(sizes[part] >= config.fragment), np.flatnonzero(sizes[part] < config.fragment)
    if len(large) and len(small):
        distance, nearest = cKDTree(centers[large]).query(centers[small])
        near = distance <= config.near
        part[small[near]] = part[large[nearest[near]]]
    part = np.unique(part, return_inverse=True)[1]
    sizes = np.bincount(part)
    order = np.argsort(-sizes, kind="stable")
    rank = np.empty(len(sizes), np.int64)
    rank[order] = np.arange(1, len(sizes) + 1)
    return np.where(sizes >= config.min_voxels, rank, 0)[part]


def pool_features(features: torch.Tensor, labels: np.ndarray) -> torch.Tensor:
    """Mean feature, unit, of each instance 1..N of `labels` (M,), 0 being none: (M,C) -> (N,C).

    What a phrase means is an object, so objects are compared with it: the noise of single voxels averages out and
    borders are those of the instances.
    """
    index = torch.from_numpy(labels).to(features.device)
    sums = features.new_zeros(int(labels.max(initial=0)) + 1, features.shape[1]).index_add_(0, index, features)
    return torch.nn.functional.normalize(sums[1:], dim=1)


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
