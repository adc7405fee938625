# SPDX-License-Identifier: Apache-2.0
"""The scene map over DDS: `Ground` with source 1 answers from all frames."""

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.action import ActionClient
from rclpy.parameter import Parameter
from ros_support import OPTICAL_FRAME, FakeCamera, model_folder, ros, wait_until  # noqa: F401
from vision_msgs.msg import Detection3DArray

from dropclip_ros.action import Look
from dropclip_ros.base.errors import Status
from dropclip_ros.msg import Standing
from dropclip_ros.nodes.scene_node import SceneNode
from dropclip_ros.ros.common import GROUND_SERVICE, LATCHED_QOS, LOOK_ACTION
from dropclip_ros.ros.map_keeper import spheres_of
from dropclip_ros.ros.messages import pose_message
from dropclip_ros.srv import Ground

MAP = Ground.Request.SOURCE_MAP
BOXES = ((-0.12, 0.0, 0.08, 0.06, 0.12), (0.12, 0.1, 0.1, 0.1, 0.05), (0.05, -0.12, 0.06, 0.06, 0.08))


@pytest.fixture(scope="module")
def setup(ros, model_folder):
    camera = FakeCamera(ros.node)
    node = ros.start(
        SceneNode,
        model=str(model_folder),
        device="cpu",
        reliable=True,
        world_frame="world",
        frame_timeout=0.4,
        tf_timeout=0.5,
        max_frame_age=300.0,
        map_rate=20.0,
    )
    camera.wait_for()
    client = ros.node.create_client(Ground, GROUND_SERVICE)

    def ask(query="the red box", **fields) -> Ground.Response:
        return ros.call(client, Ground.Request(query=query, threshold=0.01, source=MAP, **fields))

    yield camera, ask, node


def show(camera, frame, pose):
    """Sends a frame taken from a pose, world_from_camera; its header."""
    messages = camera.messages(frame)
    camera.send_transform(messages["depth"].header.stamp, "world", OPTICAL_FRAME, pose)
    return camera.send(messages)


def test_the_map_answers_from_all_views_with_ids_that_last(setup, make_tabletop):
    camera, ask, _ = setup
    assert ask().status == Status.NO_FRAME
    counts = []
    for azimuth in (0.0, 0.6, 1.2):
        seen = make_tabletop(boxes=BOXES, spheres=(), azimuth=azimuth)
        header = show(camera, seen.frame, seen.frame.camera_pose)
        wait_until(lambda header=header: ask().header.stamp == header.stamp)
        answer = ask("the largest thing", literal=True)
        assert answer.status == Status.OK and answer.header.frame_id == "world", answer.message
        counts.append(sum(found.cloud.width * found.cloud.height for found in answer.objects))
    assert counts[-1] > 1.2 * counts[0]  # sides that the first view did not show
    assert len({found.id for found in answer.objects}) == len(answer.objects)
    assert all(found.age.sec < 120 for found in answer.objects)
    middles = np.array([[found.centre.x, found.centre.y] for found in answer.objects])
    assert (np.linalg.norm(middles[:, None] - np.array(BOXES)[:, :2], axis=2).min(1) < 0.03).all()
    previous = [answer.objects[0].id]
    assert [found.id for found in ask("it", previous=previous).objects] == previous
    assert ask("it", previous=[9999]).status == Status.BAD_REQUEST


