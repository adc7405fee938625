# SPDX-License-Identifier: Apache-2.0
"""What people say around the thing that they mean: please, could you hand me, and put it on the table.

`unwrap` drops it; `rephrase` says what is left in words that the grammar knows.
"""

from __future__ import annotations

import re

from dropclip_ros.language.patterns import any_of

_TO = "(?: (?:over|up|down|away|out|back|hold of))*(?: (?:me|us))?(?: over)?"
_VERBS = any_of(
    "give bring get fetch throw pick grab take put move push slide carry drag shift grasp select choose clutch remove "
    "collect retrieve deliver find locate identify detect hold place drop"
)
_NOUNS_TOO = any_of(  # verbs only where a determiner follows
    "hand pass lend toss lift set lay stack clear touch spot mark see show highlight segment point reach look use try "
    "hold place drop want need mean search have"
)
_NEXT = any_of(
    "the a an my your that this those these any some all every each both it them one two three another everything "
    "anything something whatever him her"
)
_VERB = (
    rf"(?:{_VERBS}{_TO}(?! out\b)|{_NOUNS_TOO}{_TO}(?: (?:for|at|to|out))?(?= {_NEXT}\b)|"
    r"(?:hand|pass|toss|lend|show)(?: over)? (?:me|us)|(?:get|take|catch) hold of|reach for|look for|clear away)"
)
_GERUND = "(?:handing|passing|giving|getting|bringing|picking|fetching|grabbing|taking|finding)(?: up| over)?(?: me)?"
_GENTLY = "(?:slowly|carefully|gently|quickly|just|maybe|perhaps|kindly|please|now|first|then|also)"
BEFORE = re.compile(
    "(?:"
    r", |(?:right|yes|yeah|no|nope|actually|listen) , |(?:no|yes) (?=(?:not|the|a) )|"
    r"(?:and|then|so|ok|okay|hey|hi|hello|robot|well|alright|sorry|um|uh|hmm|er|ah|oh|dear|buddy|excuse me) |"
    rf"{_GENTLY} |"
    rf"(?:can|could|would|will|may|might) (?:you|i|we|somebody|someone)(?: {_GENTLY})*(?: mind)?"
    r"(?: (?:have|be so kind as to|be able to))? |"
    r"(?:would|could|will) it be possible (?:for you )?to |is it possible (?:for you )?to |"
    r"(?:do|would) you mind |be so kind (?:as to |and )|be a dear and |"
    r"(?:i|we) (?:really |just |now )?(?:want you to|need you to|would like you to|would love you to|"
    r"would want you to|want|need|wish|would like|would love|would prefer|would need|must have|will take|"
    r"will have|am looking for|am after|"
    r"asked for|meant|mean|said|think i need)(?: to (?:have|see|use|get|take|grab|hold|pick up|find))?(?! to)(?! out) |"
    r"let (?:me|us) (?:have|see|get|take) |"
    r"(?:do you see|do you have|have you got|is there|are there|there is|there are|where is|where are|where can i find|"
    rf"which one is|this is|it is) (?={_NEXT}\b)|"
    r"(?:what about|how about|make it|the one i (?:want|need|mean) is) (?=\w)|"
    r"(?:go|come|reach over|reach out|walk over)(?: over)?(?: there)?(?: and| to)? "
    r"(?=(?:get|fetch|take|grab|bring|pick)\b)|"
    rf"(?:to )?{_VERB} (?=\S)|{_GERUND} )"
)
_POLITE = any_of(
    (
        *("please", "thanks", "thank you", "thanks a lot", "thx", "right now", "now", "quickly", "carefully", "gently"),
        *("for me", "for us", "to me", "to us", "over to me", "over here", "over there", "right there", "would you"),
        *("will you", "could you", "can you", "if you can", "if you could", "if possible", "if you please", "there"),
        *("if you do not mind", "when you can", "for a second", "for a moment", "for a minute", "immediately", "asap"),
        *("i think", "i guess", "i believe", "i suppose", "or so", "is what i want", "that one", "you see", "mate"),
        *("you can see", "you can find", "you have got", "you have", "you got", "you find", "once more", "in view"),
    )
)
AFTER = re.compile(rf"(?:(?:^| ),)?(?:^| ){_POLITE}$| , robot$")
_DO = any_of(
    "put place hand give pass bring move drop set lay hold throw carry take lift pour use show keep release lower "
    "raise turn wait come go return do pick open shake stop clean wash wipe let empty fill stack get grab fetch reach"
)
THEN = re.compile(
    rf"(?: ,)?(?: and then| and after that| then| and| ,) (?:then )?(?:{_DO}|\w+ (?=(?:it|them|that)\b))\b.*$"
)
PUT = re.compile(r"(?:to )?(?:put|place|move|drop|set|lay|push|slide|drag|shift|throw|toss|carry|bring|return|stack)\b")
_GOAL = any_of(
    (
        *("on top of", "next to", "in front of", "to the left of", "to the right of", "on the left of"),
        *("on the right of", "to the left", "to the right", "onto", "into", "inside", "between", "behind", "beside"),
        *("under", "underneath", "below", "near", "close to", "on", "in", "to", "at", "over", "above", "against", "by"),
    )
)
TO = re.compile(rf"(?: (?:back|down|away|over|right))* {_GOAL} (?:(?!that is |which is ).)*$")
_DONE = (
    "picked|found|gave|given|showed|shown|handed|took|grabbed|got|brought|put down|put|placed|moved|had|held|answered|"
    "mentioned|dropped|chose|selected"
)
_LIES = "(?:is|are|lies?|stands?|sits?|rests?|leans?)"
OTHER_WORDS = (  # what is said, and how the grammar has it
    (r"^what is (?=the |a |an )", ""),
    (r"^which (?:one )?of the ", "the single "),
    (r"^which(?:ever)? (?=\w+ (?:\w+ )?(?:is|are) )", "the "),
    (r"^(?:what|whatever|whichever)(?: object| thing)? (?:is|lies|stands|sits) (?=\w)", "thing "),
    (r"(?: as (?:before|last time|earlier)| again| once more)$|^once (?:more|again) ", ""),
    (rf"\b(the|that) (\w+) (?:that |which )?you (?:have )?(?:just |already )?(?:{_DONE})\b.*$", r"the same \2"),
    (r"\b(?:to|on) (?:its|their) (left|right)(?: side)?\b", r"to the \1 of it"),
    (r"(?<!away)(?<!far)(?<!est) (?:from|off)(?: of)? (?:the |my )?(?:table|desk|counter|floor|tabletop)$", ""),
    (
        r"(?<!away )(?<!far )(?<!est )\b(?:from|off|out of|from inside) (?=(?:the|a) (?:\w+ )?"
        r"(?:bowl|box|basket|bag|bin|cup|mug|drawer|pan|pot|jar|tin|crate|carton|case)\b)",
        "in ",
    ),
    (r"(?<!away )(?<!far )(?<!est )\b(?:from|off)(?: of)? (?=the (?:plate|tray|book|shelf|board|stack|pile)\b)", "on "),
    (r"\bout of the\b", "in the"),
    (r"^not (.*?)(?: ,)? (?:but|, ?) ?(?=the |a |an )(.*)$", r"\2 not \1"),
    (r"(?:,|but) just not\b", "but not"),
    (r"\b(?:instead of|rather than|as opposed to)\b", "not"),
    (r"\b(with|containing|holding|has|having|have) (.*?) (?:on|in|inside|on top of|under)(?: (?:it|them))?$", r"\1 \2"),
    (r"\b(with|containing|holding|has|having|have) (.*?) (?:on|in|inside|on top of|under) (?:it|them)\b", r"\1 \2"),
    (r"\bwith (?:the |a |an |its )?(\w+) missing\b", r"without a \1"),
    (r"\bneither (.*) nor\b", r"not \1 and"),
    (r"\b(?:save for|with the exception of|minus)\b", "except"),
    (r"\b(everything|all|rest|others)(| .*?)(?: ,)? without\b", r"\1\2 except"),
    (r"^(?:the )?(?:whole )?(?:lot|bunch)\b|^(?:the )?whole thing$|^all of it\b", "everything"),
    (r"^(.*?) , (?:all|every one) of (?:it|them)$", r"all \1"),
    (r"(?<!to )(?<!nearest )(?<!closest ) here\b", ""),
    (r"(?:,? ?\b(?:counting|counted|if you count|when you count|starting)|\bif you (?:start|look))(?= from)", ""),
    (r"\bvery (?=first|second|third|last|top|bottom|left|right|front|back|near|far|leftmost|rightmost)", ""),
    (r" of the (?:stack|pile|group|bunch|set|lot)$", ""),
    (r"\b(?:lying|standing|sitting|resting) on (?:its|their) (?:side|end|head|back)\b", ""),
    (rf"\b(?:that|which) (the [\w ]+?) {_LIES} (?:in|inside)$", r"containing \1"),
    (rf"\b(?:that|which) (the [\w ]+?) {_LIES} on$", r"under \1"),
    (rf"\b(?:that|which) (the [\w ]+?) {_LIES} (against|next to|near|beside)$", r"\2 \1"),
    (rf"\b(against|next to|near|beside) which (the [\w ]+?) {_LIES}$", r"\1 \2"),
    (rf"\bin which (the [\w ]+?) {_LIES}$", r"containing \1"),
    (rf"\bon which (the [\w ]+?) {_LIES}$", r"under \1"),
    (r"\bcovered by\b", "under"),
)
_PREAMBLE = re.compile(
    r"^.*?\bso (?=(?:i|please|can|could|would|give|hand|pass|get|bring|take|pick|fetch|grab|find)\b)"
)
_REPEATED = re.compile(r"\b(\w+)(?: , (?:(?:um|uh|er) , )?\1)+\b")


