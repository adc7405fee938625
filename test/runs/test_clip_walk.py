# SPDX-License-Identifier: Apache-2.0
"""Any CLIP from one command to a served model, with a tiny random one made on the spot, from other working directories
than anything lies in: create, train, calibrate, ground by the command and by the node, tables 2 and 3, import."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from clip_support import make_clip, write_frame
from mvtod_support import write_splits
from ros_support import FakeCamera, ros  # noqa: F401
from safetensors import safe_open

from dropclip_ros.base.errors import Status
from dropclip_ros.cli import main
from dropclip_ros.grounding.pipeline import Grounder
from dropclip_ros.networks.minkowski_checkpoint import write_minkowski
from dropclip_ros.networks.model_folder import load_config, load_model
from dropclip_ros.nodes.grounding_node import GroundingNode
from dropclip_ros.ros.common import GROUND_SERVICE
from dropclip_ros.srv import Ground
from training import clip
from training.evaluate import cli as evaluate

ROOT = Path(__file__).resolve().parents[2]
RECIPE = "stem: 4\nplanes: [4, 4, 8, 8, 8, 8, 4, 8]\nbatch_size: 2\nepochs: 0\nsteps: 2\npartial_steps: 2\nworkers: 0\n"
TRAIN = ["--tower", "clip", "--scenes", "S", "--out", "O", "--count", "2", "--heldout", "2", "--config", "tiny.yaml"]
TRAIN += ["--scene.views", "3", "--scene.width", "160", "--scene.height", "120", "--workers", "1"]
FRAME = ["--rgb", "a.png", "--depth", "a_depth.png", "--intrinsics", "a_k.json", "--camera-pose", "a_p.json"]


@pytest.mark.parametrize("rendered", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_whole_way(ros, rendered, tmp_path, make_tabletop, monkeypatch, capsys, request):
    """rendered: its two scenes too; else they are boxes, cast ray by ray."""
    if rendered:
        request.getfixturevalue("off_screen")
    else:
        write_splits(tmp_path / "S", ("train", "validation", "unseen_instance"))
    tower = make_clip(tmp_path / "clip")
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    assert main(["model", "create", "named", "--tower", "clip"]) == 0
    asked_first(capsys)
    clip.main([*TRAIN, "--yes"])
    check_results(tmp_path / "O", tower)
    as_a_process(tmp_path)

    elsewhere = tmp_path / "else" / "where"
    elsewhere.mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    frames = [make_tabletop(seed=seed, noise=0.001).frame for seed in range(4)]
    entries = [
        write_frame(elsewhere, frame, name) | {"there": ["box", "ball"], "absent": ["giraffe", "car", "sun"]}
        for frame, name in zip(frames, "abcd", strict=True)
    ]
    Path("frames.json").write_text(json.dumps(entries))
    assert main(["calibrate", "../../named", "--frames", "frames.json"]) == 0
    write_minkowski(Path("weights.pth"), load_model(tmp_path / "O" / "model", fuse=False)[0])
    said = ["--tower", "../../clip", "--axes", "table", "--no-centred"]
    assert main(["model", "import", "weights.pth", "imported", *said]) == 0
    own, imported = (Grounder.from_pretrained(folder) for folder in ("../../O/model", "imported"))
    torch.testing.assert_close(own.encode(frames[0]).features, imported.encode(frames[0]).features)
    for model in ("../../named", "../../O/model", "imported"):
        answer = grounded(capsys, model)
        assert answer["query"] == "a mug" and answer["status"] in ("OK", "NOT_FOUND")
    table = ["table3", "--scenes", "../../S", "--model", "../../O/model", "--cache", "../../O/tables/cache"]
    monkeypatch.setattr(sys, "argv", ["dropclip-eval", *table, "--out", "t"])
    evaluate.main()
    assert (
        Path("t/table3.md").read_text().splitlines()[3:]
        == ((tmp_path / "O" / "tables" / "table3.md").read_text().splitlines()[3:])
    )
    for model in (tmp_path / "named", tmp_path / "O" / "model"):
        served(ros, model, frames[0])


def asked_first(capsys) -> None:
    """Without anybody to ask and without --yes it says what it would take, and does nothing."""
    with pytest.raises(SystemExit) as ended:
        clip.main([*TRAIN, "--stage", "distillation"])
    said = capsys.readouterr()
    assert ended.value.code == 2 and "--yes" in said.err and "on this machine" in said.out and not Path("O").exists()


def check_results(out: Path, tower: Path) -> None:
    """Tables, and a model whose two towers are what it was made of, calibrated on what it did not learn from."""
    for table in ("table2", "table3"):
        assert "every point answers" in (out / "tables" / f"{table}.md").read_text()
    config = load_config(out / "model")
    assert config.text.model == config.image.model == str(tower.resolve()) and config.encoder.out_channels == 24
    assert "Fitted on 2 frames" in (out / "model" / "README.md").read_text()
    with safe_open(out / "fused.safetensors", "pt") as file:
        assert json.loads(file.metadata()["tower"])["model"] == str(tower.resolve())


def as_a_process(folder: Path) -> None:
    """`dropclip train` once more: what is done is not done again."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "dropclip_ros.cli", "train", *TRAIN]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0 and run.stdout.count(": done") == 6, run.stderr


def grounded(capsys, model: str) -> dict:
    capsys.readouterr()
    assert main(["ground", *FRAME, "--query", "a mug", "--model", model, "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    return answer


def served(ros, model: Path, frame) -> None:
    """The node answers with the model, and nothing stays."""
    camera = FakeCamera(ros.node)
    node = ros.start(GroundingNode, model=str(model), device="cpu", reliable=True, max_frame_age=300.0)
    camera.wait_for()
    camera.send(camera.messages(frame))
    answer = ros.call(ros.node.create_client(Ground, GROUND_SERVICE), Ground.Request(query="a mug", threshold=0.01))
    assert answer.status in (Status.OK, Status.NOT_FOUND), answer.message
    ros.stop(node)
