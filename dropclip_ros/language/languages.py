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

from dropclip_ros.base.reading import parse_json
from dropclip_ros.language.words import counted_text, is_known, usual_words

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
    """Log probabilities by word, of a JSON object of words in their order, without quotes in them, and counts.

    In arrays, and read as bytes: dictionaries of seven languages hold 90 MB, and the objects that a reader of JSON
    makes of 1.6 million words leave 60 MB behind, in pieces.
    """

    def __init__(self, text: bytes) -> None:
        letters = np.frombuffer(text, np.uint8)
        quotes = np.flatnonzero(letters == ord('"'))
        starts, ends = quotes[::2] + 1, quotes[1::2]
        counts = _numbers(letters, ends + 1)
        often = np.sort(np.argsort(-counts, kind="stable")[:WORDS])
        words = [text[start:end] for start, end in zip(starts[often], ends[often], strict=True)]
        self._words = np.array([parse_json(b'"%s"' % word).encode() if b"\\" in word else word for word in words])
        self._logs = np.log(counts[often]) - math.log(counts.sum())

    def get(self, word: str, default: float) -> float:
        wanted = word.encode()
        at = int(self._words.searchsorted(wanted))
        return float(self._logs[at]) if at < len(self._words) and self._words[at] == wanted else default


def _numbers(letters: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The first whole number after each of these places (N,) in a text (L,) uint8: int64 (N,)."""
    digits = np.flatnonzero((letters >= ord("0")) & (letters <= ord("9")))
    first = digits.searchsorted(after)
    found, going = np.zeros(len(after), np.int64), np.ones(len(after), bool)
    for k in range(18):
        at = digits[np.minimum(first + k, len(digits) - 1)]
        going &= (first + k < len(digits)) & (at == digits[np.minimum(first, len(digits) - 1)] + k)
        found[going] = 10 * found[going] + letters[at[going]] - ord("0")
    return found


@cache
def _of(code: str) -> _Usual:
    """Log probability of each of a language's usual words."""
    return _Usual(counted_text(code))
