# SPDX-License-Identifier: Apache-2.0
"""Language-guided segmentation and grasp selection on tabletops with DROP-CLIP.

What a user needs is here by name, and is imported when first asked for:

    from dropclip_ros import Grounder, load_frame

    grounder = Grounder.from_pretrained()
    scene = grounder.encode(load_frame("color.png", "depth.png", "mm", "k.json"))
    result = grounder.ground(scene, "the red mug")
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dropclip_ros.base.errors import DropclipError, Status
    from dropclip_ros.grasping.antipodal import AntipodalConfig, sample_antipodal
    from dropclip_ros.grasping.grasps import Grasps
    from dropclip_ros.grasping.grippers import Gripper, load_gripper
    from dropclip_ros.grasping.handoff import hand_off
    from dropclip_ros.grasping.matching import MatchConfig, match_grasps
    from dropclip_ros.grounding.pipeline import EncodedScene, FoundObject, Grounder, GroundResult
    from dropclip_ros.grounding.scoring import similarities
    from dropclip_ros.grounding.static_scene import open_static_scene
    from dropclip_ros.networks.model_folder import load_model
    from dropclip_ros.tabletop.crop import crop_above
    from dropclip_ros.tabletop.table import Table, TableConfig, find_table
    from dropclip_ros.vision.bags import load_bag_frame
    from dropclip_ros.vision.geometry import Intrinsics, RgbdFrame, backproject, load_frame

__version__ = "0.1.0"

_PLACES = {
    "base.errors": ("DropclipError", "Status"),
    "grasping.antipodal": ("AntipodalConfig", "sample_antipodal"),
    "grasping.grasps": ("Grasps",),
    "grasping.grippers": ("Gripper", "load_gripper"),
    "grasping.handoff": ("hand_off",),
    "grasping.matching": ("MatchConfig", "match_grasps"),
    "grounding.scoring": ("similarities",),
    "grounding.pipeline": ("FoundObject", "GroundResult", "Grounder", "EncodedScene"),
    "grounding.static_scene": ("open_static_scene",),
    "networks.model_folder": ("load_model",),
    "tabletop.crop": ("crop_above",),
    "tabletop.table": ("Table", "TableConfig", "find_table"),
    "vision.bags": ("load_bag_frame",),
    "vision.geometry": ("Intrinsics", "RgbdFrame", "backproject", "load_frame"),
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}
__all__ = [
    "AntipodalConfig",
    "DropclipError",
    "EncodedScene",
    "FoundObject",
    "Grasps",
    "Gripper",
    "GroundResult",
    "Grounder",
    "Intrinsics",
    "MatchConfig",
    "RgbdFrame",
    "Status",
    "Table",
    "TableConfig",
    "backproject",
    "crop_above",
    "find_table",
    "hand_off",
    "load_bag_frame",
    "load_frame",
    "load_gripper",
    "load_model",
    "match_grasps",
    "open_static_scene",
    "sample_antipodal",
    "similarities",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
