# SPDX-License-Identifier: Apache-2.0
"""Own objects only: what is asked and reported about scenes of a catalogue that is not the procedural one."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import trimesh
from mvtod_support import CATALOGUE, SIZES, write_scenes

from dropclip_ros.networks.model_folder import ModelConfig
from training.evaluate.questions import areas_of, questions
from training.evaluate.served import quality
from training.evaluate.served.compare_text import retrieval
from training.evaluate.served.pipeline import SeenInstances, TrueFeatures
from training.fusion.crops import collect_crops
from training.objects.catalogue import Catalogue, catalogue_of
from training.runs.errors import InputError
from training.runs.jobs import RECIPE_FILE
from training.scenes.shards import load_scenes

SHAPE = (96, 128)


def write_own(root, splits=("validation", "unseen_instance")):
    """Scenes of three boxes in a folder for each split, whose recipe names their catalogue of meshes."""
    entries = []
    for spec in CATALOGUE.specs:
        (root / "objects").mkdir(parents=True, exist_ok=True)
        trimesh.creation.box(SIZES[spec.name]).export(root / "objects" / f"{spec.name}.ply")
        entry = {"name": spec.name, "category": spec.category, "split": spec.split, "attributes": spec.attributes}
        entries.append(entry | {"mesh": f"{spec.name}.ply"})
    (root / "objects/catalogue.json").write_text(json.dumps({"objects": entries}))
    for split in splits:
        write_scenes(root / split, 2, shape=SHAPE)
        (root / split / RECIPE_FILE).write_text(json.dumps({"catalogue": str(root / "objects")}))
    return root


class Text:
    """A phrase is a unit vector that its letters choose."""

    channels, mean_object = 8, None

    def encode(self, phrases):
        rows = [np.random.default_rng(list(phrase.encode())).normal(size=8) for phrase in phrases]
        return torch.nn.functional.normalize(torch.tensor(np.array(rows).reshape(-1, 8)).float(), dim=-1)


def true_masks(scene, v):
    """True masks, each with the feature of its category's name."""
    labels, number = scene.view(v).mask.ravel(), np.zeros(256, np.int64)
    number[list(scene.objects)] = np.arange(1, len(scene.objects) + 1)
    return SeenInstances(number[labels], Text().encode([entry["category"] for entry in scene.objects.values()]))


def test_the_quality_command_asks_in_the_words_of_the_scenes_own_catalogue(tmp_path, monkeypatch):
    root, text = write_own(tmp_path), Text()
    grounder = SimpleNamespace(text=text, config=ModelConfig("own"), objects=SimpleNamespace(rival=0.5))
    said = set()

    def upper(model, grounder, specs):
        said.update(spec.name for spec in specs)
        return true_masks

    monkeypatch.setattr(quality, "load_grounder", lambda model, weight, known, specs, names=False: grounder)
    monkeypatch.setattr(quality, "single_view", lambda grounder: true_masks)
    monkeypatch.setattr(quality.TrueFeatures, "of_model", upper)
    with torch.no_grad():  # the command turns gradients off for good
        quality.main(root, tmp_path / "out.md", ("validation", "unseen_instance"))
    table = (tmp_path / "out.md").read_text()
    assert said == set(SIZES) and table.count("| unseen_instance | training | single view |") == 2
    assert "heldout" not in table  # boxes and tins of one's own have no other names
    assert (tmp_path / "out.csv").exists() and (tmp_path / "out.png").exists()


def test_the_fused_upper_bound_and_the_text_study_know_own_objects(tmp_path):
    root, text = write_own(tmp_path, ("train",)), Text()
    specs, scene = catalogue_of(root / "train").by_name, load_scenes(root / "train")[0]

    def tower(images):
        return torch.nn.functional.normalize(images.mean((2, 3)) @ torch.ones(3, 8) + torch.arange(8), dim=-1)

    fused = TrueFeatures(tower, text, list(specs.values())).fused(scene, 0)
    assert fused.labels == [2, 4] and fused.features.shape == (2, 8)  # the blue box shows too little for a crop
    crops = collect_crops([scene])
    features = text.encode([specs[name].category for name in crops.names])
    assert retrieval(features, crops, specs, "training", text.encode)["class"] == 1.0


def test_an_object_that_the_catalogue_lacks_is_named(tmp_path):
    scene = load_scenes(write_scenes(tmp_path, 1))[0]
    with pytest.raises(InputError, match="scene_00000 holds blue_box, which its catalogue lacks"):
        questions(
            scene, areas_of(scene.view(0).mask), Catalogue.procedural().by_name, "training", np.random.default_rng(0)
        )
