# SPDX-License-Identifier: Apache-2.0
"""What may follow a noun, as patterns over the words that are left: relations, orders, exceptions, clauses."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dropclip_ros.language import lexicon


def any_of(words: str | Iterable[str]) -> str:
    """A pattern that matches any of the words, longest first, in one order whatever the hash seed."""
    words = words.split() if isinstance(words, str) else words
    return "(?:" + "|".join(sorted(map(re.escape, words), key=lambda word: (-len(word), word))) + ")"


_HOW = (
    "(?:(?:just|directly|immediately|right|slightly|closely|straight|exactly|too|so|very|quite|really|rather|"
    "almost|nearly|a little|a bit|somewhat|"
    "well|way|far|up|over|down|somewhere|right over|still|also|immediately to|(?!only)[a-z]{3,}ly) )*"
)
_NOT_POSTURES = (
    "(?!everything|anything|something|nothing|thing|ring|earring|string|spring|pudding|building|wing|"
    "supported|covered|surrounded|flanked|filled|topped|decorated|contained|sandwiched|colou?red|handled|"
    "painting|drawing|icing|bread|bed|seed|reed|red )"
)
_POSTURE = (
    f"(?:(?:{_NOT_POSTURES}[a-z]+(?:ed|ing)|stuck|hung|currently|being|placed|located|situated|positioned|"
    f"standing|sitting|lying|laying|resting|lies|stands|sits|"
    "rests|leans|hangs|hides|kept|found|put|stored|set|leaning|hanging|hidden|seen|stacked|"
    "arranged|visible|(?:sticking|poking|peeking|peeping|coming) out|"
    "(?:you|i|we) (?:(?:can|will|could|would) )?(?:see|find|notice)(?: if (?:you|i|we) look)?(?: (?:at|from))?|"
    "there|from(?= (?:under|underneath|beneath|behind|below))) )*"
)
_CLAUSE = (
    "(?:(?:(?:that|which|who|it|they) (?:is|are|was|were)|(?:that|which|who|it|they) (?:has|have|had) been|"
    "(?:that|which|who|they) (?:stand|sit|lie|rest|lean|hang)|"
    "(?:that|which|who|it|they)|is|are|has been|have been) )?(?:both )?"
)
_NOT = "(?P<not>(?:(?:does|do|did) )?not (?:(?:stand|lie|sit|rest|hang|lean|touch) )?)?"
_SIDE = "(?:the |its |your |my |our )?(?:immediate |far |very |extreme )?"
_AFTER_SIDE = (  # what may follow "on the left"; a noun makes it "on the left plate"
    r"(?= ?$| ,| (?:and|or|but|that|which|who|it|is|are|not|with|without|in|on|at|near|next|behind|beside|besides|"
    r"under|"
    r"underneath|beneath|between|to|from|above|below|close|by|holding|containing|has|have|except|inside|against|please|"
    r"lying|standing|sitting|there|made|whose)\b)"
)
_ENDS = r"(?= ?$| (?:and|or|,|but|that|which|it|is|are)\b)"
_OF_FIELD = f"(?: (?:of|in|on) (?:the |my |your )?{any_of(lexicon.FIELDS)}{_ENDS})?"
_NO_OF = r"(?! (?:of|from|to|hand|side|edge|end|corner|row)\b)"
_VIEWER = f"(?:the |my |our |your )?{any_of(lexicon.VIEWERS)}(?: arm| hand)?"

_TO_SIDE = f"(?:(?:on|to|at|in|from|towards?) )?{_SIDE}(?:front |rear |back |upper |lower )?"
_AT_SIDE = (
    f"(?:(?:on|to|at|in|from|towards?|near|by) {_SIDE}|all the way (?:to|on|over to) the |"
    "(?:furthest|farthest) (?:to the )?)"
)

_MUCH = "(?:(?:much|a lot|a bit|a little|slightly|even|clearly) )?"
_RELATIONS = {
    **{
        f"same_{what}": r"(?:of |in |has |have |having |with |is |are )?(?:the |a )?"
        rf"(?:same|matching|similar|identical) {words} "
        rf"(?:as|of|like|to)(?: (?:that|those) of)?{also}"
        for what, words, also in (
            ("colour", "colou?r", ""),
            ("material", "material", "|made (?:out )?(?:of|from) the same (?:material|stuff|thing) as"),
            ("size", "size", "|(?:just |exactly )?as (?:big|large|small) as"),
            ("height", "height", "|(?:just |exactly )?as (?:tall|high|short) as"),
            ("length", "length", "|(?:just |exactly )?as long as"),
        )
    },
    "bigger": rf"{_MUCH}(?:bigger|larger|greater) (?:in size )?than",
    "smaller": rf"{_MUCH}(?:smaller|littler|tinier) (?:in size )?than",
    "taller": rf"{_MUCH}(?:taller|higher) than",
    "shorter": rf"{_MUCH}(?:shorter|lower) than",
    "longer": rf"{_MUCH}longer than",
    "wider": rf"{_MUCH}(?:wider|broader) than",
    "narrower": rf"{_MUCH}narrower than",
    "thicker": rf"{_MUCH}thicker than",
    "thinner": rf"{_MUCH}(?:thinner|flatter|slimmer) than",
    "nearer": rf"{_MUCH}(?:nearer|closer) (?:to {_VIEWER} )?than",
    "further": rf"{_MUCH}(?:further|farther) (?:away )?(?:from {_VIEWER} )?than",
    "left": rf"{_TO_SIDE}left(?: hand)?(?: side)? (?:of|from|to)",
    "right": rf"{_TO_SIDE}right(?: hand)?(?: side)? (?:of|from|to)",
    "front": r"(?:(?:at|on|in|to|towards?) )?(?:the )?front(?: side)? of|ahead of|before|(?:on|at) the near side of",
    "behind": r"behind(?: of)?|(?:at|in|on|to|towards?) (?:the )?(?:back|rear)(?: side)? of|beyond|past|"
    r"(?:on|at) the far side of|across from",
    "nearest": r"(?:the )?(?:nearest|closest|nearer|closer)(?: to| by)?",
    "farthest": r"(?:the )?(?:most |farthest |furthest |farther |further )(?:away |distant )?from",
    "next_to": r"next to|next|besides?|adjacent to|alongside(?: of)?|(?:at|by|on|to) the side of|on either side of|"
    r"touching|against|abutting|neighbou?ring|side by side with|"
    r"at the side of|by",
    "near": r"near to|nearby|near|close to|close by|around|in the vicinity of|in the proximity of",
    "between": r"(?:in )?between|in the middle of|amid|amidst|among|amongst|sandwiched between|flanked by|"
    r"surrounded by",
    "far": r"(?:far|far away|away|distant) from|at a distance from",
    "without": r"without(?: any)?|with no|lacks?|lacking|missing|(?:has|have|having) no|free of|with out|"
    r"(?:does|do) not (?:have|contain|hold)(?: any)?",
    "with": r"with|containing|holding|having|carries|supports|bears|has|have|contains?|holds?|carrying|full of|"
    r"filled with|topped with|"
    r"decorated with|featuring|covered (?:with|by|in)",
    "in": r"(?:from )?inside(?: of)?|in|(?:from )?within|into|contained (?:in|by)|out of",
    "under": r"underneath|under|beneath|below|supporting",
    "on": r"on (?:the )?top of|on|upon|onto|atop|supported by|covers|covering|cover(?= (?:the|a|an|my)\b)|off(?: of)?",
    "above": r"above|over",
}
RELATION = re.compile(
    f"{_CLAUSE}{_NOT}{_POSTURE}(?:to be )?{_HOW}(?:"
    + "|".join(f"(?P<{name}>{pattern})" for name, pattern in _RELATIONS.items())
    + r")(?= |$)"
)
WEAK = ("with", "without", "in", "on", "next_to", "above", "front")  # their words may say other things as well

_ENDS_OF = {"front": "front|bottom|lower|near", "back": "back|rear|top|upper"}


def _corner(words: str, side: str) -> str:
    """The patterns of a corner: in the top left, at the front right corner of the table."""
    return (
        rf"(?:on|to|at|in|from|near) (?:the |your |my )?(?:very )?(?:{words}) {side}(?: hand)?(?: side| corner| end)?"
        rf"{_OF_FIELD}{_NO_OF}|(?:(?:at|on|in) the )?(?:{words}) {side}(?= ?$)"
    )


_ORDERS = {
    **{f"{far}_{side}": _corner(words, side) for far, words in _ENDS_OF.items() for side in ("left", "right")},
    "left": rf"{_AT_SIDE}left(?:most)?(?: hand)?(?: side| edge| end)?{_OF_FIELD}{_NO_OF}{_AFTER_SIDE}|"
    rf"left(?:most)?(?= ?$)|"
    rf"(?:nearest|closest) (?:to )?the left(?: hand)? (?:side|edge|end){_OF_FIELD}",
    "right": rf"{_AT_SIDE}right(?:most)?(?: hand)?(?: side| edge| end)?{_OF_FIELD}{_NO_OF}{_AFTER_SIDE}|"
    rf"right(?:most)?(?= ?$)|"
    rf"(?:nearest|closest) (?:to )?the right(?: hand)? (?:side|edge|end){_OF_FIELD}",
    "near": rf"in front of {_VIEWER}|(?:the )?(?:nearest|closest|nearer|closer|near|close)(?: to| by)? {_VIEWER}|"
    r"(?:the )?(?:nearest|closest)(?= ?$)",
    "far": rf"(?:the )?(?:most |farthest |furthest |farther |further |far )(?:away |distant )?from {_VIEWER}|"
    r"(?:farthest|furthest|farther|further)(?: away)?(?= ?$)|far away(?= ?$)",
    "front": rf"(?:at|on) the (?:very )?near (?:end|side|edge){_OF_FIELD}{_NO_OF}|(?:at|in|on|to|up|towards?|near|"
    rf"from) (?:the )?(?:very )?front(?: row)?{_OF_FIELD}{_NO_OF}|"
    r"in the foreground",
    "back": rf"(?:at|on) the (?:very )?far (?:end|side|edge){_OF_FIELD}{_NO_OF}|(?:at|in|on|to|towards?|near|"
    rf"from) (?:the )?(?:very )?(?:back|rear)(?: row)?{_OF_FIELD}{_NO_OF}|"
    r"in the background",
    "middle": rf"(?:in|at) (?:the )?(?:very )?(?:middle|center|centre){_OF_FIELD}{_NO_OF}",
    "top": rf"(?:at|on|from) (?:the )?(?:very )?top{_OF_FIELD}{_NO_OF}",
    "bottom": rf"(?:at|on|from) (?:the )?(?:very )?bottom{_OF_FIELD}{_NO_OF}",
}
ORDER = re.compile(
    f"{_CLAUSE}{_POSTURE}{_HOW}(?:"
    + "|".join(f"(?P<{name}>{pattern})" for name, pattern in _ORDERS.items())
    + r")(?! than)(?= |$)"
)
EXCEPT = re.compile(
    r"(?:, )?(?:but (?:for |not )|(?:all )?but |except (?:for |from )?|other than |apart from |aside from |excluding |"
    r"besides |and not |(?:that|which|who) (?:is|are) not (?=the |a |an )|"
    r"not (?=(?:the|a|an|any|that|this|those|these|it|my) ?))"
)
LAST = re.compile(
    r"(?:(?P<count>\w+) to (?:the )?last|next to (?:the )?last|last but one|second last|(?:very )?last|final) (?=\w)"
)
VIEWER = re.compile(rf"(?:to|from) {_VIEWER}(?= |$)")
ATTRIBUTE = re.compile(
    r"(?:(?:that|which|who) (?:is|are|looks?) |is |are |it is |they are )(?P<not>not )?(?:colou?red |completely |all )?"
    rf"(?!the (?!{any_of(lexicon.BEFORE)} )|a |an )"
)
MADE = re.compile(
    r"(?:(?:that|which) (?:is|are) )?(?P<not>not )?made (?:out )?(?:of|from) |colou?red |"
    rf"in (?:colou?r )?(?={any_of(lexicon.COLOURS)}(?: |$))"
)
PURPOSE = re.compile(
    r"(?:which |that |what )?(?:used|useful|good|meant|intended|suitable|made|designed|needed) "
    r"(?:for|to|as|in|when|by) |"
    r"(?:for|to) (?!(?:the|a|an|my|your|its|their|our|his|her|left|right|it|them|one|that|this|you|me|us)\b)\w+|"
    r"(?:for|to) (?:a|an|the) \w+ing\b|"
    r"(?:that |which |to )?(?:i|you|one|we|people|somebody|someone|kids|they) (?:can|could|may|would|will|use|need|eat|"
    r"drink|put|keep|wear|have|want|should|might)\b(?! (?:see|find|notice)\b)|shaped like |"
    r"(?:you|people|one|we) \w+(?: (?:the |a |an )?\w+)? (?:with|from|in|on|into)$|(?:that|which) (?:can|could|"
    r"would|helps?|lets?|cuts?|keeps?|"
    r"makes?|writes?|tells?|grows?|looks like|resembles|reminds|smells?|tastes?|rolls?|bounces?|opens?|gives?|"
    r"shows?|takes?|turns?|needs?)\b"
)
