# SPDX-License-Identifier: Apache-2.0
"""Subscriptions that sleep until somebody asks: DDS holds the newest messages, and nothing is woken or decoded."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription
from std_msgs.msg import Empty

from dropclip_ros.base.memory import give_back

_ENOUGH = 100  # messages of one subscription that are taken at once: more than any queue of a camera holds
_LOOK = 0.5  # s, between looks at whether somebody still asks


class SleepingGroup(MutuallyExclusiveCallbackGroup):
    """Of subscriptions only. Asleep, the executor leaves them out; `listen` takes what DDS holds, the newest `depth` of
    each, and then the executor serves them for a while. asleep: called when that is over."""

    def __init__(self, node: Node, asleep: Callable[[], None]):
        super().__init__()
        self._node, self._asleep, self._until, self._waking = node, asleep, 0.0, threading.Lock()
        self._timers = MutuallyExclusiveCallbackGroup()

    @property
    def awake(self) -> bool:
        return time.monotonic() < self._until

    def can_execute(self, entity) -> bool:
        return self.awake and super().can_execute(entity)

    def listen(self, seconds: float, drop: tuple[type, ...] = ()) -> None:
        """Served for the next `seconds`; drop: messages of these types that came while asleep are not to be seen.

        Returns once all that had come has gone to the callbacks. Called from any thread.
        """
        with self._waking:
            asleep = not self.awake
            if asleep:
                for entity in [reference() for reference in list(self.entities)]:
                    if isinstance(entity, Subscription):
                        _empty(entity, drop)
                self._timer = self._node.create_timer(_LOOK, self._look, self._timers, clock=Clock())
            self._until = max(self._until, time.monotonic() + seconds)
        if asleep and self._node.executor is not None:
            self._node.executor.wake()

    def _look(self) -> None:
        with self._waking:
            if not self.awake:
                self._timer.cancel()
                self._node.destroy_timer(self._timer)
                self._asleep()
                give_back()


def _empty(subscription: Subscription, drop: tuple[type, ...]) -> None:
    """Gives the messages that DDS holds to the subscription's callback, unless they are of a type in `drop`."""
    for _ in range(_ENOUGH):
        with suppress(InvalidHandle), subscription.handle:  # destroyed meanwhile
            taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
            if taken is not None:
                if not isinstance(taken[0], drop):
                    subscription.callback(taken[0])
                continue
        return


class Wanted:
    """What a node says on `topic`/wanted (std_msgs/Empty) when it needs what others publish on `topic`, so that these
    may rest else: it stays subscribed, for who publishes of its own accord."""

    def __init__(self, node: Node, topic: str):
        self._publisher = node.create_publisher(Empty, wanted_topic(topic), 1)
        self._said = float("-inf")

    def say(self, rested: float) -> bool:
        """Whether somebody who hears it has rested, having heard nothing for `rested` s: what is held is old then."""
        before, self._said = self._said, time.monotonic()
        self._publisher.publish(Empty())
        return self._said - before > rested and self._publisher.get_subscription_count() > 0


class Demand:
    """Whether somebody needs what a node publishes: who said so in the last `seconds()` s, or a subscriber who does not
    say (as RViz). at_once: called when it is said."""

    def __init__(
        self, node: Node, topic: str, publishers: Sequence[Publisher], seconds: Callable[[], float], at_once: Callable
    ):
        self._node, self._topic, self._publishers = node, node.resolve_topic_name(wanted_topic(topic)), publishers
        self._seconds, self._at_once, self._said = seconds, at_once, float("-inf")
        node.create_subscription(Empty, self._topic, self._take, 1, callback_group=MutuallyExclusiveCallbackGroup())

    def _take(self, _: Empty) -> None:
        self._said = time.monotonic()
        self._at_once()

    def __bool__(self) -> bool:
        if time.monotonic() - self._said < self._seconds():
            return True
        heard = sum(publisher.get_subscription_count() for publisher in self._publishers)
        return heard > (self._node.count_publishers(self._topic) if heard else 0)


def wanted_topic(topic: str) -> str:
    return f"{topic}/wanted"
