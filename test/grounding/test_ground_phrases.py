# SPDX-License-Identifier: Apache-2.0
"""Trees judged on boxes of known names and places: relations, orders, numbers, negations, and what lacks."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.grounding.interpretation import Interpretation, texts_of
from dropclip_ros.grounding.phrases import Judge
from dropclip_ros.grounding.relations import CLEAR, FURTHER_UP, Layout, Viewer
from dropclip_ros.language.parse import read_phrase
from dropclip_ros.language.tree import Node, Union
from dropclip_ros.language.words import singular

CAMERA = np.array([[1.0, 0, 0, 0], [0, 0, 1, -0.8], [0, -1, 0, 0.3], [0, 0, 0, 1]])  # looks along y, from the front
# name: middle x, y, bottom z, size x, y, z (m); x to the right of the camera, y away from it
TABLE = {
    "red mug": (-0.20, 0.00, 0.00, 0.08, 0.08, 0.10),
    "blue mug": (0.20, 0.00, 0.00, 0.08, 0.08, 0.12),
    "banana": (0.00, 0.00, 0.00, 0.15, 0.04, 0.04),
    "plate": (0.00, 0.25, 0.00, 0.20, 0.20, 0.02),
    "apple": (0.00, 0.25, 0.02, 0.07, 0.07, 0.07),
    "book": (-0.32, 0.25, 0.00, 0.20, 0.15, 0.03),
    "green mug": (-0.32, 0.25, 0.03, 0.08, 0.08, 0.09),
    "hammer": (0.30, -0.20, 0.00, 0.25, 0.05, 0.03),
}
NAMES = list(TABLE)
GROUPS = {"fruit": ("banana", "apple"), "tool": ("hammer",)}


def box_points(middle_x, middle_y, bottom, size_x, size_y, size_z, step=0.01):
    """The surface of a box, as voxels of 1 cm."""
    axes = [np.arange(-size / 2, size / 2 + step / 2, step) for size in (size_x, size_y, size_z)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    edge = (np.abs(grid) > np.array([size_x, size_y, size_z]) / 2 - step).any(axis=1)
    return grid[edge] + (middle_x, middle_y, bottom + size_z / 2)


def layout_of(table=TABLE, viewer=None):
    parts = [box_points(*box) for box in table.values()]
    labels = np.concatenate([np.full(len(part), k) for k, part in enumerate(parts, 1)])
    return Layout(np.concatenate(parts), labels, viewer or Viewer.of_camera(CAMERA))


LAYOUT = layout_of()


def true_scores(text):
    """As a perfect model would score: 0.95 where all words are said of the thing, 0.02 elsewhere."""
    words = {singular(word) for word in text.split()} - {"object", "the", "tall"}
    said = [{*name.split(), *(group for group, of in GROUPS.items() if name in of)} for name in NAMES]
    return np.array([0.95 if words <= of else 0.02 for of in said])


def answer(phrase, previous=(), viewer=None, layout=None):
    read = read_phrase(phrase)
    assert read.reading is not None, read.unsupported
    judge = Judge(layout or layout_of(viewer=viewer), true_scores, 0.5, 0.5, previous)
    assert len(texts_of(read.reading)) <= 20
    return judge.judge(read)


def names(judged):
    return [NAMES[k - 1] for k in judged.chosen]


@pytest.mark.parametrize(
    ("phrase", "meant"),
    [
        ("the mug left of the banana", ["red mug"]),
        ("the mug to the right of the banana", ["blue mug"]),
        ("the thing behind the banana", ["plate", "apple"]),
        ("the object in front of the blue mug", ["hammer"]),
        ("the mug on the book", ["green mug"]),
        ("the thing on the plate", ["apple"]),
        ("the thing under the apple", ["plate"]),
        ("the object under the mug", ["book"]),
        ("the fruit between the mugs", ["banana"]),
        ("the thing between the red mug and the blue mug", ["banana"]),
        ("the mug closest to the hammer", ["blue mug"]),
        ("the mug farthest from the hammer", ["green mug"]),
        ("the leftmost mug on the table", ["green mug"]),
        ("the rightmost thing", ["hammer"]),
        ("the second mug from the left", ["red mug"]),
        ("the tallest mug", ["blue mug"]),
        ("the shorter of the two mugs next to the banana", ["red mug"]),
        ("the mug closest to me", ["red mug", "blue mug"]),
        ("the mug that is not red", ["blue mug", "green mug"]),
        ("the mug that is not on the book and not left of the banana", ["blue mug"]),
        ("the largest object", ["book"]),
        ("all the fruit", ["banana", "apple"]),
        ("everything left of the banana", ["red mug", "book", "green mug"]),
        ("every mug except the green one", ["red mug", "blue mug"]),
        ("the apple and the hammer", ["apple", "hammer"]),
        ("the two mugs next to the banana", ["red mug", "blue mug"]),
        ("all mugs not on the book", ["red mug", "blue mug"]),
        ("the plate with the apple", ["plate"]),
        ("the plate without the banana", ["plate"]),
    ],
)
def test_phrases_mean_what_lies_there(phrase, meant):
    assert sorted(names(answer(phrase))) == sorted(meant)


def test_a_landmark_is_never_the_answer():
    for phrase in ("the mug left of the banana", "the thing next to the banana", "the thing nearest the banana"):
        assert "banana" not in names(answer(phrase))


@pytest.mark.parametrize(
    ("phrase", "lacks", "is_there"),
    [
        ("the mug left of the orange", "orange", "mug"),
        ("the spoon left of the banana", "spoon", None),
        ("the mug under the plate", "under", "mug"),
        ("the fifth mug from the left", "only 3", None),
        ("the mug between the banana and the spoon", "spoon", "mug"),
    ],
)
def test_what_lacks_is_named(phrase, lacks, is_there):
    judged = answer(phrase)
    assert judged.status == Status.NOT_FOUND and judged.chosen == []
    assert lacks in judged.message and (is_there is None or f"there is a {is_there}" in judged.message)


@pytest.mark.parametrize("phrase", ["a mug without a handle", "the mug without a lid or a handle", "without a handle"])
def test_a_part_that_may_be_missing_is_not_judged(phrase):
    judged = answer(phrase)
    assert judged.status == Status.UNSUPPORTED and judged.chosen == [] and "a part is missing" in judged.message


def test_several_that_fit_are_listed_with_a_question():
    judged = answer("the mug next to the banana")
    assert judged.status == Status.AMBIGUOUS and sorted(names(judged)) == ["blue mug", "red mug"]
    assert judged.interpretation.question == "the left mug or the right one?"
    assert judged.interpretation.question in judged.message
    many = answer("the object behind the red mug").interpretation.question
    assert many.startswith("which object of these ") and "counted from the left" in many
    assert answer("a mug next to the banana").status == Status.OK
    assert answer("the mugs next to the banana").status == Status.OK


@pytest.mark.parametrize(("phrase", "meant"), [("the mug on the table", True), ("the one left of the banana", False)])
def test_how_far_left_things_are_does_not_say_which_is_meant(phrase, meant):
    """A lead in names decides, one in places does not."""
    judge = Judge(LAYOUT, true_scores, 0.5, 0.5)
    scores = np.array([0.99, 0.95, *[0.0] * (len(NAMES) - 2)])
    judged = judge._settled(read_phrase(phrase).reading, [1, 2], scores, Interpretation())
    assert judged.status == (Status.OK if meant else Status.AMBIGUOUS)
    assert judged.chosen == ([1] if meant else [1, 2])


def judge_mugs(first, second, phrase="the mug on the table", **how):
    """A phrase about a mug, where the red one has a score and the blue one another."""
    score = {"red mug": first, "blue mug": second, "green mug": 0.0}

    def scores(text):
        return np.array([score.get(name, 0.0) for name in NAMES]) if "mug" in text else true_scores(text)

    return Judge(LAYOUT, scores, 0.01, 0.5, **how).judge(read_phrase(phrase))


def test_what_only_a_low_threshold_lets_in_is_no_second():
    for first, second, status in ((0.7, 0.6, Status.AMBIGUOUS), (0.5, 0.4, Status.OK)):
        judged = judge_mugs(first, second, "the mug next to the banana", sure=0.5)
        assert judged.status == status and names(judged) == ["red mug", "blue mug"]


@pytest.mark.parametrize(
    ("first", "second", "meant"),
    [(0.8, 0.5, ["red mug"]), (0.98, 0.9, ["red mug"]), (0.8, 0.7, None), (1.0, 1.0, None)],
)
def test_a_clear_lead_is_answered_and_a_narrow_one_asked_back(first, second, meant):
    judged = judge_mugs(first, second)
    assert judged.status == (Status.OK if meant else Status.AMBIGUOUS)
    assert names(judged) == (meant or ["red mug", "blue mug"])
    assert judged.message.startswith("1 found" if meant else "2 objects fit")


@pytest.mark.parametrize(("second", "status"), [(0.5, Status.OK), (0.7, Status.UNSUPPORTED)])
def test_what_lies_in_none_is_answered_by_features_alone_where_one_leads(second, status):
    judged = judge_mugs(0.8, second, "the mug with ice in it")
    assert judged.status == status and names(judged) == (["red mug"] if status == Status.OK else [])


DISHES = {
    "left bowl": (-0.25, 0.10, 0.00, 0.12, 0.12, 0.05),
    "right bowl": (0.25, 0.10, 0.00, 0.12, 0.12, 0.05),
    "egg": (-0.25, 0.10, 0.05, 0.04, 0.04, 0.05),
    "low bottle": (-0.05, -0.10, 0.00, 0.20, 0.06, 0.06),
    "high bottle": (0.20, -0.15, 0.00, 0.06, 0.06, 0.20),
    "small box": (-0.30, -0.20, 0.00, 0.05, 0.05, 0.05),
    "medium box": (0.00, 0.30, 0.00, 0.10, 0.10, 0.10),
    "large box": (0.30, 0.35, 0.00, 0.18, 0.18, 0.18),
}


@pytest.mark.parametrize(
    ("phrase", "meant"),
    [
        ("the empty bowl", "right bowl"),
        ("the full bowl", "left bowl"),
        ("the upright bottle", "high bottle"),
        ("the fallen bottle", "low bottle"),
        ("the medium sized box", "medium box"),
        ("the small box", "small box"),
        ("the big box", "large box"),
    ],
)
def test_states_and_sizes_are_judged_beside_others_of_the_kind(phrase, meant):
    def scores(text):
        return np.array([0.9 if name.split()[-1] == singular(text.split()[-1]) else 0.0 for name in DISHES])

    read = read_phrase(phrase)
    judge = Judge(layout_of(DISHES), scores, 0.5, 0.5)
    judged = judge.choose(read.reading, scores(phrase), None) if read.whole else judge.judge(read)
    assert judged.status == Status.OK and [list(DISHES)[k - 1] for k in judged.chosen] == [meant]


def test_other_and_it_go_back_to_the_last_answer():
    red, blue = NAMES.index("red mug") + 1, NAMES.index("blue mug") + 1
    assert names(answer("the other mug next to the banana", previous=[red])) == ["blue mug"]
    assert names(answer("it", previous=[blue])) == ["blue mug"]
    assert names(answer("the fruit left of it", previous=[blue])) == ["banana"]
    with pytest.raises(DropclipError, match=r"BAD_REQUEST.*no object 0, 99 here"):
        answer("the other mug", previous=[red, 99, 0])
    judged = answer("the other mug")
    assert judged.status == Status.UNSUPPORTED and "previous" in judged.message


def test_left_and_right_are_the_viewers():
    facing = np.array([[0.0, 1, 0, 0], [-1, 0, 0, 2], [0, 0, 1, 0], [0, 0, 0, 1]])  # across the table, looks along -y
    assert names(answer("the mug left of the banana", viewer=Viewer.of_frame(facing))) == ["blue mug"]
    assert names(answer("the thing in front of the plate", viewer=Viewer.of_frame(facing))) == []
    down = np.array([[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 1.5], [0, 0, 0, 1]])
    assert names(answer("the mug left of the banana", viewer=Viewer.of_camera(down))) == ["red mug"]


def test_every_part_has_its_scores():
    parts = answer("the mug left of the banana").interpretation.parts
    assert [(part.kind, part.parent) for part in parts] == [("head", -1), ("head", 0), ("relation", 0)]
    assert all(part.ids == tuple(range(1, len(NAMES) + 1)) and len(part.scores) == len(NAMES) for part in parts)


def test_the_same_is_answered_again():
    first, second = (answer("the mug next to the banana") for _ in range(2))
    assert first.chosen == second.chosen and first.interpretation == second.interpretation


SAID = [
    *{word for name in NAMES for word in name.split()},
    "the",
    "a",
    "two",
    "all",
    "left of",
    "next to",
    "behind",
    "on",
]
SAID += [
    "under",
    "between",
    "and",
    "or",
    "not",
    "but",
    "nearest",
    "leftmost",
    "second",
    "other",
    "it",
    "with",
    "in",
    ",",
]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(SAID), min_size=1, max_size=10).map(" ".join), st.sampled_from([(), (1, 3)]))
def test_random_words_never_answer_what_is_not_named(phrase, previous):
    read = read_phrase(phrase)
    if read.reading is None or read.whole:
        return
    judged = Judge(LAYOUT, true_scores, 0.5, 0.5, previous).judge(read)
    nodes = read.reading.options if isinstance(read.reading, Union) else (read.reading,)
    for k in judged.chosen:
        assert any(not node.text or said_with_part(node, k) for node in nodes), (phrase, NAMES[k - 1])


def said_with_part(node, k):
    """Whether the thing's name is true of it, or its name with what is said of its parts."""
    own = replace(node, excluded=(), relations=tuple(replace(r, landmarks=(Node(),)) for r in node.relations))
    return any(true_scores(text)[k - 1] > 0.5 for text in texts_of(own))


