# SPDX-License-Identifier: Apache-2.0
"""From a depth image to what stands on the table, in scenes that are not one table in the middle of the picture."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.tabletop.scene import look, things
from dropclip_ros.tabletop.workspace import Workspace

THINGS = [(-0.12, 0.0, 0.08, 0.06, 0.12), (0.12, 0.1, 0.1, 0.1, 0.05)]


def seen(scene, workspace=Workspace(), gravity=True):
    """Share of the objects' points that are kept, of other points that are, and the result."""
    frame = scene.frame
    top = look(frame.depth, frame.intrinsics, workspace, frame.camera_pose if gravity else None)
    kept, labels = np.zeros(len(top.points), bool), scene.labels.ravel()[top.pixels]
    kept[top.standing] = True
    return kept[labels >= 2].mean(), kept[labels < 2].mean(), top


@pytest.mark.parametrize("gravity", [True, False])
@pytest.mark.parametrize("floor, distance", [(-0.7, 1.5), (-0.45, 1.2), (-0.9, 1.6)])
def test_a_small_table_over_a_floor_that_fills_more_of_the_picture(make_tabletop, floor, distance, gravity):
    scene = make_tabletop(THINGS, table=(0.28, 0.24), floor=floor, distance=distance, noise=0.001)
    objects, others, top = seen(scene, gravity=gravity)
    assert objects > 0.9 and others < 0.01
    assert abs(top.table.plane[3] - distance * np.sin(0.8)) < 0.01


@pytest.mark.parametrize("gravity", [True, False])
def test_a_table_that_books_cover(make_tabletop, gravity):
    rng = np.random.default_rng(3)
    books = [
        (x + 0.02 * rng.uniform(-1, 1), y + 0.02 * rng.uniform(-1, 1), 0.2, 0.15, rng.uniform(0.02, 0.07))
        for x in (-0.36, -0.12, 0.12, 0.36)
        for y in (-0.27, -0.09, 0.09, 0.27)
    ]
    scene = make_tabletop(books, [], table=(0.5, 0.4), noise=0.001, floor=-0.7)
    objects, others, top = seen(scene, gravity=gravity)
    assert np.degrees(np.arccos(min(top.table.plane[:3] @ scene.up, 1))) < 1
    assert objects > 0.95 and others < 0.02


def test_a_shelf_on_the_wall_over_the_table_is_no_object(make_tabletop):
    shelf = (0.0, 0.42, 0.9, 0.16, 0.02, 0.3)
    scene = make_tabletop([*THINGS, shelf], [], table=(0.5, 0.5), wall=0.5, pitch=0.6, distance=1.1, noise=0.001)
    _, _, top = seen(scene)
    kept = np.zeros(len(top.points), bool)
    kept[top.standing] = True
    labels = scene.labels.ravel()[top.pixels]
    assert (
        (labels == 4).sum() > 300
        and kept[labels == 4].mean() < 0.02
        and kept[(labels == 2) | (labels == 3)].mean() > 0.9
    )


def test_a_stack_whose_top_hides_what_it_stands_on_stays(make_tabletop):
    stack = [(0, 0, 0.06, 0.06, 0.2), (0, 0, 0.2, 0.2, 0.06, 0.2)]
    objects, _, _ = seen(make_tabletop(stack, [], noise=0.001, pitch=0.9, distance=1.3))
    assert objects > 0.9


def test_where_nothing_stands_on_one_plane_the_next_is_tried_and_said(make_tabletop):
    scene = make_tabletop([], [], floor=-0.7, noise=0.001)
    with pytest.raises(DropclipError, match=r"only \d+ points stand on the table.*tried.* m \(\d+\)") as error:
        seen(scene)
    assert error.value.status is Status.EMPTY_SCENE


