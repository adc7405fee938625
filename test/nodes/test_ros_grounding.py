# SPDX-License-Identifier: Apache-2.0
"""The service `ground` over real DDS: what a good request gets (for bad ones see test_ros_bad_input.py)."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from ros_support import AS_IN_A7, OPTICAL_FRAME, FakeCamera, model_folder, ros, wait_until  # noqa: F401
from sensor_msgs.msg import Image, PointCloud2
from visualization_msgs.msg import MarkerArray

from dropclip_ros.base.errors import Status
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.msg import GraspArray
from dropclip_ros.nodes.grasp_matcher_node import GraspMatcherNode
from dropclip_ros.nodes.grounding_node import GroundingNode
from dropclip_ros.ros.common import (
    GRASPS_TOPIC,
    GROUND_SERVICE,
    MATCH_SERVICE,
)
from dropclip_ros.ros.grasp_messages import grasp_array_message
from dropclip_ros.ros.messages import cloud_points, image_to_numpy, nanoseconds
from dropclip_ros.srv import Ground, MatchGrasps
from dropclip_ros.vision.geometry import transform_points

R = Status
ANYTHING = 0.01  # a threshold that everything passes with random weights


@pytest.fixture(scope="module")
def setup(ros, model_folder):
    camera = FakeCamera(ros.node)
    ros.start(
        GroundingNode,
        model=str(model_folder),
        device="cpu",
        reliable=True,
        frame_timeout=0.4,
        tf_timeout=0.3,
        max_frame_age=300.0,
    )
    camera.wait_for()
    client = ros.node.create_client(Ground, GROUND_SERVICE)

    def ask(query="the red boxes", threshold=ANYTHING, **fields) -> Ground.Response:
        return ros.call(client, Ground.Request(query=query, threshold=threshold, **fields))

    yield camera, ask


@pytest.fixture(scope="module")
def tabletop(make_tabletop):
    return make_tabletop()


@pytest.fixture
def scene(setup, tabletop):
    """A good frame has just been seen; gives its header and the function that asks."""
    camera, ask = setup
    return show(camera, ask, camera.messages(tabletop.frame)), ask


def show(camera, ask, messages):
    """Sends a frame and waits until the node holds it."""
    header = camera.send(messages)
    wait_until(lambda: ask(stamp=header.stamp).status not in (R.NO_FRAME, R.STALE_FRAME))
    return header


def test_before_any_frame_and_then_found(setup, tabletop):
    camera, ask = setup
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
    assert (points[:, 2] > -0.01).all() and (points[:, 2] < 0.2).all()  # above the table, which is z = 0
    assert best.box_size.z > 0 and abs(best.box_pose.position.z - points[:, 2].mean()) < 0.1
    assert 0 < answer.threshold < 1


def test_a_frame_asked_for_by_its_stamp_is_waited_for_though_its_neighbour_is_there(setup, tabletop):
    """Two frames within pair_tolerance, as a fast camera sends them: the first does not answer for the second."""
    camera, ask = setup
    first, second = (camera.messages(tabletop.frame, age=age) for age in (0.011, 0.001))
    show(camera, ask, first)
    later = threading.Timer(0.1, camera.send, [second])
    later.start()
    answer = ask(stamp=second["color"].header.stamp)
    later.join()
    assert answer.status == R.OK and answer.header.stamp == second["color"].header.stamp, answer.message


def test_a_frame_is_encoded_once(scene):
    _, ask = scene
    first = {t.stage for t in ask(query="a cup").timing}
    again = {t.stage: t.milliseconds for t in ask(query="a plate").timing}
    assert "encoder" not in again and {"text", "similarity", "objects", "messages"} <= set(again) <= first | {"text"}


def test_an_encoded_frame_answers_for_newer_ones_as_long_as_it_is_told(ros, setup, tabletop):
    camera, ask = setup
    client = ros.node.create_client(SetParameters, "grounding_node/set_parameters")

    def reuse(seconds: float) -> None:
        parameters = [Parameter("reuse_time", value=seconds).to_parameter_msg()]
        assert ros.call(client, SetParameters.Request(parameters=parameters)).results[0].successful

    reuse(100.0)
    first = show(camera, ask, camera.messages(tabletop.frame))  # asked for by its stamp: encoded
    second = camera.send(camera.messages(tabletop.frame))
    wait_until(lambda: ask(stamp=second.stamp, target_frame="nowhere").status == R.TF_ERROR)  # held, not encoded
    assert ask().header.stamp == first.stamp
    reuse(0.0)
    assert ask().header.stamp == second.stamp


def test_answers_in_a_world_frame_are_where_things_are(setup, scene, tabletop):
    camera, _ = setup
    header, ask = scene
    camera.send_transform(header.stamp, "world", OPTICAL_FRAME, tabletop.frame.camera_pose)
    in_world = ask(target_frame="world")
    in_camera = ask(target_frame=OPTICAL_FRAME)
    assert in_world.status == in_camera.status == R.OK, in_world.message
    assert in_world.header.frame_id == "world"
    expected = transform_points(tabletop.frame.camera_pose, cloud_points(in_camera.objects[0].cloud))
    assert np.allclose(cloud_points(in_world.objects[0].cloud), expected, atol=1e-4)


def test_objects_have_their_place_in_the_image_and_a_mask_where_it_is_asked_for(scene, tabletop):
    header, ask = scene
    plain, masked = (ask(stamp=header.stamp, masks=masks).objects for masks in (False, True))
    assert plain and not any(len(found.mask.data) for found in plain)
    for found in masked:
        roi, mask = found.roi, image_to_numpy(found.mask)
        assert mask.shape == (roi.height, roi.width) and set(np.unique(mask)) <= {0, 255}
        assert (mask > 0).sum() == found.cloud.width and mask[0].any() and mask[:, -1].any()
        window = slice(roi.y_offset, roi.y_offset + roi.height), slice(roi.x_offset, roi.x_offset + roi.width)
        assert (tabletop.labels[window][mask > 0] > 1).mean() > 0.9  # on objects, not on the table


NAMES = ("cup", "lemon", "apple", "banana", "spoon", "bowl", "can", "bottle", "plate", "book")


def test_requests_that_wait_share_one_frame_as_new_as_they_are(setup, scene, tabletop):
    """Ten at once while a camera goes on: each would otherwise bring an encoding, of ever newer frames."""
    camera, ask = setup
    over = threading.Event()

    def film() -> None:
        while not over.wait(0.03):
            camera.send(camera.messages(tabletop.frame))

    filming = threading.Thread(target=film)
    filming.start()
    time.sleep(0.2)
    with ThreadPoolExecutor(10) as clients:
        begun = camera.now()
        answers = list(clients.map(lambda k: ask(query=f"{k}s"), NAMES))
    over.set()
    filming.join()
    assert all(answer.status == R.OK for answer in answers), [answer.message for answer in answers]
    stamps = [nanoseconds(answer.header.stamp) for answer in answers]
    assert len(set(stamps)) <= 4
    assert min(stamps) > begun - 3e8  # none is older than when it was asked for, but for what was under way


def test_not_found_is_an_answer(scene):
    _, ask = scene
    answer = ask(threshold=0.99)
    assert answer.status == R.NOT_FOUND and not answer.objects and "0.99" in answer.message


def test_a_negative_that_equals_the_query_is_left_out(scene):
    _, ask = scene
    custom = {"negatives_mode": Ground.Request.NEGATIVES_CUSTOM}
    assert ask("mugs", negatives=["Mugs", "mugs "], **custom).status == R.OK
    assert ask("mugs", negatives_mode=Ground.Request.NEGATIVES_NONE).status == R.OK
    assert ask("mugs", negatives_mode=Ground.Request.NEGATIVES_SCENE).status == R.OK


def test_pictures_for_people(ros, setup, scene):
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


def test_the_frame_encoded_last_can_be_asked_about_for_as_long_as_it_is(setup, tabletop):
    camera, ask = setup
    header = show(camera, ask, camera.messages(tabletop.frame))
    for _ in range(25):  # more than the node holds
        last = camera.send(camera.messages(tabletop.frame))
        time.sleep(0.02)
    wait_until(lambda: ask(stamp=last.stamp, target_frame="nowhere").status == R.TF_ERROR)  # held, not encoded
    assert ask(stamp=header.stamp).status == R.OK
    assert ask(stamp=last.stamp).status == R.OK
    assert ask(stamp=header.stamp).status == R.STALE_FRAME


def test_a_phrase_becomes_grasps(ros, setup, tabletop):
    """The whole path: the matcher asks Ground, and carries proposals from the camera's frame to the answer's."""
    camera, ask = setup
    ros.start(GraspMatcherNode, tf_timeout=2.0, max_distance=10.0, **AS_IN_A7)
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
