# SPDX-License-Identifier: Apache-2.0
"""Numbers that last: an object that is found again where it was keeps its number from answer to answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

FORGET = 10.0  # s without being found, after which a number is given up
NEAR = 0.03  # m, that a middle may move beyond half of the object's own size
SIZES = 2.0  # times that a longest side may differ


@dataclass
class _Track:
    number: int
    centre: np.ndarray
    size: float
    seen: float


class Tracks:
    """Of objects in a frame that stands still. What moves farther than its own half in one step is another object."""

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._next = 1

    def clear(self) -> None:
        """What was seen is of another place; numbers go on."""
        self._tracks = []

    def numbers(self, centres: np.ndarray, sizes: np.ndarray, now: float) -> list[int]:
        """Numbers from 1, each once, of the objects with middles (N, 3) and box sizes (N, 3), m, found at `now`, s."""
        self._tracks = [track for track in self._tracks if now - track.seen <= FORGET]
        longest, found = np.asarray(sizes, float).reshape(-1, 3).max(axis=1), [0] * len(centres)
        if len(centres) and self._tracks:
            known = np.array([track.centre for track in self._tracks])
            size = np.array([track.size for track in self._tracks])
            apart = np.linalg.norm(np.asarray(centres)[:, None] - known[None], axis=2)
            fits = apart <= NEAR + np.minimum(longest[:, None], size[None]) / 2
            fits &= np.maximum(longest[:, None], size[None]) <= SIZES * np.minimum(longest[:, None], size[None]) + NEAR
            for i, j in zip(*linear_sum_assignment(np.where(fits, apart, 1e3)), strict=True):
                if fits[i, j]:
                    track = self._tracks[j]
                    track.centre, track.size, track.seen = np.asarray(centres[i], float), float(longest[i]), now
                    found[i] = track.number
        for i, number in enumerate(found):
            if not number:
                found[i] = self._next
                self._tracks.append(_Track(self._next, np.asarray(centres[i], float), float(longest[i]), now))
                self._next += 1
        return found
