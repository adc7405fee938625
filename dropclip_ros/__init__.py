# SPDX-License-Identifier: Apache-2.0
"""DROP-CLIP for ROS 2: open-vocabulary grounding and grasping from one RGB-D frame."""

__version__ = "0.1.0"
