# SPDX-License-Identifier: Apache-2.0
"""The scene map over DDS: `Ground` with source 1 answers from all frames."""

import numpy as np
import pytest
from ros_support import OPTICAL_FRAME, FakeCamera, model_folder, ros, wait_until  # noqa: F401

from dropclip_ros.base.errors import Status
from dropclip_ros.nodes.scene_node import SceneNode
from dropclip_ros.ros.common import GROUND_SERVICE
from dropclip_ros.ros.map_keeper import spheres_of
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


@pytest.mark.parametrize("text", ["hand", "hand 0 0 0", "hand 0 0 0 -1", "hand 0 0 nan 0.1", "hand a b c d"])
def test_spheres_of_the_body_that_make_no_sense(text):
    with pytest.raises(ValueError, match="map_body"):
        spheres_of(text)


def test_a_source_that_is_none(setup, ros):
    client = ros.node.create_client(Ground, GROUND_SERVICE)
    answer = ros.call(client, Ground.Request(query="a mug", source=7))
    assert answer.status == Status.BAD_REQUEST and "SOURCE_MAP" in answer.message
