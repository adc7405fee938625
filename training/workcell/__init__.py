# SPDX-License-Identifier: Apache-2.0
"""A simulated workcell: a UR5e with a parallel gripper, an RGB-D camera and cluttered objects on a table (section 4.4,
A.7). No ROS here but in `node`. Needs the extra `sim`."""

from dropclip_ros.base.signals import end_quietly_as_program

end_quietly_as_program()