def test_a_known_height_is_the_table(make_tabletop):
    scene = make_tabletop(THINGS, [], noise=0.001, holes=0.5)
    known = seen(scene, Workspace(height=0.0))[2].table
    np.testing.assert_allclose(known.plane[:3], scene.up, atol=0.01)
    black = scene.frame.depth.ravel()
    black[scene.labels.ravel() == 1] = 0  # nothing is seen of the table's top
    objects, _, top = seen(scene, Workspace(height=0.0))
    np.testing.assert_allclose(top.table.plane[:3], scene.up, atol=1e-6)
    assert objects > 0.8
    world = tuple(top.table.plane)  # the same as a plane in the camera's frame
    frame = scene.frame
    again = look(frame.depth, frame.intrinsics, Workspace(plane=world))
    assert len(again.standing) == len(top.standing)


def test_a_region_holds_what_is_looked_at(make_tabletop):
    scene = make_tabletop(THINGS, [], noise=0.001)
    _, _, top = seen(scene, Workspace(low=(-0.25, -0.2, -0.05), high=(0.0, 0.2, 0.3)))
    labels = scene.labels.ravel()[top.pixels[top.standing]]
    assert (labels == 2).mean() > 0.95
    u, v = (np.argwhere(scene.labels == 3)[:, ::-1]).mean(axis=0)
    square = tuple((u + 40 * x, v + 40 * y) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1)))
    _, _, top = seen(scene, Workspace(polygon=square))
    assert set(np.unique(scene.labels.ravel()[top.pixels])) <= {1, 3}


def test_a_bin_without_a_bottom_to_be_seen_holds_its_things_but_not_its_walls(make_tabletop):
    wall = [
        (0, 0.32, 0.84, 0.04, 0.3),
        (0, -0.32, 0.84, 0.04, 0.02),
        (-0.42, 0, 0.04, 0.6, 0.3),
        (0.42, 0, 0.04, 0.6, 0.3),
    ]
    heap = [
        (x, y, 0.12, 0.1, h)
        for x, y, h in ((-0.2, 0.1, 0.12), (0.1, 0.05, 0.09), (0.22, -0.15, 0.14), (-0.1, -0.15, 0.1))
    ]
    scene = make_tabletop(wall + heap, [], table=(0.4, 0.3), pitch=1.4, distance=1.0, noise=0.001)
    frame = scene.frame
    inside = Workspace(table="none", low=(-0.41, -0.29, -0.02), high=(0.41, 0.31, 0.4))
    top = look(frame.depth, frame.intrinsics, inside, frame.camera_pose)
    labels = scene.labels.ravel()[top.pixels[top.standing]]
    heaped = labels >= 2 + len(wall)
    assert heaped.mean() > 0.95 and heaped.sum() > 0.8 * (scene.labels >= 2 + len(wall)).sum()
    assert not top.table.seen


def test_auto_does_without_a_table_where_none_is_seen():
    rng = np.random.default_rng(0)
    ball = rng.normal(size=(3000, 3))
    ball = 0.06 * ball / np.linalg.norm(ball, axis=1, keepdims=True)
    points = (ball[ball[:, 2] < 0] + (0, 0, 0.7)).astype(np.float32)  # in a hand, too near to see anything else
    table, standing = things(points)
    assert not table.seen and len(standing) > 0.9 * len(points) and table.height(points).min() > -1e-4
    with pytest.raises(DropclipError, match="only 0 points stand on the table"):
        things(points, Workspace(table="plane"))


@pytest.mark.parametrize("scale, words", [(0.1, "under 0.1 m: is the unit right"), (4.5, "over 3 m: raise `far`")])
def test_depths_out_of_range_are_said(make_tabletop, scale, words):
    frame = make_tabletop(THINGS, []).frame
    with pytest.raises(DropclipError, match=r"\d+ % of the depths are " + words):
        look(frame.depth * np.float32(scale), frame.intrinsics, Workspace(table="plane"))


BOXES = [(-0.12, 0, 0.08, 0.06, 0.12), (0.12, 0.1, 0.1, 0.1, 0.05), (0.05, -0.12, 0.08, 0.08, 0.08)]
BIG = [(-0.3, 0, 0.3, 0.2, 0.3), (0.3, 0.1, 0.3, 0.3, 0.2)]


