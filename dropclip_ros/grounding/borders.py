# SPDX-License-Identifier: Apache-2.0
"""How much parts two patches that touch, as learnt: logistic regression on what is seen of both and on products of it.

Fitted by `python -m benchmarks.path.borders` on pairs of patches of rendered rooms, bare and crowded, and of the half
of OSD that may be chosen on; weighted by the length of the border.
"""

import numpy as np

# concave, offset, unlike, recoloured, apart, convex, level, distance, length, least size: the order of terms
SCALES = np.array([1.0, 0.01, 1.0, 1.0, 0.05, 1.0, 0.05, 0.02, 1.0, 60.0])
_WEIGHTS = np.array(
    [
        *(-6.53, 3.5, -0.28, 5.67, 2.33, -0.605, -3.07, 1.55, 0.591, -0.0315, -0.421),
        *(-0.0741, 0.606, 0.822, 1.27, 1.81, 1.74, 0.645, 2.85, 2.8),
    ]
)
_LEANING = 0.3  # towards parting, in log-odds: pieces of a thing still meet along other borders
_SOFT = 4.0  # log-odds from a border of even chances to none


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


def learnt_borders(terms: np.ndarray) -> np.ndarray:
    """How much parts each of the pairs with these terms (E, 10): 0 nothing, 1 enough; (E,)."""
    return np.clip(1 + (described(terms) @ _WEIGHTS + _LEANING) / _SOFT, 0, None)