def unwrap(words: list[str]) -> list[str]:
    """The words that say what is meant; what is to be done with it, and where it is to go, is dropped."""
    said = text = " ".join(words)
    text = _REPEATED.sub(r"\1", _PREAMBLE.sub("", text))
    text = re.sub(rf"\b(?:do not|never) (?:want|need|mean|{_VERB}) ", "not ", text)
    text = re.sub(rf"^((?:\w+ )*?)not (.*) , (?:but )?{_VERB} (.*)$", r"\1\3 not \2", text)
    text = re.sub(r"^((?:so |and |well )*)there (?:is|are) (?:a|an|this|these) ", r"\1the ", text)
    verb = ""
    while found := BEFORE.match(text):
        rest = text[found.end() :]
        if not rest:
            break
        if PUT.match(found[0]) and not re.search(r" (?:me|us) ", found[0]):
            verb = found[0]
        text = rest
    if text != said:
        text = re.sub(r"^(.+) (?:up|away|over)$", r"\1", text)
    text = THEN.sub("", text) or text
    while (shorter := AFTER.sub("", text).strip(" ,")) != text and shorter:
        text = shorter
    if verb and (goal := _last(TO, text)) and goal.start():
        text = text[: goal.start()]
    return text.split()


def rephrase(words: list[str]) -> list[str]:
    """The same in fewer kinds of sentences: "the box that the screws are in" is one that contains them."""
    text = " ".join(words)
    for said, meant in OTHER_WORDS:
        text = re.sub(said, meant, text)
    return text.split() or words


def _last(pattern: re.Pattern, text: str) -> re.Match | None:
    """The match that begins last."""
    found = None
    for gap in re.finditer(" ", text):
        found = pattern.match(text, gap.start()) or found
    return found
