# SPDX-License-Identifier: Apache-2.0
"""What the ROS graph says when something does not arrive: who publishes, under which name, with what QoS."""

from collections.abc import Mapping

from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy
from rclpy.subscription import Subscription

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_SUFFIXES = ("/compressed", "/compressedDepth")
_MOST = 6  # names in a sentence


def why_silent(node: Node, subscriptions: Mapping[str, Subscription], reliable: bool) -> str:
    """A sentence on why nothing comes on these, by what each is called ("color"): what is published in their place."""
    there = dict(node.get_topic_names_and_types())
    reasons = []
    for subscription in subscriptions.values():
        wanted = f"sensor_msgs/msg/{subscription.msg_type.__name__}"
        reason = _why(node, subscription.topic_name, wanted, reliable, there)
        if reason and reason not in reasons:
            reasons.append(reason)
    return "; ".join(reasons)


def _why(node: Node, topic: str, wanted: str, reliable: bool, there: Mapping[str, list[str]]) -> str:
    """Of one topic and the type that is wanted of it."""
    publishers = node.get_publishers_info_by_topic(topic)
    if publishers:
        kinds = {publisher.topic_type for publisher in publishers}
        if wanted not in kinds:
            return f"{topic} is published as {', '.join(sorted(kinds))}, not as {wanted}"
        if reliable and all(p.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT for p in publishers):
            return f"{topic} is published best effort, and this node asks for reliable delivery: set reliable to false"
        return (
            f"{topic} is published by {publishers[0].node_name}, but nothing has come: is the camera running, and is "
            "its process told of config/fastdds.xml, without which large images get lost?"
        )
    base = next((topic.removesuffix(suffix) for suffix in _SUFFIXES if topic.endswith(suffix)), topic)
    if wanted == COMPRESSED and node.count_publishers(base):
        return f"nobody publishes {topic}, but {base} is there: set transport to raw"
    compressed = [name for suffix in _SUFFIXES if node.count_publishers(name := base + suffix)]
    if wanted == IMAGE and compressed:
        return f"nobody publishes {topic}, but {compressed[0]} is there: set transport to compressed"
    others = [name for name, kinds in sorted(there.items()) if wanted in kinds and node.count_publishers(name)]
    if not others:
        return f"nobody publishes {topic}, nor any other {wanted}: is the camera running, in this ROS domain?"
    shown = ", ".join(others[:_MOST]) + (" and more" if len(others) > _MOST else "")
    return f"nobody publishes {topic}; published are {shown}: launch with camera:=... or remap"
