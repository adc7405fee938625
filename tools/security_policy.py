# SPDX-License-Identifier: Apache-2.0
"""Writes config/security/policy.xml, what SROS2 may let each node do: `python tools/security_policy.py`. Needs rclpy.

The nodes are started and asked what they publish, hear and serve; the topics of a camera are the nodes' own names,
which a launch file remaps: see docs/network.md. `--check` writes nothing: code 1 where the file is not of today.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

from rclpy.node import Node

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
POLICY = ROOT / "config/security/policy.xml"
NODES = {
    "grounding_node": ["model:=/nowhere"],
    "proposal_node": [],
    "grasp_matcher_node": [],
    "scene_node": [],
    "grasp_rows_node": ["folder:=/tmp"],
}
ACTION = "/_action/"
USUAL = ("/parameter_events", "/clock", "/tf", "/tf_static")


def asked(seconds: float = 120.0) -> dict[str, dict[str, set[str]]]:
    """Of each node: names it publishes, hears, serves (reply) and calls (request), and actions, execute and call."""
    from dropclip_ros.ros.common import COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC, POINTS_TOPIC
    from dropclip_ros.ros.launcher import running

    camera = {f"/{topic}" for topic in (COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC, POINTS_TOPIC)}  # heard when needed

    found: dict[str, dict[str, set[str]]] = {}
    with running(NODES, lambda children: Node("policy")) as (_, node):
        kinds = {
            "publish": node.get_publisher_names_and_types_by_node,
            "subscribe": node.get_subscriber_names_and_types_by_node,
            "reply": node.get_service_names_and_types_by_node,
            "request": node.get_client_names_and_types_by_node,
        }
        end, known, since = time.monotonic() + seconds, -1, time.monotonic()
        while time.monotonic() < end and (time.monotonic() < since + 10 or len(node.get_node_names()) <= len(NODES)):
            if known != (known := sum(len(ask(n, "/")) for n in node.get_node_names() for ask in kinds.values())):
                since = time.monotonic()  # they still announce
            time.sleep(0.5)
        for name in NODES:
            of = {kind: {topic for topic, _ in ask(name, "/")} for kind, ask in kinds.items()}
            actions = {topic.split(ACTION)[0] for topic in of["reply"] if ACTION in topic}
            called = {topic.split(ACTION)[0] for topic in of["request"] if ACTION in topic}
            found[name] = {kind: {topic for topic in topics if ACTION not in topic} for kind, topics in of.items()}
            found[name] |= {"execute": actions, "call": called}
            found[name]["subscribe"] |= camera if name != "grasp_rows_node" else set()
    return found


def policy(found: dict[str, dict[str, set[str]]]) -> ElementTree.ElementTree:
    """An enclave a node, /dropclip/NODE."""
    root = ElementTree.Element("policy", version="0.2.0")
    enclaves = ElementTree.SubElement(root, "enclaves")
    for name, of in found.items():
        enclave = ElementTree.SubElement(enclaves, "enclave", path=f"/dropclip/{name}")
        profile = ElementTree.SubElement(ElementTree.SubElement(enclave, "profiles"), "profile", ns="/", node=name)
        for group, one, kinds in (
            ("services", "service", ("reply", "request")),
            ("topics", "topic", ("publish", "subscribe")),
            ("actions", "action", ("execute", "call")),
        ):
            for kind in kinds:
                topics = of[kind] | (set(USUAL) if kind == "subscribe" else set())
                if topics:
                    element = ElementTree.SubElement(profile, group, {kind: "ALLOW"})
                    for topic in sorted(topics):
                        ElementTree.SubElement(element, one).text = topic.replace(f"/{name}/", "~/").removeprefix("/")
    ElementTree.indent(root)
    return ElementTree.ElementTree(root)


def main() -> int:
    text = ElementTree.tostring(policy(asked()).getroot(), encoding="unicode") + "\n"
    text = '<?xml version="1.0" encoding="UTF-8"?>\n<!-- written by tools/security_policy.py -->\n' + text
    if "--check" in sys.argv:
        return int(not POLICY.exists() or POLICY.read_text() != text)
    POLICY.parent.mkdir(exist_ok=True)
    POLICY.write_text(text)
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
