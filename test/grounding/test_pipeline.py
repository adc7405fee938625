# SPDX-License-Identifier: Apache-2.0
"""The main path on the recorded tabletop with the shipped model, from Python: good and bad input."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grounding.pipeline import Grounder
from dropclip_ros.vision.bags import load_bag_frame
from dropclip_ros.vision.geometry import invert_pose, is_rigid, transform_points

BAG = Path(__file__).resolve().parents[2] / "demo" / "tabletop"


@pytest.fixture(scope="module")
def frame():
    pytest.importorskip("rosbags", reason="rosbags is not installed (extra `ros`)")
    return load_bag_frame(BAG)


@pytest.fixture(scope="module")
def grounder():
    return Grounder.from_pretrained(device="cpu")


@pytest.fixture(scope="module")
def scene(grounder, frame):
    return grounder.encode(frame)


def color_of(scene, found):
    return np.median(scene.colors[found.points].astype(float), axis=0)


def test_features_that_are_no_numbers_are_the_models_fault_and_not_the_scenes(grounder, frame):
    broken = copy.copy(grounder)
    broken.encoder = copy.deepcopy(grounder.encoder)
    for tensor in broken.encoder.state_dict().values():
        if tensor.is_floating_point() and tensor.ndim > 1:
            tensor.fill_(float("nan"))
    with pytest.raises(DropclipError, match="not finite") as caught:
        broken.ground(broken.encode(frame), "the red mug")
    assert caught.value.status == Status.MODEL_ERROR


def test_the_red_mug_is_red_and_mug_sized(grounder, scene):
    best = grounder.ground(scene, "the red mug").objects[0]
    red, green, blue = color_of(scene, best)
    assert red > 2 * green and red > 2 * blue
    assert 0.05 < best.size.max() < 0.16
    inside = transform_points(invert_pose(best.box_pose), scene.points[best.points])
    assert is_rigid(best.box_pose) and (np.abs(inside) <= best.size / 2 + 1e-6).all()


def test_yellow_banana(grounder, scene):
    red, green, blue = color_of(scene, grounder.ground(scene, "the banana").objects[0])
    assert red > 1.5 * blue and green > 1.5 * blue


@pytest.mark.parametrize("query", ["a giraffe", "the sofa"])
def test_absent_things_are_not_found(grounder, scene, query):
    result = grounder.ground(scene, query)
    assert result.status == Status.NOT_FOUND and result.objects == [] and query in result.message


def test_asking_again_gives_the_same_and_costs_no_encoding(grounder, scene, frame):
    again = grounder.encode(frame)
    first, second = grounder.ground(scene, "the hammer"), grounder.ground(again, "the hammer")
    np.testing.assert_array_equal(first.scores, second.scores)


def test_a_pose_turns_up_and_does_not_move_answers(grounder, scene, frame):
    """With a camera pose the table must be level; answers stay in the camera frame."""
    pose = invert_pose(scene.table.frame)
    posed = grounder.encode(replace(frame, camera_pose=pose))
    np.testing.assert_allclose(posed.table.plane, scene.table.plane, atol=1e-3)
    upside_down = pose.copy()
    upside_down[1:3] *= -1
    with pytest.raises(DropclipError) as error:
        grounder.encode(replace(frame, camera_pose=upside_down))
    assert error.value.status == Status.NO_TABLE


def test_a_negative_like_the_query_does_not_cancel_it(grounder, scene):
    alone = grounder.ground(scene, "the red mug", mode="none")
    beside = grounder.ground(scene, "the red mug", negatives=["The Red Mug"])
    np.testing.assert_allclose(alone.scores, beside.scores)


@pytest.mark.parametrize(
    "arguments",
    [
        {"query": ""},
        {"query": "x" * 10_000},
        {"query": "mug\x07"},
        {"query": "mug", "threshold": 1.5},
        {"query": "mug", "threshold": float("nan")},
        {"query": "mug", "threshold": -0.1},
        {"query": "mug", "negatives": ["thing"] * 1000},
        {"query": "mug", "negatives": ["", "cup"]},
        {"query": "mug", "mode": "every"},
    ],
)
def test_bad_requests_are_named(grounder, scene, arguments):
    with pytest.raises(DropclipError) as error:
        grounder.ground(scene, **arguments)
    assert error.value.status == Status.BAD_REQUEST and error.value.message


def test_an_empty_table_is_an_empty_scene(grounder, make_tabletop):
    with pytest.raises(DropclipError) as error:
        grounder.encode(make_tabletop(boxes=(), spheres=()).frame)
    assert error.value.status == Status.EMPTY_SCENE


@pytest.mark.parametrize("query", ["the red mug", "a banana", "hammer", "something to drink from", "a giraffe"])
def test_a_phrase_of_one_thing_is_answered_as_a_whole(grounder, scene, query):
    read, whole = grounder.ground(scene, query), grounder.ground(scene, query, literal=True)
    np.testing.assert_array_equal(read.scores, whole.scores)
    assert read.status == whole.status and [o.id for o in read.objects] == [o.id for o in whole.objects]
    assert len(read.interpretation.parts) == 1


def test_a_relation_is_answered_by_where_things_are(grounder, scene):
    """In the picture the blue cup stands to the left of the red mug, the car to its right, the banana behind that."""
    banana, mug = (grounder.ground(scene, phrase).objects[0] for phrase in ("the banana", "the red mug"))
    answer = grounder.ground(scene, "the mug left of the banana")
    assert answer.status == Status.OK and answer.objects[0].id == mug.id and answer.objects[0].label == "mug"
    assert answer.interpretation.text == "mug, left (banana)"
    assert grounder.ground(scene, "the mug left of the banana", literal=True).objects[0].id == banana.id
    behind = grounder.ground(scene, "the thing behind the car")
    assert [found.id for found in behind.objects] == [banana.id]
    assert banana.id not in [found.id for found in grounder.ground(scene, "everything but the banana").objects]


def test_what_lacks_is_named_and_what_is_not_understood_said(grounder, scene):
    lacking = grounder.ground(scene, "the red mug left of the giraffe")
    assert lacking.status == Status.NOT_FOUND and "giraffe" in lacking.message and not lacking.objects
    refused = grounder.ground(scene, "la taza roja")
    assert refused.status == Status.UNSUPPORTED and "Spanish" in refused.message and not refused.scores.any()


def test_the_other_one_goes_back_to_the_last_answer(grounder, scene):
    first = grounder.ground(scene, "the leftmost object").objects[0]
    other = grounder.ground(scene, "everything else", previous=[first.id])
    assert len(other.objects) == scene.instances.max() - 1 and first.id not in [found.id for found in other.objects]


def test_a_viewer_across_the_table_sees_left_on_the_other_side(grounder, scene):
    ours = grounder.ground(scene, "the leftmost object").objects[0].id
    table = scene.table.frame.copy()  # camera_from_table
    across = np.eye(4)
    ahead = -np.array([*(invert_pose(table)[:2, 2]), 0.0])
    ahead /= np.linalg.norm(ahead)
    across[:3, 0], across[:3, 1], across[:3, 2] = ahead, np.cross([0, 0, 1], ahead), [0, 0, 1]
    assert grounder.ground(scene, "the rightmost object", viewer=table @ across).objects[0].id == ours
