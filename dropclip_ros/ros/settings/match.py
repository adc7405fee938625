# SPDX-License-Identifier: Apache-2.0
"""Parameters of the matching (`dropclip_ros.grasping.matching`)."""

from dropclip_ros.base.ranges import built
from dropclip_ros.grasping.matching import RULES, SERVED, MatchConfig
from dropclip_ros.ros.common import Setting, Values, listed

SETTINGS = (
    Setting.of(MatchConfig, "top_k", default=SERVED.top_k, high=255),
    Setting.of(MatchConfig, "max_distance", default=SERVED.max_distance),
    Setting.of(MatchConfig, "outlier_neighbors"),
    Setting.of(MatchConfig, "outlier_std"),
    Setting("rules", list(SERVED.rules), f"Which grasps are dropped, of {', '.join(RULES)}; [''] for none, as in A.7"),
    *(Setting.of(MatchConfig, name) for name in ("max_tilt", "clearance", "min_held", "max_others", "max_hits")),
    Setting(
        "rank",
        SERVED.rank,
        "Best first by distance alone (A.7), by score and distance, or by the predicted chance of a lift",
        choices=("distance", "score", "lift"),
    ),
    Setting.of(MatchConfig, "distance_scale"),
    Setting.of(MatchConfig, "open_wider", default=SERVED.open_wider),
    Setting(
        "sample_target",
        SERVED.sample_target,
        "Antipodal grasps on the target itself join the proposals",
    ),
)


def match_config(values: Values, top_k: int = 0) -> MatchConfig:
    """The core's configuration from parameter values by name; ValueError where one makes no sense."""
    own = {s.name: values[s.name] for s in SETTINGS}
    rules = tuple(filter(None, listed(values, "rules")))
    return built(MatchConfig, own | {"rules": rules, "top_k": top_k or own["top_k"]})
