# SPDX-License-Identifier: Apache-2.0
"""The words of a run: phrases of the scenes' catalogue, embedded once and kept beside the checkpoint."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from dropclip_ros.base.files import sha256_of
from dropclip_ros.base.reading import read_about, read_tensors
from dropclip_ros.networks.text import TextEncoder
from training.runs.files import write_atomically

PHRASES = "phrases.safetensors"
BLOCK = 256  # phrases between two steps of the progress bar


class Vocabulary:
    """Phrases with their embeddings; others go to the text encoder.

    rows (P,C): unit rows of the phrases, in order.
    """

    def __init__(self, text: TextEncoder, phrases: Sequence[str], rows: Tensor) -> None:
        self.text, self.rows = text, rows
        self._known = {phrase: i for i, phrase in enumerate(phrases)}

    def encode(self, phrases: Sequence[str]) -> Tensor:
        """As `TextEncoder.encode`: unit rows (n,C)."""
        if all(phrase in self._known for phrase in phrases):
            return self.rows[[self._known[phrase] for phrase in phrases]]
        return self.text.encode(phrases)


def embedded(text: TextEncoder, phrases: Sequence[str], folder: Path, adapter: Path | None = None) -> Vocabulary:
    """The phrases as `text` embeds them: thousands take minutes, so they are kept in `folder`, under a digest of the
    text tower, its adapter and the phrases; what was kept of others is replaced. Of torchrun's processes the first one
    writes. InputError where it cannot."""
    made_of = [dataclasses.asdict(text.config), sha256_of(adapter) if adapter else None, list(phrases)]
    digest, path = hashlib.sha256(json.dumps(made_of).encode()).hexdigest(), folder / PHRASES
    rows = _kept(path, digest)
    if rows is None:
        first = int(os.environ.get("RANK", 0)) == 0
        blocks = [phrases[a : a + BLOCK] for a in range(0, len(phrases), BLOCK)]
        bar = tqdm(blocks, "phrases", unit=f"x{BLOCK}", disable=not first)
        rows = torch.cat([text.encode(block).cpu() for block in bar] or [text.encode(()).cpu()])
        if first:
            with write_atomically(path, replace=True) as part:
                save_file({"rows": rows.contiguous()}, part, metadata={"digest": digest})
    return Vocabulary(text, phrases, rows)


def _kept(path: Path, digest: str) -> Tensor | None:
    try:
        same = read_about(path).get("digest") == digest
        return read_tensors(path)["rows"].to(torch.float32) if same else None
    except (OSError, KeyError):  # none yet, or damaged: it is made again
        return None
