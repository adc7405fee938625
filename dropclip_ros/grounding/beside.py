# SPDX-License-Identifier: Apache-2.0
"""What has a say beside the encoder (figure 20): what the picture of an instance is called, its colours, its labels.

The picture is looked at once a frame, when a phrase first asks. Labels are read once a frame, for the first phrase that
they could tell.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dropclip_ros.grounding.labels import LabelReader, ReadWord, can_read, label_evidence, label_words
from dropclip_ros.networks.colours import colour_evidence, meant, shares
from dropclip_ros.networks.model_folder import ModelConfig, load_names
from dropclip_ros.networks.names import Names, Seen, log_odds
from dropclip_ros.networks.text import TextEncoder


@dataclass
class Known:
    """What is known of a frame's picture so far. pictured: whether it is of other pictures than the frame's."""

    seen: Seen | None = None
    colours: Tensor | None = None
    words: list[ReadWord] | None = None
    pictured: bool = False

    def look(self, names: Names, rgb: np.ndarray, shown: Callable[[], np.ndarray]) -> Seen:
        """What the instances are called."""
        return names.look(rgb, shown())

    def read(self, reader: LabelReader, rgb: np.ndarray, shown: Callable[[], np.ndarray]) -> list[ReadWord]:
        """What is printed on them."""
        return reader.read(rgb, shown())


@dataclass
class Compared:
    """Log-odds (K,Q) that each phrase means each of K instances; the words that were read for the first phrase, by
    instance 1..K."""

    odds: Tensor
    read: dict[int, list[str]]


class Beside:
    """Names and, where one is installed, a reader of labels.

    text: embeds phrases. shown, below: gives the instance of each pixel, (H,W) in 1..K, 0 where none is.
    """

    def __init__(self, names: Names, reader: LabelReader | None, text: TextEncoder) -> None:
        self.names, self.reader, self.text = names, reader, text

    @classmethod
    def load(
        cls, folder: Path, config: ModelConfig, text: TextEncoder, device: torch.device, labels: bool | None
    ) -> Beside | None:
        """Of a model folder; None where it has no names. labels: None where a reader is installed. MODEL_ERROR."""
        if config.names is None:
            return None
        names = load_names(folder, config.names, device)
        return cls(names, LabelReader() if (can_read() if labels is None else labels) else None, text)

    def compare(
        self,
        cosine: Tensor,
        phrases: Sequence[str],
        rgb: np.ndarray,
        shown: Callable[[], np.ndarray],
        known: Known,
        timing: dict[str, float],
    ) -> Compared:
        """With the encoder's cosines (K,Q) of the phrases, in the picture (H,W,3) uint8."""
        evidence, read = self.evidence(cosine, phrases, rgb, shown, known, timing)
        return Compared(log_odds(self.names.config.say, phrases, evidence), read)

    def evidence(
        self,
        cosine: Tensor,
        phrases: Sequence[str],
        rgb: np.ndarray,
        shown: Callable[[], np.ndarray],
        known: Known,
        timing: dict[str, float],
    ) -> tuple[dict[str, Tensor], dict[int, list[str]]]:
        """All kinds of evidence (`Say`), each (K,Q), and the words that were read."""
        if known.seen is None:
            start = time.perf_counter()
            known.seen = known.look(self.names, rgb, shown)
            timing["image"] = 1e3 * (time.perf_counter() - start)
        if known.colours is None and any(map(meant, phrases)):
            known.colours = shares(rgb, shown(), self.names.bank.colours)
        colours = torch.zeros(tuple(cosine.shape))
        if known.colours is not None:
            colours = torch.stack([colour_evidence(phrase, known.colours) for phrase in phrases], 1)
        labels = np.zeros(tuple(cosine.shape))
        read: dict[int, list[str]] = {}
        categories = self.names.bank.categories
        if self.reader is not None and label_words(phrases[0], categories):
            if known.words is None:
                start = time.perf_counter()
                known.words = known.read(self.reader, rgb, shown)
                timing["labels"] = 1e3 * (time.perf_counter() - start)
            labels[:, 0], read = label_evidence(phrases[0], known.words, len(cosine), categories)
        names, own = self.names.compare(known.seen, self.text.encode(phrases, adapted=False))
        read_there = torch.as_tensor(labels, dtype=cosine.dtype)
        seen = {"names": names, "own": own, "labels": read_there, "colours": colours}
        return {"encoder": cosine} | {kind: each.to(cosine.device) for kind, each in seen.items()}, read

    def confidence(self, odds: np.ndarray, instance: int) -> tuple[float, bool]:
        """How often the answer that instance 1..K with the log-odds (K,) is meant is right, and whether to doubt it."""
        others = np.delete(odds, instance - 1).max(initial=-5.0)
        sure = self.names.config.confidence_of(odds[instance - 1], others)
        return sure, sure < self.names.config.doubtful
