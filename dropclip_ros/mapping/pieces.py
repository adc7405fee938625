# SPDX-License-Identifier: Apache-2.0
"""Which voxels are one object: what single views part or join is put to the vote of all.

A piece is what no view has parted so far. Views that see two pieces say that they are one instance, or that they are
not; pieces become one object where more views say so. A view that parts a piece makes two of it, which remember how
often they were seen as one.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

_VISIBLE = 6  # voxels that a view must show of a piece to have a say
_PART = 20  # voxels, and
_SHARE = 0.2  # share of what is seen of a piece, that make a second part of it
_REMEMBERED = 12.0  # votes for and against that count: what changed long ago is outvoted in time
_JOINED = 0.0  # lead over which pieces are one object
_SURE = 5.0  # votes by which two pieces lead that then are one for good


class Pieces:
    """P pieces: `seen` (P,) views as one, `together` and `apart` (P,P) views that saw two as one, or as two; `object`
    (P,) the id of the object of each."""

    def __init__(self) -> None:
        self.seen = np.zeros(0)
        self.together = np.zeros((0, 0))
        self.apart = np.zeros((0, 0))
        self.object = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self.seen)

    def new(self, like: int | None = None) -> int:
        """Another piece, with the votes of the piece `like`; its number."""
        count = len(self)
        for name in ("together", "apart"):
            grown = np.zeros((count + 1, count + 1))
            grown[:count, :count] = getattr(self, name)
            if like is not None:
                grown[count, :count], grown[:count, count] = grown[like, :count], grown[:count, like]
            setattr(self, name, grown)
        self.seen = np.append(self.seen, 0.0 if like is None else self.seen[like])
        self.object = np.append(self.object, 0 if like is None else self.object[like])
        if like is not None:
            self.together[like, count] = self.together[count, like] = self.seen[like]
        return count

    def keep(self, which: np.ndarray) -> np.ndarray:
        """Drops all but these (bool (P,)): the new number of each, -1 for the dropped."""
        number = np.where(which, np.cumsum(which) - 1, -1)
        self.seen, self.object = self.seen[which], self.object[which]
        self.together, self.apart = self.together[np.ix_(which, which)], self.apart[np.ix_(which, which)]
        return number

    def part(self, owner: np.ndarray, places: np.ndarray, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Parts pieces in which a view sees two instances. owner (M,): piece of each voxel, changed in place; places
        (M,3) m; rows (n,): voxels that the view shows, labels (n,) its instances there. Returns the instance (P,) that
        it shows each piece as, 0 for those it does not."""
        shown = self._counts(owner[rows], labels)
        for piece in np.flatnonzero((shown > 0).sum(1) > 1):
            total = shown[piece].sum()
            parts = np.flatnonzero(shown[piece] >= max(_PART, _SHARE * total))
            if len(parts) < 2:
                continue
            mine = owner[rows] == piece
            of_part = mine & np.isin(labels, parts)
            all_of = np.flatnonzero(owner == piece)
            nearest = labels[of_part][cKDTree(places[rows[of_part]]).query(places[all_of])[1]]
            largest = parts[shown[piece, parts].argmax()]
            for label in parts[parts != largest]:
                owner[all_of[nearest == label]] = self.new(int(piece))
        shown = self._counts(owner[rows], labels)
        return np.where(shown.sum(1) >= _VISIBLE, shown.argmax(1) if shown.shape[1] else 0, 0)

    def _counts(self, pieces: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Voxels (P,K+1) of each piece in each instance; none in 0."""
        most = int(labels.max(initial=0)) + 1
        has = (pieces >= 0) & (labels > 0)
        flat = pieces[has].astype(np.int64) * most + labels[has]
        return np.bincount(flat, minlength=len(self) * most).reshape(len(self), most)

    def vote(self, shown: np.ndarray) -> None:
        """A view's say: shown (P,), the instance it shows each piece as, 0: none."""
        seen = np.flatnonzero(shown)
        same = shown[seen][:, None] == shown[seen]
        self.together[np.ix_(seen, seen)] += same
        self.apart[np.ix_(seen, seen)] += ~same
        self.seen[seen] = np.minimum(self.seen[seen] + 1, _REMEMBERED)
        np.fill_diagonal(self.together, 0)
        total = self.together + self.apart
        shrink = np.where(total > _REMEMBERED, _REMEMBERED / np.maximum(total, 1), 1.0)
        self.together, self.apart = self.together * shrink, self.apart * shrink

    def clusters(self) -> np.ndarray:
        """Which pieces are one object, (P,) in 0..: the pair of which most views say so first, votes being added."""
        count = len(self)
        cluster, together, apart = np.arange(count), self.together.copy(), self.apart.copy()
        while count > 1:
            lead = np.where(together + apart > 0, (together - apart) / np.maximum(together + apart, 1e-9), -1.0)
            np.fill_diagonal(lead, -1.0)
            a, b = np.unravel_index(lead.argmax(), lead.shape)
            if lead[a, b] <= _JOINED:
                break
            cluster[cluster == b] = a
            for votes in (together, apart):
                votes[a] += votes[b]
                votes[:, a] += votes[:, b]
                votes[b] = votes[:, b] = 0
        return np.unique(cluster, return_inverse=True)[1].reshape(-1)

    def join_sure(self, owner: np.ndarray) -> None:
        """Pieces that have been one for long become one: owner (M,) is changed in place."""
        lead = np.triu(self.together - self.apart, 1)
        while len(self) > 1 and lead.max() >= _SURE:
            a, b = np.unravel_index(lead.argmax(), lead.shape)
            owner[owner == b] = a
            for votes in (self.together, self.apart):
                votes[a] = np.maximum(votes[a], votes[b])
                votes[:, a] = votes[a]
            self.seen[a] = max(self.seen[a], self.seen[b])
            number = self.keep(np.arange(len(self)) != b)
            owner[owner >= 0] = number[owner[owner >= 0]]
            lead = np.triu(self.together - self.apart, 1)
