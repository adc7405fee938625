# SPDX-License-Identifier: Apache-2.0
"""Letters of any script: which fonts of this machine have them, and what is written where none has.

matplotlib carries DejaVu Sans: Latin, Greek, Cyrillic, Arabic, Hebrew, Armenian, Georgian. The rest is looked for among
the machine's fonts, once a letter asks for it.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from pathlib import Path

FIRST = "DejaVu Sans"
_LIKELY = ("noto", "unifont", "droid", "sourcehan", "wqy", "wenquanyi", "arialuni", "freesans")
_EMPTY = ("Last Resort", "LastResort", "Adobe Blank")  # have every letter, as a box


def families(text: str) -> list[str]:
    """Font families, the usual one first, that have all letters of the text that any font has."""
    found = [FIRST]
    for letter in dict.fromkeys(text):
        family = _family(letter)
        if family and family not in found:
            found.append(family)
    return found


def writable(text: str) -> str:
    """The text with letters that no font has as their numbers, \\u7ea2: boxes in their place say nothing."""
    return "".join(c if c.isspace() or _family(c) else _number(c) for c in text)


def missing(text: str) -> str:
    """'' or one sentence: which letters cannot be drawn, and what to install."""
    lacking = [c for c in dict.fromkeys(text) if not c.isspace() and not _family(c)]
    if not lacking:
        return ""
    scripts = dict.fromkeys(unicodedata.name(c, "unnamed").split(" ")[0] for c in lacking)
    return (
        f"no font of this machine has {', '.join(map(_number, lacking[:5]))} ({', '.join(scripts)}): their numbers are "
        "drawn; install one, as fonts-noto-core and fonts-noto-cjk of Debian and Ubuntu"
    )


def forget() -> None:
    """Looks at the machine's fonts anew."""
    for known in (_family, _others, _letters):
        known.cache_clear()


def _number(letter: str) -> str:
    return f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}"


@cache
def _family(letter: str) -> str:
    """The first family that has the letter, '' where none has."""
    from matplotlib.font_manager import findfont

    code = ord(letter)
    if unicodedata.category(letter) == "Cf":  # drawn as nothing
        return FIRST
    if code in _letters(findfont(FIRST)):
        return FIRST
    return next((family for family, path in _others() if code in _letters(path)), "")


@cache
def _others() -> tuple[tuple[str, str], ...]:
    """Families and files of the machine's fonts, those with many scripts first; also such as came after matplotlib
    listed them."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    known = {entry.fname for entry in fontManager.ttflist}
    for path in set(findSystemFonts()) - known:
        try:
            fontManager.addfont(path)
        except (OSError, RuntimeError):  # bitmaps and the like
            continue
    usable = [e for e in fontManager.ttflist if e.style == "normal" and Path(e.fname).is_file()]
    entries = [e for e in usable if not e.name.startswith(_EMPTY)]
    rank = {word: i for i, word in enumerate(_LIKELY)}

    def order(entry) -> tuple[int, int, str]:
        name = entry.fname.lower()
        likely = min((rank[word] for word in rank if word in name), default=len(rank))
        return likely, abs(int(entry.weight) - 400) if str(entry.weight).isdigit() else 0, name

    return tuple(dict.fromkeys((e.name, e.fname) for e in sorted(entries, key=order)))


@cache
def _letters(path: str) -> frozenset[int]:
    from matplotlib.font_manager import get_font

    try:
        return frozenset(get_font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()
