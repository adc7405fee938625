# SPDX-License-Identifier: Apache-2.0
"""Pictures that explain a result at a glance (A.5), and coloured clouds for any viewer."""

from dropclip_ros.draw.clouds import write_ply
from dropclip_ros.draw.results import Shown, draw_result
from dropclip_ros.draw.segments import draw_segments

__all__ = ["Shown", "draw_result", "draw_segments", "write_ply"]
