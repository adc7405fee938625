# SPDX-License-Identifier: Apache-2.0
"""Dicts of factories: name -> (module, function or class), imported when asked for.

So something new is one file and one line: the file with the function, the line in the dict that names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from training.runs.errors import InputError

Factories = Mapping[str, tuple[str, str]]


def factory(known: Factories, name: str, what: str) -> Any:
    """The function or class under `name`. InputError where there is none. what: for the error, "data set"."""
    if name not in known:
        raise InputError(f"{what} {name!r}: expected one of {', '.join(known)}")
    module, attribute = known[name]
    return getattr(import_module(module), attribute)
