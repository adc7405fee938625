# SPDX-License-Identifier: Apache-2.0
"""What people say around the thing that they mean: please, could you hand me, and put it on the table. `unwrap` drops
it."""

from __future__ import annotations

import re

from dropclip_ros.language.patterns import any_of
from dropclip_ros.language.words import singular

_TO = "(?: (?:over|up|down|away|out|back|hold of))*(?: (?:me|us))?(?: over)?"
_VERBS = any_of(
    "give bring get fetch throw pick grab take put move push slide carry drag shift grasp select choose clutch remove "
    "collect gather retrieve deliver extract find locate identify detect hold place drop"
)
_NOUNS_TOO = any_of(  # verbs only where a determiner follows
    "hand pass lend toss lift set lay stack clear touch spot mark see show highlight segment point reach look use try "
    "hold place drop want need mean search have turn flip rotate open close pull shut lift empty clean sort wipe"
    " wash inspect check grip raise"
)
_NEXT = any_of(
    "the a an my your that this those these any some all every each both it them one two three another everything "
    "anything something whatever him her"
)
_VERB = (
    rf"(?:{_VERBS}{_TO}(?! out\b)|{_NOUNS_TOO}{_TO}(?: (?:for|at|to|out))?(?= {_NEXT}\b)|"
    r"(?:hand|pass|toss|lend|show|chuck|sling|slide|shoot|roll)(?: over)? (?:me|us)|(?:get|take|catch) hold of|"
    r"reach for|look for|clear away)"
)
_GERUND = "(?:handing|passing|giving|getting|bringing|picking|fetching|grabbing|taking|finding)(?: up| over)?(?: me)?"
_GENTLY = "(?:slowly|carefully|gently|quickly|just|maybe|perhaps|kindly|please|now|first|then|also)"
BEFORE = re.compile(
    "(?:"
    r", |(?:right|yes|yeah|no|nope|actually|listen|great|good|next|now|thanks|perfect|cool|fine|look) , |"
    r"(?:no|yes|yeah|next|now|great|actually|only) (?=(?:not|the|a|that|your|my) )|"
    r"(?:and|then|so|ok|okay|hey|hi|hello|yo|robot|well|alright|sorry|oh|yeah|yep|dear|buddy|excuse me|ahoy|listen) |"
    r"(?:(?:that is|that was|it is|you took|this is|not that) )?(?:the )?wrong (?:one|thing|\w+)(?: ,| ) ?|not "
    r"that(?: one)? , |"
    r"(?:please )?do me a favou?r(?: and| ,)? |let us (?:[\w ]+? , |start with |begin with |see )|"
    r"(?:start|begin|continue) (?:with|by) |hold on to |hang on to |get rid of |help me (?:find|get|with|to find|"
    r"look for) |"
    r"(?:any|is there any) chance (?:of|you could|you can|i could|i can) |i can not find |have you (?:seen|got) |"
    r"(?:what i (?:want|need|would like|am looking for) is|all i (?:want|need) is|i am talking about|i refer to|"
    r"my choice is|i could (?:really )?use|i am going to need|i would go for|i pick|i choose) |mind (?=\w+ing )|"
    r"i (?:think|guess|believe|suppose)(?: it is)? (?=(?:the|a|that|my)\b)|(?:turn|switch) (?:on|off) |"
    r"(?:your|the) (?:task|goal|job|target) is(?: to)? |"
    rf"{_GENTLY} |"
    rf"(?:can|could|would|will|may|might) (?:you|i|we|somebody|someone)(?: {_GENTLY})*(?: mind)?"
    r"(?: (?:have|be so kind as to|be able to))? |"
    r"(?:would|could|will) it be possible (?:for you )?to |is it possible (?:for you )?to |"
    r"(?:do|would) you mind |be so (?:kind|nice|good) (?:as to |and |to )|be a dear and |"
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
        *("will do", "would do", "would be great", "would be nice", "would be perfect", "would be lovely", "is fine"),
        *("would be good", "is okay", "is ok", "if you would", "right away", "when you get a chance", "straight away"),
        *("is the one i want", "is the one i need", "is the one i mean", "is what i need", "is what i mean", "i see"),
        *("if you do not mind it", "if that is ok", "if it is not too much trouble", "in the picture", "in this scene"),
        *(
            "that you see",
            "that you can see",
            "that is there",
            "that is here",
            *(f"{that}{what}" for that in ("that ", "which ", "") for what in ("i want", "i need", "i am after")),
            "i am looking for",
            "upside down",
            "around",
            "i mean",
            "i meant",
            "i said",
        ),
    )
)
_TAG = any_of("right ok okay yeah huh robot man dude buddy pal mate love alright then yes would cheers ta")
AFTER = re.compile(rf"(?:(?:^| ),)?(?:^| ){_POLITE}$| , {_TAG}$")
POINTED = re.compile(  # the mug is left of the box, I want that mug
    rf"(?: ,|(?: ,)? (?:and|so))(?: please| now| just)*(?: (?:i|we) (?:want|need|would like|mean|will take)|"
    rf" {_VERB}| (?:collect|use|sort|gather|clean|wash)(?: up)?)?"
    r" (?:it|them|that|this|that one|this one|that \w+|this \w+|those \w+|these \w+)$"
)
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
        *(
            "away from",
            "under",
            "underneath",
            "below",
            "near",
            "close to",
            "on",
            "in",
            "to",
            "at",
            "over",
            "above",
            "against",
            "by",
        ),
    )
)
TO = re.compile(rf"(?: (?:back|down|away|over|right))* {_GOAL} (?:(?!that is |which is ).)*$")
_ASK = r"(?=(?:i|be|please|can|could|would|give|hand|pass|get|bring|take|pick|fetch|grab|find|where is)\b)"
_PREAMBLE = re.compile(
    rf"^.*?\bso {_ASK}|^(?:.*\b)?what (?:i|we) (?!can\b|could\b|use\b|need for\b|need to\b)[^,]*? is (?=(?:the|a|"
    rf"an|that|this|all|both)\b)|^(?:i am|we are|my|since|because|as|now that|before|after|when|if|"
    rf"it is(?! (?:the|a)\b)|is "
    rf"there|are there|do you see|can you see|have you got|do you have) [^,]*, {_ASK}"
)
_SPARED = re.compile(
    r"(?: ,)?(?: and| but)? (?:leave|keep|ignore|spare|skip|forget|do not (?:take|touch|move|include|bring|give "
    r"me|want))"
    r"(?: out)? (?=(?:the|a|any|that|my) )(.*?)(?: (?:where it is|where they are|there|alone|behind|out|in place))?$"
)
_TAKE = "give|hand|bring|pass|pick|pick up|get|grab|take|fetch"
_SEEN = re.compile(
    rf"^(?:do you |can you |you )?(?:see|look at|look for|find|notice|there is|here is|take) (?P<what>(?:the|a|"
    rf"an|that|this|my) .+?) , "
    rf"(?:and |then |now )*(?:(?:{_TAKE}|i want|i need|i mean|i would like)(?: me)? )?(?P<rest>(?:the|a|an|"
    rf"what) .*\b(?:it|there)\b.*)$"
)
_CHOICE = re.compile(  # there are two cans on the left, give me the red one
    r"^(?:there (?:are|is)|(?:do )?you (?:will |can |should )?(?:see|find|have)|(?:i|we) (?:can )?(?:see|have)|"
    r"see|of|out of|from|"
    r"among) (?:the |those |these |some |all )*"
    r"(?:(?:two|three|four|five|several|\d+) )?(?P<name>[\w ]+?)(?P<place> (?:on|in|near|next|behind|left|right|"
    r"at|by)\b[^,]*)?"
    rf" , (?:(?:and|so) )?(?:(?:{_VERB}|i want|i need|i would like|i mean|take|"
    rf"give me) )?the (?P<which>(?:[\w ]+? )?)one(?P<rest>| (?:on|in|at|to|with|next|near|nearest|closest|from|"
    rf"left|right|behind|that|which|farthest|furthest)\b.*)$"
)
_THOSE = re.compile(  # there is a book with glasses on it, I want those glasses
    r"^(?:and |so |ok |well )*there (?:is|are) (?P<place>(?:the|a|an|this|that) [\w ]+?) (?:with|which has|"
    r"that has|holding|containing) "
    r"(?P<what>(?:the|a|an|some) [\w ]+?)(?: \w+ing)? (?P<on>on|in|inside|on top of|next to|beside|behind|"
    r"under)(?: of)? it ,.*\b"
    r"(?:those|that|the|these|this) (?P<name>[\w ]+)$"
)
_AND_TAKE = re.compile(rf"(?: ,|(?: ,)?(?: and| then)+) (?:{_TAKE})(?: me)? (?=(?:the|a|an|another) )")
FORBIDDEN = re.compile(
    rf"^(?:.*, )?(?:you (?:must|should|may|can) not|do not|never) (?:ever )?(?:want|need|mean|{_VERB}|touch|take|"
    rf"use|pick)\b"
)


