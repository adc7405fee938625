# SPDX-License-Identifier: Apache-2.0
"""Settings that belong together, by name."""

from dataclasses import dataclass, field

from dropclip_ros.grasping.matching import MatchConfig
from dropclip_ros.tabletop.workspace import Workspace


@dataclass(frozen=True)
class Preset:
    """How a phrase becomes grasps: arguments of `Grounder` (workspace) and `Grounder.ground`, and of `match_grasps`.

    config/NAME.yaml says the same to the nodes.
    """

    scoring: str
    negatives_mode: str
    threshold: float
    workspace: Workspace = field(default_factory=Workspace)
    match: MatchConfig = field(default_factory=MatchConfig)


# Appendix A.7: RANSAC as written (0.1 in the scaled units is 1 cm), names of what is in the scene as negatives,
# a threshold of 0.7, the three grasps whose tips are nearest to the centre of what is over it.
A7 = Preset("paper", "scene", 0.7, Workspace(table="ransac"))
PRESETS = {"a7": A7}
