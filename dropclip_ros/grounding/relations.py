# SPDX-License-Identifier: Apache-2.0
"""Where objects are, beside each other and for a viewer: relations and orders in metres, no features.

Axes here are the viewer's: x to the right, y away, z up from the table; gravity is the table's normal. Scores lie in
[0, 1]; from CLEAR on a relation holds, from LOOSE on it may be meant where nothing else fits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

CLEAR, LOOSE = 0.5, 0.2
DIRECTIONS = 16  # in which outlines are measured
BESIDE = 0.01  # m by which something must lie to a side
CONTACT = 0.03  # m between what touches, at most
NEXT, NEAR, FAR = (
    (0.03, 0.17),
    (0.06, 0.34),
    (0.10, 0.40),
)  # m of gap: surely so, and no longer so (FAR: not yet, surely)
FURTHER_UP = 0.6  # what is over another without touching it, where something does
SAME_SIZE, SAME_PLACE = 0.03, 0.005  # share and metres that do not tell two things apart


@dataclass(frozen=True)
class Viewer:
    """Who says left and right. table_from_viewer: rotation (3,3), columns right, away, up; position (3,) m."""

    axes: np.ndarray
    position: np.ndarray

    @classmethod
    def of_camera(cls, table_from_camera: np.ndarray) -> Viewer:
        """The camera (optical frame); where it looks straight down, the image's top is away."""
        return cls._facing(table_from_camera, table_from_camera[:3, 2], -table_from_camera[:3, 1])

    @classmethod
    def of_frame(cls, table_from_frame: np.ndarray) -> Viewer:
        """A body that looks along its x, y to its left, z up (REP 103): a robot's base, a person."""
        return cls._facing(table_from_frame, table_from_frame[:3, 0], table_from_frame[:3, 2])

    @classmethod
    def _facing(cls, pose: np.ndarray, ahead: np.ndarray, above: np.ndarray) -> Viewer:
        away = np.array([*ahead[:2], 0.0])
        if np.linalg.norm(away) < 0.15:  # it looks along gravity
            away = np.array([*above[:2], 0.0])
        away = away / max(np.linalg.norm(away), 1e-9) if away.any() else np.array([0.0, 1.0, 0.0])
        up = np.array([0.0, 0.0, 1.0])
        return cls(np.stack([np.cross(away, up), away, up], axis=1), pose[:3, 3])


