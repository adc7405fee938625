# SPDX-License-Identifier: Apache-2.0
"""From a phrase to its tree, or to why there is none. Deterministic; under 2 ms.

What names one thing and its attributes only is left whole, to be compared as it is. What the grammar cannot read but
says nothing of places, orders or numbers is a description of one thing as well ("dice the onions"): whole, too.
"""

from __future__ import annotations

import re
from functools import lru_cache

from dropclip_ros.language import lexicon
from dropclip_ros.language.accounting import description, unaccounted
from dropclip_ros.language.clauses import essential
from dropclip_ros.language.cursor import NotUnderstood, Unanswerable
from dropclip_ros.language.grammar import Grammar
from dropclip_ros.language.languages import foreign
from dropclip_ros.language.nouns import NOUNS, PARTS, words_of
from dropclip_ros.language.patterns import WEAK
from dropclip_ros.language.references import resolved
from dropclip_ros.language.rephrase import rephrase
from dropclip_ros.language.spoken import plain_speech
from dropclip_ros.language.tree import ALL, ANY, Node, Phrase, Reading, Relation, Union
from dropclip_ros.language.words import is_known, mend, singular, split_words, usual_words
from dropclip_ros.language.wrappers import FORBIDDEN, unwrap

ARTICLES = ("the", "a", "an", "some")
_FOR = re.compile(
    r"(?:used|useful|good|meant|intended|suitable|made|designed|needed) (?:for|to|as|in|by)\b|for (?:a|an|any|some)\b|"
    r"(?:for|to) (?!(?:the|my|your|its|their|our|his|her|left|right|it|them|one|that|this|you|me|us|a|an)\b)\w+"
)
_NO_PURPOSE = words_of("left right next close closer closest near nearer nearest adjacent opposite")
_ASKED = re.compile("(?:" + "|".join(lexicon.QUESTIONS) + r")\b")
_COMPARED = re.compile(
    r"\b(?:(?:same|similar) (?!colou?r|size|height|length|material)(?:\w+ )?(?:as|to)|"
    r"(?<!as well )as (?!well\b|big|large|small|tall|high|short|long)\w+ as|twice|half as|"
    r"(?:most|least|more|less) (?!of\b|the\b|a\b)\w+)\b"
)
_TURNED = re.compile(
    r"\b(?:pointing|points|facing|faces|turned|turning|directed|oriented|aimed|tilted)"
    r"(?: (?:straight|directly|away|to|towards?|at|the|my|more))* (?:left|right|up|down|away|me|us|you|camera|robot|"
    r"front|back|forward|backwards?|viewer|\w+ side)\b|\bwith (?:its|the) \w+ (?:to|on|at|towards?) the (?:left|"
    r"right)(?= ?$)"
)
_MEMORY = re.compile(
    r"\b(?:(?:i|you|we|he|she|they|mom|dad|\w+) "
    r"(?:bought|broke|gave|ate|drank|showed|wanted|mentioned|told|likes|loves|prefers)|"
    r"(?:i|(?<!thing )(?<!thing that )(?<!one that )(?<!what )you|we|he|she|they) (?:used|put|left|made|like|"
    r"liked|love|loved|had|saw|pointed|touched|asked|am thinking|"
    r"want most|hate|prefer|moved|dropped|brought|picked|chose))(?: |$)"
)


@lru_cache(maxsize=1024)
def read_phrase(phrase: str, multilingual: bool = False) -> Phrase:
    """Reads a phrase. multilingual: what is not English is compared as a whole, not refused."""
    words = split_words(phrase)
    if why := foreign(phrase, _likely(words)):
        if multilingual:
            return as_it_is(phrase)
        return Phrase(phrase, None, phrase, unsupported=f"only English is understood ({why})")
    if not words:
        return Phrase(phrase, None, phrase, unsupported="it has no words")
    spoken = essential(plain_speech(" ".join(map(mend, words))))
    inner = unwrap(spoken.split())
    if why := _forbidden(spoken, inner) or _unanswerable(rephrase(inner)):
        return Phrase(phrase, None, phrase, unsupported=why, not_understood=tuple(inner))
    text = phrase if inner == words else " ".join(inner)
    return _read(phrase, rephrase(inner), text)


def _likely(words: list[str]) -> list[str]:
    """The words by which a language is told: a long one that is all there is may be misspelt English."""
    return [mend(words[0])] if len(words) == 1 and len(words[0]) > 6 else words


def as_it_is(phrase: str) -> Phrase:
    """A phrase that is compared as a whole, whatever it says."""
    return Phrase(phrase, Node(phrase, number=ANY, text=phrase), phrase, whole=True)


