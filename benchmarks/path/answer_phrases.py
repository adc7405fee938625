# SPDX-License-Identifier: Apache-2.0
"""How many of 400 phrases about 40 described scenes are answered right, with true names and boxes.

    python -m benchmarks.path.answer_phrases --half a [--phrases PHRASES.json] [--failures]

The phrases were written by someone who saw neither grammar nor templates. Their halves are kept apart: what fails in
half "a" may be read, half "b" is looked at once. A scene's boxes stand for instances; a text fits an object with
probability 0.95 where each of its words is one of the object's (a name whole, colour, material, a handle it has),
else 0.02: what `ground` does with features, done with the truth. Uses ("something to drink from") are compared with
the names by the shipped text tower.

right: exactly these objects; any n of them where any will do; AMBIGUOUS with exactly these where one would ask back;
NOT_FOUND or UNSUPPORTED where nothing can be answered. wrong: objects handed over that are not meant. Anything else,
a refusal or a question, is neither.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from dropclip_ros.base.errors import Status
from dropclip_ros.grounding.interpretation import COLOURS, Interpretation, Judgement, not_judged
from dropclip_ros.grounding.phrases import Judge
from dropclip_ros.grounding.pipeline import MODEL_FOLDER
from dropclip_ros.grounding.relations import Layout, Viewer
from dropclip_ros.language.lexicon import SHADES, STATES
from dropclip_ros.language.parse import read_phrase
from dropclip_ros.language.patterns import PURPOSE
from dropclip_ros.language.tree import Node, in_words
from dropclip_ros.language.words import singular
from dropclip_ros.networks.model_folder import ADAPTER, load_model
from dropclip_ros.networks.text import TextEncoder

CAMERA = np.array([[1.0, 0, 0, 0], [0, 0, 1, -1], [0, -1, 0, 0.4], [0, 0, 0, 1]])  # looks along y, from y = -1
PHRASES = Path(__file__).parents[1] / "data" / "phrases400.json"
STEP = 0.01  # m between points of a box
SIZES = frozenset(
    [
        "big",
        "large",
        "huge",
        "small",
        "little",
        "tiny",
        "tall",
        "short",
        "long",
        "wide",
        "narrow",
        "thick",
        "thin",
        "high",
        "low",
    ]
)
SAID_AROUND = frozenset(
    [
        "the",
        "a",
        "an",
        "with",
        "of",
        "in",
        "made",
        "and",
        "has",
        "having",
        "its",
        "object",
        "thing",
        "coloured",
        "colored",
        "that",
        "which",
        "is",
        "are",
        "it",
        "my",
        "any",
        "one",
        "some",
        "all",
        "both",
        "either",
        "every",
        "each",
        "please",
    ]
)
SAME = {"grey": "gray", "wood": "wooden", "metallic": "metal", "ceramics": "ceramic", "colour": "color"}
TRUE, FALSE = 0.95, 0.02
ALIKE, UNLIKE = 0.02, 0.2  # cosines that tell uses apart, and that say nothing
SYNONYM = 0.6  # the least cosine of two names of a thing
THRESHOLD = RIVAL = 0.5


def layout_of(scene: Mapping) -> Layout:
    """The surfaces of a scene's boxes, in its axes, as the viewer sees left and right."""
    points, labels = [], []
    for k, thing in enumerate(scene["objects"], 1):
        middle, size = np.array(thing["centre_m"]), np.array(thing["size_m"])
        axes = [np.linspace(-side / 2, side / 2, max(2, int(np.ceil(side / STEP)) + 1)) for side in size]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
        surface = grid[(np.abs(np.abs(grid) - size / 2) < 1e-9).any(axis=1)]
        points.append(surface + middle)
        labels.append(np.full(len(surface), k))
    return Layout(np.concatenate(points), np.concatenate(labels), Viewer.of_camera(CAMERA))


def words_of(text: str) -> tuple[str, ...]:
    words = (singular(word) for word in re.findall(r"[a-z]+", text.lower().replace("'s", "")))
    return tuple(SAME.get(word, word) for word in words)


def fits(thing: Mapping, text: str, loose: bool = False) -> bool:
    """Whether each word of a text is true of an object. loose: words of states, of which a scene says nothing, "
    "aside."""
    words = [word for word in words_of(text) if word not in SAID_AROUND and word not in SIZES]
    if loose:
        words = [word for word in words if word not in STATES | SHADES]
    own = {*words_of(thing["colour"] or ""), *words_of(thing["material"] or "")} | (
        {"handle"} if thing["handle"] else set()
    )
    names = [(), *(words_of(name) for name in thing["names"])]
    names += [(one,) for one in map("".join, names[1:])] + [("".join(words),)] * (
        "".join(words) in map("".join, names[1:])
    )
    joined = [*words] if "".join(words) not in map("".join, names[1:]) else ["".join(words)]
    return any(_without(joined, name) <= own for name in names if set(name) <= set(joined))


def _without(words: list[str], name: tuple[str, ...]) -> set[str]:
    left = list(words)
    for word in name:
        left.remove(word) if word in left else None
    return set(left)


def is_use(text: str) -> bool:
    """Whether a text says what a thing is for rather than what it is."""
    words = text.lower().split()
    return any(PURPOSE.match(" ".join(words[k:])) for k in range(len(words)))


