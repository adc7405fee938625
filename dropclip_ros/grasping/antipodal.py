# SPDX-License-Identifier: Apache-2.0
"""Grasp proposals that need no weights: antipodal and box-like grasps on a single-view cloud of a tabletop.

A single view seldom shows both sides that the fingers touch. So axes come from visible antipodal pairs and, also, from
the objects' footprints and from evenly spread turns about the approach; every candidate is then fitted to the points
that lie between the fingers. The space under a visible point, down to the table, counts as occupied, which is what an
unseen back side most often is.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from dropclip_ros.base.ranges import check_fields, ranged
from dropclip_ros.grasping.grasps import (
    Grasps,
    colliding,
    fill_down,
    height_above,
    suppress,
    thin_cloud,
)
from dropclip_ros.grasping.grippers import ROBOTIQ_2F_140, Gripper

# Parts of the score, all in [0, 1]: how well both contacts lie in the friction cone, how much surface lies between the
# fingers, how close to the object's middle they close, how near the approach is to the preferred one, spare opening.
SCORE_WEIGHTS = {"contact": 0.45, "centred": 0.2, "surface": 0.15, "approach": 0.1, "spare": 0.1}
_CONTACT_BAND = (0.004, 0.015)  # m: the outer fifth, within these limits, of what is held stands for the contact
_CENTRED_SCALE = 0.05  # m: off the middle by this much, `centred` is 1/e
_AHEAD = 0.012  # m: how far ahead of a fingertip a slope is looked for
_SURFACE_AREA = 1e-3  # m2 of visible surface between the fingers that earns the whole of `surface`
_AROUND = 30  # points, the nearest, that a normal is of
_BIN = 0.005  # m: gaps of two such bins along the closing axis separate things


@dataclass(frozen=True)
class AntipodalConfig:
    """How to sample. Lengths in metres, angles in radians; the defaults suit tabletop scenes at 0.5 to 1.5 m."""

    seed: int = 0
    voxel_size: float = ranged(0.005, above=0)
    friction: float = ranged(0.5, above=0)  # coefficient of friction: half angle of the cone is its arctangent
    max_tilt: float = ranged(1.2, above=0, high=np.pi)  # of the approach from straight down
    reaches: tuple[float, ...] = (0.02, 0.045)  # how far the tips go below the top of what is grasped
    min_reach: float = ranged(0.01, above=0)
    clearance: float = ranged(0.006, above=0)  # between finger and object, on each side
    table_clearance: float = 0.003
    object_gap: float = ranged(0.012, above=0)  # points further apart than this belong to different objects
    min_object_points: int = ranged(25, 1)  # voxels; less is noise
    anchors: int = ranged(10, 1)  # places where hands are tried, for each 0.04 m2 that is seen of an object
    turns: int = ranged(10, 1)  # of the closing axis in half a turn
    tilts: tuple[tuple[float, int], ...] = ()  # further approaches: from straight down, rad, and from how many sides
    pairs: int = 50  # contacts for which an antipodal partner is sought, likewise
    min_score: float = 0.3  # below are grasps off the middle of an object, of which neither contact is seen
    max_per_object: int = ranged(20, 1)
    touching: int = ranged(0, 0)  # voxels of what is solid that a hand may meet
    solid_others: bool = True  # what other objects hide, down to the table, is solid too

    def __post_init__(self) -> None:
        check_fields(self, "AntipodalConfig.")
        if not self.reaches or min(self.reaches) < self.min_reach:
            raise ValueError(f"AntipodalConfig.reaches is {self.reaches}; expected each >= min_reach {self.min_reach}")


def sample_antipodal(
    points: np.ndarray,
    config: AntipodalConfig = AntipodalConfig(),
    gripper: Gripper = ROBOTIQ_2F_140,
    obstacles: np.ndarray | None = None,
    table: np.ndarray | None = None,
    labels: np.ndarray | None = None,
) -> Grasps:
    """Collision-free grasps on the objects in `points`, best first; none if nothing can be grasped.

    points (N, 3): the objects without the table, camera optical frame (the camera at the origin sees them); obstacles
    (K, 3): what the gripper must not touch besides; table (4,): plane, unit normal towards the camera; without it the
    view direction stands for down. labels (N,) tell objects apart (< 0 ignored); without them connected parts of the
    cloud do, so objects that touch count as one. The grasps' object_id is the label or the part's number. The result
    depends on the arguments alone, the seed being in `config`.
    """
    points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    usable = np.isfinite(points).all(axis=1) if labels is None else np.isfinite(points).all(axis=1) & (labels >= 0)
    labels = None if labels is None else np.asarray(labels)[usable]
    points = points[usable]
    keep = thin_cloud(points, config.voxel_size)
    points = points[keep]
    if len(points) < config.min_object_points:
        return Grasps.empty()
    labels = _connected_parts(points, config.object_gap) if labels is None else labels[keep]
    outward = normals(points, config.voxel_size)
    view = points.mean(axis=0) / np.linalg.norm(points.mean(axis=0))
    down = view if table is None else -np.asarray(table, dtype=np.float64)[:3]
    rng = np.random.default_rng(config.seed)

    found = []
    for label in np.unique(labels):
        own = labels == label
        if np.count_nonzero(own) >= config.min_object_points:
            part = _Part(points[own], outward[own], fill_down(points[own], table, 1.5 * config.voxel_size), int(label))
            found.append(_propose(part, down, view, table, gripper, config, rng))
    rows = np.concatenate([grasps.rows() for grasps in found]) if found else np.zeros((0, 17))
    grasps = Grasps.from_rows(rows)
    grasps = grasps[grasps.score >= config.min_score]
    if table is not None:
        grasps = grasps[height_above(grasps, table, gripper) > config.table_clearance]
    grasps = grasps[suppress(grasps, distance=0.01, angle=0.2)]  # fewer to check, little lost
    grasps = grasps[~colliding(grasps, _solid(points, obstacles, table, config), gripper, 0, config.touching)]
    kept = [
        np.flatnonzero(grasps.object_id == i)[suppress(grasps[grasps.object_id == i], limit=config.max_per_object)]
        for i in np.unique(grasps.object_id)
    ]
    grasps = grasps[np.concatenate(kept)] if kept else grasps
    return grasps[np.argsort(-grasps.score, kind="stable")]


@dataclass(frozen=True)
class _Part:
    """One object: visible points and normals (k, 3), the same filled down to the table (m, 3), and its number."""

    points: np.ndarray
    normals: np.ndarray
    filled: np.ndarray
    label: int


def _connected_parts(points: np.ndarray, gap: float) -> np.ndarray:
    pairs = cKDTree(points).query_pairs(gap, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs), dtype=bool), pairs.T), shape=(len(points), len(points)))
    return connected_components(graph, directed=False)[1]


def normals(points: np.ndarray, voxel_size: float) -> np.ndarray:
    """Unit normals (n, 3) of points (n, 3), m, towards the camera: across the 30 nearest within 3.5 voxels."""
    tree = cKDTree(points)
    apart, near = tree.query(points, min(_AROUND, len(points)), distance_upper_bound=3.5 * voxel_size)
    weight = np.isfinite(apart).reshape(len(points), -1, 1)
    around = np.where(weight, points[np.where(np.isfinite(apart), near, 0)].reshape(len(points), -1, 3), 0.0)
    around = np.where(weight, around - around.sum(1, keepdims=True) / weight.sum(1, keepdims=True), 0.0)
    across = np.linalg.eigh(around.transpose(0, 2, 1) @ around)[1][:, :, 0]
    across[weight.sum(axis=(1, 2)) < 3] = 0.0, 0.0, 1.0  # no plane goes through fewer
    return np.where((across * points).sum(1, keepdims=True) > 0, -across, across)


def _solid(
    points: np.ndarray, obstacles: np.ndarray | None, table: np.ndarray | None, config: AntipodalConfig
) -> np.ndarray:
    """Everything the gripper must keep out of, except the table itself, which is a plane."""
    solid = fill_down(points, table, 1.5 * config.voxel_size)
    if obstacles is not None:
        obstacles = np.asarray(obstacles, dtype=np.float64).reshape(-1, 3)
        obstacles = obstacles[np.isfinite(obstacles).all(axis=1)]
        if table is not None:
            obstacles = obstacles[obstacles @ table[:3] + table[3] > 2 * config.voxel_size]
        obstacles = obstacles[thin_cloud(obstacles, config.voxel_size)]
        if not config.solid_others:
            return np.concatenate([solid, obstacles])
        solid = fill_down(np.concatenate([points, obstacles]), table, 1.5 * config.voxel_size)
    return solid


def _propose(
    part: _Part,
    down: np.ndarray,
    view: np.ndarray,
    table: np.ndarray | None,
    gripper: Gripper,
    config: AntipodalConfig,
    rng: np.random.Generator,
) -> Grasps:
    """Candidates on one object, fitted and scored, not yet checked for collisions."""
    # Objects that touch make one part, which deserves as many tries as they would have alone.
    seen = len(part.points) * config.voxel_size**2
    config = replace(
        config,
        anchors=round(config.anchors * np.clip(seen / 0.04, 1, 4)),
        pairs=round(config.pairs * np.clip(seen / 0.04, 1, 4)),
    )
    preferred = _unit(down + 0.5 * view)  # from above, a little from the camera's side, which is what was seen
    rotation_a, anchor_a = _pair_frames(part, preferred, gripper, config, rng)
    rotation_b, anchor_b = _turned_frames(part, down, view, config, rng)
    rotation, anchor = np.concatenate([rotation_a, rotation_b]), np.concatenate([anchor_a, anchor_b])
    allowed = rotation[:, :, 0] @ down > np.cos(config.max_tilt)
    return _fit(part, rotation[allowed], anchor[allowed], preferred, table, gripper, config)


def _pair_frames(
    part: _Part, preferred: np.ndarray, gripper: Gripper, config: AntipodalConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Frames that close along pairs of visible points, each in the other's friction cone: (n, 3, 3), (n, 3)."""
    first = rng.permutation(len(part.points))[: config.pairs]
    gap = part.points[None] - part.points[first, None]
    length = np.maximum(np.linalg.norm(gap, axis=2), 1e-9)
    axis = gap / length[..., None]
    worst = np.minimum(-np.einsum("ijk,ik->ij", axis, part.normals[first]), np.einsum("ijk,jk->ij", axis, part.normals))
    worst[(length > gripper.max_width - 2 * config.clearance) | (length < config.voxel_size)] = -1
    second = worst.argmax(axis=1)
    rows = np.flatnonzero(worst[np.arange(len(first)), second] > np.cos(np.arctan(config.friction)))
    closing = axis[rows, second[rows]]
    middle = (part.points[first[rows]] + part.points[second[rows]]) / 2
    base = preferred - (closing @ preferred)[:, None] * closing
    usable = np.linalg.norm(base, axis=1) > 0.3  # else the closing axis runs along the approach
    closing, middle, base = closing[usable], middle[usable], _unit(base[usable])
    side = np.cross(base, closing)
    approaches = [np.cos(turn) * base + np.sin(turn) * side for turn in (-0.6, 0.0, 0.6)]
    frames = [np.stack([approach, closing, np.cross(approach, closing)], axis=-1) for approach in approaches]
    return np.concatenate(frames), np.tile(middle, (len(frames), 1))


