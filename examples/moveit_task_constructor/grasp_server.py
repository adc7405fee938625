# SPDX-License-Identifier: Apache-2.0
"""The action `sample_grasps` of deep_grasp_demo's stage DeepGraspPose for MoveIt Task Constructor, served by a phrase.

    python examples/moveit_task_constructor/grasp_server.py --query "the red mug"

It needs the action's messages, SampleGraspPoses, which deep_grasp_msgs or a branch of moveit_task_constructor_msgs
has: goal `action_name`; feedback `grasp_candidates` and `costs`; result `grasp_state`. The stage sends the action's own
name, and then --query is looked for; any other name is taken for a phrase. Poses are of the tool link, which must be
the IK frame of the ComputeIK around the stage; costs rise by rank from 0, below 1. It was run here before a stand-in of
the messages alone (test/client/test_mtc_server.py).
"""

import argparse
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.node import Node

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.client import Client, Grasped

PACKAGES = ("deep_grasp_msgs", "moveit_task_constructor_msgs")


def action_type() -> type:
    """SampleGraspPoses, of whichever package has it. Raises ImportError."""
    for package in PACKAGES:
        try:
            return import_module(f"{package}.action").SampleGraspPoses
        except (ImportError, AttributeError):
            continue
    raise ImportError(
        f"neither {' nor '.join(PACKAGES)} has the action SampleGraspPoses: expected one of them, sourced"
    )


def told(grasped: Grasped) -> tuple[list[PoseStamped], list[float]]:
    """Poses of the tool and their costs, best first."""
    poses = [PoseStamped(header=grasped.header, pose=one.tool) for one in grasped.candidates]
    return poses, [rank / len(poses) for rank in range(len(poses))]


class GraspServer(Node):
    """kind: the action; name: its own, which stands for `query`."""

    def __init__(self, kind: Any, client: Client, query: str, name: str = "sample_grasps", top_k: int = 20):
        super().__init__("mtc_grasp_server")
        self._kind, self._client, self._query, self._name, self._top_k = kind, client, query, name, top_k
        self._server = ActionServer(
            self,
            kind,
            name,
            self.serve,
            callback_group=ReentrantCallbackGroup(),
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )

    def serve(self, handle: Any) -> Any:
        """A goal, whose candidates are its feedback: the stage waits for that alone."""
        asked = handle.request.action_name.strip("/ ")
        phrase = asked if asked and asked != self._name.strip("/") else self._query
        try:
            grasped = self._client.grasp(phrase, top_k=self._top_k)
        except DropclipError as error:
            self.get_logger().warning(f"{phrase!r}: {error}")
            handle.abort()
            return self._kind.Result(grasp_state=str(error))
        poses, costs = told(grasped)
        handle.publish_feedback(self._kind.Feedback(grasp_candidates=poses, costs=costs))
        handle.succeed()
        self.get_logger().info(f"{phrase!r}: {grasped.message}")
        return self._kind.Result(grasp_state=grasped.message)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--query", required=True, help='the object, as "the red mug"')
    parser.add_argument("--name", default="sample_grasps", help="of the action")
    parser.add_argument("--namespace", default="", help="of the nodes that are asked")
    parser.add_argument("--top-k", type=int, default=20, help="at most so many candidates")
    args = parser.parse_args()
    try:
        kind = action_type()
    except ImportError as error:
        sys.exit(str(error))
    rclpy.init()
    with Client(namespace=args.namespace) as client:
        executor = MultiThreadedExecutor(num_threads=3)
        executor.add_node(GraspServer(kind, client, args.query, args.name, args.top_k))
        with suppress(KeyboardInterrupt, ExternalShutdownException):
            executor.spin()


if __name__ == "__main__":
    main()
