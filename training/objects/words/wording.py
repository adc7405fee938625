# SPDX-License-Identifier: Apache-2.0
"""Phrases of any object, in the paper's four families (section 4): procedural ones by the tables of `phrases.py`,
meshes by templates from category and attributes, annotated ones in the words of their annotation (A.1.1).

What a mesh of a category that the tables know is called and good for stands there too. Further values of an attribute
have numbers: color, color2, color3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from training.objects.words import phrases
from training.objects.words import vocabulary as words
from training.objects.words.phrases import FAMILIES, Description, fill, normal

if TYPE_CHECKING:
    from training.objects.spec import ObjectSpec

NOUN = (
    "{color} {noun}",
    "{material} {noun}",
    "{state} {noun}",
    "{color} {material} {noun}",
    "{state} {color} {noun}",
    "{color} and {color2} {noun}",
    "{noun} made of {stuff}",
)
OPEN = (
    "{title}",
    "{brand}",
    "{brand} {title}",
    "{title} by {brand}",
    "{brand} {noun}",
    "{title} {noun}",
    "{flavour} {noun}",
    "{noun} for {utility}",
    "thing for {utility}",
    "something {state}",
)
MOST = 9  # values of an attribute
# Wider words are true as well, though nobody put them down.
BROADER = {
    "grey": "gray",
    "silver": "gray",
    "golden": "gold",
    "beige": "brown",
    "wooden": "wood",
    "metallic": "metal",
    "porcelain": "ceramic",
    "stoneware": "ceramic",
    "steel": "metal",
    "aluminium": "metal",
    "aluminum": "metal",
    "tin": "metal",
    "brass": "metal",
    "copper": "metal",
    "iron": "metal",
}


def describe_object(spec: ObjectSpec) -> Description:
    """All that is said about an object: its annotation's prompts, where it has some, instead of training phrases."""
    made = spec.mesh is None and spec.category in words.NOUNS
    said = phrases.describe(spec.category, spec.attributes) if made else describe(spec.category, spec.attributes)
    if spec.prompts is None:
        return said
    prompts = {family: tuple(spec.prompts.get(family, ())) for family in FAMILIES}
    accepted = {normal(phrase) for family in prompts.values() for phrase in family}
    return Description(prompts, said.heldout, said.accepted | accepted)


def describe(category: str, attributes: Mapping[str, str]) -> Description:
    """What templates say of an object. Attributes, in plain words: class (a second name of the category), color,
    material, state, utility, title, brand, flavour; others are not spoken of."""
    return _describe(category, tuple(sorted(attributes.items())))


@cache
def _describe(category: str, items: tuple[tuple[str, str], ...]) -> Description:
    attributes = dict(items)
    names = _distinct(map(normal, (category, *values(attributes, "class"))))
    tables = [phrases.describe(name, {}) for name in names if name in words.NOUNS]
    heldout = dict.fromkeys(FAMILIES, ()) | {
        family: _distinct(phrase for table in tables for phrase in table.heldout[family])
        for family in ("class", "affordance")
    }
    fields = {name: values(attributes, name) for name in ("color", "state", "utility", "title", "brand", "flavour")}
    fields |= {"color2": fields["color"][1:], **_stuff(values(attributes, "material"))}
    training = {
        "class": _distinct((*names, *(noun for table in tables for noun in table.training["class"]))),
        "attribute": (*fill(NOUN, fields, names), *fill(phrases.COLOR, fields)),
        "affordance": _distinct(phrase for table in tables for phrase in table.training["affordance"]),
        "open": fill(OPEN, fields, names),
    }
    for family, (said, other) in phrases.further(category, attributes).items():
        training[family], heldout[family] = said, other
    nouns = _distinct((*wide(names), *training["class"], *heldout["class"]))
    colors = wide(fields["color"])
    fields |= {"color": colors, "color2": colors, **_stuff(wide(values(attributes, "material")))}
    accepted = {phrase for table in (training, heldout) for family in table.values() for phrase in family}
    accepted.update(nouns)
    accepted.update(fill((*NOUN, *phrases.HELDOUT_NOUN, *OPEN), fields, nouns))
    accepted.update(fill((*phrases.COLOR, *phrases.HELDOUT_COLOR), fields))
    return Description(training, heldout, frozenset(map(normal, accepted)))


def values(attributes: Mapping[str, str], name: str) -> tuple[str, ...]:
    """All values of an attribute, the first one first."""
    keys = (name, *(f"{name}{k}" for k in range(2, MOST + 1)))
    return tuple(attributes[key] for key in keys if attributes.get(key))


def _stuff(materials: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Materials as adjectives and as nouns; those that nobody speaks of are left out."""
    adjectives = {stuff: words.MATERIAL_WORDS.get(stuff, stuff) for stuff in materials}
    spoken = {stuff: adjective for stuff, adjective in adjectives.items() if adjective}
    return {"material": tuple(spoken.values()), "stuff": tuple(spoken)}


def wide(names: Iterable[str]) -> tuple[str, ...]:
    """The names and wider ones: a 'bottle of water' and a 'water bottle' are a 'bottle', 'dark blue' is 'blue'."""
    heads = []
    for name in map(normal, names):
        head = re.split(r" (?:of|with|for|in|on) ", name)[0].split()
        heads += [name, *(" ".join(head[k:]) for k in range(len(head)))]
    return _distinct((*heads, *(BROADER[head] for head in heads if head in BROADER)))


def _distinct(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))