OPPOSITE = {"left": "right", "front": "behind", "under": "above"}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.floats(0, 0.2)), min_size=2, max_size=5, unique=True
    ),
    st.floats(0, 2 * np.pi),
)
def test_relations_have_opposites_and_turn_with_the_viewer(places, angle):
    table = {str(k): (*place, 0.06, 0.06, 0.06) for k, place in enumerate(places)}
    layout = layout_of(table)
    for name, other in OPPOSITE.items():
        for a in range(layout.count):
            for b in range(layout.count):
                assert (layout.relation(name, a)[b] >= CLEAR) <= (layout.relation(other, b)[a] > 0) or a == b
    turned = np.eye(4)
    turned[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    around = Layout(layout_points(table) @ turned[:3, :3].T, layout_labels(table), Viewer.of_camera(turned @ CAMERA))
    for name in ("left", "behind", "next_to", "above"):
        np.testing.assert_allclose(around.relation(name, 0), layout.relation(name, 0), atol=0.12)


def layout_points(table):
    return np.concatenate([box_points(*box) for box in table.values()])


def layout_labels(table):
    return np.concatenate([np.full(len(box_points(*box)), k) for k, box in enumerate(table.values(), 1)])


@pytest.mark.parametrize(
    ("phrase", "meant"),
    [
        ("the mug taller than the red mug", ["blue mug"]),
        ("the mug closer to me than the plate", ["red mug", "blue mug"]),
        ("the tall mug next to the banana", ["blue mug"]),
        ("the mugs on the left", ["red mug", "green mug"]),
        ("the mug in the back left corner", ["green mug"]),
        ("the mug left of the banana and the plate", ["green mug"]),
        ("the last mug from the left", ["blue mug"]),
        ("any two mugs", 2),
        ("two of the mugs", 2),
    ],
)
def test_measures_corners_and_numbers(phrase, meant):
    found = names(answer(phrase))
    assert len(found) == meant if isinstance(meant, int) else sorted(found) == sorted(meant)


def test_as_many_as_are_asked_for_or_none():
    assert answer("the two bananas").status == Status.NOT_FOUND
    assert answer("the two mugs").status == Status.AMBIGUOUS


def sheet(x0, x1, y0, y1, z):
    """Points of a level sheet, one each 2 mm."""
    x, y = np.meshgrid(np.arange(x0, x1, 0.002), np.arange(y0, y1, 0.002))
    return np.stack([x.ravel(), y.ravel(), np.full(x.size, z)], axis=1)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_how_much_of_a_thing_lies_over_another_is_a_share_of_its_points(share):
    below, above = sheet(0, 0.1, 0, 0.1, 0.02), sheet(0.1 - 0.06 * share, 0.16 - 0.06 * share, 0.02, 0.08, 0.1)
    instances = np.repeat([1, 2], [len(below), len(above)])
    layout = Layout(np.concatenate([below, above]), instances, Viewer(np.eye(3), np.zeros(3)))
    margin = 0.006 / 0.06  # an outline is 5 mm wider than its points
    assert share - 0.02 <= layout.over[1, 0] <= min(share + margin + 0.02, 1)
    inside = ((below[:, :2] > above[:, :2].min(0)) & (below[:, :2] < above[:, :2].max(0))).all(1).mean()
    assert abs(layout.over[0, 1] - inside) < 0.13
    assert layout.over[0, 0] == layout.over[1, 1] == 1
    fits = layout._above(0)
    assert fits[0] == 0 and (fits[1] > 0) == (share > 0.05 or margin > 0.05)
    if share in (0.25, 0.5):
        most = max(layout.over[1, 0], layout.over[0, 1])
        assert fits[1] == pytest.approx(min(most / 0.6, 1) * FURTHER_UP, abs=1e-6)
