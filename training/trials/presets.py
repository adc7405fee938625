# SPDX-License-Identifier: Apache-2.0
"""How trials ask and pick: as everything ships, or as the paper or its release do, by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from dropclip_ros.grasping.presets import A7


@dataclass(frozen=True)
class Preset:
    """grounding, matcher: parameters of those nodes that differ from what ships.

    told: the grounding node is told the names of the other categories on the table, as in the paper. literal: phrases
    are compared as a whole, and the best is taken where several fit; else they are read, and a question back is a
    failure of grounding, unless replies: then the one that was meant is pointed at. attempts: how often the phrase may
    be asked again after a slip. top_k: candidates for the arm; 0: as many as the matcher is set to.
    """

    grounding: dict[str, Any] = field(default_factory=dict)
    matcher: dict[str, Any] = field(default_factory=dict)
    told: bool = False
    literal: bool = False
    replies: bool = False
    attempts: int = 3
    top_k: int = 0


_NEAREST = {"rules": [""], "rank": "distance", "max_distance": 10.0, "open_wider": 0.0, "sample_target": False}
_RANSAC = {"table.mode": A7.workspace.table, "negatives_mode": A7.negatives_mode, "threshold": A7.threshold}
Name = Literal["shipped", "replies", "told", "a7", "release"]
PRESETS: dict[str, Preset] = {
    "shipped": Preset(),
    "replies": Preset(replies=True),
    # something always answers, as in the paper's trials
    "told": Preset({"negatives_mode": "scene", "threshold": 0.05}, told=True, literal=True),
    "a7": Preset(_RANSAC | {"scoring": A7.scoring}, _NEAREST, True, True, 1, 3),
    "release": Preset(_RANSAC | {"scoring": "release"}, _NEAREST, True, True, 1, 3),
}
