# SPDX-License-Identifier: Apache-2.0
"""Determiners, numbers, ordinals, adjectives and the noun: all of a thing's name, and what it is for."""

from __future__ import annotations

from dropclip_ros.language import lexicon
from dropclip_ros.language.cursor import Cursor, Unanswerable
from dropclip_ros.language.draft import Draft
from dropclip_ros.language.nouns import NOUNS, PIECES, words_of
from dropclip_ros.language.patterns import EXCEPT, LAST, MADE, ORDER, PURPOSE, RELATION
from dropclip_ros.language.tree import ALL, ANY
from dropclip_ros.language.words import singular

POINTING = ("this", "that", "these", "those")
SEVERAL = words_of("the these those all my your of two three four five both")
STOPS = words_of("and or , but except that which who whose is are it they not excluding than besides there")
OTHERS = words_of("other another else rest different remaining others")
LOOKS = ("left", "right", "front", "back", "top", "bottom")
CLAIMS = words_of("i you we lies stands sits hangs leans")


class NounPhrase(Cursor):
    """Reads what stands before a noun, and the noun."""

    def _determiner(self, draft: Draft) -> None:
        """The, a, all of the, both, any one of the, two of the."""
        start = self.position
        while word := self.word:
            if word in lexicon.PRONOUNS and (not draft.determined or self.ahead(-1) == "of"):
                draft.same, draft.nothing = True, True
                draft.number = lexicon.PRONOUNS[word] if draft.number is None else draft.number
                self.skip()
                return
            if word in lexicon.EVERY:
                draft.number = ALL
            elif word == "any":
                draft.number, draft.some = ANY, True
            elif word in ("either", "some") or (word in ("a", "an") and self.ahead(1) != "couple"):
                draft.number = ANY
            elif word == "both":
                draft.number = 2
            elif word in lexicon.NUMBERS and self._counts(draft):
                count = lexicon.NUMBERS[word]
                if not isinstance(draft.number, int):
                    draft.number = count if count > 1 else draft.number or ANY
                    draft.some |= self.ahead(1) == "of"
            elif word == "single":  # which of the mugs
                draft.single = True
            elif word not in lexicon.DETERMINERS and word != "only":
                break
            if word in lexicon.DEFINITE:
                draft.definite = True
                draft.plural |= word in lexicon.PLURAL_DETERMINERS
            self.skip()
            draft.determined = True
            if self.word == "of" and word not in ("the", "a", "an"):
                self.skip()
        draft.determined = self.position > start
        if draft.determined and not self.word and self.words[start] in POINTING:
            draft.same, draft.nothing = True, True

    def _counts(self, draft: Draft) -> bool:
        """Whether the number here counts: "one of the mugs", "the two cups", but not "the one next to it"."""
        if self.word == "one" and not draft.determined and self._is_named(self.ahead(1)):
            return True
        if self.word in ("one", "pair"):
            return self.ahead(1) == "of" and self.ahead(2) != "" and (self.word == "one" or self._is_pair())
        return self.word != "both"

    @staticmethod
    def _is_named(word: str) -> bool:
        """Whether a name begins with this word."""
        return singular(word) in NOUNS or (word in lexicon.ADJECTIVES and word not in lexicon.BEFORE)

    def _is_pair(self) -> bool:
        """Whether a pair is two things: of dice, not of scissors."""
        noun = next((word for word in self.words[self.position + 2 :] if word not in lexicon.ADJECTIVES), "")
        return singular(noun) != noun or noun == "the"

    def _before(self, draft: Draft) -> None:
        """Ordinals, numbers, orders, other and same; adjectives are left to the noun."""
        while word := self.word:
            following = self.ahead(1)
            if found := self.match(LAST):
                draft.last, draft.ordinal = (2 if len(found[0].split()) > 1 else 1), found[0].strip()
                continue
            if word in lexicon.ORDINALS and following != "hand":
                draft.index, draft.ordinal = lexicon.ORDINALS[word], word
            elif word in OTHERS:
                if self._others(word, draft):
                    continue
            elif word == "same":
                draft.same = True
            elif lexicon.NUMBERS.get(word, 1) > 1 and word != "pair" and (following or draft.other):
                draft.number = lexicon.NUMBERS[word]
            elif word in lexicon.TWICE and following in lexicon.BEFORE:
                pass
            elif f"{word} {following}" in lexicon.CORNERS:
                draft.order = (lexicon.CORNERS[f"{word} {following}"], "most")
                self.skip()
                self._take_side()
            elif word in lexicon.BEFORE and following != "than" and not self._is_place(word, draft):
                draft.order = lexicon.BEFORE[word]
                if following == "of":
                    self._of_part(word)
                    self._of_several(draft)
                self._take_side()
            else:
                return
            self.skip()

    def _others(self, word: str, draft: Draft) -> bool:
        """Notes that others than before are meant; whether it has taken the word."""
        draft.other = True
        if word in ("another", "different"):
            draft.number = draft.number or ANY
        if word in ("rest", "others", "remaining") and not (word == "remaining" and draft.number):
            draft.number = draft.number or ALL
        if word not in ("rest", "others"):
            return False
        draft.nothing = True
        self.skip()
        if self.take("of"):
            self.take("the", "these", "those")
            draft.nothing = bool(self.take("them", "it", "those", "these"))
        return True

    def _of_several(self, draft: Draft) -> None:
        """The smaller of the two cups: one is meant."""
        count = 0
        while self.ahead(2 + count) in SEVERAL:
            count += 1
        if count:
            draft.single = True
            self.skip(1 + count)
        elif self.ahead(2) in ("them", "it"):
            draft.single = draft.same = draft.nothing = True
            self.skip(2)

    def _of_part(self, word: str) -> None:
        """Raises Unanswerable for the top of the box, not for the smallest of the boxes."""
        rest = self.words[self.position + 2 :]
        name = [said for said in rest[:3] if said not in lexicon.ADJECTIVES | lexicon.DETERMINERS]
        if word not in PIECES or not name or rest[0] not in lexicon.DETERMINERS:
            return
        if singular(name[0]) == name[0] and name[0] not in lexicon.FIELDS | lexicon.NUMBERS.keys():
            raise Unanswerable(f"'{word} of {' '.join(rest)}' is a part of a thing: only whole things are told apart")

    def _take_side(self) -> None:
        """The "hand" of "left hand mug", the "corner" of "top left corner mug"."""
        if self.ahead(1) in ("hand", "side", "corner") and (self.ahead(1) == "hand" or self.ahead(2)):
            self.skip()

    def _is_place(self, word: str, draft: Draft) -> bool:
        """Whether a word that may order is something else here: "near the bowl", "left of it"."""
        if draft.determined and word in LOOKS:
            return False
        return bool(RELATION.match(self.rest)) and (not draft.determined and word not in lexicon.SUPERLATIVES)

    def _noun(self, draft: Draft) -> None:
        """Adjectives and the noun, with "of" and what it is for."""
        adjectives_only = True
        while word := self.word:
            following = self.ahead(1)
            joins = word == "and" and draft.said and adjectives_only and following in lexicon.ADJECTIVES
            if joins and self._noun_later():
                self.skip()
                continue
            if word == "non" and following in lexicon.ADJECTIVES and adjectives_only:
                draft.negated.append(following)
                self.skip(2)
                continue
            if word == "one" and following == "of" and (draft.order or draft.ordinal or draft.last):
                self._of_several(draft)
                self.skip()
                continue
            if word in lexicon.THINGY and draft.said and not adjectives_only:  # the pepper grinder thingy
                self.skip()
                return
            if word in lexicon.NOTHING and (not draft.said or adjectives_only):
                self._nothing(word, draft)
                return
            if word in lexicon.PURPOSES and PURPOSE.match(self.rest):
                if draft.said or draft.nothing or not draft.determined:
                    self._purpose(draft, [])
                return
            if word in lexicon.SUPERLATIVES and draft.said and adjectives_only and not RELATION.match(self.rest):
                draft.order = lexicon.BEFORE[word]  # the red leftmost thing
                self.skip()
                continue
            if self._ends_name(word, draft):
                return
            if word in OTHERS and not draft.said:
                draft.other = True
            elif word == "of" and not draft.said:
                return
            else:
                adjectives_only &= word in lexicon.ADJECTIVES
                draft.said.append(word)
            self.skip()
            if word == "of":
                self._of(draft)

    def _of(self, draft: Draft) -> None:
        """After "of": a cup of tea is one name. Raises Unanswerable where it is a part: the handle of the mug."""
        article = self.take("the", "a", "an", "this", "that", "my", "your", "its", "it")
        whole = singular(draft.said[-2])
        if article and article not in ("a", "an") and whole in PIECES:
            said = " ".join([*draft.said, article, self.word]).strip()
            raise Unanswerable(f"{said!r} is a part of a thing: only whole things are told apart")

    def _ends_name(self, word: str, draft: Draft) -> bool:
        """Whether what stands here no longer belongs to the name."""
        if word in STOPS or (word in CLAIMS and draft.said) or (draft.said and MADE.match(self.rest)):
            return True
        open_ended = draft.ordinal or self.ahead(-1) in (*POINTING, "all", "both")
        if (draft.said or open_ended or not draft.determined) and (RELATION.match(self.rest) or ORDER.match(self.rest)):
            return True
        if draft.said and (word == "other" or word == "apart") and EXCEPT.match(self.rest):
            return True
        return word in ("to", "from") and draft.order is not None and draft.order[0] in ("near", "far")

    def _noun_later(self) -> bool:
        """Whether after "and" come adjectives and then a noun: black and white mug."""
        for word in self.words[self.position + 1 :]:
            if word in lexicon.NOTHING or (word not in lexicon.ADJECTIVES and word not in STOPS):
                return not RELATION.match(word + " it")
            if word in STOPS:
                return False
        return False

    def _nothing(self, word: str, draft: Draft) -> None:
        """One, thing, everything: no name."""
        draft.nothing, draft.one = True, word in ("one", "ones")
        if word in ("everything", "stuff"):
            draft.number = ALL
        elif word in ("anything", "something"):
            draft.number = ANY
        elif word in ("things", "objects", "ones", "items") and draft.number is None and not draft.single:
            draft.number = ALL
        self.skip()
        if self.take("else"):
            draft.other = True
        if PURPOSE.match(self.rest):
            self._purpose(draft, [word])
            return
        while self.word in lexicon.ADJECTIVES and not RELATION.match(self.rest) and not ORDER.match(self.rest):
            draft.said.append(self.word)  # something red
            self.skip()
            if self.word == "and" and self.ahead(1) in lexicon.ADJECTIVES:
                self.skip()
        if PURPOSE.match(self.rest):
            self._purpose(draft, [word])

    def _purpose(self, draft: Draft, said: list[str]) -> None:
        """What a thing is for belongs to its name, to the end of the phrase."""
        end = len(self.words)
        for k in range(self.position + 1, end - 1):
            rest = " ".join(self.words[k:])
            if self.words[k] == "that" and self.words[k + 1] == "is" and (RELATION.match(rest) or ORDER.match(rest)):
                end = k
                break
        draft.head = [*said, *self.words[self.position : end]]
        draft.nothing = False
        self.position = end
