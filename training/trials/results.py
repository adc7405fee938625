# SPDX-License-Identifier: Apache-2.0
"""One row of CSV a trial: written as soon as the trial has ended, so that a run that was stopped goes on."""

from __future__ import annotations

import csv
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, get_type_hints

from dropclip_ros.base.reading import read_bytes, read_text
from training.runs.errors import InputError
from training.trials.grading import Reason

SETUP = ("preset", "proposals", "grounding", "attempts", "split", "wording")  # what is compared in a report
KEY = (*SETUP, "seed", "clutter", "number")  # one trial


@dataclass(frozen=True)
class Result:
    """A trial. Lists are joined by blanks, times in seconds.

    attempts: at most, after slips. scene_seed, scenes: of the one that was asked about, and how many were laid for it.
    targets: what the phrase fits; distractors: others of their category; pixels: that the camera sees of the target.
    share, iou: of the answered points with the target; grounded: most of them lie on it; answered: the object on which
    most lie. status: how the last step ended. tries: how often the phrase was asked; executed: which candidate of the
    last answer, -1 none; lifted: what rose 10 cm. reason: of failure. seconds_to_pose: from the phrase to grasp poses.
    """

    preset: str
    proposals: str
    grounding: str
    attempts: int
    split: str
    wording: str
    seed: int
    clutter: str
    number: int
    family: str
    phrase: str = ""
    targets: str = ""
    distractors: int = 0
    objects: str = ""
    scene_seed: int = 0
    scenes: int = 0
    pixels: int = -1
    grounded: bool = False
    share: float = 0.0
    iou: float = 0.0
    points: int = 0
    answered: str = ""
    candidates: int = 0
    tries: int = 0
    executed: int = -1
    lifted: str = ""
    success: bool = False
    status: str = ""
    reason: str = ""
    message: str = ""
    seconds_to_pose: float = 0.0
    seconds_pick: float = 0.0
    seconds: float = 0.0

    @property
    def key(self) -> tuple[str, ...]:
        return tuple(str(getattr(self, name)) for name in KEY)


_TYPES = get_type_hints(Result)
_COLUMNS = [field.name for field in fields(Result)]


def read_results(path: Path) -> list[Result]:
    """Trials of a file, without those that a later row repeats, and without a last row that was cut short.

    Raises InputError where the file is none of ours.
    """
    try:
        text = read_text(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read as a table of trials ({error}); name another file") from error
    rows = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())
    if rows.fieldnames != _COLUMNS:
        raise InputError(f"{path}: its columns are not those of trials; name another file")
    found = {}
    for row in rows:
        try:
            result = Result(**{name: _parse(name, text) for name, text in row.items()})
        except ValueError as error:
            raise InputError(f"{path}: a row has {error}; remove the row, and its trial is run again") from error
        found[result.key] = result
    return list(found.values())


def _parse(name: str, text: str) -> object:
    kind = _TYPES.get(name)
    if kind is None or text is None:
        raise ValueError("not as many cells as there are columns")
    if kind is bool:
        if text not in ("True", "False"):
            raise ValueError(f"{name} {text!r}, expected True or False")
        return text == "True"
    try:
        return kind(text)
    except ValueError as error:
        raise ValueError(f"{name} {text!r}, expected a number") from error


class ResultFile:
    """Appends trials to a CSV file; `done` are those there already. Errors are not: they are tried again."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _whole_lines(path)
        known = read_results(path) if self._file.tell() else []
        self.done = {result.key for result in known if result.reason != Reason.ERROR.value}
        self._writer = csv.DictWriter(self._file, _COLUMNS)
        if not self._file.tell():
            self._writer.writeheader()

    def add(self, result: Result) -> None:
        """Written through to the disk, on one line."""
        row = {name: f"{v:.6g}" if isinstance(v, float) else v for name, v in asdict(result).items()}
        self._writer.writerow(row | {"message": " ".join(result.message.split())})
        self._file.flush()
        os.fsync(self._file.fileno())
        self.done.add(result.key)

    def close(self) -> None:
        self._file.close()


def _whole_lines(path: Path) -> IO[str]:
    """The file, open to append after its last whole line: a run that was killed may have left part of one."""
    if path.exists():
        whole = read_bytes(path).rfind(b"\n") + 1
        os.truncate(path, whole)
    return path.open("a", encoding="utf-8", newline="")