def test_look_names_poses_until_nothing_would_gain(setup, ros, make_tabletop):
    camera, _, _ = setup
    poses = []
    for azimuth in (2.4, 3.6):
        stamped = PoseStamped(pose=pose_message(make_tabletop(boxes=BOXES, azimuth=azimuth).frame.camera_pose))
        stamped.header.frame_id = "world"
        poses.append(stamped)
    client, named = ActionClient(ros.node, Look, LOOK_ACTION), []

    def go(told):
        named.append(told.feedback.next)
        if told.feedback.next >= 0:
            seen = make_tabletop(boxes=BOXES, spheres=(), azimuth=(2.4, 3.6)[told.feedback.next])
            show(camera, seen.frame, seen.frame.camera_pose)

    assert client.wait_for_server(timeout_sec=60)
    goal = Look.Goal(query="the red box", poses=poses, patience=60.0, max_looks=1)
    sent = client.send_goal_async(goal, feedback_callback=go)
    wait_until(sent.done)
    ended = sent.result().get_result_async()
    wait_until(ended.done)
    result = ended.result().result
    assert len(result.looked) == 1 and result.looked[0] in named, result.message
    sent = client.send_goal_async(Look.Goal(query="the red box"))
    wait_until(sent.done)
    ended = sent.result().get_result_async()
    wait_until(ended.done)
    assert ended.result().result.status == Status.BAD_REQUEST
    client.destroy()


def test_a_pose_that_is_wrong_is_not_fused(setup, make_tabletop):
    camera, ask, _ = setup
    seen = make_tabletop(boxes=BOXES, spheres=(), azimuth=0.9)
    wrong = seen.frame.camera_pose.copy()
    wrong[2, 3] += 0.02
    before = ask().header.stamp
    show(camera, seen.frame, wrong)
    header = show(camera, seen.frame, seen.frame.camera_pose)
    wait_until(lambda: ask().header.stamp == header.stamp)
    assert before != header.stamp
    heights = [found.centre.z for found in ask("a thing", literal=True).objects]
    assert max(heights) < 0.075


def test_a_frame_whose_pose_is_missing_is_not_fused_and_said(setup, make_tabletop):
    camera, ask, node = setup
    seen = make_tabletop(boxes=BOXES, spheres=(), azimuth=0.9)
    before = ask().header.stamp
    camera.send(camera.messages(seen.frame))
    wait_until(lambda: "no transform" in node._keeper._why)
    assert ask().header.stamp == before
    header = show(camera, seen.frame, seen.frame.camera_pose)
    wait_until(lambda: ask().header.stamp == header.stamp)


def test_the_standing_question_and_detections_are_of_the_map(setup, ros, make_tabletop):
    camera, ask, node = setup
    got, told = [], []
    ends = [
        ros.node.create_subscription(Detection3DArray, "/scene_node/detections", got.append, 1),
        ros.node.create_subscription(Standing, "/scene_node/standing", told.append, LATCHED_QOS),
    ]
    node.set_parameters([Parameter("threshold", value=0.01), Parameter("query_source", value="map")])
    node.set_parameters([Parameter("query", value="the red box")])
    for azimuth in (0.2, 0.4):
        seen = make_tabletop(boxes=BOXES, spheres=(), azimuth=azimuth)
        header = show(camera, seen.frame, seen.frame.camera_pose)
        wait_until(lambda header=header: got and got[-1].header.stamp == header.stamp)
    assert told[-1].query == "the red box" and got[-1].header.frame_id == "world" and got[-1].detections
    shown = max(detection.bbox.size.x * detection.bbox.size.y for detection in got[-1].detections)
    of_map = max(found.box_size.x * found.box_size.y for found in ask().objects)
    assert shown == pytest.approx(of_map)  # with the sides that this frame does not show
    assert not node.set_parameters([Parameter("query_source", value="memory")])[0].successful
    node.set_parameters([Parameter("query", value="")])
    for end in ends:
        ros.node.destroy_subscription(end)


@pytest.mark.parametrize("text", ["hand", "hand 0 0 0", "hand 0 0 0 -1", "hand 0 0 nan 0.1", "hand a b c d"])
def test_spheres_of_the_body_that_make_no_sense(text):
    with pytest.raises(ValueError, match="map_body"):
        spheres_of(text)


def test_a_source_that_is_none(setup, ros):
    client = ros.node.create_client(Ground, GROUND_SERVICE)
    answer = ros.call(client, Ground.Request(query="a mug", source=7))
    assert answer.status == Status.BAD_REQUEST and "SOURCE_MAP" in answer.message
