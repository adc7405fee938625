# SPDX-License-Identifier: Apache-2.0
"""Spoils files of every kind and asks the readers: each ends in an answer or in one typed line, soon and in memory.

    python -m benchmarks.trust.files [--count 100000] [--seed 0] [--kinds png h5] [--only I] [--out files.jsonl]

File I depends on seed and I alone: `--only I` plays it again, with the traceback. COUNT is spread over the kinds that
contain one of KINDS. Readers run in a child, since a library may take its process down; that is a fault like an
exception of another kind, over `SLOW` seconds, or over `MUCH` MB more than before. OUT keeps what was done, by kind and
block, so that a run goes on where it was stopped; `--seconds` ends a part. Exit code 1 where there is a fault, 2 where
`--seconds` ended it.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import tyro

from benchmarks.trust.kinds import KINDS, Kind
from dropclip_ros.base.errors import DropclipError
from training.runs.checkpoint import CheckpointError
from training.runs.errors import InputError

TYPED = (DropclipError, InputError, CheckpointError)
BLOCK = 100  # files in one child
SLOW = 20  # s
MUCH = 3000  # MB
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
ODD = (
    b"NaN", b"Infinity", b"-1", b"0", b"1e400", b"1e308", b"-1e-320", b"9" * 5000, b"2147483648",
    b"99999999999999999999",
    b"null", b"true", b'"x"', b'"../../etc/passwd"', b"[]", b"{}", b"[" * 3000, b"\x00", b".nan", b"!!python/name:os",
    b"&a [*a, *a]", b"1_0", b"0x10", "ä".encode("latin-1"),
)  # fmt: skip


def spoil(data: bytes, r: random.Random, text: bool) -> bytes:
    """One to 16 changes: bytes near the front or anywhere, cuts, repeats, insertions; in texts words and numbers."""
    d = bytearray(data)
    for _ in range(r.choice((1, 1, 2, 4, 16))):
        if not d:
            break
        kind = r.random()
        if text and kind < 0.6 and (found := list(NUMBER.finditer(bytes(d)))):
            spot = r.choice(found)
            d[spot.start() : spot.end()] = r.choice(ODD)
        elif kind < 0.75:
            d[min(int(r.expovariate(1 / 80)), len(d) - 1)] = r.choice((0, 1, 127, 128, 255, r.randrange(256)))
        elif kind < 0.85:
            d[r.randrange(len(d))] = r.randrange(256)
        elif kind < 0.9:
            del d[r.randrange(len(d)) :]
        elif kind < 0.95:
            at = r.randrange(len(d))
            d[at:at] = d[at : at + r.randrange(1, 200)]
        else:
            at = r.randrange(len(d))
            d[at:at] = bytes(r.choice((0, 255)) for _ in range(r.randrange(1, 20)))
    return bytes(d)


def place(kind: Kind, good: Path, folder: Path, r: random.Random) -> None:
    """A copy of the good folder in which one file is spoilt."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)
    path = r.choice(sorted(path for path in folder.glob(kind.spoilt) if path.is_file()))
    data = path.read_bytes()
    path.write_bytes(spoil(data, r, text=b"\0" not in data))


def play(name: str, good: Path, folder: Path, number: int, seed: int) -> str:
    """What became of a file: "read", "typed", or the fault."""
    kind = KINDS[name]
    place(kind, good, folder, random.Random(f"{seed} {name} {number}"))
    start = time.monotonic()
    try:
        kind.read(folder)
        said = "read"
    except TYPED as error:
        message = getattr(error, "message", str(error))
        said = "typed" if message and "Traceback" not in message else f"no message: {error!r}"
    except BaseException as error:
        where = next((f"{Path(f.filename).name}:{f.lineno}" for f in reversed(traceback.extract_tb(error.__traceback__))
                      if "site-packages" not in f.filename and "/lib/python" not in f.filename), "")  # fmt: skip
        said = f"raw {type(error).__name__} at {where}: {str(error)[:100]!r}"
    seconds = time.monotonic() - start
    return said if seconds < SLOW else f"slow: {seconds:.0f} s, {said}"


