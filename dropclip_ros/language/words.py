# SPDX-License-Identifier: Apache-2.0
"""From a phrase to words: contractions, punctuation, misspelt words, plurals."""

from __future__ import annotations

import gzip
import json
import re
from functools import cache, lru_cache
from importlib.resources import files
from importlib.util import find_spec
from itertools import combinations

from dropclip_ros.language import lexicon
from dropclip_ros.language.nouns import IRREGULAR, NOUNS, PAIRED, words_of

SPLIT = {"infront": "in front", "ontop": "on top", "nextto": "next to", "leftof": "left of", "rightof": "right of"}
CONTRACTIONS = (
    (r"\.{2,}|…", " "),
    (r"[.;:!?]+(?=\s+\w)", ","),
    (r"\b(you|it|they|we|i|there|that)'ll\b", r"\1 will"),
    (r"\b(you|we|they)'ve\b", r"\1 have"),
    (r"\b(plz|pls|plse|plx)\b", "please"),
    (r"\bw/o\b", "without"),
    (r"\bw/(?=\s|\w|$)", "with "),
    (r"\bb/w\b", "between"),
    (r"\s&\s", " and "),
    (r"\+(?=\s)", " and "),
    (r"\bin ?between\b", "between"),
    (r"\bnext (?:2|too|tot)\b", "next to"),
    (r"\b(left|right) (?:off|fo|og|o)\b", r"\1 of"),
    (r"\btot he\b", "to the"),
    (r"\bform the (?=left|right|top|bottom|front|back)", "from the "),
    (r"\bform (?=left|right)", "from "),
    (r"\ban (the|a|an)\b", r"and \1"),
    (r"\b(?:al|alle|oll) (?=the|of|my)\b", "all "),
    (r"\b(?:da|teh|th|hte|thw) (?=\w)", "the "),
    (r"\b(?:dat|taht)\b", "that"),
    (r"\bdis\b", "this"),
    (r"\bu\b", "you"),
    (r"\bur\b", "your"),
    (r"\bwich\b", "which"),
    (r"\b(?:whit|wiht|wth|wit)\b", "with"),
    (r"\bnxt\b", "next"),
    (r"\b(?:sth|smth|smthg)\b", "something"),
    (r"\blet's\b", "let us"),
    (r"\b(?:ya|yo?u all|y'all)\b", "you"),
    (r"(?:^|(?<=\s))(?:'em|em)\b", "them"),
    (r"\b(?:lil|lil'|li'l)\b", "little"),
    (r"\b(?:d'you|dyou)\b", "do you"),
    (r"\b(?:whatcha|wotcha)\b", "what you"),
    (r"\bgotta\b", "have to"),
    (r"\b(?:'cause|cos|coz|cuz)\b", "because"),
    (r"\b(?:pic|img)\b", "picture"),
    (r"\b(first)[ -](aid)\b", r"\1-\2"),
    (r"\b(small|medium|large|big|mid|average|middle)[ -]siz(?:ed|e)\b", r"\1"),
    (r"\b(?:gonna)\b", "going to"),
    (r"\b(infront|ontop|nextto|leftof|rightof)\b", lambda match: SPLIT[match[0]]),
    (r"\b(that|what|there|where)s\b", r"\1 is"),
    (r"\b(is|are|was|were|does|do|did|has|have|wo|would|could|ca)n't\b", r"\1 not"),
    (r"\(|\)|\s[-–—]+\s", " , "),
    (r"#\s*(?=\d)", "number "),
    (r"\b(to|of|on|in)the\b", r"\1 the"),
    (r"\b(that|it|what|where|there|here|which|who|one|whatever)'s\b", r"\1 is"),
    (r"\bi'd\b", "i would"),
    (r"\bi'm\b", "i am"),
    (r"\bi've\b", "i have"),
    (r"\b(isnt|arent|doesnt|dont|hasnt)\b", lambda match: match[0][:-2] + " not"),
    (r"\bcannot\b", "can not"),
    (r"\b(gimme|lemme)\b", "give me"),
    (r"\bwanna\b", "want to"),
    (r"\b(left|right|front|back|top|bottom)[- ]most\b", r"\1most"),
    (r"\b(left|right)-hand\b", r"\1 hand"),
    (r"\bin-between\b", "in between"),
    (r"\bnon-(?=\w)", "non "),
)
GRAMMAR = words_of(
    """
    of to in on at by with without for from and or but not next near nearest close closest beside besides between among
    under underneath below beneath above over behind front left right middle center centre top bottom inside within into
    onto upon atop around away far farther farthest furthest other another else rest same except than apart everything
    anything something nothing which that who is are was has have having containing holding please could would can you
    hand give pass bring fetch get grab pick take put place move lift find show want need like me us up
    located standing sitting lying placed adjacent alongside against touching hand side most than only also
    how many much what where when why who i am do does did be will there here they he she no yes out off down so very
    if it made used cut eat drink write open use keep neither nor instead please robot something
    """
)
KNOWN = (
    GRAMMAR
    | lexicon.DETERMINERS
    | lexicon.EVERY
    | lexicon.INDEFINITE
    | lexicon.NOTHING
    | frozenset(lexicon.NUMBERS)
    | frozenset(lexicon.ORDINALS)
    | frozenset(lexicon.BEFORE)
    | lexicon.ADJECTIVES
    | lexicon.VIEWERS
    | lexicon.FIELDS
    | NOUNS
)
LONG = 8  # letters of a word that may be misspelt twice
SHORTEST = 3  # letters of a word that may be misspelt
RARE = 50  # times counted: noise
SELDOM = 1000  # times counted: a usual word with two letters swapped may be meant
SLIP = 1.0  # a letter too many, too few, swapped with the next, or one for its neighbour on the keyboard
CHANGE = 1.5  # any other letter
KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
VOWELS = "aeiouy"


