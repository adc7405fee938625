# SPDX-License-Identifier: Apache-2.0
"""Phrases that truthfully describe an object, in the paper's four families (section 4), from the tables of
`vocabulary.py` and `vocabulary_uses.py`.

Each object has phrases for training and held-out ones in other words. `matches` tells for any phrase of either kind
which objects it fits, so that a scene can list all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from string import Formatter

from training.objects.words import vocabulary as words
from training.objects.words import vocabulary_facts as facts
from training.objects.words import vocabulary_uses as uses
from training.objects.words.vocabulary_uses_heldout import HELDOUT_AFFORDANCES
from training.runs.factories import Factories, factory

FURTHER: Factories = {  # more families than the paper's: functions of category and attributes, see `further`
}
FAMILIES = ("class", "attribute", "affordance", "open", *FURTHER)
Phrases = tuple[str, ...]
PAPER_PHRASES = {  # of table 6, in thousands: those of training, of test
    "class": (66.8, 19.2),
    "attribute": (76.5, 21.8),
    "affordance": (151.1, 44.7),
    "open": (356.8, 102.1),
}
CANONICAL_NEGATIVES = ("object", "thing", "texture", "stuff")
ABSENT_PHRASES = {"calibration": words.ABSENT[0::2], "test": words.ABSENT[1::2]}

COLOR = ("{color} object", "{color} thing", "something {color}")
HELDOUT_COLOR = ("{color} item", "anything {color}", "it is {color}")
NOUN = (
    "{color} {noun}",
    "{material} {noun}",
    "{color} {material} {noun}",
    "{noun} made of {stuff}",
    "{noun} with {detail}",
    "{color} {noun} with {detail}",
)
HELDOUT_NOUN = ("{noun} that is {color}", "{noun} in {color}", "{noun} of {stuff}", "{noun} that has {detail}")


@dataclass(frozen=True)
class Description:
    """Phrases of one object by family; `accepted` are all true phrases in normal form, for `matches`."""

    training: dict[str, tuple[str, ...]]
    heldout: dict[str, tuple[str, ...]]
    accepted: frozenset[str]


def paper_mix(families: Iterable[str]) -> dict[str, float]:
    """Of these families the shares, together 1, that their phrases have in the paper's data (table 6): of all four 10,
    12, 23 and 55 %. (Its open ones are 68 % of the 671.2 thousand that table 1 counts.) Families of ours have none."""
    counts = {family: sum(PAPER_PHRASES.get(family, ())) for family in families}
    total = sum(counts.values())
    return {family: count / total for family, count in counts.items()} if total else {}


def normal(phrase: str) -> str:
    """Lower case, no article in front, no final punctuation, single spaces."""
    phrase = re.sub(r"\s+", " ", phrase.strip().lower()).rstrip(".!?")
    return re.sub(r"^(the|a|an|some) ", "", phrase)


def describe(category: str, attributes: Mapping[str, str]) -> Description:
    """All that is said about an object of this category with these attributes."""
    return _describe(category, tuple(sorted(attributes.items())))


@cache
def _describe(category: str, items: tuple[tuple[str, str], ...]) -> Description:
    attributes = dict(items)
    nouns, other_nouns = words.NOUNS[category]
    groups, other_groups = _of(words.GROUPS, category), _of(words.HELDOUT_GROUPS, category)
    labels, other_labels = words.LABELS.get(category, ((), ()))
    fields = _fields(category, attributes)
    training = {
        "class": (*nouns, *groups),
        "attribute": (*fill(NOUN, fields, nouns), *fill(COLOR, fields)),
        "affordance": _of(uses.AFFORDANCES, category),
        "open": (*fill(labels, fields), *_of(facts.FACTS, category)),
    }
    heldout = {
        "class": (*other_nouns, *other_groups),
        "attribute": (
            *fill(NOUN, fields, other_nouns),
            *fill(HELDOUT_NOUN, fields, nouns),
            *fill(HELDOUT_COLOR, fields),
        ),
        "affordance": _of(HELDOUT_AFFORDANCES, category),
        "open": (*fill(other_labels, fields), *_of(facts.HELDOUT_FACTS, category)),
    }
    for family, (said, other) in further(category, attributes).items():
        training[family], heldout[family] = said, other
    every = [phrase for table in (training, heldout) for family in table.values() for phrase in family]
    every += fill((*NOUN, *HELDOUT_NOUN), fields, (*groups, *other_nouns, *other_groups))
    if attributes.get("color") == "silver":  # bright metal also passes for gray; nobody is taught to say so
        gray = fields | {"color": ("gray",)}
        every += fill((*COLOR, *HELDOUT_COLOR), gray) + fill((*NOUN, *HELDOUT_NOUN), gray, (*nouns, *other_nouns))
    return Description(training, heldout, frozenset(normal(phrase) for phrase in every))


def further(category: str, attributes: Mapping[str, str]) -> dict[str, tuple[Phrases, Phrases]]:
    """What the families of FURTHER say of an object: those of training, and held-out ones in other words."""
    return {name: factory(FURTHER, name, "family")(category, attributes) for name in FURTHER}


def _of(table: Mapping[str, Iterable[str]], category: str) -> tuple[str, ...]:
    return tuple(phrase for phrase, categories in table.items() if category in categories)


def _fields(category: str, attributes: Mapping[str, str]) -> dict[str, tuple[str]]:
    """A word for each field of the templates; one whose word is missing says nothing about this object."""
    return {name: (word,) for name, word in _words(category, attributes).items()}


def _words(category: str, attributes: Mapping[str, str]) -> dict[str, str]:
    fields = dict(attributes)
    stuff = fields.pop("material", "")
    adjective = words.MATERIAL_WORDS.get(stuff, stuff)
    if category in words.HANDLED:
        handle = adjective if stuff == "wood" else fields.get("color")
        return fields | {"detail": f"{_article(handle)} {handle} handle"} if handle else fields
    if adjective:
        fields |= {"material": adjective, "stuff": stuff}
    if "color2" in fields:
        if fields.get("pattern") in words.PATTERNS:
            fields["detail"] = words.PATTERNS[fields["pattern"]].format(**fields)
        elif category in words.DETAILS:
            fields["detail"] = f"{_article(fields['color2'])} {fields['color2']} {words.DETAILS[category]}"
    return fields


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def fill(
    templates: Iterable[str], words_of: Mapping[str, Iterable[str]], nouns: Iterable[str] = ("",)
) -> tuple[str, ...]:
    """Every template with every noun and all its fields' words, left out where it would say a word twice."""
    filled = {}
    for noun in nouns:
        known = {**words_of, "noun": (noun,)}
        if noun in words.CONTENTS:
            known.update(material=(), stuff=())
        for template in templates:
            names = [name for _, name, _, _ in Formatter().parse(template) if name]
            for chosen in product(*(known.get(name, ()) for name in names)):
                phrase = template.format(**dict(zip(names, chosen, strict=True)))
                said = [word for word in phrase.split() if word not in ("a", "an", "of")]
                if len(said) == len(set(said)):
                    filled[phrase] = None
    return tuple(filled)