class Layout:
    """Where K instances are. points (M,3) m in the table's frame, instances (M,) in 1..K, 0 for none."""

    def __init__(self, points: np.ndarray, instances: np.ndarray, viewer: Viewer) -> None:
        shown = instances > 0
        self.owner = instances[shown] - 1
        self.points = points[shown].astype(np.float64) @ viewer.axes
        self.position = viewer.position @ viewer.axes
        self.count = int(self.owner.max()) + 1 if len(self.owner) else 0
        self.sizes = np.bincount(self.owner, minlength=self.count)
        order = np.argsort(self.owner, kind="stable")
        self._starts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(int)
        self._sorted = order
        self.low, self.high = self._each(np.minimum, self.points), self._each(np.maximum, self.points)
        self.middle = (self.low + self.high) / 2

    def _each(self, what: np.ufunc, values: np.ndarray) -> np.ndarray:
        """The least or most of values (M,...) of each instance."""
        return what.reduceat(values[self._sorted], self._starts)

    @cached_property
    def _along(self) -> np.ndarray:
        """(M,2 DIRECTIONS) m of each point along directions all round."""
        angle = np.arange(2 * DIRECTIONS) * np.pi / DIRECTIONS
        return self.points[:, :2] @ np.stack([np.cos(angle), np.sin(angle)])

    @cached_property
    def widths(self) -> np.ndarray:
        """(K,DIRECTIONS) m of each outline from side to side."""
        most = self._each(np.maximum, self._along)
        return most[:, :DIRECTIONS] + most[:, DIRECTIONS:]

    @cached_property
    def over(self) -> np.ndarray:
        """(K,K): share of each row's points that lie over or under the outline of each column's."""
        outline = self._each(np.maximum, self._along) + 0.005
        share = np.zeros((self.count, self.count))
        for k in range(self.count):
            inside = (self._along <= outline[k]).all(axis=1)
            share[:, k] = np.bincount(self.owner, inside, self.count) / self.sizes
        return share

    def gaps(self, k: int) -> np.ndarray:
        """(K,) m from instance k to the nearest point of each."""
        return self._each(np.minimum, cKDTree(self.points[self.owner == k]).query(self.points)[0])

    def relation(self, name: str, k: int, container: bool = False) -> np.ndarray:
        """(K,): how far each instance is `name` of instance k. container: whether k is there to hold things."""
        if name in ("left", "right", "front", "behind"):
            score = self._side(name, k)
        elif name in ("next_to", "near"):
            sure, no_longer = NEXT if name == "next_to" else NEAR
            score = np.clip((no_longer - self.gaps(k)) / (no_longer - sure), 0, 1)
            if name == "next_to":
                score = score * (self.over[:, k] < 0.5) * (self.over[k] < 0.5)
        elif name == "far":
            score = np.clip((self.gaps(k) - FAR[0]) / (FAR[1] - FAR[0]), 0, 1)
        elif name in ("on", "in", "with"):
            score = self._held(name, k, container)
        elif name in ("under", "above"):
            score = self._above(k) if name == "above" else self._below(k)
        else:
            raise ValueError(f"{name!r} is no relation to one landmark")
        score = score.copy()
        score[k] = 0
        return score

    def _side(self, name: str, k: int) -> np.ndarray:
        """One straight to the side, a half at 45 degrees, nothing at 90."""
        apart = self.middle[:, :2] - self.middle[k, :2]
        along, across = {
            "left": (-apart[:, 0], apart[:, 1]),
            "right": (apart[:, 0], apart[:, 1]),
            "front": (-apart[:, 1], apart[:, 0]),
            "behind": (apart[:, 1], apart[:, 0]),
        }[name]
        score = np.clip(1 - np.arctan2(np.abs(across), along) / (np.pi / 2), 0, 1)
        stacked = np.maximum(self.over[:, k], self.over[k]) > 0.7
        return np.where((along > BESIDE) & ~stacked, score, 0)

    def _held(self, name: str, k: int, container: bool) -> np.ndarray:
        """On, in: over its outline, touching, and higher. With: the other way round."""
        if name == "with":
            holds = [np.maximum(self._held("on", a, True), self._held("in", a, True))[k] for a in range(self.count)]
            return np.array(holds)
        over = np.clip(self.over[:, k] / 0.6, 0, 1)
        higher = (self.middle[:, 2] > self.middle[k, 2]) | (self.high[:, 2] > self.high[k, 2])
        inside = (self.high[:, 2] <= self.high[k, 2] + 0.01) & (self.low[:, 2] >= self.low[k, 2] - 0.01)
        touching = (self.low[:, 2] < self.high[k, 2] + CONTACT) & (self.low[:, 2] > self.low[k, 2] - 0.01)
        sunk = self.low[:, 2] < self.high[k, 2] - 0.015
        usual = (
            np.where(sunk, 1.0, 0.7 if container else 0.3) if name == "in" else np.where(sunk & ~container, 0.7, 1.0)
        )
        return over * touching * (higher | (inside & (name == "in"))) * usual

    def _above(self, k: int) -> np.ndarray:
        over = np.clip(np.maximum(self.over[:, k], self.over[k]) / 0.6, 0, 1)
        higher = (self.middle[:, 2] > self.middle[k, 2] + 0.01) & (self.low[:, 2] > self.low[k, 2] + 0.01)
        return over * higher * np.where(self.low[:, 2] < self.high[k, 2] + CONTACT, 1.0, FURTHER_UP)

    def _below(self, k: int) -> np.ndarray:
        return np.array([self._above(a)[k] for a in range(self.count)])

    def between(self, a: int, b: int) -> np.ndarray:
        """(K,): one on the line from a to b, a half at a quarter of its length beside it, nothing beyond its ends."""
        line = self.middle[b, :2] - self.middle[a, :2]
        height = self.middle[b, 2] - self.middle[a, 2]
        if abs(height) > np.linalg.norm(line):  # within a stack
            share = (self.middle[:, 2] - self.middle[a, 2]) / height
            score = np.maximum(self.over[:, a], self.over[:, b]) * (share > 0.1) * (share < 0.9)
            score[[a, b]] = 0
            return score
        length = max(float(np.linalg.norm(line)), 1e-6)
        to = self.middle[:, :2] - self.middle[a, :2]
        share = to @ line / length**2
        beside = np.abs(to @ np.array([-line[1], line[0]])) / length
        score = np.clip(1 - 2 * beside / length, 0, 1) * (share > 0.1) * (share < 0.9)
        score[[a, b]] = 0
        return score

    def distances(self, k: int) -> np.ndarray:
        """(K,) m from the middle of instance k to that of each, along the table."""
        return np.linalg.norm(self.middle[:, :2] - self.middle[k, :2], axis=1)

    def measure(self, by: str, among: np.ndarray) -> np.ndarray:
        """(K,): what "most" of an order goes by. among (K,) bool: those that are compared."""
        extent = self.high - self.low
        thin, long = self.widths.min(axis=1), self.widths.max(axis=1)
        across = np.take_along_axis(
            self.widths, ((self.widths.argmin(axis=1) + DIRECTIONS // 2) % DIRECTIONS)[:, None], axis=1
        )[:, 0]
        centre = self.middle[among].mean(axis=0) if among.any() else np.zeros(3)
        return {
            "left": -self.middle[:, 0],
            "right": self.middle[:, 0],
            "front": -self.middle[:, 1],
            "back": self.middle[:, 1],
            "front_left": -self.middle[:, 0] - self.middle[:, 1],
            "front_right": self.middle[:, 0] - self.middle[:, 1],
            "back_left": self.middle[:, 1] - self.middle[:, 0],
            "back_right": self.middle[:, 0] + self.middle[:, 1],
            "near": -np.linalg.norm(self.middle - self.position, axis=1),
            "far": np.linalg.norm(self.middle - self.position, axis=1),
            "size": thin * across * extent[:, 2],
            "height": extent[:, 2],
            "width": long,
            "length": np.maximum(long, extent[:, 2]),
            "thickness": np.minimum(thin, extent[:, 2]),
            "top": self.middle[:, 2],
            "bottom": -self.middle[:, 2],
            "middle": -np.linalg.norm((self.middle - centre)[:, self._axes(among)], axis=1),
        }[by]

    def _axes(self, among: np.ndarray) -> list[int]:
        """The axes along which things are spread: those of the table, or the height of a stack."""
        spread = np.ptp(self.middle[among], axis=0) if among.any() else np.zeros(3)
        return [2] if spread[2] > spread[:2].max() else [0, 1]

    def ranked(self, by: str, direction: str, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those among (K,) bool in order (n,), and whether each cannot be told from the next (n-1,)."""
        value = self.measure(by, among) * (1 if direction == "most" else -1)
        chosen = np.flatnonzero(among)
        chosen = chosen[np.argsort(-value[chosen], kind="stable")]
        steps = -np.diff(value[chosen])
        sized = by in ("size", "height", "width", "length", "thickness")
        least = SAME_SIZE * np.abs(value[chosen])[:-1] if sized else SAME_PLACE
        return chosen, steps < least
