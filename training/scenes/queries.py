# SPDX-License-Identifier: Apache-2.0
"""Phrases of a scene and all of its objects that each fits (section 4)."""

from __future__ import annotations

from collections.abc import Mapping

from training.objects.spec import ObjectSpec
from training.objects.words.phrases import FAMILIES, normal
from training.objects.words.wording import describe_object


def scene_queries(specs: Mapping[int, ObjectSpec], which: str = "training") -> dict[str, dict[str, list[int]]]:
    """{family: {phrase: labels of all objects that it fits}} for the objects of a scene, by label.

    which: training, or heldout for the same in other words. A phrase fits an object of which it is said or might truly
    be said, in whatever family. What something is good for goes for all that may be called by its name.
    """
    described = {label: describe_object(spec) for label, spec in specs.items()}
    queries: dict[str, dict[str, list[int]]] = {}
    for family in FAMILIES:
        said: dict[
            str, tuple[str, set[str]]
        ] = {}  # normal form: the phrase as first said, names of those it is said of
        for label, spec in specs.items():
            name = normal(spec.attributes.get("class", spec.category))
            for phrase in getattr(described[label], which)[family]:
                said.setdefault(normal(phrase), (phrase, set()))[1].add(name)
        queries[family] = {
            phrase: [
                label
                for label, description in described.items()
                if key in description.accepted
                or (family == "affordance" and not names.isdisjoint(description.accepted))
            ]
            for key, (phrase, names) in said.items()
        }
    return queries
