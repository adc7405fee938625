# SPDX-License-Identifier: Apache-2.0
"""Distillation of fused object features into the sparse 3D encoder (section 3.3, A.2)."""

from training.distill.config import DistillConfig
from training.distill.data import Source
from training.distill.errors import DistillError
from training.distill.train import distill
from training.runs.recipes import read_config

__all__ = ["DistillConfig", "DistillError", "Source", "distill", "read_config"]
