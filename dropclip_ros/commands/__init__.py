# SPDX-License-Identifier: Apache-2.0
"""What `dropclip` can do, a module for each command; `dropclip_ros.cli` imports the one that is asked for."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: beside other programs its threads would spin
