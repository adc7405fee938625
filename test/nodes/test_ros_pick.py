# SPDX-License-Identifier: Apache-2.0
"""The program `pick`: nothing moves unless it is told to and somebody agrees; what went wrong is said."""

from dataclasses import replace

import numpy as np
import pytest
import ros_support  # noqa: F401  skips where ROS is missing
from std_msgs.msg import Header

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.client import Grasped, Grounded, Picked, Refused, SeenObject
from dropclip_ros.msg import GraspCandidate, Interpretation
from dropclip_ros.nodes import pick
from dropclip_ros.ros.arm.placing import put_down


def seen(label: str, doubtful: bool = False) -> SeenObject:
    none = np.zeros((0, 3), np.float32)
    return SeenObject(
        3, label, 0.8, -1.0, doubtful, np.array([0.1, 0.2, 0.05]), np.eye(4), np.ones(3), none, none, none, ()
    )


class Robot:
    """A client of a robot that is made up; keeps what it was asked to pick."""

    def __init__(self, wrong: Status | None = None):
        self.wrong, self.picked = wrong, []

    def ground(self, query, previous=()):
        if self.wrong == Status.AMBIGUOUS and not previous:
            several = tuple(replace(seen("mug"), id=id) for id in (4, 7))
            raise Refused(self.wrong, "2 objects fit: the left mug or the right one?", several, "the left mug ...?")
        self.asked = (query, tuple(previous))
        if self.wrong == Status.NOT_FOUND:
            raise DropclipError(self.wrong, f"no {query}")
        return Grounded((seen("mug", doubtful=True),), "world", 12.5, 0.5, "1 found", Interpretation())

    def grasp(self, query, top_k, previous=()):
        assert (query, tuple(previous)) == self.asked
        read = Interpretation(not_understood=["shiny"])
        return Grasped((GraspCandidate(),) * 2, Header(frame_id="base_link"), (seen("mug"),), "2 of 40", read)

    def pick(self, grasped):
        self.picked.append(grasped)
        if self.wrong and self.wrong != Status.AMBIGUOUS:
            raise DropclipError(self.wrong, "the gripper closed on nothing")
        return Picked(1, ("no path to it",), "holds something")

    def place(self, grasped, executed, to):
        assert grasped is self.picked[-1] and executed == 1
        self.placed = to
        return Picked(0, (), "put down")


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


def test_after_a_slip_it_looks_again_as_often_as_it_may():
    robot, said, asked = Robot(Status.SLIPPED), [], []
    assert (
        pick.run(robot, "the mug", True, lambda question: asked.append(question) or True, said.append, attempts=3) == 1
    )
    assert len(robot.picked) == len(asked) == 3 and sum("looking again" in line for line in said) == 2
    robot = Robot(Status.NO_PATH)
    assert pick.run(robot, "the mug", True, lambda _: True, said.append, attempts=3) == 1 and len(robot.picked) == 1


def test_what_was_picked_is_put_down_where_it_was_told():
    robot, said = Robot(), []
    assert pick.run(robot, "the mug", True, lambda _: True, said.append, place=(0.5, 0.1, 0.04)) == 0
    assert robot.placed == (0.5, 0.1, 0.04) and "put down at 0.500 0.100 0.040" in said[-1]


def test_a_place_is_the_pick_backwards_and_elsewhere():
    picked = GraspCandidate()
    picked.tool.position.z, picked.retreat.position.z, picked.grasp.tip.position.x = 0.3, 0.45, 0.2
    placed = put_down(picked, (0.1, -0.2, 0.01))
    assert (placed.tool.position.x, placed.tool.position.y) == (0.1, -0.2)
    assert placed.tool.position.z == pytest.approx(0.31) and placed.grasp.tip.position.x == pytest.approx(0.3)
    assert placed.pregrasp.position.z == placed.retreat.position.z == pytest.approx(0.46)
    assert picked.tool.position.x == 0.0  # as it was


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


@pytest.mark.parametrize(("chosen", "code", "asked"), [(2, 0, ("it", (7,))), (0, 1, None)])
def test_where_several_fit_the_person_says_which(chosen, code, asked):
    robot, said = Robot(Status.AMBIGUOUS), []
    counts = []
    choose = lambda count: counts.append(count) or chosen  # noqa: E731
    assert pick.run(robot, "the mug", True, lambda _: True, said.append, choose=choose) == code
    assert counts == [2] and "the left mug or the right one?" in said[0] and said[2].startswith("  2. mug")
    assert bool(robot.picked) == (code == 0) and getattr(robot, "asked", None) == asked


@pytest.mark.parametrize(("typed", "chosen"), [("2", 2), (" 1 ", 1), ("", 0), ("3", 0), ("0", 0), ("-1", 0), ("x", 0)])
def test_a_choice_is_one_of_those_there_are(monkeypatch, typed, chosen):
    monkeypatch.setattr("builtins.input", lambda _: typed)
    assert pick.choose(2) == chosen
