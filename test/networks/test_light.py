# SPDX-License-Identifier: Apache-2.0
"""The towers that are written in torch alone compute what timm and transformers do."""

import pytest
import torch
from safetensors.torch import save_file

from dropclip_ros.networks.efficientnet import FEATURES, EfficientNetLite2
from dropclip_ros.networks.sentence import SentenceTower, is_plain_bert, load_sentence_tower


@pytest.mark.parametrize("side", [64, 49])
def test_efficientnet_is_timms(side):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    theirs = timm.create_model("tf_efficientnet_lite2", pretrained=False, num_classes=11).eval()
    for name, buffer in theirs.named_buffers():  # norms that do something
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.rand_like(buffer) * 0.2 + (0.9 if name.endswith("var") else -0.1))
    ours = EfficientNetLite2(11).eval()
    tensors = theirs.state_dict()
    assert len(tensors) == len(ours.state_dict())
    ours.load_state_dict(dict(zip(ours.state_dict(), tensors.values(), strict=True)))
    images = torch.randn(2, 3, side, side)
    with torch.inference_mode():
        features = ours(images)
        assert features.shape == (2, FEATURES) and features.abs().max() > 0
        torch.testing.assert_close(features, theirs.forward_head(theirs.forward_features(images), pre_logits=True))
        torch.testing.assert_close(ours.classifier(features), theirs(images))


@pytest.fixture
def bert():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=60,
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=20,
    )
    return transformers.BertModel(config, add_pooling_layer=False).eval()


def test_sentence_tower_is_bert_with_the_mean_of_its_rows(bert):
    ours = SentenceTower(bert.config.to_dict(), bert.state_dict()).eval()
    tokens = torch.randint(0, 60, (3, 12))
    used = torch.arange(12) < torch.tensor([12, 5, 1])[:, None]
    with torch.inference_mode():
        rows = bert(tokens, attention_mask=used.long()).last_hidden_state * used[..., None]
        wanted = rows.sum(1) / used.sum(1, keepdim=True)
        torch.testing.assert_close(ours(tokens, used), wanted, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(ours(tokens[1:2, :5], used[1:2, :5]), wanted[1:2], atol=1e-5, rtol=1e-4)


def test_a_folder_of_berts_gives_the_rows_of_its_texts(bert, tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    words = {word: k for k, word in enumerate(("[PAD]", "[UNK]", "red", "mug", "hammer"))}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, "[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    bert.config.to_json_file(tmp_path / "config.json")
    save_file({name: tensor.contiguous() for name, tensor in bert.state_dict().items()}, tmp_path / "model.safetensors")
    assert is_plain_bert(tmp_path)
    rows = load_sentence_tower(tmp_path, torch.device("cpu"))(["red mug", "  hammer ", "mug " * 40])
    for row, ids in zip(rows, ([2, 3], [4], [3] * 20), strict=True):  # cut to the places that there are
        with torch.inference_mode():
            wanted = bert(torch.tensor([ids])).last_hidden_state[0].mean(0)
        torch.testing.assert_close(row, wanted, atol=1e-5, rtol=1e-4)
    bert.config.hidden_act = "relu"
    bert.config.to_json_file(tmp_path / "config.json")
    assert not is_plain_bert(tmp_path)
