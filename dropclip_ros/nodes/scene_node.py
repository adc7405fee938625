# SPDX-License-Identifier: Apache-2.0
"""The grounding node with a scene map: `Ground` with source 1 answers from all frames, ids last, objects have ages.

In the place of `grounding_node`, with the same parameters; `map_rate` is 2 Hz unless it is set.
"""

from rclpy.parameter import Parameter

from dropclip_ros.nodes.grounding_node import GroundingNode
from dropclip_ros.ros.common import run

RATE = 2.0  # Hz


class SceneNode(GroundingNode):
    def __init__(self, **options):
        given = {one.name: one for one in options.pop("parameter_overrides", None) or []}
        rate = given.pop("map_rate", Parameter("map_rate", value=RATE))
        super().__init__("scene_node", parameter_overrides=[*given.values(), rate], **options)


def main() -> None:
    run(SceneNode, imports=("dropclip_ros.grounding.pipeline", "dropclip_ros.mapping.map_scene"))


if __name__ == "__main__":
    main()
