# SPDX-License-Identifier: Apache-2.0
"""The grounding node with a scene map: `Ground` with source 1 answers from all frames, ids last, objects have ages; and
the action `look`, which names the next best view.

In the place of `grounding_node`, with the same parameters; `map_rate` is 2 Hz unless it is set.
"""

from rclpy.parameter import Parameter
from std_msgs.msg import Header

from dropclip_ros.nodes.grounding_node import GroundingNode, found_object
from dropclip_ros.ros.common import run
from dropclip_ros.ros.look_server import LookServer

RATE = 2.0  # Hz


class SceneNode(GroundingNode):
    def __init__(self, **options):
        given = {one.name: one for one in options.pop("parameter_overrides", None) or []}
        rate = given.pop("map_rate", Parameter("map_rate", value=RATE))
        super().__init__("scene_node", parameter_overrides=[*given.values(), rate], **options)

        def message(asked, result, k):
            header = Header(stamp=asked.stamp, frame_id=self._settings["world_frame"])
            found = found_object(header, asked.scene, result, result.objects[k], asked.scene.frame.camera_pose)
            found.cloud.data, found.cloud.width, found.cloud.row_step = [], 0, 0
            return found

        self._look = LookServer(
            self,
            self._settings,
            self._frames,
            self._keeper,
            self._model,
            lambda: self._grounder or self._load(),
            message,
        )

    def destroy_node(self) -> None:
        self._look.action.destroy()
        super().destroy_node()


def main() -> None:
    run(SceneNode, imports=("dropclip_ros.grounding.pipeline", "dropclip_ros.mapping.map_scene"))


if __name__ == "__main__":
    main()
