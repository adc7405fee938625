# SPDX-License-Identifier: Apache-2.0
"""Nodes with a lifecycle: `ros2 lifecycle set NODE deactivate`. Configuring loads, cleaning up frees again."""

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from dropclip_ros.ros.common import Setting, Settings

AUTOSTART = Setting(
    "autostart", True, "Configure and activate at start; false: a lifecycle manager does that", read_only=True
)
SUCCESS = TransitionCallbackReturn.SUCCESS


class ManagedNode(LifecycleNode):
    """Answers and publishes while `active`; what comes otherwise is refused with BUSY (`answer_errors`)."""

    active = False

    def begin(self, settings: Settings) -> None:
        """At the end of a subclass's making."""
        if settings["autostart"]:
            self.trigger_configure()
            self.trigger_activate()

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.active = True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.active = False
        return super().on_deactivate(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.active = False
        return super().on_shutdown(state)