def block(name: str, numbers: range, seed: int, keep: Path) -> dict[str, list[int]]:
    """Numbers of the files by what became of them; a child plays them, and another goes on where one died."""
    found: dict[str, list[int]] = {}
    numbers_left = list(numbers)
    while numbers_left:
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:
            os.close(reading)
            _child(name, numbers_left, seed, keep, writing)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            lines = pipe.read().splitlines()
        _, status = os.waitpid(child, 0)
        for number, line in zip(numbers_left, lines, strict=False):
            found.setdefault(line, []).append(number)
        numbers_left = numbers_left[len(lines) :]
        if numbers_left and (os.WIFSIGNALED(status) or os.WEXITSTATUS(status)):
            how = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {status >> 8}"
            found.setdefault(f"died: {how}", []).append(numbers_left.pop(0))
    return found


def _child(name: str, numbers: list[int], seed: int, keep: Path, writing: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(dir=keep) as folder:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in numbers:
            signal.alarm(3 * SLOW)  # what hangs is ended by it, and told by its number
            said = play(name, keep / name, Path(folder) / "one", number, seed)
            more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            if more > MUCH:
                said, before = f"memory: {more:.0f} MB, {said}", before + 1024 * more
            os.write(writing, (said.replace("\n", " ")[:300] + "\n").encode())
    os._exit(0)


def main(
    count: int = 100_000,
    seed: int = 0,
    kinds: tuple[str, ...] = (),
    only: int | None = None,
    out: Path | None = None,
    seconds: float = math.inf,
) -> int:
    """Prints a table of kinds, and every fault with the first numbers that show it."""
    end = time.monotonic() + seconds
    names = [name for name in KINDS if not kinds or any(part in name for part in kinds)]
    done = {}
    if out is not None and out.exists():
        done = {line["key"]: line["found"] for line in map(json.loads, out.read_text().splitlines())}
    with tempfile.TemporaryDirectory() as root:
        keep = Path(root)
        for name in names:
            (keep / name).mkdir()
            KINDS[name].make(keep / name)
            KINDS[name].read(keep / name)  # a good one is read; and what reading imports is there before the children
        if only is not None:
            return _again(names, keep, only, seed)
        each, tally, faults = math.ceil(count / len(names)), {}, {}
        for name in names:
            tally[name] = Counter()
            for start in range(0, each, BLOCK):
                numbers = range(start, min(start + BLOCK, each))
                key = f"{seed} {name} {numbers.start} {numbers.stop}"
                if key not in done:
                    if time.monotonic() > end:
                        print("more is left: run the same command again")
                        return 2
                    done[key] = block(name, numbers, seed, keep)
                    if out is not None:
                        with out.open("a") as file:
                            file.write(json.dumps({"key": key, "found": done[key]}) + "\n")
                for said, which in done[key].items():
                    tally[name][said if said in ("read", "typed") else "fault"] += len(which)
                    if said not in ("read", "typed"):
                        faults.setdefault((name, said), []).extend(which)
    print("| kind | files | read | typed | faults |\n| --- | --- | --- | --- | --- |")
    for name, counts in tally.items():
        print(f"| {name} | {counts.total()} | {counts['read']} | {counts['typed']} | {counts['fault']} |")
    for (name, said), which in faults.items():
        print(f"{name}: {said}: {len(which)} times, --kinds {name!r} --only {which[0]}")
    return min(len(faults), 1)


def _again(names: list[str], keep: Path, number: int, seed: int) -> int:
    for name in names:
        place(KINDS[name], keep / name, keep / "one", random.Random(f"{seed} {name} {number}"))
        print(f"{name}, file {number}:")
        try:
            print("read:", repr(KINDS[name].read(keep / "one"))[:300])
        except TYPED as error:
            print("typed:", error)
        except BaseException:
            traceback.print_exc()
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
