# SPDX-License-Identifier: Apache-2.0
"""Trials on a real table, with a robot and a person that are made up: rows and reasons are those of the simulator."""

import json

import numpy as np
import pytest
import ros_support  # noqa: F401  skips where ROS is missing
from std_msgs.msg import Header

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.client import Grasped, Grounded, Picked, SeenObject
from dropclip_ros.msg import GraspCandidate, Interpretation
from training.runs.errors import InputError
from training.trials.real import BOTH, NOTHING, TARGET, RealRunner, keyboard, read_phrases
from training.trials.report import write_report
from training.trials.results import ResultFile, read_results

LINES = """# laid by hand
scattered; class; the mug; mug
packed; attribute; the red cup; cup
mixed; class; a spoon; spoon
"""


class Robot:
    """A client whose `pick` moves, slips or finds nothing, by the phrase."""

    def __init__(self):
        self.picked = 0

    def ground(self, query):
        none = np.zeros((0, 3), np.float32)
        seen = SeenObject(1, "mug", 0.8, -1.0, False, np.zeros(3), np.eye(4), np.ones(3), none, none, none, ())
        return Grounded((seen,), "world", 0.0, 0.5, "1 found", Interpretation())

    def grasp(self, query, top_k):
        if "spoon" in query:
            raise DropclipError(Status.NO_GRASPS, "none fits")
        return Grasped((GraspCandidate(),) * 3, Header(frame_id="world"), (), "3", Interpretation())

    def pick(self, grasped):
        self.picked += 1
        return Picked(1, ("no path",), "holds something")


def person(up: str, may: str = "yes", right: str = "yes"):
    """Answers by what a question begins with."""

    def answer(question, choices):
        told = {"trial": "done", "is that": right, "may the arm": may, "what is up": up}
        (said,) = (words for beginning, words in told.items() if question.startswith(beginning))
        assert said in choices
        return said

    return answer


@pytest.fixture
def phrases(tmp_path):
    path = tmp_path / "phrases.txt"
    path.write_text(LINES)
    return read_phrases(path)


@pytest.mark.parametrize(
    "up, may, right, reasons, moved",
    [
        (TARGET, "yes", "yes", ["", "", "no grasp"], 2),
        (BOTH, "yes", "yes", ["wrong object"] * 2, 2),
        (NOTHING, "yes", "yes", ["slip"] * 2, 2),
        (NOTHING, "yes", "no", ["grounding"] * 2, 2),
        (NOTHING, "no", "yes", ["error"] * 2, 0),
    ],
)
def test_rows_and_reasons(tmp_path, phrases, up, may, right, reasons, moved):
    file, robot = ResultFile(tmp_path / "trials.csv"), Robot()
    results = list(RealRunner(robot, person(up, may, right), lambda _: None, "antipodal").run(phrases, file))
    file.close()
    assert [result.reason for result in results][: len(reasons)] == reasons and robot.picked == moved
    rows = read_results(tmp_path / "trials.csv")
    assert [(row.phrase, row.split, row.success) for row in rows] == [
        (phrase.text, "real", up == TARGET and phrase.target != "spoon") for phrase in phrases
    ]
    again = ResultFile(tmp_path / "trials.csv")
    left = list(RealRunner(robot, person(up, "no"), lambda _: None, "antipodal").run(phrases, again))
    again.close()
    assert len(left) == sum(result.reason == "error" for result in results)  # those are tried again
    write_report((tmp_path / "trials.csv",), tmp_path / "report")
    (setup,) = json.loads((tmp_path / "report.json").read_text())["setups"]
    assert setup["setup"]["split"] == "real" and setup["all"]["success"]["n"] == 3


@pytest.mark.parametrize("text", ["", "the mug\n", "heaped; class; the mug; mug\n", "packed; class; ; mug\n"])
def test_lists_that_make_no_sense_are_refused(tmp_path, text):
    path = tmp_path / "phrases.txt"
    path.write_text(text)
    with pytest.raises(InputError, match="clutter; family; phrase; target"):
        read_phrases(path)
    with pytest.raises(InputError):
        read_phrases(tmp_path / "nothing.txt")


def test_the_keyboard_is_asked_until_it_makes_sense(monkeypatch):
    said = iter(["maybe", "", "ye"])
    monkeypatch.setattr("builtins.input", lambda _: next(said))
    assert keyboard("?", ["no", "yes"]) == "no" and keyboard("?", ["no", "yes"]) == "yes"
