# SPDX-License-Identifier: Apache-2.0
"""Targets from a folder of dropclip-fuse, and the vocabulary that is embedded once."""

import json
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from distill_support import LABELS, tiny, write_data
from mvtod_support import CATALOGUE
from safetensors.torch import save_file

from dropclip_ros.networks.text import TextConfig
from training.distill import cli
from training.distill.cli import main
from training.fusion import targets
from training.fusion.phrase_features import embedded
from training.fusion.targets import fuse_views, tower_of_features
from training.fusion.view_features import ViewFeatures, features_path, save_view_features
from training.fusion.weights import Queries
from training.runs.errors import InputError
from training.runs.recipes import write_config
from training.scenes.shards import load_scenes

AXES = torch.eye(4)


class Prompts:
    """Each object's prompt is an axis, the others are its negatives."""

    def of(self, scene, config):
        return {label: Queries(AXES[k], AXES[[j for j in range(3) if j != k]]) for k, label in enumerate(LABELS)}


class Text:
    """Counts what it embeds."""

    def __init__(self):
        self.config, self.asked = TextConfig(), 0

    def encode(self, phrases):
        self.asked += len(phrases)
        return torch.stack([AXES[len(phrase) % 4] for phrase in phrases])


def write_views(folder, scenes, labels=LABELS):
    """Two views of each object: the first shows it, the second another one."""
    features = torch.cat([AXES[:3], AXES[[1, 2, 0]]])
    seen = ViewFeatures(features, torch.arange(2).repeat_interleave(3), torch.tensor(list(labels) * 2), torch.ones(6))
    for scene in scenes:
        save_view_features(features_path(folder, scene.name), seen)
    (folder / "recipe.json").write_text(json.dumps({"tower": {"model": "vit"}}))


def test_targets_are_fused_from_views_by_informativeness(tmp_path):
    scenes = load_scenes(write_data(tmp_path)[0])
    write_views(tmp_path / "views", scenes)
    for target in fuse_views(tmp_path / "views", scenes, Prompts()):
        assert target.labels == LABELS
        assert torch.equal(target.features, AXES[:3])  # of the views that show another object nothing is left


def test_a_folder_that_holds_other_features_is_refused(tmp_path, capsys):
    folder, _ = write_data(tmp_path)
    scenes, views = load_scenes(folder), tmp_path / "views"
    with pytest.raises(InputError, match=r"recipe.json cannot be read"):
        tower_of_features(tmp_path)
    write_views(views, scenes, [LABELS[0], LABELS[1], 77])
    with pytest.raises(InputError, match="has features of an object 77"):
        fuse_views(views, scenes, Prompts())
    assert tower_of_features(views).model == "vit"
    with pytest.raises(SystemExit):
        main(["--scenes", str(folder), "--fused", str(views), "--out", str(tmp_path / "out")])
    assert "give --text-adapter" in capsys.readouterr().err
    (views / "recipe.json").write_text("{}")
    with pytest.raises(InputError, match="none of dropclip-fuse"):
        tower_of_features(views)
    features_path(views, scenes[0].name).unlink()
    with pytest.raises(InputError, match="run dropclip-fuse"):
        fuse_views(views, scenes, Prompts())

    def unknown(scene, config):
        raise KeyError("giraffe_01")

    write_views(tmp_path / "more", scenes)
    with pytest.raises(InputError, match="'giraffe_01', which its catalogue lacks"):
        fuse_views(tmp_path / "more", scenes, SimpleNamespace(of=unknown))


def test_the_command_trains_on_a_folder_of_features_and_keeps_its_phrases(tmp_path, monkeypatch):
    folder, _ = write_data(tmp_path)
    write_views(tmp_path / "views", load_scenes(folder))
    save_file({"adapter": torch.eye(4)}, tmp_path / "adapter.safetensors")
    write_config(tmp_path / "c.yaml", tiny(steps=0, epochs=0, partial_steps=1, phrase_weight=0.1, use_cls_head=False))
    text = Text()
    monkeypatch.setattr(cli, "TextEncoder", lambda config, device, adapter: text)
    monkeypatch.setattr(cli, "catalogue_of", lambda scenes: CATALOGUE)
    monkeypatch.setattr(targets, "catalogue_of", lambda scenes: CATALOGUE)
    options = {
        "scenes": folder,
        "fused": tmp_path / "views",
        "out": tmp_path / "out",
        "config": tmp_path / "c.yaml",
        "text-adapter": tmp_path / "adapter.safetensors",
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    main(arguments)
    asked = text.asked
    main(arguments)
    assert text.asked == asked and (tmp_path / "out" / "model" / "config.json").exists()


def test_a_vocabulary_is_embedded_once_and_again_for_other_phrases_or_another_adapter(tmp_path):
    text, phrases, adapter = Text(), ["a", "bb", "ccc"], tmp_path / "adapter"
    adapter.write_bytes(b"one")
    first = embedded(text, phrases, tmp_path, adapter)
    again = embedded(text, phrases, tmp_path, adapter)
    assert text.asked == 3 and torch.equal(first.rows, again.rows)
    assert torch.equal(again.encode(["ccc", "a"]), first.rows[[2, 0]]) and text.asked == 3
    assert torch.equal(again.encode(["a", "dddd"]), AXES[[1, 0]]) and text.asked == 5
    adapter.write_bytes(b"two")
    embedded(text, phrases, tmp_path, adapter)
    embedded(text, phrases[:2], tmp_path, adapter)
    assert text.asked == 10
    (tmp_path / "phrases.safetensors").write_bytes(b"cut off")
    assert torch.equal(embedded(text, phrases, tmp_path).rows, F.normalize(first.rows, dim=-1))
