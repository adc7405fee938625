# SPDX-License-Identifier: Apache-2.0
"""Names that a workcell, embedded or in Gazebo, and the trials share beside those of `dropclip_ros.ros.common`."""

WORLD = "world"
POSES_TOPIC, LABELS_TOPIC = "ground_truth/poses", "ground_truth/labels"
OVERVIEW_TOPIC = "overview/image_raw"
RESET_SERVICE = "reset_cell"
