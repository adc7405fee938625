# SPDX-License-Identifier: Apache-2.0
"""Which view next: what hides, what was seen already, when it is enough."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dropclip_ros.grounding.interpretation import Interpretation, Part
from dropclip_ros.mapping.frames import MapFrame
from dropclip_ros.mapping.look import LookConfig, next_view
from dropclip_ros.mapping.scene_map import SceneMap
from dropclip_ros.vision.geometry import backproject, transform_points

HIDDEN, WALL = (0.0, 0.12, 0.06, 0.06, 0.06), (0.0, 0.0, 0.3, 0.03, 0.2)


def fused(make_tabletop, azimuths):
    """A small box behind a wall, seen from some directions, and poses all around."""
    scene_map, poses = SceneMap(), {}
    for k, azimuth in enumerate(np.radians([0, 60, 120, 180, 240, 300])):
        seen = make_tabletop(boxes=(HIDDEN, WALL), spheres=(), azimuth=azimuth, size=(200, 150), distance=0.7)
        frame = seen.frame
        poses[k] = frame.camera_pose
        if k not in azimuths:
            continue
        points, pixels = backproject(frame.depth, frame.intrinsics)
        labels = seen.labels.ravel()[pixels]
        points, pixels, labels = points[labels >= 2], pixels[labels >= 2], labels[labels >= 2] - 1
        number, labels = np.unique(labels, return_inverse=True)
        scene = SimpleNamespace(
            instance_features=torch.eye(3)[number], shown=lambda: np.zeros((150, 200), np.int64), pixels=pixels
        )
        world = transform_points(frame.camera_pose, points).astype(np.float32)
        plane = np.array([0.0, 0.0, 1.0, 0.0])
        scene_map.add(MapFrame(float(k), frame, plane, world, frame.rgb.reshape(-1, 3)[pixels], labels + 1, scene))
    return scene_map, poses, frame.intrinsics


def said(scores):
    return SimpleNamespace(
        objects=[], interpretation=Interpretation("", [Part("head", "x", -1, tuple(scores), tuple(scores.values()))])
    )


def box_of(scene_map):
    """The id of the small box."""
    return min(scene_map.objects.values(), key=lambda one: np.linalg.norm(one.centre[:2] - HIDDEN[:2])).id


def test_what_hides_behind_a_wall_is_looked_at_from_behind(make_tabletop):
    scene_map, poses, camera = fused(make_tabletop, (1,))
    scores = dict.fromkeys(scene_map.objects, 0.02) | {box_of(scene_map): 0.5}
    number, gain = next_view(scene_map, said(scores), {k: poses[k] for k in (0, 2, 3)}, camera)
    assert number == 3 and gain > 0.05  # 0: the wall is before it; 2: seen nearly from there


def test_it_stops_where_it_is_certain_or_nothing_is_new(make_tabletop):
    scene_map, poses, camera = fused(make_tabletop, (1, 2, 3))
    box = box_of(scene_map)
    others = dict.fromkeys(scene_map.objects, 0.02)
    assert next_view(scene_map, said(others | {box: 0.95}), poses, camera) is None
    assert next_view(scene_map, said(others | {box: 0.5}), {1: poses[1]}, camera, LookConfig(explore=0)) is None
    assert next_view(scene_map, said(others | {box: 0.5}), {}, camera) is None
    rival = dict.fromkeys(scene_map.objects, 0.95)
    assert next_view(scene_map, said(rival), poses, camera, LookConfig(least=0.001)) is not None


def test_a_configuration_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="look: sure"):
        LookConfig(sure=1.5)
