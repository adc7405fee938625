# SPDX-License-Identifier: Apache-2.0
"""Phrases of a scene and all of its objects that each fits (section 4)."""

from __future__ import annotations

from collections.abc import Mapping

from training.mvtod.catalogue import ObjectSpec, matches
from training.mvtod.phrases import FAMILIES, describe


def scene_queries(specs: Mapping[int, ObjectSpec]) -> dict[str, dict[str, list[int]]]:
    """{family: {phrase: labels of all objects that it fits}} for the objects of a scene, by label."""
    queries: dict[str, dict[str, list[int]]] = {family: {} for family in FAMILIES}
    for spec in specs.values():
        for family, phrases in describe(spec.category, spec.attributes).training.items():
            for phrase in phrases:
                if phrase not in queries[family]:
                    queries[family][phrase] = [label for label, other in specs.items() if matches(other, phrase)]
    return queries
