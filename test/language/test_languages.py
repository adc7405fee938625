# SPDX-License-Identifier: Apache-2.0
"""How usual words are in a language: read in arrays, and the same as the counts say."""

import json
import math

import pytest

from dropclip_ros.language.languages import WORDS, _Usual
from dropclip_ros.language.words import counted_text, word_counts


@pytest.mark.parametrize("code", ["es", "pt"])
def test_usual_words_are_the_most_counted_ones(code):
    counts, usual = word_counts(code), _Usual(counted_text(code))
    if not counts:
        pytest.skip("pyspellchecker is not installed")
    most = sorted(counts, key=lambda word: (-counts[word], word))
    total = math.log(sum(counts.values()))
    for word in most[:WORDS:7]:
        assert usual.get(word, 0.0) == pytest.approx(math.log(counts[word]) - total, abs=1e-9)
    assert {usual.get(word, 1.0) for word in most[WORDS : WORDS + 500]} == {1.0} and usual.get("", 1.0) == 1.0


def test_escaped_letters_and_short_files_are_read():
    counts = {"caf\u00e9": 3, "the": 120}
    for plain in (False, True):
        usual = _Usual(json.dumps(counts, ensure_ascii=plain, indent=0).encode())
        assert usual.get("caf\u00e9", 0.0) == pytest.approx(math.log(3 / 123))
        assert usual.get("the", 0.0) == pytest.approx(math.log(120 / 123)) and usual.get("thy", 2.0) == 2.0