def scores_of(scene: Mapping, text: str) -> np.ndarray:
    """(K,) of the objects of a scene."""
    if is_use(text):
        return used_for(scene, text)
    true = np.array([fits(thing, text) for thing in scene["objects"]])
    if not true.any():
        true = np.array([fits(thing, text, loose=True) for thing in scene["objects"]])
    if not true.any():
        return called(scene, text)
    return np.where(true, TRUE, FALSE)


def called(scene: Mapping, text: str) -> np.ndarray:
    """(K,): the objects whose names the shipped text tower finds near to a name that is none of theirs."""
    colours = set(words_of(text)) & {*COLOURS, "gray"}
    of_colour = [colours <= set(words_of(thing["colour"] or "")) for thing in scene["objects"]]
    cosine = np.where(of_colour, nearest_names(scene, text), -1)
    return np.where((cosine > cosine.max() - ALIKE) & (cosine > SYNONYM), TRUE, FALSE)


def used_for(scene: Mapping, text: str) -> np.ndarray:
    """(K,): the objects whose names the shipped text tower finds nearest to a use."""
    cosine = nearest_names(scene, text)
    return np.where((cosine > cosine.max() - ALIKE) & (cosine > UNLIKE), TRUE, FALSE)


def nearest_names(scene: Mapping, text: str) -> np.ndarray:
    """(K,): the cosine of a text and the nearest of each object's names, with its colour and without."""
    named = [
        (k, said)
        for k, thing in enumerate(scene["objects"])
        for name in thing["names"]
        for said in (name, f"{thing['colour']} {name}")
    ]
    vectors = text_tower().encode([text, *(name for _, name in named)]).cpu().numpy()
    cosine = np.full(len(scene["objects"]), -1.0)
    np.maximum.at(cosine, [k for k, _ in named], vectors[1:] @ vectors[0])
    return cosine


@cache
def text_tower() -> TextEncoder:
    folder = MODEL_FOLDER
    return TextEncoder(load_model(folder, "cpu")[1].text, "cpu", folder / ADAPTER)


def answered(scene: Mapping, layout: Layout, text: str) -> Judgement:
    """What `ground` would answer."""
    phrase = read_phrase(text)
    if phrase.reading is None:
        return not_judged(phrase, layout.count)
    judge = Judge(layout, lambda said: scores_of(scene, said), THRESHOLD, RIVAL)
    if not phrase.whole:
        return judge.judge(phrase)
    node = phrase.reading
    assert isinstance(node, Node)
    scores = scores_of(scene, phrase.text)
    scores = np.where(scores > THRESHOLD, scores, 0)
    interpretation = Interpretation(in_words(node))
    if not scores.any():
        return Judgement(Status.NOT_FOUND, f"there is no {phrase.text}", [], scores, interpretation)
    return judge.choose(node, scores, interpretation)


def outcome(phrase: Mapping, judged: Judgement) -> str:
    """right, wrong, refused or asked."""
    chosen, meant = sorted(judged.chosen), sorted(phrase["answer"])
    asked = judged.status == Status.AMBIGUOUS
    if judged.status not in (Status.OK, Status.AMBIGUOUS):
        return "right" if phrase.get("refuse") else "refused"
    if phrase.get("ask"):
        return "right" if asked and chosen == meant else "asked" if asked else "wrong"
    if asked:
        return "asked"
    if phrase.get("refuse"):
        return "wrong"
    if count := phrase.get("any"):
        return "right" if len(chosen) >= count and set(judged.chosen[:count]) <= set(meant) else "wrong"
    return "right" if chosen == meant else "wrong"


def main(half: Literal["a", "b"], phrases: Path = PHRASES, failures: bool = False) -> None:
    """Prints the outcomes by kind. failures: each phrase that is not right, too."""
    data = json.loads(phrases.read_text())
    scenes = {scene["id"]: scene for scene in data["scenes"]}
    layouts = {name: layout_of(scene) for name, scene in scenes.items()}
    outcomes: dict[str, Counter] = defaultdict(Counter)
    for phrase in data["phrases"]:
        if phrase["half"] != half:
            continue
        scene = scenes[phrase["scene"]]
        numbers = {thing["id"]: k for k, thing in enumerate(scene["objects"], 1)}
        judged = answered(scene, layouts[phrase["scene"]], phrase["text"])
        meant = {**phrase, "answer": [numbers[name] for name in phrase["answer"]]}
        result = outcome(meant, judged)
        outcomes["of every kind"][result] += 1
        outcomes[phrase["kind"]][result] += 1
        if failures and result != "right":
            said = [scene["objects"][k - 1]["id"] for k in judged.chosen]
            wanted = next((flag for flag in ("ask", "refuse", "any") if phrase.get(flag)), "")
            print(f"{result} {phrase['index']} [{phrase['kind']}] {phrase['text']!r}: {phrase['answer']} {wanted}")
            print(f"    {said} {judged.interpretation.text} | {judged.message}")
    for kind, counts in outcomes.items():
        total = sum(counts.values())
        shares = ", ".join(
            f"{name} {100 * counts[name] / total:5.1f} %" for name in ("right", "wrong", "refused", "asked")
        )
        print(f"{kind:14} {total:4}: {shares}")


if __name__ == "__main__":
    tyro.cli(main)
