# SPDX-License-Identifier: Apache-2.0
"""Distillation in processes of its own: two under torchrun walk as one does, and a killed one loses nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from distill_support import Killing, source, targets, tiny, write_data

from training.distill import InputError, TrainingSet, distill
from training.distill.cli import main
from training.distill.processes import SyncedBatchNorm
from training.runs.recipes import write_config
from training.scenes.shards import load_scenes

ROOT = Path(__file__).resolve().parents[2]
ROWS = 3, 40  # of each process: moments must weigh rows, not processes


def normalise(rank: int, file: Path) -> None:
    """Each process normalises its rows; the first one keeps what came out and the gradients."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}.group", rank=rank, world_size=2)
    rows, weights = torch.load(f"{file}.in", weights_only=True)
    norm, mine = SyncedBatchNorm(5), rows.split(ROWS)[rank].clone().requires_grad_()
    out = norm(mine)
    (out * weights.split(ROWS)[rank]).sum().backward()
    torch.save([out.detach(), mine.grad, norm.running_mean, norm.running_var], f"{file}.{rank}")
    dist.destroy_process_group()


def test_synchronised_batch_norm_is_that_of_all_rows(tmp_path):
    torch.manual_seed(0)
    rows, weights, file = 100 + torch.randn(43, 5), torch.randn(43, 5), tmp_path / "norm"
    torch.save([rows, weights], f"{file}.in")
    mp.spawn(normalise, (file,), nprocs=2)
    whole, together = torch.nn.BatchNorm1d(5), rows.clone().requires_grad_()
    out = whole(together)
    (out * weights).sum().backward()
    found = [torch.load(f"{file}.{rank}", weights_only=True) for rank in range(2)]
    for i, expected in enumerate((out.detach(), together.grad)):
        torch.testing.assert_close(torch.cat([part[i] for part in found]), expected, atol=1e-4, rtol=1e-4)
    for part in found:
        torch.testing.assert_close(part[2:], [whole.running_mean, whole.running_var], atol=1e-4, rtol=1e-4)


def test_two_processes_under_torchrun_have_the_loss_curve_of_one(tmp_path):
    scenes, fused = write_data(tmp_path)
    write_config(tmp_path / "c.yaml", tiny(base_lr=3e-3, partial_base_lr=3e-3, batch_size=4))
    data = [
        "--scenes",
        str(scenes),
        "--fused",
        str(fused),
        "--config",
        str(tmp_path / "c.yaml"),
        "--validation",
        str(scenes),
        "--validation-fused",
        str(fused),
        "--out",
    ]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    main([*data, str(tmp_path / "one")])
    torch.set_num_threads(threads)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, "-m", "training.distill", *data, str(tmp_path / "two")],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    curves = []
    for run in ("one", "two"):
        lines = [json.loads(line) for line in (tmp_path / run / "losses.jsonl").read_text().splitlines()]
        names = ("cosine", "aux", "cls", "offset", "objects", "norm")
        curves.append([[line[name] for name in names] for line in lines if "lr" in line])
        assert {"val/cosine", "val/objects"} <= lines[-1].keys()
    assert len(curves[0]) == 6
    one, two = map(np.array, curves)
    np.testing.assert_allclose(one[0], two[0], rtol=1e-4)  # sums in another order
    np.testing.assert_allclose(one[1, :4], two[1, :4], rtol=1e-4)
    np.testing.assert_allclose(one[:, :4], two[:, :4], rtol=2e-2)  # AdamW makes whole steps of what is all but zero
    assert json.loads((tmp_path / "two" / "summary.json").read_text())["processes"] == 2
    card = (tmp_path / "two" / "model" / "README.md").read_text()
    assert "2 steps on full clouds" in card and "val/cosine" in card and "contrastive" in card


def train_and_be_killed(root: Path) -> None:
    torch.set_num_threads(1)
    Killing.reads = 14  # full clouds are kept by now: views are those of the second stage
    scenes = [Killing(scene.source, scene.name) for scene in load_scenes(root / "scenes")]
    distill(TrainingSet(scenes, targets(len(scenes)), root / "clouds"), tiny(partial_steps=12), root / "out")


def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(tmp_path):
    data = source(tmp_path)
    process = mp.get_context("spawn").Process(target=train_and_be_killed, args=(tmp_path,))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    whole = distill(data, tiny(partial_steps=12))
    process.start()
    process.join()
    assert process.exitcode == -9
    assert 2 < torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)["step"] < 14
    resumed = distill(data, tiny(partial_steps=12), tmp_path / "out")
    torch.set_num_threads(threads)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_the_command_says_in_one_line_what_is_wrong(tmp_path, capsys):
    scenes, fused = write_data(tmp_path, 1)
    data = ["--scenes", str(scenes), "--fused", str(fused), "--out", str(tmp_path / "out")]
    (tmp_path / "c.yaml").write_text("feat_dims: 4\n")
    for arguments, said in (
        (["--config", str(tmp_path / "c.yaml")], "unknown field feat_dims"),
        (["--config", str(tmp_path / "none.yaml")], "cannot read"),
        (["--base-lr", "-1"], "base_lr -1.0: expected at least 0"),
        ([], "have 4 channels, the network 768; set feat_dim to 4"),
        (["--feat-dim", "4", "--phrase-weight", "1"], "there are no phrases; give a text adapter"),
        (["--feat-dim", "4", "--validation", str(scenes)], "--validation needs"),
        (["--feat-dim", "4", "--start-from", str(fused)], "holds 0 networks"),
    ):
        with pytest.raises(SystemExit) as ended:
            main([*data, *arguments])
        error = capsys.readouterr().err.strip()
        assert ended.value.code == 2 and said in error and error.count("\n") == 0, error


def test_profile_and_tensorboard_leave_their_files(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed (pip install 'dropclip_ros[tensorboard]')")
    data = source(tmp_path)
    distill(data, tiny(), tmp_path / "out", tensorboard=True, profile=True)
    assert list((tmp_path / "out" / "tensorboard").glob("events.*"))
    events = json.loads((tmp_path / "out" / "profile.json").read_text())["traceEvents"]
    assert any("_SparseConvolution" in event.get("name", "") for event in events)


def test_tensorboard_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(InputError, match="tensorboard is not installed; pip install"):
        distill(source(tmp_path), tiny(), tmp_path / "out", tensorboard=True)
