# SPDX-License-Identifier: Apache-2.0
"""What makes the encoder: scenes (MV-TOD), multi-view fusion with object-centric priors, distillation."""

import os

# Read once, when mujoco is imported: it draws on the GPU where there is one. OSMesa draws in the caller's thread, so
# that a worker takes one core.
os.environ.setdefault("MUJOCO_GL", "egl" if os.path.exists("/dev/nvidiactl") else "osmesa")
os.environ.setdefault("LP_NUM_THREADS", "0")
