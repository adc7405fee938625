# SPDX-License-Identifier: Apache-2.0
"""The command and the nodes rank alike: the same frame, the same phrases, the same objects and grasps in order."""

import json
from pathlib import Path

import numpy as np
import pytest
from ros_support import OPTICAL_FRAME, FakeCamera, ros  # noqa: F401

from dropclip_ros.cli import main
from dropclip_ros.nodes.grasp_matcher_node import GraspMatcherNode
from dropclip_ros.nodes.grounding_node import GroundingNode
from dropclip_ros.nodes.proposal_node import ProposalNode
from dropclip_ros.ros.common import MATCH_SERVICE, SERVICE_QOS
from dropclip_ros.ros.messages import pose_matrix
from dropclip_ros.srv import MatchGrasps
from dropclip_ros.vision.recordings import open_recording

FOLDER = Path(__file__).resolve().parents[2] / "demo" / "frame"
PHRASES = ("the red mug", "the hammer", "a banana")


@pytest.fixture(scope="module")
def asked(ros):
    """Answers of the nodes, by phrase."""
    patient = {"reliable": True, "max_frame_age": 0.0}
    ros.start(GroundingNode, **patient)
    ros.start(ProposalNode, max_rate=5.0, **patient)
    ros.start(GraspMatcherNode, max_stamp_difference=1e6, proposals_timeout=60.0, **patient)
    camera = FakeCamera(ros.node)
    camera.wait_for(subscribers=2, streams=("depth", "info"))
    camera.wait_for(subscribers=1, streams=("color",))
    camera.send(camera.messages(open_recording(FOLDER)[0]))
    client = ros.node.create_client(MatchGrasps, MATCH_SERVICE, qos_profile=SERVICE_QOS)
    requests = {phrase: MatchGrasps.Request(query=phrase, target_frame=OPTICAL_FRAME) for phrase in PHRASES}
    return {phrase: ros.call(client, request) for phrase, request in requests.items()}


def test_the_command_answers_as_the_nodes_do(asked, capsys):
    queries = [word for phrase in PHRASES for word in ("--query", phrase)]
    assert main(["ground", "--frames", str(FOLDER), *queries, "--json"]) == 0
    for answer in json.loads(capsys.readouterr().out):
        node = asked[answer["query"]]
        assert [found["id"] for found in answer["instances"]] == [found.id for found in node.objects]
        assert np.allclose([f["score"] for f in answer["instances"]], [f.score for f in node.objects], atol=1e-3)
        assert len(answer["grasps"]) == len(node.candidates) == 8
        for ours, theirs in zip(answer["grasps"], node.candidates, strict=True):
            tip = pose_matrix(theirs.grasp.tip.position, theirs.grasp.tip.orientation)[:3, 3]
            assert np.allclose(ours["tip"], tip, atol=1e-3)
            assert abs(ours["score"] - theirs.grasp.score) < 1e-3 and abs(ours["width"] - theirs.grasp.width) < 2e-3
