# SPDX-License-Identifier: Apache-2.0
"""Scenes in formats of others: COCO, BOP, rosbag2."""
