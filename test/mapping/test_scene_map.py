# SPDX-License-Identifier: Apache-2.0
"""A map of boxes seen from around a table: what lasts, what goes, what is refused."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.mapping.config import MapConfig
from dropclip_ros.mapping.frames import MapFrame, body_of_spheres, without_body
from dropclip_ros.mapping.scene_map import SceneMap
from dropclip_ros.mapping.views import fuse
from dropclip_ros.vision.geometry import backproject, transform_points

RED, GREEN, BLUE = (-0.15, 0.0, 0.06, 0.08, 0.10), (0.12, 0.1, 0.1, 0.1, 0.05), (0.1, -0.12, 0.05, 0.09, 0.07)
AROUND = (0.0, 0.5, 1.0, 1.5, 2.0)


@pytest.fixture
def look(make_tabletop):
    return partial(frame_of, make_tabletop)


def frame_of(make_tabletop, boxes, azimuth=0.0, stamp=0.0, joined=(), names=None):
    """A frame of boxes as true instances: joined: pairs of them that it takes for one; names: what each is."""
    seen = make_tabletop(boxes=boxes, spheres=(), azimuth=azimuth, size=(200, 150), distance=0.7)
    frame = replace(seen.frame, stamp=stamp)
    points, pixels = backproject(frame.depth, frame.intrinsics)
    labels = seen.labels.ravel()[pixels]
    if not (labels >= 2).any():
        return MapFrame.of_nothing(frame)
    points, pixels, labels = points[labels >= 2], pixels[labels >= 2], labels[labels >= 2] - 1
    for one, other in joined:
        labels[labels == other] = one
    number = np.unique(labels)
    instances = np.searchsorted(number, labels) + 1
    which = [(names or range(9))[k - 1] for k in number]
    shown = np.zeros(frame.depth.size, np.int64)
    shown[pixels] = instances
    scene = SimpleNamespace(
        instance_features=torch.eye(9)[which], shown=lambda: shown.reshape(frame.depth.shape), pixels=pixels
    )
    world = transform_points(frame.camera_pose, points).astype(np.float32)
    plane = np.array([0.0, 0.0, 1.0, 0.0])
    return MapFrame(stamp, frame, plane, world, frame.rgb.reshape(-1, 3)[pixels], instances, scene)


def seen_around(look, boxes, config=None, start=0.0, into=None):
    """The map of frames from all around."""
    scene_map = into or SceneMap(config)
    for k, azimuth in enumerate(AROUND):
        scene_map.add(look(boxes, azimuth, start + k))
    return scene_map


def middle(scene_map, one):
    return scene_map.objects[one].centre


def with_pose(frame, motion):
    """The same frame with a pose that is off."""
    points = transform_points(motion, frame.points).astype(np.float32)
    normal = motion[:3, :3] @ frame.plane[:3]
    plane = np.append(normal, frame.plane[3] - normal @ motion[:3, 3])
    moved = replace(frame.frame, camera_pose=motion @ frame.pose)
    return replace(frame, frame=moved, points=points, plane=plane)


def test_what_many_views_show_is_one_object_each(look):
    scene_map = seen_around(look, (RED, GREEN, BLUE))
    assert set(scene_map.objects) == {1, 2, 3}
    one_view = SceneMap()
    one_view.add(look((RED, GREEN, BLUE)))
    for one, box in zip(scene_map.objects.values(), (RED, GREEN, BLUE), strict=True):
        assert one.count > 1.3 * one_view.objects[one.id].count and one.confidence > 0.85
        assert np.abs(one.centre[:2] - box[:2]).max() < 0.02 and one.last == 4.0
    assert len(scene_map.objects[1].views) == len(AROUND)


def test_an_object_that_is_taken_goes_and_is_remembered(look):
    scene_map = seen_around(look, (RED, GREEN, BLUE))
    added = [scene_map.add(look((GREEN, BLUE), 0.3, 5.0 + k, names=(1, 2))) for k in range(3)]
    assert sum((each.taken for each in added), ()) == (1,)
    assert set(scene_map.objects) == {2, 3} and [gone.object.id for gone in scene_map.gone] == [1]
    back = scene_map.add(look((RED, GREEN, BLUE), 0.3, 9.0))
    assert set(scene_map.objects) == {1, 2, 3} and not scene_map.gone and 1 in back.ids


def test_what_is_hidden_is_kept(look):
    scene_map = seen_around(look, (RED, GREEN))
    count = scene_map.objects[1].count
    wall = (-0.12, -0.15, 0.3, 0.04, 0.3)  # before the red box, for a camera at azimuth 0
    for k in range(4):
        scene_map.add(look((RED, GREEN, wall), 0.0, 5.0 + k))
    assert scene_map.objects[1].count > 0.99 * count and scene_map.objects[1].last < 5.0


@pytest.mark.parametrize("by", [(0.02, 0.01), (-0.05, 0.06), (0.0, -0.12)])
def test_an_object_that_is_pushed_moves_as_one(look, by):
    scene_map = seen_around(look, (RED, GREEN, BLUE))
    before, count = middle(scene_map, 1).copy(), scene_map.objects[1].count
    pushed = (RED[0] + by[0], RED[1] + by[1], *RED[2:])
    for k in range(3):
        scene_map.add(look((pushed, GREEN, BLUE), 0.2, 5.0 + k))
    assert set(scene_map.objects) == {1, 2, 3}
    assert np.abs(middle(scene_map, 1)[:2] - before[:2] - by).max() < 0.008
    assert scene_map.objects[1].count > 0.7 * count  # with the sides that this view does not show


def test_a_view_that_takes_two_for_one_is_outvoted(look):
    near = ((-0.05, 0, 0.08, 0.08, 0.08), (0.035, 0, 0.08, 0.08, 0.06))
    scene_map = SceneMap()
    for k, azimuth in enumerate(AROUND):
        scene_map.add(look(near, azimuth, float(k), joined=((1, 2),) if k == 2 else ()))
    assert len(scene_map.objects) == 2
    scene_map = SceneMap()
    for k, azimuth in enumerate(AROUND):  # it begins with the wrong one
        scene_map.add(look(near, azimuth, float(k), joined=((1, 2),) if k == 0 else ()))
    assert len(scene_map.objects) == 2 and 1 in scene_map.objects


@settings(max_examples=12, deadline=None)
@given(
    direction=st.integers(0, 10_000),
    metres=st.sampled_from([0.0, 0.01]),
    degrees=st.sampled_from([0.0, 2.0]),
)
def test_a_pose_that_drifts_is_refused_and_nothing_changes(make_tabletop, direction, metres, degrees):
    look_at = partial(frame_of, make_tabletop)
    scene_map = seen_around(look_at, (RED, GREEN, BLUE))
    rng = np.random.default_rng(direction)
    motion = np.eye(4)
    motion[:3, 3] = metres * _unit(rng.normal(size=3))
    turn = Rotation.from_rotvec(np.radians(degrees) * _unit(rng.normal(size=3))).as_matrix()
    motion[:3, :3] = turn
    frame, keys = look_at((RED, GREEN, BLUE), 0.7, 5.0), scene_map.grid.keys.copy()
    if metres or degrees:
        with pytest.raises(DropclipError) as refused:
            scene_map.add(with_pose(frame, motion))
        assert refused.value.status == Status.TF_ERROR and "off" in refused.value.message
        assert np.array_equal(keys, scene_map.grid.keys) and scene_map.refused == 1
    else:
        assert scene_map.add(frame).drift.offset < 0.002


def _unit(vector):
    return vector / np.linalg.norm(vector)


def test_a_frame_of_another_table_is_only_believed_when_it_insists(look):
    scene_map = seen_around(look, (RED, GREEN, BLUE))
    other = ((0.0, 0.0, 0.05, 0.05, 0.05),)
    for k in range(2):
        with pytest.raises(DropclipError, match="not there") as refused:
            scene_map.add(look(other, 0.3, 5.0 + k, names=(5,)))
        assert refused.value.status == Status.TF_ERROR
    for k in range(3):
        scene_map.add(look(other, 0.3, 8.0 + k, names=(5,)))
    assert len(scene_map.objects) == 1
    high = look(other, 0.3, 12.0)
    with pytest.raises(DropclipError, match="table lies 50 mm"):
        scene_map.add(replace(high, plane=high.plane - [0, 0, 0, 0.05]))


@pytest.mark.parametrize(
    ("stamp", "status"), [(1.0, Status.STALE_FRAME), (np.nan, Status.BAD_FRAME), (np.inf, Status.BAD_FRAME)]
)
def test_time_that_goes_back_or_is_none_is_refused(look, stamp, status):
    scene_map = seen_around(look, (RED, GREEN))
    with pytest.raises(DropclipError) as refused:
        scene_map.add(look((RED, GREEN), 0.0, stamp))
    assert refused.value.status == status
    scene_map.add(look((RED, GREEN), 0.0, 3.8))  # a second camera, a little late
    scene_map.clear()
    scene_map.add(look((RED, GREEN), 0.0, 0.0))
    assert min(scene_map.objects) > 2  # ids are not given twice


def test_a_frame_without_a_pose_is_refused(look):
    frame = look((RED,)).frame
    with pytest.raises(DropclipError) as refused:
        MapFrame.of_nothing(replace(frame, camera_pose=None))
    assert refused.value.status == Status.TF_ERROR and "world_frame" in refused.value.message


def test_frames_of_nothing_take_what_was_there(look):
    scene_map = seen_around(look, (RED,))
    for k in range(20):
        added = scene_map.add(look((), 0.0, 5.0 + k))
    assert not scene_map.objects and not len(scene_map.grid) and not len(scene_map.pieces)
    assert added.ids.shape == (0,) and scene_map.frames == 25


def test_memory_is_bounded(look):
    config = MapConfig(voxels=1000, objects=2, gone=1, keyframes=2, views=2)
    scene_map = SceneMap(config)
    boxes = [(x, y, 0.05, 0.05, 0.08) for x in (-0.2, 0.0, 0.2) for y in (-0.15, 0.1)]
    for k in range(12):
        scene_map.add(look(boxes[k % 3 :], AROUND[k % 5], float(k), names=range(k % 3, 9)))
    assert len(scene_map.grid) <= 1000 and len(scene_map.objects) <= 2
    assert len(scene_map.gone) <= 1 and len(scene_map.keyframes) <= 2
    assert all(len(one.views) <= 2 for one in scene_map.objects.values())


def test_the_robots_own_body_says_nothing(look):
    frame = look((RED, GREEN)).frame
    local = np.linalg.inv(frame.camera_pose) @ [*RED[:2], RED[4] / 2, 1]
    body = body_of_spheres(frame, local[None, :3], np.array([0.1]))
    points, _ = backproject(without_body(frame, body).depth, frame.intrinsics)
    world = transform_points(frame.camera_pose, points)
    assert body.any() and np.linalg.norm(world - [*RED[:2], RED[4] / 2], axis=1).min() > 0.099
    with pytest.raises(DropclipError, match="mask"):
        without_body(frame, body[:10])


@given(st.integers(1, 8), st.integers(0, 1000))
def test_views_are_fused_by_what_they_show_or_tell(count, seed):
    rng = torch.Generator().manual_seed(seed)
    features = torch.nn.functional.normalize(torch.randn(count, 6, generator=rng), dim=1)
    visible = torch.rand(count, generator=rng) + 0.1
    fused, weights = fuse(features, visible)
    expected = (visible[:, None] * features).sum(0)
    assert torch.allclose(fused, expected / expected.norm(), atol=1e-5) and weights.sum() == pytest.approx(1, abs=1e-5)
    phrases = torch.nn.functional.normalize(torch.randn(3, 6, generator=rng), dim=1)
    _, weights = fuse(features, visible, phrases)
    own = int((phrases @ fused).argmax())
    gain = features @ phrases[own] - (features @ phrases[[k for k in range(3) if k != own]].T).amax(1)
    if (gain > 0).any():  # eq. 4: what does not tell the object from others has no say
        assert torch.allclose(weights, gain.clamp(min=0) / gain.clamp(min=0).sum(), atol=1e-5)


@pytest.mark.parametrize("wrong", [{"edge": 0}, {"through": 0}, {"new": 1.5}, {"features": "both"}, {"late": np.nan}])
def test_a_configuration_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match="map: "):
        MapConfig(**wrong)
