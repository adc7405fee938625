# SPDX-License-Identifier: Apache-2.0
"""The paper's chain with a tiny random CLIP made on the spot, from another working directory than anything lies in."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from clip_support import make_clip, write_frame
from safetensors import safe_open

from dropclip_ros.networks.model_folder import load_config
from training import clip
from training.clip import Options, Training
from training.clip_plan import Cost, check_disk, plan_text
from training.runs.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
RECIPE = "stem: 4\nplanes: [4, 4, 8, 8, 8, 8, 4, 8]\nbatch_size: 2\nepochs: 0\nsteps: 2\npartial_steps: 2\nworkers: 0\n"
SIZE = ["--scene.views", "3", "--scene.width", "160", "--scene.height", "120"]


def dropclip(folder: Path, *arguments: object) -> subprocess.CompletedProcess:
    """The command in a folder of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "dropclip_ros.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.usefixtures("off_screen")
def test_one_command_from_scenes_to_tables_and_what_it_makes_is_served(tmp_path, make_tabletop):
    make_clip(tmp_path / "clip")
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    train = ["train", "--tower", "clip", "--scenes", "S", "--out", "O", "--count", 2, "--heldout", 2, *SIZE]
    train += ["--config", "tiny.yaml", "--workers", 2]
    asked = dropclip(tmp_path, *train)
    assert asked.returncode == 2 and "--yes" in asked.stderr and "on this machine" in asked.stdout
    assert not (tmp_path / "S").exists()
    run = dropclip(tmp_path, *train, "--yes")
    assert run.returncode == 0, run.stdout + run.stderr
    for table in ("table2", "table3"):
        assert "mIoU" in (tmp_path / "O" / "tables" / f"{table}.md").read_text()
    model = tmp_path / "O" / "model"
    config, folder = load_config(model), str((tmp_path / "clip").resolve())
    assert config.text.model == config.image.model == folder and config.encoder.out_channels == 24
    assert "Fitted on 2 frames" in (model / "README.md").read_text()
    with safe_open(tmp_path / "O" / "fused.safetensors", "pt") as file:
        assert json.loads(file.metadata()["tower"])["model"] == folder
    again = time.monotonic()
    assert dropclip(tmp_path, *train, "--yes").stdout.count(": done") == 6
    assert time.monotonic() - again < 60
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_frame(elsewhere, make_tabletop().frame)
    frame = ["--rgb", "a.png", "--depth", "a_depth.png", "--intrinsics", "a_k.json"]
    for image in ([], ["--image"]):
        answer = dropclip(elsewhere, "ground", *frame, "--query", "a mug", "--model", "../O/model", "--json", *image)
        assert answer.returncode == 0 and json.loads(answer.stdout)[0]["status"] in ("OK", "NOT_FOUND")


def test_widths_that_do_not_fit_are_said_at_once(tmp_path):
    tower = make_clip(tmp_path / "clip")
    (tmp_path / "wide.yaml").write_text("feat_dim: 32\n")
    options = Options(str(tower), tmp_path / "S", tmp_path / "O")
    start = time.monotonic()
    with pytest.raises(InputError, match=r"feat_dim 32 and .* 24 channels"):
        Training(Options(str(tower), tmp_path / "S", tmp_path / "O", config=tmp_path / "wide.yaml"))
    assert Training(options).recipe.feat_dim == 24 and time.monotonic() - start < 1


def test_what_it_takes_is_added_up_and_a_small_disk_is_refused(tmp_path):
    costs = [Cost("scenes", 100, 2e12), Cost("features", 0.5, 1e9)]
    said = plan_text(73, 15000, costs)
    assert "15000 training scenes of 73 views" in said and "4 days" in said and "30 min" in said
    with pytest.raises(InputError, match="GB free"):
        check_disk({tmp_path / "a": [Cost("scenes", 1, 1e18)]})
    check_disk({tmp_path / "a": [Cost("scenes", 1, 1e3)], tmp_path / "b": []})


def test_each_stage_is_charged_to_the_disk_it_writes_on(tmp_path, monkeypatch):
    """With scenes at hand, nothing of what is left goes where they lie."""
    charged = {}
    monkeypatch.setattr(clip, "check_disk", lambda wanted: charged.update(wanted))
    options = Options("x", tmp_path / "S", tmp_path / "O", yes=True)
    costs = [Cost("features", 1, 1e9), Cost("distillation", 2, 1e9)]
    assert clip.agreed(SimpleNamespace(options=options, plan=lambda todo: costs), ["features", "distillation"])
    assert charged == {tmp_path / "S": [], tmp_path / "O": costs}


def test_only_the_stages_asked_for_are_measured(tmp_path, monkeypatch):
    training = Training(Options(str(make_clip(tmp_path / "clip")), tmp_path / "S", tmp_path / "O"))
    monkeypatch.setattr(clip, "timed_steps", lambda *_: Cost("distillation", 1, 1))
    monkeypatch.setattr(clip, "timed_scenes", lambda *_: pytest.fail("no scene is asked for"))
    assert [cost.stage for cost in training.plan(["distillation", "tables"])] == ["distillation"]


def test_without_the_training_package_one_sentence_says_so(tmp_path, capsys, monkeypatch):
    from dropclip_ros.cli import main

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["train", "--tower", "x"]) == 1
    assert "the training package is not installed" in capsys.readouterr().err
