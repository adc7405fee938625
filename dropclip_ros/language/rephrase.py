# SPDX-License-Identifier: Apache-2.0
"""The same phrase in fewer kinds of sentences, in words that the grammar knows."""

from __future__ import annotations

import re

from dropclip_ros.language.lexicon import ADJECTIVES, COLOURS, ORDINALS
from dropclip_ros.language.nouns import NOUNS
from dropclip_ros.language.patterns import any_of
from dropclip_ros.language.words import singular

_DONE = (
    "picked|found|gave|given|showed|shown|handed|took|grabbed|got|brought|put down|put|placed|moved|had|held|answered|"
    "mentioned|dropped|chose|selected"
)
_LIES = "(?:is|are|lies?|stands?|sits?|rests?|leans?)"
_COLOUR = any_of(COLOURS)
_A = "(?:the|a|an|my|that|some)"
_MOST = "most|furthest|farthest|furthermost|more|further|farther"


_POSED = r"(?: (?:standing|sitting|lying|laying|resting|placed|stacked|put|balanced|hanging|stuck|kept|perched))?"
_ADJ = any_of(ADJECTIVES)
_ORDINAL = any_of(ORDINALS)
_STACK = "(?:stack|tower|pile|heap)s?"
_SIDE_OF = {
    "front": "front",
    "near": "front",
    "bottom": "front",
    "lower": "front",
    "nearest": "front",
    "closest": "front",
}
_SIDE_OF |= dict.fromkeys(("back", "rear", "far", "top", "upper", "farthest", "furthest"), "back")


def _in_corner(found: re.Match) -> str:
    """In the far corner on the left: in the back left corner."""
    first, second = found[1], found[2]
    if first in ("left", "right"):
        first, second = second, first
    return (
        f"in the {_SIDE_OF[first]} {second} corner" if first in _SIDE_OF and second in ("left", "right") else found[0]
    )


def _with_part(found: re.Match) -> str:
    """A red-handled knife: a knife with a red handle."""
    part = {"handled": "handle", "capped": "cap", "lidded": "lid", "rimmed": "rim", "tipped": "tip"}.get(
        found[2], "label"
    )
    if found[1] not in ADJECTIVES or found[3] in ADJECTIVES:
        return found[0]
    return f"{found[3]} with a {found[1]} {part}"


