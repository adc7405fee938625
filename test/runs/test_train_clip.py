# SPDX-License-Identifier: Apache-2.0
"""`dropclip train`: what it says, checks and measures before it begins. test_clip_walk.py walks it."""

import time
from types import SimpleNamespace

import pytest
from clip_support import make_clip

from training import clip
from training.clip import Options, Training
from training.clip_plan import Cost, check_disk, plan_text
from training.runs.errors import InputError


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


def test_a_tower_that_cannot_be_had_is_said_before_anything_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens
    monkeypatch.setattr(clip, "timed_scenes", lambda *_: pytest.fail("a scene is rendered"))
    said = ["--scenes", str(tmp_path / "S"), "--out", str(tmp_path / "O"), "--yes"]
    for tower, complaint in (
        (["--tower", "no-such-tower", "--pretrained", "openai"], "knows no model of that name"),
        (["--tower", "ViT-B-32"], "its tags are"),
        (["--tower", "ViT-B-32", "--pretrained", "laion2b_s34b_b79k"], "cannot be reached"),
        (["--tower", "ViT-L-14-336", "--pretrained", "openai"], "ViT-L-14-336-quickgelu"),
    ):
        start = time.monotonic()
        with pytest.raises(SystemExit) as ended:
            clip.main([*tower, *said])
        error = capsys.readouterr().err
        assert ended.value.code == 2 and complaint in error and error.count("\n") == 1
        assert time.monotonic() - start < 30 and not (tmp_path / "O").exists()


def test_without_the_training_package_one_sentence_says_so(tmp_path, capsys, monkeypatch):
    from dropclip_ros.cli import main

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["train", "--tower", "x"]) == 1
    assert "the training package is not installed" in capsys.readouterr().err
