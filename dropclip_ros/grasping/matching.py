# SPDX-License-Identifier: Apache-2.0
"""Which grasp proposals belong to the grounded object: the rule of the paper's robot experiments (appendix A.7), and
rules of ours that drop grasps which cannot work. Each can be switched; benchmarks/path/matching.py measures them."""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from scipy.spatial import cKDTree

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.ranges import check_fields, ranged
from dropclip_ros.grasping.grasps import (
    Grasps,
    colliding,
    height_above,
    openings,
    points_between,
    suppress,
    thin_cloud,
)
from dropclip_ros.grasping.grippers import ROBOTIQ_2F_140, Gripper
from dropclip_ros.grasping.lift import Around, features, predict
from dropclip_ros.grasping.on_target import BELONGS, LARGEST, sample_on
from dropclip_ros.vision.geometry import Intrinsics, project, transform_points

VOXEL = 0.005  # m, of the clouds that rules look at
STEP = 0.01  # m, between openings that are tried
_FARTHEST = 1e5  # m; clouds are float32, beyond this their steps are a centimetre
_POOL = 48  # grasps whose chances are looked at
_TWIN, _TWIN_ANGLE = 0.015, 0.4  # m and rad, within which two grasps are one

# What each rule drops, in the order in which they are applied.
RULES = {
    "width": "wider than the gripper opens",
    "approach": "beyond max_tilt from straight down",
    "table": "with the gripper in the table",
    "target": "without the target between the fingers",
    "others": "with another object between the fingers",
    "collision": "with the gripper in something seen",
}


@dataclass(frozen=True)
class MatchConfig:
    """A.7: the three grasps nearest to the target's centre, the target freed of outliers (25 neighbours, 2.0).

    Not in the paper: `max_distance` (m) leaves out grasps whose tip is further than that from the centre. `rules`, of
    RULES, drop grasps: `max_tilt` is of the approach from straight down (rad), `clearance` of the gripper above the
    table (m), `min_held` of the target's 5 mm voxels between the fingers, `max_others` the share of others' among all
    that are between them, `max_hits` the voxels that fingers and body may meet. `rank` is "distance" (A.7), "score":
    score exp(-distance / `distance_scale` (m)), highest first, or "lift": the chance that the target alone is lifted,
    as small networks predict it (`dropclip_ros.grasping.lift`), which is then the score, with unlike grasps first.
    `open_wider` (m) opens the hand by up to so much more than proposed, as far as what is seen allows: one view hides
    how far back an object reaches. With `sample_target` antipodal grasps on the target itself join the proposals: who
    proposes does not know where an object ends that touches another.
    """

    top_k: int = ranged(3, 1, doc="Most grasps in an answer")
    outlier_neighbors: int = ranged(25, 1, 1000, doc="Neighbours in the target's outlier removal")
    outlier_std: float = ranged(2.0, 0.01, 20.0, doc="Standard deviations in the target's outlier removal")
    max_distance: float | None = ranged(
        None, 0.001, 10.0, doc="Largest distance from a grasp's tip to the target's centre, m"
    )
    rules: tuple[str, ...] = ()
    max_tilt: float = ranged(1.2, 0.01, 3.15, doc="approach: largest angle from straight down, rad")
    clearance: float = ranged(0.0, -0.1, 0.1, doc="table: least height of the gripper above it, m")
    min_held: int = ranged(5, 1, 10_000, doc="target: least of its 5 mm voxels between the fingers")
    max_others: float = ranged(0.3, 0.0, 1.0, doc="others: largest share of what is between the fingers")
    max_hits: int = ranged(2, 0, 10_000, doc="collision: most 5 mm voxels that the gripper may meet")
    rank: Literal["distance", "score", "lift"] = "distance"
    distance_scale: float = ranged(0.05, 0.001, 10.0, doc="At this distance a score counts 1/e, m")
    open_wider: float = ranged(
        0.0, 0.0, 1.0, doc="How much wider than proposed the hand is opened where there is room, m"
    )
    sample_target: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "MatchConfig.")
        if unknown := set(self.rules) - set(RULES):
            raise ValueError(f"MatchConfig.rules has {', '.join(sorted(unknown))}; expected of {', '.join(RULES)}")

    @property
    def needs_surroundings(self) -> bool:
        """Whether a rule asks where the table and other objects are."""
        asking = {"approach", "table", "others", "collision"} & set(self.rules)
        return self.sample_target or self.rank == "lift" or self.open_wider > 0 or bool(asking)