def _turned_frames(
    part: _Part, down: np.ndarray, view: np.ndarray, config: AntipodalConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Frames at spread places of the object, from above and from the camera's side, turned about the approach.

    The turns start at the axes of the object's footprint, so that boxes are grasped squarely.
    """
    picks = rng.permutation(len(part.points))[: config.anchors - 1]
    anchors = np.concatenate([part.filled.mean(axis=0, keepdims=True), part.points[picks]])
    side = view - (view @ down) * down
    approaches = [down] if np.linalg.norm(side) < 0.1 else [down, _unit(down + 0.7 * _unit(side))]
    start = _unit(side) if np.linalg.norm(side) > 0.1 else _unit(np.cross(down, np.eye(3)[np.abs(down).argmin()]))
    for tilt, sides in config.tilts:
        for turn in 2 * np.pi * np.arange(sides) / sides:
            aside = np.cos(turn) * start + np.sin(turn) * np.cross(down, start)
            approaches.append(np.cos(tilt) * down + np.sin(tilt) * aside)
    rotations = []
    for approach in approaches:
        across = _unit(np.cross(approach, view if abs(approach @ view) < 0.95 else np.roll(view, 1)))
        frame = np.column_stack([approach, across, np.cross(approach, across)])
        turns = _footprint_turn(part.filled @ frame[:, 1:]) + np.arange(config.turns) * np.pi / config.turns
        closing = np.cos(turns)[:, None] * frame[:, 1] + np.sin(turns)[:, None] * frame[:, 2]
        rotations.append(np.stack([np.broadcast_to(approach, closing.shape), closing, np.cross(approach, closing)], -1))
    rotation = np.concatenate(rotations)
    return np.repeat(rotation, len(anchors), axis=0), np.tile(anchors, (len(rotation), 1))


def _footprint_turn(flat: np.ndarray) -> float:
    """Angle (rad, in [0, pi/2)) of the smallest box around the points (n, 2), to 3 degrees."""
    angles = np.arange(30) * np.pi / 60
    turned = flat @ np.stack([np.cos(angles), np.sin(angles)]), flat @ np.stack([-np.sin(angles), np.cos(angles)])
    return float(angles[np.argmin(np.ptp(turned[0], axis=0) * np.ptp(turned[1], axis=0))])


def _fit(
    part: _Part,
    rotation: np.ndarray,
    anchor: np.ndarray,
    preferred: np.ndarray,
    table: np.ndarray | None,
    gripper: Gripper,
    config: AntipodalConfig,
) -> Grasps:
    """Put each hand (n, 3, 3), (n, 3) around what lies at its anchor: depth, opening and place along the closing axis.

    Hands that would have to open too wide, hold nothing, or cannot go `min_reach` deep over the table are left out.
    """
    hand, x, y, z, _ = _between(part.filled, rotation, anchor, gripper)
    axis = np.abs(y) < 0.01
    top = _least(x[axis], hand[axis], len(rotation))
    limit = np.minimum(_table_limit(rotation, anchor, table, gripper, config), top + gripper.finger_depth)
    results = []
    for reach in config.reaches:
        tip = np.minimum(top + reach, limit)
        held = (x <= tip[hand]) & (x >= tip[hand] - gripper.finger_depth)
        low, high = _extent_at_zero(y[held], hand[held], len(rotation), gripper.max_width)
        width = high - low + 1.5 * config.voxel_size + 2 * config.clearance
        good = np.isfinite(width) & (width <= gripper.max_width) & (tip - top >= config.min_reach)
        middle = np.add(low, high, out=np.zeros_like(low), where=good) / 2
        run = held & (y >= low[hand]) & (y <= high[hand])
        good &= ~_oblique(y[run], z[run], hand[run], len(good), gripper, config)
        good &= ~_over_slope(x - tip[hand], y - middle[hand], hand, width, gripper)
        width, depth, turned = width[good], (tip - top)[good], rotation[good]
        centre = anchor[good] + middle[good, None] * turned[:, :, 1] + top[good, None] * turned[:, :, 0]
        score, sound = _score(part, turned, centre, depth, width, preferred, gripper, config)
        height, label = np.full(len(width), gripper.finger_width), np.full(len(width), part.label)
        results.append(Grasps(score, width, height, depth, turned, centre, label)[sound].rows())
    return Grasps.from_rows(np.concatenate(results))


def _between(points: np.ndarray, rotation: np.ndarray, origin: np.ndarray, gripper: Gripper) -> tuple[np.ndarray, ...]:
    """Which points (m, 3) lie between a finger's sides, for each of n hands at `origin`: flat hand, x, y, z, point."""
    # The products of all hands with all points are most of the sampler's time; single precision is ample.
    points, rotation, origin = (array.astype(np.float32) for array in (points, rotation, origin))
    x, y, z = (
        rotation[:, :, axis] @ points.T - np.einsum("ij,ij->i", rotation[:, :, axis], origin)[:, None]
        for axis in range(3)
    )
    hand, point = np.nonzero(np.abs(z) < gripper.finger_width / 2)
    return hand, x[hand, point], y[hand, point], z[hand, point], point


def _least(values: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    """Least value of each group (count,), inf where there is none."""
    result = np.full(count, np.inf, dtype=values.dtype)  # another type would make `at` slow
    np.minimum.at(result, group, values)
    return result


def _oblique(
    y: np.ndarray, z: np.ndarray, hand: np.ndarray, count: int, gripper: Gripper, config: AntipodalConfig
) -> np.ndarray:
    """Hands (count,) with an end of what they hold, points (y, z), turned out of the friction cone across the pad."""
    outer = z < -gripper.finger_width / 6, z > gripper.finger_width / 6  # the outer thirds of the pad
    ends = np.array([[_least(sign * y[third], hand[third], count) for sign in (1, -1)] for third in outer])
    both = np.isfinite(ends).all(axis=0)
    step = np.abs(np.subtract(ends[0], ends[1], out=np.zeros_like(ends[0]), where=both))
    return (step > config.friction * gripper.finger_width * 2 / 3 + 1.5 * config.voxel_size).any(axis=0)


def _over_slope(beyond: np.ndarray, y: np.ndarray, hand: np.ndarray, width: np.ndarray, gripper: Gripper) -> np.ndarray:
    """Hands (n,) with the object itself right ahead of a fingertip: it would close on a slope or a corner and slip.

    The object's points as the hands see them: `beyond` the tips, and `y` from the middle between the fingers.
    """
    aside = np.abs(y) - width[hand] / 2
    ahead = (beyond > 0) & (beyond < _AHEAD) & (aside > 0) & (aside < gripper.finger_thickness)
    return np.bincount(hand[ahead], minlength=len(width)) > 1


def _table_limit(
    rotation: np.ndarray, anchor: np.ndarray, table: np.ndarray | None, gripper: Gripper, config: AntipodalConfig
) -> np.ndarray:
    """How far along the approach, from the anchor, the tips may go before a finger's corner meets the table (n,)."""
    if table is None:
        return np.full(len(rotation), np.inf)
    along = np.einsum("i,nij->nj", table[:3], rotation)
    corner = (
        np.abs(along[:, 1]) * (gripper.max_width / 2 + gripper.finger_thickness)
        + np.abs(along[:, 2]) * gripper.finger_width / 2
    )
    room = anchor @ table[:3] + table[3] - corner - config.table_clearance - 1e-3
    return room / np.maximum(-along[:, 0], 0.05)


def _extent_at_zero(y: np.ndarray, group: np.ndarray, count: int, max_width: float) -> tuple[np.ndarray, np.ndarray]:
    """From where to where a group's points go on around y = 0 without a gap: two arrays (count,), inf if none do."""
    half = int(np.ceil(max_width / _BIN))
    bins = np.floor(y / _BIN).astype(np.int64) + half
    occupied = np.zeros((count, 2 * half + 2), dtype=bool)  # one empty bin at either end
    inner = (bins >= 0) & (bins < 2 * half)
    occupied[group[inner], bins[inner] + 1] = True
    closed = occupied.copy()
    closed[:, 1:-1] |= occupied[:, :-2] & occupied[:, 2:]  # one empty bin is sampling, two are a gap
    right = np.argmin(closed[:, half + 1 :], axis=1) + half  # first bin after the run, as numbered in `bins`
    left = half - 1 - np.argmin(closed[:, half::-1], axis=1)
    run = (bins < right[group]) & (bins > left[group])
    return _least(y[run], group[run], count), -_least(-y[run], group[run], count)


def _score(
    part: _Part,
    rotation: np.ndarray,
    centre: np.ndarray,
    depth: np.ndarray,
    width: np.ndarray,
    preferred: np.ndarray,
    gripper: Gripper,
    config: AntipodalConfig,
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n,) in [0, 1] and which grasps are sound (n,) bool, both from what is seen.

    A contact where no surface is seen earns nothing; one where most of the surface seen lies outside of the friction
    cone makes the grasp unsound: the fingers would slip off, as they do at the corner of something too wide.
    """
    count = len(rotation)
    hand, x, y, _, point = _between(part.points, rotation, centre, gripper)
    held = (np.abs(y) < width[hand] / 2) & (x < depth[hand]) & (x > depth[hand] - gripper.finger_depth)
    hand, x, y, point = hand[held], x[held], y[held], point[held]
    outward = np.einsum("ij,ij->i", part.normals[point], rotation[hand, :, 1])
    in_cone = np.cos(np.arctan(config.friction))
    extent = width - 2 * config.clearance - 1.5 * config.voxel_size
    edge = extent / 2 - np.clip(0.2 * extent, *_CONTACT_BAND)
    contact, sound = np.zeros(count), np.ones(count, dtype=bool)
    for sign in (-1, 1):
        touched = (sign * y > edge[hand]) & (x > 0.4 * depth[hand])  # the top's rim tells nothing about the sides
        margin = (sign * outward[touched] - in_cone) / (1 - in_cone)
        total = np.bincount(hand[touched], minlength=count)
        contact += np.bincount(hand[touched], np.clip(margin, 0, 1), minlength=count) / np.maximum(total, 1) / 2
        sound &= (total < 3) | (np.bincount(hand[touched], margin > 0, minlength=count) > 0.4 * total)
    surface = np.bincount(hand, minlength=count) * config.voxel_size**2 / _SURFACE_AREA
    offset = (part.filled.mean(axis=0) - centre)[:, None] @ rotation
    off_axis = np.linalg.norm(offset[:, 0, 1:], axis=1)
    terms = {
        "contact": contact,
        "centred": np.exp(-((off_axis / _CENTRED_SCALE) ** 2)),
        "surface": np.minimum(surface, 1),
        "approach": np.clip(rotation[:, :, 0] @ preferred, 0, 1),
        "spare": 1 - width / gripper.max_width,
    }
    return sum(weight * terms[name] for name, weight in SCORE_WEIGHTS.items()), sound


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)
