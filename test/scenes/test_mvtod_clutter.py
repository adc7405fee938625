# SPDX-License-Identifier: Apache-2.0
"""Scenes of clutter: things lie on the table and not in each other; views show them where they are."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="mujoco is not installed (make setup)")

import open3d as o3d

from training.objects.catalogue import Catalogue
from training.objects.spec import TRAIN
from training.scenes.clutter import DROPPED, draw_cameras, look_at, make_scene, settle, spawn
from training.scenes.description import (
    CLUTTER,
    FIRST_OBJECT_ID,
    TABLE_ID,
    PlacedObject,
    SceneConfig,
    SceneDescription,
    Surface,
    rows,
)
from training.scenes.render_mujoco import TABLE_THICKNESS, render
from training.scenes.visibility import Visibility

CONFIG = SceneConfig(views=4, width=160, height=120)
CATALOGUE = Catalogue.procedural()
TABLE = Surface(0, 0.0, (0.6, 0.5), 0.1, 0.1)


def draw(count: int, seed: int):
    specs = CATALOGUE.of_split(TRAIN)
    chosen = np.random.default_rng(seed).choice(len(specs), count, replace=False)
    return [CATALOGUE.build(specs[i]) for i in chosen]


@pytest.fixture(scope="module")
def models():
    return draw(8, seed=1)


@pytest.fixture(scope="module")
def scene(models):
    return make_scene(models, CONFIG, np.random.default_rng(0))


@pytest.fixture(scope="module")
def views(off_screen, scene, models):
    return list(render(scene[0], {model.name: model for model in models}))


def boxes(placed, models) -> np.ndarray:
    """Low and high corners (N,2,3) of what lies there, m."""
    built = {model.name: model for model in models}
    corners = []
    for one in placed:
        points = one.scale * built[one.name].vertices @ one.pose[:3, :3].T + one.pose[:3, 3]
        corners.append((points.min(0), points.max(0)))
    return np.array(corners)


def spawned(models, clutter: str, config: SceneConfig, seed: int = 5):
    blank = [PlacedObject(0, model.name, 1.0, 1.0, 0.1, 0.1, rows(np.eye(4))) for model in models]
    return spawn(blank, models, clutter, config, np.random.default_rng(seed))


@pytest.mark.parametrize("poses", ["low", "random"])
@pytest.mark.parametrize("clutter", CLUTTER)
def test_spawned_boxes_do_not_meet_and_stand_above_the_table(clutter, poses):
    models = draw(12, seed=3)
    placed = spawned(models, clutter, replace(CONFIG, poses=poses))
    low, high = boxes(placed, models).swapaxes(0, 1)
    assert (low[:, 2] > 0).all()
    overlap = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    np.fill_diagonal(overlap[..., 0], -1)
    assert (overlap.min(axis=2) <= 0).all()


def test_poses_are_random_as_in_the_paper_where_asked_for():
    """Then hardly one object stands upright, and they fall from where they were drawn, one above another."""
    models = draw(12, seed=3)
    upright, top = {}, {}
    for poses in ("low", "random"):
        placed = [one for seed in range(10) for one in spawned(models, "any", replace(CONFIG, poses=poses), seed)]
        upright[poses] = np.mean([one.pose[2, 2] > 0.999 for one in placed])
        top[poses] = np.mean([one.pose[2, 3] for one in placed])
    assert 0.5 < upright["low"] < 0.8 and upright["random"] < 0.05 and top["random"] > 1.5 * top["low"]


def test_packed_clutter_takes_less_room():
    models = draw(10, seed=4)
    area = {}
    for clutter in ("packed", "scattered"):
        placed = make_scene(models, replace(CONFIG, clutter=clutter), np.random.default_rng(2))[0].objects
        area[clutter] = np.std([one.pose[:2, 3] for one in placed], axis=0).prod()
    assert area["packed"] < 0.7 * area["scattered"]


def test_objects_rest_on_the_table(scene, models):
    description, dropped = scene
    assert len(description.objects) + sum(dropped.values()) == len(models)
    low, high = boxes(description.objects, models).swapaxes(0, 1)
    assert (low[:, 2] > -0.003).all() and (low[:, 2] < 0.25).all() and (high[:, 2] < 0.5).all()
    assert [one.label for one in description.objects] == list(range(2, 2 + len(description.objects)))
    assert any(z < 0.003 for z in low[:, 2])


def test_a_scene_is_at_rest(scene, models):
    """Another 2 s of physics move nothing by a centimetre."""
    description, _ = scene
    built = {model.name: model for model in models}
    again, dropped = settle(
        description.objects, [built[one.name] for one in description.objects], description.table, CONFIG
    )
    assert not sum(dropped.values())
    moved = [np.linalg.norm(a.pose[:3, 3] - b.pose[:3, 3]) for a, b in zip(description.objects, again, strict=True)]
    assert max(moved) < 0.01


def placed_at(model, x: float, y: float, z: float) -> PlacedObject:
    pose = np.eye(4)
    pose[:3, 3] = x, y, z
    return PlacedObject(0, model.name, 1.0, 1.0, 0.1, 0.1, rows(pose))


def test_what_falls_off_or_rolls_on_is_dropped_and_counted(models):
    beside, among = placed_at(models[0], 2.0, 0, 0.2), placed_at(models[1], 0, 0, 0.2)
    kept, dropped = settle([beside, among], models[:2], TABLE, CONFIG)
    assert [one.name for one in kept] == [models[1].name] and dropped["fell"] == 1
    hurried, dropped = settle([placed_at(models[1], 0, 0, 0.4)], models[1:2], TABLE, replace(CONFIG, settle_time=0.05))
    assert not hurried and dropped == dict.fromkeys(DROPPED, 0) | {"restless": 1}


def test_first_view_from_above_and_the_others_around():
    config = SceneConfig()
    cameras = draw_cameras(config, np.random.default_rng(0))
    assert len(cameras) == 73
    assert np.allclose(cameras[0].pose[:3, 2], (0, 0, -1))
    eyes = np.array([camera.pose[:3, 3] for camera in cameras])
    distance = np.linalg.norm(eyes - (0, 0, 0.03), axis=1)
    assert (distance > 0.5).all() and (distance < 1.05).all() and distance.std() > 0.05
    quadrants = np.bincount((eyes[1:, 0] > 0) * 2 + (eyes[1:, 1] > 0))
    assert quadrants.min() >= 15
    rises = np.sort(-np.array([camera.pose[2, 2] for camera in cameras[1:]]))
    assert np.allclose(rises, np.linspace(rises[0], rises[-1], 72), atol=1e-6)  # uniform in area: in the sine


def test_look_at_is_an_optical_frame():
    pose = look_at((0.1, 0.2, 0.3), 0.8, 0.7, 0.5)
    assert np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3)) and np.linalg.det(pose[:3, :3]) > 0.99
    assert np.allclose(pose[:3, 3] + 0.8 * pose[:3, 2], (0.1, 0.2, 0.3))
    assert pose[2, 1] < 0 and abs(pose[2, 0]) < 1e-12  # y down, x level


def test_depth_and_labels_are_those_of_rays(scene, views, models):
    """An independent caster of rays at the catalogue's meshes, in the poses that the description gives."""
    description, _ = scene
    built = {model.name: model for model in models}
    caster, labels = o3d.t.geometry.RaycastingScene(), {}
    for one in description.objects:
        vertices = one.scale * built[one.name].vertices @ one.pose[:3, :3].T + one.pose[:3, 3]
        number = caster.add_triangles(vertices.astype(np.float32), built[one.name].faces.astype(np.uint32))
        labels[number] = one.label
    for view in views:
        height, width = view.mask.shape
        rays = caster.create_rays_pinhole(
            o3d.core.Tensor(view.intrinsics + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])),
            o3d.core.Tensor(np.linalg.inv(view.world_from_camera)),
            width,
            height,
        )
        hits = caster.cast_rays(rays)
        depth, number = hits["t_hit"].numpy(), hits["geometry_ids"].numpy()
        expected = np.vectorize(lambda n: labels.get(n, 0))(number)
        objects = np.where(view.mask >= FIRST_OBJECT_ID, view.mask, 0)
        assert (objects == expected).mean() > 0.99
        same = (objects == expected) & (objects > 0)
        assert np.quantile(np.abs(depth - view.depth)[same], 0.99) < 0.002
        table = view.mask == TABLE_ID
        row, column = np.nonzero(table)
        points = np.column_stack([column, row, np.ones(len(row))]) @ np.linalg.inv(view.intrinsics).T
        points = points * view.depth[table][:, None] @ view.world_from_camera[:3, :3].T + view.world_from_camera[:3, 3]
        assert points[:, 2].max() < 0.002 and points[:, 2].min() > -TABLE_THICKNESS - 0.002
        assert (np.abs(points[:, 2]) < 0.002).mean() > 0.9  # the rest: an edge of the table