def _telegraphic(found: re.Match) -> str:
    """Cup right front: the cup in the front right corner."""
    *before, name = found[1].split()
    if {"the", "a", "an", "of", "in", "on", "at", "to", "from"} & set(before) or singular(name) not in NOUNS:
        return found[0]
    sides = [_SIDE_OF.get(side or "", side) for side in found.groups()[1:]]
    if len(sides) == 2:
        return f"{found[1]} in the {' '.join(sorted(sides, key=('front', 'back', 'left', 'right').index))} corner"
    return f"{found[1]} in the {sides[0]}"


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
    (rf"\b(?:very|really|quite|rather|extremely|fairly|super|slightly|somewhat) (?={_ADJ}\b)", ""),
    (
        r"\b(?:at|on|in|near|to) (?:the )?(?:very )?(top|bottom) of (?:the )?(?:picture|image|photo|view|scene|"
        r"frame)\b",
        lambda m: "at the back" if m[1] == "top" else "at the front",
    ),
    (
        r"\b(?:at|on|near|by|along|close to|next to) the (left|right|front|back|near|far)(?: hand)? (?:edge|"
        r"border)(?: of the \w+)?(?= ?$| ,| and| that)",
        lambda m: f"at the {_SIDE_OF.get(m[1], m[1])}",
    ),
    (
        r"\b(?:closer|closest|nearest|nearer|close)(?: to)? the (left|right|front|back|rear)(?: side| edge|"
        r" end)?(?: of the table)?(?= ?$| ,| and)",
        r"on the \1",
    ),
    (r"\bin the (left|right|front|back)(?: hand)? corner\b", r"on the \1"),
    (r"\bout of (?=the|these|those|all)(?!the \w+$)", "of "),
    (
        r"\b((?:that|which) is )(?:the )?(\w+er|\w+est) (?:one )?of (?:the |these |those )?(?:two|three|four|"
        r"five|\d|lot)$",
        r"\1\2",
    ),
    (
        r"^((?:the )?\w+er \w+) of (?:the )?(?:two|three|four|five|\d)(?: that are| which are)?(?= (?:on|in|at|"
        r"next|near|by|behind|under|beside)\b)",
        r"\1",
    ),
    (
        rf"^(?:the )?([\w ]+?) (?:that is |which is )?(?:the )?({_ORDINAL}) (\w+st)(?= ?$| (?:to|from) )",
        r"the \2 \3 \1",
    ),
    (
        rf"^(?:the )?((?:\w+ )?\w+)(?<! is)(?<! the) (?:that is |which is )?({_ORDINAL}) (?=(?:from|"
        rf"in from) (?:the )?(?:left|right|front|back|top|bottom)\b)",
        r"the \2 \1 ",
    ),
    (r"^(?:the )?number (two|three|four|five|2|3|4|5) (?=from)", lambda m: f"the {RANK[m[1]]} one "),
    (r"\b(\w+)[- ](handled|capped|lidded|rimmed|tipped|labelled|labeled) (\w+)", _with_part),
    (r"\b(\w+)-colou?red\b", r"\1"),
    (r"\bstrip(?:e)?y\b", "striped"),
    (r"\bnot only (.*?)(?: ,)? but also\b", r"\1 and"),
    (r"^nothing (?:but|except|other than) (?=the|a)|(?: ,)? and nothing else$|(?: ,)? nothing else$", ""),
    (r"\b(two|three|four|\d) more (?=\w)", r"\1 other "),
    (r"\belse than\b", "other than"),
    (r"^which (?:one )?of (?:these|those|them)(?: \w+s)? (?=is|are|can|could|has|do)", "the thing that "),
    (
        r"^(?:whatever|what|anything) (?:you|i|we) (?:can )?(?:find|see) (?=on|in|to|next|behind|under|at|near)",
        "thing ",
    ),
    (
        r"^((?:the|my|that) (?:\w+ )?\w+) (?:that |which )?(?:i|you|we) (?:want|need|mean|meant|should (?:take|"
        r"get|pick|grab)|am looking for) is ",
        r"\1 that is ",
    ),
    (
        r"(?:(?:that|which) (?:is|has been|was|are) )?\b(?:lying down|lying on (?:its|their) sides?|knocked over|"
        r"tipped over|fallen over|toppled over|toppled)\b",
        "that is fallen",
    ),
    (r"\b(?:that|which) (?:fell|tipped|toppled)(?: over| down)?\b", "that is fallen"),
    (r"(?:(?:that|which) (?:is|are) )?\b(?:standing up(?:right)?|standing upright|upright)$", "that is upright"),
    (r"^(the |a )standing (?=\w+$)", r"\1upright "),
    (r"^(the |a )(?:lying|toppled|tipped) (?=\w+$)", r"\1fallen "),
    (r"^([\w ]+?) (?:far |very )?(left|right) (front|back|bottom|top)$", _telegraphic),
    (r"^([\w ]+?) (?:far |very )?(front|back|bottom|top) (left|right)$", _telegraphic),
    (r"^([\w ]+?) (front|back|bottom|top|middle|center|centre)$", _telegraphic),
    (
        rf"^it is (?=(?:very |quite |really |fairly )?{_ADJ}\b|(?:in|on|behind|next|under|between|left|right|near)\b)",
        "thing that is ",
    ),
    (
        rf"\b(?:part of|belonging to|amongst|among|from|of) (?=(?:the|a|any|that|this) (?:\w+ ){{0,2}}?{_STACK}\b)",
        "in ",
    ),
    (
        rf"\b(?:at|on|in|from) the (?:very )?(top|bottom|middle) (?:of|in) (?=(?:the|a|that|"
        rf"this) (?:\w+ ){{1,2}}{_STACK}\b)",
        r"at the \1 in ",
    ),
    (
        r"\b(?:on|at) (?:the )?(?:very )?top of (?:everything|all)(?: (?:else|others?|the others|the rest|of them))?\b",
        "at the top",
    ),
    (
        r"\b(?:under|underneath|beneath|below) (?:everything|all)(?: (?:else|the others|the rest|of them))?\b",
        "at the bottom",
    ),
    (r"\bin the (\w+)(?: hand)? corner (?:on|at|to|in) the (?:very )?(\w+)(?: hand)?(?: side)?\b", _in_corner),
    (
        r"\b(?:in|at|on|to) (?:the )?(back|rear|front|far end|near end) (?:and )?(?:on|at|to|"
        r"in)(?: to)? (?:the )?(left|right)(?: hand)?(?: side)?"
        r"(?= ?$| ,| and| that)",
        lambda m: f"in the {_SIDE_OF[m[1].split()[0]]} {m[2]} corner",
    ),
    (
        r"\b(?:on|at|to) (?:the )?(left|right)(?: hand)?(?: side)?(?: ,)? (?:and )?(?:in|at|"
        r"to)(?: to)? (?:the )?(back|rear|front)(?= ?$| ,| and| that)",
        lambda m: f"in the {_SIDE_OF[m[2]]} {m[1]} corner",
    ),
    (r"\b(left|right) (front|back|rear)(?= \w)", lambda m: f"{_SIDE_OF[m[2]]} {m[1]}"),
    (r"\b(?:but|and|just|,) (?:only|just) (?=the |those |that )|, only (?=the )", ", "),
    (r"\b(?:but|,|and) no (?=\w+)(?!t )", "but not "),
    (r"\b(is|are) no (?=\w+)", r"\1 not a "),
    (
        rf"^((?:the |all |any |a |an |those |every |everything |all the |all of the )*)([\w ]+?) (?:that|"
        rf"which) (?:is|are) (?:either )?({_ADJ}) or ({_ADJ})$",
        r"\1\3 or \4 \2",
    ),
    (
        r"\b(?:the )?(\w+) where (the [\w ]+?) (?:is|are|lies|stands|sits)(?: \w+(?:ing|ed))?(?: (?:in|on))?$",
        r"the \1 with \2",
    ),
    (r"\bthan (the [\w ]+?) (?:is|are|does|do)$", r"than \1"),
    (r"\b(more|further|farther) (?:to|on|towards) the (left|right|front|back)\b", r"on the \2"),
    (
        rf"\b(?:the )?({_ADJ}) ones? (?:of|among|amongst|from|out of) (?:all )?((?:the|these|those) [\w ]+)",
        r"the single \1 \2",
    ),
    (r"\b(\w+st) (?:among|amongst|out of|from among) (?=the|all|these|those)", r"\1 of "),
    (r"\b(?:nearest|closest)(?: to)? the (?:middle|center|centre)\b", "in the middle"),
    (r"(?: ,)? but (smaller|bigger|larger|taller|shorter|longer|thinner|thicker|wider)$", r" , the \1 one"),
    (r"\b(in|on|of|from|at) (the (?:\w+ )?(?:stack|tower|pile|heap)) of \w+", r"\1 \2"),
    (r"\b(with|has|have|having) (the \w+)(?: still)? on$", r"holding \2"),
    (r"\b(balls?|\w+s) that are not for (\w+)$", r"\1 that are not \2 \1"),
    (r"\bgreenest\b", "green"),
    (r"\breddest\b", "red"),
    (r"\bbluest\b", "blue"),
    (r"\byellowest\b", "yellow"),
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
        rf"\b(with|containing|holding|has|having|have) (.*?){_POSED} (?:on top|on|in|inside|on top of|under)(?: (?:of "
        r")?(?:it|them))?$",
        r"\1 \2",
    ),
    (
        rf"\b(with|containing|holding|has|having|have) (.*?){_POSED} (?:on|in|inside|on top of|under) (?:it|them)\b",
        r"\1 \2",
    ),
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