def split_words(phrase: str) -> list[str]:
    """Words in lower case and commas; other punctuation goes, hyphens and apostrophes within words stay."""
    text = phrase.casefold().replace("’", "'").replace("`", "'")
    for pattern, plain in CONTRACTIONS:
        text = re.sub(pattern, plain, text)
    words = [word.strip("-'") if word != "," else word for word in re.findall(r"[^\W_](?:[\w'\-&]*[\w&])?|,", text)]
    while words and words[-1] == ",":
        words.pop()
    return [word for word in words if word]


@lru_cache(maxsize=4096)
def mend(word: str) -> str:
    """The known word that a misspelt one is meant to be, or the word as it is."""
    if (
        len(word) < SHORTEST
        or not word.isalpha()
        or is_known(word)
        or not usual_words()
        or usual_words().get(word, 0) > SELDOM
    ):
        return word
    most = 1 if len(word) < LONG else 2
    found = {known for left in _left_over(word, most) for known in _dictionary().get(left, ())}
    near = [
        (
            _distance(word, known),
            known[0] != word[0],
            sorted(known) != sorted(word),
            known not in GRAMMAR,
            not known.startswith(word),
            known,
        )
        for known in sorted(found)
    ]
    near = [entry for entry in near if entry[0] <= most]
    if not near:
        return word if word in usual_words() else " ".join(_parted(word))
    best = min(near)
    if word in usual_words():  # a rare word, or two letters swapped
        return word if best[2] else best[-1]
    return best[-1] if best[0] == 1 or not best[1] else word  # two wrong letters, and the first: any word is near


def _parted(word: str) -> tuple[str, ...]:
    """The two known words that were written as one; the word itself where it is not two."""
    parts = ((word[:k], word[k:]) for k in range(4, len(word) - 3))
    return next(((a, b) for a, b in parts if is_known(a) and is_known(b)), (word,))


@cache
def usual_words() -> dict[str, int]:
    """English words, and how often each was counted."""
    return {word: count for word, count in word_counts("en").items() if count > RARE}


def word_counts(language: str) -> dict[str, int]:
    """How often pyspellchecker's authors counted each word of a language, by its code of two letters.

    Empty where it is not installed: then nothing is mended, and other languages are known by their letters only.
    """
    return json.loads(counted_text(language))


def counted_text(language: str) -> bytes:
    """The same as the JSON that it is."""
    if find_spec("spellchecker") is None:
        return b"{}"
    return gzip.decompress((files("spellchecker") / "resources" / f"{language}.json.gz").read_bytes())


def is_known(word: str) -> bool:
    return word in KNOWN or singular(word) in KNOWN or word in lexicon.UNSEEN


@cache
def _dictionary() -> dict[str, tuple[str, ...]]:
    """What is left of known words where up to two letters are dropped: the words."""
    table: dict[str, tuple[str, ...]] = {}
    plurals = {noun + "s" for noun in NOUNS if not noun.endswith(("s", "x", "ch", "sh", "y"))}
    for word in sorted(KNOWN | plurals):
        if word.isalpha() and len(word) >= SHORTEST:
            for left in _left_over(word, 1 if len(word) < LONG else 2):
                table[left] = (*table.get(left, ()), word)
    return table


def _left_over(word: str, most: int) -> set[str]:
    return {
        "".join(letter for i, letter in enumerate(word) if i not in dropped)
        for count in range(most + 1)
        for dropped in combinations(range(len(word)), count)
    }


def _distance(a: str, b: str) -> float:
    """What it takes to mistype one for the other."""
    before: list[float] = []
    row = [float(j) for j in range(len(b) + 1)]
    for i, letter in enumerate(a, 1):
        older, before, row = before, row, [float(i)]
        for j, other in enumerate(b, 1):
            change = 0.0 if letter == other else SLIP if _neighbours(letter, other) else CHANGE
            cost = min(before[j] + SLIP, row[-1] + SLIP, before[j - 1] + change)
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                cost = min(cost, older[j - 2] + SLIP)
            row.append(cost)
    return row[-1]


def _neighbours(letter: str, other: str) -> bool:
    return (letter in VOWELS and other in VOWELS) or any(letter + other in row or other + letter in row for row in KEYS)


def singular(word: str) -> str:
    """The word for one of them; a word for one stays as it is."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word in PAIRED or len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is", "'s")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses", "zes")):
        return word[:-2]
    return word[:-1]


def is_plural(word: str) -> bool:
    return word != "dice" and singular(word) != word