def _unanswerable(words: list[str]) -> str:
    """Why nothing that a camera sees can answer."""
    text = " ".join(words)
    if text in lexicon.COMMANDS or all(word in lexicon.BARE or word in ARTICLES for word in words):
        return "it names no object"
    if usual_words() and len(words) > 1 and not any(is_known(word) or word in usual_words() for word in words):
        return "none of its words is known"
    if found := re.search(lexicon.FRACTIONS, text):
        return f"{found[0]!r} is not understood"
    if found := _ASKED.match(text):
        return f"{found[0]!r} asks for something else than an object"
    words = _before_purpose(words)
    text = " ".join(words)
    unseen = [word for word, after in zip(words, [*words[1:], ""], strict=True) if _is_unseen(word, after)]
    unseen += [
        word
        for word in words
        if re.fullmatch(r"\w{3,}(?:est)", word) and word not in lexicon.BEFORE and word not in lexicon.NOT_SUPERLATIVES
    ]
    unseen += [word for word in words if word.endswith("'s") and word[:-2] in lexicon.KIN]
    if unseen:
        return f"{unseen[0]!r} is nothing that the camera sees"
    if found := _TURNED.search(text):
        return f"{found[0]!r}: which way a thing points is not understood"
    if found := _COMPARED.search(text):
        return f"{found[0]!r}: comparisons with another thing's measure are not understood"
    if found := _MEMORY.search(text):
        return f"{found[0].strip()!r} is nothing that the camera sees"
    return ""


def _before_purpose(words: list[str]) -> list[str]:
    """What is said of the thing itself: a vessel | for a cold drink. What it is for is compared with it as a whole."""
    for k in range(1, len(words)):
        if words[k - 1] not in _NO_PURPOSE and _FOR.match(" ".join(words[k:])):
            return words[: 1 if words[0] in lexicon.NOTHING else k]  # something heavy | to pound with
    return words


def _is_unseen(word: str, after: str) -> bool:
    """Whether a word is nothing that a camera sees; a lighter is, where no name follows."""
    return word in lexicon.UNSEEN and not (word == "lighter" and singular(after) not in NOUNS | {"than", "one", "of"})


def _forbidden(spoken: str, inner: list[str]) -> str:
    """Why a phrase is no request: do not take the mug."""
    if FORBIDDEN.match(spoken) and inner[:1] == ["not"]:
        return "it says what not to do, and not what to do"
    if re.match(r"which\b.* , .*\bor\b", spoken):
        return "a choice between things that are named after it is not understood"
    return ""


def _read(phrase: str, words: list[str], text: str) -> Phrase:
    whole = Phrase(phrase, _description(text.split()), text, whole=True)
    grammar = Grammar(words)
    try:
        reading = resolved(grammar.reading())
        rest = tuple(words[grammar.position :]) or unaccounted(reading)
    except Unanswerable as error:
        return Phrase(phrase, None, text, unsupported=str(error), not_understood=tuple(words))
    except NotUnderstood as error:
        rest, reading = tuple(str(error).split() or words), None
    if reading is not None and not rest:
        if _is_whole(reading) and words[0] not in lexicon.EVERY:
            return Phrase(phrase, reading, _compared(reading, words, text), whole=True)
        if _sure(reading, words):
            return Phrase(phrase, reading, text)
        return whole
    if description(words):
        return whole
    said = " ".join(rest)
    return Phrase(phrase, None, text, unsupported=f"{said!r} is not understood", not_understood=rest)


def _compared(reading: Reading, words: list[str], text: str) -> str:
    """What is compared of a phrase that is one thing: as it was said, but for how many and what was added to it."""
    assert isinstance(reading, Node)
    said = words[0] in ("any", "some", "either", "one", "single", "only") or "," in text
    return reading.text if (said or words[-1] in lexicon.THINGY) and reading.head and not reading.relations else text


def _description(words: list[str]) -> Node:
    words = words[1:] if words[0] in ARTICLES and len(words) > 1 else words
    return Node(" ".join(words), number=ANY, text=" ".join(words))


def _is_whole(reading: Reading) -> bool:
    """Whether there is nothing to it but a thing and its attributes: one comparison says all."""
    if isinstance(reading, Union):
        return False
    relations = [relation for relation in reading.relations if not _is_part(relation)]
    said = reading.negated_attributes or relations or reading.excluded or reading.order
    counted = isinstance(reading.number, int) or (reading.number == ALL and reading.head is None)
    return not (said or counted or reading.other or reading.same or not reading.text)


def _is_part(relation: Relation) -> bool:
    """Whether it is the thing's own part that is said, which features know: with a handle, in a red wrapper."""
    mark = relation.landmarks[0]
    if (
        relation.negated
        or relation.words.startswith("holding")
        or relation.relation not in ("with", "in", "on")
        or not isinstance(mark, Node)
        or mark.relations
    ):
        return False
    return (
        mark.head is not None
        and singular(mark.head.split()[-1]) in PARTS
        and (relation.relation == "with" or not mark.definite)
    )


def _sure(reading: Reading, words: list[str]) -> bool:
    """Whether the tree is what was meant: each thing has an article or a name that is known.

    Otherwise words of places may say something else: "stab a meatball with it".
    """
    if isinstance(reading, Union):
        return all(_named(node) for node in reading.options) or words[0] in ("the", "both", "all")
    strong = reading.order or reading.excluded or reading.negated_attributes or reading.other or reading.same
    strong = strong or reading.number is not None or any(r.relation not in WEAK for r in reading.relations)
    strong = strong or any(
        isinstance(m, Node) and m.definite and m.head for r in reading.relations for m in r.landmarks
    )
    return bool(strong) or words[0] in lexicon.DETERMINERS or _named(reading)


def _named(node: Node) -> bool:
    return node.definite or node.number is not None or node.head is None or singular(node.head.split()[-1]) in NOUNS