# What the nodes, the command and the view match by, where nobody says otherwise.
SERVED = MatchConfig(top_k=8, max_distance=0.1, rules=tuple(RULES), rank="lift", open_wider=0.2, sample_target=True)


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What a camera saw: points (n, 3) m of all that stands on the table, the target among it, the table's plane (4,),
    unit normal up and offset, and where the camera is (3,) m; all in the grasps' frame."""

    points: np.ndarray
    table: np.ndarray
    camera: np.ndarray = field(default_factory=lambda: np.zeros(3))

    def transformed(self, transform: np.ndarray) -> "Surroundings":
        """The same in frame a, by a rigid a_from_this (4, 4)."""
        table = self.table @ np.linalg.inv(transform)
        return Surroundings(transform_points(transform, self.points), table, transform_points(transform, self.camera))


def around_target(target: np.ndarray, around: Surroundings) -> Around:
    """The target (n, 3) and the rest of what is seen, apart."""
    rest = around.points
    if len(rest):
        rest = rest[cKDTree(target).query(rest)[0] > BELONGS]
    return Around(target, rest, around.table, around.camera)


@dataclass(frozen=True, eq=False)
class Match:
    """indices (K,) into the proposals, and beyond them into what was sampled on the target, best first, and the grasps
    (K) themselves; widths (K,) to open the hand to, m; tip_distances (K,) m; target_centre (3,) in their frame;
    dropped: by rule, how many near the target it dropped;
    sampled: '', or why no proposal was left: then all were sampled on the target."""

    indices: np.ndarray
    grasps: Grasps
    widths: np.ndarray
    tip_distances: np.ndarray
    target_centre: np.ndarray
    dropped: dict[str, int] = field(default_factory=dict)
    sampled: str = ""

    @property
    def opened(self) -> Grasps:
        """The grasps with the widths to open the hand to."""
        return replace(self.grasps, width=self.widths)


def match_grasps(
    grasps: Grasps,
    target_points: np.ndarray,
    config: MatchConfig = MatchConfig(),
    gripper: Gripper = ROBOTIQ_2F_140,
    surroundings: Surroundings | None = None,
) -> Match:
    """The `top_k` grasps whose fingertips are nearest to the centre of the target points (n, 3) (A.7), or the best by
    the config's rank, of those that the rules leave; with `sample_target`, of those sampled on the target too.

    All in one frame, in metres; the paper uses the world frame, but the choice changes nothing, for distances stay.
    At equal distance the better score goes first. BAD_REQUEST if the target has no finite points; NO_GRASPS if there
    are no proposals, none within `max_distance`, or none that the rules leave; TOO_WIDE if the gripper opens wide
    enough for none. ValueError if a rule needs surroundings and there are none.
    """
    if surroundings is None:
        if config.needs_surroundings:
            raise ValueError(
                "rules of approach, table, others or collision, open_wider and sample_target need surroundings"
            )
        surroundings = Surroundings(np.zeros((0, 3)), np.zeros(4))  # not looked at
    target = sound_target(target_points)
    centre, why = target_centre(target, config), None
    try:
        kept, dropped = _left(grasps, target, centre, config, gripper, surroundings)
    except DropclipError as none_left:
        if not config.sample_target:
            raise
        kept, dropped, why = np.zeros(0, np.int64), {}, none_left
    if config.sample_target:
        sampled = sample_on(target, gripper, surroundings.points, surroundings.table, surroundings.camera)
        try:
            anywhere = replace(config, max_distance=None)  # on the target, as all of them are
            more, _ = _left(sampled, target, centre, anywhere, gripper, surroundings)
        except DropclipError:
            if why:
                raise why from None
            more = np.zeros(0, np.int64)
        kept = np.append(kept, len(grasps) + more)
        grasps = Grasps.from_rows(np.concatenate([grasps.rows(), sampled.rows()]))
    return _best(grasps, kept, target, centre, config, gripper, surroundings, dropped, why.message if why else "")


