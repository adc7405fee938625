# SPDX-License-Identifier: Apache-2.0
"""The phrases of the catalogue as a training vocabulary: embeddings, and which object each phrase describes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from training.objects.spec import ObjectSpec
from training.objects.words.phrases import ABSENT_PHRASES, CANONICAL_NEGATIVES, FAMILIES, normal, paper_mix
from training.objects.words.wording import describe_object

FAMILY_SHARE = dict.fromkeys(FAMILIES, 0.15) | {"class": 0.3, "attribute": 0.4}  # of what is said of an object

# People do not say "red mug" alone. Whole sentences (affordances) are left as they are.
TEMPLATES = ("{}", "the {}", "hand me the {}")
SENTENCES = ("something ", "anything ", "i ", "it is ", "a ", "an ")

Embed = Callable[[Sequence[str]], torch.Tensor]  # phrases -> (n,C) unit rows


@dataclass
class Vocabulary:
    """P phrases; rows (P,) by object name: weight of each phrase said of it (sum 1), and which phrases are true."""

    phrases: list[str]
    weights: dict[str, np.ndarray]
    true: dict[str, np.ndarray]


def prompts(phrases: Sequence[str]) -> list[list[str]]:
    """T lists of P texts: every phrase in every template that suits it."""
    return [
        [phrase if phrase.lower().startswith(SENTENCES) else template.format(phrase) for phrase in phrases]
        for template in TEMPLATES
    ]


def training_vocabulary(specs: Sequence[ObjectSpec]) -> Vocabulary:
    """All phrases of the training instances; half of the absent phrases and the canonical ones describe nothing."""
    described = {spec.name: describe_object(spec) for spec in specs if spec.split == "train"}
    families = [family for description in described.values() for family in description.training.values()]
    known = sorted({phrase for said in families for phrase in said})
    phrases = known + list(ABSENT_PHRASES["calibration"]) + list(CANONICAL_NEGATIVES)
    column, plain = {phrase: i for i, phrase in enumerate(phrases)}, [normal(phrase) for phrase in known]
    weights, true = {}, {}
    for name, description in described.items():
        row = np.zeros(len(phrases), np.float32)
        for family, share in FAMILY_SHARE.items():
            said = description.training[family]
            for phrase in said:
                row[column[phrase]] += share / len(said)
        weights[name] = row / row.sum()
        true[name] = row > 0
        true[name][: len(known)] |= [phrase in description.accepted for phrase in plain]
    return Vocabulary(phrases, weights, true)


def object_prompts(
    specs: Sequence[ObjectSpec], embed: Embed, weighing: Literal["phrases", "families", "mix"] = "phrases"
) -> dict[str, torch.Tensor]:
    """Mean prompt q_k (C,), unit, of each object (section 3.2).

    weighing: "phrases", the mean over all its N_k training phrases, as the paper has it; "families", families of
    phrases weigh alike however many phrases they have (ours); "mix", they weigh as in the paper's data (`paper_mix`).
    """
    prompts = {}
    for spec in specs:
        said = {family: phrases for family, phrases in describe_object(spec).training.items() if phrases}
        shares = {family: float(len(phrases)) for family, phrases in said.items()}
        if weighing != "phrases":
            mix = paper_mix(said) if weighing == "mix" else {}
            shares = mix or dict.fromkeys(said, 1.0)
        mean = sum(shares[family] * embed(phrases).mean(0) for family, phrases in said.items())
        prompts[spec.name] = torch.nn.functional.normalize(mean, dim=0)
    return prompts
