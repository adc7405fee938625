# SPDX-License-Identifier: Apache-2.0
"""Quality of what is served: the whole path from a frame to an answer, its calibration and the studies of its parts."""
