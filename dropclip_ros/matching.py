# SPDX-License-Identifier: Apache-2.0
"""Which grasp proposals belong to the grounded object: the rule of the paper's robot experiments (appendix A.7)."""

from dataclasses import dataclass

import numpy as np

from dropclip_ros.errors import DropclipError, Status
from dropclip_ros.grasps import Grasps


@dataclass(frozen=True)
class MatchConfig:
    """A.7: the three grasps nearest to the target's centre, the target freed of outliers (25 neighbours, 2.0).

    `max_distance` (m), not in the paper, leaves out grasps whose tip is further than that from the centre.
    """

    top_k: int = 3
    outlier_neighbors: int = 25
    outlier_std: float = 2.0
    max_distance: float | None = None

    def __post_init__(self):
        for name in ("top_k", "outlier_neighbors"):
            if getattr(self, name) < 1:
                raise ValueError(f"MatchConfig.{name} is {getattr(self, name)}; expected 1 or more")
        for name in ("outlier_std", "max_distance"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"MatchConfig.{name} is {value}; expected above 0")


@dataclass(frozen=True, eq=False)
class Match:
    """indices (K,) into the proposals, nearest first; tip_distances (K,) metres; target_centre (3,) their frame."""

    indices: np.ndarray
    tip_distances: np.ndarray
    target_centre: np.ndarray


def match_grasps(grasps: Grasps, target_points: np.ndarray, config: MatchConfig = MatchConfig()) -> Match:
    """The `top_k` grasps whose fingertips are nearest to the centre of the target points (n, 3) (A.7).

    Both in one frame, in metres; the paper uses the world frame, but the choice changes nothing, for distances stay.
    At equal distance the better score goes first. BAD_REQUEST if the target has no finite points; NO_GRASPS if there
    are no proposals, or none within `max_distance`.
    """
    target = np.asarray(target_points, dtype=np.float64).reshape(-1, 3)
    target = target[np.isfinite(target).all(axis=1)]
    if len(target) == 0:
        raise DropclipError(Status.BAD_REQUEST, "the target has no points; grasps are matched to a grounded object's "
                            "points (n, 3) in metres. Ground a query first.")
    if len(grasps) == 0:
        raise DropclipError(Status.NO_GRASPS, "there are no grasp proposals to match; expected at least one. Every "
                            "object may be too wide or too flat for the gripper, or the proposals' source is silent.")
    centre = target_centre(target, config)
    with np.errstate(over="ignore"):  # what is that far away is not near, by infinity too
        distances = np.linalg.norm(grasps.tips() - centre, axis=1)
    order = np.lexsort((-grasps.score, distances))
    if config.max_distance is not None:
        order = order[distances[order] <= config.max_distance]
        if len(order) == 0:
            raise DropclipError(Status.NO_GRASPS, f"none of {len(grasps)} grasp proposals is near the target: the "
                                f"nearest fingertip is {distances.min():.3f} m from its centre, max_distance is "
                                f"{config.max_distance} m. Are both in the same frame?")
    indices = order[:config.top_k]
    return Match(indices, distances[indices], centre)


def target_centre(points: np.ndarray, config: MatchConfig = MatchConfig()) -> np.ndarray:
    """Mean (3,) of the points (n, 3) left by open3d's statistical outlier removal; of all, if too few to judge."""
    if len(points) > config.outlier_neighbors:
        import open3d as o3d  # slow to import

        cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points))
        kept = cloud.remove_statistical_outlier(config.outlier_neighbors, config.outlier_std)[1]
        points = points[kept] if kept else points
    return points.mean(axis=0)
