# SPDX-License-Identifier: Apache-2.0
"""Trials on a real table (section 4.4): a person lays the objects and marks what was found and lifted.

The nodes run already. Rows go into the same CSV as simulated trials, of the split `real`, and into the same report.
What only a simulator knows (poses, pixels, IoU) stays empty.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.reading import read_text
from dropclip_ros.client import Client, Grasped
from training.objects.words.phrases import FAMILIES
from training.runs.errors import InputError
from training.scenes.description import CLUTTER
from training.trials.grading import why
from training.trials.results import Result, ResultFile

SPLIT, BY_HAND = "real", "by hand"
TARGET, OTHER, BOTH, NOTHING = "target", "other", "both", "nothing"
Answer = Callable[[str, Sequence[str]], str]  # a question and what may be answered; the first is the default


@dataclass(frozen=True)
class Phrase:
    """One trial: how the table is laid, the phrase's family, the phrase, and the object that it means."""

    clutter: str
    family: str
    text: str
    target: str


def read_phrases(path: Path) -> list[Phrase]:
    """A line a trial: `clutter; family; phrase; target`. Raises InputError."""
    try:
        lines = read_text(path).splitlines()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error}); expected a line a trial: {FORMAT}") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split(";")]
        if len(parts) != 4 or parts[0] not in CLUTTER or parts[1] not in FAMILIES or not all(parts):
            raise InputError(f"{path}, line {number}: expected {FORMAT}, not {line!r}")
        found.append(Phrase(*parts))
    if not found:
        raise InputError(f"{path} has no phrases; expected a line a trial: {FORMAT}")
    return found


FORMAT = f"clutter; family; phrase; target ({', '.join(CLUTTER)}; {', '.join(FAMILIES)})"


def keyboard(question: str, choices: Sequence[str]) -> str:
    """Asks the person until the answer is one of the choices, or the beginning of one. Raises KeyboardInterrupt."""
    while True:
        try:
            said = input(f"{question} [{'/'.join(choices)}] ").strip().lower()
        except EOFError:
            raise KeyboardInterrupt from None
        fits = [choice for choice in choices if choice.startswith(said)] if said else [choices[0]]
        if len(fits) == 1:
            return fits[0]


class RealRunner:
    """Plays the phrases of a list. answer: the person; say: to whom; proposals: which node proposes, for the CSV."""

    def __init__(self, client: Client, answer: Answer, say: Callable[[str], None], proposals: str, top_k: int = 3):
        self._client, self._answer, self._say = client, answer, say
        self._proposals, self._top_k = proposals, top_k

    def run(self, phrases: Sequence[Phrase], file: ResultFile) -> Iterator[Result]:
        """A trial of each phrase that `file` has not, written there when it ends."""
        for number, phrase in enumerate(phrases):
            blank = self._blank(phrase, number)
            if blank.key in file.done:
                continue
            self._answer(
                f"trial {number}, {phrase.clutter}: lay the table, {phrase.target} among the objects", ["done"]
            )
            result = self._play(phrase, blank)
            file.add(result)
            yield result

    def _blank(self, phrase: Phrase, number: int) -> Result:
        fixed = ("shipped", self._proposals, "model", 1, SPLIT, BY_HAND, 0)
        return Result(*fixed, phrase.clutter, number, phrase.family, phrase=phrase.text, targets=phrase.target)

    def _play(self, phrase: Phrase, result: Result) -> Result:
        start, up, status = time.perf_counter(), NOTHING, Status.OK
        try:
            result = replace(result, grounded=self._found(phrase))
            asked = time.perf_counter()
            grasped = self._client.grasp(phrase.text, top_k=self._top_k)
            result = replace(
                result,
                candidates=len(grasped.candidates),
                seconds_to_pose=time.perf_counter() - asked,
                message=grasped.message,
            )
            result, up = self._pick(phrase, grasped, result)
        except DropclipError as error:
            status = error.status
            result = replace(result, message=error.message)
            if result.candidates:  # the arm may have moved
                up = self._lifted(phrase)
        success = up == TARGET
        return replace(
            result,
            success=success,
            lifted={TARGET: phrase.target, OTHER: OTHER, BOTH: f"{phrase.target} {OTHER}", NOTHING: ""}[up],
            answered=phrase.target if result.grounded else "",
            status=status.name,
            reason=why(success, result.grounded, status, () if up == NOTHING else (up,)).value,
            seconds=time.perf_counter() - start,
        )

    def _found(self, phrase: Phrase) -> bool:
        """Whether the first object that was found is the target, as the person sees it."""
        found = self._client.ground(phrase.text)
        x, y, z = found.objects[0].centre
        self._say(f"{phrase.text!r}: found at ({x:.3f}, {y:.3f}, {z:.3f}) m in {found.frame}")
        return self._answer(f"is that {phrase.target}?", ["yes", "no"]) == "yes"

    def _pick(self, phrase: Phrase, grasped: Grasped, result: Result) -> tuple[Result, str]:
        """Moves the arm where the person agrees, and asks what became of it."""
        if self._answer("may the arm move?", ["no", "yes"]) == "no":
            raise DropclipError(Status.CANCELLED, "the person did not let the arm move")
        start = time.perf_counter()
        picked = self._client.pick(grasped)
        result = replace(
            result,
            executed=picked.executed,
            message="; ".join((picked.message, *picked.reasons)),
            seconds_pick=time.perf_counter() - start,
        )
        return result, self._lifted(phrase)

    def _lifted(self, phrase: Phrase) -> str:
        return self._answer(f"what is up, 10 cm and held? ({TARGET}: {phrase.target})", [NOTHING, TARGET, OTHER, BOTH])
