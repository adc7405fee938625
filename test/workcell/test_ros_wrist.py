# SPDX-License-Identifier: Apache-2.0
"""The wrist's camera of the embedded workcell over DDS: it goes where it is told; what it sees is where TF says."""

import numpy as np
import pytest
from ros_support import model_folder, ros, wait_until  # noqa: F401  skips where ROS is missing

pytest.importorskip("mujoco", reason="mujoco is not installed (make setup)")
pytest.importorskip("ompl", reason="ompl is not installed (make setup)")

from geometry_msgs.msg import PoseArray
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from dropclip_ros.action import Pick
from dropclip_ros.base.errors import Status
from dropclip_ros.msg import GraspCandidate
from dropclip_ros.nodes.scene_node import SceneNode
from dropclip_ros.ros.common import ACTION_CLIENT_QOS, COLOR_TOPIC, DEPTH_TOPIC, GROUND_SERVICE, INFO_TOPIC, SENSOR_QOS
from dropclip_ros.ros.messages import depth_image, intrinsics_of, nanoseconds, pose_matrix, pose_message
from dropclip_ros.ros.tf import Frames
from dropclip_ros.srv import Ground
from dropclip_ros.vision.geometry import backproject, invert_pose, transform_points
from training.scenes.description import SceneConfig
from training.workcell.cell import CellConfig
from training.workcell.looking import WristLooker
from training.workcell.node import WorkcellNode
from training.workcell.topics import MOVE_CAMERA_ACTION, POSES_OF_WRIST_TOPIC, WORLD, wrist_topic
from training.workcell.wrist import TOOL_FROM_CAMERA
from training.workcell.wrist_node import OPTICAL

MAP = Ground.Request.SOURCE_MAP
SCENE = SceneConfig(min_objects=1, width=320, height=240, area=(0.2, 0.17), focal=(540.0, 540.0), scale=(1.0, 1.0))


class Wrist:
    def __init__(self, ros):
        self.cell = ros.start(
            WorkcellNode, {"config": CellConfig(scene=SCENE)}, rate=10.0, wrist=True, second_base=[0.52, 0.0, 3.14159]
        )
        self.client = ActionClient(ros.node, Pick, MOVE_CAMERA_ACTION, **ACTION_CLIENT_QOS)
        self.frames, self.depth, self.info, self.poses = Frames(ros.node), None, None, None
        lasting = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        take = ros.node.create_subscription
        take(Image, wrist_topic(DEPTH_TOPIC), lambda msg: setattr(self, "depth", msg), SENSOR_QOS)
        take(CameraInfo, wrist_topic(INFO_TOPIC), lambda msg: setattr(self, "info", msg), SENSOR_QOS)
        take(PoseArray, POSES_OF_WRIST_TOPIC, lambda msg: setattr(self, "poses", msg), lasting)
        assert self.client.wait_for_server(timeout_sec=60)
        wait_until(lambda: self.depth and self.info and self.poses, 60.0)
        self._node = ros.node

    def go(self, *poses: np.ndarray) -> Pick.Result:
        tools = [GraspCandidate(tool=pose_message(pose @ invert_pose(TOOL_FROM_CAMERA))) for pose in poses]
        sent = self.client.send_goal_async(Pick.Goal(header=Header(frame_id=WORLD), candidates=tools))
        wait_until(sent.done, 60.0)
        ended = sent.result().get_result_async()
        wait_until(ended.done, 120.0)
        return ended.result().result

    def look(self) -> np.ndarray:
        """Points in the world that the newest frame shows."""
        now = self._node.get_clock().now().nanoseconds
        wait_until(lambda: nanoseconds(self.depth.header.stamp) > now, 30.0)
        depth = self.depth
        self.at = self.frames.lookup(WORLD, depth.header.frame_id, depth.header.stamp, 5.0)
        return transform_points(self.at, backproject(depth_image(depth), intrinsics_of(self.info))[0])


@pytest.fixture(scope="module")
def wrist(ros, off_screen):
    return Wrist(ros)


def test_the_wrist_goes_where_it_is_told_and_sees_the_table_where_it_is(wrist):
    poses = [pose_matrix(pose.position, pose.orientation) for pose in wrist.poses.poses]
    assert len(poses) >= 6
    result = wrist.go(*poses)
    assert result.status == Status.OK, result.message
    points = wrist.look()
    assert np.abs(wrist.at - poses[result.executed]).max() < 0.01
    low = points[np.abs(points[:, :2]).max(1) < 0.2, 2]
    assert abs(np.median(low)) < 0.006 and wrist.depth.header.frame_id == OPTICAL
    there = wrist.at
    assert wrist.go().status == Status.OK
    wrist.look()
    assert np.abs(wrist.at - there).max() > 0.05


def test_a_pose_out_of_reach_is_said(wrist):
    far = np.eye(4)
    far[:3, 3] = 3.0, 0.0, 0.5
    result = wrist.go(far)
    assert result.status == Status.NO_PATH and "out of the arm's reach" in result.message and result.executed == -1


def test_a_second_arm_has_a_frame(wrist):
    pose = wrist.frames.lookup("base_link", "second_base_link", wrist.depth.header.stamp, 5.0)
    assert np.allclose(pose[:3, 3], (1.04, 0, 0), atol=1e-3) and np.allclose(pose[0, 0], -1, atol=1e-3)


@pytest.mark.slow
def test_look_is_followed_by_the_arm_and_the_map_takes_what_it_sees(wrist, ros, model_folder):
    """`look` names one of the wrist's poses, the arm goes there, and the map has the view."""
    topics = [f"{name}:={wrist_topic(name)}" for name in (COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC)]
    remapped = ["--ros-args", *(word for topic in topics for word in ("-r", topic))]
    node = ros.start(
        SceneNode,
        {"cli_args": remapped},
        model=str(model_folder),
        device="cpu",
        reliable=True,
        world_frame=WORLD,
        max_frame_age=300.0,
        map_rate=5.0,
        tf_timeout=2.0,
        **{
            "region.box": [-0.35, -0.25, -0.05, 0.35, 0.25, 0.5]
        },  # at home the wrist looks past the table, at the floor
    )
    looker = WristLooker(ros.serve(Node("looker")), 200.0)
    assert looker.first().status == Status.OK
    client = ros.node.create_client(Ground, GROUND_SERVICE)

    def asked():
        return ros.call(client, Ground.Request(query="a thing", threshold=0.01, source=MAP, literal=True)).status

    wait_until(lambda: asked() == Status.OK, 200.0)
    result = looker.look("the red mug", max_looks=1, patience=150.0)
    assert result.looked and looker.moved[-1].status == Status.OK, result.message
    assert looker.home().status == Status.OK
    ros.stop(node)
