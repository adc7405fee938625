# SPDX-License-Identifier: Apache-2.0
"""6-DoF grasps of scenes: tried on objects in physics, put into scenes (A.1)."""