def unwrap(words: list[str]) -> list[str]:
    """The words that say what is meant; what is to be done with it, and where it is to go, is dropped."""
    said = text = " ".join(words)
    text = _PREAMBLE.sub("", text) or text
    text = _refused(text)
    text = re.sub(r"^(?:.*\b)?(?:know|tell me|idea|see|wonder|check) where (.+?) (?:is|are)$", r"\1", text)
    if found := _CHOICE.match(text):
        *before, last = found["name"].split()
        place = "" if re.match(r" in (?:a |one )?(?:row|line|column)", found["place"] or "") else found["place"] or ""
        text = " ".join(["the", *found["which"].split(), *before, singular(last)]) + place + found["rest"]
    if (found := _THOSE.match(text)) and found["what"].endswith(found["name"]):
        text = f"{found['what']} {found['on']} {found['place']}"
    if found := _SEEN.match(text):
        text = re.sub(r"\b(?:it|there)\b", found["what"], found["rest"])
    text = re.sub(r"^((?:.*\b)?(?:take|get|pull|remove|clear|pick) .+?) away (?=from\b)", r"\1 ", text)
    text = re.sub(r"^((?:so |and |well |ok |okay )*)there (?:is|are) (?:a|an|this|these) ", r"\1the ", text)
    text, verb = _without_request(text)
    if text != said:
        text = re.sub(r"^(.+) (?:up|away|over)$", r"\1", text)
    if re.match(r"(?:everything|all|both|every|each|the)\b", text):
        text = _SPARED.sub(r" except \1", text)
    text = THEN.sub("", _AND_TAKE.sub(" and ", text)) or text
    text = POINTED.sub("", text) if not text.startswith("not ") else text
    while (shorter := AFTER.sub("", text).strip(" ,")) != text and shorter:
        text = shorter
    if verb and (goal := _last(TO, text)) and goal.start():
        text = re.sub(r" (?:back|down|away|over)$", "", text[: goal.start()])
    return text.split()


def _refused(text: str) -> str:
    """Do not give me the cup, give me the mug: the mug, not the cup."""
    text = re.sub(rf"\b(?:i )?(?:do not|never) (?:want|need|mean|{_VERB}) ", "not ", text)
    return re.sub(rf"^((?:\w+ )*?)not (.*) , (?:but )?{_VERB} (.*)$", r"\1\3 not \2", text)


def _without_request(text: str) -> tuple[str, str]:
    """What follows "could you please put", and the verb if it is one that has a goal."""
    verb = ""
    while found := BEFORE.match(text):
        rest = text[found.end() :]
        if not rest:
            break
        if PUT.match(found[0]) and not re.search(r" (?:me|us) ", found[0]):
            verb = found[0]
        text = rest
    return text, verb


def _last(pattern: re.Pattern, text: str) -> re.Match | None:
    """The match that begins last, and not within what is said in two words: next to."""
    found = None
    for gap in re.finditer(r"(?<!next)(?<!close)(?<!left)(?<!right)(?<!on)(?<!in)(?<!front)(?<!top)(?<!side) ", text):
        found = pattern.match(text, gap.start()) or found
    return found
