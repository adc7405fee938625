# SPDX-License-Identifier: Apache-2.0
"""Profiles of grippers: those that come along, and a user's own file."""

import os

import numpy as np
import pytest
import yaml

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grasping.grippers import FOLDER, GRIPPERS, ROBOTIQ_2F_140, Gripper, load_gripper


def write(path, **changes):
    values = yaml.safe_load((FOLDER / "robotiq_2f_140.yaml").read_text()) | changes
    path.write_text(yaml.safe_dump({key: value for key, value in values.items() if value is not None}))
    return path


def test_profiles_go_by_the_name_of_their_file():
    assert (
        {path.stem for path in FOLDER.glob("*.yaml")}
        == set(GRIPPERS)
        >= {"robotiq_2f_140", "robotiq_2f_85", "franka_hand"}
    )
    assert load_gripper("robotiq_2f_140") is ROBOTIQ_2F_140


def test_the_tips_of_a_linkage_advance_as_it_closes_and_those_of_slides_do_not():
    opening = np.linspace(0, 0.14, 9)
    reach = GRIPPERS["robotiq_2f_140"].tool_from_tip(opening)[:, 2, 3]
    assert (np.diff(reach) < 0).all() and reach[0] - reach[-1] == pytest.approx(0.0235, abs=1e-3)
    assert np.ptp(GRIPPERS["franka_hand"].tool_from_tip(opening)[:, 2, 3]) == 0


def test_without_a_table_the_body_ends_at_the_tool_frame():
    gripper = Gripper("own", 0.1, 0.05, 0.02, 0.01, ((0.1, 0.1, 0.1), (0.04, 0.05, 0.05)))
    assert gripper.tool_from_tip(np.array([0.03]))[0, 2, 3] == pytest.approx(0.19)


def test_a_users_own_profile_is_read_by_its_path(tmp_path):
    gripper = load_gripper(str(write(tmp_path / "mine.yaml", name="mine", max_width=0.12, closing=[1, 0, 0])))
    assert (gripper.name, gripper.max_width, gripper.closing) == ("mine", 0.12, (1.0, 0.0, 0.0))
    assert gripper.body == ROBOTIQ_2F_140.body


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_width": "wide"}, "max_width holds str; expected numbers"),
        ({"max_width": None}, "max_width"),
        ({"max_width": [0.1]}, "max_width"),
        ({"colour": "red"}, "found 1 others; expected only the fields name, max_width"),
        ({"body": [[0.1, 0.1]]}, "body"),
        ({"body": 0.2}, "body"),
        ({"approach": [0, 0, 2]}, "unit vectors"),
        ({"closing": [0, 0, 1]}, "right angle"),
        ({"closing": [1, 0]}, "profile"),
        ({"tip_distance": [[0.1, 0.2], [0.0, 0.2]]}, "growing opening"),
        ({"tip_distance": [[0.1]]}, "profile"),
        ({"finger_depth": float("nan")}, "finger_depth"),
    ],
)
def test_a_broken_profile_is_named_with_what_is_wrong(tmp_path, changes, words):
    path = write(tmp_path / "mine.yaml", **changes)
    with pytest.raises(DropclipError, match=words) as caught:
        load_gripper(str(path))
    assert caught.value.status == Status.BAD_REQUEST and str(path) in caught.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- 1\n- 2", "found list; expected only the fields"),
        ("{", "it is no whole YAML"),
        ("[" * 50_000, "it is no whole YAML"),
        ("a: " + "b" * 100_000, "expected at most 100000"),
        (None, "No such file"),
    ],
)
def test_what_is_no_profile_is_refused(tmp_path, text, words):
    path = tmp_path / "mine.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DropclipError, match=words):
        load_gripper(path)


@pytest.mark.parametrize(
    "text",
    ["root:x:0:0: secret line : here\n\t- x", "secret: 1", "max_width: secret", "- secret", "secret", "name: [secret"],
)
def test_what_is_said_of_a_file_does_not_quote_it(tmp_path, text):
    """Whoever may set the parameter names any file of the machine."""
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(DropclipError) as caught:
        load_gripper(path)
    assert "secret" not in caught.value.message


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(DropclipError, match="a pipe or a device"):
        load_gripper(tmp_path / "pipe.yaml")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(DropclipError, match="franka_hand"):
        load_gripper("claw")
