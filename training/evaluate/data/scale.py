# SPDX-License-Identifier: Apache-2.0
"""The scale sweep of A.6: how much larger a data set's points are made before they are voxelised.

The paper sweeps over factors of 8 to 16 (OCID-VLG) and 6 to 20 (REGRAD), where the clouds it was trained on are metres
times 10. Here 1 is the size that the encoder was trained on, so that all are a tenth of the paper's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

OCID_VLG_SCALES = tuple(factor / 10 for factor in range(8, 17))
REGRAD_SCALES = tuple(factor / 10 for factor in range(6, 21))


@dataclass(frozen=True)
class Sweep:
    """The best scale, and what each scale gave, in the order they were tried."""

    best: float
    curve: dict[float, float]


def scale_sweep(score: Callable[[float], float], scales: Sequence[float]) -> Sweep:
    """Runs `score` (the larger the better; NaN: nothing to say) at every scale; the best is the first of the largest.

    The choice belongs on validation scenes: A.6.1 sweeps on OCID-VLG's and reports the others at that scale. Raises
    ValueError where no scale gave a number.
    """
    curve = {float(scale): float(score(scale)) for scale in scales}
    known = {scale: value for scale, value in curve.items() if not np.isnan(value)}
    if not known:
        raise ValueError(f"none of the {len(curve)} scales gave a score; are there scenes with questions?")
    return Sweep(max(known, key=known.__getitem__), curve)


def scaled(points: np.ndarray, scale: float) -> np.ndarray:
    """Points (M,3) made larger about their centroid over the table, which is at z = 0; same dtype."""
    centre = np.append(points[:, :2].mean(axis=0), 0).astype(points.dtype)
    return (points - centre) * points.dtype.type(scale) + centre
