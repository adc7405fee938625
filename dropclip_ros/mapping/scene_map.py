# SPDX-License-Identifier: Apache-2.0
"""One world from many frames: voxels, objects that keep their ids, what was taken, and what a pose gets wrong.

scene_map = SceneMap()
added = scene_map.add(MapFrame.of_encoded(grounder.encode(frame)))
found = grounder.ground(map_scene(scene_map, grounder), "the red mug")
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.mapping.config import MapConfig
from dropclip_ros.mapping.follow import Shown, motion_of, same
from dropclip_ros.mapping.frames import MapFrame, Sight
from dropclip_ros.mapping.grid import GONE, SEEN, VoxelGrid, cells_of
from dropclip_ros.mapping.pieces import Pieces
from dropclip_ros.mapping.poses import Drift
from dropclip_ros.mapping.views import Keyframe, MapObject, ObjectView, shown_share
from dropclip_ros.mapping.watch import SOME, Watch
from dropclip_ros.vision.geometry import transform_points

_NEXT_TO = 1.5  # edges: what a frame shows so near to a voxel is of the same surface
_SEE_SOME = 0.15  # share of an object that a frame must contradict before it is looked for elsewhere
_LEAST = 8  # voxels of a new piece, and of one that stays
_KNOWN = 0.5  # confidence from which an object that goes is remembered
_AGAIN = 0.3  # cost under which what appears is what was taken before


@dataclass(frozen=True)
class Added:
    """What came of a frame. ids (K,): of the object that each of its instances shows, 0 where that is none; new, moved,
    taken: ids; drift: how far its pose is off, None where too little was met to say."""

    ids: np.ndarray
    new: tuple[int, ...] = ()
    moved: tuple[int, ...] = ()
    taken: tuple[int, ...] = ()
    drift: Drift | None = None


@dataclass(frozen=True, eq=False)
class Gone:
    """An object that was taken: where it was (n,3) m, its colours (n,3) in [0, 1], and since when."""

    object: MapObject
    places: np.ndarray
    colors: np.ndarray
    since: float


@dataclass
class _Cells:
    """What a frame shows: voxels' keys, places (n,3), colors (n,3), labels (n,) and the nearest row (n,) of the map,
    -1 where none is near."""

    keys: np.ndarray
    places: np.ndarray
    colors: np.ndarray
    labels: np.ndarray
    near: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def meet(self, tree: cKDTree | None, reach: float) -> None:
        self.near = np.full(len(self.keys), -1)
        if tree is not None and len(self.keys):
            distance, index = tree.query(self.places, distance_upper_bound=reach)
            self.near = np.where(np.isfinite(distance), index, -1)


class SceneMap:
    """A lasting scene. Not for several threads at once.

    grid: its voxels; pieces: what of them is one; objects by id; gone: what was taken, the latest last; keyframes:
    pictures by number; frames, refused: how many were fused, and not; last: the frame that was fused last.
    """

    def __init__(self, config: MapConfig | None = None) -> None:
        self.config = config or MapConfig()
        self._next = 1
        self.clear()

    def clear(self) -> None:
        """Forgets all but which ids were given away."""
        self.grid, self.pieces, self.watch = VoxelGrid(self.config.edge), Pieces(), Watch(self.config)
        self.objects: dict[int, MapObject] = {}
        self.gone: list[Gone] = []
        self.keyframes: dict[int, Keyframe] = {}
        self.last: MapFrame | None = None
        self.frames = self.refused = 0
        self._rng = np.random.default_rng(0)

    def owners(self) -> np.ndarray:
        """Id of the object of each voxel, (M,), 0 for none."""
        return np.append(self.pieces.object, 0)[self.grid.owner]

    def add(self, frame: MapFrame) -> Added:
        """Fuses a frame. Raises STALE_FRAME where it is older than `late` allows, TF_ERROR where its pose contradicts
        what is seen: the map is then as it was, but for `refused`."""
        grid, edge = self.grid, self.config.edge
        try:
            cells, tree, sight, drift = self._checked(frame)
            self.watch.change(self._per_object(SEEN), self._per_object(GONE))
        except DropclipError:
            self.refused += 1
            raise
        cells.meet(tree, _NEXT_TO * edge)
        shown = _shown(frame, cells)
        if moved := self._follow(cells, shown):
            grid.said = sight.of(grid.mean)
            cells.meet(cKDTree(grid.mean), _NEXT_TO * edge)
        self._see(cells, frame.stamp)
        taken = self._remove(frame.stamp)
        new = self._again(self._regroup(frame.stamp), cells, shown)
        self._believe(frame.stamp, new)
        ids = self._look(frame, cells, shown)
        self._bound()
        self.watch.accept(frame)
        self.last, self.frames = frame, self.frames + 1
        return Added(ids, tuple(new), tuple(moved), tuple(taken), drift)

    def check(self, frame: MapFrame) -> Drift | None:
        """What `add` would say of a frame's time and pose, without fusing it. Raises as it does."""
        return self._checked(frame)[-1]

    def _checked(self, frame: MapFrame) -> tuple[_Cells, cKDTree | None, Sight, Drift | None]:
        """What a frame shows and what it says of the voxels. Raises STALE_FRAME or TF_ERROR."""
        grid = self.grid
        self.watch.time(frame.stamp)
        self.watch.plane(frame)
        cells = _Cells(*cells_of(grid, frame.points, frame.colors, frame.labels))
        tree = cKDTree(grid.mean) if len(grid) else None
        drift = self.watch.drift(cells.places[cells.labels > 0], tree, grid.mean, self.owners())
        sight = Sight(frame, self.config.slack, self.config.behind, self.config.rim)
        grid.said = sight.of(grid.mean)
        return cells, tree, sight, drift

    def _per_object(self, what: int) -> np.ndarray:
        """How many voxels of each object, in the order of `objects`, the frame says that of: (K,)."""
        return np.bincount(self.owners()[self.grid.said == what], minlength=self._next)[list(self.objects)]

    def _follow(self, cells: _Cells, shown: dict[int, Shown]) -> list[int]:
        """Objects that are seen through are looked for among what is new, and moved there as one. Their ids."""
        seen, gone = self._per_object(SEEN), self._per_object(GONE)
        lost = gone > np.maximum(SOME, _SEE_SOME * (gone + seen))
        away = [one for one, is_lost in zip(self.objects.values(), lost, strict=True) if is_lost]
        if not away:
            return []
        there = (cells.near >= 0) & (self.grid.said[cells.near] != GONE)
        news = [label for label in shown if (~there[cells.labels == label]).mean() > _SEE_SOME]
        moved = []
        for row, column in same(away, [shown[label] for label in news]):
            one, mine = away[row], self.owners() == away[row].id
            motion = motion_of(self.grid.mean[mine], shown[news[column]].places, self._rng)
            if motion is not None:
                taken = self.grid.take(mine)
                self.grid.put(taken, transform_points(motion, taken["mean"]).astype(np.float32))
                moved.append(one.id)
        return moved

    def _see(self, cells: _Cells, stamp: float) -> None:
        """The frame's say about voxels and about which of them are one."""
        grid, pieces = self.grid, self.pieces
        grid.through[grid.said == GONE] += 1
        here = grid.said == SEEN
        grid.through[here], grid.seen[here] = 0, np.maximum(grid.seen[here], stamp)
        met = (cells.near >= 0) & (cells.labels > 0)
        instance = pieces.part(grid.owner, grid.mean, cells.near[met], cells.labels[met])
        row = grid.find(cells.keys)
        known = row >= 0
        grid.see(row[known], cells.places[known], cells.colors[known], stamp)
        new = ~known & (cells.labels > 0)
        owner, instance = self._owner_of(cells, new, instance)
        pieces.vote(instance)
        new[new] = owner >= 0
        grid.add(cells.keys[new], cells.places[new], cells.colors[new], owner[owner >= 0], stamp)

    def _owner_of(self, cells: _Cells, new: np.ndarray, instance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The piece of each new voxel: the nearest that the frame shows as its instance, or one of its own."""
        owner, places = np.full(len(cells.keys), -1), cells.places
        for label in np.unique(cells.labels[new]):
            mine = new & (cells.labels == label)
            of_pieces = np.flatnonzero(instance == label)
            beside = np.isin(self.grid.owner, of_pieces)
            if beside.any():
                of_these = self.grid.owner[beside]
                owner[mine] = of_these[cKDTree(self.grid.mean[beside]).query(places[mine])[1]]
            elif mine.sum() >= _LEAST and len(self.pieces) < 4 * self.config.objects:
                owner[mine] = self.pieces.new()
                instance = np.append(instance, label)
        return owner[new], instance

    def _remove(self, stamp: float) -> list[int]:
        """Drops voxels that were seen through often enough, and objects that were taken; the ids of these."""
        grid, owners, taken = self.grid, self.owners(), []
        seen, gone = self._per_object(SEEN), self._per_object(GONE)
        drop = grid.through >= self.config.through
        left = np.bincount(owners[~drop], minlength=self._next)
        for one, here, away in zip(list(self.objects.values()), seen, gone, strict=True):
            if here or away:
                lost = away > SOME and away >= self.config.taken * (away + here)
                one.gone = one.gone + 1 if lost else 0
            if one.gone >= self.config.through or not left[one.id]:
                taken.append(one.id)
                drop |= owners == one.id
                self._forget(one, owners == one.id, stamp)
        grid.keep(~drop)
        return taken

    def _forget(self, one: MapObject, mine: np.ndarray, stamp: float) -> None:
        """An object goes, and what was known of it is remembered; its voxels, bool (M,), are left."""
        del self.objects[one.id]
        if one.confidence >= _KNOWN and self.config.gone and mine.any():
            self.gone.append(Gone(one, self.grid.mean[mine].copy(), self.grid.color[mine].copy(), stamp))
            self.gone = self.gone[-self.config.gone :]

    def _regroup(self, stamp: float) -> list[int]:
        """Pieces to objects by all views' votes; objects keep their ids by what they hold (Hungarian). New ids."""
        grid, pieces = self.grid, self.pieces
        pieces.join_sure(grid.owner)
        number = pieces.keep(np.bincount(grid.owner[grid.owner >= 0], minlength=len(pieces)) >= _LEAST)
        grid.owner = np.append(number, -1)[grid.owner].astype(np.int32)
        grid.keep(grid.owner >= 0)
        size = np.bincount(grid.owner[grid.owner >= 0], minlength=len(pieces))
        cluster, known = pieces.clusters(), np.array(list(self.objects), np.int64)
        held = np.zeros((int(cluster.max(initial=-1)) + 1, len(known)))
        of, column = (pieces.object[:, None] == known).nonzero()
        np.add.at(held, (cluster[of], column), size[of])
        rows, columns = linear_sum_assignment(-held)
        ids = np.zeros(len(held), np.int64)
        ids[rows] = np.where(held[rows, columns] > 0, known[columns], 0)
        pieces.object = ids[cluster]
        for one in set(self.objects) - set(ids.tolist()):
            del self.objects[one]  # two that turned out to be one
        new = []
        for k in np.flatnonzero(ids == 0):
            new.append(self._next)
            pieces.object[cluster == k] = self._next
            self.objects[self._next] = MapObject(self._next, self.config.new, stamp, stamp)
            self._next += 1
        self._measure()
        return new

    def _again(self, new: list[int], cells: _Cells, shown: dict[int, Shown]) -> list[int]:
        """What appears and looks like what was taken gets its id again; the ids of `new` as they are then."""
        if not new or not self.gone:
            return new
        row = self.grid.find(cells.keys)
        owner = np.where(row >= 0, np.append(self.owners(), 0)[row], 0)
        looks = {}
        for one in new:
            labels = cells.labels[(owner == one) & (cells.labels > 0)]
            if len(labels):
                looks[one] = shown[int(np.bincount(labels).argmax())]
        for k, c in same([gone.object for gone in self.gone], list(looks.values()), place=False, most=_AGAIN):
            fresh, before = self.objects.pop(list(looks)[c]), self.gone[k].object
            self.pieces.object[self.pieces.object == fresh.id] = before.id
            new[new.index(fresh.id)] = before.id
            before.gone, before.last, before.centre, before.count = 0, fresh.last, fresh.centre, fresh.count
            before.confidence = max(fresh.confidence, self.config.new)
            self.objects[before.id] = before
        self.gone = [gone for gone in self.gone if gone.object.id not in self.objects]
        return new

    def _measure(self) -> None:
        """Middle, colour and size of every object."""
        owners = self.owners()
        count = np.bincount(owners, minlength=self._next)
        for values, name in ((self.grid.mean, "centre"), (self.grid.color, "color")):
            sums = np.stack([np.bincount(owners, values[:, axis], self._next) for axis in range(3)], 1)
            for one in self.objects.values():
                setattr(one, name, sums[one.id] / max(count[one.id], 1))
        for one in self.objects.values():
            one.count = int(count[one.id])

    def _believe(self, stamp: float, new: list[int]) -> None:
        """Confidence grows where an object is seen, and fades where it should be and is not."""
        forgotten = []
        for one, seen, gone in zip(self.objects.values(), self._per_object(SEEN), self._per_object(GONE), strict=True):
            if one.id in new:
                continue
            if seen > gone:
                one.confidence += self.config.grow * (1 - one.confidence)
                one.last = max(one.last, stamp)
            elif gone:
                one.confidence *= self.config.fade
                forgotten += [one] if one.confidence < self.config.least else []
        for one in forgotten:
            mine = self.owners() == one.id
            self._forget(one, mine, stamp)
            self.grid.keep(~mine)

    def _look(self, frame: MapFrame, cells: _Cells, shown: dict[int, Shown]) -> np.ndarray:
        """Gives every object its view of this frame; the id of each instance (K,)."""
        count = int(frame.labels.max(initial=0))
        ids = np.zeros(count, np.int64)
        row = self.grid.find(cells.keys)
        owner = np.where(row >= 0, np.append(self.owners(), 0)[row], 0)
        met = (owner > 0) & (cells.labels > 0)
        both = np.zeros((count + 1, self._next))
        np.add.at(both, (cells.labels[met], owner[met]), 1)
        pictured = False
        for label in shown:
            one = int(both[label].argmax())
            if both[label, one] == 0 or one not in self.objects:
                continue
            ids[label - 1] = one
            feature = shown[label].feature
            if feature is None:
                continue
            purity = both[label, one] / both[label].sum()
            visible = shown_share(both[label, one], purity, both[label, one] / both[:, one].sum())
            away = frame.pose[:3, 3] - self.objects[one].centre
            direction = away / max(float(np.linalg.norm(away)), 1e-9)
            view = ObjectView(feature, visible, direction, frame.stamp, self.frames, label)
            pictured |= self.objects[one].looked_at(view, self.config.apart, self.config.views)
        if pictured and frame.frame.picture and frame.scene is not None:
            self.keyframes[self.frames] = Keyframe(frame.frame.rgb, frame.scene.shown().astype(np.uint16))
        return ids

    def _bound(self) -> None:
        """Keeps within what the configuration allows."""
        used = {view.keyframe for one in self.objects.values() for view in one.views}
        kept = sorted(used & self.keyframes.keys())[-self.config.keyframes :]
        self.keyframes = {number: self.keyframes[number] for number in kept}
        order = sorted(self.objects.values(), key=lambda one: (one.confidence, one.last))
        for one in order[: max(len(order) - self.config.objects, 0)]:
            mine = self.owners() == one.id
            self._forget(one, mine, self.watch.newest)
            self.grid.keep(~mine)
        if len(self.grid) > self.config.voxels:
            keep = np.ones(len(self.grid), bool)
            keep[np.argsort(self.grid.seen, kind="stable")[: len(self.grid) - self.config.voxels]] = False
            self.grid.keep(keep)


def _shown(frame: MapFrame, cells: _Cells) -> dict[int, Shown]:
    """The frame's instances by their numbers, those of which there is something."""
    features = frame.scene.instance_features if frame.scene is not None else None
    found = {}
    for label in np.unique(cells.labels[cells.labels > 0]).tolist():
        mine = cells.labels == label
        feature = None if features is None else features[label - 1].detach().float().cpu()
        found[label] = Shown(cells.places[mine], cells.colors[mine].mean(0), feature)
    return found
