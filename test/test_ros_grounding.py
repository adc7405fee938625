# SPDX-License-Identifier: Apache-2.0
"""The service `ground` over real DDS: what a good request gets, and that every bad one gets its status and no more."""
import array
import time

import numpy as np
import pytest
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from ros_support import OPTICAL_FRAME, FakeCamera, model_folder, ros, wait_until  # noqa: F401
from sensor_msgs.msg import Image, PointCloud2
from visualization_msgs.msg import MarkerArray

from dropclip_ros.geometry import transform_points
from dropclip_ros.grasps import Grasps
from dropclip_ros.msg import GraspArray
from dropclip_ros.nodes.common import (
    COLOR_TOPIC,
    DEPTH_TOPIC,
    GRASPS_TOPIC,
    GROUND_SERVICE,
    INFO_TOPIC,
    MATCH_SERVICE,
)
from dropclip_ros.nodes.grasp_matcher_node import GraspMatcherNode
from dropclip_ros.nodes.grasp_messages import grasp_array_message
from dropclip_ros.nodes.grounding_node import GroundingNode
from dropclip_ros.nodes.messages import cloud_points, image_message, image_to_numpy, nanoseconds
from dropclip_ros.srv import Ground, MatchGrasps

R = Ground.Response
ANYTHING = 0.01      # a threshold that everything passes with random weights


@pytest.fixture(scope="module")
def setup(ros, model_folder):  # noqa: F811
    camera = FakeCamera(ros.node)
    node = ros.start(GroundingNode, model=str(model_folder), device="cpu", reliable=True, frame_timeout=0.4,
                     tf_timeout=0.3, max_frame_age=300.0)
    camera.wait_for()
    client = ros.node.create_client(Ground, GROUND_SERVICE)

    def ask(query="the red box", threshold=ANYTHING, **fields) -> Ground.Response:
        return ros.call(client, Ground.Request(query=query, threshold=threshold, **fields))

    yield camera, ask, node


@pytest.fixture(scope="module")
def tabletop(make_tabletop):
    return make_tabletop()


@pytest.fixture
def scene(setup, tabletop):
    """A good frame has just been seen; gives its header and the function that asks."""
    camera, ask, _ = setup
    return show(camera, ask, camera.messages(tabletop.frame)), ask


def show(camera, ask, messages):
    """Sends a frame and waits until the node holds it."""
    header = camera.send(messages)
    wait_until(lambda: ask(stamp=header.stamp).status not in (R.NO_FRAME, R.STALE_FRAME))
    return header


def test_before_any_frame_and_then_found(setup, tabletop):
    camera, ask, _ = setup
    answer = ask()
    assert answer.status == R.NO_FRAME and "camera/color/image_raw" in answer.message
    header = show(camera, ask, camera.messages(tabletop.frame))
    answer = ask()
    assert answer.status == R.OK, answer.message
    assert answer.header.stamp == header.stamp and answer.header.frame_id == "dropclip_table"
    scores = [found.score for found in answer.objects]
    assert scores == sorted(scores, reverse=True)
    best = answer.objects[0]
    points = cloud_points(best.cloud)
    assert best.cloud.header == answer.header and len(points) == best.cloud.width > 0
    assert np.allclose(points.mean(0), [best.centre.x, best.centre.y, best.centre.z], atol=1e-4)
    assert (points[:, 2] > -0.01).all() and (points[:, 2] < 0.2).all()      # above the table, which is z = 0
    assert best.box_size.z > 0 and abs(best.box_pose.position.z - points[:, 2].mean()) < 0.1
    assert 0 < answer.threshold < 1


def test_a_frame_is_encoded_once(scene):
    _, ask = scene
    first = {t.stage for t in ask(query="a cup").timing}
    again = {t.stage: t.milliseconds for t in ask(query="a plate").timing}
    assert "encoder" not in again and {"text", "similarity", "objects", "messages"} <= set(again) <= first | {"text"}


