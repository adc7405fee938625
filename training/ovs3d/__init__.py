# SPDX-License-Identifier: Apache-2.0
"""Weakly supervised open-vocabulary segmentation of one scene in a radiance field (3D-OVS)."""
