# SPDX-License-Identifier: Apache-2.0
"""MV-TOD: the scenes of `dropclip-mvtod generate`, with their questions."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.evaluate.data.scene import seen_questions
from training.evaluate.questions import MIN_VISIBLE, Question, areas_of, categories, questions
from training.objects.catalogue import PROCEDURAL, catalogue_name, open_catalogue
from training.objects.spec import ObjectSpec
from training.runs.errors import InputError
from training.scenes.scene import Scene
from training.scenes.shards import load_scenes


@dataclass(frozen=True)
class MvtodScene(Scene):
    """A scene that asks in the words of its catalogue, or its stored queries where that is not to be had (None).

    which: phrases that training knew, or held-out wording (a catalogue is needed for it). mix: families drawn as often
    as in the paper's data.
    """

    catalogue: str | None = PROCEDURAL
    which: str = "training"
    seed: int = 0
    least: int = MIN_VISIBLE
    mix: bool = False

    def questions(self, v: int) -> list[Question]:
        """Those of `training.evaluate.questions`; of stored queries every one that fits something in view."""
        mask = self.view(v).mask
        if self.catalogue is not None:
            rng = np.random.default_rng([self.seed, zlib.crc32(self.name.encode()), v])
            specs = specs_of(self.catalogue)
            return questions(self, areas_of(mask), specs, self.which, rng, least=self.least, mix=self.mix)
        stored = self.coco.get("queries") or {}
        if not stored or self.which != "training":
            raise self._broken(f"scene.json has no {self.which} queries and its catalogue is not here")
        asked = (
            Question(phrase, family, labels) for family, of in stored.items() for phrase, labels in of.items() if labels
        )
        return seen_questions(asked, mask, self.least)

    def categories(self, v: int) -> dict[str, list[int]]:
        return categories(self, self.view(v).mask)


def specs_of(catalogue: str) -> dict[str, ObjectSpec]:
    """The objects of a catalogue by their names."""
    return {spec.name: spec for spec in open_catalogue(catalogue).specs}


def load_mvtod(
    folder: str | Path, split: str | None = None, which: str = "training", seed: int = 0, mix: bool = False
) -> list[MvtodScene]:
    """The scenes of a folder or its shards, or of folder/`split`; their catalogue is the recipe's.

    Scenes without a recipe are of the procedural catalogue; where the recipe's catalogue is not on this machine, the
    queries stored in scene.json are asked. Raises InputError.
    """
    root = Path(folder) / split if split else Path(folder)
    scenes = load_scenes(root)
    catalogue: str | None = catalogue_name(root)
    try:
        open_catalogue(catalogue)
    except InputError:
        catalogue = None
    return [MvtodScene(scene.source, scene.name, catalogue, which, seed, mix=mix) for scene in scenes]
