# SPDX-License-Identifier: Apache-2.0
"""Queries with relations: one reading each, true of boxes whose places are known."""

import numpy as np

from dropclip_ros.language.parse import read_phrase
from dropclip_ros.language.tree import nodes_of
from training.scenes.relation_queries import DISTANCES, FRAMES, KINDS, NOT_FRAMES, SIDES, Solid, relation_queries


def solid(label, name, x, y, height=0.1):
    return Solid(label, name, np.array([x - 0.03, y - 0.03, 0.0]), np.array([x + 0.03, y + 0.03, height]))


TABLE = [
    solid(2, "mug", -0.2, 0.0),
    solid(3, "mug", 0.2, 0.0, 0.16),
    solid(4, "banana", 0.0, 0.0, 0.04),
    solid(5, "hammer", 0.02, 0.3, 0.05),
    solid(6, "plate", 0.0, -0.25, 0.02),
    solid(7, "apple", -0.4, 0.0, 0.08),
]


def test_each_kind_has_templates_enough_and_its_queries_are_read():
    assert (
        all(len(FRAMES) * len(said) >= 20 for said in (*SIDES.values(), *DISTANCES.values())) and len(NOT_FRAMES) >= 20
    )
    asked = relation_queries(TABLE, np.random.default_rng(0), most=50)
    assert {query.kind for query in asked} == set(KINDS)
    for query in asked:
        read = read_phrase(query.phrase)
        assert read.reading is not None and not read.whole, query.phrase


def test_truth_is_where_things_stand():
    asked = {query.phrase: query for query in relation_queries(TABLE, np.random.default_rng(1), most=500)}
    labels = {}
    for query in asked.values():
        if query.kind == "side":
            relation = query.reading.relations[0]
            labels[query.reading.head, relation.relation, relation.landmarks[0].head] = query.labels
    assert labels["mug", "left", "banana"] == (2,) and labels["mug", "right", "banana"] == (3,)
    assert labels["hammer", "behind", "banana"] == (5,) and labels["plate", "front", "banana"] == (6,)
    assert ("object", "left", "hammer") not in labels  # no telling which
    for query in asked.values():
        assert (query.kind == "absent") == (not query.labels)
        if query.kind == "absent":
            marks = [node.head for node in nodes_of(query.reading)][1:]
            assert not set(marks) & {of.name for of in TABLE}
