# SPDX-License-Identifier: Apache-2.0
"""Which grasp proposals belong to the grounded object: the rule of the paper's robot experiments (appendix A.7), and
rules of ours that drop grasps which cannot work. Each can be switched; benchmarks/path/matching.py measures them."""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from scipy.spatial import cKDTree

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.ranges import check_fields, ranged
from dropclip_ros.grasping.antipodal import AntipodalConfig, sample_antipodal
from dropclip_ros.grasping.grasps import Grasps, colliding, height_above, openings, points_between, thin_cloud
from dropclip_ros.grasping.grippers import ROBOTIQ_2F_140, Gripper
from dropclip_ros.vision.geometry import Intrinsics, project, transform_points

VOXEL = 0.005  # m, of the clouds that rules look at
STEP = 0.01  # m, between openings that are tried
BELONGS = 0.01  # m; what is seen this close to the target's points is the target's too
_LARGEST = 1.0  # m, from the middle of a target along each axis: what is further is no part of it
_FARTHEST = 1e5  # m; clouds are float32, beyond this their steps are a centimetre
STANDING = 0.008  # m above the table; what is lower is not looked at when a target is sampled: it may be the table
# For a target alone there is time to look closely, and need to take hold of what is flat.
DENSE = AntipodalConfig(
    reaches=(0.008, 0.012, 0.02, 0.045), min_reach=0.006, anchors=30, turns=16, pairs=150, min_score=0.2
)

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
    that are between them, `max_hits` the voxels that fingers and body may meet. `rank` is "distance" (A.7), or "score":
    score exp(-distance / `distance_scale` (m)), highest first. `open_wider` (m) opens the hand by up to so much more
    than proposed, as far as what is seen allows: one view hides how far back an object reaches. With `sample_target`,
    where no proposal is left, antipodal grasps are sampled on the target itself: who proposes does not know where an
    object ends that touches another.
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
    rank: Literal["distance", "score"] = "distance"
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
        return self.sample_target or self.open_wider > 0 or bool(asking)


# What the nodes, the command and the view match by, where nobody says otherwise.
SERVED = MatchConfig(max_distance=0.1, rules=tuple(RULES), rank="score", open_wider=0.2, sample_target=True)


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


@dataclass(frozen=True, eq=False)
class Match:
    """indices (K,) into the proposals, best first, and the grasps (K) themselves; widths (K,) to open the hand to, m;
    tip_distances (K,) m; target_centre (3,) in their frame; dropped: by rule, how many near the target it dropped;
    sampled: '', or why no proposal was left: then indices are into what was sampled on the target."""

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
    score and distance, of those that the rules leave; with `sample_target`, where none is left, of those sampled on the
    target.

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
    try:
        return _match(grasps, target, config, gripper, surroundings)
    except DropclipError as none_left:
        if not config.sample_target:
            raise
        sampled = _sample(target, gripper, surroundings)
        anywhere = replace(config, max_distance=None)  # on the target, as all of them are
        try:
            return replace(_match(sampled, target, anywhere, gripper, surroundings), sampled=none_left.message)
        except DropclipError:
            raise none_left from None


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
        near = (np.abs(points - middle) < _LARGEST).all(axis=1)
    if 2 * near.sum() < len(points) or not np.abs(middle).max() < _FARTHEST:
        raise DropclipError(
            Status.BAD_REQUEST,
            f"the target's points are no object: only {near.sum()} of {len(points)} lie within {_LARGEST:g} m of their "
            f"median, {middle.tolist()}; expected metres, in the byte order that the cloud says",
        )
    return points[near]


def _match(
    grasps: Grasps, target: np.ndarray, config: MatchConfig, gripper: Gripper, surroundings: Surroundings
) -> Match:
    """`match_grasps` of finite target points. NO_GRASPS or TOO_WIDE where no grasp is left."""
    if len(grasps) == 0:
        raise DropclipError(
            Status.NO_GRASPS,
            "there are no grasp proposals to match; expected at least one. Every "
            "object may be too wide or too flat for the gripper, or the proposals' source is silent.",
        )
    centre = target_centre(target, config)
    with np.errstate(over="ignore"):  # what is that far away is not near, by infinity too
        distances = np.linalg.norm(grasps.tips() - centre, axis=1)
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
    cost = distances if config.rank == "distance" else -grasps.score * np.exp(-distances / config.distance_scale)
    indices = kept[np.lexsort((-grasps.score[kept], cost[kept]))][: config.top_k]
    chosen = grasps[indices]
    widths = chosen.width
    if config.open_wider:
        seen = surroundings.points[thin_cloud(surroundings.points, VOXEL)]
        widths, _ = openings(
            chosen, seen, gripper, config.open_wider, STEP, surroundings.table, config.clearance, config.max_hits
        )
    return Match(indices, chosen, widths, distances[indices], centre, dropped)


def _sample(target: np.ndarray, gripper: Gripper, surroundings: Surroundings) -> Grasps:
    """Antipodal grasps on the target (n, 3) alone; all else that is seen is in the way."""
    camera, others = np.asarray(surroundings.camera), surroundings.points
    if len(others):
        others = others[cKDTree(target).query(others)[0] > BELONGS]
    table = surroundings.table + np.append(np.zeros(3), surroundings.table[:3] @ camera)  # seen from the camera
    height = target @ surroundings.table[:3] + surroundings.table[3]
    target = target[(height > STANDING) & (height < _LARGEST)]
    found = sample_antipodal(target - camera, DENSE, gripper, others - camera, table, np.zeros(len(target), np.int64))
    return replace(found, translation=found.translation + camera)


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
