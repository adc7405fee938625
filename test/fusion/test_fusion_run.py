# SPDX-License-Identifier: Apache-2.0
"""`dropclip-fuse`: object features of every view of a data set, whatever stops it in between."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from clip_support import make_clip
from mvtod_support import write_scenes, write_splits
from safetensors.torch import save_file

from dropclip_ros.networks.image import ImageConfig, ImageTower, make_vit
from dropclip_ros.networks.text import TextConfig, TextEncoder
from training.fusion import run
from training.fusion.crops import shown_objects
from training.fusion.features import ObjectFeatures, VisualPrompt
from training.fusion.fuse import Weighting, fuse_objects
from training.fusion.run import FeatureRecipe, digest, embed_scenes, extract
from training.fusion.targets import load_fused, tower_of_features
from training.fusion.view_features import features_path, load_view_features, view_order
from training.fusion.weights import PromptConfig, ScenePrompts
from training.objects.catalogue import catalogue_of
from training.runs.errors import InputError
from training.scenes.shards import load_scenes, pack

TOWER = ImageConfig(size=16, patch_size=8, width=16, layers=1, heads=2, channels=8)
LEAST = 20  # pixels; the scenes are small


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return load_scenes(write_scenes(tmp_path_factory.mktemp("scenes"), 3, 4))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "image_tower.safetensors"
    save_file(make_vit(TOWER).state_dict(), path)
    return path


@pytest.fixture
def recipe(weights):
    return FeatureRecipe("scenes", TOWER, digest(TOWER, weights), min_pixels=LEAST)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("scene_*")}


@pytest.mark.parametrize("prompts", [(VisualPrompt(),), (VisualPrompt("crop", crops=3), VisualPrompt("mask-out"))])
def test_batches_across_views_and_scenes_say_what_each_object_alone_does(scenes, weights, prompts):
    extractor = ObjectFeatures(ImageTower(TOWER, weights), prompts)
    for scene, seen in zip(scenes, embed_scenes(scenes, extractor, 5, 2, LEAST), strict=True):
        wanted = [
            (v, label, area, extractor.embed(extractor.cut(view, [label]))[0])
            for v, view in scene.views()
            for label, area in shown_objects(view, scene.objects, LEAST).items()
        ]
        assert len(wanted) > len(scene) and len(seen) == len(wanted)
        for k, (v, label, area, feature) in enumerate(wanted):
            assert (seen.views[k], seen.labels[k], seen.pixels[k]) == (v, label, area)
            assert area == (scene.view(v).mask == label).sum() >= LEAST
            torch.testing.assert_close(seen.features[k].float(), feature, atol=1e-3, rtol=0)


def test_only_the_first_views_of_the_order(scenes, recipe, weights, tmp_path):
    extractor = ObjectFeatures(ImageTower(TOWER, weights))
    (all_views,) = embed_scenes(scenes[:1], extractor, min_pixels=LEAST)
    (some,) = embed_scenes(scenes[:1], extractor, min_pixels=LEAST, views=2)
    first = view_order(scenes[0])[:2]
    assert set(some.views.tolist()) <= set(first) and len(first) == 2
    torch.testing.assert_close(some.features, all_views.of_views(first).features, atol=1e-3, rtol=0)


def test_stopped_and_resumed_it_leaves_what_an_undisturbed_run_does(scenes, recipe, weights, tmp_path, monkeypatch):
    extract(scenes, tmp_path / "whole", recipe, weights)
    save, done = run.save_view_features, []

    def stop_at_the_second(path, seen):
        if done:
            raise KeyboardInterrupt
        done.append(path)
        save(path, seen)

    out = tmp_path / "out"
    monkeypatch.setattr(run, "save_view_features", stop_at_the_second)
    with pytest.raises(InputError, match="stopped: 1 of 3 scenes are whole; the same command goes on"):
        extract(scenes, out, recipe, weights)
    monkeypatch.undo()
    written = done[0].stat().st_mtime_ns
    extract(scenes, out, recipe, weights)
    assert done[0].stat().st_mtime_ns == written
    found = [load_view_features(out, scene) for scene in scenes]
    for scene, seen in zip(scenes, found, strict=True):
        whole = load_view_features(tmp_path / "whole", scene.name)
        for name in ("views", "labels", "pixels"):
            assert torch.equal(getattr(seen, name), getattr(whole, name))
        torch.testing.assert_close(seen.features, whole.features, atol=1e-3, rtol=0)


def test_two_workers_write_the_same(scenes, recipe, weights, tmp_path):
    extract(scenes, tmp_path / "one", recipe, weights)
    extract(scenes, tmp_path / "two", recipe, weights, workers=2)
    assert contents(tmp_path / "one").keys() == contents(tmp_path / "two").keys()
    for scene in scenes:
        one, two = (load_view_features(tmp_path / name, scene) for name in ("one", "two"))
        torch.testing.assert_close(one.features, two.features, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"prompts": (VisualPrompt("crop"),)}, "prompts"), ({"sha256": "0" * 64}, "sha256"), ({"views": 3}, "views")],
)
def test_a_folder_holds_features_of_one_recipe(scenes, recipe, weights, tmp_path, change, named):
    extract(scenes[:1], tmp_path, recipe, weights)
    before = contents(tmp_path)
    other = FeatureRecipe(**{**vars(recipe), **change})
    with pytest.raises(InputError, match=rf"features of another recipe \(differs in {named}\)"):
        extract(scenes, tmp_path, other, weights)
    assert contents(tmp_path) == before


def test_a_broken_view_is_left_out_and_named(weights, tmp_path):
    (scene,) = load_scenes(write_scenes(tmp_path, 1, 3))
    (tmp_path / scene.name / "view_01.mask.png").write_bytes(b"no picture")
    extractor = ObjectFeatures(ImageTower(TOWER, weights))
    with pytest.warns(UserWarning, match="left out: .*view_01.mask.png cannot be read"):
        (seen,) = embed_scenes([scene], extractor, min_pixels=LEAST)
    assert set(seen.views.tolist()) == {0, 2}


def test_a_scene_that_shows_nothing_has_no_features(scenes, weights, tmp_path):
    extractor = ObjectFeatures(ImageTower(TOWER, weights))
    (seen,) = embed_scenes(scenes[:1], extractor, min_pixels=10**6)
    run.save_view_features(tmp_path / "scene_00000.safetensors", seen)
    seen = load_view_features(tmp_path, "scene_00000")
    assert len(seen) == 0 and seen.features.shape == (0, 8) and len(seen.of_views([0, 1])) == 0


def test_features_that_are_not_there_or_damaged_are_named(tmp_path):
    with pytest.raises(InputError, match=r"scene_00007\.safetensors: no features of that scene"):
        load_view_features(tmp_path, "scene_00007")
    features_path(tmp_path, "scene_00007").write_bytes(b"\0" * 64)
    with pytest.raises(InputError, match="remove the file and run it again"):
        load_view_features(tmp_path, "scene_00007")


def test_the_command_reads_shards_and_ends_with_one_line_where_it_cannot(scenes, tmp_path, monkeypatch, capsys):
    pack(scenes[0].source.path, tmp_path / "shards")
    out, shards = str(tmp_path / "out"), str(tmp_path / "shards")
    arguments = ["dropclip-fuse", "--scenes", shards, "--out", out, "--min-pixels", str(LEAST), "--views", "2"]
    monkeypatch.setattr("sys.argv", [*arguments, "--no-fused"])
    run.main()
    assert "features of 3 scenes" in capsys.readouterr().out
    assert json.loads((tmp_path / "out/recipe.json").read_text())["views"] == 2
    assert load_view_features(tmp_path / "out", scenes[0]).features.shape[1] == 384
    monkeypatch.setattr("sys.argv", [arguments[0], "--scenes", str(tmp_path / "nowhere"), "--out", out])
    with pytest.raises(SystemExit, match="2"):
        run.main()
    assert capsys.readouterr().err.startswith(f"dropclip-fuse: {tmp_path}/nowhere: no scenes there")


def test_the_command_fuses_what_it_embeds(tmp_path, monkeypatch, capsys):
    """Equation 5, in the space of a tower's own text half, by the phrases and the weighting that are asked for."""
    tower, root = make_clip(tmp_path / "clip"), write_splits(tmp_path / "scenes", ("train",)) / "train"
    asked = ["--scenes", str(root), "--out", str(tmp_path / "out"), "--tower", str(tower)]
    found = load_scenes(root)
    text = TextEncoder(TextConfig(str(tower)))
    prompts, made = ScenePrompts(catalogue_of(root).specs, text), []
    for options, weighting, config in (
        ([], Weighting(), PromptConfig()),
        (["--weighting.visibility", "--phrases.kind", "cls"], Weighting(visibility=True), PromptConfig("cls")),
    ):
        monkeypatch.setattr("sys.argv", ["dropclip-fuse", *asked, *options])
        run.main()
        assert "6 objects, fused over their views" in capsys.readouterr().out
        for scene, fused in zip(found, load_fused(tmp_path / "out/fused.safetensors", found), strict=True):
            seen = load_view_features(tmp_path / "out", scene)
            wanted = fuse_objects(seen.features.float(), seen.labels, prompts.of(scene, config), seen.pixels, weighting)
            assert fused.labels == wanted.labels
            torch.testing.assert_close(fused.features, wanted.features)
            made.append(fused.features)
    assert not torch.allclose(made[0], made[len(found)])
    assert tower_of_features(tmp_path / "out/fused.safetensors").model == str(tower.resolve())


def test_a_count_below_one_is_refused(scenes, recipe, weights, tmp_path):
    with pytest.raises(InputError, match="readers 0: expected at least 1"):
        extract(scenes, tmp_path, recipe, weights, readers=0)
    assert not np.any([path.exists() for path in tmp_path.glob("*")])
