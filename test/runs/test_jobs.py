# SPDX-License-Identifier: Apache-2.0
"""A folder holds results of one recipe, also where that was written before one of its fields came."""

import json
from dataclasses import dataclass, field

import pytest

from dropclip_ros.base.ranges import ranged
from training.runs.errors import InputError
from training.runs.jobs import locked_folder


@dataclass(frozen=True)
class Inner:
    old: int = 1
    came_later: tuple[float, float] = ranged((0.1, 0.2), above=0)


@dataclass(frozen=True)
class Recipe:
    name: str
    inner: Inner = field(default_factory=Inner)
    later: str = "as before"


@pytest.mark.parametrize(
    ("recipe", "goes_on"),
    [
        (Recipe("a"), True),
        (Recipe("b"), False),
        (Recipe("a", later="otherwise"), False),
        (Recipe("a", Inner(came_later=(0.1, 0.3))), False),
        (Recipe("a", Inner(old=2)), False),
    ],
)
def test_a_field_that_came_later_counts_as_its_default(tmp_path, recipe, goes_on):
    (tmp_path / "recipe.json").write_text(json.dumps({"name": "a", "inner": {"old": 1}}))
    if goes_on:
        with locked_folder(tmp_path, recipe, "results"):
            pass
    else:
        with pytest.raises(InputError, match="of another recipe"), locked_folder(tmp_path, recipe, "results"):
            pass
