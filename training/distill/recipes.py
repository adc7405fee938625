# SPDX-License-Identifier: Apache-2.0
"""Recipes of the distillation as YAML files; two of them come along."""

from __future__ import annotations

from pathlib import Path

from training.distill.config import DistillConfig
from training.runs import recipes

SMALL = Path(__file__).with_name("small.yaml")  # of a small model from nothing
REAL = Path(__file__).with_name("real.yaml")  # of the weights for real frames, which go on from that one


def read_config(path: Path) -> DistillConfig:
    """The recipe in a YAML file of fields; what it does not name has its default. InputError where it is none."""
    return recipes.read_config(path, DistillConfig)
