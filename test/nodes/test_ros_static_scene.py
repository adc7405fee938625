# SPDX-License-Identifier: Apache-2.0
"""The service `ground` on a static scene, without any camera, over DDS."""

import numpy as np
import pytest
from ros_support import ros  # noqa: F401
from static_support import BLUE, RED, grounder, static  # noqa: F401

from dropclip_ros.base.errors import Status
from dropclip_ros.nodes.grounding_node import GroundingNode
from dropclip_ros.ros.common import GROUND_SERVICE, TABLE_FRAME
from dropclip_ros.srv import Ground


@pytest.fixture(scope="module")
def ask(ros, static, tmp_path_factory):
    path = tmp_path_factory.mktemp("static") / "scene.safetensors"
    static.save(path)
    ros.start(GroundingNode, static_scene=str(path), world_frame="world", device="cpu", tf_timeout=0.2)
    client = ros.node.create_client(Ground, GROUND_SERVICE)
    return lambda query, **fields: ros.call(client, Ground.Request(query=query, **fields))


def test_answers_come_in_the_world_or_on_the_table(ask):
    for query, middle in ((RED, (0.85, 2.0)), (BLUE, (1.14, 2.01))):
        answer = ask(query)
        assert (answer.status, answer.header.frame_id) == (Status.OK, "world"), answer.message
        (found,) = answer.objects
        np.testing.assert_allclose((found.centre.x, found.centre.y), middle, atol=0.01)
        assert 0.7 < found.centre.z < 0.8
        (found,) = ask(query, target_frame=TABLE_FRAME).objects
        assert 0 < found.centre.z < 0.08
    assert ask("a giraffe").status == Status.NOT_FOUND


def test_a_frame_that_nobody_knows(ask):
    answer = ask(RED, target_frame="mars")
    assert answer.status == Status.TF_ERROR and "mars" in answer.message
