# SPDX-License-Identifier: Apache-2.0
"""Phrases of several parts through the service `ground`: the reading, ids, the viewer, the last answer."""

import numpy as np
import pytest
from ros_support import OPTICAL_FRAME, FakeCamera, model_folder, ros  # noqa: F401

from dropclip_ros.base.errors import Status
from dropclip_ros.nodes.grounding_node import GroundingNode
from dropclip_ros.ros.common import GROUND_SERVICE
from dropclip_ros.srv import Ground


@pytest.fixture(scope="module")
def ask(ros, model_folder, make_tabletop):
    camera = FakeCamera(ros.node)
    ros.start(GroundingNode, model=str(model_folder), device="cpu", reliable=True, max_frame_age=300.0, tf_timeout=0.3)
    camera.wait_for()
    client = ros.node.create_client(Ground, GROUND_SERVICE)
    header = camera.send(camera.messages(make_tabletop().frame))

    def call(query, **fields) -> Ground.Response:
        return ros.call(client, Ground.Request(query=query, **fields))

    call.camera, call.stamp = camera, header.stamp
    return call


def test_ids_and_the_reading_come_with_the_answer(ask):
    every = ask("everything")
    ids = [found.id for found in every.objects]
    assert every.status == Status.OK and sorted(ids) == list(range(1, len(ids) + 1))
    left = ask("the leftmost object")
    assert left.status == Status.OK and len(left.objects) == 1 and left.interpretation.text == "object, leftmost"
    parts = left.interpretation.parts
    assert [part.kind for part in parts] == ["head", "order"] and list(parts[1].object_ids) == sorted(ids)
    assert max(zip(parts[1].scores, parts[1].object_ids, strict=True))[1] == left.objects[0].id


def test_the_last_answer_is_passed_on(ask):
    left = ask("the leftmost object").objects[0].id
    others = ask("everything else", previous=[left])
    assert left not in [found.id for found in others.objects] and others.status == Status.OK
    assert [found.id for found in ask("it", previous=[left]).objects] == [left]
    assert ask("everything else").status == Status.UNSUPPORTED


def test_refusals_say_what_is_not_understood(ask):
    for query, word in (("la taza roja", "Spanish"), ("the heaviest object", "heaviest"), ("a box left of", "left of")):
        refused = ask(query)
        assert refused.status == Status.UNSUPPORTED and word in refused.message and not refused.objects


def test_literal_compares_the_whole(ask):
    assert len(ask("the leftmost object", literal=True, threshold=0.01).interpretation.parts) == 1


def test_another_viewer_has_another_left(ask, ros):
    """A body on the other side of the table: its x points back at the camera, its z up."""
    guest = np.eye(4)
    guest[:3] = [[0, 1, 0, 0], [0, 0, -1, 0], [-1, 0, 0, 2]]
    ask.camera.send_transform(ask.stamp, OPTICAL_FRAME, "guest", guest)
    right = ask("the rightmost object").objects[0].id
    answer = ask("the leftmost object", viewer_frame="guest")
    assert answer.status == Status.OK and answer.objects[0].id == right
    assert ask("the leftmost object", viewer_frame="nobody").status == Status.TF_ERROR


def test_the_last_answer_is_found_again_in_a_new_frame(ask, make_tabletop):
    left = ask("the leftmost object").objects[0]
    ask.camera.send(ask.camera.messages(make_tabletop().frame))
    again = ask("it", previous=[left.id])
    assert again.status == Status.OK and len(again.objects) == 1
    assert abs(again.objects[0].centre.x - left.centre.x) < 0.02
    assert ask("it", previous=[99]).status == Status.BAD_REQUEST
