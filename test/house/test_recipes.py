# SPDX-License-Identifier: Apache-2.0
"""CONTRIBUTING.md: each recipe is done as it stands there, on a copy of the tree: one new file, and one line."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A copy of both packages' code, its heavy files linked, with all recipes done."""
    root = tmp_path_factory.mktemp("tree")
    for package in ("dropclip_ros", "training"):
        for path in (ROOT / package).rglob("*"):
            if path.is_dir() or "__pycache__" in path.parts:
                continue
            copy = root / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".py":
                shutil.copyfile(path, copy)
            else:
                copy.symlink_to(path)
    for text in RECIPES.values():
        cook(root, text)
    return root


def cook(root: Path, text: str) -> None:
    """Writes a recipe's file below `root`, and its line, where it has one, into the dict that it names."""
    name, (language, content) = (
        re.search(r"File `([^`]+)`", text)[1],
        re.search(r"```(\w+)\n(.*?)```", text, re.S).groups(),
    )
    assert language in ("python", "yaml", "json") and not (ROOT / name).exists()
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(content)
    if found := re.search(r"Line in `(\w+)` of `([^`]+)`:\n\n    (.*)", text):
        table, path, line = found.groups()
        code = (root / path).read_text()
        head = re.search(rf"^{table}\b.*= \{{.*\n", code, re.MULTILINE)
        assert head, f"{path} has no {table}"
        (root / path).write_text(f"{code[: head.end()]}    {line}\n{code[head.end() :]}")


TRIALS = {  # of each recipe: code that runs in the copy, and what it prints at the end
    "A 2D feature extractor": (
        """
from training.evaluate.bench import Bench
bench = Bench("nowhere", "nowhere", extractor="colour")
print(tuple(bench.dense.embed(np.zeros((2, 48, 64, 3), np.uint8)).shape))
""",
        "(2, 384, 6, 8)",
    ),
    "A gripper": ("print(dropclip_ros.load_gripper('my_hand').max_width)", "0.08"),
    "A data set, for evaluation and for training": (
        """
from training.evaluate.bench import Bench
from training.evaluate.data.convert import import_scenes
from training.evaluate.tables_transfer import data_set
from training.objects.words.language import training_vocabulary
from training.objects.catalogue import catalogue_of
from training.scenes.shards import load_scenes
with torch.inference_mode():
    table = data_set(Bench(Path("none"), Path("cache")), "mine", Path("data"))
assert all(row["scenes"] == 1 for row in table.rows) and len(table.rows) == 4, table.rows
import_scenes("mine", Path("data"), Path("imported"))
scene, catalogue = load_scenes(Path("imported"))[0], catalogue_of(Path("imported"))
assert scene.objects[2]["category"] == "mug" and (scene.view(0).mask == 2).sum() == 24 * 24
assert "the mug" in training_vocabulary(catalogue.specs).phrases
print(catalogue.by_name["my_mug"].prompts["class"])
""",
        "('mug', 'the mug')",
    ),
    "A sparse backend": (
        """
from dropclip_ros.sparse import make_grid
os.environ["DROPCLIP_GRID"] = "mine"
print(type(make_grid(torch.tensor([[0, 0, 0], [1, 0, 0]]))).__name__)
del os.environ["DROPCLIP_GRID"]
""",
        "MyGrid",
    ),
    "A query family": (
        """
from training.evaluate.questions import questions
from training.objects.catalogue import Catalogue
from training.objects.words.language import training_vocabulary
from training.scenes.queries import scene_queries
specs = Catalogue.procedural().by_name
scene = SimpleNamespace(name="s", objects={2: {"name": "bowl_00"}, 3: {"name": "hammer_00"}})
asked = questions(scene, np.full(256, 1000), specs, "heldout", np.random.default_rng(0))
assert [(q.phrase, q.labels) for q in asked if q.family == "shape"] == [("something round", [2])]
assert scene_queries({2: specs["bowl_00"], 3: specs["hammer_00"]})["shape"] == {"round thing": [2]}
vocabulary = training_vocabulary([specs["bowl_00"], specs["hammer_00"]])
print(vocabulary.weights["bowl_00"][vocabulary.phrases.index("round thing")] > 0)
""",
        "True",
    ),
    "Retraining on your own objects only": (
        """
import subprocess
from training.make import MakeRecipe, make_scenes
recipe, said = MakeRecipe(catalogue="objects"), []
assert [spec.name for spec in recipe.objects] == ["my_box", "my_tin"]
subprocess.run = lambda command, check: said.append(command[4:])
make_scenes(Path("own"), recipe)
print([Path(command[1]).name for command in said], {command[-1] for command in said})
""",
        "['train', 'validation'] {'objects'}",
    ),
    "A new table of results": (
        "from training.evaluate.cli import COMMANDS; print(COMMANDS['mytable'].__doc__)",
        "The shipped encoder on single views.",
    ),
}
HEAD = """
import io, json, os, sys, traceback
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
import numpy as np
import torch
import dropclip_ros
said = {}
for name, code in json.load(sys.stdin).items():
    with redirect_stdout(io.StringIO()) as out:
        try:
            exec(code, globals().copy())
        except Exception:
            traceback.print_exc(file=out)
    said[name] = out.getvalue()
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said(tree) -> dict[str, str]:
    """What each trial prints; one Python for all of them, which imports from the copy."""
    for name in ("box", "tin"):
        trimesh.creation.box((0.06, 0.05, 0.08)).export(tree / "objects" / f"{name}.ply")
    mask = np.ones((48, 64), np.uint8)
    mask[12:36, 16:40] = 2
    (tree / "data").mkdir()
    Image.fromarray(np.repeat(60 * mask[..., None], 3, 2)).save(tree / "data/one.png")
    Image.fromarray(np.where(mask == 2, 900, 1000).astype(np.uint16)).save(tree / "data/one_depth.png")
    Image.fromarray(mask).save(tree / "data/one_mask.png")
    trials = json.dumps({name: code for name, (code, _) in TRIALS.items()})
    env = os.environ | {"PYTHONPATH": str(tree)}
    options = {"cwd": tree, "env": env, "input": trials, "capture_output": True, "text": True, "timeout": 300}
    done = subprocess.run([sys.executable, "-c", HEAD], **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_there_are_seven_and_each_has_a_file():
    assert set(RECIPES) == set(TRIALS) and all(text.count("File `") == 1 for text in RECIPES.values())
    assert sum("\nLine in `" in text for text in RECIPES.values()) == 5  # a gripper and a catalogue need none


@pytest.mark.parametrize("name", TRIALS)
def test_a_recipe_works(name, said):
    assert said[name].strip().splitlines()[-1] == TRIALS[name][1], said[name]
