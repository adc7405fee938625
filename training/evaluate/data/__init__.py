# SPDX-License-Identifier: Apache-2.0
"""Data sets that are evaluated on, each a module with one `load_` function that gives a list of EvalScene.

READERS names them for the commands: `dropclip-eval data` asks about any of them, and `dropclip-mvtod import` writes its
views as scenes to learn from.
"""

from training.evaluate.data.folder import load_folder
from training.evaluate.data.lerf import PlaceQuestion, load_lerf
from training.evaluate.data.mvtod import MvtodScene, load_mvtod
from training.evaluate.data.ocid_vlg import load_ocid_vlg
from training.evaluate.data.osd import load_osd
from training.evaluate.data.regrad import load_regrad
from training.evaluate.data.scale import OCID_VLG_SCALES, REGRAD_SCALES, scale_sweep, scaled
from training.evaluate.data.scene import EvalScene, Recorded
from training.runs.factories import Factories

READERS: Factories = {  # functions of a folder
    "mvtod": ("training.evaluate.data.mvtod", "load_mvtod"),
    "folder": ("training.evaluate.data.folder", "load_folder"),
    "osd": ("training.evaluate.data.osd", "load_osd"),
    "ocid_vlg": ("training.evaluate.data.ocid_vlg", "load_ocid_vlg"),
    "regrad": ("training.evaluate.data.regrad", "load_regrad"),
    "lerf": ("training.evaluate.data.lerf", "load_lerf"),
}

__all__ = [
    "OCID_VLG_SCALES",
    "READERS",
    "REGRAD_SCALES",
    "EvalScene",
    "MvtodScene",
    "PlaceQuestion",
    "Recorded",
    "load_folder",
    "load_lerf",
    "load_mvtod",
    "load_ocid_vlg",
    "load_osd",
    "load_regrad",
    "scale_sweep",
    "scaled",
]
