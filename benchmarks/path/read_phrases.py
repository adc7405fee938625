# SPDX-License-Identifier: Apache-2.0
"""How many of 500 written phrases are read right, wrong or refused, and what a parse costs.

    python -m benchmarks.path.read_phrases [--failures]

`benchmarks/data/phrases500.json` was written before the grammar, by someone who saw neither it nor the templates of
MV-TOD; 17 phrases were known beforehand (KNOWN). It was scored three times: blind (73.8 % right, 22.4 % wrong); once
to read what went wrong among even ids, after which the grammar grew; and at last, where odd ids were still unread
(78.0 %, 18.8 %). All of it has been read since; `benchmarks.path.answer_phrases` has newer phrases.
What counts as equal: see `plain`. Refusing what could be answered is neither right nor wrong.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import tyro

from dropclip_ros.language.parse import read_phrase
from dropclip_ros.language.tree import to_dict
from dropclip_ros.language.words import singular

PHRASES = Path(__file__).parents[1] / "data" / "phrases500.json"
SHA256 = "93d2eace1995e463f256e939dd938c2dd8c23f09b220535071ddc81a6b0b87ef"
KNOWN = {49, 50, 61, 76, 281, 282, 283, 292, 341, 342, 343, 344, 391, 392, 451, 471, 472}
SAME = {"grey": "gray"}
ORDERS = {"near": ("front", True), "far": ("front", False), "back": ("front", False)}
ORDERS |= {"right": ("left", False), "bottom": ("top", False)}


def plain(reading: dict) -> object:
    """A tree with everything that makes no difference gone: case, hyphens, order of lists, singular and plural, an
    adjective in the head, near for front, right for least left, "with" negated."""
    if "unsupported" in reading:
        return "unsupported"
    if "union" in reading:
        return ("union", _sorted(map(plain, reading["union"])))
    relations = []
    for relation in reading["relations"]:
        name, negated = relation["relation"], bool(relation.get("negated"))
        if name == "with" and negated:
            name, negated = "without", False
        relations.append((name, negated, _sorted(map(plain, relation["landmarks"]))))
    order = reading["order"]
    if order:
        by, more = ORDERS.get(order["by"], (order["by"], True))
        order = (by, (order["direction"] == "most") == more, order["index"])
    return (
        _sorted(_words(" ".join([*reading["attributes"], reading["head"] or ""]))),
        _sorted(_words(" ".join(reading["negated_attributes"]))),
        _sorted(relations),
        _sorted(map(plain, reading["not"])),
        order,
        reading["number"],
        reading["other"],
        reading["same"],
    )


def _sorted(items) -> tuple:
    return tuple(sorted(items, key=repr))


def _words(text: str) -> list[str]:
    words = text.lower().replace("-", " ").replace("'s", "").split()
    return [SAME.get(singular(word), singular(word)) for word in words if word not in ("the", "a", "an")]


def judged(entry: dict) -> str:
    """right, wrong or refused."""
    read = read_phrase(entry["phrase"])
    said = {"unsupported": read.unsupported} if read.reading is None else to_dict(read.reading)
    if plain(said) in [plain(tree) for tree in (entry["reading"], *entry.get("also", ()))]:
        return "right"
    return "refused" if read.reading is None else "wrong"


def main(failures: bool = False) -> None:
    """Prints shares by kind, with and without the known phrases. failures: each phrase that is not right, too."""
    entries = json.loads(PHRASES.read_text())
    entries = entries if isinstance(entries, list) else entries["phrases"]
    read_phrase("wraam upp, la taza roja")
    times, outcomes = [], defaultdict(Counter)
    for entry in entries:
        read_phrase.cache_clear()
        start = time.thread_time()
        read_phrase(entry["phrase"])
        times.append(1e3 * (time.thread_time() - start))
        outcome = judged(entry)
        groups = ("all", *(() if entry["id"] in KNOWN else ("all but the known 17",)), entry["kind"])
        half = "even ids" if entry["id"] % 2 == 0 else "odd ids"
        for group in (*groups, half):
            outcomes[group][outcome] += 1
        if failures and outcome != "right":
            read = read_phrase(entry["phrase"])
            print(f"{outcome} {entry['id']} {entry['phrase']!r}\n  {json.dumps(entry['reading'])}")
            print(f"  {json.dumps(to_dict(read.reading)) if read.reading else read.unsupported}")
    for group, counts in outcomes.items():
        total = sum(counts.values())
        shares = ", ".join(f"{name} {100 * counts[name] / total:5.1f} %" for name in ("right", "wrong", "refused"))
        print(f"{group:35} {total:4}: {shares}")
    middle, high = np.percentile(times, (50, 99))
    print(f"a parse, in time of its thread: median {middle:.2f} ms, 99 % under {high:.2f} ms, most {max(times):.2f} ms")


if __name__ == "__main__":
    tyro.cli(main)
