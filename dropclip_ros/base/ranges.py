# SPDX-License-Identifier: Apache-2.0
"""Ranges of settings, stated once, at the field: dataclasses check by them, and nodes make parameters of them.

@dataclass(frozen=True)
class Config:
    top_k: int = ranged(3, 1, 255, doc="Most grasps in an answer")
    friction: float = ranged(0.5, above=0)

    def __post_init__(self):
        check_fields(self)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from numbers import Integral, Real
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


@dataclass(frozen=True)
class Range:
    """`low` and `high` are within the range, `above` and `below` are not; None: no limit. doc: meaning and unit."""

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    doc: str = ""

    def __contains__(self, value: float) -> bool:
        return (
            (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        first = f"[{self.low:g}" if self.low is not None else f"({self.above:g}" if self.above is not None else ""
        last = f"{self.high:g}]" if self.high is not None else f"{self.below:g})" if self.below is not None else ""
        if first and last:
            return f"a number in {first}, {last}"
        if first:
            return f"at least {first[1:]}" if self.low is not None else f"more than {first[1:]}"
        return (f"at most {last[:-1]}" if self.high is not None else f"less than {last[:-1]}") if last else "a number"


def ranged(
    default: T,
    low: float | None = None,
    high: float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
    doc: str = "",
) -> T:
    """A dataclass field with a default and a range; of a tuple, each number lies in it."""
    found: Any = field(default=default, metadata={"range": Range(low, high, above, below, doc)})
    return found


def built(make: Callable[..., T], values: Mapping[str, object]) -> T:
    """A dataclass of values whose types show only as they come, of a file or of parameters; it checks them itself. With
    `partial(replace, config)` as `make`: a copy of `config` with other values."""
    return make(**values)


def range_of(config: type, name: str) -> Range:
    """The range of a field. KeyError where it has none."""
    return next(one for one in fields(config) if one.name == name).metadata["range"]


def is_finite(value: object) -> bool:
    """Whether it is a number that a float can hold."""
    try:
        return math.isfinite(value)  # type: ignore[arg-type]
    except (OverflowError, TypeError, ValueError):
        return False


def check_fields(config: Any, where: str = "", error: type[ValueError] = ValueError) -> None:
    """Refuses (`error`) numbers outside of their range or not finite, and words that are none of their Literal's.

    An integer by default stays one; where the default is None, None may stay. where: stands before names in errors.
    """
    kind: type = type(config)
    words = _choices(kind)
    for one in fields(config):
        value, choices = getattr(config, one.name), words.get(one.name)
        if choices and value not in choices:
            raise error(f"{where}{one.name} {value!r}: expected one of {', '.join(map(str, choices))}")
        limits = one.metadata.get("range")
        if value is None and one.default is None:
            continue
        example = one.default[0] if isinstance(one.default, tuple) and one.default else one.default
        for number in value if isinstance(value, tuple | list) else (value,):
            if limits is None:
                if isinstance(number, float) and not is_finite(number):
                    raise error(f"{where}{one.name} {value}: expected a finite number")
                continue
            if isinstance(number, bool) or not isinstance(number, Real) or not is_finite(number):
                raise error(f"{where}{one.name} {value!r}: expected {'finite ' * (number != number)}{limits}")
            if isinstance(example, int) and not isinstance(number, Integral):
                raise error(f"{where}{one.name} {value!r}: expected an integer")
            if number not in limits:
                raise error(f"{where}{one.name} {value!r}: expected {limits}")


@cache
def _choices(config: type) -> dict[str, tuple[object, ...]]:
    """Of the fields that are one of some words: which."""
    if not any("Literal" in str(one.type) for one in fields(config)):
        return {}
    return {name: get_args(kind) for name, kind in get_type_hints(config).items() if get_origin(kind) is Literal}
