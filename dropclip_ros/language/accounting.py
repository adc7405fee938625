# SPDX-License-Identifier: Apache-2.0
"""Whether each word of a phrase has its say: what stands in a name and belongs to no name was not understood."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dropclip_ros.language import lexicon
from dropclip_ros.language.nouns import NOUNS, words_of
from dropclip_ros.language.patterns import ORDER, PURPOSE, RELATION, WEAK
from dropclip_ros.language.tree import Reading, nodes_of
from dropclip_ros.language.words import singular

NO_NAMES = words_of(  # words of sentences: no thing is called so
    """
    a an the this that these those its my your our their his her whose which who whom what when where why how if whether
    because since while until although though than so as at from across around through via during off per toward
    towards into onto like is are was were be been being am has have had do does did done will would could should
    shall may might must it they them he she him i you we us me not no none nor never neither nothing nobody every each
    all any some either both much most more less least few fewer several enough just only very too also still
    already again here there now instead maybe perhaps please else other another others rest but except and or besides
    next last left right nearest closest farthest furthest leftmost rightmost between behind beside under underneath
    beneath below above opposite outside without upon within sits stands lies leans rests hangs goes comes gets starts
    leave start stop keep ignore skip avoid belongs matters wrong fall falls going coming standing
    sitting lying placed located situated nothing anything something everything thing one ones object anyone someone
    exactly roughly approximately wait mean meant say said want wants needs let put puts give gives gave take
    takes took two three four five six seven eight nine ten
    """
)
NO_DESCRIPTION = words_of(  # words that say more than what a thing is or is for
    """
    not no none nor never neither nothing except but other another others rest than both each every either most least
    whose which first second third fourth fifth last next left right leftmost rightmost nearest closest farthest
    furthest biggest largest smallest tallest shortest longest widest between behind beside underneath beneath opposite
    across all only same two three four five will instead them outside
    """
)
STARTS = words_of("something anything thing what for used to i we it keeps someone somebody one")
MOVES = words_of(  # what is done with any thing, not what one thing is for
    "leave start stop keep ignore skip avoid go come wait do say tell ask give take bring put pass hand get"
)


def unaccounted(reading: Reading) -> tuple[str, ...]:
    """The words in the names and attributes of a tree that name nothing, in their order."""
    return tuple(dict.fromkeys(_strange(reading)))


def _strange(reading: Reading) -> Iterator[str]:
    for node in nodes_of(reading):
        words = (node.head or "").split()
        purpose = next((k for k in range(len(words)) if PURPOSE.match(" ".join(words[k:]))), len(words))
        if purpose == 0 and words and words[0] in ("i", "we"):
            yield words[0]
        if purpose < len(words) and words[0] in lexicon.NOTHING:
            words, purpose = words[1:], purpose - 1
        yield from (words[k] for k in range(purpose) if words[k] in NO_NAMES and not _is_origin(words, k))
        yield from (word for word in words[purpose:] if word in NO_DESCRIPTION)
        yield from (word for word in (*node.attributes, *node.negated_attributes) if word in NO_NAMES)


def _is_origin(words: list[str], k: int) -> bool:
    """Whether a word belongs to what a thing is from, about or for: an apple from the orchard."""
    if words[k] == "from":
        return k > 0
    return (
        k > 1
        and words[k - 1] in ("from", "for", "about", "along", "at")
        and words[k] in lexicon.DETERMINERS | {"one", "each"}
    )


def description(words: list[str]) -> bool:
    """Whether a phrase that the grammar cannot read describes one thing all the same: dice the onions; something to
    drink from; it keeps the time. What begins with a name does not, nor what says where, how many or what not."""
    if words[0] in lexicon.DETERMINERS and words[0] not in ("a", "an", "one"):
        return False
    if set(words) & NO_DESCRIPTION or "," in words:
        return False
    if words[0] in MOVES:
        return False
    acts = words[0] in STARTS or (len(words) > 1 and words[1] in lexicon.DETERMINERS)
    if not acts and (singular(words[0]) in NOUNS or words[0] in lexicon.ADJECTIVES):
        return False
    return not any(_is_place(words[k:]) for k in range(1, len(words)))


def _is_place(words: list[str]) -> bool:
    rest = " ".join(words)
    found = RELATION.match(rest)
    if found and next((n for n, v in found.groupdict().items() if v and n != "not"), "") not in WEAK:
        return True
    return bool(ORDER.match(rest)) or re.match(r"to the (?:left|right)\b", rest) is not None
