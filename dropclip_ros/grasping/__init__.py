# SPDX-License-Identifier: Apache-2.0
"""6-DoF grasps: proposals, checks, matching to a grounded object, poses for a planner (A.7)."""
