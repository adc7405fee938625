# SPDX-License-Identifier: Apache-2.0
"""The same phrase in fewer kinds of sentences, in words that the grammar knows."""

from __future__ import annotations

import re

from dropclip_ros.language.lexicon import COLOURS
from dropclip_ros.language.patterns import any_of

_DONE = (
    "picked|found|gave|given|showed|shown|handed|took|grabbed|got|brought|put down|put|placed|moved|had|held|answered|"
    "mentioned|dropped|chose|selected"
)
_LIES = "(?:is|are|lies?|stands?|sits?|rests?|leans?)"
_COLOUR = any_of(COLOURS)
_A = "(?:the|a|an|my|that|some)"
_MOST = "most|furthest|farthest|furthermost|more|further|farther"


def _of_them(found: re.Match) -> str:
    """Of all the cups, the tallest: the tallest of the cups."""
    return (
        f"the {found[2]} of {found[1]}"
        if re.fullmatch(r"\w+", found[2])
        else f"the single {found[1].split(' ', 1)[1]} {found[2]}"
    )


RANK = {"two": "second", "three": "third", "four": "fourth", "five": "fifth"}
RANK |= {str(k): word for k, word in enumerate(RANK.values(), 2)}
OTHER_WORDS = (  # what is said, and how the grammar has it
    (rf"^what is ({_A} [\w ]+?)(?: \w+ing)? on(?: top of)?$", r"thing under \1"),
    (rf"^what is ({_A} [\w ]+?)(?: \w+ing)? in(?:side)?$", r"thing holding \1"),
    (r"(?<!the )\b(?:over|right|up) (?:there|here)\b", ""),
    (r"\b(\w+) number (two|three|four|five|2|3|4|5)\b", lambda said: f"{RANK[said[2]]} {said[1]}"),
    (r"^(?:what is|where is|which is|who is|what are|which are) (?=the |a |an |all |both )", ""),
    (r"^what is left (?=on|in)", "everything "),
    (r"^which (?=(?:\w+ )?(?:is|are|has|have) )(\w+) ", r"the \1 "),
    (r"^which (?:one )?(?=is |has )", "the one that "),
    (r"^(?:no matter which|it does not matter which|i do not (?:care|mind) which|any old|whichever) (?=\w+$)", "any "),
    (r"\bone more (?=\w)", "another "),
    (r"^(the \w+) of (?:(?:them|these|those) all|all(?: of them)?)$", r"\1 thing"),
    (r"(?<=\w) of (?:(?:them|these|those) all|all(?: of them)?|(?:the )?(?:two|three|four|five|pair))$", ""),
    (r"\b(?:closest|nearest|most) to the (?:middle|center|centre)\b", "in the middle"),
    (r"\bone before (?:the )?last\b", "second to last one"),
    (r"^(?:exactly|just|only) (?=one|two|three|four|five|a )", ""),
    (r" , (left|right)(?: side)?$", r" on the \1"),
    (r"\b(?:further|farther|furthest|farthest) (?:in |to the )?(back|front|left|right)\b", r"on the \1"),
    (r"^(?:that|the|this) (?:thing|one|thingy) , (?=the )", ""),
    (r"\bpieces? of (?=fruit\b|cutlery\b|furniture\b)", ""),
    (r"\b(?:is|has|have) got\b", "has"),
    (rf"\bbetween (?:the )?({_COLOUR}) and (?:the )?({_COLOUR}) (\w+)s\b", r"between the \1 \3 and the \2 \3"),
    (rf"\b({_COLOUR}) and ({_COLOUR}) (\w+s)$", r"\1 \3 and \2 \3"),
    (rf"\b(?:the )?(?:{_MOST}) (?:to|on|at|towards?|in) the (left|right|front|back)\b", r"on the \1"),
    (
        r"^(?:of|out of|among|from|amongst) (?:all )?(?:of )?((?:the|these|those|all|my) [\w ]+?)(?: ,)? (?:the "
        r"one|the|it is the one) "
        r"(?:that is |which is )?(.*)$",
        _of_them,
    ),
    (r"^which (?:one )?of the ", "the single "),
    (r"^which(?:ever)? (?=\w+ (?:\w+ )?(?:is|are) )", "the "),
    (
        r"^(?:what|whatever|whichever)(?: object| thing)? (?:is(?! that\b| this\b| it\b)|lies|stands|sits) (?=\w)",
        "thing ",
    ),
    (r"(?: as (?:before|last time|earlier)| again| once more)$|^once (?:more|again) ", ""),
    (rf"\b(the|that) (\w+) (?:that |which )?you (?:have )?(?:just |already )?(?:{_DONE})\b.*$", r"the same \2"),
    (r"\b(?:to|on) (?:its|their) (left|right)(?: side)?\b", r"to the \1 of it"),
    (
        r"(?<!away)(?<!far)(?<!est)(?<!apart)(?<!aside) (?:from|off)(?: of)? (?:the |my )?(?:table|desk|counter|"
        r"floor|tabletop)$",
        "",
    ),
    (
        r"(?<!away )(?<!far )(?<!est )(?<!apart )(?<!aside )\b(?:from|off|out of|from inside) (?=(?:the|a) (?:\w+ )?"
        r"(?:bowl|box|basket|bag|bin|cup|mug|drawer|pan|pot|jar|tin|crate|carton|case)\b)",
        "in ",
    ),
    (
        r"(?<!away )(?<!far )(?<!est )(?<!apart )(?<!aside )(?<!across )\b(?:from|off)(?: of)? (?=the (?:plate|"
        r"tray|book|shelf|board|stack|pile)\b)",
        "on ",
    ),
    (r"\bout of the\b", "in the"),
    (r"^not (.*?)(?: ,)? (?:but|, ?) ?(?=(?:the|a|an|that|this|another|some) )(.*)$", r"\2 not \1"),
    (
        r"\b(?:with|has|having|have|holds|containing|contains) nothing (?:on top of it|on top|on it|in it|inside "
        r"it|inside|on|in)\b",
        "without anything",
    ),
    (r"\b(?:with|has|having|containing|holding|that holds|contains) nothing\b", "without anything"),
    (r"\bwith(?:out)? (?:anything|something) (?:on|in|inside|on top of) it\b", lambda m: m[0].split()[0] + " anything"),
    (r"\b(?:(?:that|which) )?nothing is (?:\w+ing )?(?:on|in)\b", "without anything"),
    (
        r"\b(?:(?:that|which) (?:is|are) )?outside of\b|\b(?:(?:that|which) (?:is|are) )?outside(?= (?:the|a|of)\b)",
        "not in",
    ),
    (r"\bwhose (\w+) (?:is|are) (?!not\b|missing\b)(\w+)(?= ?$| (?:and|,))", r"with a \2 \1"),
    (r"\bwhose (\w+) (?:is|are) missing\b", r"without a \1"),
    (r"\bcontents of\b", "things in"),
    (r"\bstraight (?=to the (?:left|right) of)|\bdirectly (?=to the (?:left|right))", ""),
    (r"(?:,|but) just not\b", "but not"),
    (r"\b(?:instead of|rather than|as opposed to)\b", "not"),
    (
        r"\b(with|containing|holding|has|having|have) (.*?) (?:on top|on|in|inside|on top of|under)(?: (?:of "
        r")?(?:it|them))?$",
        r"\1 \2",
    ),
    (r"\b(with|containing|holding|has|having|have) (.*?) (?:on|in|inside|on top of|under) (?:it|them)\b", r"\1 \2"),
    (r"\bwith (?:the |a |an |its )?(\w+) missing\b", r"without a \1"),
    (r"\b((?:that|which) (?:is|are) |^)neither (?:of )?(.*?)(?: ,)? nor\b", r"\1not \2 or"),
    (r"\bnor\b", "or"),
    (rf"^(?:what|whatever) ({_A} [\w ]+?) {_LIES}(?: \w+ing)? on(?: top of)?$", r"thing under \1"),
    (rf"^(?:what|whatever) ({_A} [\w ]+?) {_LIES}(?: \w+ing)? in(?:side)?$", r"thing holding \1"),
    (
        r"\bin the (?:very )?(?:middle|center|centre) of (?:the |all )?(?:two|three|four|five|six|seven|\d|"
        r"them)(?: of them)?$",
        "in the middle",
    ),
    (r"\bwhose colou?r (?:matches|is that of|is the same as)(?: that of)?\b", "of the same colour as"),
    (r"\b(?:matching|matches) (the [\w ]+?) in colou?r\b", r"of the same colour as \1"),
    (r"\b(?:as well as|along with|together with|and also|plus)\b", "and"),
    (r"\bin the middle (?=between\b)", ""),
    (r"\b(?:save for|with the exception of|minus)\b", "except"),
    (r"\b(everything|all|rest|others)(?: ,)? without(?= (?:the|a|that)\b)", r"\1 except"),
    (r"^(?:the )?(?:whole )?(?:lot|bunch)\b|^(?:the )?whole thing$|^all of it\b", "everything"),
    (
        r"^(.*?) , (?:all|every one|every last one|every single one|each one|each and every one)(?: of (?:it|them))?$",
        r"all \1",
    ),
    (r"\beach and every\b", "every"),
    (r"(?<!to )(?<!nearest )(?<!closest ) here\b", ""),
    (r"(?:,? ?\b(?:counting|counted|if you count|when you count|starting)|\bif you (?:start|look))(?= from)", ""),
    (r"\bvery (?=first|second|third|last|top|bottom|left|right|front|back|near|far|leftmost|rightmost)", ""),
    (r" of the (?:stack|pile|group|bunch|set|lot)$", ""),
    (r"\b(?:lying|standing|sitting|resting) on (?:its|their) (?:side|end|head|back)\b", ""),
    (
        rf"(?<=\w) (?:that |which |where )?({_A} [\w ]+?) {_LIES}(?: \w+(?:ing|ed))? (?:in|inside)(?=$| and| ,)",
        r" holding \1",
    ),
    (
        rf"(?<=\w) (?:that |which )?({_A} [\w ]+?) {_LIES}(?: \w+(?:ing|ed))? (?:on|on top of)(?=$| and| ,)",
        r" under \1",
    ),
    (rf"\bon (?:which|top of which) (?:there {_LIES} )?(.+?)(?: {_LIES})?$", r"holding \1"),
    (rf"\bin(?:side)? (?:which|of which) (?:there {_LIES} )?(.+?)(?: {_LIES})?$", r"holding \1"),
    (rf"\b(?:that|which) (the [\w ]+?) {_LIES} (against|next to|near|beside)$", r"\2 \1"),
    (rf"\b(against|next to|near|beside) which (the [\w ]+?) {_LIES}$", r"\1 \2"),
    (r"\bcovered by\b", "under"),
)


def rephrase(words: list[str]) -> list[str]:
    """The same in fewer kinds of sentences: "the box that the screws are in" is one that contains them."""
    text = " ".join(words)
    for said, meant in OTHER_WORDS:
        text = " ".join(re.sub(said, meant, text).split())
    return text.split() or words
