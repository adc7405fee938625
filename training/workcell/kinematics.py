# SPDX-License-Identifier: Apache-2.0
"""Forward and inverse kinematics of the UR5e between the frames `base_link` and `tool0`, in metres and radians."""

from __future__ import annotations

import numpy as np
from ur_analytic_ik import ur5e

from training.workcell.robot import LIMITS

BASE = np.diag([-1.0, -1, 1, 1])  # base_link_from_base, its own inverse
CLOSE = 1e-6  # m and rad: solutions that miss the pose by more, near singularities, are no solutions


def forward(joints: np.ndarray) -> np.ndarray:
    """base_link_from_tool0 4x4 at joint angles (6,): the product of `robot.dh_matrix`."""
    return BASE @ ur5e.forward_kinematics(*joints)


def inverse(pose: np.ndarray) -> np.ndarray:
    """All joint angles (S, 6), S up to 8, in [-pi, pi], that bring tool0 to base_link_from_tool0 4x4; empty: none."""
    found = [q for q in ur5e.inverse_kinematics(np.ascontiguousarray(BASE @ pose)) if np.isfinite(q).all()]
    found = [q for q in found if np.abs(forward(q) - pose).max() < CLOSE]
    return np.array(found).reshape(-1, 6)


def nearest_turn(joints: np.ndarray, to: np.ndarray) -> np.ndarray:
    """The same angles (..., 6), each by whole turns as near to `to` (6,) as its limits allow."""
    turned = joints + 2 * np.pi * np.round((to - joints) / (2 * np.pi))
    return np.where(np.abs(turned) > LIMITS, joints, turned)


def within_limits(joints: np.ndarray) -> np.ndarray:
    """Whether angles (..., 6) are all within LIMITS: (...)."""
    return (np.abs(joints) <= LIMITS).all(axis=-1)
