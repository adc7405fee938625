# SPDX-License-Identifier: Apache-2.0
"""60 phrases in German, Spanish and Dutch about the demo's table: right, wrong, not found, refused.

    python -m benchmarks.path.languages [--model FOLDER] [--catalogue]

`benchmarks/data/phrases_de_es_nl.json` has a pixel of each object and the object that each phrase means. The shipped
model speaks English and is to refuse all of them; a folder with "multilingual": true in config.json is to find them.
catalogue: how many of the catalogue's English phrases are refused as foreign, too (the aim: under 1 %).
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

import tyro

from dropclip_ros.base.errors import Status
from dropclip_ros.grounding.pipeline import Grounder
from dropclip_ros.language.languages import foreign
from dropclip_ros.language.words import split_words
from dropclip_ros.vision.bags import load_bag_frame
from training.objects.procedural.objects import catalogue as all_objects
from training.objects.words.phrases import describe

PHRASES = Path(__file__).parents[1] / "data" / "phrases_de_es_nl.json"
BAG = Path(__file__).parents[2] / "demo" / "tabletop"


def main(model: Path | None = None, catalogue: bool = False) -> None:
    """Prints a row for each language."""
    table, grounder = json.loads(PHRASES.read_text(encoding="utf-8")), Grounder.from_pretrained(model)
    scene = grounder.encode(load_bag_frame(BAG))
    of_pixel, width = scene.image(grounder.instances(scene)).ravel(), scene.frame.depth.shape[1]
    instance = {name: int(of_pixel[v * width + u]) for name, (u, v) in table["objects"].items()}
    outcomes = defaultdict(Counter)
    for row in table["phrases"]:
        result = grounder.ground(scene, row["phrase"])
        outcome = {Status.NOT_FOUND: "not found", Status.UNSUPPORTED: "refused"}.get(result.status)
        if result.objects:
            outcome = "right" if result.objects[0].id == instance[row["object"]] else "wrong"
        outcomes[row["language"]][outcome] += 1
    for language, counts in outcomes.items():
        print(f"{language}: " + ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common()))
    if catalogue:
        described = [describe(spec.category, spec.attributes) for spec in all_objects()]
        tables = [of for said in described for of in (said.training, said.heldout)]
        phrases = sorted({phrase for of in tables for family in of.values() for phrase in family})
        refused = [phrase for phrase in phrases if foreign(phrase, split_words(phrase))]
        print(f"catalogue: {len(refused)} of {len(phrases)} English phrases refused: {', '.join(refused[:20])}")


if __name__ == "__main__":
    tyro.cli(main)
