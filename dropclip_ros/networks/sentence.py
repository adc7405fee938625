# SPDX-License-Identifier: Apache-2.0
"""A BERT sentence encoder from its Hugging Face folder, by torch and tokenizers alone.

Importing transformers and open_clip takes seconds and 300 MB; the shipped text tower needs neither.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from dropclip_ros.base.files import load_tensors
from dropclip_ros.base.reading import read_json
from dropclip_ros.networks.unfilled import unfilled

TOKENS = 256  # what sentence encoders of this family were trained on; longer texts are cut
_LAYERS = {  # BERT's names, and those of torch's layer
    "attention.output.dense": "self_attn.out_proj",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "linear1",
    "output.dense": "linear2",
    "output.LayerNorm": "norm2",
}


def is_plain_bert(folder: Path) -> bool:
    """Whether `SentenceTower` can compute what lies there: BERT as it was published, with a fast tokenizer."""
    config = read_json(folder / "config.json")
    plain = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
    files = ("tokenizer.json", "model.safetensors")
    return all(config.get(key, value) == value for key, value in plain.items()) and all(
        (folder / name).is_file() for name in files
    )


class SentenceTower(nn.Module):
    """Token ids (n, t) and which of them are no padding (n, t) bool -> the mean of the last layer's rows, (n, C)."""

    def __init__(self, config: dict, tensors: dict[str, Tensor]) -> None:
        """config: of BERT; tensors: its state dict. Raises KeyError or RuntimeError where they do not fit."""
        super().__init__()
        width, eps = config["hidden_size"], config["layer_norm_eps"]
        self.words = nn.Embedding(config["vocab_size"], width)
        self.places = nn.Embedding(config["max_position_embeddings"], width)
        self.norm = nn.LayerNorm(width, eps=eps)
        layer = nn.TransformerEncoderLayer(
            width,
            config["num_attention_heads"],
            config["intermediate_size"],
            activation="gelu",
            layer_norm_eps=eps,
            batch_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, config["num_hidden_layers"], enable_nested_tensor=False)
        self.load_state_dict(_renamed(tensors, config["num_hidden_layers"]), assign=True)

    def forward(self, tokens: Tensor, used: Tensor) -> Tensor:
        places = self.places.weight[: tokens.shape[1]]
        rows = self.layers(self.norm(self.words(tokens) + places), src_key_padding_mask=~used)
        weights = used.unsqueeze(-1).to(rows.dtype)
        return (rows * weights).sum(1) / weights.sum(1)


def _renamed(tensors: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """BERT's tensors under torch's names. Texts are never pairs, so the first kind of token is part of every place."""
    bert = {name.removeprefix("bert."): tensor.float() for name, tensor in tensors.items()}
    kinds = bert["embeddings.token_type_embeddings.weight"]
    found = {
        "words.weight": bert["embeddings.word_embeddings.weight"],
        "places.weight": bert["embeddings.position_embeddings.weight"] + kinds[0],
        "norm.weight": bert["embeddings.LayerNorm.weight"],
        "norm.bias": bert["embeddings.LayerNorm.bias"],
    }
    for k in range(layers):
        theirs, ours = f"encoder.layer.{k}.", f"layers.layers.{k}."
        for kind in ("weight", "bias"):
            parts = [bert[f"{theirs}attention.self.{name}.{kind}"] for name in ("query", "key", "value")]
            found[f"{ours}self_attn.in_proj_{kind}"] = torch.cat(parts)
            for name, other in _LAYERS.items():
                found[f"{ours}{other}.{kind}"] = bert[f"{theirs}{name}.{kind}"]
    return found


def load_sentence_tower(folder: Path, device: torch.device) -> Callable[[list[str]], Tensor]:
    """Texts to rows (n, C), not of unit length, for a folder of which `is_plain_bert` says yes."""
    import ftfy
    from tokenizers import Tokenizer

    config = read_json(folder / "config.json")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(min(TOKENS, config["max_position_embeddings"]))
    tokenizer.enable_padding(pad_id=config.get("pad_token_id", 0))
    with unfilled():
        tower = SentenceTower(config, load_tensors(folder / "model.safetensors"))
    tower = tower.eval().requires_grad_(False).to(device)

    def embed(texts: list[str]) -> Tensor:
        found = tokenizer.encode_batch([" ".join(ftfy.fix_text(text).split()) for text in texts])
        tokens = torch.tensor([each.ids for each in found], device=device)
        used = torch.tensor([each.attention_mask for each in found], dtype=torch.bool, device=device)
        return tower(tokens, used)

    return embed
