# SPDX-License-Identifier: Apache-2.0
"""A question back: who asked points at what was meant, where the preset has it."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no rclpy: the tests of nodes need ROS 2 or its wheels")

from std_msgs.msg import Header

from dropclip_ros.action import Grasp
from dropclip_ros.base.errors import Status
from dropclip_ros.msg import FoundObject, GraspCandidate
from dropclip_ros.ros.messages import cloud_message, image_message
from dropclip_ros.srv import Ground
from dropclip_ros.vision.geometry import Intrinsics
from training.trials.asking import Asker
from training.trials.presets import PRESETS
from training.trials.protocol import Asked

CAMERA = Intrinsics(100.0, 100.0, 20.0, 10.0, 40, 20)
LEFT, RIGHT = np.array([[-0.1, 0.0, 1.0]]), np.array([[0.1, 0.0, 1.0]])  # m, in the camera's frame


class Cell:
    """Two mugs, of which the phrase means one; who grounds cannot tell them apart."""

    def __init__(self):
        self.asked = []
        self.frames = SimpleNamespace(lookup=lambda *_: np.eye(4))

    def grasp(self, query, top_k, literal=False, previous=()):
        self.asked.append((query, tuple(previous)))
        if previous:
            return Grasp.Result(status=Status.OK, candidates=[GraspCandidate()])
        return Grasp.Result(status=Status.AMBIGUOUS, message="the left mug or the right one?")

    def ground(self, request):
        of = {7: LEFT, 8: RIGHT}
        found = [FoundObject(id=k, cloud=self._cloud(of[k])) for k in (request.previous or of)]
        return Ground.Response(status=Status.OK if request.previous else Status.AMBIGUOUS, objects=found)

    @staticmethod
    def _cloud(points):
        return cloud_message(Header(), points, np.zeros((1, 3)), np.ones(1))

    def labels(self, stamp):
        return np.where(np.arange(40) < 20, 1, 2)[None].repeat(20, 0)

    def newest(self, topic, since=0):
        return image_message(Header(), np.ones((20, 40), np.float32), "32FC1")

    def intrinsics(self):
        return CAMERA


@pytest.mark.parametrize(
    ("preset", "target", "status", "asked"),
    [
        ("shipped", "right", Status.AMBIGUOUS, [("the mug", ())]),
        ("replies", "right", Status.OK, [("the mug", ()), ("it", (8,))]),
        ("replies", "left", Status.OK, [("the mug", ()), ("it", (7,))]),
        ("replies", "none of them", Status.AMBIGUOUS, [("the mug", ())]),
    ],
)
def test_a_question_back_is_answered_where_the_preset_replies(preset, target, status, asked):
    cell, names = Cell(), ["left", "right", "none of them"]
    answer = Asker(cell, PRESETS[preset], truth=False).ask(Asked("the mug", (target,), 1), names, fresh=0)
    assert answer.status == status and cell.asked == asked
    assert answer.grounding.right == (status == Status.OK)
