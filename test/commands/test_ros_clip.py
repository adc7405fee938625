# SPDX-License-Identifier: Apache-2.0
"""A model that names by a CLIP alone, and the paper's scoring, served by the node."""

import pytest
from clip_support import make_clip
from rclpy.parameter import Parameter
from ros_support import FakeCamera, ros  # noqa: F401

from dropclip_ros.base.errors import Status
from dropclip_ros.cli import main
from dropclip_ros.nodes.grounding_node import GroundingNode
from dropclip_ros.ros.common import GROUND_SERVICE
from dropclip_ros.srv import Ground


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    make_clip(folder / "tiny")
    assert main(["model", "create", str(folder / "m"), "--tower", str(folder / "tiny")]) == 0
    return folder / "m"


def test_the_node_serves_it_with_the_paper_s_scoring(ros, model, make_tabletop):
    camera = FakeCamera(ros.node)
    settings = {"model": str(model), "device": "cpu", "reliable": True, "max_frame_age": 300.0}
    node = ros.start(GroundingNode, **settings, scoring="paper", negatives_mode="canonical", **{"table.mode": "ransac"})
    camera.wait_for()
    camera.send(camera.messages(make_tabletop().frame))
    client = ros.node.create_client(Ground, GROUND_SERVICE)
    answer = ros.call(client, Ground.Request(query="a mug", threshold=0.01))
    assert answer.status == Status.OK, answer.message
    assert len(answer.objects) == 1 and "image" in [stage.stage for stage in answer.timing]
    (refused,) = node.set_parameters([Parameter("scoring", value="softmax")])
    assert not refused.successful and "argmax" in refused.reason
    assert node.set_parameters([Parameter("scoring", value="instances")])[0].successful
    again = ros.call(client, Ground.Request(query="a mug", threshold=0.01))
    assert again.status == Status.OK and "image" not in [stage.stage for stage in again.timing]