def test_visible_fractions(scene, views, models):
    """From above each is seen whole, unless another lies on it; behind a screen nothing is."""
    description, _ = scene
    visibility = Visibility(description, {model.name: model for model in models})
    fractions = visibility.of(views[0])
    assert set(fractions) == {one.label for one in description.objects}
    assert 0.8 < np.median(list(fractions.values())) <= 1
    label = max(fractions, key=fractions.get)
    half = views[0].mask.copy()
    rows_, _ = np.nonzero(half == label)
    half[int(np.median(rows_)) :] = 0
    assert visibility.of(replace(views[0], mask=half))[label] == pytest.approx(0.5 * fractions[label], abs=0.12)
    assert not any(visibility.of(replace(views[0], mask=np.zeros_like(half))).values())


def test_a_description_survives_json(scene):
    description, _ = scene
    assert SceneDescription.from_json(json.loads(json.dumps(description.to_json()))) == description


@pytest.mark.parametrize(
    "fields",
    [
        {"min_objects": 0},
        {"min_objects": 9, "max_objects": 4},
        {"max_objects": 300},
        {"clutter": "heap"},
        {"views": 0},
        {"radius": (0.9, 0.6)},
        {"elevation": (0.5, 80.0)},
        {"focal": (0.0, 1.0)},
        {"area": (0.0, 0.1)},
        {"settle_time": 0},
    ],
)
def test_a_config_that_makes_no_sense_is_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields)).split("_")[0]):
        SceneConfig(**fields)
