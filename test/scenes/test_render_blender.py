# SPDX-License-Identifier: Apache-2.0
"""Blender and MuJoCo agree on a scene: what stands where, how far, and in what colour."""

from __future__ import annotations

import sys

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="mujoco is not installed (make setup)")

from training.objects.catalogue import Catalogue
from training.objects.spec import TRAIN
from training.runs.errors import InputError
from training.scenes.clutter import make_scene
from training.scenes.description import SceneConfig
from training.scenes.render_blender import BlenderConfig, render
from training.scenes.render_mujoco import render as render_mujoco


@pytest.fixture(scope="module")
def scene():
    catalogue, rng = Catalogue.procedural(), np.random.default_rng(4)
    specs = catalogue.of_split(TRAIN)
    models = [catalogue.build(specs[i]) for i in rng.choice(len(specs), 8, replace=False)]
    return make_scene(models, SceneConfig(views=3, width=320, height=240), rng)[0], {m.name: m for m in models}


@pytest.fixture(scope="module")
def pairs(off_screen, scene):
    pytest.importorskip("bpy", reason="bpy is not installed (pip install '.[blender]', Python 3.11)")
    return list(zip(render_mujoco(*scene), render(*scene, BlenderConfig(samples=4, gpu=False)), strict=True))


def test_depth_agrees(pairs):
    for mujoco, blender in pairs:
        assert (np.abs(mujoco.depth - blender.depth) < 0.002).mean() > 0.99


def test_masks_agree(pairs):
    for mujoco, blender in pairs:
        overlaps = []
        for label in np.unique(mujoco.mask):
            a, b = mujoco.mask == label, blender.mask == label
            if a.sum() >= 50:
                overlaps.append((a & b).sum() / (a | b).sum())
        assert len(overlaps) > 4 and min(overlaps) > 0.98


def test_cameras_agree(pairs):
    for mujoco, blender in pairs:
        assert np.array_equal(mujoco.intrinsics, blender.intrinsics)
        assert np.array_equal(mujoco.world_from_camera, blender.world_from_camera)


def test_colours_are_alike(pairs):
    """Light falls differently, but the pictures go together: object by object the hues are the same."""
    for mujoco, blender in pairs:
        means = []
        for label in np.unique(mujoco.mask)[1:]:
            where = (mujoco.mask == label) & (blender.mask == label)
            if where.sum() >= 50:
                means.append([image[where].mean(0) for image in (mujoco.rgb, blender.rgb)])
        a, b = np.array(means).swapaxes(0, 1)
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9
        assert 0.5 < b.mean() / a.mean() < 2


def test_without_bpy_the_message_says_what_to_install(monkeypatch, scene):
    monkeypatch.setitem(sys.modules, "bpy", None)
    with pytest.raises(InputError, match=r"pip install 'dropclip_ros\[blender\]'"):
        next(render(*scene))


def test_a_config_without_samples_is_refused():
    with pytest.raises(ValueError, match="samples 0"):
        BlenderConfig(samples=0)


def test_the_same_bytes_each_time(pairs, scene):
    again = list(render(*scene, BlenderConfig(samples=4, gpu=False)))
    for (_, blender), other in zip(pairs, again, strict=True):
        assert np.array_equal(blender.rgb, other.rgb) and np.array_equal(blender.depth, other.depth)
