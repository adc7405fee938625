# SPDX-License-Identifier: Apache-2.0
"""Words that are read from the front."""

from __future__ import annotations

import re
from collections.abc import Sequence


class NotUnderstood(Exception):
    """The words do not form a phrase. Its argument: what is not understood."""


class Unanswerable(Exception):
    """The words are understood, and no answer is to be had. Its argument: why."""


class Cursor:
    """Reads words from the front; `position` is how far it got."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words, self.position = list(words), 0

    @property
    def word(self) -> str:
        return self.ahead(0)

    @property
    def rest(self) -> str:
        return " ".join(self.words[self.position :])

    def ahead(self, count: int) -> str:
        """The word after `count` more, '' beyond the last; those before are counted down from -1."""
        place = self.position + count
        return self.words[place] if 0 <= place < len(self.words) else ""

    def take(self, *choices: str) -> str:
        """The next word, if it is one of these."""
        word = self.word
        if word and word in choices:
            self.position += 1
            return word
        return ""

    def match(self, pattern: re.Pattern) -> re.Match | None:
        """A match of the words that are left, taken; None, and nothing taken, where they do not match."""
        rest = self.rest
        found = pattern.match(rest)
        if not found or not found[0].strip():
            return None
        self.position += len(rest[: found.end()].split())
        return found

    def skip(self, count: int = 1) -> bool:
        self.position += count
        return True
