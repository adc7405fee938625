# SPDX-License-Identifier: Apache-2.0
"""A BERT sentence encoder of a Hugging Face folder by torch's own transformer: mean over tokens, no projection.

open_clip's and transformers' give the same; importing them takes 300 MB and, on a busy machine, half a minute.
"""

from __future__ import annotations

import html
import json
from pathlib import Path

import ftfy
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from dropclip_ros.base.files import load_tensors

_LAYER = {  # names of torch's layer, and of BERT's
    "self_attn.out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "linear1": "intermediate.dense",
    "linear2": "output.dense",
    "norm2": "output.LayerNorm",
}


def is_bert(folder: Path) -> bool:
    """Whether a folder holds a model that this file reads."""
    config = json.loads((folder / "config.json").read_text())
    known = config.get("model_type") == "bert" and config.get("hidden_act") == "gelu"
    return known and config.get("position_embedding_type", "absolute") == "absolute" and _whole(folder)


def _whole(folder: Path) -> bool:
    return all((folder / name).is_file() for name in ("tokenizer.json", "model.safetensors"))


class Bert(nn.Module):
    """Token ids (n, L), padded with `pad_id`, to embeddings (n, C)."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        config, tensors = json.loads((folder / "config.json").read_text()), load_tensors(folder / "model.safetensors")
        tensors = {name.removeprefix("bert."): tensor.float() for name, tensor in tensors.items()}
        width, epsilon = config["hidden_size"], config["layer_norm_eps"]
        self.pad_id: int = config["pad_token_id"]
        self.words = nn.Embedding.from_pretrained(tensors["embeddings.word_embeddings.weight"])
        types = tensors["embeddings.token_type_embeddings.weight"][0]  # all that is asked is of the first kind
        self.register_buffer("places", tensors["embeddings.position_embeddings.weight"] + types)
        self.norm = nn.LayerNorm(width, epsilon)
        layer = nn.TransformerEncoderLayer(
            width,
            config["num_attention_heads"],
            config["intermediate_size"],
            activation="gelu",
            layer_norm_eps=epsilon,
            batch_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, config["num_hidden_layers"], enable_nested_tensor=False)
        self.norm.load_state_dict({kind: tensors[f"embeddings.LayerNorm.{kind}"] for kind in ("weight", "bias")})
        self.layers.load_state_dict(_layers(tensors, config["num_hidden_layers"]))
        self.eval().requires_grad_(False)

    def forward(self, ids: Tensor) -> Tensor:
        padded = ids == self.pad_id
        places: Tensor = self.places[: ids.shape[1]]
        found = self.layers(self.norm(self.words(ids) + places), src_key_padding_mask=padded)
        kept = (~padded)[..., None]
        return (found * kept).sum(1) / kept.sum(1)


def _layers(tensors: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    """BERT's layers as torch's: the same numbers, query, key and value in one."""
    found = {}
    for i in range(count):
        for kind in ("weight", "bias"):
            at = f"encoder.layer.{i}."
            three = [tensors[f"{at}attention.self.{name}.{kind}"] for name in ("query", "key", "value")]
            found[f"layers.{i}.self_attn.in_proj_{kind}"] = torch.cat(three)
            found |= {f"layers.{i}.{ours}.{kind}": tensors[f"{at}{theirs}.{kind}"] for ours, theirs in _LAYER.items()}
    return found


def cleaned(text: str) -> str:
    """As open_clip cleans texts: broken and look-alike characters mended, one space between words."""
    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split())


def tokenizer_of(folder: Path, length: int) -> Tokenizer:
    """The folder's tokenizer; texts are cut at `length` tokens and padded to the longest of their batch."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(pad_id=json.loads((folder / "config.json").read_text())["pad_token_id"])
    return tokenizer
