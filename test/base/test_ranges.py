# SPDX-License-Identifier: Apache-2.0
"""Ranges of settings: what is in, what is not, and what the error says."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropclip_ros.base.ranges import Range, check_fields, range_of, ranged


@dataclass(frozen=True)
class Config:
    count: int = ranged(3, 1, 10, doc="How many")
    share: float = ranged(0.5, 0, below=1)
    length: float | None = ranged(None, above=0)
    sides: tuple[float, ...] = ranged((0.5,), above=0, high=1)
    kind: Literal["mean", "max"] = "mean"
    free: float = 0.0

    def __post_init__(self):
        check_fields(self, "Config.")


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("count", 0, r"Config.count 0: expected a number in \[1, 10\]"),
        ("count", 2.5, "Config.count 2.5: expected an integer"),
        ("count", True, "Config.count True: expected"),
        ("count", None, "Config.count None: expected"),
        ("share", 1.0, r"Config.share 1.0: expected a number in \[0, 1\)"),
        ("share", math.nan, "Config.share nan: expected"),
        ("share", "half", "Config.share 'half': expected"),
        ("length", 0, "Config.length 0: expected more than 0"),
        ("length", math.inf, "Config.length inf: expected"),
        ("sides", (0.5, 2), r"Config.sides \(0.5, 2\): expected a number in \(0, 1\]"),
        ("kind", "min", "Config.kind 'min': expected one of mean, max"),
        ("free", math.inf, "Config.free inf: expected a finite number"),
    ],
)
def test_what_is_out_of_its_range_is_named(name, value, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        replace(Config(), **{name: value})


def test_what_is_in_its_range_stays():
    config = Config(10, 0, 2.5, (1, 0.1), "max", -3.0)
    assert config.count == 10 and config.length == 2.5 and Config().length is None
    assert range_of(Config, "count") == Range(1, 10, doc="How many")


numbers = st.floats(-100, 100)


@given(low=numbers, high=numbers, value=numbers)
def test_ends_are_in_or_out_as_they_say(low, high, value):
    assert (value in Range(low, high)) == (low <= value <= high)
    assert (value in Range(above=low, below=high)) == (low < value < high)
    assert (value in Range(low=low)) == (value >= low) and (value in Range(below=high)) == (value < high)
