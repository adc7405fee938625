# SPDX-License-Identifier: Apache-2.0
"""A node's clock where time is simulated or played: it may jump back, and it may never come."""

from collections.abc import Callable

from rclpy.clock import JumpHandle, JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node

_BACK = Duration(nanoseconds=-100_000_000)  # less is a /clock message that came late


def on_jump_back(node: Node, forget: Callable[[], None]) -> JumpHandle:
    """Calls `forget` where the node's clock jumps back, as when a bag starts again or a simulation is reset, and where
    it changes between simulated and real time: what was held is of another time. Keep what is returned; be quick."""
    threshold = JumpThreshold(min_forward=None, min_backward=_BACK, on_clock_change=True)
    return node.get_clock().create_jump_callback(threshold, post_callback=lambda _: forget())


def missing_clock(node: Node) -> str:
    """'' or, where time is to be simulated and nobody has told it yet, that in words."""
    simulated = node.has_parameter("use_sim_time") and node.get_parameter("use_sim_time").value
    if not simulated or node.get_clock().now().nanoseconds:
        return ""
    return (
        "use_sim_time is set and no /clock has arrived: start the simulation or play the bag with --clock, or unset it"
    )