def test_answers_in_a_world_frame_are_where_things_are(setup, scene, tabletop):
    camera, _, _ = setup
    header, ask = scene
    camera.send_transform(header.stamp, "world", OPTICAL_FRAME, tabletop.frame.camera_pose)
    in_world = ask(target_frame="world")
    in_camera = ask(target_frame=OPTICAL_FRAME)
    assert in_world.status == in_camera.status == R.OK, in_world.message
    assert in_world.header.frame_id == "world"
    expected = transform_points(tabletop.frame.camera_pose, cloud_points(in_camera.objects[0].cloud))
    assert np.allclose(cloud_points(in_world.objects[0].cloud), expected, atol=1e-4)


def test_a_transform_that_is_unknown_or_too_old_is_a_tf_error(setup, tabletop):
    camera, ask, _ = setup
    header = show(camera, ask, camera.messages(tabletop.frame))
    assert ask(target_frame="nowhere").status == R.TF_ERROR
    old = camera.messages(tabletop.frame, age=100.0)["info"].header.stamp
    camera.send_transform(old, "old_world", OPTICAL_FRAME, np.eye(4))
    answer = ask(target_frame="old_world", stamp=header.stamp)
    assert answer.status == R.TF_ERROR and "old_world" in answer.message


def test_not_found_is_an_answer(scene):
    _, ask = scene
    answer = ask(threshold=0.99)
    assert answer.status == R.NOT_FOUND and not answer.objects and "0.99" in answer.message


@pytest.mark.parametrize("fields", [
    {"query": ""}, {"query": "   "}, {"query": "m" * 10_000}, {"query": "mug\x07"}, {"threshold": 1.0},
    {"threshold": -0.1}, {"threshold": float("nan")}, {"negatives_mode": 99},
    {"negatives": ["x"] * 1000, "negatives_mode": Ground.Request.NEGATIVES_CUSTOM},
    {"negatives": ["\x00"], "negatives_mode": Ground.Request.NEGATIVES_CUSTOM}], ids=str)
def test_bad_requests_say_so(scene, fields):
    _, ask = scene
    answer = ask(**fields)
    assert answer.status == R.BAD_REQUEST and answer.message and not answer.objects


def test_a_negative_that_equals_the_query_is_left_out(scene):
    _, ask = scene
    custom = {"negatives_mode": Ground.Request.NEGATIVES_CUSTOM}
    assert ask("mug", negatives=["Mug", "mug "], **custom).status == R.OK
    assert ask("mug", negatives_mode=Ground.Request.NEGATIVES_NONE).status == R.OK
    assert ask("mug", negatives_mode=Ground.Request.NEGATIVES_SCENE).status == R.OK


def test_stamps_that_are_gone_or_to_come(setup, tabletop):
    camera, ask, _ = setup
    show(camera, ask, camera.messages(tabletop.frame))
    past, future = camera.messages(tabletop.frame, 250.0)["info"], camera.messages(tabletop.frame, -250.0)["info"]
    assert ask(stamp=past.header.stamp).status == R.STALE_FRAME
    assert ask(stamp=future.header.stamp).status == R.NO_FRAME


def break_color(messages, **fields):
    for name, value in fields.items():
        setattr(messages["color"], name, value)


def use_depth(messages, depth):
    messages["depth"] = image_message(messages["depth"].header, depth, "32FC1" if depth.dtype.kind == "f" else "16UC1")


