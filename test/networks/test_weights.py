# SPDX-License-Identifier: Apache-2.0
"""A model folder survives the round trip, and says what is wrong with it where it does not."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.files import sha256_of
from dropclip_ros.networks import model_folder as weights
from dropclip_ros.networks.encoder import EncoderConfig, MinkUNet14D
from dropclip_ros.networks.model_folder import (
    ADAPTER,
    CONFIG,
    ENCODER,
    ModelConfig,
    load_model,
    multiplies_bf16,
    save_model,
)
from dropclip_ros.networks.text import TextConfig
from dropclip_ros.vision.voxels import VoxelConfig

SMALL = EncoderConfig(out_channels=5, stem=4, planes=(4, 4, 6, 6, 6, 6, 4, 4))
CONFIGURED = ModelConfig(
    name="small",
    encoder=SMALL,
    voxels=VoxelConfig(0.04, 8.0),
    text=TextConfig(templates=("{}", "a photo of {}")),
    temperature=0.05,
    null_similarity=0.21,
    threshold=0.6,
    canonical_negatives=("stuff",),
)


@pytest.fixture
def encoder() -> MinkUNet14D:
    torch.manual_seed(0)
    encoder = MinkUNet14D(SMALL)
    encoder(torch.randint(-9, 9, (60, 3)).unique(dim=0)[:50], torch.rand(50, 3))  # moves the running statistics
    return encoder.eval()


@pytest.fixture
def folder(encoder, tmp_path) -> Path:
    save_model(tmp_path / "model", encoder, CONFIGURED)
    return tmp_path / "model"


def rewrite(folder: Path, change) -> None:
    """Changes config.json: `change` gets its content."""
    data = json.loads((folder / CONFIG).read_text())
    change(data)
    (folder / CONFIG).write_text(json.dumps(data))


def refusal(folder: Path) -> str:
    with pytest.raises(DropclipError) as caught:
        load_model(folder)
    assert caught.value.status is Status.MODEL_ERROR
    return caught.value.message


@pytest.mark.parametrize("fuse", [False, True])
def test_round_trip(encoder, folder, fuse, monkeypatch):
    monkeypatch.setattr(weights, "multiplies_bf16", lambda: False)
    loaded, config = load_model(folder, fuse=fuse)
    assert dataclasses.replace(config, sha256={}) == CONFIGURED
    assert not loaded.training
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    coords = torch.randint(-9, 9, (80, 3), generator=torch.Generator().manual_seed(1)).unique(dim=0)
    feats = torch.rand(len(coords), 3)
    with torch.no_grad():
        torch.testing.assert_close(loaded(coords, feats), encoder(coords, feats), rtol=2e-2, atol=5e-3)


def test_kernels_are_stored_in_half_precision(folder):
    stored = load_file(folder / ENCODER)
    assert stored["final.kernel"].dtype == torch.float16
    assert stored["bn0.bn.running_var"].dtype == torch.float32


def test_unfused_model_can_be_saved_again_and_trained(encoder, folder, tmp_path):
    loaded, config = load_model(folder, fuse=False)
    assert save_model(tmp_path / "again", loaded, config).sha256 == config.sha256
    loaded.train()(32 * torch.eye(3, dtype=torch.int32), torch.rand(3, 3)).sum().backward()
    assert loaded.final.kernel.grad is not None


def test_text_adapter_comes_and_goes(encoder, folder):
    config = save_model(folder, encoder, CONFIGURED, text_adapter=torch.eye(5))
    assert config.sha256[ADAPTER] == sha256_of(folder / ADAPTER)
    load_model(folder)
    save_model(folder, encoder, CONFIGURED)
    assert not (folder / ADAPTER).exists()


def test_nothing_is_left_beside_the_files(folder):
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG, ENCODER]


def test_refuses_to_save_another_encoder_than_configured(encoder, tmp_path):
    with pytest.raises(ValueError, match=r"conv0p1s1\.kernel has shape"):
        save_model(tmp_path, encoder, ModelConfig("x", encoder=dataclasses.replace(SMALL, stem=5)))
    with pytest.raises(ValueError, match=r"bn0\.bn\.weight is missing"):
        save_model(tmp_path, encoder.fuse(), CONFIGURED)


def test_refuses_to_save_what_half_precision_cannot_hold(encoder, tmp_path):
    with torch.no_grad():
        encoder.final.kernel[0, 0] = 1e6
    with pytest.raises(ValueError, match=r"final\.kernel does not fit fp16"):
        save_model(tmp_path, encoder, CONFIGURED)


def test_missing_folder_and_files(folder, tmp_path):
    assert "no model at" in refusal(tmp_path / "nowhere")
    (folder / ENCODER).unlink()
    assert ENCODER in refusal(folder)


def test_changed_file_is_another_digest(folder):
    data = bytearray((folder / ENCODER).read_bytes())
    data[-1] ^= 1
    (folder / ENCODER).write_bytes(data)
    assert "SHA-256" in refusal(folder)


def test_a_file_replaced_in_place_does_not_reach_a_loaded_model(folder):
    model, _ = load_model(folder, fuse=False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with open(folder / ENCODER, "r+b") as file:  # as `cp` does
        file.write(bytes((folder / ENCODER).stat().st_size))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_truncated_file(folder):
    path = folder / ENCODER
    path.write_bytes(path.read_bytes()[:-100])
    assert "cut short" in refusal(folder)
    rewrite(folder, lambda data: data["sha256"].update({ENCODER: sha256_of(path)}))
    assert "no whole safetensors file" in refusal(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("bn0.bn.weight"), "bn0.bn.weight is missing"),
        (lambda state: state.update({"final.bias": torch.zeros(1, 9)}), r"shape (1, 9), expected (1, 5)"),
        (lambda state: state.update(more=torch.zeros(1)), "more is not part of it"),
        (lambda state: state["final.bias"].fill_(torch.nan), "NaN"),
    ],
)
def test_other_tensors_than_the_config_says(folder, change, message):
    state = load_file(folder / ENCODER)
    change(state)
    save_file(state, folder / ENCODER)
    rewrite(folder, lambda data: data["sha256"].update({ENCODER: sha256_of(folder / ENCODER)}))
    assert message in refusal(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update(colour="red"), "unknown key colour"),
        (lambda data: data["encoder"].update(depth=3), "unknown key encoder.depth"),
        (lambda data: data.pop("name"), "'name'"),
        (lambda data: data["encoder"].update(stem=0), "stem 0: expected"),
        (lambda data: data["encoder"].update(planes=4), "encoder"),
        (lambda data: data.update(voxels=[1]), "voxels must be an object"),
        (lambda data: data["voxels"].update(voxel_size=-1), "voxel_size"),
        (lambda data: data["text"].update(templates=["photo"]), "templates"),
        (lambda data: data.update(temperature=0), "temperature must be a number"),
        (lambda data: data.update(threshold=1.5), "threshold must be a number"),
        (lambda data: data.update(null_similarity=float("nan")), "null_similarity must be a number"),
        (lambda data: data["sha256"].update({"../x": "0" * 64}), "../x"),
        (lambda data: data["sha256"].clear(), "holds no sha256"),
    ],
)
def test_config_that_makes_no_sense(folder, change, message):
    rewrite(folder, change)
    assert message in refusal(folder)


def test_config_that_is_no_json(folder):
    (folder / CONFIG).write_text("{")
    assert "is not a model configuration" in refusal(folder)


def test_adapter_nobody_vouches_for(folder):
    save_file({"adapter": torch.eye(5)}, folder / ADAPTER)
    assert "is not listed" in refusal(folder)


@pytest.mark.parametrize(
    ("flags", "answer"),
    [("flags : fpu avx512f avx512_bf16\n", True), ("flags : fpu amx_bf16", True), ("flags : avx2 avx512f", False)],
)
def test_processor_says_whether_it_multiplies_bf16(tmp_path, flags, answer):
    (tmp_path / "cpuinfo").write_text(flags)
    assert multiplies_bf16(tmp_path / "cpuinfo") is answer
    assert not multiplies_bf16(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("half", "seconds", "chosen"),
    [
        (torch.bfloat16, 0.5, torch.bfloat16),
        (torch.float16, 0.5, torch.float16),
        (torch.bfloat16, 0.9, torch.float32),
        (torch.bfloat16, None, torch.float32),  # the grid cannot
        (None, 0.5, torch.float32),
    ],
)
def test_half_precision_is_chosen_only_where_it_is_faster(encoder, monkeypatch, half, seconds, chosen):
    def timed(network, whole):
        if network.conv0p1s1.kernel.dtype == torch.float32:
            return 1.0
        if seconds is None:
            raise RuntimeError("not implemented for 'BFloat16'")
        return seconds

    monkeypatch.setattr(weights, "half_precision", lambda device: half)
    monkeypatch.setattr(weights, "_seconds", timed)
    assert weights.quickest(encoder).conv0p1s1.kernel.dtype == chosen


def test_whole_passes_are_timed_only_where_one_convolution_is_faster(encoder, monkeypatch):
    """They leave 130 MB in oneDNN's cache."""
    timed = []

    def slower(network, whole):
        timed.append(whole)
        return 1.0 if network.conv0p1s1.kernel.dtype == torch.float32 else 3.0

    monkeypatch.setattr(weights, "half_precision", lambda device: torch.bfloat16)
    monkeypatch.setattr(weights, "_seconds", slower)
    assert weights.quickest(encoder).conv0p1s1.kernel.dtype == torch.float32 and timed == [False, False]


@pytest.mark.parametrize(
    ("device", "capability", "expected"),
    [
        ("cuda", (9, 0), torch.bfloat16),
        ("cuda", (8, 7), torch.bfloat16),
        ("cuda", (7, 5), torch.float16),
        ("cpu", None, torch.bfloat16),
        ("meta", None, None),
    ],
)
def test_a_device_has_its_half_precision(monkeypatch, device, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda of: capability)
    monkeypatch.setattr(weights, "multiplies_bf16", lambda: True)
    assert weights.half_precision(torch.device(device)) == expected
    monkeypatch.setattr(weights, "multiplies_bf16", lambda: False)
    assert weights.half_precision(torch.device("cpu")) is None


def test_timing_runs_the_encoder_in_either_precision(encoder):
    assert weights._seconds(encoder.fuse(torch.bfloat16), whole=True) > 0
