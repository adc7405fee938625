# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 side: nodes, and the conversions between messages and the core's arrays."""

import os

from dropclip_ros.base.memory import keep_small
from dropclip_ros.base.signals import end_quietly_as_program

end_quietly_as_program()
# Before torch brings OpenMP: its threads, waiting for each other, would spin. Where a camera, DDS or another node has
# one of the cores they wait whole time slices: the encoder then takes a second instead of a tenth, all spent spinning.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
keep_small()
