# SPDX-License-Identifier: Apache-2.0
"""From voxels to patches of a surface, what is seen of each, and where they meet: what instances are put together from.

Voxels may lie on a GPU (see `arrays`); a `Surface` is on the host.
"""

from __future__ import annotations

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

_SPACED = 500  # voxels that tell how far apart they are
_EVERY, _WIDE = 8, 64  # of every eighth voxel so many make up some centimetres of a surface
_AROUND = 6  # neighbours that a voxel of a surface has within 1.4 voxels,
_SPARSE = 1.27  # so much less than the gap
_ROWS = 4096  # voxels that a GPU compares with all others at once


@dataclass(frozen=True, eq=False)
class Surface:
    """M voxels in P patches, B pairs of which touch.

    centers (M, 3) m, z up from the table; eye (3,): the camera's place, None where things are seen from all sides.
    patch (M,): of each voxel; sizes (P,): voxels of each. middles (P, 3), normals (P, 3), colors (P, 3), features
    (P, C), unit: of each patch; looks (P, 3): where the encoder sees the middle of its object, None where it does not.
    pairs (B, 2): patches that touch, in `lengths` (B,) pairs of voxels.
    """

    centers: np.ndarray
    eye: np.ndarray | None
    patch: np.ndarray
    sizes: np.ndarray
    middles: np.ndarray
    normals: np.ndarray
    colors: np.ndarray
    features: np.ndarray
    looks: np.ndarray | None
    pairs: np.ndarray
    lengths: np.ndarray


def surface_of(
    centers: Array,
    colors: Array,
    features: torch.Tensor,
    eye: np.ndarray | None,
    middles: Array | None,
    gap: float,
    size: float,
) -> Surface:
    """The surface of voxels: centers (M, 3) m, colors (M, 3) in [0, 1], features (M, C), middles (M, 3) of objects.

    gap: voxels further apart do not touch, m; size: of a patch, m.
    """
    edges = _neighbours(centers, _gap(centers, gap))
    normals = _normals(centers, edges, eye)
    patch = _patches(centers, normals, colors, size)
    pairs, lengths = _shared_borders(patch, edges)
    described_by = [centers, normals, colors] if middles is None else [centers, normals, colors, middles]
    means = to_numpy(_means(array_namespace(centers).column_stack(described_by), patch))
    middle, normal, color, look = np.split(means, (3, 6, 9), axis=1)
    normal = normal / np.clip(np.linalg.norm(normal, axis=1), 1e-9, None)[:, None]
    feature = to_numpy(pool_features(features, patch + 1))
    centers, patch, pairs, lengths = (to_numpy(of) for of in (centers, patch, pairs, lengths))
    sizes, looks = np.bincount(patch), None if middles is None else look
    return Surface(centers, eye, patch, sizes, middle, normal, color, feature, looks, pairs, lengths)


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


def _gap(centers: Array, gap: float) -> float:
    """How far voxels of one object may be apart, metres: further where a far or coarse camera leaves some empty."""
    some, around = centers[:: max(len(centers) // _SPACED, 1)], min(_AROUND + 1, len(centers))
    if is_numpy(centers):
        furthest = cKDTree(centers).query(some, [around])[0]
    else:
        furthest = to_numpy(_distances(torch.as_tensor(some), centers).kthvalue(around, dim=1).values)
    return max(gap, float(_SPARSE * np.median(furthest)))


def pool_features(features: torch.Tensor, labels: Array) -> torch.Tensor:
    """Mean feature, unit, of each instance 1..N of `labels` (M,), 0 being none: (M,C) -> (N,C).

    What a phrase means is an object, so objects are compared with it: the noise of single voxels averages out and
    borders are those of the instances.
    """
    index, count = torch.as_tensor(labels, device=features.device), int(labels.max()) if len(labels) else 0
    total = features.new_zeros(count + 1, features.shape[1]).index_add_(0, index, features)
    return torch.nn.functional.normalize(total[1:], dim=1)
