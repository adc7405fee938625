# SPDX-License-Identifier: Apache-2.0
"""Speech as it is spoken: fillers go, and of what is said and then corrected the correction stays."""

from __future__ import annotations

import re

_FILLER = re.compile(
    r"(?: ,)? (?:um+|uh+|uhm|erm?|hm+|mm+|ah|eh|you know|sort of|kind of|kinda|sorta|i guess|let me see|let us see|"
    r"let us say|how do you say|what is it called|whatever it is called|literally|"
    r"basically)(?: ,)?(?= )|(?: ,)? (?:pretty please|please|kindly)(?= )"
)
_LIKE = re.compile(r" , like , | , like (?=the\b)|^like , ")
_CORRECTION = (
    r"(?:no wait|wait no|oh no|no no|no sorry|sorry no|oh wait|wait|no|nope|sorry|i mean|i meant|or rather|make that|"
    r"scratch that|correction|actually|not that|no not that)"
)
_CORRECTED = re.compile(
    rf"^(?P<before>.*\w.*?)(?: ,| -|)(?: (?:and|or))? {_CORRECTION}(?: ,| i mean| i meant| make that)* "
    r"(?P<after>(?:the|a|an|that|this|those|these|my|all|both|any|everything)\b.*)$"
)
_HELD = r"\b(?:there is|there are|has|have|with|is|are|says|say|it is|that is|but|do)$"
_REPEATED = re.compile(r"\b(\w+)(?: , \1)+\b|\b(the|a|an|of|to|and|in|on|my)(?: \2)+\b")


_NAMED = re.compile(
    r"^(?:.*?\b(?:the|a|an|that|this|my|me) )?(?:\w+ )*?(\w+)(?= on| in| at| to| next| left| right|$| ,)"
)


def plain_speech(text: str) -> str:
    """A phrase of words and commas without fillers, repetitions and what was taken back."""
    text = _FILLER.sub("", _FILLER.sub("", f" {text} "))
    text = _LIKE.sub(" ", text)
    return _corrected(_REPEATED.sub(lambda said: said[1] or said[2], " ".join(text.split())).strip(" ,"))


def _corrected(text: str) -> str:
    """What was said last of two: the mug, no, the left one is the left mug."""
    found = _CORRECTED.match(text)
    if not found or re.search(_HELD, found["before"]) or found["before"].startswith("not "):
        return text
    name = _NAMED.search(found["before"])
    if not name or name[1] in ("one", "thing", "that", "this", "it") or "wrong" in found["before"]:
        return found["after"]
    return re.sub(r"\bones?\b", name[1], found["after"], count=1)
