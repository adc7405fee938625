# SPDX-License-Identifier: Apache-2.0
"""Parameters of the matching (`dropclip_ros.grasping.matching`)."""

from dropclip_ros.base.ranges import built
from dropclip_ros.grasping.matching import RULES, MatchConfig
from dropclip_ros.ros.common import Setting, Values, listed

_DEFAULT = MatchConfig()
SETTINGS = (
    Setting("top_k", _DEFAULT.top_k, "Most grasps in an answer", 1, 255),
    Setting("max_distance", 0.1, "Largest distance from a grasp's tip to the target's centre, m", 0.001, 10.0),
    Setting("outlier_neighbors", _DEFAULT.outlier_neighbors, "Neighbours in the target's outlier removal", 1, 1000),
    Setting("outlier_std", _DEFAULT.outlier_std, "Standard deviations in the target's outlier removal", 0.01, 20.0),
    Setting("rules", list(RULES), f"Which grasps are dropped, of {', '.join(RULES)}; [''] for none, as in A.7"),
    Setting("max_tilt", _DEFAULT.max_tilt, "approach: largest angle from straight down, rad", 0.01, 3.15),
    Setting("clearance", _DEFAULT.clearance, "table: least height of the gripper above it, m", -0.1, 0.1),
    Setting("min_held", _DEFAULT.min_held, "target: least of its 5 mm voxels between the fingers", 1, 10_000),
    Setting("max_others", _DEFAULT.max_others, "others: largest share of what is between the fingers", 0.0, 1.0),
    Setting("max_hits", _DEFAULT.max_hits, "collision: most 5 mm voxels that the gripper may meet", 0, 10_000),
    Setting(
        "rank", "score", "Best first by distance alone (A.7), or by score and distance", choices=("distance", "score")
    ),
    Setting("distance_scale", _DEFAULT.distance_scale, "At this distance a score counts 1/e, m", 0.001, 10.0),
    Setting("open_wider", 0.2, "How much wider than proposed the hand is opened where there is room, m", 0.0, 1.0),
    Setting("sample_target", True, "Where no proposal can be used, sample antipodal grasps on the target itself"),
)


def match_config(values: Values, top_k: int = 0) -> MatchConfig:
    """The core's configuration from parameter values by name; ValueError where one makes no sense."""
    own = {s.name: values[s.name] for s in SETTINGS}
    rules = tuple(filter(None, listed(values, "rules")))
    return built(MatchConfig, own | {"rules": rules, "top_k": top_k or own["top_k"]})
