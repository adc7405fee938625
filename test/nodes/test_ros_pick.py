# SPDX-License-Identifier: Apache-2.0
"""The program `pick`: nothing moves unless it is told to and somebody agrees; what went wrong is said."""

import numpy as np
import pytest
import ros_support  # noqa: F401  skips where ROS is missing
from std_msgs.msg import Header

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.client import Grasped, Grounded, Picked, SeenObject
from dropclip_ros.msg import GraspCandidate, Interpretation
from dropclip_ros.nodes import pick


def seen(label: str, doubtful: bool = False) -> SeenObject:
    none = np.zeros((0, 3), np.float32)
    return SeenObject(
        3, label, 0.8, -1.0, doubtful, np.array([0.1, 0.2, 0.05]), np.eye(4), np.ones(3), none, none, none, ()
    )


class Robot:
    """A client of a robot that is made up; keeps what it was asked to pick."""

    def __init__(self, wrong: Status | None = None):
        self.wrong, self.picked = wrong, []

    def ground(self, query):
        if self.wrong == Status.NOT_FOUND:
            raise DropclipError(self.wrong, f"no {query}")
        return Grounded((seen("mug", doubtful=True),), "world", 12.5, 0.5, "1 found", Interpretation())

    def grasp(self, query, top_k):
        read = Interpretation(not_understood=["shiny"])
        return Grasped((GraspCandidate(),) * 2, Header(frame_id="base_link"), (seen("mug"),), "2 of 40", read)

    def pick(self, grasped):
        self.picked.append(grasped)
        if self.wrong:
            raise DropclipError(self.wrong, "the gripper closed on nothing")
        return Picked(1, ("no path to it",), "holds something")


@pytest.mark.parametrize(
    "execute, agrees, wrong, code, moved, words",
    [
        (False, True, None, 0, 0, "nothing has moved: --execute"),
        (True, False, None, 1, 0, "nothing has moved"),
        (True, True, None, 0, 1, "candidate 2: holds something"),
        (True, True, Status.SLIPPED, 1, 1, "SLIPPED"),
        (True, True, Status.NOT_FOUND, 1, 0, "NOT_FOUND"),
    ],
)
def test_what_moves_and_what_is_said(execute, agrees, wrong, code, moved, words):
    robot, said, asked = Robot(wrong), [], []
    ended = pick.run(robot, "the mug", execute, lambda question: asked.append(question) or agrees, said.append)
    assert (ended, len(robot.picked)) == (code, moved) and words in said[-1]
    assert bool(asked) == (execute and wrong != Status.NOT_FOUND)
    if wrong != Status.NOT_FOUND:
        assert any("doubtful" in line for line in said) and any("shiny" in line for line in said)


def test_no_keyboard_is_a_no(monkeypatch):
    def nobody(_):
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)
    assert not pick.ask("pick?")


def test_it_moves_nothing_by_default_and_refuses_words_that_make_no_sense():
    args = pick.arguments(["the mug"])
    assert not args.execute and not args.yes
    for words in ([], ["the mug", "--top-k", "300"], ["the mug", "--timeout", "0"]):
        with pytest.raises(SystemExit) as ended:
            pick.arguments(words)
        assert ended.value.code == 2
