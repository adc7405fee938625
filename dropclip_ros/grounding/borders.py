# SPDX-License-Identifier: Apache-2.0
"""How much parts two patches that touch, as learnt: logistic regression on what is seen of both and on products of it.

Fitted by `python -m benchmarks.path.borders` on pairs of patches of rendered rooms, bare and crowded, of rendered
clutter as depth cameras see it, and of the half of OSD that may be chosen on; weighted by the length of the border.
"""

import numpy as np

from dropclip_ros.grounding.surface import Surface

# concave, offset, unlike, recoloured, apart, convex, level, distance, length, least size: the order of terms
SCALES = np.array([1.0, 0.01, 1.0, 1.0, 0.05, 1.0, 0.05, 0.02, 1.0, 60.0])
WEIGHTS = np.array(
    [
        *(-5.97, 0.944, 0.402, 2.2, 0.775, -0.863, -1.2, 1.2, 0.132, -0.052),
        *(-1.67, 0.109, 0.587, 1.8, 1.04, 1.06, 1.42, 3.14, 6.99, 1.46),
    ]
)
_CAREFUL = 2.0  # towards parting, in log-odds: `pieces` joins what is cut for nothing
_SOFT = 4.0  # log-odds from a border of even chances to none


def border_terms(surface: Surface) -> np.ndarray:
    """What is seen of the pairs of patches that touch: (B, 10); what is made of it says `described`."""
    a, b = surface.pairs.T
    middle, normal, feature, color = surface.middles, surface.normals, surface.features, surface.colors
    between = middle[b] - middle[a]
    distance = np.linalg.norm(between, axis=1)
    edge = ((normal[a] - normal[b]) * between).sum(axis=1) / np.clip(distance, 1e-9, None)
    offset = np.minimum(*(np.abs((normal[end] * between).sum(axis=1)) for end in (a, b)))
    objects = np.zeros_like(between) if surface.looks is None else surface.looks[a] - surface.looks[b]
    least = np.minimum(surface.sizes[a], surface.sizes[b])
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
            surface.lengths / np.sqrt(least),
            least,
        ]
    )


def described(terms: np.ndarray) -> np.ndarray:
    """What the regression sees (E, 20) of the terms (E, 10) of pairs of patches.

    Sine of the angle of a concave edge; metres from one's middle to the other's plane; 1 - cosine of features; distance
    of colours; metres between where the encoder sees the middles of their objects; sine of a convex edge; the same
    metres along the table; metres between the patches; voxels that touch by the root of the lesser size; that size.
    """
    scaled = terms / SCALES
    scaled[:, 9] = np.minimum(scaled[:, 9], 1)
    concave, offset, unlike, recoloured, apart = scaled[:, :5].T
    bent = np.minimum(concave, 0.3) * 10, np.minimum(offset, 0.3) / 0.3, np.minimum(apart, 0.6) / 0.6
    other = np.minimum(unlike, 0.2) * 5, np.minimum(recoloured, 0.15) * 6
    products = concave * unlike * 4, concave * apart, unlike * apart, offset * unlike
    return np.column_stack([np.ones(len(terms)), scaled, *bent, *other, *products])


def border_odds(terms: np.ndarray) -> np.ndarray:
    """Log-odds (E,) that pairs with these terms (E, 10) are of two things."""
    return described(terms) @ WEIGHTS


def parting(terms: np.ndarray) -> np.ndarray:
    """How much parts each of the pairs with these terms (E, 10): 0 nothing, 1 enough; (E,)."""
    return np.clip(1 + (border_odds(terms) + _CAREFUL) / _SOFT, 0, None)