@pytest.mark.parametrize("gravity", [True, False])
@pytest.mark.parametrize(
    "half, floor, distance, pitch",
    [
        ((0.3, 0.25), -0.7, 1.5, 0.8),
        ((0.3, 0.25), -0.75, 1.5, 0.8),
        ((0.25, 0.2), -0.9, 1.5, 0.8),
        ((0.3, 0.25), -0.7, 1.0, 0.8),
        ((0.4, 0.3), -0.45, 1.2, 1.2),
    ],
)
def test_case_09_the_small_table_and_not_the_floor_under_it(make_tabletop, half, floor, distance, pitch, gravity):
    scene = make_tabletop(
        BOXES, [], table=half, floor=floor, distance=distance, pitch=pitch, noise=0.001, size=(640, 480)
    )
    objects, others, top = seen(scene, gravity=gravity)
    assert objects > 0.9 and others < 0.01
    assert abs(top.table.plane[3] - distance * np.sin(pitch)) < 0.01
    objects, others, _ = seen(scene, Workspace(height=0.0))  # what a lab knows needs no luck
    assert objects > 0.9 and others < 0.01


def test_case_09_a_floor_with_nothing_on_it_is_not_answered_with(make_tabletop):
    """The next plane is tried before EMPTY_SCENE is said, be the table however small in the picture."""
    scene = make_tabletop(BOXES, [], table=(0.3, 0.25), floor=-0.7, distance=1.9, noise=0.001, size=(640, 480))
    objects, _, top = seen(scene, gravity=False)
    assert objects > 0.8 and top.table.plane[3] < 1.5


@pytest.mark.parametrize("distance", [3.2, 3.6])
def test_case_10_a_camera_at_the_ceiling_says_how_far_it_may_look(make_tabletop, distance):
    scene = make_tabletop(BIG, [], table=(1.2, 1.0), distance=distance, pitch=1.5, noise=0.0005, size=(640, 480))
    with pytest.raises(DropclipError, match=r"% of the depths are over 3 m: raise `far`"):
        seen(scene)
    objects, others, _ = seen(scene, Workspace(far=4.0))
    assert objects > 0.9 and others < 0.01


def test_case_10_a_unit_that_is_ten_times_too_small_is_said_whatever_is_found(make_tabletop):
    frame = make_tabletop(BOXES[:1], [], distance=1.1, size=(640, 480)).frame
    tenth = frame.depth * np.float32(0.1)
    try:
        note = look(tenth, frame.intrinsics).note
    except DropclipError as error:
        note = error.message
    assert "% of the depths are under 0.1 m: is the unit right?" in note


@settings(deadline=None, max_examples=20)
@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.3, 1.5), st.integers(0, 2**31))
def test_a_known_plane_is_the_same_in_every_frame(tilt, roll, height, seed):
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.linalg.det(rotation)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, (tilt, roll, height)
    plane = Workspace(height=0.0).known_plane(pose)
    camera = rng.normal(size=(20, 3))
    world = camera @ rotation.T + pose[:3, 3]
    np.testing.assert_allclose(camera @ plane[:3] + plane[3], world[:, 2], atol=1e-9)


@pytest.mark.parametrize(
    "nonsense, words",
    [
        ({"near": 3.0}, "near"),
        ({"far": np.inf}, "far"),
        ({"table": "maybe"}, "auto, plane, none"),
        ({"height": np.nan}, "height"),
        ({"plane": (0, 0, 0, 1)}, "plane"),
        ({"table": "none", "height": 0.7}, "auto or plane"),
        ({"low": (0, 0, 0)}, "one corner"),
        ({"low": (0, 0, 0), "high": (1, 1, 0)}, "low under high"),
        ({"polygon": ((0, 0), (1, 1))}, "three corners"),
    ],
)
def test_nonsense_is_named(nonsense, words):
    with pytest.raises(ValueError, match=words):
        Workspace(**nonsense)
