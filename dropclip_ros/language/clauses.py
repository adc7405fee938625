# SPDX-License-Identifier: Apache-2.0
"""Of a phrase in several clauses those that name something: reasons, feelings and "I don't care which" are dropped."""

from __future__ import annotations

import re

from dropclip_ros.language import lexicon
from dropclip_ros.language.patterns import ORDER, RELATION, any_of

_REQUEST = (
    r"(?:i|we) (?:really |just |only |now |also )*(?:want|need|would (?:like|love|prefer|need|go for|take)|"
    r"am looking for|"
    r"am after|meant|mean|choose|pick|will (?:take|have)|wish|prefer)(?: to (?:have|see|use|get|take|grab|hold))?"
)
_NAMING = re.compile(
    rf"(?:{_REQUEST} |(?:is|are|was) |^)(?:the|a|an|my|that|this|those|these|any|some|all|both|one|two)\b"
)
_CARE = "(?:which|what|who)(?: ones?)?(?: of (?:them|those|the two))?(?: it is)?"
_INDIFFERENT = re.compile(
    r"(?:^| )(?:, )?(?:and |but )?(?:(?:i|we) (?:really |honestly )?(?:do not|am not|could not) (?:really )?"
    rf"(?:mind|care|picky|fussy|choosy|bothered)(?: about)?(?: {_CARE})?|"
    rf"(?:it |that )?(?:does|do) not (?:really )?(?:matter|make a difference)(?: to me)?(?: {_CARE})?|"
    r"no (?:preference|matter which(?: one)?)|(?:any|either|both|all)(?: one| of them| of those)? (?:will|would|"
    r"is|are) "
    r"(?:do|work|fine|ok|okay|good|all right|alright)|whichever(?: one)?(?: you (?:like|want|prefer|choose|"
    r"can reach))?|"
    r"(?:it is )?(?:up to you|your choice)|you (?:choose|pick|decide)|(?:any|either)(?: one)?|"
    r"(?:it is )?all the same to me)"
    r"(?: (?:for|to|with|by) me)?$"
)
_REASON = (  # begins a clause that says why, when or on which condition
    r"(?:because|cause|cuz|since|as (?:i|we|my|it)|so (?:that|my|(?:i|we|you) (?!want|need|would|please|can you|"
    r"could you))|in order to|otherwise|unless|although|though|"
    r"(?:before|after|while|when|until) (?:i|you|we|it|they|my)|if (?:you (?!count|look|start|face|go)|i|we|it|"
    r"that|possible|not))\b"
)
_TAIL = re.compile(rf"(?<=\w)(?: ,)? (?:just )?{_REASON}.*$")
_IDLE = re.compile(
    rf"(?:(?:and|but|so|well|oh|now|today|it looks like|i think|i guess|sorry) )*(?:{_REASON}|"
    r"(?:i|we|you|he|she|they|someone|somebody|everyone|mom|dad|guests?|dinner|lunch|breakfast|(?:my|our|the|his|"
    r"her) \w+) "
    r"(?:am|are|is|was|were|have|has|had|feel|feels|need|needs|want|wants|must|should|will|would|got|get|gets|can|could|"
    r"think|guess|spilled|forgot|lost|love|like|do|did|does|just|really|always|never|might|may|keep|go|came|ran)\b|"
    r"it is (?:so |too |very |really |getting |quite )*(?:time|late|dark|cold|hot|urgent|for|important|my)\b|"
    r"let us|time "
    r"(?:to|for)|thanks|thank you|there is no(?:thing)? |(?:are|aren't|were) you|what a|good (?:morning|day|evening)|"
    r"dinner|lunch|(?:do not|never) (?:worry|forget|drop|break|spill|hurry|rush|be)|be (?:careful|quick|gentle)|"
    r"careful|"
    r"hurry|quickly|slowly|whatever|anyway|(?:you|we) know|as (?:usual|always)|by the way|(?:do|did) you hear)"
)
_ASKED = re.compile(
    r"^.*\b(?:wonder(?:ing|ed)?|appreciate it|grateful|great|nice|lovely|kind|good|happy|glad|thankful|helpful|"
    r"awesome|cool) if "
    r"(?:you|we|i|somebody|someone) (?:(?:could|would|can|might|just|please|maybe) )*"
    r"(?:(?:passed|handed|gave|got|brought|grabbed|fetched|picked)(?: up)?(?: me)? )?|"
    r"^(?:can|could|may|might) i (?:trouble|bother|ask) you (?:for|to (?:get|give|hand|pass|bring)(?: me)?) "
)
_BACK = re.compile(r"\b(?:it|them|there|that|those|this|these)$|\b(?:of|in|on|to|behind|beside|under) (?:it|them)\b")
_UNSAFE = re.compile(
    rf"\b(?:but|except|other|{'|'.join(sorted(lexicon.SUPERLATIVES))}|{any_of(lexicon.COLOURS)}|put|left|moved|placed|"
    r"gave|bought|saw|see|find)\b"
)


def essential(text: str) -> str:
    """The words that name what is meant. text: words and commas in lower case."""
    shorter = _without_choice(_ASKED.sub("", text))
    shorter = _TAIL.sub("", shorter) if not re.match(_REASON, shorter) else shorter
    clauses = shorter.split(" , ")
    if len(clauses) > 1:
        said = [clause for clause in clauses if not _is_idle(clause)]
        if said and not (len(said) < len(clauses) and _is_idle(clauses[0]) and _BACK.search(" , ".join(said))):
            shorter = " , ".join(said)
    return shorter.strip(" ,") or text


def _without_choice(text: str) -> str:
    """Without "I don't mind which": of one thing that is named, any will do."""
    found = _INDIFFERENT.search(text)
    if not found or not text[: found.start()].strip(" ,"):
        return text
    named = text[: found.start()].strip(" ,")
    return re.sub(r"\bthe (?=(?:\w+ )?\w+$)", "any ", named) if " or " not in named and " and " not in named else named


def _is_idle(clause: str) -> bool:
    """Whether a clause says nothing of what is meant: I am so thirsty; because my tea is cold."""
    if not _IDLE.match(clause) or _UNSAFE.search(clause):
        return False
    if re.match(rf"(?:(?:and|but|so|well|oh|now) )*{_REASON}", clause):
        return True
    if re.search(
        rf"(?:{_REQUEST}|\b(?:is|are|was)) (?:the|a|an|my|that|this|those|these|any|some|all|both|one|two|three)\b",
        clause,
    ):
        return False
    if re.match(r"(?:can|could|would|will) (?:you|i|we)\b", clause):
        return False
    words = clause.split()
    rests = (" ".join(words[k:]) for k in range(1, len(words)))
    return not any(ORDER.match(rest) or _placed(rest) for rest in rests)


def _placed(rest: str) -> bool:
    found = RELATION.match(rest)
    return bool(
        found and re.search(r" (?:the|a|an|my|it)\b", rest[found.end() - 1 :]) and not rest.startswith(("with", "in "))
    )
