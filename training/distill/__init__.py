# SPDX-License-Identifier: Apache-2.0
"""Distillation of fused object features into the sparse 3D encoder (section 3.3, A.2)."""

from training.distill.config import DistillConfig
from training.distill.data import TrainingSet
from training.distill.recipes import read_config
from training.distill.train import distill
from training.runs.errors import InputError

__all__ = ["DistillConfig", "InputError", "TrainingSet", "distill", "read_config"]