BROKEN_FRAMES = {
    "encoding": (lambda m: break_color(m, encoding="bayer_rggb8"), R.BAD_FRAME),
    "truncated": (lambda m: break_color(m, data=array.array("B", b"12345")), R.BAD_FRAME),
    "step": (lambda m: break_color(m, step=10**6), R.BAD_FRAME),
    "K of zeros": (lambda m: setattr(m["info"], "k", np.zeros(9)), R.BAD_FRAME),
    "K of NaN": (lambda m: setattr(m["info"], "k", np.full(9, np.nan)), R.BAD_FRAME),
    "depth of another shape": (lambda m: use_depth(m, np.full((50, 320), 800, np.uint16)), R.BAD_FRAME),
    "depth of zeros": (lambda m: use_depth(m, np.zeros((240, 320), np.uint16)), R.NO_TABLE),
    "depth of NaN": (lambda m: use_depth(m, np.full((240, 320), np.nan, np.float32)), R.NO_TABLE),
    "two points": (lambda m: use_depth(m, np.pad([[0.8, 0.8]], ((0, 239), (0, 318))).astype(np.float32)), R.NO_TABLE),
}


@pytest.mark.parametrize("name", BROKEN_FRAMES)
def test_frames_that_cannot_be_used(setup, tabletop, name):
    camera, ask, _ = setup
    mutate, expected = BROKEN_FRAMES[name]
    messages = camera.messages(tabletop.frame)
    mutate(messages)
    answer = ask(stamp=show(camera, ask, messages).stamp)
    assert answer.status == expected and answer.message, answer.message


def test_an_empty_table(setup, make_tabletop):
    camera, ask, _ = setup
    header = show(camera, ask, camera.messages(make_tabletop(boxes=(), spheres=()).frame))
    assert ask(stamp=header.stamp).status == R.EMPTY_SCENE


def test_a_stale_camera(setup, scene):
    _, _, node = setup
    _, ask = scene
    node.set_parameters([Parameter("max_frame_age", value=0.001)])
    answer = ask()
    node.set_parameters([Parameter("max_frame_age", value=300.0)])
    assert answer.status == R.STALE_FRAME and "max_frame_age" in answer.message


def test_a_camera_that_restarts_with_another_resolution(setup, tabletop, make_tabletop):
    camera, ask, _ = setup
    show(camera, ask, camera.messages(tabletop.frame))
    header = show(camera, ask, camera.messages(make_tabletop(size=(200, 200)).frame))
    assert ask(stamp=header.stamp).status == R.OK


def test_nonsense_parameters_are_refused_while_running(ros, setup, scene):  # noqa: F811
    _, ask = scene
    client = ros.node.create_client(SetParameters, "grounding_node/set_parameters")
    nonsense = {"threshold": [float("nan"), 7.0, "high"], "negatives_mode": ["sideways"], "depth_unit": ["furlong"],
                "table.distance": [-1.0, 50.0], "table.iterations": [0], "model": ["/elsewhere"],
                "tf_timeout": [float("inf")]}
    for name, values in nonsense.items():
        for value in values:
            request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
            result = ros.call(client, request).results[0]
            assert not result.successful and result.reason, (name, value)
    assert ask().status == R.OK


def test_clients_that_leave_early_and_two_at_once(ros, setup, scene):  # noqa: F811
    _, ask = scene
    for _ in range(3):
        leaver = ros.node.create_client(Ground, GROUND_SERVICE)
        assert leaver.wait_for_service(120.0)
        leaver.call_async(Ground.Request(query="a spoon"))
        ros.node.destroy_client(leaver)
    clients = [ros.node.create_client(Ground, GROUND_SERVICE) for _ in range(2)]
    assert all(c.wait_for_service(120.0) for c in clients)
    futures = [c.call_async(Ground.Request(query="a spoon", threshold=ANYTHING)) for c in clients]
    wait_until(lambda: all(f.done() for f in futures))
    assert [f.result().status for f in futures] == [R.OK, R.OK]
    assert ask().status == R.OK


def test_pictures_for_people(ros, setup, scene):  # noqa: F811
    header, ask = scene
    got = {}
    topics = {"similarity": PointCloud2, "mask": Image, "markers": MarkerArray}
    for name, kind in topics.items():
        ros.node.create_subscription(kind, f"grounding_node/{name}", lambda msg, name=name: got.update({name: msg}), 1)

    def shown() -> bool:
        got.clear()
        answer.append(ask())
        time.sleep(0.1)
        return len(got) == 3

    answer = []
    wait_until(shown)
    count = sum(found.cloud.width for found in answer[-1].objects)
    assert (image_to_numpy(got["mask"]) > 0).sum() == count and got["mask"].header.stamp == header.stamp
    assert got["similarity"].width >= count and nanoseconds(got["similarity"].header.stamp) == nanoseconds(header.stamp)
    assert len(got["markers"].markers) == 1 + 2 * len(answer[-1].objects)


