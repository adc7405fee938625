# SPDX-License-Identifier: Apache-2.0
"""MinkowskiEngine's state dicts: the published layout, wrapped as it may come, and what is refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from distill_support import source, tiny

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.base.files import load_tensors
from dropclip_ros.networks import minkowski_checkpoint as minkowski_command
from dropclip_ros.networks.encoder import EncoderConfig, MinkUNet14D
from dropclip_ros.networks.minkowski_checkpoint import read_minkowski, write_minkowski
from dropclip_ros.networks.model_folder import ModelConfig, load_model
from training.distill import DistillConfig, InputError, distill
from training.distill.export import export, start_encoder

TINY = EncoderConfig(3, 6, 4, (4, 4, 8, 8, 8, 8, 4, 5))


@pytest.fixture
def encoder() -> MinkUNet14D:
    torch.manual_seed(0)
    encoder = MinkUNet14D(TINY)
    coords, feats = voxels()
    encoder(coords, feats)  # so that running moments are not those of a fresh network
    return encoder.eval()


def voxels():
    generator = torch.Generator().manual_seed(1)
    coords = torch.unique(torch.randint(0, 30, (300, 3), generator=generator), dim=0)
    return coords, torch.rand(len(coords), 3, generator=generator)


def same(first: MinkUNet14D, second: MinkUNet14D) -> bool:
    coords, feats = voxels()
    with torch.no_grad():
        return torch.equal(first(coords, feats), second(coords, feats))


def test_the_paper_network_has_the_published_layout_and_makes_the_round_trip(tmp_path, shared_data):
    listing = shared_data.parent / "sparse" / "minkunet14d_state_dict.txt"
    if not listing.exists():
        pytest.skip(f"no listing of the published layout at {listing}")
    encoder = MinkUNet14D(DistillConfig().encoder)
    write_minkowski(tmp_path / "w.pth", encoder)
    kept = torch.load(tmp_path / "w.pth", weights_only=True)
    shown = [f"{name} {_shown(tensor)}" for name, tensor in kept.items()]
    assert shown == listing.read_text().splitlines()[:-1]  # a count is last
    loaded = read_minkowski(tmp_path / "w.pth")
    assert loaded.config == EncoderConfig() and sum(p.numel() for p in loaded.parameters()) == 43_603_744
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name


def _shown(tensor):
    return f"({', '.join(map(str, tensor.shape))}{',' if tensor.ndim == 1 else ''})"


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}},
        lambda s: {"model": {f"module.{k}": v for k, v in s.items()}},
        lambda s: {"state_dict": {f"model.net3d.{k}": v for k, v in s.items()} | {"model.clip.weight": torch.zeros(2)}},
        lambda s: {k: v for k, v in s.items() if "num_batches" not in k},
        lambda s: {k: v[None] if k == "final.kernel" else v for k, v in s.items()},
        lambda s: {k: v.half() if k.endswith("kernel") else v for k, v in s.items()},
    ],
)
def test_checkpoints_load_however_they_are_wrapped(tmp_path, encoder, wrapped):
    state = encoder.state_dict()
    torch.save(wrapped(state), tmp_path / "c.pth")
    loaded = read_minkowski(tmp_path / "c.pth")
    assert loaded.config == TINY and not loaded.training
    half = {k: v.half().float() if k.endswith("kernel") else v for k, v in state.items()}
    for name, tensor in loaded.state_dict().items():
        if "num_batches" not in name:
            assert torch.equal(tensor, state[name]) or torch.equal(tensor, half[name]), name


class Custom:
    """Something that unpickling would have to import."""


def test_what_is_not_plain_tensors_is_refused_with_the_way_out(tmp_path, encoder):
    path = tmp_path / "c.pth"
    state = encoder.state_dict()
    for content, said in (
        ({"state_dict": state, "config": Custom()}, r"would run code on loading \(.*Custom\).*weights_only=False"),
        ({"a": state, "b": state}, "holds 2 networks"),
        ({"weight": torch.zeros(2)}, "holds 0 networks"),
        ({k: v for k, v in state.items() if k != "bn0.bn.weight"}, "tensor bn0.bn.weight is missing"),
        (state | {"block1.1.conv1.kernel": torch.zeros(27, 4, 4)}, "block1.1.conv1.kernel is no part"),
        (state | {"conv1p1s2.kernel": torch.zeros(27, 4, 4)}, r"conv1p1s2.kernel has shape \(27, 4, 4\), expected \(8"),
        ({k: v for k, v in state.items() if k != "block4.0.conv2.kernel"}, "no layout of MinkUNet14D"),
    ):
        torch.save(content, path)
        with pytest.raises(DropclipError, match=said) as error:
            read_minkowski(path)
        assert "\n" not in str(error.value)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DropclipError, match="no whole checkpoint of tensors alone"):
        read_minkowski(path)
    with pytest.raises(DropclipError, match="cannot read"):
        read_minkowski(tmp_path / "none.pth")


def test_the_way_out_works(tmp_path, encoder):
    """The command that the refusal names, run where the class is at hand."""
    path = tmp_path / "c.pth"
    torch.save({"state_dict": encoder.state_dict(), "config": Custom()}, path)
    with pytest.raises(DropclipError) as error:
        read_minkowski(path)
    command = str(error.value).split('python -c "')[1].rstrip('"')
    code = f"import {__name__}; {command}"
    tests = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, Path(__file__).parents[:3]))}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env=tests)
    assert same(read_minkowski(tmp_path / "plain.pth"), encoder)


def test_a_model_folder_goes_to_minkowski_and_back(tmp_path, encoder, monkeypatch, capsys):
    folder, pth, tensors = tmp_path / "model", tmp_path / "w.pth", tmp_path / "e.safetensors"
    export(folder, encoder, ModelConfig("tiny", TINY), DistillConfig(), "Nothing.", {"val/miou": 0.25})
    for arguments in (["write", str(folder), str(pth)], ["read", str(pth), str(tensors)]):
        monkeypatch.setattr(sys, "argv", ["minkowski", *arguments])
        minkowski_command.main()
    kept = load_model(folder, fuse=False)[0]
    assert same(read_minkowski(tensors), kept) and same(read_minkowski(pth), kept)
    assert set(load_tensors(tensors)) == set(encoder.state_dict())
    card = (folder / "README.md").read_text()
    assert "| val/miou | 0.25 |" in card and "300 passes on full clouds" in card
    monkeypatch.setattr(sys, "argv", ["minkowski", "read", str(tmp_path / "none.pth"), "x"])
    with pytest.raises(SystemExit, match="2"):
        minkowski_command.main()
    assert "cannot read" in capsys.readouterr().err


def test_training_starts_from_either_kind_of_checkpoint(tmp_path):
    data, config = (
        source(tmp_path),
        tiny(
            steps=1, partial_steps=1, base_lr=1e-9, min_lr=0, partial_base_lr=1e-9, partial_min_lr=0, use_aux_loss=False
        ),
    )
    torch.manual_seed(7)
    start = MinkUNet14D(config.encoder)
    write_minkowski(tmp_path / "w.pth", start)
    export(tmp_path / "model", start, ModelConfig("tiny", config.encoder), config, "Nothing.")
    for path in (tmp_path / "w.pth", tmp_path / "model"):
        trained = distill(data, config, start_from=start_encoder(path)).state_dict()
        for name, parameter in start.named_parameters():
            if not name.startswith(("offset", "objects")):
                torch.testing.assert_close(trained[name], parameter.data, atol=1e-4, rtol=1e-3)  # fp16 on disk
    distill(data, tiny(offset_weight=0.0, steps=1, partial_steps=1), start_from=start)  # which has one head more
    with pytest.raises(InputError, match=r"channels in and out \(3, 4\): expected those of .*\(3, 6\)"):
        distill(data, config, start_from=MinkUNet14D(EncoderConfig(3, 6, 4, config.planes)))


def test_heads_of_ours_stay_at_home(tmp_path):
    encoder = MinkUNet14D(EncoderConfig(3, 6, 4, TINY.planes, offsets=True, objects=7))
    write_minkowski(tmp_path / "w.pth", encoder)
    assert read_minkowski(tmp_path / "w.pth").config == TINY
