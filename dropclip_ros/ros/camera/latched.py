# SPDX-License-Identifier: Apache-2.0
"""What is published once, for all who come later (latched), and what is published again and again: heard alike."""

from collections.abc import Callable

from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

_LOOK = 0.3  # s, between looks at who publishes


class Latched:
    """A subscription, and a second one where nothing has come and a publisher latches: what was latched before reaches
    only who asks for that, and who asks for it hears nobody else, and is warned of by every other publisher."""

    def __init__(self, node: Node, kind: type, topic: str, take: Callable, qos: QoSProfile, group: CallbackGroup):
        self._node, self._kind, self._take_message, self._group = node, kind, take, group
        self._heard = False
        self.subscription = node.create_subscription(kind, topic, self._take, qos, callback_group=group)
        self._timer = node.create_timer(_LOOK, self._look, group, clock=Clock())

    def _take(self, msg) -> None:
        self._heard = True
        self._take_message(msg)

    def _look(self) -> None:
        publishers = self._node.get_publishers_info_by_topic(self.subscription.topic_name)
        latches = any(p.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in publishers)
        if latches and not self._heard:
            qos = QoSProfile(
                depth=5, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
            )
            self._second = self._node.create_subscription(
                self._kind, self.subscription.topic_name, self._take, qos, callback_group=self._group
            )
        if latches or self._heard:
            self._timer.cancel()
