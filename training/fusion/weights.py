# SPDX-License-Identifier: Apache-2.0
"""Semantic informativeness of views (sections 3.2 and A.3, eq. 3 and 4; table 9): which views tell an object apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from dropclip_ros.base.ranges import check_fields
from dropclip_ros.networks.text import TextEncoder
from training.objects.spec import ObjectSpec
from training.objects.words.language import object_prompts
from training.scenes.scene import Scene

SAME = 1 - 1e-5  # cosine of prompts that are one and the same


@dataclass(frozen=True)
class PromptConfig:
    """What an object's views are compared with (table 9).

    kind: "open", the mean of all phrases of the instance (1/N_k of section 3.2), "families", the same with families of
    phrases weighing alike (ours), "mix", with families weighing as in the paper's data (table 6), or "cls", its
    category's name. operator: how negatives are reduced, "max" or "mean". negatives: those of the "scene", or of "all"
    objects of the catalogue.
    """

    kind: Literal["open", "families", "mix", "cls"] = "open"
    operator: Literal["max", "mean"] = "max"
    negatives: Literal["scene", "all"] = "scene"

    def __post_init__(self) -> None:
        check_fields(self)


def informativeness(
    features: torch.Tensor, positive: torch.Tensor, negatives: torch.Tensor, operator: str = "max"
) -> torch.Tensor:
    """G (of points: eq. 3, of objects: eq. 4): how much nearer a view's feature is to the object's own prompt than to
    others', clipped at 0.

    features (...,C), positive (C,), negatives (K,C), all unit rows; returns (...). Without negatives nothing can be
    confused and every view weighs its similarity.
    """
    gain = features @ positive
    if len(negatives):
        others = features @ negatives.T
        gain = gain - (others.amax(-1) if operator == "max" else others.mean(-1))
    return gain.clamp(min=0)


@dataclass(frozen=True)
class Queries:
    """Of one object: q+ (C,), unit, and Q- (K,C), unit rows, the prompts of objects that it is not."""

    positive: torch.Tensor
    negatives: torch.Tensor


class ScenePrompts:
    """The prompts of scenes' objects, embedded once each.

    specs: the objects of the catalogue that scenes are made of; their phrases are those of training (section 3.2).
    """

    def __init__(self, specs: Sequence[ObjectSpec], text: TextEncoder) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._embed: dict[str, Callable[[ObjectSpec], torch.Tensor]] = {
            "open": lambda spec: object_prompts([spec], text.encode)[spec.name],
            "families": lambda spec: object_prompts([spec], text.encode, "families")[spec.name],
            "mix": lambda spec: object_prompts([spec], text.encode, "mix")[spec.name],
            "cls": lambda spec: text.encode([spec.category])[0],
        }
        self._known: dict[tuple[str, str], torch.Tensor] = {}
        self._all: dict[str, torch.Tensor] = {}

    def prompt(self, name: str, kind: str = "open") -> torch.Tensor:
        """The prompt (C,) of an object of that name; KeyError where the catalogue has none."""
        if (name, kind) not in self._known:
            self._known[name, kind] = self._embed[kind](self._specs[name])
        return self._known[name, kind]

    def of(self, scene: Scene, config: PromptConfig = PromptConfig()) -> dict[int, Queries]:
        """Of each object of the scene, by label. Prompts equal to the object's own are no negatives: two mugs of one
        category cannot be told apart by its name."""
        own = {label: self.prompt(entry["name"], config.kind) for label, entry in scene.objects.items()}
        if not own:
            return {}
        scene = torch.stack(list(own.values())).unique(dim=0)
        others = scene if config.negatives == "scene" else self._catalogue(config.kind)
        return {label: Queries(q, others[others @ q < SAME]) for label, q in own.items()}

    def _catalogue(self, kind: str) -> torch.Tensor:
        """Distinct prompts (K,C) of all objects."""
        if kind not in self._all:
            self._all[kind] = torch.stack([self.prompt(name, kind) for name in self._specs]).unique(dim=0)
        return self._all[kind]
