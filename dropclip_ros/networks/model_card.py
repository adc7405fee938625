# SPDX-License-Identifier: Apache-2.0
"""The model card of a folder, README.md: what it is made of and what its answers are worth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dropclip_ros.base.files import write_beside
from dropclip_ros.base.reading import read_text
from dropclip_ros.networks.model_folder import ModelConfig

CARD = "README.md"
MARK = "**Calibration.**"


def calibration_text(config: ModelConfig, measured: str = "") -> str:
    """The card's paragraph on refusals. measured: what a calibration found, a sentence or more."""
    seen = config if config.encoder_names else config.image
    assert seen is not None, "a model without an encoder of names has an image tower"  # ModelConfig checks that
    if seen.null_similarity == 0:
        return (
            f'{MARK} None yet: temperature {seen.temperature:g}, no similarity of "none of these". What a score is '
            "worth is not known: a phrase is told apart from negatives alone, and at the paper's temperature of 0.1 "
            "nearly everything is refused. `dropclip calibrate` measures it."
        )
    numbers = f"Temperature {seen.temperature:g}, null similarity {seen.null_similarity:g}"
    return f"{MARK} {numbers}, threshold {config.threshold:g}. {measured}".rstrip()


def write_card(folder: Path, config: ModelConfig, paragraphs: Sequence[str]) -> None:
    """Title, paragraphs, calibration and digests; written beside its place and renamed."""
    digests = [f"| `{name}` | `{digest}` |" for name, digest in config.sha256.items()]
    table = "\n".join(["| file | SHA-256 |", "| --- | --- |", *digests])
    _write(folder, [f"# Model card: {config.name}", *paragraphs, calibration_text(config), table])


def update_calibration(folder: Path, config: ModelConfig, measured: str) -> None:
    """Replaces the card's paragraph on calibration, or adds it where there is none."""
    path = folder / CARD
    parts = read_text(path).strip().split("\n\n") if path.exists() else [f"# Model card: {config.name}"]
    new, found = calibration_text(config, measured), [part.startswith(MARK) for part in parts]
    if any(found):
        parts[found.index(True)] = new
    else:
        parts.insert(min(2, len(parts)), new)
    _write(folder, parts)


def _write(folder: Path, parts: Sequence[str]) -> None:
    with write_beside(folder / CARD) as part:
        part.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
