# SPDX-License-Identifier: Apache-2.0
"""Fusion (sections 3.1 and 3.2) against slow, plain NumPy written from the equations, on small random cases."""

from __future__ import annotations

import zlib
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mvtod_support import CATALOGUE, cast, describe, write_scenes

from training.fusion.clouds import Cloud, full_cloud, view_cloud
from training.fusion.correspond import correspond
from training.fusion.fuse import PointFusion, Weighting, fuse_objects
from training.fusion.weights import PromptConfig, Queries, ScenePrompts, informativeness
from training.objects.words.phrases import paper_mix
from training.objects.words.wording import describe_object
from training.scenes.description import FIRST_OBJECT_ID
from training.scenes.shards import load_scenes

C_THR = 0.01
WEIGHTINGS = [Weighting(visibility, informative) for visibility in (False, True) for informative in (False, True)]
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=25, deadline=None)


def tabletop(seed: int):
    """Three views of three boxes on a table, some behind the others; one of four such scenes."""
    return _tabletop(seed % 4)


@cache
def _tabletop(seed: int):
    description = describe(np.random.default_rng(seed))
    return [cast(description, camera) for camera in description.cameras]


def unit(rng, *shape):
    x = rng.normal(size=shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def random_queries(rng, labels, channels):
    """Up to three negatives each; none is possible."""
    return {
        label: Queries(*map(torch.from_numpy, (unit(rng, channels), unit(rng, rng.integers(0, 4), channels))))
        for label in labels
    }


def slow_project(x, view):
    """u_x, u_y, u_z of eq. 1, in float64."""
    u = view.intrinsics @ (np.linalg.inv(view.world_from_camera) @ np.append(x, 1.0))[:3]
    return u[0] / u[2], u[1] / u[2], u[2]


def slow_visible(x, view):
    """(inside, visible) of section 3.1."""
    ux, uy, uz = slow_project(x, view)
    height, width = view.depth.shape
    column, row = round(ux), round(uy)
    if uz <= 0 or not (0 <= column < width and 0 <= row < height):
        return False, False
    depth = float(view.depth[row, column])
    return True, depth > 0 and abs(uz - depth) <= C_THR


def slow_informativeness(z, query, operator):
    """G of eq. 3 and 4, clipped at 0; without negatives, the similarity."""
    cosines = [float(z @ q) for q in query.negatives.numpy()]
    others = 0.0 if not cosines else max(cosines) if operator == "max" else sum(cosines) / len(cosines)
    return max(0.0, float(z @ query.positive.numpy()) - others)


def slow_mean(zs, weights, fallback):
    """Eq. 2 and 5, as a unit vector, and whether no view passed; None where `fallback` has no weight either."""
    none = sum(weights) <= 0
    weights = fallback if none else weights
    if sum(weights) <= 0:
        return None, False
    mean = sum(w * z for w, z in zip(weights, zs, strict=True)) / sum(weights)
    return mean / np.linalg.norm(mean), none


def slow_bicubic(features, ux, uy, size):
    """Patch features (C,h,w) at a pixel of an image of `size`: Keys' kernel (a = -0.75), edges repeated."""

    def kernel(t):
        t, a = abs(t), -0.75
        if t <= 1:
            return (a + 2) * t**3 - (a + 3) * t**2 + 1
        return a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0

    _, h, w = features.shape
    x, y = (ux + 0.5) * w / size[1] - 0.5, (uy + 0.5) * h / size[0] - 0.5
    total = 0.0
    for j in range(int(np.floor(y)) - 1, int(np.floor(y)) + 3):
        for i in range(int(np.floor(x)) - 1, int(np.floor(x)) + 3):
            value = features[:, np.clip(j, 0, h - 1), np.clip(i, 0, w - 1)]
            total = total + kernel(x - i) * kernel(y - j) * value
    return total


@given(seeds)
@few
def test_a_pixels_own_point_projects_to_it_and_is_visible(seed):
    rng, views = np.random.default_rng(seed), tabletop(seed)
    view = views[rng.integers(len(views))]
    row, column = (int(side) for side in rng.choice(np.argwhere(view.depth > 0)))
    ray = np.linalg.inv(view.intrinsics) @ (column, row, 1.0)
    width = view.depth.shape[1]
    beyond = np.linalg.inv(view.intrinsics) @ (width + rng.uniform(0, 50), row, 1.0)
    depth = float(view.depth[row, column])
    local = [depth * ray, -depth * ray, (depth + 1.5 * C_THR) * ray, (depth - 1.5 * C_THR) * ray, depth * beyond]
    points = np.array(local) @ view.world_from_camera[:3, :3].T + view.world_from_camera[:3, 3]
    seen = correspond(points, [view], C_THR)
    np.testing.assert_allclose(seen.pixels[0, 0], (column, row), atol=1e-3)
    assert seen.inside[0].tolist() == [True, False, True, True, False]  # behind the camera, beyond the image: not
    assert seen.visible[0].tolist() == [True, False, False, False, False]  # hidden, floating: neither


@given(seeds)
@few
def test_correspondence_is_equation_1(seed):
    rng, views = np.random.default_rng(seed), tabletop(seed)
    cloud = view_cloud(views[0], 0)
    points = np.concatenate([rng.permutation(cloud.points)[:20], rng.uniform(-1, 1, (20, 3)).astype(np.float32)])
    seen = correspond(points, views, C_THR)
    for v, view in enumerate(views):
        for i, x in enumerate(points.astype(float)):
            inside, visible = slow_visible(x, view)
            assert (seen.inside[v, i].item(), seen.visible[v, i].item()) == (inside, visible)
            if inside:
                np.testing.assert_allclose(seen.pixels[v, i], slow_project(x, view)[:2], atol=1e-4)


@given(seeds, st.sampled_from(["max", "mean"]))
@few
def test_informativeness_is_equation_4(seed, operator):
    rng = np.random.default_rng(seed)
    z, query = unit(rng, 6, 5), random_queries(rng, [2], 5)[2]
    found = informativeness(torch.from_numpy(z), query.positive, query.negatives, operator)
    np.testing.assert_allclose(found, [slow_informativeness(one, query, operator) for one in z], atol=1e-12)


@given(seeds, st.sampled_from(WEIGHTINGS), st.sampled_from(["max", "mean"]))
@few
def test_object_fusion_is_equation_5(seed, weighting, operator):
    rng = np.random.default_rng(seed)
    n, wanted = int(rng.integers(1, 12)), random_queries(rng, (2, 3, 7), 5)
    z, labels, pixels = unit(rng, n, 5), rng.choice([2, 3, 7, 9], n), rng.integers(1, 500, n)
    fused = fuse_objects(*map(torch.from_numpy, (z, labels)), wanted, torch.from_numpy(pixels), weighting, operator)
    slow, lost = {}, 0
    for label, query in wanted.items():
        rows = np.flatnonzero(labels == label)
        seen = [float(pixels[i]) if weighting.visibility else 1.0 for i in rows]
        gain = [slow_informativeness(z[i], query, operator) if weighting.informative else 1.0 for i in rows]
        mean, none = slow_mean(z[rows], [a * b for a, b in zip(seen, gain, strict=True)], seen)
        lost += none
        if mean is not None:
            slow[label] = mean
    assert fused.labels == list(slow) and fused.uninformative == lost
    np.testing.assert_allclose(fused.features, np.array(list(slow.values())).reshape(-1, 5), atol=1e-5)


@given(seeds, st.sampled_from(["max", "mean"]))
@settings(max_examples=8, deadline=None)  # slow, as it is meant to be
def test_point_fusion_is_equations_2_and_3_after_every_view(seed, operator):
    rng, views = np.random.default_rng(seed), tabletop(seed)
    everything = replace(views[-1], mask=np.full_like(views[-1].mask, FIRST_OBJECT_ID))  # up to the image's edges
    points = rng.permutation(view_cloud(everything, 0).points)[:12]
    points = np.concatenate([points, [[0, 0, -0.5], [9, 9, 9]]]).astype(np.float32)  # under the table; nowhere
    labels = rng.integers(FIRST_OBJECT_ID, FIRST_OBJECT_ID + 3, len(points))
    wanted = random_queries(rng, (2, 3, 4), 5)
    patches = rng.normal(size=(len(views), 5, 6, 8))
    fusion = PointFusion(Cloud(points, points, labels, (0,)), wanted, WEIGHTINGS, operator, C_THR)
    for count, view in enumerate(views, start=1):
        fusion.add(view, torch.from_numpy(patches[count - 1]))
        for weighting in WEIGHTINGS:
            found, lost = fusion.result(weighting), 0
            for i, x in enumerate(points.astype(float)):
                zs, seen, gain = [], [], []
                for view_, patch in zip(views[:count], patches, strict=False):
                    inside, visible = slow_visible(x, view_)
                    z = slow_bicubic(patch, *slow_project(x, view_)[:2], view_.depth.shape) if inside else np.ones(5)
                    zs.append(z / np.linalg.norm(z))
                    seen.append(float(visible if weighting.visibility else inside))
                    informative = slow_informativeness(zs[-1], wanted[labels[i]], operator)
                    gain.append(seen[-1] * (informative if weighting.informative else 1.0))
                mean, none = slow_mean(zs, gain, seen)
                lost += none
                assert (found.row[i] < 0) == (mean is None)
                if mean is not None:  # pixels are float32: where all weights are small, so is what is left of them
                    tolerance = 1e-5 / (1 if none else min(1, sum(gain)))
                    np.testing.assert_allclose(found.features[found.row[i]], mean, atol=tolerance)
            assert found.uninformative == lost
            assert len(found.features) == (found.row >= 0).sum()


def test_points_without_a_view_are_asked_for_in_vain():
    fusion = PointFusion(view_cloud(tabletop(0)[0], 0), {})
    with pytest.raises(ValueError, match="no view was added yet"):
        fusion.result(Weighting(visibility=True))


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_a_views_cloud_is_its_object_pixels(seed):
    (view, *_) = tabletop(seed)
    cloud = view_cloud(view, 4)
    shown = (view.mask >= FIRST_OBJECT_ID) & (view.depth > 0)
    np.testing.assert_array_equal(cloud.pixels, np.flatnonzero(shown))
    np.testing.assert_array_equal(cloud.labels, view.mask[shown])
    np.testing.assert_allclose(cloud.colors, view.rgb[shown] / 255, atol=1e-6)
    assert cloud.views == (4,) and cloud.points[:, 2].min() > -1e-3  # nothing lies under the table
    for k in range(0, len(cloud), 37):
        row, column = np.divmod(cloud.pixels[k], view.mask.shape[1])
        np.testing.assert_allclose(
            slow_project(cloud.points[k], view), (column, row, view.depth[row, column]), atol=1e-3
        )


def test_the_full_cloud_has_a_mean_point_and_the_commonest_label_in_each_voxel(tmp_path):
    (scene,) = load_scenes(write_scenes(tmp_path, 1, 4))
    voxel, cells = 0.02, {}
    for v in range(len(scene)):
        cloud = view_cloud(scene.view(v), v)
        for row in zip(cloud.points, cloud.colors, cloud.labels, strict=True):
            cells.setdefault(tuple(np.floor(row[0] / np.float32(voxel)).astype(int)), []).append(row)
    full = full_cloud(scene, voxel=voxel)
    assert len(full) == len(cells) and full.views == (0, 1, 2, 3) and full.pixels is None
    for point, color, label in zip(full.points, full.colors, full.labels, strict=True):
        rows = min(cells.values(), key=lambda rows: np.linalg.norm(np.mean([row[0] for row in rows], 0) - point))
        np.testing.assert_allclose(point, np.mean([row[0] for row in rows], axis=0), atol=1e-5)
        np.testing.assert_allclose(color, np.mean([row[1] for row in rows], axis=0), atol=1e-5)
        counts = np.bincount([row[2] for row in rows])
        assert counts[label] == counts.max()
    assert len(full_cloud(scene, [1], voxel)) < len(full)


def test_a_view_of_the_bare_table_adds_nothing(tmp_path):
    (scene,) = load_scenes(write_scenes(tmp_path, 1, 3))
    views = [scene.view(v) for v in range(3)]
    bare = replace(views[1], mask=np.minimum(views[1].mask, 1))
    assert len(view_cloud(bare, 1)) == 0
    scenes = [
        SimpleNamespace(views=lambda numbers, shown=shown: [(v, shown[v]) for v in numbers])
        for shown in (views, [views[0], bare, views[2]])
    ]
    with_bare = full_cloud(scenes[1], (0, 1, 2))
    np.testing.assert_array_equal(with_bare.points, full_cloud(scenes[0], (0, 2)).points)


class Text:
    """Every phrase has an embedding of its own."""

    def encode(self, phrases):
        rows = [np.random.default_rng(zlib.crc32(phrase.encode())).normal(size=16) for phrase in phrases]
        return torch.nn.functional.normalize(torch.from_numpy(np.array(rows)), dim=-1)


def test_prompts_of_a_scene_and_of_the_catalogue(tmp_path):
    """The boxes, of one category, are no negatives of each other by its name, but by their descriptions."""
    (scene,) = load_scenes(write_scenes(tmp_path, 1, 1))
    other = replace(CATALOGUE.specs[0], name="green_jar", category="jar", attributes={"color": "gre"})
    prompts, text = ScenePrompts((*CATALOGUE.specs, other), Text()), Text()
    box, tin, jar = text.encode(["box", "tin", "jar"])
    named = prompts.of(scene, PromptConfig("cls"))
    assert {label: len(query.negatives) for label, query in named.items()} == {2: 1, 3: 1, 4: 1}
    for label, own, negative in ((2, box, tin), (3, box, tin), (4, tin, box)):
        torch.testing.assert_close(named[label].positive, own)
        torch.testing.assert_close(named[label].negatives[0], negative)
    everything = prompts.of(scene, PromptConfig("cls", negatives="all"))[2].negatives
    assert sorted((everything @ torch.stack([tin, jar]).T).argmax(1).tolist()) == [0, 1] and len(everything) == 2
    described = prompts.of(scene, PromptConfig("open"))
    assert {label: len(query.negatives) for label, query in described.items()} == {2: 2, 3: 2, 4: 2}
    assert len(prompts.of(scene, PromptConfig("open", negatives="all"))[2].negatives) == 3


def test_the_mean_prompt_is_over_all_phrases_or_over_families():
    text, spec = Text(), CATALOGUE.specs[0]
    families = [phrases for phrases in describe_object(spec).training.values() if phrases]
    assert len({len(phrases) for phrases in families}) > 1  # else there would be nothing to tell apart
    every = text.encode([phrase for phrases in families for phrase in phrases]).mean(0)
    alike = torch.stack([text.encode(phrases).mean(0) for phrases in families]).mean(0)
    prompts = ScenePrompts(CATALOGUE.specs, text)
    shares = paper_mix(family for family, said in describe_object(spec).training.items() if said)
    as_theirs = sum(
        shares.get(family, 0) * text.encode(said).mean(0)
        for family, said in describe_object(spec).training.items()
        if said
    )
    for kind, mean in (("open", every), ("families", alike), ("mix", as_theirs)):
        torch.testing.assert_close(prompts.prompt(spec.name, kind), torch.nn.functional.normalize(mean, dim=0))


def test_prompt_settings_that_are_none_are_named():
    with pytest.raises(ValueError, match="operator 'min': expected one of max, mean"):
        PromptConfig(operator="min")


def test_without_fallback_an_object_that_no_view_tells_apart_has_no_feature():
    away, own = torch.tensor([[0.0, 1.0]]), torch.tensor([1.0, 0.0])
    queries = {2: Queries(own, away), 3: Queries(away[0], own[None])}
    features, labels = torch.cat([away, away]), torch.tensor([2, 3])
    whole, strict = (fuse_objects(features, labels, queries, fallback=fallback) for fallback in (True, False))
    assert (whole.labels, strict.labels) == ([2, 3], [3])
    assert whole.uninformative == strict.uninformative == 1