def sound_target(points: np.ndarray) -> np.ndarray:
    """The points (n, 3), float64, that can be of one thing on a table: finite, and not too far from the rest, for what
    looks at a target would fill the space up to them. BAD_REQUEST where less than half of the finite ones are left,
    none is finite, or all are farther than anything."""
    points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) == 0:
        raise DropclipError(
            Status.BAD_REQUEST,
            "the target has no points; grasps are matched to a grounded object's "
            "points (n, 3) in metres. Ground a query first.",
        )
    middle = np.median(points, axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        near = (np.abs(points - middle) < LARGEST).all(axis=1)
    if 2 * near.sum() < len(points) or not np.abs(middle).max() < _FARTHEST:
        raise DropclipError(
            Status.BAD_REQUEST,
            f"the target's points are no object: only {near.sum()} of {len(points)} lie within {LARGEST:g} m of their "
            f"median, {middle.tolist()}; expected metres, in the byte order that the cloud says",
        )
    return points[near]


def _left(
    grasps: Grasps,
    target: np.ndarray,
    centre: np.ndarray,
    config: MatchConfig,
    gripper: Gripper,
    surroundings: Surroundings,
) -> tuple[np.ndarray, dict[str, int]]:
    """Indices (K,) of the grasps near the centre of finite target points that the rules leave, and how many each rule
    dropped. NO_GRASPS or TOO_WIDE where none is left."""
    if len(grasps) == 0:
        raise DropclipError(
            Status.NO_GRASPS,
            "there are no grasp proposals to match; expected at least one. Every "
            "object may be too wide or too flat for the gripper, or the proposals' source is silent.",
        )
    distances = _distances(grasps, centre)
    kept = np.arange(len(grasps))
    if config.max_distance is not None:
        kept = kept[distances <= config.max_distance]
        if len(kept) == 0:
            raise DropclipError(
                Status.NO_GRASPS,
                f"none of {len(grasps)} grasp proposals is near the target: the "
                f"nearest fingertip is {distances.min():.3f} m from its centre, "
                f"max_distance is {config.max_distance} m. Are both in the same frame?",
            )
    near, dropped = len(kept), {}
    for rule in (rule for rule in RULES if rule in config.rules):
        passed = _passes(rule, grasps[kept], target, config, gripper, surroundings)
        dropped[rule], kept = int((~passed).sum()), kept[passed]
        if len(kept) == 0:
            counts = ", ".join(f"{count} {RULES[rule]}" for rule, count in dropped.items() if count)
            status = Status.TOO_WIDE if dropped.get("width") == near else Status.NO_GRASPS
            raise DropclipError(
                status, f"none of {near} grasp proposals near the target can be used with {gripper.name}: {counts}."
            )
    return kept, dropped


def _distances(grasps: Grasps, centre: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what is that far away is not near, by infinity too
        return np.linalg.norm(grasps.tips() - centre, axis=1)


def _best(
    grasps: Grasps,
    kept: np.ndarray,
    target: np.ndarray,
    centre: np.ndarray,
    config: MatchConfig,
    gripper: Gripper,
    surroundings: Surroundings,
    dropped: dict[str, int],
    sampled: str,
) -> Match:
    """The `top_k` best of those `kept`, opened as wide as there is room."""
    distances = _distances(grasps, centre)
    cost = distances if config.rank == "distance" else -grasps.score * np.exp(-distances / config.distance_scale)
    order = kept[np.lexsort((-grasps.score[kept], cost[kept]))]
    widths = grasps.width.copy()
    seen = surroundings.points[thin_cloud(surroundings.points, VOXEL)]
    if config.rank == "lift":
        order = _apart(grasps, order, _POOL)[:_POOL]
        pool = grasps[order]
        widths[order] = _opened(pool, seen, config, gripper, surroundings.table)
        chance = predict(features(pool, widths[order], around_target(target, surroundings), gripper))
        grasps = replace(grasps, score=_put(grasps.score, order, chance))
        order = _apart(grasps, order[np.argsort(-chance, kind="stable")], config.top_k)
    indices = order[: config.top_k]
    if config.rank != "lift":
        widths[indices] = _opened(grasps[indices], seen, config, gripper, surroundings.table)
    return Match(indices, grasps[indices], widths[indices], distances[indices], centre, dropped, sampled)


def _put(values: np.ndarray, at: np.ndarray, new: np.ndarray) -> np.ndarray:
    values = values.copy()
    values[at] = new
    return values


def _apart(grasps: Grasps, order: np.ndarray, count: int) -> np.ndarray:
    """The indices, best first, with `count` of them before that are no twins: those fail together."""
    ranked = replace(grasps[order], score=-np.arange(len(order), dtype=np.float64))
    first = suppress(ranked, _TWIN, _TWIN_ANGLE, count)
    return np.append(order[first], np.delete(order, first))


def _opened(grasps: Grasps, seen: np.ndarray, config: MatchConfig, gripper: Gripper, table: np.ndarray) -> np.ndarray:
    """Openings (N,), m: as wide as nothing is touched, or else as wide as no more is than may be."""
    if not config.open_wider:
        return grasps.width
    widths, clear = openings(grasps, seen, gripper, config.open_wider, STEP, table, config.clearance)
    if not clear.all():
        rest = grasps[~clear]
        widths[~clear], _ = openings(
            rest, seen, gripper, config.open_wider, STEP, table, config.clearance, config.max_hits
        )
    return widths


def _passes(
    rule: str,
    grasps: Grasps,
    target: np.ndarray,
    config: MatchConfig,
    gripper: Gripper,
    surroundings: Surroundings,
) -> np.ndarray:
    """Which grasps (N,) a rule leaves."""
    if rule == "width":
        return grasps.width <= gripper.max_width
    if rule == "approach":
        return grasps.approach @ -surroundings.table[:3] >= np.cos(config.max_tilt)
    if rule == "table":
        return height_above(grasps, surroundings.table, gripper) >= config.clearance
    if rule == "collision":
        return ~colliding(grasps, surroundings.points, gripper, VOXEL, config.max_hits)
    target = target[thin_cloud(target, VOXEL)]
    held = points_between(grasps, target, gripper)
    if rule == "target":
        return held >= config.min_held
    seen = surroundings.points[thin_cloud(surroundings.points, VOXEL)]
    others = points_between(grasps, seen[cKDTree(target).query(seen)[0] > BELONGS], gripper)
    return others <= config.max_others * (held + others)


def target_centre(points: np.ndarray, config: MatchConfig = MatchConfig()) -> np.ndarray:
    """Mean (3,) of the points (n, 3) left by statistical outlier removal as open3d has it; of all, if too few to judge.

    Left are points whose mean distance to their nearest, themselves among them, is less than all points' mean of that
    and `outlier_std` of its standard deviations.
    """
    if len(points) > config.outlier_neighbors:
        apart = cKDTree(points).query(points, config.outlier_neighbors)[0].reshape(len(points), -1).mean(axis=1)
        kept = (apart > 0) & (apart < apart.mean() + config.outlier_std * apart.std(ddof=1))
        points = points[kept] if kept.any() else points
    return points.mean(axis=0)


def seen_through(points: np.ndarray, depth: np.ndarray, intrinsics: Intrinsics, tolerance: float = 0.015) -> float:
    """Share of the points (n, 3), m, in the frame of a camera, behind which its later depth image (H, W) m now sees.

    High where what was there has moved. Points that the image does not show, has no depth for, or shows something in
    front of, say nothing; 0 where all are such: `look_again` says how many those are.
    """
    return look_again(points, depth, intrinsics, tolerance)[0]


def look_again(
    points: np.ndarray, depth: np.ndarray, intrinsics: Intrinsics, tolerance: float = 0.015
) -> tuple[float, float]:
    """(moved, seen): as `seen_through` has it, and the share of all points that are still seen where they were."""
    pixels, z = project(points, intrinsics)
    inside = (z > 0) & (pixels >= -0.5).all(axis=1) & (pixels < np.array(depth.shape[::-1]) - 0.5).all(axis=1)
    column, row = np.round(pixels[inside]).astype(np.int64).T
    behind = depth[row, column] - z[inside]
    through, there = np.count_nonzero(behind > tolerance), np.count_nonzero(np.abs(behind) <= tolerance)
    return through / max(through + there, 1), there / max(len(points), 1)