def test_a_missing_model_is_an_answer(ros, setup, tabletop, tmp_path):  # noqa: F811
    """A node whose weights are not there serves, and says so."""
    camera, _, _ = setup
    remaps = [word for topic in (COLOR_TOPIC, DEPTH_TOPIC, INFO_TOPIC) for word in ("-r", f"{topic}:=/{topic}")]
    node = ros.start(GroundingNode, {"namespace": "elsewhere", "cli_args": ["--ros-args", *remaps]},
                     model=str(tmp_path), device="cpu", reliable=True)
    client = ros.node.create_client(Ground, f"elsewhere/{GROUND_SERVICE}")
    camera.wait_for(2)
    camera.send(camera.messages(tabletop.frame))
    answer = ros.call(client, Ground.Request(query="a mug"))
    ros.stop(node)
    assert answer.status == R.MODEL_ERROR and str(tmp_path) in answer.message


def test_the_frame_encoded_last_can_be_asked_about_for_as_long_as_it_is(setup, tabletop):
    camera, ask, _ = setup
    header = show(camera, ask, camera.messages(tabletop.frame))
    for _ in range(25):         # more than the node holds
        last = camera.send(camera.messages(tabletop.frame))
        time.sleep(0.02)
    wait_until(lambda: ask(stamp=last.stamp, target_frame="nowhere").status == R.TF_ERROR)      # held, not encoded
    assert ask(stamp=header.stamp).status == R.OK
    assert ask(stamp=last.stamp).status == R.OK
    assert ask(stamp=header.stamp).status == R.STALE_FRAME


def test_a_phrase_becomes_grasps(ros, setup, tabletop):  # noqa: F811
    """The whole path: the matcher asks Ground, and carries proposals from the camera's frame to the answer's."""
    camera, ask, _ = setup
    ros.start(GraspMatcherNode, tf_timeout=2.0, max_distance=10.0)
    client = ros.node.create_client(MatchGrasps, MATCH_SERVICE)
    publisher = ros.node.create_publisher(GraspArray, GRASPS_TOPIC, 1)
    wait_until(lambda: publisher.get_subscription_count() == 1)
    header = show(camera, ask, camera.messages(tabletop.frame))
    centre = ask(query="a mug", threshold=0.0, target_frame=OPTICAL_FRAME).objects[0].centre
    offsets = np.array([[0.05, 0, 0], [0, 0.01, 0], [0, 0, 0.3]])
    row = np.array([[0.5, 0.08, 0.02, 0.0, *np.eye(3).ravel(), 0, 0, 0, 7]])
    rows = np.repeat(row, 3, axis=0)
    rows[:, 13:16] = np.add(offsets, [centre.x, centre.y, centre.z])
    publisher.publish(grasp_array_message(header, Grasps.from_rows(rows)))
    answer = ros.call(client, MatchGrasps.Request(query="a mug", top_k=2))
    assert answer.status == R.OK, answer.message
    assert answer.grasps.header.frame_id == "dropclip_table"
    distances = [g.tip_distance for g in answer.grasps.grasps]
    assert distances == sorted(distances) and distances[0] < 0.03 and len(distances) == 2
    assert {"encoder", "match"} & {t.stage for t in answer.timing}
    assert ros.call(client, MatchGrasps.Request(query="\x07")).status == R.BAD_REQUEST
    publisher.publish(GraspArray(header=header))
    wait_until(lambda: ros.call(client, MatchGrasps.Request(query="a mug")).status == R.NO_GRASPS)
