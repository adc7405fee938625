# SPDX-License-Identifier: Apache-2.0
"""Whether a phrase is English, by its letters and by how usual its words are in several languages.

The counts of words are pyspellchecker's. They are read when the first word comes that the grammar does not know, those
of other languages when the first comes that is rare in English.
"""

from __future__ import annotations

import math
import unicodedata
from functools import cache

import numpy as np

from dropclip_ros.language.words import is_known, usual_words, word_counts

OTHERS = {"de": "German", "es": "Spanish", "fr": "French", "it": "Italian", "nl": "Dutch", "pt": "Portuguese"}
WORDS = 40_000  # of each language, the most usual ones
USUAL = 300  # times an English word was counted: no evidence for another language
UNKNOWN = math.log(1e-8)  # of a word that a language does not have
KNOWN = math.log(1e-4)  # at least, of a word that the grammar knows, in English
MARGIN = 4.0  # nats by which another language must be likelier


def foreign(phrase: str, words: list[str]) -> str:
    """Why the phrase is not English; empty where it may be."""
    if script := other_script(phrase):
        return f"{script} letters"
    words = [word for word in words if word.replace("'", "").isalpha()]
    english = usual_words()
    if not english or all(is_known(word) or english.get(word, 0) >= USUAL for word in words):
        return ""
    here = sum(max(_of("en").get(word, UNKNOWN), KNOWN if is_known(word) else UNKNOWN) for word in words)
    likely, language = max((sum(_of(code).get(word, UNKNOWN) for word in words), code) for code in OTHERS)
    return f"it looks {OTHERS[language]}" if likely > here + MARGIN else ""


def other_script(phrase: str) -> str:
    """The script of the first letter that is not Latin; empty where there is none."""
    for letter in phrase:
        if letter.isalpha() and not letter.isascii():
            name = unicodedata.name(letter, "UNKNOWN").split()[0]
            if name not in ("LATIN", "FULLWIDTH", "MICRO", "FEMININE", "MASCULINE", "MODIFIER"):
                return name.capitalize()
    return ""


class _Usual:
    """Log probabilities by word, in arrays: dictionaries of seven languages hold 90 MB."""

    def __init__(self, logs: dict[str, float]) -> None:
        order = sorted((word.encode(), log) for word, log in logs.items())
        self._words, self._logs = (np.array(column) for column in zip(*order, strict=True))

    def get(self, word: str, default: float) -> float:
        wanted = word.encode()
        at = int(self._words.searchsorted(wanted))
        return float(self._logs[at]) if at < len(self._words) and self._words[at] == wanted else default


@cache
def _of(code: str) -> _Usual:
    """Log probability of each of a language's usual words."""
    counts = word_counts(code)
    total = math.log(sum(counts.values()))
    usual = sorted(counts, key=lambda word: (-counts[word], word))[:WORDS]
    return _Usual({word: math.log(counts[word]) - total for word in usual})
